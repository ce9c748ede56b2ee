//! What becomes of a frame in the catalogue's words.

use model::{Datatype, Quality, UtcMicros, gcj02_to_wgs84, wgs84_to_gcj02};

use super::super::names::NAMES;
use super::super::{CoordinateSystem, Keys, describe};
use super::{
    ITEMS_2016, ITEMS_2025, Numbers, Remembering, decode_at, frame_by_hand, one_of_each, time, unhex, unit_of,
};
use crate::catalogue;

const VALID: Quality = Quality::Valid;

fn readings_2016() -> Remembering {
    decode_at(&frame_by_hand(b"##", 2, &unit_of(ITEMS_2016)), time(), CoordinateSystem::Wgs84)
}

fn readings_2025() -> Remembering {
    decode_at(&frame_by_hand(b"$$", 2, &unit_of(ITEMS_2025)), time(), CoordinateSystem::Wgs84)
}

fn assert_numbers(sink: &Remembering, expected: &[(&str, f64)]) {
    for (name, in_standard_unit) in expected {
        let entry = catalogue::gbt(name).expect("a name");
        let (value, _, quality) = sink.of(name);
        assert_eq!((value, quality), (Some(entry.convert(*in_standard_unit)), VALID), "{name}");
    }
}

#[test]
fn every_name_has_a_line_in_the_catalogue_and_arrays_need_no_conversion() {
    for (name, _) in NAMES {
        let entry = catalogue::gbt(name).unwrap_or_else(|| panic!("no line for {name}"));
        if entry.datatype == Datatype::Array {
            assert_eq!((entry.scale, entry.offset), (1.0, 0.0), "{name}");
        }
    }
}

#[test]
fn items_of_2016_become_readings() {
    let sink = readings_2016();
    assert_numbers(
        &sink,
        &[
            ("vehicle.speed", 10.0),
            ("vehicle.odometer", 500.0),
            ("vehicle.voltage", 388.0),
            ("vehicle.current", 11.3),
            ("vehicle.soc", 50.0),
            ("vehicle.driving_force", 1.0),
            ("vehicle.braking_force", 0.0),
            ("vehicle.insulation_resistance", 8192.0),
            ("vehicle.accelerator_pedal", 20.0),
            ("vehicle.brake_pedal", 101.0),
            ("motor1.controller_temperature", 50.0),
            ("motor1.speed", 500.0),
            ("motor1.torque", 10.0),
            ("motor1.temperature", 35.0),
            ("motor1.controller_voltage", 388.0),
            ("motor1.controller_current", 10.0),
            ("fuel_cell.voltage", 300.0),
            ("fuel_cell.current", 10.0),
            ("fuel_cell.fuel_consumption", 1.5),
            ("hydrogen.max_temperature", 30.0),
            ("hydrogen.max_temperature_probe", 3.0),
            ("hydrogen.max_concentration_mass", 50.0),
            ("hydrogen.max_pressure", 35.0),
            ("engine.speed", 3000.0),
            ("engine.fuel_consumption", 7.0),
            ("extremes.max_cell_voltage", 3.611),
            ("extremes.min_cell_voltage_cell", 55.0),
            ("extremes.max_temperature", 29.0),
            ("alarm.level", 2.0),
            ("pack1.voltage", 388.0),
            ("pack1.current", 11.3),
            ("pack1.cell_count", 3.0),
            ("pack1.first_cell", 1.0),
        ],
    );
    assert_eq!(sink.of("pack1.cell_voltages"), (None, Some("[3.608,null,null]"), VALID));
    assert_eq!(sink.of("pack1.probe_temperatures"), (None, Some("[29,null,null]"), VALID));
    assert_eq!(sink.of("fuel_cell.probe_temperatures"), (None, Some("[30,null]"), VALID));
    assert_eq!(sink.codes("alarm"), ["temperature_difference", "overcharge", "0x00080002"]);
    assert!(sink.events.iter().filter(|event| event.0 == "alarm").all(|event| event.2 == Some(2)));
    let unknown = sink.events.iter().find(|event| event.0 == "unknown_item").expect("an unknown item");
    assert_eq!((unknown.1.as_str(), unknown.3.as_deref()), ("0x80", Some("{\"bytes\":3}")));
    assert!(sink.readings.iter().all(|reading| reading.4 == time()));
}

#[test]
fn items_of_2025_become_readings() {
    let sink = readings_2025();
    assert_numbers(
        &sink,
        &[
            ("vehicle.current", 2.2),
            ("motor1.speed", 100.0),
            ("motor1.torque", 1.0),
            ("motor2.temperature", 29.0),
            ("hydrogen.max_temperature", 70.0),
            ("hydrogen.max_concentration", 0.005),
            ("hydrogen.remaining_fuel", 50.0),
            ("fuel_cell.dcdc_temperature", 50.0),
            ("engine.speed", 3000.0),
            ("pack1.current", 2.2),
            ("stack1.hydrogen_inlet_pressure", 100.0),
            ("stack1.air_inlet_pressure", 105.0),
            ("stack1.air_inlet_temperature", 45.0),
            ("supercapacitor.voltage", 300.0),
            ("supercapacitor.current", 10.0),
            ("supercapacitor.max_cell_voltage_cell", 2.0),
            ("supercapacitor.min_temperature", 24.0),
        ],
    );
    assert_eq!(sink.of("vehicle.gear").2, Quality::Invalid);
    assert_eq!(sink.of("motor2.torque").2, Quality::Abnormal);
    assert_eq!(sink.of("pack1.cell_voltages").1, Some("[3.957,null]"));
    assert_eq!(sink.of("supercapacitor.cell_voltages").1, Some("[2.7,2.701]"));
    let alarms = sink.events.iter().filter(|event| event.0 == "alarm");
    let alarms: Vec<(&str, Option<i32>)> = alarms.map(|alarm| (alarm.1.as_str(), alarm.2)).collect();
    let expected = [
        ("battery_thermal_event", Some(3)),
        ("fuel_cell_stack_over_temperature", Some(1)),
        ("0x00090025", Some(1)),
    ];
    assert_eq!(alarms, expected);
    let position = sink.positions[0];
    assert!(
        position.valid
            && position.latitude.expect("a latitude") < 0.0
            && position.longitude.expect("a longitude") < 0.0
    );
}

#[test]
fn sentinels_of_each_width_become_qualities_without_a_value() {
    let unit = unit_of(
        "01 ff fe 01 ffff fffffffe fffe 2710 fe ff ff fffe ff fe
         08 01 01 fffe ffff 0000 0001 ff 09 01 01 fffe",
    );
    let sink = decode_at(&frame_by_hand(b"##", 2, &unit), time(), CoordinateSystem::Wgs84);
    for (name, quality) in [
        ("vehicle.state", Quality::Invalid),
        ("vehicle.charging_state", Quality::Abnormal),
        ("vehicle.speed", Quality::Invalid),
        ("vehicle.odometer", Quality::Abnormal),
        ("vehicle.voltage", Quality::Abnormal),
        ("vehicle.soc", Quality::Abnormal),
        ("vehicle.gear", Quality::Invalid),
        ("vehicle.driving_force", Quality::Invalid),
        ("vehicle.brake_pedal", Quality::Abnormal),
        ("pack1.voltage", Quality::Abnormal),
        ("pack1.current", Quality::Invalid),
        ("pack1.cell_voltages", Quality::Invalid),
        ("pack1.probe_temperatures", Quality::Abnormal),
    ] {
        assert_eq!(sink.of(name), (None, None, quality), "{name}");
    }
    assert_eq!(sink.of("vehicle.current").2, VALID);
}

#[test]
fn elements_beyond_the_catalogue_become_one_event() {
    let motor = |number: &str| format!("{number} 01 5a 5014 4e84 4b 0f28 2774");
    let unit = unit_of(&format!("02 04 {} {} {} {}", motor("00"), motor("04"), motor("05"), motor("fe")));
    let sink = decode_at(&frame_by_hand(b"##", 2, &unit), time(), CoordinateSystem::Wgs84);
    assert_eq!(sink.readings.len(), 7);
    assert_eq!(sink.of("motor4.speed").0, Some(500.0));
    let expected =
        ("index_beyond_catalogue".to_owned(), "motor".to_owned(), None, Some("{\"count\":3}".to_owned()));
    assert_eq!(sink.events, [expected]);
}

#[test]
fn a_clock_ahead_is_told_and_an_impossible_date_takes_the_time_of_reception() {
    let frame = frame_by_hand(b"##", 2, &unit_of("04 01 0bb8 ffff"));
    let minutes = |count: i64| time().plus_micros(-count * 60 * UtcMicros::PER_SECOND);
    let of = |received_at| decode_at(&frame, received_at, CoordinateSystem::Wgs84);
    assert_eq!(of(minutes(4)).of("engine.speed"), (Some(3000.0), None, VALID));
    assert_eq!(of(minutes(6)).of("engine.speed"), (Some(3000.0), None, Quality::Clock));
    assert_eq!(of(minutes(6)).of("engine.fuel_consumption").2, Quality::Invalid);
    let frame = frame_by_hand(b"##", 2, &unhex("19 02 1e 00 00 00 04 01 0bb8 ffff"));
    let sink = decode_at(&frame, minutes(0), CoordinateSystem::Wgs84);
    assert_eq!(sink.codes("impossible_date"), [""]);
    assert!(sink.readings.iter().all(|reading| reading.4 == minutes(0)));
    assert_eq!(sink.of("engine.speed").2, Quality::Clock);
}

#[test]
fn positions_are_wgs_84_whatever_they_came_in() {
    let place = |system: &str| unit_of(&format!("05 00 {system} 06f7c0c8 01df5d65"));
    let one = |frame: &[u8], setting| decode_at(frame, time(), setting).positions[0];
    let is_at = |position: model::Position, (north, east): (f64, f64)| {
        let near = |value: Option<f64>, wanted: f64| (value.expect("degrees") - wanted).abs() < 1e-6;
        near(position.latitude, north) && near(position.longitude, east)
    };
    let raw = (31.415_653, 116.900_040);
    let of_2016 = frame_by_hand(b"##", 2, &place(""));
    assert!(is_at(one(&of_2016, CoordinateSystem::Wgs84), raw));
    assert!(is_at(one(&of_2016, CoordinateSystem::Gcj02), gcj02_to_wgs84(raw.0, raw.1)));
    assert!(is_at(one(&frame_by_hand(b"$$", 2, &place("01")), CoordinateSystem::Gcj02), raw));
    let gcj02 = frame_by_hand(b"$$", 2, &place("02"));
    assert!(is_at(one(&gcj02, CoordinateSystem::Wgs84), gcj02_to_wgs84(raw.0, raw.1)));
    let other = one(&frame_by_hand(b"$$", 2, &place("03")), CoordinateSystem::Wgs84);
    assert_eq!((other.latitude, other.longitude, other.valid), (None, None, true));
    let beyond = one(&frame_by_hand(b"##", 2, &unit_of("05 01 ffffffff fffffffe")), CoordinateSystem::Wgs84);
    assert_eq!((beyond.latitude, beyond.longitude, beyond.valid), (None, None, false));
}

#[test]
fn a_position_carries_the_speed_of_its_frame() {
    let sink = readings_2016();
    assert_eq!(sink.positions[0].speed, Some(10.0));
}

#[test]
fn gcj_02_and_back_is_the_same_place_within_a_millionth_of_a_degree() {
    let mut numbers = Numbers(5);
    for _ in 0..20_000 {
        let north = 18.0 + numbers.below(35_000_000) as f64 / 1e6;
        let east = 74.0 + numbers.below(60_000_000) as f64 / 1e6;
        let shifted = wgs84_to_gcj02(north, east);
        assert!((shifted.0 - north).abs() + (shifted.1 - east).abs() > 1e-4, "no shift at {north} {east}");
        let back = gcj02_to_wgs84(shifted.0, shifted.1);
        assert!((back.0 - north).abs() < 1e-6 && (back.1 - east).abs() < 1e-6, "{north} {east}");
    }
    // Tiananmen, by a published pair of coordinates.
    let (north, east) = wgs84_to_gcj02(39.906_217, 116.391_296);
    assert!((north - 39.907_62).abs() < 2e-5 && (east - 116.397_54).abs() < 2e-5, "{north} {east}");
    for outside in [(52.52, 13.405), (-33.86, 151.2), (0.0, 0.0), (37.77, -122.42)] {
        assert_eq!(gcj02_to_wgs84(outside.0, outside.1), outside);
        assert_eq!(wgs84_to_gcj02(outside.0, outside.1), outside);
    }
}

#[test]
fn logins_and_logouts_become_events() {
    let frames = one_of_each();
    let sink = decode_at(&frames[0], time(), CoordinateSystem::Wgs84);
    let expected = ("login".to_owned(), "1".to_owned(), None, Some("{\"packs\":2}".to_owned()));
    assert_eq!(sink.events, [expected]);
    let logout = frame_by_hand(b"##", 4, &unit_of("0001"));
    assert_eq!(decode_at(&logout, time(), CoordinateSystem::Wgs84).codes("logout"), ["1"]);
}

#[test]
fn a_description_names_every_field_with_numbers_as_numbers() {
    let frame = frame_by_hand(b"##", 2, &unit_of(ITEMS_2016));
    let json = describe(&frame, &Keys::none()).expect("a frame");
    assert_eq!(json["time"], "2025-10-28T06:45:47Z");
    assert_eq!(json["items"][0]["speed"], 10.0);
    assert_eq!(json["items"][0]["current"], 11.3);
    assert_eq!(json["items"][1]["elements"][0]["torque"], 10.0);
    assert_eq!(
        json["items"][7]["elements"][0]["cell_voltages"],
        serde_json::json!([3.608, "abnormal", "invalid"])
    );
    assert_eq!(json["items"][6]["flags"], serde_json::json!(["temperature_difference", "overcharge"]));
    for frame in one_of_each() {
        let json = describe(&frame, &Keys::none()).expect("a frame");
        assert_eq!(json["checksum_ok"], true);
        assert!(!json.to_string().contains("pppppp"), "a password is shown");
    }
}
