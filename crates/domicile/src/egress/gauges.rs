//! The outbound connections in `/metrics`, by purpose: an address is no label.

use std::fmt;

use super::declared::{Declared, Purpose};
use super::dial::Traffic;
use crate::observe::Gauges;

/// Adds gauges to `/metrics`.
pub(crate) fn egress_gauges(declared: &Declared, gauges: &mut Gauges<'_, '_>) -> fmt::Result {
    let each = |figure: fn(&Traffic) -> u64| {
        let sum = |purpose: Purpose| {
            let of_purpose = declared.destinations().iter().filter(|to| to.purpose() == purpose);
            let centers = if purpose == Purpose::Peer { figure(declared.peer_traffic()) } else { 0 };
            centers + of_purpose.map(|to| figure(to.traffic())).sum::<u64>()
        };
        Purpose::ALL.map(|purpose| ([("purpose", purpose.as_str())], sum(purpose) as f64))
    };
    gauges.family(
        "egress_connections",
        "Outbound connections opened since the start",
        &each(Traffic::connections),
    )?;
    gauges.family(
        "egress_failures",
        "Outbound connections that could not be opened",
        &each(Traffic::failures),
    )?;
    gauges.family(
        "egress_dns_abroad",
        "Outbound connections refused because a name led out of its declared networks",
        &each(Traffic::dns_abroad),
    )?;
    gauges.family("egress_bytes_sent", "Bytes sent to declared destinations", &each(Traffic::bytes_sent))?;
    gauges.family(
        "egress_bytes_received",
        "Bytes received from declared destinations",
        &each(Traffic::bytes_received),
    )
}

#[cfg(test)]
mod tests {
    use super::egress_gauges;
    use crate::egress::Declared;
    use crate::observe::Metrics;
    use crate::settings::Settings;

    #[test]
    fn metrics_name_purposes_and_no_address() {
        let list =
            "[egress]\nallow = [{ to = \"w.example.cn:443\", purpose = \"witness\", country = \"CN\" }]\n";
        let settings = Settings::read(list, "domicile.toml", &|_| None).expect("settings");
        let declared = Declared::parse(&settings).expect("a list");
        let metrics = Metrics::new();
        metrics.add_gauges(move |gauges| egress_gauges(&declared, gauges));
        let text = metrics.text();
        assert!(text.contains("domicile_egress_connections{purpose=\"witness\"} 0"), "{text}");
        assert!(text.contains("domicile_egress_dns_abroad{purpose=\"object_store\"} 0"), "{text}");
        assert!(!text.contains("example.cn"), "{text}");
    }
}
