//! `domicile center dns`: the records of the one name under which vehicles reach the country's centers.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, ensure};
use model::CenterName;

use crate::charter::{Charter, Member, State};

/// How long others may remember a record, in seconds: a center that is drained or lost is asked for at most so much longer.
pub(crate) const TTL_DEFAULT: u32 = 60;
/// The weights of all centers together, more or less: shares of a hundred.
const WEIGHTS: u64 = 100;
/// The only priority that is used (RFC 2782): all centers that take vehicles are as good as each other.
const PRIORITY: u16 = 10;

/// What the records are to say.
pub(crate) struct Wanted<'a> {
    /// The name that vehicles are configured with.
    pub(crate) name: &'a str,
    /// The port that they connect to.
    pub(crate) port: u16,
    pub(crate) ttl: u32,
    /// Where vehicles reach centers, where that is another address than the one that other centers use.
    pub(crate) at: &'a BTreeMap<CenterName, IpAddr>,
}

/// An address for a center: `NAME=ADDRESS`.
pub(crate) fn center_at(text: &str) -> Result<(CenterName, IpAddr), String> {
    let (name, address) = text.split_once('=').ok_or("NAME=ADDRESS, such as beijing-1=203.0.113.7")?;
    let name = name.parse().map_err(|_| format!("`{name}` is no center's name"))?;
    Ok((name, address.parse().map_err(|_| format!("`{address}` is no address"))?))
}

/// The records as a part of a zone's master file (RFC 1035, section 5): an address record for each active center, and service records
/// with weights for whoever reads those (RFC 2782). The weight is the center's share of the capacity, where all say theirs, else the same
/// for all.
///
/// # Errors
/// What is wrong with the name, or of which center no address is known.
pub(crate) fn zone(charter: &Charter, wanted: &Wanted<'_>) -> anyhow::Result<String> {
    let name = wanted.name.trim_end_matches('.');
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    ensure!(name.len() <= 200 && name.split('.').all(is_label), "`{name}` is no host name");
    for center in wanted.at.keys() {
        charter.member(center).with_context(|| format!("--at: no center {center} is in the charter"))?;
    }
    let takes = |member: &&Member| member.state == State::Active;
    let active: Vec<&Member> = charter.centers.iter().filter(takes).collect();
    let capacity: u64 = active.iter().map(|member| member.capacity_bytes).sum();
    let is_said = active.iter().all(|member| member.capacity_bytes > 0);
    let weight = |member: &Member| match is_said {
        true => (u128::from(member.capacity_bytes) * u128::from(WEIGHTS) / u128::from(capacity)).max(1),
        false => u128::from(WEIGHTS / active.len().max(1) as u64).max(1),
    };
    let mut zone =
        format!("; {name}: centers of {}, charter version {}\n", charter.country(), charter.version);
    for member in charter.centers.iter().filter(|member| !takes(member)) {
        writeln!(zone, "; {} is {}: no vehicles are sent to it", member.name, member.state)?;
    }
    let mut services = String::new();
    for member in &active {
        let address = match wanted.at.get(&member.name) {
            Some(address) => *address,
            None => address_of(member).with_context(|| {
                format!(
                    "{} is met at {}: say where vehicles reach it, with --at {}=ADDRESS",
                    member.name, member.address, member.name
                )
            })?,
        };
        let kind = if address.is_ipv4() { "A" } else { "AAAA" };
        let (ttl, center) = (wanted.ttl, &member.name);
        writeln!(zone, "{name}. {ttl} IN {kind} {address} ; {center}")?;
        writeln!(zone, "{center}.{name}. {ttl} IN {kind} {address}")?;
        writeln!(
            services,
            "_telemetry._tcp.{name}. {ttl} IN SRV {PRIORITY} {} {} {center}.{name}.",
            weight(member),
            wanted.port
        )?;
    }
    ensure!(!services.is_empty(), "no center is active: nobody takes vehicles");
    Ok(zone + &services)
}

/// The address at which other centers meet one.
fn address_of(member: &Member) -> Option<IpAddr> {
    member.address.parse::<SocketAddr>().ok().map(|address| address.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn charter(centers: &[(&str, State, &str, u64)]) -> Charter {
        let center = |(name, state, address, capacity): &(&str, State, &str, u64)| {
            serde_json::json!({
                "name": name, "site": "", "state": state, "address": address, "capacity_bytes": capacity,
                "log_vkey": "", "mirror_vkey": "", "recipient": "", "peer_sha256": "", "genesis_sha256": "", "vehicle_ca": "",
            })
        };
        let centers: Vec<_> = centers.iter().map(center).collect();
        let charter = serde_json::json!({
            "format": 1, "country": "CN", "cluster": "c", "version": 4, "at": "", "replication": 2, "centers": centers,
        });
        serde_json::from_value(charter).expect("a charter")
    }

    fn zone_of(charter: &Charter, at: &[(&str, &str)]) -> anyhow::Result<String> {
        let at =
            at.iter().map(|(name, ip)| center_at(&format!("{name}={ip}")).expect("an address")).collect();
        zone(charter, &Wanted { name: "cars.example.cn", port: 4443, ttl: 60, at: &at })
    }

    #[test]
    fn active_centers_have_records_by_their_share_of_the_capacity() {
        let charter = charter(&[
            ("shanghai-1", State::Active, "10.1.0.7:8701", 300),
            ("beijing-1", State::Active, "[2001:db8::7]:8701", 100),
            ("chengdu-1", State::Draining, "10.3.0.7:8701", 100),
        ]);
        let zone = zone_of(&charter, &[("shanghai-1", "203.0.113.7")]).expect("records");
        for line in [
            "; chengdu-1 is draining: no vehicles are sent to it",
            "cars.example.cn. 60 IN A 203.0.113.7 ; shanghai-1",
            "cars.example.cn. 60 IN AAAA 2001:db8::7 ; beijing-1",
            "_telemetry._tcp.cars.example.cn. 60 IN SRV 10 75 4443 shanghai-1.cars.example.cn.",
            "_telemetry._tcp.cars.example.cn. 60 IN SRV 10 25 4443 beijing-1.cars.example.cn.",
        ] {
            assert!(zone.lines().any(|said| said == line), "{line} is not in\n{zone}");
        }
        assert!(!zone.contains("10.3.0.7"), "{zone}");
    }

    #[test]
    fn where_one_does_not_say_its_capacity_all_have_the_same_weight() {
        let charter = charter(&[
            ("shanghai-1", State::Active, "10.1.0.7:8701", 0),
            ("beijing-1", State::Active, "10.2.0.7:8701", 900),
        ]);
        assert_eq!(zone_of(&charter, &[]).expect("records").matches(" SRV 10 50 ").count(), 2);
    }

    #[test]
    fn what_can_not_be_said_names_what_to_do() {
        let named = charter(&[("shanghai-1", State::Active, "center.example.cn:8701", 0)]);
        let problem = zone_of(&named, &[]).expect_err("no address").to_string();
        assert!(problem.contains("--at shanghai-1=ADDRESS"), "{problem}");
        let nobody = charter(&[("shanghai-1", State::Draining, "10.1.0.7:8701", 0)]);
        assert!(zone_of(&nobody, &[]).expect_err("nobody").to_string().contains("no center is active"));
        assert!(zone_of(&named, &[("beijing-1", "10.0.0.1")]).is_err());
        for name in ["", "a..b", "-a.cn", "a b.cn"] {
            assert!(zone(&named, &Wanted { name, port: 1, ttl: 1, at: &BTreeMap::new() }).is_err(), "{name}");
        }
    }
}
