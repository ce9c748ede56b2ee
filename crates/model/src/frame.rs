//! A frame: what a vehicle sent, as bytes, with who and when.

use std::fmt;

use crate::{ConnectionId, UtcMicros, VehicleId};

/// Which decoder reads a frame's bytes. The number is what the journal keeps.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
#[non_exhaustive]
#[repr(u8)]
pub enum Protocol {
    /// What the center itself observes of a vehicle (connected, refused, disconnected): one JSON object.
    Center = 0,
    /// Tesla Fleet Telemetry: a whole FlatBuffers envelope.
    Tesla = 1,
    /// GB/T 32960.3 of 2016 or 2025: a whole frame with start bytes and check code.
    Gbt32960 = 2,
    /// A sales, ownership or service record that somebody imported: one JSON object. No vehicle sends these.
    Records = 3,
}

impl Protocol {
    /// The name that the tables' column `source` and metrics use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Center => "center",
            Self::Tesla => "tesla",
            Self::Gbt32960 => "gbt32960",
            Self::Records => "records",
        }
    }

    /// The protocol of a journal's number; `None` for a number that this version doesn't know.
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Center),
            1 => Some(Self::Tesla),
            2 => Some(Self::Gbt32960),
            3 => Some(Self::Records),
            _ => None,
        }
    }

    /// The protocol of a name as [`Protocol::as_str`] gives it.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Center, Self::Tesla, Self::Gbt32960, Self::Records]
            .into_iter()
            .find(|protocol| protocol.as_str() == name)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a connection's identity rests on, weakest first.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Assurance {
    /// The vehicle said so.
    Claim,
    /// A platform with an account said so.
    Platform,
    /// A signature over the data verified against the key registered for the vehicle.
    Signature,
    /// A client certificate of a trusted issuer names the vehicle.
    Certificate,
}

impl Assurance {
    /// The word for people and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Claim => "claim",
            Self::Platform => "platform",
            Self::Signature => "signature",
            Self::Certificate => "certificate",
        }
    }
}

/// Which of a vehicle's data keys: 0 from registration on, one more with each change of owner.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Default)]
pub struct KeyPeriod(pub u32);

/// What a vehicle sent, as bytes as received, with who, when and how.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// When the center read its last byte.
    pub received_at: UtcMicros,
    /// Whose it is.
    pub vehicle: VehicleId,
    /// Which data key of the vehicle it is sealed under.
    pub key: KeyPeriod,
    /// Which decoder reads it.
    pub protocol: Protocol,
    /// The connection that it came over.
    pub connection: ConnectionId,
    /// The bytes.
    pub bytes: &'a [u8],
}

impl fmt::Debug for Frame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("received_at", &self.received_at)
            .field("vehicle", &self.vehicle)
            .field("key", &self.key)
            .field("protocol", &self.protocol)
            .field("connection", &self.connection)
            .field("bytes", &format_args!("{} bytes", self.bytes.len()))
            .finish()
    }
}
