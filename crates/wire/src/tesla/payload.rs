//! The payloads.
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
    /// The topic of an envelope's bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        match bytes {
            b"V" => Some(Self::Vitals),
            b"alerts" => Some(Self::Alerts),
            b"errors" => Some(Self::Errors),
            b"connectivity" => Some(Self::Connectivity),
            b"metrics" => Some(Self::Metrics),
            _ => None,
        }
    }

    /// The topic's name on the wire, also the metric's label.
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

/// Whether a payload parses as its topic's message; `true` inside where the vehicle marks it as sent again.
pub fn validate(_topic: Topic, _payload: &[u8]) -> Result<bool, Malformed> {
    Ok(false)
}
