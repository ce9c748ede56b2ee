//! The index against a plain set.

use std::collections::{BTreeMap, HashSet};

use model::{Quality, SignalId, UtcMicros, VehicleId};

use super::{Digest, Key, LayerId, Seen};

fn vehicle(number: u64) -> VehicleId {
    VehicleId::from_bytes(format!("v{number:016}").as_bytes()).expect("a pseudonym")
}

fn row(vehicle_number: u64, time: i64, value: u64) -> (Key, Digest) {
    let key = Key::new(vehicle(vehicle_number), UtcMicros(time));
    (key, Digest::of_signal(SignalId((value % 7) as u16), Some(value as f64), None, Quality::Valid))
}

struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

#[test]
fn it_agrees_with_plain_sets_through_chunks_discards_and_commits() {
    let mut numbers = Numbers(4);
    let mut seen = Seen::new(1 << 24);
    let mut settled = HashSet::new();
    let mut open: BTreeMap<u64, (LayerId, HashSet<(Key, Digest)>)> = BTreeMap::new();
    for step in 0..4_000 {
        if step % 40 == 0 {
            open.insert(step, (seen.begin_layer(), HashSet::new()));
        }
        let known =
            |open: &BTreeMap<u64, (LayerId, HashSet<_>)>, row: &(Key, Digest), settled: &HashSet<_>| {
                settled.contains(row) || open.values().any(|(_, rows)| rows.contains(row))
            };
        let (car, time) = (numbers.below(5), numbers.below(30) as i64);
        for _ in 0..numbers.below(60) {
            let row = row(car, time, numbers.below(80));
            let expected = !known(&open, &row, &settled);
            assert_eq!(seen.is_new(row.0, row.1), expected, "step {step}");
            if expected {
                open.last_entry().expect("a layer").get_mut().1.insert(row);
            }
        }
        if numbers.below(2) == 0 {
            seen.end_run();
        }
        if step % 40 == 39 && open.len() > 2 {
            let (_, (id, rows)) = open.pop_first().expect("a layer");
            if numbers.below(3) == 0 {
                seen.take_layer(id);
            } else {
                seen.settle_layer(id);
                settled.extend(rows);
            }
        }
    }
    assert!(settled.len() > 1_000);
}

#[test]
fn keys_with_very_many_rows_are_held_too() {
    let mut seen = Seen::new(1 << 24);
    for _ in 0..2 {
        let layer = seen.begin_layer();
        for value in 0..5_000 {
            let (key, digest) = row(1, 1, value);
            seen.is_new(key, digest);
        }
        seen.settle_layer(layer);
    }
    seen.begin_layer();
    for value in 0..5_000 {
        let (key, digest) = row(1, 1, value);
        assert!(!seen.is_new(key, digest), "{value}");
    }
    let (key, digest) = row(1, 1, 5_000);
    assert!(seen.is_new(key, digest));
}

#[test]
fn what_it_remembers_is_bounded_and_the_newest_stays() {
    let mut seen = Seen::new(20 * 1_000);
    for chunk in 0..100 {
        let layer = seen.begin_layer();
        for value in 0..100 {
            let (key, digest) = row(1, chunk, value);
            assert!(seen.is_new(key, digest));
        }
        seen.settle_layer(layer);
        assert!(seen.newer.rows() + seen.older.rows() <= seen.rows_max());
    }
    seen.begin_layer();
    let (key, digest) = row(1, 99, 5);
    assert!(!seen.is_new(key, digest), "the newest is remembered");
    let (key, digest) = row(1, 0, 5);
    assert!(seen.is_new(key, digest), "the oldest is forgotten");
}

#[test]
fn a_digest_tells_rows_apart_that_are_apart() {
    let of = |signal, value, text, quality| Digest::of_signal(SignalId(signal), value, text, quality);
    let all = [
        of(1, Some(1.0), None, Quality::Valid),
        of(2, Some(1.0), None, Quality::Valid),
        of(1, Some(2.0), None, Quality::Valid),
        of(1, None, None, Quality::Invalid),
        of(1, None, None, Quality::Abnormal),
        of(1, None, Some(""), Quality::Valid),
        of(1, None, Some("a"), Quality::Valid),
        of(1, Some(1.0), Some("a"), Quality::Valid),
        of(1, None, Some("a\0"), Quality::Valid),
    ];
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
    assert_eq!(of(1, Some(0.0), None, Quality::Valid), of(1, Some(-0.0), None, Quality::Clock));
}
