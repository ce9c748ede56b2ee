//! Readings: what a frame says, in the catalogue's words. They borrow from the frame; nothing is allocated for one.

use crate::{SignalId, UtcMicros};

/// How much a value is worth.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
#[repr(u8)]
pub enum Quality {
    /// As it should be.
    Valid = 0,
    /// The vehicle says that it has no valid value.
    Invalid = 1,
    /// The vehicle says that the value is abnormal, or the value can't be (NaN, out of its range).
    Abnormal = 2,
    /// The vehicle's clock is ahead of the center's.
    Clock = 3,
}

impl Quality {
    /// The word in the column `quality`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Invalid => "invalid",
            Self::Abnormal => "abnormal",
            Self::Clock => "clock",
        }
    }
}

/// One value of one signal.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Reading<'a> {
    /// The vehicle's time.
    pub time: UtcMicros,
    /// Which signal.
    pub signal: SignalId,
    /// The number in the signal's unit; a boolean is 0 or 1, an enumeration its number. `None` unless valid (or of quality `clock`).
    pub value: Option<f64>,
    /// The text, the enumeration's name, or an array's JSON.
    pub text: Option<&'a str>,
    /// How much it is worth.
    pub quality: Quality,
}

/// Where a vehicle was, WGS-84.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Position {
    /// The vehicle's time.
    pub time: UtcMicros,
    /// Degrees north, −90 to 90; `None` where the vehicle gave none that can be.
    pub latitude: Option<f64>,
    /// Degrees east, −180 to 180.
    pub longitude: Option<f64>,
    /// Degrees clockwise from north, 0 to 360.
    pub heading: Option<f64>,
    /// km/h.
    pub speed: Option<f64>,
    /// Whether the vehicle calls its own position valid.
    pub valid: bool,
}

/// Something that happened: an alert, an alarm, an error, a login, a connection.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Event<'a> {
    /// When it began, by the vehicle's clock (the center's for connections).
    pub time: UtcMicros,
    /// The kind, such as `alert`, `alarm`, `error`, `login`, `logout`, `connected`, `disconnected`, `refused`, `unknown_item`.
    pub kind: &'a str,
    /// The maker's name or number for it.
    pub code: &'a str,
    /// Severity where the protocol has one (GB/T alarms 0 to 3).
    pub level: Option<i32>,
    /// When it ended, where that is known.
    pub ended_at: Option<UtcMicros>,
    /// Further detail, one JSON object; never the content of an unknown item.
    pub detail: Option<&'a str>,
}

/// Takes the readings of a frame one by one, in the order in which they stand in it.
pub trait ReadingSink {
    /// Takes one value.
    fn reading(&mut self, reading: Reading<'_>);
    /// Takes a place.
    fn position(&mut self, position: Position);
    /// Takes an event.
    fn event(&mut self, event: Event<'_>);
}
