//! One value of a vehicle to readings: typed values and the texts of older firmware give the same ones.

use std::fmt::Write as _;

use model::{Datatype, Quality, Reading, ReadingSink, SignalId, UtcMicros};

use crate::catalogue::{self, Entry, Enumeration, TeslaEntry};

use super::payload::{Value, enumeration_name};
use super::text;

/// Writes readings of one message. Nothing is allocated for a number, a flag, an enumeration or a text.
pub(super) struct Writer<'s, S: ?Sized> {
    time: UtcMicros,
    /// The quality of a value that is as it should be: `Valid`, or `Clock` where the vehicle's clock is ahead.
    valid: Quality,
    sink: &'s mut S,
    /// For the few values whose text has to be made: a number of a signal that is a text, a time of day.
    scratch: String,
}

impl<'s, S: ReadingSink + ?Sized> Writer<'s, S> {
    pub(super) fn new(time: UtcMicros, valid: Quality, sink: &'s mut S) -> Self {
        Self { time, valid, sink, scratch: String::new() }
    }

    /// Writes what a value of a field says: one reading, or one a member where the value is a message.
    pub(super) fn value(&mut self, tesla: &TeslaEntry, value: Value<'_>) {
        let entry = &tesla.entry;
        match value {
            Value::Absent | Value::Invalid | Value::Unknown { .. } => {
                self.write(entry.signal, None, None, Quality::Invalid);
            }
            Value::Text(text) if text::is_invalid(text) => {
                self.write(entry.signal, None, None, Quality::Invalid)
            }
            Value::Text(text) if tesla.parts.is_empty() => self.text(entry, text),
            Value::Text(text) if is_location(tesla) => self.location(tesla, text::location(text)),
            Value::Text(text) => self.members(tesla, text::members(text, &tesla.parts)),
            Value::Int(number) => self.number(entry, f64::from(number)),
            Value::Long(number) => self.number(entry, number as f64),
            Value::Float(number) => self.number(entry, shortest(number)),
            Value::Double(number) => self.number(entry, number),
            Value::Boolean(flag) => self.boolean(entry, flag),
            Value::Enumeration { kind, number } => self.enumeration(entry, kind, i64::from(number)),
            Value::Location { latitude, longitude } => self.location(tesla, Some((latitude, longitude))),
            Value::Doors(bits) | Value::Tires(bits) => self.members(tesla, Some(bits)),
            Value::Time { hour, minute, second } => self.time_of_day(entry, hour, minute, second),
        }
    }

    fn number(&mut self, entry: &Entry, number: f64) {
        let signal = entry.signal;
        if !number.is_finite() {
            return self.write(signal, None, None, Quality::Abnormal);
        }
        match (entry.datatype, entry.enumeration) {
            // A number at the end of its range may leave it when it is turned to another unit.
            (Datatype::Number, _) => {
                match Some(entry.convert(number)).filter(|converted| converted.is_finite()) {
                    Some(converted) => self.write(signal, Some(converted), None, self.valid),
                    None => self.write(signal, None, None, Quality::Abnormal),
                }
            }
            (Datatype::Boolean | Datatype::Enumeration, Some(enumeration)) if number.fract() == 0.0 => {
                self.resolve(entry, enumeration, number as i64);
            }
            (Datatype::Boolean, None) if number == 0.0 || number == 1.0 => {
                self.write(signal, Some(number), None, self.valid);
            }
            (Datatype::Text, _) => self.formatted(signal, format_args!("{number}")),
            (Datatype::Boolean | Datatype::Enumeration | Datatype::Array, _) => {
                self.write(signal, None, None, Quality::Abnormal);
            }
        }
    }

    fn boolean(&mut self, entry: &Entry, flag: bool) {
        match (entry.datatype, entry.enumeration) {
            (Datatype::Boolean | Datatype::Number, _) => {
                self.write(entry.signal, Some(f64::from(u8::from(flag))), None, self.valid);
            }
            // The states that VSS has words for, such as OCCUPIED.
            (Datatype::Enumeration, Some(enumeration)) => self.resolve(entry, enumeration, i64::from(flag)),
            (Datatype::Text | Datatype::Enumeration | Datatype::Array, _) => {
                self.write(entry.signal, None, Some(if flag { "true" } else { "false" }), self.valid);
            }
        }
    }

    fn enumeration(&mut self, entry: &Entry, kind: u32, number: i64) {
        let name = enumeration_name(kind).unwrap_or_default();
        match entry.enumeration.filter(|enumeration| enumeration.name() == name) {
            Some(enumeration) => self.resolve(entry, enumeration, number),
            // The field comes as an enumeration that the catalogue doesn't give it: the name is sure, what the number means for
            // the signal isn't.
            None => match catalogue::enumeration(name).and_then(|enumeration| enumeration.text(number)) {
                Some(text) => self.write(entry.signal, None, Some(text), self.valid),
                None => self.write(entry.signal, None, None, Quality::Abnormal),
            },
        }
    }

    fn resolve(&mut self, entry: &Entry, enumeration: &Enumeration, number: i64) {
        let resolved = enumeration.resolve(number);
        let quality = if resolved.quality == Quality::Valid { self.valid } else { resolved.quality };
        // A number that the catalogue doesn't know is no flag.
        let is_flag = entry.datatype != Datatype::Boolean || matches!(resolved.value, None | Some(0.0 | 1.0));
        if is_flag {
            self.write(entry.signal, resolved.value, resolved.text, quality);
        } else {
            self.write(entry.signal, None, resolved.text, Quality::Abnormal);
        }
    }

    /// A text of older firmware for a field that takes one value.
    fn text(&mut self, entry: &Entry, text: &str) {
        if matches!(entry.datatype, Datatype::Text | Datatype::Array) {
            return self.write(entry.signal, None, Some(text), self.valid);
        }
        let word = text.trim();
        if word.is_empty() {
            return self.write(entry.signal, None, None, Quality::Invalid);
        }
        if let Some(enumeration) = entry.enumeration
            && let Some(number) = enumeration.number(word)
        {
            return self.resolve(entry, enumeration, i64::from(number));
        }
        if let Ok(number) = word.parse::<f64>() {
            return self.number(entry, number);
        }
        if let Some(flag) = text::boolean(word) {
            return self.boolean(entry, flag);
        }
        match (entry.datatype, text::time_of_day(word)) {
            (Datatype::Number, Some([hour, minute, second])) => self.time_of_day(entry, hour, minute, second),
            // A name that newer firmware has and the catalogue hasn't.
            (Datatype::Enumeration, _) => self.write(entry.signal, None, Some(word), self.valid),
            _ => self.write(entry.signal, None, Some(word), Quality::Abnormal),
        }
    }

    /// A time of day stays a text: which date and zone it is of the vehicle doesn't say.
    fn time_of_day(&mut self, entry: &Entry, hour: i32, minute: i32, second: i32) {
        let is_time = (0..24).contains(&hour) && (0..60).contains(&minute) && (0..60).contains(&second);
        if is_time && matches!(entry.datatype, Datatype::Text | Datatype::Number) {
            self.formatted(entry.signal, format_args!("{hour:02}:{minute:02}:{second:02}"));
        } else {
            self.write(entry.signal, None, None, Quality::Abnormal);
        }
    }

    fn location(&mut self, tesla: &TeslaEntry, place: Option<(f64, f64)>) {
        let parts = tesla.part(1).zip(tesla.part(2)).filter(|_| is_location(tesla));
        let Some(((latitude, longitude), (north, east))) = place.filter(|place| is_place(*place)).zip(parts)
        else {
            return self.write(tesla.entry.signal, None, None, Quality::Abnormal);
        };
        self.write(north.entry.signal, Some(north.entry.convert(latitude)), None, self.valid);
        self.write(east.entry.signal, Some(east.entry.convert(longitude)), None, self.valid);
    }

    fn members(&mut self, tesla: &TeslaEntry, bits: Option<u16>) {
        let Some(bits) = bits.filter(|_| !tesla.parts.is_empty() && !is_location(tesla)) else {
            return self.write(tesla.entry.signal, None, None, Quality::Abnormal);
        };
        for part in &tesla.parts {
            let flag = bits >> (part.member - 1) & 1;
            self.write(part.entry.signal, Some(f64::from(flag)), None, self.valid);
        }
    }

    fn formatted(&mut self, signal: SignalId, text: std::fmt::Arguments<'_>) {
        self.scratch.clear();
        self.scratch.write_fmt(text).expect("a String takes any text");
        let scratch = std::mem::take(&mut self.scratch);
        self.write(signal, None, Some(&scratch), self.valid);
        self.scratch = scratch;
    }

    fn write(&mut self, signal: SignalId, value: Option<f64>, text: Option<&str>, quality: Quality) {
        self.sink.reading(Reading { time: self.time, signal, value, text, quality });
    }
}

/// The place that a value says, as sent.
pub(super) fn location(value: Value<'_>) -> Option<(f64, f64)> {
    match value {
        Value::Location { latitude, longitude } => Some((latitude, longitude)),
        Value::Text(text) => text::location(text),
        _ => None,
    }
}

/// The number that a value says, in the maker's unit.
pub(super) fn number(value: Value<'_>) -> Option<f64> {
    match value {
        Value::Int(number) => Some(f64::from(number)),
        Value::Long(number) => Some(number as f64),
        Value::Float(number) => Some(shortest(number)),
        Value::Double(number) => Some(number),
        Value::Text(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// Whether degrees north and east are a place on earth.
pub(super) fn is_place((latitude, longitude): (f64, f64)) -> bool {
    (-90.0..=90.0).contains(&latitude) && (-180.0..=180.0).contains(&longitude)
}

fn is_location(tesla: &TeslaEntry) -> bool {
    tesla.part(1).is_some_and(|part| part.member_name == "latitude")
}

/// The `f64` of the shortest decimal that is this `f32`: 0.1, not 0.10000000149. So a `float` and the text that older firmware
/// sends of it are one value.
pub(super) fn shortest(number: f32) -> f64 {
    /// Powers of ten that a decimal of few digits is a fraction of.
    const POWERS: [f64; 7] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6];
    let wide = f64::from(number);
    // Up to 2^24 every whole number is an f32, and the rounded product is exact: the quotient is the decimal's nearest f64.
    if wide.abs() < 16_777_216.0 {
        for power in POWERS {
            let decimal = (wide * power).round() / power;
            if decimal as f32 == number {
                return decimal;
            }
        }
    }
    // Very small, very large, or not finite: rare enough to go the long way.
    number.to_string().parse().unwrap_or(wide)
}
