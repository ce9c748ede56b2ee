//! Values become readings: units, signs, enumerations, and the same row however a maker writes a value.

use model::Quality;

use super::super::{Entry, Resolved, enumeration, gbt, tesla_by_name};
use crate::gbt32960::names::NAMES;

fn field(name: &str) -> &'static Entry {
    &tesla_by_name(name).expect("a field").entry
}

fn valid(value: f64, text: Option<&'static str>) -> Resolved<'static> {
    Resolved { value: Some(value), text, quality: Quality::Valid }
}

#[test]
fn numbers_come_out_in_the_signal_s_unit() {
    for (name, from, to) in [
        ("VehicleSpeed", 60.0, 96.560_64),
        ("Odometer", 1_000.0, 1_609_344.0),
        ("EstBatteryRange", 200.0, 321_868.8),
        ("TpmsPressureFl", 2.9, 290.0),
        ("ChargeRateMilePerHour", 30.0, 48.280_32),
        ("EstimatedHoursToChargeTermination", 1.5, 5_400.0),
        ("PackVoltage", 388.25, 388.25),
        ("InsideTemp", -12.5, -12.5),
        ("Soc", 63.4, 63.4),
        // Undocumented: raw.
        ("DiTorqueActualR", 312.0, 312.0),
        ("CruiseSetSpeed", 65.0, 65.0),
    ] {
        let value = field(name).number(from).value.expect("a value");
        assert!((value - to).abs() <= to.abs() * 1e-12, "{name}: {value}");
    }
    for (name, from, to) in [
        ("vehicle.speed", 96.5, 96.5),
        ("vehicle.odometer", 12_345.6, 12_345_600.0),
        ("vehicle.soc", 80.0, 80.0),
        ("motor1.torque", -12.5, -12.5),
        ("extremes.max_cell_voltage", 4.123, 4.123),
    ] {
        let value = gbt(name).expect("an item").number(from).value.expect("a value");
        assert!((value - to).abs() <= to.abs() * 1e-12, "{name}: {value}");
    }
}

#[test]
fn a_charging_current_is_positive_as_vss_has_it() {
    // GB/T 32960 counts what leaves the battery as positive, VSS what enters it.
    let current = gbt("vehicle.current").expect("an item");
    assert_eq!(current.number(11.3), valid(-11.3, None));
    assert_eq!(current.number(-25.0), valid(25.0, None));
}

#[test]
fn gears_are_vss_numbers_with_the_same_names_for_both_makers() {
    let item = gbt("vehicle.gear").expect("an item");
    for (tesla, gbt, value, name) in
        [(2, 15, 126.0, "P"), (3, 13, -1.0, "R"), (4, 0, 0.0, "N"), (5, 14, 127.0, "D")]
    {
        assert_eq!(field("Gear").number(f64::from(tesla)), valid(value, Some(name)));
        assert_eq!(item.number(f64::from(gbt)), valid(value, Some(name)));
    }
    assert_eq!(item.number(3.0), valid(3.0, Some("3")));
    let unknown = field("Gear").number(6.0);
    assert_eq!(unknown, Resolved { value: None, text: Some("SNA"), quality: Quality::Invalid });
}

#[test]
fn booleans_of_enumerations_keep_the_maker_s_name() {
    assert_eq!(field("FdWindow").text("PartiallyOpen"), valid(1.0, Some("PartiallyOpen")));
    assert_eq!(field("FdWindow").text("WindowStateClosed"), valid(0.0, Some("Closed")));
    assert_eq!(field("DriverSeatBelt").number(2.0), valid(1.0, Some("Latched")));
    assert_eq!(field("DriverSeatBelt").number(3.0).quality, Quality::Invalid);
    assert_eq!(field("DriverSeatBelt").boolean(true), valid(1.0, None));
    assert_eq!(field("DetailedChargeState").number(4.0), valid(1.0, Some("Charging")));
    assert_eq!(field("DetailedChargeState").number(5.0), valid(0.0, Some("Complete")));
    let item = gbt("vehicle.charging_state").expect("an item");
    assert_eq!(item.number(1.0), valid(1.0, Some("ParkedCharging")));
    assert_eq!(item.number(3.0), valid(0.0, Some("NotCharging")));
}

#[test]
fn booleans_may_be_words_of_vss() {
    assert_eq!(field("DriverSeatOccupied").boolean(true), valid(1.0, Some("OCCUPIED")));
    assert_eq!(field("DriverSeatOccupied").text("false"), valid(0.0, Some("EMPTY")));
    assert_eq!(field("RightHandDrive").boolean(false), valid(0.0, Some("LEFT")));
    assert_eq!(field("Setting24HourTime").text("true"), valid(1.0, Some("HR_24")));
}

#[test]
fn a_text_gives_the_same_row_as_the_typed_value() {
    assert_eq!(field("VehicleSpeed").text("60.5"), field("VehicleSpeed").number(60.5));
    assert_eq!(field("VehicleSpeed").text("1e-3"), field("VehicleSpeed").number(0.001));
    assert_eq!(field("Locked").text("true"), field("Locked").boolean(true));
    assert_eq!(field("Locked").text("0"), field("Locked").boolean(false));
    assert_eq!(field("VehicleSpeed").text("<invalid>"), Resolved::INVALID);
    assert_eq!(field("VehicleName").text("<invalid>"), Resolved::INVALID);
    assert_eq!(field("VehicleName").text("").quality, Quality::Valid);
    for number in 0..=259 {
        let entry = &super::super::tesla(number).expect("a field").entry;
        let Some(enumeration) = entry.enumeration else { continue };
        for value in enumeration.entries() {
            let typed = entry.number(f64::from(value.number));
            assert_eq!(entry.text(value.name), typed, "{}", value.name);
            let short = value.name.strip_prefix(enumeration.prefix()).expect("the prefix");
            assert_eq!(entry.text(short), typed, "{short}");
        }
    }
}

#[test]
fn what_cannot_be_has_no_number() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        for name in ["VehicleSpeed", "Gear", "Locked", "VehicleName"] {
            assert_eq!(field(name).number(bad), Resolved::ABNORMAL, "{name}");
        }
    }
    for bad in ["NaN", "inf", "-inf"] {
        assert_eq!(field("VehicleSpeed").text(bad), Resolved::ABNORMAL);
    }
    assert_eq!(field("Gear").number(2.5), Resolved::ABNORMAL);
    assert_eq!(field("Odometer").number(f64::MAX), Resolved::ABNORMAL);
    let unreadable = field("VehicleSpeed").text("fast");
    assert_eq!(unreadable, Resolved { value: None, text: Some("fast"), quality: Quality::Abnormal });
}

#[test]
fn a_number_that_the_catalogue_does_not_know_stays() {
    assert_eq!(field("DetailedChargeState").enumeration.expect("one").entry(77), None);
    assert_eq!(field("CarType").number(77.0), valid(77.0, None));
    let cars = enumeration("CarTypeValue").expect("one");
    assert_eq!(cars.number("CarTypeModelY"), Some(4));
    assert_eq!(cars.number("ModelY"), Some(4));
    assert_eq!(cars.number("modely"), None);
    assert_eq!(cars.text(4), Some("ModelY"));
    assert_eq!((cars.text(-1), cars.text(i64::MAX)), (None, None));
    assert_eq!(cars.name(), "CarTypeValue");
}

#[test]
fn gbt_enumerations_know_the_standard_s_numbers() {
    for (name, numbers) in [
        ("vehicle.state", 1..=3),
        ("vehicle.charging_state", 1..=4),
        ("vehicle.running_mode", 1..=3),
        ("vehicle.dcdc_state", 1..=2),
        ("fuel_cell.dcdc_state", 1..=2),
        ("vehicle.gear", 0..=15),
        ("motor1.state", 1..=4),
        ("motor4.state", 1..=4),
        ("engine.state", 1..=2),
    ] {
        let known = gbt(name).and_then(|entry| entry.enumeration).expect("an enumeration").entries();
        assert!(known.iter().map(|entry| i64::from(entry.number)).eq(numbers), "{name}");
    }
    let with_enumeration =
        NAMES.iter().filter(|(name, _)| gbt(name).is_some_and(|e| e.enumeration.is_some())).count();
    assert_eq!(with_enumeration, 11);
}
