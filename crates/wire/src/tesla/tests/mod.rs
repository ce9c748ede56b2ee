//! Tesla Fleet Telemetry: what each part does, and what it does with bytes that are wrong.

mod certificate;
mod hostile;
mod readings;
mod session;
mod wire;

use model::{Event, Position, Quality, Reading, ReadingSink, UtcMicros};

use crate::catalogue;

use super::payload::{
    Alert, Audience, Connectivity, ConnectivityStatus, Datum, Value, encode_alerts, encode_connectivity,
    encode_errors, encode_metrics, encode_vitals,
};
use super::{Stream, decode, encode_stream};

const VIN: &str = "LRW3E7FA8MC000001";
const SENDER: &str = "vehicle_device.LRW3E7FA8MC000001";

/// 2026-03-01T12:00:00Z.
const NOON: UtcMicros = UtcMicros::from_seconds(1_772_366_400);

/// Kind, code, detail, time and end.
type HeardEvent = (String, String, Option<String>, UtcMicros, Option<UtcMicros>);

/// Keeps what a frame says, owned.
#[derive(Default, Debug, PartialEq, Clone)]
struct Heard {
    /// Signal, value, text, quality.
    readings: Vec<(&'static str, Option<f64>, Option<String>, Quality)>,
    positions: Vec<Position>,
    events: Vec<HeardEvent>,
    times: Vec<UtcMicros>,
}

impl ReadingSink for Heard {
    fn reading(&mut self, reading: Reading<'_>) {
        let text = reading.text.map(str::to_owned);
        self.readings.push((catalogue::info(reading.signal).path, reading.value, text, reading.quality));
        self.times.push(reading.time);
    }

    fn position(&mut self, position: Position) {
        self.positions.push(position);
    }

    fn event(&mut self, event: Event<'_>) {
        let detail = event.detail.map(str::to_owned);
        self.events.push((event.kind.to_owned(), event.code.to_owned(), detail, event.time, event.ended_at));
    }
}

/// A vehicle's message of a topic.
fn message(topic: &str, payload: &[u8]) -> Vec<u8> {
    let stream = Stream {
        created_at: 1_772_366_400,
        sender_id: SENDER.as_bytes(),
        payload,
        device_type: b"vehicle_device",
        device_id: VIN.as_bytes(),
        delivered_at_epoch_ms: 1_772_366_400_123,
    };
    let mut out = Vec::new();
    encode_stream(b"txid-1", topic.as_bytes(), b"message-1", &stream, &mut out);
    out
}

fn vitals(data: &[Datum<'_>]) -> Vec<u8> {
    let mut payload = Vec::new();
    encode_vitals(data.iter().copied(), Some(NOON), VIN, false, &mut payload);
    message("V", &payload)
}

fn hear(envelope: &[u8], received_at: UtcMicros) -> Heard {
    let mut heard = Heard::default();
    decode(envelope, received_at, &mut heard).expect("a whole message");
    heard
}

fn datum<'a>(name: &str, value: Value<'a>) -> Datum<'a> {
    Datum { field: catalogue::tesla_by_name(name).expect("a field of the catalogue").number, value }
}

/// One message of each kind, with every type of value.
fn one_of_each() -> Vec<(&'static str, Vec<u8>)> {
    let data = [
        datum("VehicleSpeed", Value::Float(60.5)),
        datum("Odometer", Value::Double(12_345.678)),
        datum("GpsHeading", Value::Int(-1)),
        datum("Location", Value::Location { latitude: 37.412374, longitude: -122.145867 }),
        datum("DoorState", Value::Doors(0b10_0001)),
        datum("TpmsHardWarnings", Value::Tires(0b10_0000_0010)),
        datum("ScheduledDepartureTime", Value::Time { hour: 7, minute: 5, second: 9 }),
        datum("Gear", Value::Enumeration { kind: 9, number: 5 }),
        datum("BrakePedal", Value::Boolean(true)),
        datum("VehicleName", Value::Text("Ørsted")),
        datum("Soc", Value::Invalid),
        datum("PackVoltage", Value::Absent),
        datum("ScheduledChargingStartTime", Value::Long(1 << 40)),
        Datum { field: 9_999, value: Value::Int(7) },
    ];
    let mut vitals = Vec::new();
    encode_vitals(data, Some(NOON), VIN, true, &mut vitals);
    let mut alerts = Vec::new();
    let audiences = [Audience::Customer, Audience::ServiceFix];
    let later = NOON.plus_micros(1_500_000);
    let list = [
        Alert::new("Overheated", &audiences, Some(NOON), Some(later)),
        Alert::new("Lasting", &[], None, None),
    ];
    encode_alerts(&list, Some(NOON), VIN, &mut alerts);
    let mut errors = Vec::new();
    encode_errors("Crash", &[("part", "\"gps\"\n"), ("n", "")], "it broke", later, VIN, &mut errors);
    let mut metrics = Vec::new();
    encode_metrics(
        &[("load", &[("core", "0")], 0.25), ("nan", &[], f64::NAN)],
        Some(NOON),
        VIN,
        &mut metrics,
    );
    let mut connectivity = Vec::new();
    let connected = Connectivity {
        connection_id: "c-1",
        status: ConnectivityStatus::Connected,
        created_at: Some(NOON),
        network_interface: "wifi",
    };
    encode_connectivity(&connected, VIN, &mut connectivity);
    vec![
        ("V", vitals),
        ("alerts", alerts),
        ("errors", errors),
        ("metrics", metrics),
        ("connectivity", connectivity),
    ]
}
