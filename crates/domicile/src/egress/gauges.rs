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
            of_purpose.map(|to| figure(to.traffic())).sum::<u64>()
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
