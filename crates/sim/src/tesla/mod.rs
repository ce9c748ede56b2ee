//! A simulated vehicle's side of Tesla Fleet Telemetry: which fields it sends when, as typed values or as the texts of older
//! firmware, and its alerts and errors.

mod fields;

#[cfg(test)]
mod tests;

use model::UtcMicros;
use wire::tesla::Topic;
use wire::tesla::payload::{self, Alert, Audience, Datum};

use crate::client::{Body, Message, Source};
use crate::vehicle::{FaultKind, Vehicle};
use fields::{FIELDS, RESEND_S, Value};

/// How a vehicle writes its values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Firmware {
    /// Each value in its own type (`prefer_typed`).
    Typed,
    /// Every value as a text.
    Text,
}

/// A vehicle that streams on change.
#[derive(Debug)]
pub struct TeslaVehicle {
    vehicle: Vehicle,
    firmware: Firmware,
    number: u64,
    /// By the index in [`FIELDS`]: when it was sent last, and what.
    sent: Vec<Option<(UtcMicros, Value)>>,
    /// Faults whose beginning was told, and whether their end was.
    told: Vec<(FaultKind, UtcMicros, bool)>,
    was_invalid: bool,
}

impl TeslaVehicle {
    /// A vehicle that has sent nothing yet.
    pub fn new(vehicle: Vehicle, firmware: Firmware) -> Self {
        Self {
            vehicle,
            firmware,
            number: 0,
            sent: vec![None; FIELDS.len()],
            told: Vec::new(),
            was_invalid: false,
        }
    }

    /// The fields that changed since they were sent and may be sent again now.
    fn changed(&mut self, now: UtcMicros) -> Vec<(u32, Value)> {
        let mut changed = Vec::new();
        for (field, sent) in FIELDS.iter().zip(&mut self.sent) {
            let age_s = sent.as_ref().map_or(i64::MAX, |(when, _)| (now.0 - when.0) / UtcMicros::PER_SECOND);
            if age_s < i64::from(field.interval_s) {
                continue;
            }
            let value = rounded((field.value)(&self.vehicle));
            let same = sent.as_ref().is_some_and(|(_, last)| *last == value);
            if !same || age_s >= i64::from(RESEND_S) {
                *sent = Some((now, value.clone()));
                changed.push((field.number, value));
            }
        }
        changed
    }

    fn vitals(&mut self, now: UtcMicros) -> Option<Vec<u8>> {
        let changed = self.changed(now);
        if changed.is_empty() {
            return None;
        }
        let texts: Vec<String> = match self.firmware {
            Firmware::Typed => changed.iter().map(|_| String::new()).collect(),
            Firmware::Text => changed.iter().map(|(_, value)| as_text(value)).collect(),
        };
        let data: Vec<Datum<'_>> = changed
            .iter()
            .zip(&texts)
            .map(|((field, value), text)| Datum {
                field: *field,
                value: match self.firmware {
                    Firmware::Typed => as_typed(value),
                    Firmware::Text => payload::Value::Text(text),
                },
            })
            .collect();
        let mut out = Vec::new();
        payload::encode_vitals(data, Some(now), self.vehicle.vin.as_str(), false, &mut out);
        Some(out)
    }

    /// Faults that began or ended since this was asked last.
    fn alerts(&mut self, now: UtcMicros) -> Option<Vec<u8>> {
        let mut news = Vec::new();
        for fault in &self.vehicle.faults {
            let told =
                self.told.iter_mut().find(|(kind, since, _)| (*kind, *since) == (fault.kind, fault.since));
            match told {
                None => {
                    self.told.push((fault.kind, fault.since, fault.ended_at.is_some()));
                    news.push(*fault);
                }
                Some((_, _, ended)) if !*ended && fault.ended_at.is_some() => {
                    *ended = true;
                    news.push(*fault);
                }
                Some(_) => {}
            }
        }
        self.told.retain(|(kind, since, _)| {
            self.vehicle.faults.iter().any(|fault| (fault.kind, fault.since) == (*kind, *since))
        });
        if news.is_empty() {
            return None;
        }
        let alerts: Vec<Alert<'_>> = news
            .iter()
            .map(|fault| {
                Alert::new(fault.kind.alert_name(), &[Audience::Service], Some(fault.since), fault.ended_at)
            })
            .collect();
        let mut out = Vec::new();
        payload::encode_alerts(&alerts, Some(now), self.vehicle.vin.as_str(), &mut out);
        Some(out)
    }
}

impl TeslaVehicle {
    /// The receiver lost its satellites: once for each time.
    fn error(&mut self, now: UtcMicros) -> Option<Vec<u8>> {
        let is_invalid = !self.vehicle.position_valid;
        if !std::mem::replace(&mut self.was_invalid, is_invalid) && is_invalid {
            let mut out = Vec::new();
            let tags = [("component", "gps"), ("satellites", "0")];
            payload::encode_errors("gps_lost", &tags, "no fix", now, self.vehicle.vin.as_str(), &mut out);
            return Some(out);
        }
        None
    }
}

impl Source for TeslaVehicle {
    fn next(&mut self, now: UtcMicros) -> Option<Message> {
        self.vehicle.advance(now);
        let (topic, payload) = match (self.alerts(now), self.error(now)) {
            (Some(payload), _) => (Topic::Alerts, payload),
            (None, Some(payload)) => (Topic::Errors, payload),
            (None, None) => (Topic::Vitals, self.vitals(now)?),
        };
        self.number += 1;
        let created_at = u32::try_from(now.0 / UtcMicros::PER_SECOND).unwrap_or(0);
        Some(Message { number: self.number, body: Body::Tesla { topic, payload, created_at } })
    }
}

/// A payload of topic `V` with `is_resend` set: a field appended to a protobuf message is a field of it.
pub fn marked_as_resent(payload: &[u8]) -> Vec<u8> {
    const IS_RESEND: [u8; 2] = [4 << 3, 1];
    let mut marked = Vec::with_capacity(payload.len() + IS_RESEND.len());
    marked.extend_from_slice(payload);
    marked.extend_from_slice(&IS_RESEND);
    marked
}

/// The value as it is sent: vehicles compare and send rounded numbers.
fn rounded(value: Value) -> Value {
    match value {
        Value::Number(number, decimals) => {
            let scale = 10f64.powi(i32::from(decimals));
            Value::Number((number * scale).round() / scale, decimals)
        }
        Value::Place(north, east) => Value::Place((north * 1e6).round() / 1e6, (east * 1e6).round() / 1e6),
        other => other,
    }
}

fn as_typed(value: &Value) -> payload::Value<'_> {
    match value {
        Value::Invalid => payload::Value::Invalid,
        Value::Number(number, _) => payload::Value::Double(*number),
        Value::Whole(number) => payload::Value::Int(*number),
        Value::Boolean(boolean) => payload::Value::Boolean(*boolean),
        Value::Text(text) => payload::Value::Text(text),
        Value::Named(kind, number, _) => payload::Value::Enumeration { kind: *kind, number: *number },
        Value::Place(north, east) => payload::Value::Location { latitude: *north, longitude: *east },
        Value::Doors(bits) => payload::Value::Doors(*bits),
        Value::Tires(bits) => payload::Value::Tires(*bits),
    }
}

fn as_text(value: &Value) -> String {
    match value {
        Value::Invalid => "<invalid>".to_owned(),
        Value::Number(number, decimals) => format!("{number:.*}", usize::from(*decimals)),
        Value::Whole(number) => number.to_string(),
        Value::Boolean(boolean) => boolean.to_string(),
        Value::Text(text) => text.clone(),
        Value::Named(_, _, name) => (*name).to_owned(),
        Value::Place(north, east) => {
            let (ns, ew) = (if *north < 0.0 { 'S' } else { 'N' }, if *east < 0.0 { 'W' } else { 'E' });
            format!("({:.6} {ns}, {:.6} {ew})", north.abs(), east.abs())
        }
        Value::Doors(bits) => open_doors(*bits),
        Value::Tires(bits) => if *bits == 0 { "None" } else { "RearLeft" }.to_owned(),
    }
}

/// The open doors' names, as older firmware writes them.
fn open_doors(bits: u16) -> String {
    const NAMES: [&str; 6] =
        ["DriverFront", "DriverRear", "PassengerFront", "PassengerRear", "TrunkFront", "TrunkRear"];
    let open: Vec<&str> =
        NAMES.iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1).map(|(_, name)| *name).collect();
    open.join("|")
}
