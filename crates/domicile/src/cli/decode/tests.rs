//! Every frame at hand is decoded through the command's own function; what can't be is told with its place.

use std::path::Path;

use model::UtcMicros;
use serde_json::Value as Json;
use wire::tesla::payload::{Alert, Audience, Datum, Value, encode_alerts, encode_vitals};
use wire::tesla::{Stream, encode_stream};

use super::{Counts, Dialect, LINE_BYTES_MAX, decode_all};

const NOW: UtcMicros = UtcMicros::from_seconds(1_767_225_600);

/// A 2016 heartbeat with the VIN of an example.
const HEARTBEAT: &str = "232307fe4c5445535430303030303030303030303101000000";

fn decode(protocol: Dialect, hex: bool, input: &[u8]) -> (Counts, Vec<Json>) {
    let mut output = Vec::new();
    let counts = decode_all(protocol, hex, NOW, &mut &*input, &mut output).expect("memory doesn't fail");
    let text = String::from_utf8(output).expect("JSON is UTF-8");
    let lines: Vec<Json> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len() as u64, counts.frames, "a line a frame");
    (counts, lines)
}

fn bytes(hex: &str) -> Vec<u8> {
    super::bytes_of_hex(hex.as_bytes()).expect("hexadecimal")
}

/// The frame with the check code that belongs to it.
fn with_check(hex: &str) -> Vec<u8> {
    let mut frame = bytes(hex);
    let last = frame.len() - 1;
    frame[last] = wire::gbt32960::xor(&frame[2..last]);
    frame
}

fn signal<'a>(line: &'a Json, path: &str) -> &'a Json {
    let signals = line["signals"].as_array().expect("signals");
    signals.iter().find(|row| row["signal"] == path).unwrap_or_else(|| panic!("no {path} in {line}"))
}

/// The frames that the makers of this repository collected, where they are at hand.
fn collected() -> Option<Vec<Json>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let file = ["../shared", "../../shared"].iter().map(|dir| root.join(dir).join("frames/gbt32960.jsonl"));
    let Some(text) = file.into_iter().find_map(|file| std::fs::read_to_string(file).ok()) else {
        println!("skipped: shared/frames/gbt32960.jsonl is not there");
        return None;
    };
    Some(text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect())
}

#[test]
fn every_collected_frame_decodes_as_a_line_and_in_a_stream() {
    let Some(frames) = collected() else { return };
    let hexes: Vec<&str> = frames.iter().map(|frame| frame["hex"].as_str().expect("hex")).collect();
    let (counts, lines) = decode(Dialect::Gbt32960, true, hexes.join("\n").as_bytes());
    assert_eq!(counts, Counts { frames: frames.len() as u64, failed: 0 });
    let stream: Vec<u8> = hexes.iter().flat_map(|hex| bytes(hex)).collect();
    assert_eq!(decode(Dialect::Gbt32960, false, &stream), (counts, lines.clone()));
    for (frame, line) in frames.iter().zip(&lines) {
        assert_eq!(line["protocol"], "gbt32960");
        assert_eq!(line["frame"]["edition"], frame["version"]);
        assert_eq!(line["frame"]["command"], frame["command"]);
        assert!(line["vin"].as_str().is_some_and(|vin| !vin.is_empty()));
        assert!(line["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{line}");
        let items = line["frame"]["items"].as_array().map_or([].as_slice(), Vec::as_slice);
        assert_eq!(!items.is_empty(), frame["command"] == 2);
        if items.iter().any(|item| item["name"] == "vehicle") {
            assert!(signal(line, "Vehicle.Speed")["value"].is_number());
        }
        if items.iter().any(|item| item["name"] == "position") {
            assert_eq!(line["positions"].as_array().map(Vec::len), Some(1));
        }
    }
    let first = &lines[0];
    assert_eq!(signal(first, "Vehicle.Speed")["value"], 6.4);
    assert_eq!(signal(first, "Vehicle.Speed")["unit"], "km/h");
    assert_eq!(signal(first, "Vehicle.Powertrain.Transmission.SelectedGear")["text"], "D");
    let current = signal(first, "Vehicle.Powertrain.TractionBattery.CurrentCurrent")["value"].as_f64();
    assert!((current.expect("a number") + 11.3).abs() < 1e-9);
}

fn envelope(topic: &str, payload: &[u8]) -> Vec<u8> {
    let stream = Stream {
        created_at: 1_767_225_590,
        sender_id: b"vehicle_device.LRW3E7FA8MC000001",
        payload,
        device_type: b"vehicle_device",
        device_id: b"LRW3E7FA8MC000001",
        delivered_at_epoch_ms: 0,
    };
    let mut bytes = Vec::new();
    encode_stream(b"txid-1", topic.as_bytes(), b"", &stream, &mut bytes);
    bytes
}

fn vitals() -> Vec<u8> {
    let data = [
        Datum { field: 4, value: Value::Float(60.5) },
        Datum { field: 10, value: Value::Enumeration { kind: 9, number: 5 } },
        Datum { field: 58, value: Value::Doors(0b10_0001) },
        Datum { field: 21, value: Value::Location { latitude: 31.2, longitude: 121.5 } },
        Datum { field: 8, value: Value::Invalid },
        Datum { field: 5_000, value: Value::Int(7) },
    ];
    let mut payload = Vec::new();
    let created_at = Some(UtcMicros::from_seconds(1_767_225_580));
    encode_vitals(data, created_at, "LRW3E7FA8MC000001", false, &mut payload);
    envelope("V", &payload)
}

#[test]
fn a_tesla_envelope_shows_every_datum_and_the_rows_that_it_becomes() {
    let (counts, lines) = decode(Dialect::Tesla, false, &vitals());
    assert_eq!(counts, Counts { frames: 1, failed: 0 });
    let line = &lines[0];
    assert_eq!((&line["vin"], &line["time"]), (&"LRW3E7FA8MC000001".into(), &"2025-12-31T23:59:40Z".into()));
    assert_eq!((&line["frame"]["txid"], &line["frame"]["topic"]), (&"txid-1".into(), &"V".into()));
    let data = line["frame"]["payload"]["data"].as_array().expect("data");
    assert_eq!(data.len(), 6);
    assert_eq!((&data[0]["name"], &data[0]["value"]), (&"VehicleSpeed".into(), &60.5.into()));
    assert_eq!((&data[0]["unit"], &data[1]["text"]), (&"mph".into(), &"ShiftStateD".into()));
    assert_eq!(
        (&data[2]["value"]["DriverFront"], &data[2]["value"]["DriverRear"]),
        (&true.into(), &false.into())
    );
    assert_eq!((&data[4]["kind"], &data[4]["value"]), (&"invalid".into(), &Json::Null));
    assert_eq!((&data[5]["field"], &data[5]["name"]), (&5_000.into(), &Json::Null));
    let speed = signal(line, "Vehicle.Speed")["value"].as_f64().expect("a number");
    assert!((speed - 97.365_312).abs() < 1e-9);
    assert_eq!(signal(line, "Vehicle.Body.Trunk.Rear.IsOpen")["value"], 1.0);
    assert_eq!(
        signal(line, "Vehicle.Powertrain.TractionBattery.StateOfCharge.Current")["quality"],
        "invalid"
    );
    assert_eq!(line["positions"][0]["latitude"], 31.2);
    assert_eq!(line["events"].as_array().expect("events").len(), 1);
}

#[test]
fn a_tesla_alert_is_an_event() {
    let alert =
        Alert::new("DI_a175", &[Audience::Service], Some(UtcMicros::from_seconds(1_767_225_000)), None);
    let mut payload = Vec::new();
    encode_alerts(&[alert], Some(NOW), "LRW3E7FA8MC000001", &mut payload);
    let (_, lines) = decode(Dialect::Tesla, false, &envelope("alerts", &payload));
    assert_eq!(lines[0]["frame"]["payload"]["alerts"][0]["audiences"][0], "service");
    assert_eq!(
        (&lines[0]["events"][0]["kind"], &lines[0]["events"][0]["code"]),
        (&"alert".into(), &"DI_a175".into())
    );
}

#[test]
fn hexadecimal_may_have_blanks_and_empty_lines() {
    let hex: String = vitals().iter().map(|byte| format!("{byte:02X} ")).collect();
    let (counts, lines) = decode(Dialect::Tesla, true, format!("\n0x{hex}\r\n\n{hex}").as_bytes());
    assert_eq!(counts, Counts { frames: 2, failed: 0 });
    assert_eq!(lines[0], lines[1]);
}

#[test]
fn what_is_no_hexadecimal_is_told_and_the_next_line_is_read() {
    let good = with_check(HEARTBEAT).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let input = format!("23zz\n232\n{}\n{good}\n", "23".repeat(LINE_BYTES_MAX / 2 + 1));
    let (counts, lines) = decode(Dialect::Gbt32960, true, input.as_bytes());
    assert_eq!(counts, Counts { frames: 4, failed: 3 });
    assert_eq!((&lines[0]["error"], &lines[0]["column"]), (&"the line is not hexadecimal".into(), &3.into()));
    assert_eq!(lines[2]["error"], "the line is longer than any frame");
    assert_eq!(lines[3]["frame"]["command_name"], "heartbeat");
}

#[test]
fn a_stream_goes_on_behind_what_cannot_be_decoded() {
    let good = with_check(HEARTBEAT);
    let mut wrong_check = good.clone();
    *wrong_check.last_mut().expect("a byte") ^= 1;
    // A login of one byte: whole as a frame, malformed as a data unit.
    let malformed = with_check("232301fe4c544553543030303030303030303030310100010000");
    let stream = [b"junk".as_slice(), &good, &wrong_check, &good, &malformed, &good, &good[..10]].concat();
    let (counts, lines) = decode(Dialect::Gbt32960, false, &stream);
    let faults: Vec<(&Json, &Json)> = lines
        .iter()
        .filter(|line| line.get("error").is_some())
        .map(|line| (&line["error"], &line["stream_offset"]))
        .collect();
    assert_eq!(lines.iter().filter(|line| line.get("frame").is_some()).count(), 3, "{lines:?}");
    assert_eq!(faults[0], (&"no frame starts here".into(), &0.into()));
    assert_eq!(faults[1], (&"checksum".into(), &(4 + 25).into()));
    let in_login = lines.iter().find(|line| line.get("what").is_some()).expect("the malformed login");
    assert_eq!(in_login["stream_offset"], 4 + 3 * 25);
    assert!(in_login["offset"].as_u64().expect("an offset") >= 24);
    let last = lines.last().expect("a line");
    assert_eq!((&last["error"], &last["offset"]), (&"the input ends inside a frame".into(), &10.into()));
    assert_eq!(counts.failed + 3, counts.frames);
}

#[test]
fn every_truncation_is_told() {
    let envelope = vitals();
    for end in 0..envelope.len() {
        let (counts, lines) = decode(Dialect::Tesla, false, &envelope[..end]);
        assert_eq!(counts, Counts { frames: 1, failed: 1 }, "{end}");
        assert!(lines[0]["offset"].is_number());
    }
    let frame = with_check(HEARTBEAT);
    assert_eq!(decode(Dialect::Gbt32960, false, b"").0, Counts::default());
    for end in 1..frame.len() {
        assert_eq!(decode(Dialect::Gbt32960, false, &frame[..end]).0.failed, 1, "{end}");
    }
    let too_large = vec![0; wire::tesla::MESSAGE_BYTES_MAX + 1];
    assert_eq!(decode(Dialect::Tesla, false, &too_large).0.failed, 1);
}
