//! Tesla messages against Python's `flatbuffers` and `protobuf`: what they write is read here, what is written here they read.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use model::{Event, Position, Quality, Reading, ReadingSink, UtcMicros};
use serde_json::{Value as Json, json};
use wire::catalogue;
use wire::tesla::payload::{
    Alert, Audience, Connectivity, ConnectivityStatus, Datum, Value, encode_alerts, encode_connectivity,
    encode_errors, encode_metrics, encode_vitals,
};
use wire::tesla::{
    Action, DeviceType, Envelope, Identity, Message, Outcome, Session, Stream, decode, encode_ack,
    encode_error, encode_stream,
};

const VIN: &str = "LRW3E7FA8MC000001";
const SENDER: &str = "vehicle_device.LRW3E7FA8MC000001";
/// 2026-03-01T12:00:00Z.
const NOON: UtcMicros = UtcMicros::from_seconds(1_772_366_400);

/// The Python that has the packages of `tests/python/requirements.txt`; says so where there is none.
fn python() -> Option<PathBuf> {
    let repository = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    #[expect(clippy::disallowed_methods, reason = "a test asks which Python to run")]
    let given = std::env::var_os("DOMICILE_PYTHON").map(PathBuf::from);
    let python = given.or_else(|| Some(repository.join(".venv/bin/python")).filter(|python| python.exists()));
    let Some(python) = python else {
        println!("skipped: neither DOMICILE_PYTHON nor .venv/bin/python");
        return None;
    };
    let imports = Command::new(&python).args(["-c", "import flatbuffers, google.protobuf"]).output();
    if !imports.expect("Python runs").status.success() {
        println!(
            "skipped: that Python lacks flatbuffers or protobuf (pip install -r tests/python/requirements.txt)"
        );
        return None;
    }
    Some(python)
}

/// Runs the oracle and returns its JSON lines.
fn oracle(python: &PathBuf, command: &str, input: &str) -> Vec<Json> {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/python/tesla_oracle.py");
    let mut child = Command::new(python)
        .arg(script)
        .arg(command)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python runs");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("the oracle reads");
    let output = child.wait_with_output().expect("the oracle ends");
    assert!(output.status.success(), "the oracle failed");
    let lines = String::from_utf8(output.stdout).expect("UTF-8");
    lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &Json) -> Vec<u8> {
    let text = text.as_str().expect("hexadecimal");
    let byte = |index| u8::from_str_radix(&text[index..index + 2], 16).expect("hexadecimal");
    (0..text.len()).step_by(2).map(byte).collect()
}

#[derive(Default)]
struct Heard {
    readings: Vec<(&'static str, Option<f64>, Option<String>, Quality)>,
    positions: Vec<Position>,
    events: Vec<(String, String, Option<String>, UtcMicros)>,
}

impl ReadingSink for Heard {
    fn reading(&mut self, reading: Reading<'_>) {
        let path = catalogue::info(reading.signal).path;
        self.readings.push((path, reading.value, reading.text.map(str::to_owned), reading.quality));
    }
    fn position(&mut self, position: Position) {
        self.positions.push(position);
    }
    fn event(&mut self, event: Event<'_>) {
        let detail = event.detail.map(str::to_owned);
        self.events.push((event.kind.to_owned(), event.code.to_owned(), detail, event.time));
    }
}

#[test]
fn messages_that_another_implementation_writes_are_read() {
    let Some(python) = python() else { return };
    let session =
        Session::new(&Identity { device_type: DeviceType::VehicleDevice, device_id: VIN.to_owned() });
    let mut heard = Heard::default();
    let lines = oracle(&python, "encode", "");
    assert_eq!(lines.len(), 6);
    for line in &lines {
        let bytes = unhex(&line["envelope"]);
        let envelope = Envelope::parse(&bytes).expect("an envelope");
        assert_eq!(envelope.txid, b"txid-1");
        if line["topic"] == "ack" {
            assert_eq!(envelope.message, Message::Ack, "the reference server's ack");
            continue;
        }
        let Message::Stream(Some(stream)) = envelope.message else { panic!("a stream") };
        assert_eq!((stream.created_at, stream.delivered_at_epoch_ms), (1_772_366_400, 1_772_366_400_000));
        assert_eq!(stream.payload, unhex(&line["payload"]));
        let verdict = session.message(&bytes);
        assert_eq!(verdict.outcome, Outcome::Accepted, "{}", line["topic"]);
        let is_resend = matches!(verdict.action, Action::Store { resend: true, .. });
        assert_eq!(is_resend, line["topic"] == "V");
        decode(&bytes, NOON, &mut heard).expect("a whole message");
    }
    let expected = [
        ("Vehicle.Speed", Some(60.5 * 1.609344)),
        ("Vehicle.TraveledDistance", Some(12_345.678 * 1_609.344)),
        ("Vehicle.Powertrain.TractionBattery.StateOfCharge.Current", None),
        ("Vehicle.Powertrain.Transmission.SelectedGear", Some(127.0)),
        ("Vehicle.CurrentLocation.Heading", Some(270.0)),
        ("Vehicle.Cabin.Door.Row1.DriverSide.IsOpen", Some(1.0)),
    ];
    for (reading, (path, value)) in heard.readings.iter().zip(expected) {
        assert_eq!((reading.0, reading.1), (path, value));
    }
    assert_eq!(heard.readings.len(), 4 + 1 + 6 + 1 + 10 + 3);
    let place = heard.positions[0];
    assert_eq!(
        (place.latitude, place.longitude, place.heading),
        (Some(31.2304), Some(121.4737), Some(270.0))
    );
    assert_eq!(place.time, NOON.plus_micros(250_000));
    let events: Vec<(&str, &str)> =
        heard.events.iter().map(|event| (event.0.as_str(), event.1.as_str())).collect();
    let expected =
        [("alert", "Overheated"), ("error", "Crash"), ("metric", "load"), ("connectivity", "disconnected")];
    assert_eq!(events, expected);
    assert!(heard.events.iter().all(|event| event.3 == NOON), "milliseconds in the seconds are put right");
    println!("{} messages of Python read", lines.len());
}

fn envelope(topic: &str, payload: &[u8]) -> Vec<u8> {
    let stream = Stream {
        created_at: 1_772_366_400,
        sender_id: SENDER.as_bytes(),
        payload,
        device_type: b"vehicle_device",
        device_id: VIN.as_bytes(),
        delivered_at_epoch_ms: 1_772_366_400_123,
    };
    let mut out = Vec::new();
    encode_stream(b"txid-2", topic.as_bytes(), b"message-2", &stream, &mut out);
    out
}

/// A message of each topic, with what Python should read of it.
fn ours() -> Vec<(&'static str, Vec<u8>, Json)> {
    let data = [
        (Value::Float(60.5), json!({"float_value": 60.5})),
        (Value::Text("1e-3"), json!({"string_value": "1e-3"})),
        (Value::Int(-7), json!({"int_value": -7})),
        (Value::Long(i64::MIN), json!({"long_value": i64::MIN.to_string()})),
        (Value::Double(0.1), json!({"double_value": 0.1})),
        (Value::Boolean(false), json!({"boolean_value": false})),
        (Value::Invalid, json!({"invalid": true})),
        (Value::Enumeration { kind: 9, number: 5 }, json!({"enumeration_9": 5})),
        (Value::Enumeration { kind: 54, number: 2 }, json!({"enumeration_54": 2})),
        (Value::Doors(0b10_0001), json!({"door_value": {"DriverFront": true, "TrunkRear": true}})),
        (Value::Tires(0b10), json!({"tire_location_value": {"front_right": true}})),
        (Value::Time { hour: 7, minute: 0, second: 9 }, json!({"time_value": {"hour": 7, "second": 9}})),
        (
            Value::Location { latitude: 31.5, longitude: -0.25 },
            json!({"location_value": {"latitude": 31.5, "longitude": -0.25}}),
        ),
    ];
    let expected: Vec<Json> =
        (1..).zip(&data).map(|(key, (_, value))| json!({"key": key, "value": value})).collect();
    let datums = (1..).zip(&data).map(|(field, (value, _))| Datum { field, value: *value });
    let noon = "2026-03-01T12:00:00Z";
    let (mut vitals, mut alerts, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    let (mut metrics, mut connectivity) = (Vec::new(), Vec::new());
    encode_vitals(datums, Some(NOON.plus_micros(250_000)), VIN, true, &mut vitals);
    let audiences = [Audience::Customer, Audience::ServiceFix];
    encode_alerts(&[Alert::new("A", &audiences, Some(NOON), None)], Some(NOON), VIN, &mut alerts);
    let body = "x".repeat(40_000);
    encode_errors("E", &[("part", "gps")], &body, NOON, VIN, &mut errors);
    encode_metrics(&[("M", &[("core", "0")], 0.25)], None, "", &mut metrics);
    let status = ConnectivityStatus::Disconnected;
    let what = Connectivity { connection_id: "c", status, created_at: Some(NOON), network_interface: "wifi" };
    encode_connectivity(&what, VIN, &mut connectivity);
    let time = "2026-03-01T12:00:00.250Z";
    let alert = json!({"name": "A", "audiences": [1, 3], "started_at": noon});
    let error = json!({"created_at": noon, "name": "E", "tags": {"part": "gps"}, "body": body});
    let metric = json!({"name": "M", "tags": {"core": "0"}, "value": 0.25});
    vec![
        ("V", vitals, json!({"data": expected, "created_at": time, "vin": VIN, "is_resend": true})),
        ("alerts", alerts, json!({"alerts": [alert], "created_at": noon, "vin": VIN})),
        ("errors", errors, json!({"errors": [error], "created_at": noon, "vin": VIN})),
        ("metrics", metrics, json!({"metrics": [metric]})),
        (
            "connectivity",
            connectivity,
            json!({"vin": VIN, "connection_id": "c", "status": 2, "created_at": noon, "network_interface": "wifi"}),
        ),
    ]
}

#[test]
fn messages_that_are_written_here_another_implementation_reads() {
    let Some(python) = python() else { return };
    let mut input = String::new();
    let messages = ours();
    for (topic, payload, _) in &messages {
        input += &(hex(&envelope(topic, payload)) + "\n");
    }
    let (mut ack, mut error) = (Vec::new(), Vec::new());
    encode_ack(b"txid-3", b"alerts", &mut ack);
    encode_error(b"txid-4", &mut error);
    input += &format!("{}\n{}\n", hex(&ack), hex(&error));
    let mut lines = oracle(&python, "decode", &input).into_iter();
    for (topic, _, message) in messages {
        let line = lines.next().expect("a line a message");
        let expected = json!({
            "txid": "txid-2", "topic": topic, "tag": 4, "message_id": "message-2", "created_at": 1_772_366_400,
            "sender_id": SENDER, "device_type": "vehicle_device", "device_id": VIN,
            "delivered_at_epoch_ms": 1_772_366_400_123_u64, "message": message,
        });
        assert_eq!(line, expected);
    }
    let nothing = json!({"created_at": 0, "sender_id": "", "device_type": "", "device_id": "", "delivered_at_epoch_ms": 0});
    let with = |mut fields: Json| {
        fields.as_object_mut().expect("an object").extend(nothing.as_object().expect("an object").clone());
        fields
    };
    let ack = json!({"txid": "txid-3", "topic": "alerts", "tag": 5, "message_id": "", "text": ""});
    assert_eq!(lines.next(), Some(with(ack)));
    let error = json!({"txid": "txid-4", "topic": "", "tag": 4, "message_id": "", "text": "incorrect message format"});
    assert_eq!(lines.next(), Some(with(error)));
    assert_eq!(lines.next(), None);
}
