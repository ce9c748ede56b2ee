//! What simulated vehicles send is read by the codec as what they meant.

use std::collections::HashSet;

use model::UtcMicros;
use wire::tesla::Topic;
use wire::tesla::payload::{Value, Vitals, validate};

use super::{Firmware, TeslaVehicle, marked_as_resent};
use crate::client::{Body, Source};
use crate::vehicle::Vehicle;

const START: UtcMicros = UtcMicros::from_seconds(1_780_000_000);

fn payloads(seed: u64, firmware: Firmware, seconds: i64) -> Vec<(Topic, Vec<u8>)> {
    let vehicle = Vehicle::new(seed, 3, "CN".parse().expect("a country"), START);
    let mut source = TeslaVehicle::new(vehicle, firmware);
    let mut payloads = Vec::new();
    for second in 0..seconds {
        if let Some(message) = source.next(START.plus_micros(second * UtcMicros::PER_SECOND)) {
            let Body::Tesla { topic, payload, .. } = message.body else { panic!("another protocol") };
            payloads.push((topic, payload));
        }
    }
    payloads
}

#[test]
fn the_same_seed_sends_the_same_bytes_and_another_does_not() {
    assert_eq!(payloads(5, Firmware::Typed, 900), payloads(5, Firmware::Typed, 900));
    assert_eq!(payloads(5, Firmware::Text, 900), payloads(5, Firmware::Text, 900));
    assert_ne!(payloads(5, Firmware::Typed, 900), payloads(6, Firmware::Typed, 900));
}

#[test]
fn every_payload_parses_as_its_topic_and_all_kinds_of_values_occur() {
    let mut topics = HashSet::new();
    let mut kinds = HashSet::new();
    for seed in 0..20 {
        for (topic, payload) in payloads(seed, Firmware::Typed, 900) {
            assert!(!validate(topic, &payload).expect("it parses"));
            topics.insert(topic.as_str());
            if topic == Topic::Vitals {
                assert!(
                    validate(topic, &marked_as_resent(&payload)).expect("it parses"),
                    "is marked as resent"
                );
                kinds.extend(Vitals::parse(&payload).expect("vitals").data().map(|datum| datum.value.kind()));
            }
        }
    }
    assert_eq!(topics, HashSet::from(["V", "alerts", "errors"]));
    for kind in [1, 2, 5, 6, 7, 9, 10, 15, 21, 32, 39] {
        assert!(kinds.contains(&kind), "no value of kind {kind}");
    }
}

#[test]
fn older_firmware_says_the_same_fields_in_texts() {
    let typed = payloads(9, Firmware::Typed, 60);
    let texts = payloads(9, Firmware::Text, 60);
    assert_eq!(typed.len(), texts.len());
    for ((_, typed), (topic, text)) in
        typed.iter().zip(&texts).filter(|((topic, _), _)| *topic == Topic::Vitals)
    {
        assert_eq!(*topic, Topic::Vitals);
        let fields = |payload: &[u8]| -> Vec<u32> {
            Vitals::parse(payload).expect("vitals").data().map(|datum| datum.field).collect()
        };
        assert_eq!(fields(typed), fields(text));
        for datum in Vitals::parse(text).expect("vitals").data() {
            assert!(matches!(datum.value, Value::Text(_) | Value::Invalid), "field {}", datum.field);
        }
    }
}

#[test]
fn a_vehicle_sends_what_changed_and_not_everything_always() {
    let sizes: Vec<usize> = payloads(4, Firmware::Typed, 120)
        .iter()
        .filter(|(topic, _)| *topic == Topic::Vitals)
        .map(|(_, payload)| Vitals::parse(payload).expect("vitals").data().count())
        .collect();
    assert_eq!(sizes[0], super::FIELDS.len(), "the first message says everything");
    let later = &sizes[5..];
    let mean = later.iter().sum::<usize>() / later.len();
    assert!(mean < super::FIELDS.len() / 2, "later ones say {mean} fields");
}
