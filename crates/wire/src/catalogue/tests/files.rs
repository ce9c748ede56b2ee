//! The files hold together; what is wrong in a line is refused with its number.

use model::{Class, Datatype};

use super::super::load::load;
use super::super::{Entry, find, gbt, info, signals, tesla, tesla_by_name};
use crate::gbt32960::names::{INDEX_MAX, NAMES};

const SIGNALS_HEADER: &str =
    "protocol,number,name,range,signal,unit,datatype,class,enumeration,maker_unit,scale,offset";
const ENUMERATIONS: &str = "enumeration,prefix,number,name,text,value\nState,S,0,SOff,,\nState,S,1,SOn,,\n";

/// Units of VSS that the catalogue uses, and `kOhm`, `MPa`, `mg/kg`, `kg/100km`, `min` and `h` for signals that VSS lacks.
const UNITS: [&str; 20] = [
    "", "km/h", "m", "V", "A", "percent", "Celsius", "kPa", "kW", "kWh", "s", "h", "min", "degrees", "rpm",
    "Nm", "l/100km", "kg/100km", "kOhm", "MPa",
];

fn all_entries() -> Vec<&'static Entry> {
    let mut entries = Vec::new();
    for number in 0..=259 {
        let field = tesla(number).expect("a field");
        entries.push(&field.entry);
        entries.extend(field.parts.iter().map(|part| &part.entry));
    }
    entries.extend(NAMES.iter().map(|(name, _)| gbt(name).expect("a line for the name")));
    entries
}

#[test]
fn every_tesla_field_is_there_by_number_and_by_name() {
    for number in 0..=259 {
        let field = tesla(number).expect("a field");
        assert_eq!(field.number, number);
        assert_eq!(tesla_by_name(field.entry.name).expect("the same field").number, number);
        for part in &field.parts {
            assert_eq!(part.entry.name, format!("{}.{}", field.entry.name, part.member_name));
            assert_eq!(field.part(part.member).expect("the part").member_name, part.member_name);
        }
    }
    assert!(tesla(260).is_none());
    assert!(tesla(u32::MAX).is_none());
    assert!(tesla_by_name("vehiclespeed").is_none());
    let doors = tesla_by_name("DoorState").expect("a field");
    assert_eq!(doors.parts.len(), 6);
    assert!(doors.part(0).is_none() && doors.part(7).is_none());
    assert_eq!(tesla_by_name("TpmsHardWarnings").expect("a field").parts.len(), 10);
}

#[test]
fn every_gbt_name_is_there_with_the_codec_s_unit() {
    for (name, unit) in NAMES {
        let entry = gbt(name).expect("a line for the name");
        assert_eq!((entry.name, entry.maker_unit), (*name, *unit));
    }
    for part in ["motor", "pack", "stack"] {
        let has =
            |index: usize| gbt(&format!("{part}{index}.voltage")).or(gbt(&format!("{part}{index}.speed")));
        assert!(has(INDEX_MAX).is_some() && has(INDEX_MAX + 1).is_none());
    }
    assert!(gbt("vehicle.plate").is_none());
}

#[test]
fn entries_agree_with_their_signals() {
    assert_eq!(
        signals().len(),
        signals().iter().map(|s| s.path).collect::<std::collections::HashSet<_>>().len()
    );
    for entry in all_entries() {
        let signal = info(entry.signal);
        assert_eq!(find(signal.path), Some(entry.signal), "{}", entry.name);
        assert_eq!((signal.datatype, signal.class), (entry.datatype, entry.class), "{}", entry.name);
        assert!(UNITS.contains(&signal.unit) || signal.unit == "mg/kg", "{}: {}", entry.name, signal.unit);
        assert!(signal.path.is_ascii() && !signal.path.contains(['{', '}', ' ']), "{}", signal.path);
        // A unit without the maker's, or the other way round, would be a conversion from nowhere.
        assert_eq!(signal.unit.is_empty(), entry.maker_unit.is_empty(), "{}", entry.name);
        if signal.unit.is_empty() {
            assert_eq!((entry.scale, entry.offset), (1.0, 0.0), "{}", entry.name);
        }
        if entry.datatype == Datatype::Enumeration {
            assert!(entry.enumeration.is_some(), "{}", entry.name);
        }
        assert_ne!(entry.scale, 0.0, "{}", entry.name);
    }
}

#[test]
fn the_same_quantity_of_two_makers_is_one_signal() {
    for (field, item) in [
        ("VehicleSpeed", "vehicle.speed"),
        ("Odometer", "vehicle.odometer"),
        ("Soc", "vehicle.soc"),
        ("PackVoltage", "vehicle.voltage"),
        ("PackCurrent", "vehicle.current"),
        ("Gear", "vehicle.gear"),
        ("DetailedChargeState", "vehicle.charging_state"),
    ] {
        let signal = tesla_by_name(field).expect("a field").entry.signal;
        assert_eq!(signal, gbt(item).expect("an item").signal, "{field} and {item}");
        assert!(!info(signal).path.contains("Tesla"));
    }
}

#[test]
fn what_reveals_a_place_is_of_the_class_location() {
    let places = [
        "Location",
        "GpsHeading",
        "OriginLocation",
        "DestinationLocation",
        "DestinationName",
        "RouteLine",
        "RouteLastUpdated",
        "MilesToArrival",
        "MinutesToArrival",
        "RouteTrafficMinutesDelay",
        "ExpectedEnergyPercentAtTripArrival",
        "LocatedAtHome",
        "LocatedAtWork",
        "LocatedAtFavorite",
        "HomelinkNearby",
        "PowershareType",
    ];
    for number in 0..=259 {
        let field = tesla(number).expect("a field");
        let is_place = field.entry.class == Class::Location;
        assert_eq!(is_place, places.contains(&field.entry.name), "{}", field.entry.name);
        assert!(field.parts.iter().all(|part| (part.entry.class == Class::Location) == is_place));
    }
    for person in ["DriverSeatOccupied", "DriverSeatBelt", "PassengerSeatBelt", "MediaNowPlayingTitle"] {
        assert_eq!(tesla_by_name(person).expect("a field").entry.class, Class::Sensitive, "{person}");
    }
    for person in
        ["VehicleName", "PairedPhoneKeyAndKeyFobQty", "GuestModeEnabled", "Experimental_1", "Deprecated_3"]
    {
        assert_eq!(tesla_by_name(person).expect("a field").entry.class, Class::Personal, "{person}");
    }
}

/// The rule by which a file of these lines is refused.
fn refusal(lines: &str, enumerations: &'static str) -> String {
    let text: &'static str = format!("{SIGNALS_HEADER}\n{lines}\n").leak();
    load(text, enumerations).expect_err("a refusal").to_string()
}

#[test]
fn a_bad_line_is_refused_with_its_number() {
    let good = "tesla,1,A,,Vehicle.Tesla.A,,number,technical,,,,";
    for (lines, rule) in [
        ("tesla,1,A,,Vehicle.Tesla.A,,number,technical,,,", "11 columns where 12 are expected"),
        ("tesla,x,A,,Vehicle.Tesla.A,,number,technical,,,,", "the field number is not a number"),
        ("tesla,1024,A,,Vehicle.Tesla.A,,number,technical,,,,", "the field number is larger than 1023"),
        ("volvo,1,A,,Vehicle.Tesla.A,,number,technical,,,,", "the protocol must be tesla or gbt32960"),
        ("tesla,1,A,,Tesla.A,,number,technical,,,,", "a signal's path begins with Vehicle."),
        ("tesla,1,A,,Vehicle.Tesla.A,,real,technical,,,,", "no such datatype"),
        ("tesla,1,A,,Vehicle.Tesla.A,,number,secret,,,,", "no such class"),
        ("tesla,1,A,,Vehicle.Tesla.A,,enumeration,technical,,,,", "an enumeration's line must name it"),
        ("tesla,1,A,,Vehicle.Tesla.A,,enumeration,technical,Gone,,,", "no such enumeration"),
        ("tesla,1,A,,Vehicle.Tesla.A,,number,technical,,,one,", "scale and offset must be numbers"),
        ("tesla,1,A,,Vehicle.Tesla.A,,number,technical,,,,inf", "scale and offset must be finite"),
        ("tesla,1.1,A.b,,Vehicle.Tesla.A,,number,technical,,,,", "the field must stand before its members"),
        ("gbt32960,,m{n}.a,,Vehicle.M{n},,number,technical,,,,", "{n} needs a range"),
        (
            "gbt32960,,m{n}.a,4..1,Vehicle.M{n},,number,technical,,,,",
            "the range must go up, by less than 250",
        ),
        (
            "gbt32960,,m{n}.a,1..900,Vehicle.M{n},,number,technical,,,,",
            "the range must go up, by less than 250",
        ),
        ("gbt32960,,m{n}.a,1-4,Vehicle.M{n},,number,technical,,,,", "the range must be <first>..<last>"),
        ("gbt32960,7,a,,Vehicle.M,,number,technical,,,,", "a GB/T line has no number"),
        ("tesla,,A,,Vehicle.Tesla.A,,number,technical,,,,", "the field number is not a number"),
    ] {
        assert_eq!(refusal(lines, ENUMERATIONS), format!("signals.csv, line 2: {rule}"));
    }
    for (second, rule) in [
        ("tesla,1,B,,Vehicle.Tesla.B,,number,technical,,,,", "this field number stands twice"),
        ("tesla,2,A,,Vehicle.Tesla.B,,number,technical,,,,", "this field name stands twice"),
        (
            "tesla,2,B,,Vehicle.Tesla.A,,number,personal,,,,",
            "another line gives this signal another unit, datatype or class",
        ),
        (
            "tesla,2,B,,Vehicle.Tesla.A,V,number,technical,,V,,",
            "another line gives this signal another unit, datatype or class",
        ),
        (
            "tesla,1.2,A.b,,Vehicle.Tesla.A.B,,number,technical,,,,",
            "members must stand in the order of their numbers, from 1",
        ),
        ("tesla,1.1,C.b,,Vehicle.Tesla.A.B,,number,technical,,,,", "a member's name is <field>.<member>"),
    ] {
        assert_eq!(
            refusal(&format!("{good}\n{second}"), ENUMERATIONS),
            format!("signals.csv, line 3: {rule}")
        );
    }
}

#[test]
fn a_bad_enumeration_is_refused() {
    const HEADER: &str = "enumeration,prefix,number,name,text,value\n";
    let header_only: &'static str = format!("{SIGNALS_HEADER}\n").leak();
    for (lines, rule) in [
        ("S,P,0,PA,,\nS,P,0,PB,,\n", "a number of the enumeration stands twice"),
        ("S,P,0,PA,,\nS,P,1,PA,,\n", "a name of the enumeration stands twice"),
        ("S,P,0,QA,,\n", "a name lacks the enumeration's prefix"),
        ("S,P,256,PA,,\n", "a number of the enumeration is larger than 255"),
        ("S,P,x,PA,,\n", "the number is not a number"),
        ("S,P,0,PA,,often\n", "the value is not a number"),
        ("S,P,0,PA,,\nR,,0,PA,,\nS,P,1,PB,,\n", "an enumeration's lines must stand together"),
        ("S,P,0,PA,\n", "5 columns where 6 are expected"),
    ] {
        let text: &'static str = format!("{HEADER}{lines}").leak();
        let refusal = load(header_only, text).expect_err("a refusal").to_string();
        assert!(
            refusal.starts_with("enumerations.csv, line ") && refusal.ends_with(rule),
            "{refusal}: {rule}"
        );
    }
    assert_eq!(
        load("", HEADER).expect_err("a refusal").to_string(),
        format!("signals.csv, line 1: the header must be {SIGNALS_HEADER}")
    );
}
