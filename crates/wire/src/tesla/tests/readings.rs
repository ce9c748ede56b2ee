//! Messages to readings.

use model::{Position, Quality, UtcMicros};
use proptest::prelude::*;

use super::super::payload::{Datum, Value, encode_vitals, enumeration_name};
use super::super::reading::shortest;
use super::super::{CLOCK_AHEAD_TOLERANCE, encode_ack};
use super::{Heard, NOON, VIN, datum, hear, message, one_of_each, vitals};
use crate::catalogue;

type Row = (Option<f64>, Option<String>, Quality);

/// The readings of one value of one field, without their signals.
fn rows(name: &str, value: Value<'_>) -> Vec<Row> {
    let heard = hear(&vitals(&[datum(name, value)]), NOON);
    heard.readings.into_iter().map(|(_, value, text, quality)| (value, text, quality)).collect()
}

fn number(value: f64) -> Vec<Row> {
    vec![(Some(value), None, Quality::Valid)]
}

fn named(value: f64, text: &str) -> Vec<Row> {
    vec![(Some(value), Some(text.to_owned()), Quality::Valid)]
}

#[test]
fn typed_values_and_the_texts_of_older_firmware_give_the_same_rows() {
    let kind = |name: &str| (0..100).find(|kind| enumeration_name(*kind) == Some(name)).expect("a kind");
    let enumeration = |name: &str, number| Value::Enumeration { kind: kind(name), number };
    let cases = [
        ("VehicleSpeed", Value::Float(60.5), "60.5"),
        ("VehicleSpeed", Value::Float(0.1), "0.1"),
        ("VehicleSpeed", Value::Double(0.001), "1e-3"),
        ("VehicleSpeed", Value::Int(-5), " -5 "),
        ("Odometer", Value::Double(12_345.678_9), "12345.6789"),
        ("BrakePedal", Value::Boolean(true), "true"),
        ("BrakePedal", Value::Boolean(false), "False"),
        ("BrakePedal", Value::Int(1), "1"),
        ("Gear", enumeration("ShiftState", 5), "ShiftStateD"),
        ("Gear", enumeration("ShiftState", 5), "D"),
        ("Gear", enumeration("ShiftState", 6), "SNA"),
        ("ChargeState", enumeration("ChargingState", 4), "Charging"),
        ("FdWindow", enumeration("WindowState", 2), "WindowStatePartiallyOpen"),
        ("FdWindow", enumeration("WindowState", 1), "Closed"),
        ("VehicleName", Value::Text("Ørsted"), "Ørsted"),
        ("Soc", Value::Invalid, "<invalid>"),
        (
            "OriginLocation",
            Value::Location { latitude: 37.412374, longitude: -122.145867 },
            "(37.412374 N, 122.145867 W)",
        ),
        ("DestinationLocation", Value::Location { latitude: -33.9, longitude: 151.2 }, "(33.9 S, 151.2 E)"),
        ("DoorState", Value::Doors(0b10_0001), "DriverFront|TrunkRear"),
        ("DoorState", Value::Doors(0), ""),
        ("TpmsHardWarnings", Value::Tires(0b101), "front_left, RearLeft"),
        ("ScheduledDepartureTime", Value::Time { hour: 7, minute: 5, second: 9 }, "07:05:09"),
        ("TimeToFullCharge", Value::Time { hour: 7, minute: 5, second: 0 }, "7:05"),
    ];
    for (name, typed, text) in cases {
        let (typed, texts) = (rows(name, typed), rows(name, Value::Text(text)));
        assert_eq!(typed, texts, "{name} {text:?}");
        assert!(!typed.is_empty());
    }
}

#[test]
fn values_come_in_the_signals_unit_with_their_names() {
    assert_eq!(rows("VehicleSpeed", Value::Float(100.0)), number(100.0 * 1.609344));
    assert_eq!(rows("Odometer", Value::Int(1)), number(1_609.344));
    assert_eq!(rows("Soc", Value::Float(80.2)), number(80.2));
    assert_eq!(rows("Gear", Value::Enumeration { kind: 9, number: 5 }), named(127.0, "D"));
    assert_eq!(rows("Gear", Value::Text("ShiftStateR")), named(-1.0, "R"));
    assert_eq!(rows("FdWindow", Value::Text("Opened")), named(1.0, "Opened"));
    assert_eq!(rows("DoorState", Value::Doors(0b10)).len(), 6);
    let tires = rows("TpmsSoftWarnings", Value::Tires(0b10_0000_0000));
    assert_eq!(
        tires.iter().filter_map(|row| row.0).collect::<Vec<_>>(),
        [0., 0., 0., 0., 0., 0., 0., 0., 0., 1.]
    );
    assert_eq!(
        rows("ScheduledDepartureTime", Value::Text("07:05:09")),
        [(None, Some("07:05:09".to_owned()), Quality::Valid)]
    );
}

#[test]
fn what_can_not_be_is_kept_with_its_quality() {
    let empty = |quality| vec![(None, None, quality)];
    for value in [Value::Invalid, Value::Absent, Value::Text("<invalid>"), Value::Text("")] {
        assert_eq!(rows("VehicleSpeed", value), empty(Quality::Invalid), "{value:?}");
    }
    for value in
        [Value::Float(f32::NAN), Value::Double(f64::INFINITY), Value::Text("NaN"), Value::Text("1e999")]
    {
        assert_eq!(rows("VehicleSpeed", value), empty(Quality::Abnormal), "{value:?}");
    }
    assert_eq!(rows("VehicleSpeed", Value::Doors(1)), empty(Quality::Abnormal));
    assert_eq!(
        rows("VehicleSpeed", Value::Text("fast")),
        [(None, Some("fast".to_owned()), Quality::Abnormal)]
    );
    assert_eq!(rows("BrakePedal", Value::Int(7)), empty(Quality::Abnormal));
    assert_eq!(rows("Gear", Value::Enumeration { kind: 9, number: 99 }), number(99.0));
    assert_eq!(
        rows("Gear", Value::Text("ShiftStateZ")),
        [(None, Some("ShiftStateZ".to_owned()), Quality::Valid)]
    );
    assert_eq!(rows("FdWindow", Value::Enumeration { kind: 24, number: 9 }), empty(Quality::Abnormal));
    assert_eq!(rows("Gear", Value::Enumeration { kind: 9, number: 0 })[0].2, Quality::Invalid);
    assert_eq!(rows("DoorState", Value::Text("Roof")), empty(Quality::Abnormal));
    let nowhere = Value::Location { latitude: 91.0, longitude: 0.0 };
    assert_eq!(rows("OriginLocation", nowhere), empty(Quality::Abnormal));
    assert_eq!(rows("OriginLocation", Value::Text("(1 N, 2)")), empty(Quality::Abnormal));
    assert_eq!(
        rows("DoorState", Value::Location { latitude: 1.0, longitude: 1.0 }),
        empty(Quality::Abnormal)
    );
}

#[test]
fn a_place_goes_to_the_positions_with_speed_and_heading_of_its_message() {
    let place = Value::Location { latitude: 31.2304, longitude: 121.4737 };
    let data = [
        datum("VehicleSpeed", Value::Text("10")),
        datum("Location", place),
        datum("GpsHeading", Value::Float(270.5)),
    ];
    let heard = hear(&vitals(&data), NOON);
    let expected = Position {
        time: NOON,
        latitude: Some(31.2304),
        longitude: Some(121.4737),
        heading: Some(270.5),
        speed: Some(16.09344),
        valid: true,
    };
    assert_eq!(heard.positions, [expected]);
    assert_eq!(heard.readings.len(), 2, "the place is no signal, speed and heading are");
    let alone = hear(&vitals(&[datum("Location", Value::Text("(31.2304 N, 121.4737 E)"))]), NOON);
    assert_eq!(alone.positions, [Position { heading: None, speed: None, ..expected }]);
    assert_eq!(hear(&vitals(&data[..1]), NOON).positions, []);
    for nowhere in [Value::Invalid, Value::Text("x"), Value::Location { latitude: f64::NAN, longitude: 0.0 }]
    {
        let heard = hear(&vitals(&[datum("Location", nowhere)]), NOON);
        let none = Position {
            latitude: None,
            longitude: None,
            heading: None,
            speed: None,
            valid: false,
            ..expected
        };
        assert_eq!(heard.positions, [none]);
        assert_eq!(heard.readings, []);
    }
}

#[test]
fn time_is_the_payloads_then_the_envelopes_and_marked_when_ahead() {
    let tolerance = i64::try_from(CLOCK_AHEAD_TOLERANCE.as_micros()).expect("seconds");
    let data = [datum("Soc", Value::Int(50)), datum("PackVoltage", Value::Invalid)];
    let qualities = |received_at| -> Vec<Quality> {
        hear(&vitals(&data), received_at).readings.into_iter().map(|reading| reading.3).collect()
    };
    assert_eq!(qualities(NOON.plus_micros(-tolerance)), [Quality::Valid, Quality::Invalid]);
    assert_eq!(qualities(NOON.plus_micros(-tolerance - 1)), [Quality::Clock, Quality::Invalid]);
    assert_eq!(qualities(NOON.plus_micros(UtcMicros::PER_DAY)), [Quality::Valid, Quality::Invalid]);
    let mut payload = Vec::new();
    let exact = NOON.plus_micros(-123_456);
    encode_vitals(data, Some(exact), VIN, false, &mut payload);
    assert_eq!(hear(&message("V", &payload), NOON).times, [exact, exact]);
    payload.clear();
    encode_vitals(data, None, VIN, false, &mut payload);
    assert_eq!(hear(&message("V", &payload), NOON.plus_micros(5)).times, [NOON, NOON], "the envelope's");
}

#[test]
fn unknown_fields_and_kinds_are_events_with_their_number_alone() {
    let mut data: Vec<Datum<'_>> =
        (0..100).map(|index| Datum { field: 5_000 + index % 50, value: Value::Text("secret") }).collect();
    data.insert(0, Datum { field: u32::MAX, value: Value::Int(1) });
    let heard = hear(&vitals(&data), NOON);
    assert_eq!(heard.events.len(), 32, "once each, and not without end");
    assert!(heard.events.iter().all(|event| event.0 == "unknown_field" && event.2.is_none()));
    assert_eq!((heard.events[0].1.as_str(), heard.events[1].1.as_str()), ("-1", "5000"));
    assert_eq!(heard.readings, []);
    let payload = [0x0a, 0x07, 0x08, 0x08, 0x12, 0x03, 0x98, 0x06, 0x01];
    let heard = hear(&message("V", &payload), NOON);
    assert_eq!((heard.events[0].0.as_str(), heard.events[0].1.as_str()), ("unknown_value", "8"));
}

#[test]
fn the_other_topics_become_events() {
    let later = NOON.plus_micros(1_500_000);
    let mut events = Vec::new();
    for (topic, payload) in one_of_each().into_iter().skip(1) {
        let heard = hear(&message(topic, &payload), NOON);
        assert_eq!((heard.readings.len(), heard.positions.len()), (0, 0));
        events.extend(heard.events);
    }
    let event = |kind: &str, code: &str, detail: &str, time, end| {
        (kind.to_owned(), code.to_owned(), Some(detail.to_owned()), time, end)
    };
    let expected = [
        event("alert", "Overheated", r#"{"audiences":["customer","service_fix"]}"#, NOON, Some(later)),
        event("alert", "Lasting", r#"{"audiences":[]}"#, NOON, None),
        event("error", "Crash", r#"{"body":"it broke","tags":{"part":"\"gps\"\u000a","n":""}}"#, later, None),
        event("metric", "load", r#"{"value":0.25,"tags":{"core":"0"}}"#, NOON, None),
        event("metric", "nan", r#"{"value":null,"tags":{}}"#, NOON, None),
        event(
            "connectivity",
            "connected",
            r#"{"connection_id":"c-1","network_interface":"wifi"}"#,
            NOON,
            None,
        ),
    ];
    assert_eq!(events, expected);
    for (_, _, detail, ..) in events {
        let detail = detail.expect("a detail");
        serde_json::from_str::<serde_json::Value>(&detail).expect("JSON");
    }
}

#[test]
fn what_is_not_stored_says_nothing() {
    let mut ack = Vec::new();
    encode_ack(b"t", b"V", &mut ack);
    assert_eq!(hear(&ack, NOON), Heard::default());
    assert_eq!(hear(&message("unheard-of", b"\xff"), NOON), Heard::default());
}

/// Every field takes every type of value and says something: one reading, its members, a position, nothing lost in silence.
#[test]
fn every_field_of_the_catalogue_answers_every_type_of_value() {
    let mut fields = 0;
    for number in 0..1_000 {
        if catalogue::tesla(number).is_none() {
            continue;
        }
        fields += 1;
        let mut values = vec![
            Value::Invalid,
            Value::Text("1"),
            Value::Text("?"),
            Value::Int(1),
            Value::Long(1),
            Value::Float(0.5),
            Value::Double(0.5),
            Value::Boolean(true),
            Value::Location { latitude: 1.0, longitude: 2.0 },
            Value::Doors(1),
            Value::Tires(1),
            Value::Time { hour: 1, minute: 2, second: 3 },
        ];
        values.extend(
            (0..64)
                .filter(|kind| enumeration_name(*kind).is_some())
                .map(|kind| Value::Enumeration { kind, number: 1 }),
        );
        for value in values {
            let heard = hear(&vitals(&[Datum { field: number, value }]), NOON);
            assert!(!heard.readings.is_empty() || !heard.positions.is_empty(), "{number} {value:?}");
            for (path, value, _, quality) in heard.readings {
                assert!(value.is_none() || quality == Quality::Valid, "{path}");
                assert!(value.is_none_or(f64::is_finite));
            }
        }
    }
    assert_eq!(fields, 260);
}

proptest! {
    #[test]
    fn a_float_becomes_the_number_that_its_shortest_text_says(bits: u32) {
        let float = f32::from_bits(bits);
        let text: f64 = float.to_string().parse().expect("a number");
        let short = shortest(float);
        prop_assert!(short == text || (short.is_nan() && text.is_nan()), "{float}: {short} is not {text}");
    }

    #[test]
    fn a_decimal_as_a_car_sends_it_is_kept(digits in -10_000_000_i32..10_000_000, power in 0_i32..5) {
        let float = (f64::from(digits) / 10_f64.powi(power)) as f32;
        let text: f64 = float.to_string().parse().expect("a number");
        prop_assert_eq!(shortest(float), text);
    }
}
