//! One frame as one JSON object: what stands in it, and the rows that it becomes.

use model::{Event, Position, Protocol, Reading, ReadingSink, UtcMicros};
use serde_json::{Map, Value as Json, json};
use wire::gbt32960::{self, CoordinateSystem, Keys};
use wire::{Context, Unreadable, catalogue, tesla};

/// Makes reports. Encrypted frames are not opened: keys are a center's.
pub(super) struct Reporter {
    now: UtcMicros,
    context: Context,
}

impl Reporter {
    /// `now` is what a vehicle's clock is held against. Frames of 2016 are taken to be in WGS-84, as a center is set at first.
    pub(super) fn new(now: UtcMicros) -> Self {
        Self { now, context: Context::new(Keys::none(), CoordinateSystem::Wgs84) }
    }

    pub(super) fn keys(&self) -> &Keys {
        self.context.keys()
    }

    /// An envelope's report, or the fault that keeps it from being read: `error` and `offset`.
    pub(super) fn tesla(&mut self, envelope: &[u8]) -> Result<Json, Json> {
        let frame = tesla::describe(envelope).map_err(|error| fault(&Unreadable::Malformed(error)))?;
        let vin = frame.get("device_id").cloned();
        let time = frame.pointer("/payload/created_at").or(frame.get("created_at")).cloned();
        self.report(Protocol::Tesla, envelope, vin, time, frame)
    }

    /// A GB/T 32960 frame's report, or the fault that keeps it from being read.
    pub(super) fn gbt32960(&mut self, bytes: &[u8]) -> Result<Json, Json> {
        let frame = gbt32960::describe(bytes, self.keys()).map_err(|error| fault(&error))?;
        let vin = frame.get("vin").cloned();
        let time = frame.get("time").cloned();
        self.report(Protocol::Gbt32960, bytes, vin, time, frame)
    }

    fn report(
        &mut self,
        protocol: Protocol,
        bytes: &[u8],
        vin: Option<Json>,
        time: Option<Json>,
        frame: Json,
    ) -> Result<Json, Json> {
        let mut rows = Rows::default();
        wire::decode(protocol, bytes, self.now, &mut self.context, &mut rows)
            .map_err(|error| fault(&error))?;
        Ok(json!({
            "protocol": protocol.as_str(),
            "vin": vin,
            "time": time,
            "frame": frame,
            "signals": rows.signals,
            "positions": rows.positions,
            "events": rows.events,
        }))
    }
}

fn fault(error: &Unreadable) -> Json {
    let mut object = Map::new();
    object.insert("error".into(), error.to_string().into());
    if let Unreadable::Malformed(malformed) = error {
        object.insert("what".into(), malformed.what.into());
        object.insert("offset".into(), malformed.offset.into());
    } else {
        object.insert("offset".into(), gbt32960::HEADER_BYTES.into());
    }
    Json::Object(object)
}

/// The rows of a frame, with the columns of the tables.
#[derive(Default)]
struct Rows {
    signals: Vec<Json>,
    positions: Vec<Json>,
    events: Vec<Json>,
}

impl ReadingSink for Rows {
    fn reading(&mut self, reading: Reading<'_>) {
        let signal = catalogue::info(reading.signal);
        let mut row = Map::new();
        row.insert("signal".into(), signal.path.into());
        row.insert("time".into(), reading.time.to_string().into());
        row.insert("value".into(), reading.value.into());
        if !signal.unit.is_empty() {
            row.insert("unit".into(), signal.unit.into());
        }
        if let Some(text) = reading.text {
            row.insert("text".into(), text.into());
        }
        row.insert("quality".into(), reading.quality.as_str().into());
        self.signals.push(Json::Object(row));
    }

    fn position(&mut self, position: Position) {
        self.positions.push(json!({
            "time": position.time.to_string(),
            "latitude": position.latitude,
            "longitude": position.longitude,
            "heading": position.heading,
            "speed": position.speed,
            "valid": position.valid,
        }));
    }

    fn event(&mut self, event: Event<'_>) {
        // A detail is one JSON object; where it isn't it is shown as it is.
        let detail =
            event.detail.map(|detail| serde_json::from_str(detail).unwrap_or_else(|_| Json::from(detail)));
        self.events.push(json!({
            "time": event.time.to_string(),
            "kind": event.kind,
            "code": event.code,
            "level": event.level,
            "ended_at": event.ended_at.map(|ended_at| ended_at.to_string()),
            "detail": detail,
        }));
    }
}
