//! What a frame says, in the catalogue's words.

use std::fmt::Write as _;
use std::sync::LazyLock;

use model::{Event, Position, Quality, Reading, ReadingSink, UtcMicros, gcj02_to_wgs84};

use super::alarms::flag_name;
use super::cipher::{Keys, open};
use super::error::Unreadable;
use super::fields::{ALARM_LEVEL, Field, Raw, Value, Visitor};
use super::frame::{Envelope, read_unit};
use super::items::{Alarms, Item, Place, Vehicle};
use super::list::{CountWidth, Element, List, Octets, Words, number};
use super::names::{INDEX_MAX, NAMES};
use super::{Edition, Realtime, Unit, WireTime};
use crate::catalogue::{self, GbtEntry};
use crate::tesla::CLOCK_AHEAD_TOLERANCE;

/// Which coordinates a position is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CoordinateSystem {
    /// What satellites give.
    Wgs84,
    /// What maps in mainland China use.
    Gcj02,
}

/// What decoding needs besides the frame.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// When the center read the frame.
    pub received_at: UtcMicros,
    /// The coordinates that frames of 2016 are in, which do not say it themselves.
    pub position_2016: CoordinateSystem,
    /// Keys of encrypted data units.
    pub keys: &'a Keys,
}

/// Buffers that decoding uses again and again.
#[derive(Debug, Default)]
pub struct Scratch {
    plain: Vec<u8>,
    text: Text,
}

#[derive(Debug, Default)]
struct Text {
    code: String,
    detail: String,
}

/// The catalogue's entries in the order of [`NAMES`].
static ENTRIES: LazyLock<Vec<&'static GbtEntry>> = LazyLock::new(|| {
    let entry = |(name, _): &(&'static str, &str)| {
        catalogue::gbt(name).expect("the catalogue has a line for each name; a test holds it")
    };
    NAMES.iter().map(entry).collect()
});

/// Gives the readings, positions and events of one whole frame to the sink, in the order in which they stand
/// in it. Answers and commands without data give none. Nothing is allocated once `scratch` has grown.
pub fn decode(
    frame: &[u8],
    context: &Context<'_>,
    scratch: &mut Scratch,
    sink: &mut impl ReadingSink,
) -> Result<(), Unreadable> {
    let envelope = Envelope::read(frame)?;
    let plain = open(&envelope.header, envelope.unit, context.keys, &mut scratch.plain)?;
    let unit = read_unit(&envelope.header, plain)?;
    let Some(wire_time) = unit.time() else { return Ok(()) };
    let (time, quality) = vehicle_time(wire_time, context.received_at);
    let mut walk = Walk {
        edition: envelope.header.edition,
        position_2016: context.position_2016,
        time,
        quality,
        speed: None,
        entries: &ENTRIES,
        text: &mut scratch.text,
        sink,
    };
    match &unit {
        Unit::Realtime(realtime) => {
            if wire_time.utc().is_none() {
                walk.event("impossible_date", None, |_, _| Ok(()));
            }
            walk.realtime(realtime);
        }
        Unit::Login(login) => walk.event("login", None, |code, detail| {
            write!(code, "{}", login.serial)?;
            write!(detail, "{{\"packs\":{}}}", login.codes().count())
        }),
        Unit::Logout(logout) => walk.event("logout", None, |code, _| write!(code, "{}", logout.serial)),
        _ => {}
    }
    Ok(())
}

/// The time of readings and their quality. A vehicle's clock that is ahead keeps its time; one that shows
/// what no calendar knows is given the time of reception.
fn vehicle_time(time: WireTime, received_at: UtcMicros) -> (UtcMicros, Quality) {
    match time.utc() {
        None => (received_at, Quality::Clock),
        Some(time) if time.since(received_at) > CLOCK_AHEAD_TOLERANCE => (time, Quality::Clock),
        Some(time) => (time, Quality::Valid),
    }
}

struct Walk<'w, S> {
    edition: Edition,
    position_2016: CoordinateSystem,
    time: UtcMicros,
    /// That of values that are as they should be.
    quality: Quality,
    /// The vehicle's speed, once its item has been seen.
    speed: Option<f64>,
    entries: &'static [&'static GbtEntry],
    text: &'w mut Text,
    sink: &'w mut S,
}

impl<S: ReadingSink> Walk<'_, S> {
    fn realtime(&mut self, realtime: &Realtime<'_>) {
        let edition = self.edition;
        for item in &realtime.items {
            match item {
                Item::Vehicle(vehicle) => {
                    self.speed = match Raw::Word(vehicle.speed).value() {
                        Value::Number(raw) => Some(Vehicle::SPEED.scaled(raw)),
                        Value::Abnormal | Value::Invalid => None,
                    };
                    vehicle.visit(edition, self);
                }
                Item::DriveMotors(motors) => {
                    self.numbered(
                        "motor",
                        &motors,
                        |motor| motor.number,
                        |motor, element, walk| {
                            motor.visit(edition, element, walk);
                        },
                    );
                }
                Item::FuelCell(item) => item.visit(self),
                Item::Hydrogen(item) => item.visit(self),
                Item::Engine(item) => item.visit(self),
                Item::Place(place) => self.place(&place),
                Item::Extremes(item) => item.visit(self),
                Item::Alarms(alarms) => self.alarms(&alarms),
                Item::CellVoltages(packs) => {
                    self.numbered(
                        "pack",
                        &packs,
                        |pack| pack.pack,
                        |pack, element, walk| {
                            pack.visit(edition, element, walk);
                        },
                    );
                }
                Item::Temperatures(packs) => {
                    self.numbered(
                        "pack",
                        &packs,
                        |pack| pack.pack,
                        |pack, element, walk| {
                            pack.visit(element, walk);
                        },
                    );
                }
                Item::Stacks(stacks) => {
                    self.numbered(
                        "stack",
                        &stacks,
                        |stack| stack.number,
                        |stack, element, walk| {
                            stack.visit(element, walk);
                        },
                    );
                }
                Item::Supercapacitor(item) => item.visit(self),
                Item::SupercapacitorExtremes(item) => item.visit(self),
                Item::Custom { kind, bytes } | Item::Unknown { kind, bytes } => {
                    self.event("unknown_item", None, |code, detail| {
                        write!(code, "{kind:#04x}")?;
                        write!(detail, "{{\"bytes\":{}}}", bytes.len())
                    });
                }
            }
        }
    }

    /// Visits the elements of a list that the catalogue has signals for, by the numbers that the vehicle
    /// gives them from 1; the others become one event.
    fn numbered<'a, T: Element<'a>>(
        &mut self,
        what: &'static str,
        list: &List<'a, T>,
        number: impl Fn(&T) -> u8,
        visit: impl Fn(&T, usize, &mut Self),
    ) {
        let mut beyond = 0_usize;
        for element in list {
            match usize::from(number(&element)) {
                index @ 1..=INDEX_MAX => visit(&element, index - 1, self),
                _ => beyond += 1,
            }
        }
        if beyond > 0 {
            self.event("index_beyond_catalogue", None, |code, detail| {
                code.push_str(what);
                write!(detail, "{{\"count\":{beyond}}}")
            });
        }
    }

    fn place(&mut self, place: &Place) {
        let degrees = |raw: u32, degrees_max: f64, is_negative: bool| {
            let degrees = f64::from(raw) / 1e6;
            let sign = if is_negative { -1.0 } else { 1.0 };
            (degrees <= degrees_max).then_some(sign * degrees)
        };
        let system = match (place.system, self.position_2016) {
            (None, system) => Some(system),
            (Some(1), _) => Some(CoordinateSystem::Wgs84),
            (Some(2), _) => Some(CoordinateSystem::Gcj02),
            (Some(_), _) => None,
        };
        let latitude = degrees(place.latitude, 90.0, place.state & 0b010 != 0);
        let longitude = degrees(place.longitude, 180.0, place.state & 0b100 != 0);
        // Degrees of a system that is not named can't be turned to WGS-84, so they are no place.
        let wgs84 = latitude.zip(longitude).zip(system).map(|((latitude, longitude), system)| match system {
            CoordinateSystem::Wgs84 => (latitude, longitude),
            CoordinateSystem::Gcj02 => gcj02_to_wgs84(latitude, longitude),
        });
        self.sink.position(Position {
            time: self.time,
            latitude: wgs84.map(|(latitude, _)| latitude),
            longitude: wgs84.map(|(_, longitude)| longitude),
            heading: None,
            speed: self.speed,
            valid: place.state & 0b001 == 0,
        });
    }

    fn alarms(&mut self, alarms: &Alarms<'_>) {
        self.value(ALARM_LEVEL, 0, Raw::Byte(alarms.level));
        let known = |level: u8| (level < 0xfe).then_some(i32::from(level));
        let edition = self.edition;
        let level_of = |bit: u8| {
            let single = alarms.levels.and_then(|levels| levels.iter().find(|level| level.flag == bit));
            known(single.map_or(alarms.level, |single| single.level))
        };
        for bit in (0..32).filter(|bit| alarms.flags >> bit & 1 == 1) {
            self.event("alarm", level_of(bit), |code, _| write_flag(edition, bit, code));
        }
        let unflagged = |bit: u8| bit >= 32 || alarms.flags >> bit & 1 == 0;
        for single in alarms.levels.iter().flatten().filter(|single| unflagged(single.flag)) {
            self.event("alarm", known(single.level), |code, _| write_flag(edition, single.flag, code));
        }
        let lists = [
            ("battery", &alarms.battery),
            ("motor", &alarms.motor),
            ("engine", &alarms.engine),
            ("other", &alarms.other),
        ];
        for (part, codes) in lists {
            for fault in codes {
                self.event("alarm", known(alarms.level), |code, detail| {
                    write!(code, "{:#010x}", fault.0)?;
                    write!(detail, "{{\"part\":\"{part}\"}}")
                });
            }
        }
    }

    fn event(
        &mut self,
        kind: &str,
        level: Option<i32>,
        write: impl FnOnce(&mut String, &mut String) -> std::fmt::Result,
    ) {
        let Text { code, detail } = &mut *self.text;
        code.clear();
        detail.clear();
        write(code, detail).expect("writing to a string cannot fail");
        let detail = Some(detail.as_str()).filter(|detail| !detail.is_empty());
        self.sink.event(Event { time: self.time, kind, code, level, ended_at: None, detail });
    }

    fn array(&mut self, field: Field, element: usize, values: impl Iterator<Item = Raw>) {
        let entry = self.entries[field.index(element)];
        let json = &mut self.text.detail;
        json.clear();
        json.push('[');
        for (position, raw) in values.enumerate() {
            if position > 0 {
                json.push(',');
            }
            match raw.value() {
                Value::Number(raw) => write_decimal(raw - field.bias, field.divisor, json),
                Value::Abnormal | Value::Invalid => json.push_str("null"),
            }
        }
        json.push(']');
        let reading = Reading {
            time: self.time,
            signal: entry.signal,
            value: None,
            text: Some(json),
            quality: self.quality,
        };
        self.sink.reading(reading);
    }

    /// A list whose count is a sentinel has no values: the array is that.
    fn absent(&mut self, field: Field, element: usize, quality: Quality) {
        let signal = self.entries[field.index(element)].signal;
        self.sink.reading(Reading { time: self.time, signal, value: None, text: None, quality });
    }
}

fn write_flag(edition: Edition, bit: u8, code: &mut String) -> std::fmt::Result {
    match flag_name(edition, bit) {
        Some(name) => code.write_str(name),
        None => write!(code, "flag_{bit}"),
    }
}

/// Appends number / divisor (a power of ten) as a JSON number without trailing zeros.
fn write_decimal(number: i64, divisor: u32, out: &mut String) {
    let divisor = u64::from(divisor);
    if number < 0 {
        out.push('-');
    }
    let magnitude = number.unsigned_abs();
    write_whole(magnitude / divisor, out);
    let mut rest = magnitude % divisor;
    if rest > 0 {
        out.push('.');
        let mut place = divisor / 10;
        while rest > 0 && place > 0 {
            out.push(char::from(b'0' + (rest / place) as u8));
            rest %= place;
            place /= 10;
        }
    }
}

/// Appends a whole number; nearly all of them have one or two digits, where formatting machinery would cost
/// most of the time.
fn write_whole(number: u64, out: &mut String) {
    if number >= 10 {
        write_whole(number / 10, out);
    }
    out.push(char::from(b'0' + (number % 10) as u8));
}

impl<S: ReadingSink> Visitor for Walk<'_, S> {
    #[inline]
    fn value(&mut self, field: Field, element: usize, raw: Raw) {
        let entry = self.entries[field.index(element)];
        let reading =
            |value, text, quality| Reading { time: self.time, signal: entry.signal, value, text, quality };
        let reading = match raw.value() {
            Value::Number(raw) => {
                let resolved = entry.number(field.scaled(raw));
                let quality =
                    if resolved.quality == Quality::Valid { self.quality } else { resolved.quality };
                reading(resolved.value, resolved.text, quality)
            }
            Value::Abnormal => reading(None, None, Quality::Abnormal),
            Value::Invalid => reading(None, None, Quality::Invalid),
        };
        self.sink.reading(reading);
    }

    fn octets(&mut self, field: Field, element: usize, values: &Octets<'_>) {
        match values.absence(CountWidth::Word) {
            Some(quality) => self.absent(field, element, quality),
            None => self.array(field, element, values.as_slice().iter().map(|raw| Raw::Byte(*raw))),
        }
    }

    fn words(&mut self, field: Field, element: usize, values: &Words<'_>) {
        let width = match self.edition {
            Edition::V2016 => CountWidth::Byte,
            Edition::V2025 => CountWidth::Word,
        };
        match values.absence(width) {
            Some(quality) => self.absent(field, element, quality),
            None => self.array(field, element, values.as_slice().iter().map(|pair| Raw::Word(number(*pair)))),
        }
    }
}
