//! The payloads: five protobuf (proto3) messages, one a topic, read in place and without allocation.
//!
//! A message is read twice at most: `parse` walks all of it once and refuses what isn't whole; the iterators of a parsed message then
//! can't meet anything malformed. Unknown fields are skipped. A known field of another wire type than its own is malformed (a lenient
//! reader would drop the value in silence), and so are groups, which proto3 doesn't have, and texts that aren't UTF-8.
//!
//! The `vin` inside a payload is checked to be text and otherwise ignored: the certificate says whose a message is.

mod encode;
mod notice;
mod proto;
mod value;
mod vitals;

pub use encode::{Tag, encode_alerts, encode_connectivity, encode_errors, encode_metrics, encode_vitals};
pub use notice::{
    Alert, Alerts, Audience, Connectivity, ConnectivityStatus, Errors, Metric, Metrics, Notices, Tags,
    VehicleError,
};
pub use value::{Datum, Value, enumeration_name};
pub use vitals::Vitals;

use crate::Malformed;

/// What an envelope's payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    /// `V`: signals.
    Vitals,
    /// `alerts`.
    Alerts,
    /// `errors`.
    Errors,
    /// `connectivity`.
    Connectivity,
    /// `metrics`.
    Metrics,
}

impl Topic {
    /// Every topic.
    pub const ALL: [Self; 5] = [Self::Vitals, Self::Alerts, Self::Errors, Self::Connectivity, Self::Metrics];

    /// The topic of an envelope's bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.as_str().as_bytes() == bytes)
    }

    /// The topic's name on the wire, also a metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Vitals => "V",
            Self::Alerts => "alerts",
            Self::Errors => "errors",
            Self::Connectivity => "connectivity",
            Self::Metrics => "metrics",
        }
    }
}

/// Whether a payload parses as its topic's message: one pass, no allocation. Inside is whether the vehicle marks it as sent again.
pub fn validate(topic: Topic, payload: &[u8]) -> Result<bool, Malformed> {
    match topic {
        Topic::Vitals => Vitals::parse(payload).map(|vitals| vitals.is_resend),
        Topic::Alerts => Alerts::parse(payload).map(|_| false),
        Topic::Errors => Errors::parse(payload).map(|_| false),
        Topic::Connectivity => Connectivity::parse(payload).map(|_| false),
        Topic::Metrics => Metrics::parse(payload).map(|_| false),
    }
}
