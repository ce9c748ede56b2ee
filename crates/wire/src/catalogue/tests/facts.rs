//! Holds the catalogue against the facts that it is made from: the VSS release, the maker's field numbers, units and
//! enumerations. They are not part of this repository; without them these tests say so and pass.

use std::collections::HashMap;
use std::path::PathBuf;

use model::Datatype;

use super::super::{Entry, enumeration, find, gbt, info, signals, tesla, tesla_by_name};
use crate::gbt32960::names::NAMES;

/// A file of facts; `None`, said aloud, where the folder isn't there.
fn facts(name: &str) -> Option<String> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder =
        ["../shared", "../../shared"].iter().map(|shared| root.join(shared)).find(|folder| folder.exists());
    let text = folder.and_then(|folder| std::fs::read_to_string(folder.join("facts").join(name)).ok());
    if text.is_none() {
        println!("skipped: shared/facts/{name} is not there");
    }
    text
}

struct Vss {
    datatype: String,
    unit: String,
    allowed: String,
}

fn vss() -> Option<HashMap<String, Vss>> {
    let text = facts("vss-signals.csv")?;
    let mut signals = HashMap::new();
    for line in text.lines().skip(1) {
        let mut columns = line.splitn(5, ',');
        let mut next = || columns.next().unwrap_or_default().to_string();
        let (path, _, datatype, unit, allowed) = (next(), next(), next(), next(), next());
        signals.insert(path, Vss { datatype, unit, allowed });
    }
    Some(signals)
}

fn is_maker_s(path: &str) -> bool {
    path.starts_with("Vehicle.Tesla.") || path.starts_with("Vehicle.GBT32960.")
}

#[test]
fn every_vss_path_is_one_with_its_unit_and_datatype() {
    let Some(vss) = vss() else { return };
    let mut count = 0;
    for signal in signals().iter().filter(|signal| !is_maker_s(signal.path)) {
        let known = vss.get(signal.path).unwrap_or_else(|| panic!("{} is not in VSS", signal.path));
        count += 1;
        assert_eq!(signal.unit, known.unit, "{}", signal.path);
        let fits = match signal.datatype {
            Datatype::Number => {
                ["float", "double", "int", "uint"].iter().any(|kind| known.datatype.starts_with(kind))
            }
            Datatype::Boolean => known.datatype == "boolean",
            Datatype::Enumeration => known.datatype == "int8" || !known.allowed.is_empty(),
            Datatype::Text => known.datatype == "string" && known.allowed.is_empty(),
            Datatype::Array => known.datatype.ends_with("[]"),
        };
        assert!(
            fits && (signal.datatype == Datatype::Array || !known.datatype.ends_with("[]")),
            "{}",
            signal.path
        );
    }
    assert!(count >= 50, "only {count} signals are VSS's");
}

#[test]
fn words_of_vss_enumerations_are_allowed_ones() {
    let Some(vss) = vss() else { return };
    for number in 0..=259 {
        let entry = &tesla(number).expect("a field").entry;
        let path = info(entry.signal).path;
        let (Some(enumeration), Some(known)) = (entry.enumeration, vss.get(path)) else { continue };
        if entry.datatype == Datatype::Enumeration && !known.allowed.is_empty() {
            for value in enumeration.entries().iter().filter(|value| value.value.is_some()) {
                assert!(known.allowed.contains(&format!("'{}'", value.text)), "{path}: {}", value.text);
            }
        }
    }
}

#[test]
fn field_numbers_and_names_are_the_maker_s() {
    let Some(fields) = facts("tesla-fields.csv") else { return };
    let mut count = 0;
    for line in fields.lines().skip(1) {
        let (number, name) = line.split_once(',').expect("two columns");
        assert_eq!(tesla(number.parse().expect("a number")).expect("a field").entry.name, name);
        count += 1;
    }
    assert_eq!(count, 260);
}

#[test]
fn an_undocumented_unit_is_not_guessed() {
    let Some(units) = facts("tesla-units.csv") else { return };
    let documented: HashMap<&str, &str> = units
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut columns = line.splitn(3, ',');
            let (field, unit, source) = (columns.next()?, columns.next()?, columns.next()?);
            ["maker", "integration", "name"].contains(&source).then_some((field, unit))
        })
        .collect();
    for number in 0..=259 {
        let entry = &tesla(number).expect("a field").entry;
        let signal = info(entry.signal);
        let Some(unit) = documented.get(entry.name).filter(|_| entry.datatype == Datatype::Number) else {
            assert_eq!((signal.unit, entry.maker_unit), ("", ""), "{}", entry.name);
            assert!(entry.datatype != Datatype::Number || is_maker_s(signal.path), "{}", entry.name);
            continue;
        };
        let (vss_unit, scale) = match *unit {
            "mph" | "mile/h added" => ("km/h", 1.609_344),
            "mile" => ("m", 1_609.344),
            "bar" => ("kPa", 100.0),
            "degree" => ("degrees", 1.0),
            "degC" => ("Celsius", 1.0),
            "V (RMS)" => ("V", 1.0),
            "h" if signal.unit == "s" => ("s", 3_600.0),
            other => (other, 1.0),
        };
        assert_eq!((signal.unit, entry.scale, entry.offset), (vss_unit, scale, 0.0), "{}", entry.name);
    }
    assert!(documented.len() > 30);
}

#[test]
fn every_enumeration_of_the_maker_is_complete() {
    let Some(enumerations) = facts("tesla-enums.csv") else { return };
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for line in enumerations.lines().skip(1) {
        let columns: Vec<&str> = line.split(',').collect();
        let [name, number, value_name] = columns[..] else { panic!("three columns: {line}") };
        let known = enumeration(name).unwrap_or_else(|| panic!("{name} is missing"));
        let entry =
            known.entry(number.parse().expect("a number")).unwrap_or_else(|| panic!("{line} is missing"));
        assert_eq!(entry.name, value_name);
        assert_eq!(known.number(value_name), number.parse().ok());
        *counts.entry(name).or_default() += 1;
    }
    for (name, count) in &counts {
        assert_eq!(enumeration(name).expect("seen above").entries().len(), *count, "{name}");
    }
    // Each is also the enumeration of a field, so that its names reach a row.
    for name in counts.keys() {
        let used = (0..=259).any(|number| {
            tesla(number).and_then(|field| field.entry.enumeration).is_some_and(|used| used.name() == *name)
        });
        assert!(used, "no field has the enumeration {name}");
    }
}

#[test]
fn gbt_units_are_vss_s_or_converted_to_them() {
    let Some(vss) = vss() else { return };
    for (name, unit) in NAMES {
        let entry: &Entry = gbt(name).expect("a line for the name");
        let signal = info(entry.signal);
        let same = signal.unit.eq_ignore_ascii_case(unit);
        assert!(same || (*unit, signal.unit, entry.scale) == ("km", "m", 1_000.0), "{name}");
        assert!(is_maker_s(signal.path) || vss.contains_key(signal.path), "{name}");
    }
    assert_eq!(tesla_by_name("Odometer").map(|field| field.entry.signal), find("Vehicle.TraveledDistance"));
}
