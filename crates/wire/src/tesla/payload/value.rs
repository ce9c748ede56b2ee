//! A datum of topic `V`: a field's number and its value, a one-of of 53 kinds.

use super::proto::{Fault, Field, Span, put_double, put_float, put_message, put_number, put_text};

/// A value of a field.
#[derive(Clone, Copy, PartialEq)]
pub struct Datum<'a> {
    /// The number in the maker's enumeration `Field`; a negative one reads as a very large one, which the catalogue doesn't know.
    pub field: u32,
    /// The value.
    pub value: Value<'a>,
}

/// A value in the maker's words.
#[derive(Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// Nothing is set.
    Absent,
    /// The vehicle has the signal and no valid value of it (or older firmware says `<invalid>` in a text).
    Invalid,
    /// A text: in older firmware every value is one.
    Text(&'a str),
    /// `int_value`.
    Int(i32),
    /// `long_value`.
    Long(i64),
    /// `float_value`.
    Float(f32),
    /// `double_value`.
    Double(f64),
    /// `boolean_value`.
    Boolean(bool),
    /// `location_value`: degrees north, degrees east, as sent.
    Location {
        /// Degrees north.
        latitude: f64,
        /// Degrees east.
        longitude: f64,
    },
    /// `door_value`: bit `n - 1` is set where the member of number `n` is open.
    Doors(u16),
    /// `tire_location_value`: bit `n - 1` is set where the member of number `n` is.
    Tires(u16),
    /// `time_value`.
    Time {
        /// Hour as sent.
        hour: i32,
        /// Minute as sent.
        minute: i32,
        /// Second as sent.
        second: i32,
    },
    /// A number of one of the enumerations.
    Enumeration {
        /// Which kind of the one-of it is; [`enumeration_name`] names it.
        kind: u32,
        /// The enumeration's number.
        number: i32,
    },
    /// A kind of the one-of that this version doesn't know.
    Unknown {
        /// Its number.
        kind: u32,
    },
}

/// Values are vehicles' data: only the kind is printed.
impl std::fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Value(kind {})", self.kind())
    }
}

impl std::fmt::Debug for Datum<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Datum").field("field", &self.field).field("value", &self.value).finish()
    }
}

const TEXT: u32 = 1;
const INT: u32 = 2;
const LONG: u32 = 3;
const FLOAT: u32 = 4;
const DOUBLE: u32 = 5;
const BOOLEAN: u32 = 6;
const LOCATION: u32 = 7;
const INVALID: u32 = 10;
const DOORS: u32 = 21;
const TIME: u32 = 31;
const TIRES: u32 = 39;

/// Members of `Doors` and `TireLocation`.
const DOORS_MEMBERS: u32 = 6;
const TIRES_MEMBERS: u32 = 10;

/// The enumeration of a kind of the one-of; `None` for a kind that is none.
pub fn enumeration_name(kind: u32) -> Option<&'static str> {
    ENUMERATIONS.get(usize::try_from(kind).ok()?).copied().filter(|name| !name.is_empty())
}

/// Enumerations by the number of their kind in the one-of `Value`.
const ENUMERATIONS: [&str; 55] = [
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    "ChargingState",
    "ShiftState",
    "",
    "LaneAssistLevel",
    "ScheduledChargingModeValue",
    "SentryModeState",
    "SpeedAssistLevel",
    "BMSStateValue",
    "BuckleStatus",
    "CarTypeValue",
    "ChargePortValue",
    "ChargePortLatchValue",
    "",
    "",
    "DriveInverterState",
    "HvilStatus",
    "WindowState",
    "SeatFoldPosition",
    "TractorAirStatus",
    "FollowDistance",
    "ForwardCollisionSensitivity",
    "GuestModeMobileAccess",
    "TrailerAirStatus",
    "",
    "DetailedChargeStateValue",
    "HvacAutoModeState",
    "CabinOverheatProtectionModeState",
    "ClimateOverheatProtectionTempLimit",
    "DefrostModeState",
    "ClimateKeeperModeState",
    "HvacPowerState",
    "",
    "FastCharger",
    "CableType",
    "TonneauTentModeState",
    "TonneauPositionState",
    "PowershareTypeStatus",
    "PowershareState",
    "PowershareStopReasonStatus",
    "DisplayState",
    "DistanceUnit",
    "TemperatureUnit",
    "PressureUnit",
    "ChargeUnitPreference",
    "TurnSignalState",
    "MediaStatus",
    "SunroofInstalledState",
];

impl<'a> Datum<'a> {
    pub(super) fn read(span: Span<'a>) -> Result<Self, Fault> {
        let mut datum = Self { field: 0, value: Value::Absent };
        let mut fields = span.fields();
        while let Some(field) = fields.next()? {
            match field.number {
                1 => datum.field = field.int32()? as u32,
                2 => datum.value = Value::read(field.span()?)?,
                _ => {}
            }
        }
        Ok(datum)
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        put_number(out, 1, u64::from(self.field));
        put_message(out, 2, |out| self.value.write(out));
    }
}

impl<'a> Value<'a> {
    /// The number of the value's kind in the one-of; 0 where nothing is set.
    pub fn kind(&self) -> u32 {
        match *self {
            Self::Absent => 0,
            Self::Text(_) => TEXT,
            Self::Int(_) => INT,
            Self::Long(_) => LONG,
            Self::Float(_) => FLOAT,
            Self::Double(_) => DOUBLE,
            Self::Boolean(_) => BOOLEAN,
            Self::Location { .. } => LOCATION,
            Self::Invalid => INVALID,
            Self::Doors(_) => DOORS,
            Self::Time { .. } => TIME,
            Self::Tires(_) => TIRES,
            Self::Enumeration { kind, .. } | Self::Unknown { kind } => kind,
        }
    }

    /// Reads a one-of: of several that are set the last holds. A kind that isn't known doesn't displace one that is.
    fn read(span: Span<'a>) -> Result<Self, Fault> {
        let mut value = Self::Absent;
        let mut fields = span.fields();
        while let Some(field) = fields.next()? {
            match Self::of_field(&field)? {
                unknown @ Self::Unknown { .. } if value == Self::Absent => value = unknown,
                Self::Unknown { .. } => {}
                known => value = known,
            }
        }
        Ok(value)
    }

    #[inline(always)]
    fn of_field(field: &Field<'a>) -> Result<Self, Fault> {
        Ok(match field.number {
            TEXT => Self::Text(field.text()?),
            INT => Self::Int(field.int32()?),
            LONG => Self::Long(field.int64()?),
            FLOAT => Self::Float(field.float()?),
            DOUBLE => Self::Double(field.double()?),
            BOOLEAN => Self::Boolean(field.boolean()?),
            LOCATION => read_location(field.span()?)?,
            INVALID => field.boolean().map(|_| Self::Invalid)?,
            DOORS => Self::Doors(read_members(field.span()?, DOORS_MEMBERS)?),
            TIME => read_time(field.span()?)?,
            TIRES => Self::Tires(read_members(field.span()?, TIRES_MEMBERS)?),
            kind if enumeration_name(kind).is_some() => Self::Enumeration { kind, number: field.int32()? },
            kind => Self::Unknown { kind },
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        let kind = self.kind();
        match *self {
            Self::Absent | Self::Unknown { .. } => {}
            Self::Text(text) => put_text(out, kind, text),
            Self::Int(number) | Self::Enumeration { number, .. } => {
                put_number(out, kind, i64::from(number) as u64)
            }
            Self::Long(number) => put_number(out, kind, number as u64),
            Self::Float(number) => put_float(out, kind, number),
            Self::Double(number) => put_double(out, kind, number),
            Self::Boolean(flag) => put_number(out, kind, u64::from(flag)),
            Self::Invalid => put_number(out, kind, 1),
            Self::Location { latitude, longitude } => put_message(out, kind, |out| {
                put_double(out, 1, latitude);
                put_double(out, 2, longitude);
            }),
            Self::Doors(bits) | Self::Tires(bits) => put_message(out, kind, |out| {
                (1..=16)
                    .filter(|member| bits >> (member - 1) & 1 == 1)
                    .for_each(|member| put_number(out, member, 1));
            }),
            Self::Time { hour, minute, second } => put_message(out, kind, |out| {
                for (member, number) in [(1, hour), (2, minute), (3, second)] {
                    if number != 0 {
                        put_number(out, member, i64::from(number) as u64);
                    }
                }
            }),
        }
    }
}

fn read_location<'a>(span: Span<'_>) -> Result<Value<'a>, Fault> {
    let (mut latitude, mut longitude) = (0.0, 0.0);
    let mut fields = span.fields();
    while let Some(field) = fields.next()? {
        match field.number {
            1 => latitude = field.double()?,
            2 => longitude = field.double()?,
            _ => {}
        }
    }
    Ok(Value::Location { latitude, longitude })
}

fn read_members(span: Span<'_>, members: u32) -> Result<u16, Fault> {
    let mut bits = 0_u16;
    let mut fields = span.fields();
    while let Some(field) = fields.next()? {
        if field.number <= members {
            let bit = 1 << (field.number - 1);
            bits = if field.boolean()? { bits | bit } else { bits & !bit };
        }
    }
    Ok(bits)
}

fn read_time<'a>(span: Span<'_>) -> Result<Value<'a>, Fault> {
    let (mut hour, mut minute, mut second) = (0, 0, 0);
    let mut fields = span.fields();
    while let Some(field) = fields.next()? {
        match field.number {
            1 => hour = field.int32()?,
            2 => minute = field.int32()?,
            3 => second = field.int32()?,
            _ => {}
        }
    }
    Ok(Value::Time { hour, minute, second })
}
