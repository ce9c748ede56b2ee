//! A vehicle is the same for the same seed and stays within what cars can do.

use std::collections::HashSet;

use super::{Activity, Vehicle, vin};
use model::{Country, UtcMicros};

const START: UtcMicros = UtcMicros::from_seconds(1_780_000_000);

fn country() -> Country {
    "CN".parse().expect("a country")
}

fn summary(vehicle: &Vehicle) -> String {
    format!(
        "{:?} {:?} {} {} {:?} {:?} {:?}",
        vehicle.activity,
        vehicle.position(),
        vehicle.speed_kmh,
        vehicle.odometer_km,
        vehicle.battery.cells_mv,
        vehicle.body.tyres_bar,
        vehicle.faults,
    )
}

#[test]
fn the_same_seed_lives_the_same_life_and_another_does_not() {
    let live = |seed| {
        let mut vehicle = Vehicle::new(seed, 7, country(), START);
        (1..600)
            .map(|second| {
                vehicle.advance(START.plus_micros(second * UtcMicros::PER_SECOND));
                summary(&vehicle)
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(live(1), live(1));
    assert_ne!(live(1), live(2));
}

#[test]
fn a_day_of_thirty_vehicles_stays_within_what_cars_can_do() {
    let mut seen = HashSet::new();
    for index in 0..30 {
        let mut vehicle = Vehicle::new(11, index, country(), START);
        let mut odometer = vehicle.odometer_km;
        let mut speed = vehicle.speed_kmh;
        for second in 1..20_000i64 {
            vehicle.advance(START.plus_micros(second * UtcMicros::PER_SECOND));
            seen.insert(format!("{:?}", vehicle.activity));
            assert!((0.0..150.0).contains(&vehicle.speed_kmh), "speed {}", vehicle.speed_kmh);
            let halted = vehicle.speed_kmh == 0.0 && speed < 1.0;
            assert!(halted || (vehicle.speed_kmh - speed).abs() <= 12.0, "a jump from {speed} km/h");
            assert!(vehicle.odometer_km >= odometer && vehicle.odometer_km - odometer < 0.05);
            assert!((0.0..=100.0).contains(&vehicle.battery.soc_percent()));
            assert!((280.0..480.0).contains(&vehicle.battery.volts), "{} V", vehicle.battery.volts);
            assert!(vehicle.battery.cells_mv.iter().all(|mv| (2_700..4_400).contains(mv)));
            let (north, east) = vehicle.position();
            assert!((20.0..43.0).contains(&north) && (100.0..125.0).contains(&east), "left the country");
            assert_eq!(vehicle.activity == Activity::Driving, vehicle.gear == super::Gear::D);
            odometer = vehicle.odometer_km;
            speed = vehicle.speed_kmh;
        }
    }
    assert!(seen.len() >= 5, "every activity happens: {seen:?}");
}

#[test]
fn vins_are_distinct_and_have_a_valid_check_digit() {
    let vins: HashSet<_> = (0..20_000).chain([999_999, 1_000_000, 1_000_001]).map(vin).collect();
    assert_eq!(vins.len(), 20_003);
    assert_eq!(vin(0).as_str().len(), 17);
}
