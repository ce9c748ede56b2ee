//! A stored envelope to readings, positions and events.

use std::time::Duration;

use model::{Event, Position, Quality, ReadingSink, UtcMicros};

use crate::Malformed;
use crate::catalogue;

use super::envelope::{Envelope, Message, Stream};
use super::payload::{Alerts, Connectivity, Datum, Errors, Metrics, Topic, Value, Vitals};
use super::{notice, reading};

/// How far ahead of the center's clock a vehicle's may be before its readings get the quality `clock`: well above what a clock that is
/// set over the mobile network is off by, and the time that a message takes only makes it older.
pub const CLOCK_AHEAD_TOLERANCE: Duration = Duration::from_secs(300);

/// The most events about unknown fields that one message makes: a message of a megabyte could name 100,000.
const UNKNOWN_EVENTS_MAX: usize = 32;

/// Fields that together are a place.
const LOCATION: u32 = 21;
const GPS_HEADING: u32 = 23;
const VEHICLE_SPEED: u32 = 4;

/// Decodes one stored envelope and hands what it says to `sink`, in the order in which it stands there; a position comes last.
///
/// Topic `V` gives readings and, where the message has a `Location`, one position with the speed and heading of the same message; the
/// other topics give events (`alert`, `error`, `connectivity`, `metric`). A field that the catalogue doesn't know is an event
/// `unknown_field` with its number. An envelope that is no stream, or of an unknown topic, says nothing.
///
/// `received_at` is when the center got it: a time further ahead of it than [`CLOCK_AHEAD_TOLERANCE`] makes the quality `clock`. A
/// message without any time gets `received_at`.
pub fn decode(
    envelope: &[u8],
    received_at: UtcMicros,
    sink: &mut (impl ReadingSink + ?Sized),
) -> Result<(), Malformed> {
    let envelope = Envelope::parse(envelope)?;
    let (Message::Stream(Some(stream)), Some(topic)) = (envelope.message, Topic::from_bytes(envelope.topic))
    else {
        return Ok(());
    };
    let sent_at = match stream.created_at {
        0 => received_at,
        seconds => UtcMicros::from_seconds(i64::from(seconds)),
    };
    match topic {
        Topic::Vitals => decode_vitals(&stream, sent_at, received_at, sink)?,
        Topic::Alerts => {
            let alerts = Alerts::parse(stream.payload)?;
            notice::alerts(&alerts, alerts.created_at.unwrap_or(sent_at), sink);
        }
        Topic::Errors => {
            let errors = Errors::parse(stream.payload)?;
            notice::errors(&errors, errors.created_at.unwrap_or(sent_at), sink);
        }
        Topic::Connectivity => notice::connectivity(&Connectivity::parse(stream.payload)?, sent_at, sink),
        Topic::Metrics => {
            let metrics = Metrics::parse(stream.payload)?;
            notice::metrics(&metrics, metrics.created_at.unwrap_or(sent_at), sink);
        }
    }
    Ok(())
}

fn decode_vitals(
    stream: &Stream<'_>,
    sent_at: UtcMicros,
    received_at: UtcMicros,
    sink: &mut (impl ReadingSink + ?Sized),
) -> Result<(), Malformed> {
    let vitals = Vitals::parse(stream.payload)?;
    let time = vitals.created_at.unwrap_or(sent_at);
    let is_ahead = time.since(received_at) > CLOCK_AHEAD_TOLERANCE;
    let valid = if is_ahead { Quality::Clock } else { Quality::Valid };
    let mut readings = reading::Writer::new(time, valid, sink);
    let mut place = Place::default();
    let mut unknown = [0_u32; UNKNOWN_EVENTS_MAX];
    let mut unknown_count = 0;
    for datum in vitals.data() {
        place.take(&datum);
        match catalogue::tesla(datum.field) {
            // The place itself goes to the positions alone: location has its own readers and its own time of keeping.
            Some(_) if datum.field == LOCATION => {}
            Some(entry) if !matches!(datum.value, Value::Unknown { .. }) => {
                readings.value(entry, datum.value)
            }
            _ => {
                let is_new = !unknown[..unknown_count].contains(&datum.field);
                if is_new && unknown_count < UNKNOWN_EVENTS_MAX {
                    unknown[unknown_count] = datum.field;
                    unknown_count += 1;
                }
            }
        }
    }
    for field in &unknown[..unknown_count] {
        let code = (*field as i32).to_string();
        let kind = if catalogue::tesla(*field).is_some() { "unknown_value" } else { "unknown_field" };
        sink.event(Event { time, kind, code: &code, level: None, ended_at: None, detail: None });
    }
    if let Some(position) = place.position(time) {
        sink.position(position);
    }
    Ok(())
}

/// What a message says about where the vehicle was.
#[derive(Default)]
struct Place {
    /// Degrees north and east, as sent; the inner `None` where the vehicle has no valid place.
    location: Option<Option<(f64, f64)>>,
    heading: Option<f64>,
    speed: Option<f64>,
}

impl Place {
    fn take(&mut self, datum: &Datum<'_>) {
        match datum.field {
            LOCATION => self.location = Some(reading::location(datum.value)),
            GPS_HEADING => {
                self.heading = reading::number(datum.value).filter(|degrees| (0.0..=360.0).contains(degrees))
            }
            VEHICLE_SPEED => {
                let entry = catalogue::tesla(VEHICLE_SPEED);
                let speed = reading::number(datum.value).zip(entry);
                let speed = speed.map(|(speed, entry)| entry.entry.convert(speed));
                self.speed = speed.filter(|speed| speed.is_finite());
            }
            _ => {}
        }
    }

    fn position(&self, time: UtcMicros) -> Option<Position> {
        let location = self.location?.filter(|place| reading::is_place(*place));
        Some(Position {
            time,
            latitude: location.map(|(latitude, _)| latitude),
            longitude: location.map(|(_, longitude)| longitude),
            heading: self.heading,
            speed: self.speed,
            valid: location.is_some(),
        })
    }
}
