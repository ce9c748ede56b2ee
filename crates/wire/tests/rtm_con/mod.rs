//! Holds our description of a frame against what the Python package `rtm-con` says of it, in that package's
//! own words.

use serde_json::Value as Json;

/// Compares; panics with the field's name where the two differ.
pub(crate) fn compare(theirs: &Json, ours: &Json) {
    let edition = if theirs["starter"] == "protocol_2016" { 2016 } else { 2025 };
    assert_eq!(ours["edition"], edition);
    let command = match text(&theirs["msg_type"]) {
        "supplimentary" => "supplementary",
        "plt_login" => "platform_login",
        "plt_logout" => "platform_logout",
        "payload_key_sync" => "key_exchange",
        other => other,
    };
    assert_eq!(ours["command_name"], command);
    let flag = match text(&theirs["ack"]) {
        "ok" => "success",
        "nok" => "error",
        "vin_unkown" => "vin_unknown",
        other => other,
    };
    assert_eq!(ours["flag_name"], flag);
    assert_eq!(ours["vin"], theirs["vin"]);
    let encryption = if theirs["enc"] == "uncrypted" { "none" } else { text(&theirs["enc"]) };
    assert_eq!(ours["encryption_name"], encryption);
    assert_eq!(ours["checksum_ok"], true);
    compare_payload(&theirs["payload"], ours);
}

fn compare_payload(theirs: &Json, ours: &Json) {
    if let Some(timestamp) = theirs["timestamp"].as_str() {
        assert_eq!(ours["time"], format!("{}Z", timestamp.replace(' ', "T")), "time");
    }
    let same = [
        ("session_id", "serial"),
        ("iccid", "iccid"),
        ("bms_total", "subsystems"),
        ("pack_sn_len", "code_bytes"),
        ("pack_per_bms", "packs_per_system"),
        ("username", "user"),
        ("sec_chip_id", "chip"),
        ("pubkey", "public_key"),
        ("vin", "activated_vin"),
        ("payload_key_len", "key_bytes"),
    ];
    let is_2025_login = !theirs["pack_per_bms"].is_null();
    for (their_name, our_name) in same {
        let is_counted_elsewhere = is_2025_login && their_name == "bms_total";
        if !theirs[their_name].is_null() && !is_counted_elsewhere {
            assert_eq!(ours[our_name], theirs[their_name], "{their_name}");
        }
    }
    if theirs["pack_sn_len"].as_u64().is_some_and(|length| length > 0) {
        assert_eq!(ours["codes"], theirs["pack_sn"]);
    }
    if let Some(systems) = theirs["pack_sn_list"].as_array() {
        let codes: Vec<Json> =
            systems.iter().flat_map(|codes| codes.as_array().expect("a list").clone()).collect();
        assert_eq!(ours["codes"], Json::Array(codes));
    }
    for (their_name, our_name) in [("activation_result", "result"), ("activation_info", "info")] {
        if let Some(word) = theirs[their_name].as_str() {
            let number = ["ok", "nok", "vin_duplicate"].iter().position(|known| *known == word);
            assert_eq!(ours[our_name], number.map_or(2, |index| index + 1), "{their_name}");
        }
    }
    if let Some(signature) = theirs["sig"].as_object() {
        assert_eq!(ours["signature"]["algorithm_name"], signature["algo"]);
        assert_eq!(ours["signature"]["r"], signature["r_value"]);
        assert_eq!(ours["signature"]["s"], signature["s_value"]);
    }
    if let Some(items) = theirs["data_list"].as_array() {
        let our_items = ours["items"].as_array().expect("items");
        assert_eq!(our_items.len(), items.len(), "number of items");
        let is_2016 = ours["edition"] == 2016;
        items.iter().zip(our_items).for_each(|(theirs, ours)| compare_item(theirs, ours, is_2016));
    }
}

const VEHICLE: &[(&str, &str)] = &[
    ("vehicle_state", "state"),
    ("charge_state", "charging_state"),
    ("operate_state", "running_mode"),
    ("vehicle_speed", "speed"),
    ("mileage_total", "odometer"),
    ("voltage_total", "voltage"),
    ("current_total", "current"),
    ("soc", "soc"),
    ("dcdc_state", "dcdc_state"),
    ("insulation_resistance", "insulation_resistance"),
    ("accelerator_padel", "accelerator_pedal"),
    ("brake_padel", "brake_pedal"),
];

const MOTOR: &[(&str, &str)] = &[
    ("index", "number"),
    ("state", "state"),
    ("ctrl_temp", "controller_temperature"),
    ("speed", "speed"),
    ("torque", "torque"),
    ("temp", "temperature"),
    ("ctrl_volt", "controller_voltage"),
    ("ctrl_curr", "controller_current"),
];

const EXTREMES: &[(&str, &str)] = &[
    ("max_volt_pack_index", "max_cell_voltage_pack"),
    ("max_volt_cell_index", "max_cell_voltage_cell"),
    ("max_cell_volt", "max_cell_voltage"),
    ("min_volt_pack_index", "min_cell_voltage_pack"),
    ("min_volt_cell_index", "min_cell_voltage_cell"),
    ("min_cell_volt", "min_cell_voltage"),
    ("max_temp_pack_index", "max_temperature_pack"),
    ("max_temp_cell_index", "max_temperature_probe"),
    ("max_cell_temp", "max_temperature"),
    ("min_temp_pack_index", "min_temperature_pack"),
    ("min_temp_cell_index", "min_temperature_probe"),
    ("min_cell_temp", "min_temperature"),
];

fn compare_item(theirs: &Json, ours: &Json, is_2016: bool) {
    let content = &theirs["data_content"];
    let Some(kind) = theirs["data_type"].as_str() else {
        assert_eq!(ours["type"], theirs["data_type"]);
        assert_eq!(ours["bytes"], *content);
        return;
    };
    match kind {
        "whole_vehicle" => {
            compare_fields(content, ours, VEHICLE);
            compare_gear(&content["gear_state"], ours);
        }
        "emotor" => each(content, ours, |theirs, ours| compare_fields(theirs, ours, MOTOR)),
        "engine" => compare_fields(
            content,
            ours,
            &[
                ("engine_state", "state"),
                ("engine_torque", "speed"),
                ("fuel_consumption", "fuel_consumption"),
            ],
        ),
        "gnss" => compare_place(content, ours),
        "pack_extrema" => compare_fields(content, ours, EXTREMES),
        "warnings" => compare_warnings(content, ours),
        "cell_volts" => each(content, ours, |theirs, ours| compare_pack(theirs, ours, is_2016)),
        "probe_temps" => each(content, ours, |theirs, ours| {
            compare_fields(theirs, ours, &[("index", "number")]);
            compare_arrays(&theirs["probe_temps"], &ours["probe_temperatures"]);
        }),
        other => panic!("no comparison for {other}"),
    }
}

fn compare_pack(theirs: &Json, ours: &Json, is_2016: bool) {
    compare_fields(theirs, ours, &[("index", "number"), ("volt", "voltage"), ("cell_total", "cell_count")]);
    if !theirs["cell_start_index"].is_null() {
        compare_value("cell_start_index", &theirs["cell_start_index"], &ours["first_cell"]);
    }
    // The package reads this current of 2016 from -3000 A on; the vehicle's own current shows that -1000 A is
    // right.
    let offset = if is_2016 { 2_000.0 } else { 0.0 };
    let current = amount(text(&theirs["curr"])).expect("a current") + offset;
    assert_near("curr", current, ours["current"].as_f64().expect("a number"));
    compare_arrays(&theirs["cell_volts"], &ours["cell_voltages"]);
}

fn compare_gear(theirs: &Json, ours: &Json) {
    let gear = text(&theirs["gear"]);
    let number = match gear {
        "N" => 0,
        "R" => 13,
        "D" => 14,
        "P" => 15,
        _ => gear.trim_start_matches("gp").parse().expect("a gear"),
    };
    let is_invalid = theirs["gear_postion_validity"] == "invalid";
    assert_eq!(ours["gear"], if is_invalid { Json::from("invalid") } else { Json::from(number) });
    assert_eq!(ours["driving_force"], theirs["driving_force"]);
    assert_eq!(ours["braking_force"], theirs["braking_force"]);
}

fn compare_place(theirs: &Json, ours: &Json) {
    let state = &theirs["gnss_state"];
    assert_eq!(ours["valid"], state["gnss_valid"] == 1, "valid");
    let system = &theirs["gnss_gcs"];
    if !system.is_null() {
        assert_eq!(ours["coordinate_system_name"], *system);
    }
    for (name, our_name, direction, negative) in
        [("gnss_lng", "longitude", "gnss_e_w", "w"), ("gnss_lat", "latitude", "gnss_n_s", "s")]
    {
        let sign = if state[direction] == negative { -1.0 } else { 1.0 };
        let degrees = amount(text(&theirs[name])).expect("degrees") * sign;
        assert_near(name, degrees, ours[our_name].as_f64().expect("degrees"));
    }
}

fn compare_warnings(theirs: &Json, ours: &Json) {
    compare_value("max_warning_level", &theirs["max_warning_level"], &ours["level"]);
    let flags = theirs["general_warnings"].as_object().expect("flags");
    let names: Vec<&str> = flags.keys().map(String::as_str).collect();
    let ours_of =
        |name: &str| wire::gbt32960::FLAGS[names.iter().position(|known| *known == name).expect("a flag")];
    let expected: Vec<&str> =
        flags.iter().filter(|(_, set)| **set == 1).map(|(name, _)| ours_of(name)).collect();
    assert_eq!(ours["flags"], Json::from(expected));
    let lists = [
        ("pack_failures", "battery_faults"),
        ("emotor_failures", "motor_faults"),
        ("engine_failures", "engine_faults"),
        ("other_failures", "other_faults"),
    ];
    for (their_name, our_name) in lists {
        let codes = theirs[their_name].as_array().expect("a list");
        let expected: Vec<String> = codes.iter().map(|code| format!("0x{}", text(code))).collect();
        assert_eq!(ours[our_name], Json::from(expected), "{their_name}");
    }
    if let Some(levels) = theirs["general_warning_list"].as_array() {
        let expected: Vec<Json> = levels
            .iter()
            .map(|single| {
                let flag = ours_of(text(&single["warning"]));
                serde_json::json!({ "flag": flag, "level": single["level"] })
            })
            .collect();
        assert_eq!(ours["levels"], Json::Array(expected));
    }
}

fn each(theirs: &Json, ours: &Json, compare: impl Fn(&Json, &Json)) {
    let (theirs, ours) = (theirs.as_array().expect("a list"), ours["elements"].as_array().expect("a list"));
    assert_eq!(theirs.len(), ours.len());
    theirs.iter().zip(ours).for_each(|(theirs, ours)| compare(theirs, ours));
}

fn compare_fields(theirs: &Json, ours: &Json, names: &[(&str, &str)]) {
    for (their_name, our_name) in names {
        if !theirs[their_name].is_null() {
            compare_value(their_name, &theirs[their_name], &ours[our_name]);
        }
    }
}

fn compare_arrays(theirs: &Json, ours: &Json) {
    let (theirs, ours) = (theirs.as_array().expect("a list"), ours.as_array().expect("a list"));
    assert_eq!(theirs.len(), ours.len());
    theirs.iter().zip(ours).for_each(|(theirs, ours)| compare_value("array", theirs, ours));
}

/// Their value is a number, a text such as `6.4 km/h` or `65535 invalid`, or the name of an enumeration's
/// value.
fn compare_value(name: &str, theirs: &Json, ours: &Json) {
    if let Some(number) = theirs.as_f64() {
        assert_near(name, number, ours.as_f64().expect("a number"));
        return;
    }
    let word = text(theirs);
    if let Some(sentinel) = ["invalid", "abnormal"].into_iter().find(|sentinel| word.ends_with(sentinel)) {
        assert_eq!(*ours, sentinel, "{name}");
        return;
    }
    let number = amount(word).or_else(|| enumerated(name, word)).unwrap_or_else(|| panic!("{name}: {word}"));
    assert_near(name, number, ours.as_f64().unwrap_or_else(|| panic!("{name}: {ours}")));
}

fn enumerated(name: &str, word: &str) -> Option<f64> {
    if name == "state" && word == "off" {
        return Some(3.0); // a drive motor's; everything else that is off is 2
    }
    const WORDS: [&[&str]; 4] = [
        &["on", "parking_charging", "pure_electric", "consuming_power"],
        &["off", "driving_charging", "hybrid", "generating_power"],
        &["other", "uncharged", "fuel"],
        &["completed_charging", "idle"],
    ];
    let number = WORDS.iter().position(|words| words.contains(&word))? + 1;
    Some(number as f64)
}

fn amount(text: &str) -> Option<f64> {
    text.split(' ').next()?.parse().ok()
}

fn assert_near(name: &str, theirs: f64, ours: f64) {
    assert!((theirs - ours).abs() < 1e-6, "{name}: {theirs} there, {ours} here");
}

fn text(value: &Json) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}"))
}

/// Bytes of a hexadecimal text.
pub(crate) fn unhex(hex: &str) -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
    (0..hex.len()).step_by(2).map(digits).collect()
}

/// Reads a frame and writes it again: the bytes have to be the same.
pub(crate) fn assert_encodes_again(frame: &[u8]) {
    let envelope = wire::gbt32960::Envelope::read(frame).expect("a frame");
    let unit = envelope.plain_unit().expect("a data unit");
    let mut again = Vec::new();
    wire::gbt32960::encode(&envelope.header, &unit, &mut again).expect("it fitted before");
    assert!(again == frame, "encoded again it is other bytes");
}
