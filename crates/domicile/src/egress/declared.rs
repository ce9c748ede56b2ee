//! What the operator declared: the only addresses that this program may connect to, each with its purpose, its country and,
//! where it is given, the networks that it lies in. Whatever is not on this list can't be asked for: a [`Destination`] is made here
//! and nowhere else, and the dialer takes nothing but a destination.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;
use model::Country;

use super::dial::Traffic;
use crate::settings::{Allowed, Settings, Witness, network};

/// The longest host name (RFC 1035, 2.3.4, as text).
const NAME_BYTES_MAX: usize = 253;
/// The longest label of a host name (RFC 1035, 2.3.4).
const LABEL_BYTES_MAX: usize = 63;
/// Destinations at most: a center has a handful, and each is a rule of the packet filter.
const DESTINATIONS_MAX: usize = 64;

/// A setting that declares what can't be declared. Says what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {problem}")]
pub(crate) struct DeclarationError {
    setting: String,
    problem: String,
}

/// An address that is not on the list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{to} is not declared as {purpose}; if it lies in the country, write {{ to = \"{to}\", purpose = \"{purpose}\", country = \"…\" }} \
     in egress.allow"
)]
pub(crate) struct Undeclared {
    to: String,
    purpose: Purpose,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Purpose {
    /// Somebody who cosigns the ledger's checkpoints.
    Witness,
    /// A receiver of readings inside the country.
    Feed,
    /// Another center of the same cluster.
    Peer,
    /// The store of objects.
    ObjectStore,
}

impl Purpose {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Witness, Self::Feed, Self::Peer, Self::ObjectStore];

    /// Its word in the settings.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Witness => "witness",
            Self::Feed => "feed",
            Self::Peer => "peer",
            Self::ObjectStore => "object_store",
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A host as the operator wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Host {
    /// A name, in lower case. It is resolved when it is connected to.
    Name(String),
    /// An address.
    Address(IpAddr),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// An address that may be connected to. Only [`Declared`] makes one.
#[derive(Debug)]
pub(crate) struct Destination {
    host: Host,
    port: u16,
    purpose: Purpose,
    country: Country,
    networks: Vec<IpNet>,
    pub(super) traffic: Arc<Traffic>,
}

impl Destination {
    /// The host.
    pub(crate) fn host(&self) -> &Host {
        &self.host
    }

    /// The TCP port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// What it is for.
    pub(crate) fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// Where it lies, by the operator's word.
    pub(crate) fn country(&self) -> Country {
        self.country
    }

    /// The networks that it lies in; empty where none are declared.
    pub(crate) fn networks(&self) -> &[IpNet] {
        &self.networks
    }

    /// What went there since the start.
    pub(crate) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Whether an address lies in its networks. Without networks every address does: then the name is all that is declared.
    pub(crate) fn includes(&self, address: IpAddr) -> bool {
        self.networks.is_empty() || self.networks.iter().any(|network| network.contains(&address))
    }
}

impl Declared {
    /// Another center of the country, at the address that the charter gives: an address in the networks that the operator declared for
    /// centers. The charter is the operator's own list, signed with the country's key.
    ///
    /// # Errors
    /// Where the address is none, or lies elsewhere.
    pub(crate) fn peer(
        &self,
        address: &str,
        settings: &Settings,
        country: Country,
    ) -> Result<Destination, DeclarationError> {
        let wrong =
            |problem: String| DeclarationError { setting: format!("the charter, {address}"), problem };
        let (host, port) = host_and_port(address).map_err(wrong)?;
        let networks = settings.peer.networks.iter().map(|text| network(text)).collect::<Result<Vec<_>, _>>();
        let networks = networks.map_err(wrong)?;
        let destination = Destination {
            host,
            port,
            purpose: Purpose::Peer,
            country,
            networks,
            traffic: self.peers.clone(),
        };
        match &destination.host {
            Host::Address(at) if !destination.networks.is_empty() && destination.includes(*at) => {
                Ok(destination)
            }
            _ => Err(wrong(
                "no address in peer.networks: a center connects to centers inside the declared networks only"
                    .to_owned(),
            )),
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// The list.
#[derive(Debug, Default)]
pub(crate) struct Declared {
    destinations: Vec<Arc<Destination>>,
    /// What went to other centers of the charter.
    peers: Arc<Traffic>,
}

impl Declared {
    /// The list of a center of this country: every destination must lie in it.
    ///
    /// # Errors
    /// The first entry that can't be declared, and what to write instead.
    pub(crate) fn of(settings: &Settings, own: Country) -> Result<Self, DeclarationError> {
        let declared = Self::parse(settings)?;
        for (entry, destination) in declared.destinations.iter().enumerate() {
            if destination.country != own {
                return Err(DeclarationError {
                    setting: allow_entry(entry, &destination.to_string()),
                    problem: format!(
                        "lies in {}, and this center in {own}: a center connects inside its country only; take the entry out",
                        destination.country
                    ),
                });
            }
        }
        Ok(declared)
    }

    /// The list by itself, not yet held against the center's country, which the settings don't know.
    ///
    /// # Errors
    /// The first entry that can't be declared, and what to write instead.
    pub(crate) fn parse(settings: &Settings) -> Result<Self, DeclarationError> {
        let allow = &settings.egress.allow;
        let mut declared = Self::default();
        for (entry, allowed) in allow.iter().enumerate() {
            let wrong =
                |problem: String| DeclarationError { setting: allow_entry(entry, &allowed.to), problem };
            if entry == DESTINATIONS_MAX {
                return Err(wrong(format!("{DESTINATIONS_MAX} destinations are the most")));
            }
            let destination = destination(allowed).map_err(wrong)?;
            if declared.find(destination.purpose, &destination.host, destination.port).is_ok() {
                return Err(wrong(format!("is declared as {} before: keep one entry", destination.purpose)));
            }
            declared.destinations.push(Arc::new(destination));
        }
        for (entry, witness) in settings.ledger.witnesses.iter().enumerate() {
            declared.witness(witness).map_err(|problem| DeclarationError {
                setting: format!("ledger.witnesses, entry {} (`{}`)", entry + 1, witness.name),
                problem,
            })?;
        }
        Ok(declared)
    }

    /// What went to the other centers of the charter since the start.
    pub(crate) fn peer_traffic(&self) -> &Traffic {
        &self.peers
    }

    /// The list with another center on it.
    pub(crate) fn with_peer(mut self, destination: Destination) -> Self {
        if self.find(destination.purpose, &destination.host, destination.port).is_err() {
            self.destinations.push(Arc::new(destination));
        }
        self
    }

    /// All destinations, in the order of the settings.
    pub(crate) fn destinations(&self) -> &[Arc<Destination>] {
        &self.destinations
    }

    /// Whether a name must be resolved for any of them.
    pub(crate) fn has_names(&self) -> bool {
        self.destinations.iter().any(|destination| matches!(destination.host, Host::Name(_)))
    }

    /// The destination of this purpose at this address.
    ///
    /// # Errors
    /// [`Undeclared`], which says what to write.
    pub(crate) fn find(
        &self,
        purpose: Purpose,
        host: &Host,
        port: u16,
    ) -> Result<&Arc<Destination>, Undeclared> {
        self.destinations
            .iter()
            .find(|known| known.purpose == purpose && known.host == *host && known.port == port)
            .ok_or_else(|| Undeclared { to: format!("{host}:{port}"), purpose })
    }

    /// Where a witness is asked: its URL and the destination that is declared for it.
    pub(super) fn witness(&self, witness: &Witness) -> Result<(Url, &Arc<Destination>), String> {
        check_vkey(&witness.vkey)?;
        let country: Country = witness.country.parse().map_err(|error| format!("country: {error}"))?;
        let url = Url::parse(&witness.url)?;
        let destination = self
            .find(Purpose::Witness, &url.host, url.port)
            .map_err(|undeclared| format!("url: {undeclared}"))?;
        if destination.country != country {
            return Err(format!(
                "country = \"{country}\", but {destination} is declared in {}: write the same in both",
                destination.country
            ));
        }
        Ok((url, destination))
    }
}

fn allow_entry(entry: usize, to: &str) -> String {
    format!("egress.allow, entry {} (`{to}`)", entry + 1)
}

fn destination(allowed: &Allowed) -> Result<Destination, String> {
    let (host, port) = host_and_port(&allowed.to)?;
    let known = |purpose: &Purpose| purpose.as_str() == allowed.purpose;
    let purpose = Purpose::ALL.into_iter().find(known).ok_or_else(|| {
        format!(
            "purpose = \"{}\" is none; write \"witness\", \"feed\", \"peer\" or \"object_store\"",
            allowed.purpose
        )
    })?;
    let country = allowed.country.parse().map_err(|error| format!("country: {error}"))?;
    let networks = allowed.networks.iter().map(|text| network(text)).collect::<Result<Vec<_>, _>>()?;
    let destination = Destination { host, port, purpose, country, networks, traffic: Arc::default() };
    match destination.host {
        Host::Address(address) if !destination.includes(address) => {
            Err(format!("{address} lies in none of its networks; correct the one or the other"))
        }
        _ => Ok(destination),
    }
}

/// `host:port`, where an IPv6 address stands in brackets.
fn host_and_port(text: &str) -> Result<(Host, u16), String> {
    let form = "write a host and its port, such as \"witness.example.cn:443\", \"10.2.0.7:443\" or \"[fd00::7]:443\"";
    let (host_text, port) = text.rsplit_once(':').ok_or(form)?;
    let port = port.parse().ok().filter(|port| *port != 0).ok_or(form)?;
    Ok((host(host_text)?, port))
}

fn host(text: &str) -> Result<Host, String> {
    let address = match text.strip_prefix('[') {
        Some(rest) => {
            let inside = rest.strip_suffix(']').and_then(|inside| inside.parse().ok());
            Some(IpAddr::V6(inside.ok_or_else(|| format!("`{text}` is no IPv6 address in brackets"))?))
        }
        None => text.parse().ok().map(IpAddr::V4),
    };
    match address.map(|address| address.to_canonical()) {
        Some(address) if address.is_unspecified() || address.is_multicast() => {
            Err(format!("{address} is nobody's address; write the one that is connected to"))
        }
        Some(address) => Ok(Host::Address(address)),
        None if is_host_name(text) => Ok(Host::Name(text.to_ascii_lowercase())),
        None => Err(format!(
            "`{text}` is neither a host name nor an address; a pattern is none, write each host by itself"
        )),
    }
}

fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        let is_plain = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        is_plain
            && (1..=LABEL_BYTES_MAX).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // Resolvers read `10.2` and `2130706433` as addresses; the last label of a name is never all digits.
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= NAME_BYTES_MAX
        && text.split('.').all(is_label)
        && !last.bytes().all(|b| b.is_ascii_digit())
        && !last.starts_with("0x")
}

/// The form of a verifier key of C2SP signed notes; the ledger reads its content.
fn check_vkey(vkey: &str) -> Result<(), String> {
    let mut parts = vkey.splitn(3, '+');
    let name = parts.next().unwrap_or_default();
    let id = parts.next().unwrap_or_default();
    let key = parts.next().and_then(|key| STANDARD.decode(key).ok()).unwrap_or_default();
    let is_id = id.len() == 8 && id.bytes().all(|b| b.is_ascii_hexdigit());
    if name.is_empty() || !is_id || key.len() < 2 {
        return Err("vkey is no verifier key; write the line that the witness publishes, \
                    \"<name>+<8 hex digits>+<base64>\""
            .to_owned());
    }
    Ok(())
}

/// An HTTP address, as far as this program needs one: no user, no query, no fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    pub(super) is_tls: bool,
    pub(super) host: Host,
    pub(super) port: u16,
    /// Begins with a slash and doesn't end with one, except where it is nothing else: then it is empty.
    pub(super) path: String,
}

impl Url {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it and how one is written.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let form = || format!("`{text}` is no URL of a service; write \"https://host[:port][/path]\"");
        let (scheme, rest) = text.split_once("://").ok_or_else(form)?;
        let (is_tls, standard_port) = match scheme {
            "https" => (true, 443),
            "http" => (false, 80),
            _ => return Err(form()),
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let is_path = |b: u8| b.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:@".contains(&b);
        if authority.contains('@') || !path.bytes().all(is_path) {
            return Err(form());
        }
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
        let (host, port) =
            if has_port { host_and_port(authority)? } else { (host(authority)?, standard_port) };
        Ok(Self { is_tls, host, port, path: path.trim_end_matches('/').to_owned() })
    }

    /// Whether it is this destination's.
    pub(crate) fn leads_to(&self, destination: &Destination) -> bool {
        self.host == destination.host && self.port == destination.port
    }

    /// What the `Host` header says.
    pub(super) fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
#[path = "declared_tests.rs"]
mod tests;
