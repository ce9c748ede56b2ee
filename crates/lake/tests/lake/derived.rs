//! Derived tables follow `signals`: also late data, in whatever pieces it comes, and an erasure.

use std::sync::Arc;

use arrow::util::pretty::pretty_format_batches;
use lake::{
    ErasedRows, OwnerTime, RecordSource, RecordTable, RecordValue, Settings, SourceError, Urgency, Work,
};
use model::{Protocol, Quality, Reading, ReadingSink, Sequence, SignalId, UtcMicros};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use parking_lot::Mutex;

use crate::maintenance::run;
use crate::world::{Center, INPUTS_FROM, START, range, vehicle};

const SECOND: i64 = UtcMicros::PER_SECOND;
const MINUTE: i64 = 60 * SECOND;

/// What a vehicle says in one step of ten seconds: it stands, drives from minute 5 to 35, charges from 45 to 105.
fn say(sink: &mut impl ReadingSink, step: i64) {
    let time = START.plus_micros(step * 10 * SECOND);
    let (speed, power, charging) = match step / 6 {
        5..35 => (60.0, -20.0, 0.0),
        45..105 => (0.0, 50.0, 1.0),
        _ => (0.0, 0.0, 0.0),
    };
    let driven = (step.clamp(30, 210) - 30) as f64 * 1_000.0 / 6.0;
    let soc = 80.0 - (step.clamp(30, 210) - 30) as f64 * 0.07 + (step.clamp(270, 630) - 270) as f64 * 0.18;
    let values = [speed, 10_000_000.0 + driven, 400.0, power * 2.5, soc, charging];
    for (place, value) in values.into_iter().enumerate() {
        let signal = SignalId(INPUTS_FROM + place as u16);
        sink.reading(Reading { time, signal, value: Some(value), text: None, quality: Quality::Valid });
    }
}

/// Takes steps of some vehicles as one batch; gives the next free sequence.
fn take(center: &mut Center, segment: u64, first: u64, steps: impl Iterator<Item = (u64, i64)>) -> u64 {
    let mut sequence = first;
    for (number, step) in steps {
        let at = START.plus_micros(3 * UtcMicros::PER_HOUR + sequence as i64 * 1_000);
        let mut sink =
            center.writer.begin_frame(segment, Sequence(sequence), vehicle(number), Protocol::Tesla, at);
        say(&mut sink, step);
        drop(sink);
        sequence += 1;
    }
    center.writer.commit(range(first, sequence - 1)).expect("a commit");
    sequence
}

fn text(center: &Center, sql: &str) -> String {
    pretty_format_batches(&center.query(sql).expect("an answer")).expect("printable").to_string()
}

/// Everything that the derived tables say.
fn dump(center: &Center) -> Vec<String> {
    ["trips", "charges", "states", "battery", "daily"]
        .map(|table| text(center, &format!("select * from {table} order by 1, 2")))
        .to_vec()
}

#[test]
fn what_comes_late_and_in_pieces_gives_the_same_as_all_at_once() {
    let whole: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut at_once = Center::open(whole).expect("a lake");
    take(&mut at_once, 0, 1, (0..660).flat_map(|step| [(0, step), (1, step)]));
    at_once.deriver.run(&mut || true).expect("a run");
    let trips = at_once
        .numbers("select count(*), cast(min(distance) as bigint), cast(max(energy) as bigint) from trips");
    assert_eq!(trips, [2, 29, 9]);
    let charges = at_once
        .numbers("select count(*), cast(min(energy) as bigint), cast(min(power_max) as bigint) from charges");
    assert_eq!(charges, [2, 49, 50]);
    assert_eq!(at_once.numbers("select cast(min(capacity) as bigint), count(*) from battery"), [77, 2]);
    assert_eq!(at_once.deriver.status().behind, 0);

    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut in_pieces = Center::open(store.clone()).expect("a lake");
    // First without the middle of the drive, which comes last.
    let is_lost = |step: &i64| (60..120).contains(step);
    let next = take(&mut in_pieces, 0, 1, (0..660).filter(|step| !is_lost(step)).map(|step| (0, step)));
    in_pieces.deriver.run(&mut || true).expect("a run");
    let gaps =
        "select gaps, cast(missing as bigint), cast(distance as bigint), late_rows from gaps where gaps > 0";
    assert_eq!(in_pieces.numbers(gaps)[..3], [1, 610, 10]);
    assert_eq!(in_pieces.numbers("select count(*) from trips"), [2]);
    let next = take(&mut in_pieces, 1, next, (0..660).map(|step| (1, step)));
    take(&mut in_pieces, 2, next, (60..120).rev().map(|step| (0, step)));
    assert!(in_pieces.deriver.status().behind > 0);
    in_pieces.deriver.run(&mut || true).expect("a run");
    assert_eq!(dump(&in_pieces), dump(&at_once));
    assert_eq!(in_pieces.numbers("select count(*) from gaps where gaps > 0"), [0]);
    // Put together, thrown away and made anew it is the same.
    run(&in_pieces, &store, Work::Compact, Urgency::Now).expect("a run");
    in_pieces.deriver.run(&mut || true).expect("a run");
    assert_eq!(dump(&in_pieces), dump(&at_once));
    in_pieces.deriver.discard().expect("thrown away");
    assert_eq!(in_pieces.numbers("select count(*) from trips"), [0]);
    in_pieces.deriver.run(&mut || true).expect("a run");
    assert_eq!(dump(&in_pieces), dump(&at_once));
}

#[test]
fn an_erased_vehicle_leaves_the_derived_tables_at_once_and_then_their_files() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut center = Center::open(store.clone()).expect("a lake");
    take(&mut center, 0, 1, (0..660).flat_map(|step| [(0, step), (1, step)]));
    center.deriver.run(&mut || true).expect("a run");
    let rows = "select (select count(*) from trips) a, (select count(*) from charges) b, (select count(distinct vehicle) from states) c,
                       (select count(*) from battery) d, (select count(*) from gaps) e";
    let all = center.numbers(rows);
    let span = |is_open| {
        [ErasedRows { vehicle: vehicle(1), from: UtcMicros(i64::MIN), to: UtcMicros(i64::MAX), is_open }]
    };
    center.erasures.set(&span(true));
    let half: Vec<i64> = all.iter().map(|count| count / 2).collect();
    assert_eq!(center.numbers(rows), half, "nobody sees it from now on");
    run(&center, &store, Work::Erase, Urgency::Now).expect("a run");
    center.deriver.forget(vehicle(1)).expect("forgotten");
    center.deriver.run(&mut || true).expect("a run");
    center.erasures.set(&span(false));
    assert_eq!(center.numbers(rows), half, "nothing is left to be hidden");
    assert_eq!(center.numbers("select cast(max(vehicles) as bigint) from daily"), [1]);
}

/// A vehicle, its owner, and the first and last hour of the ownership after the start.
type Owned = (u64, u32, i64, i64);

/// Owners as a test sets them, and how often it did.
#[derive(Default)]
struct TestOwners(Mutex<(u64, Vec<Owned>)>);

impl TestOwners {
    fn set(&self, owners: impl IntoIterator<Item = Owned>) {
        let mut all = self.0.lock();
        *all = (all.0 + 1, owners.into_iter().collect());
    }
}

impl RecordSource for TestOwners {
    fn tables(&self) -> Vec<RecordTable> {
        Vec::new()
    }

    fn rows(&self, _: &str, _: &mut dyn FnMut(Vec<RecordValue>)) -> Result<(), SourceError> {
        Ok(())
    }

    fn owners(&self) -> Result<Vec<OwnerTime>, SourceError> {
        let owners = &self.0.lock().1;
        let hour = |hour: i64| START.plus_micros(hour * UtcMicros::PER_HOUR);
        let time = |(number, owner, from, to): &Owned| OwnerTime {
            vehicle: vehicle(*number),
            from: hour(*from),
            to: Some(hour(*to)),
            owner: *owner,
        };
        Ok(owners.iter().map(time).collect())
    }

    fn version(&self) -> u64 {
        self.0.lock().0
    }
}

#[test]
fn daily_counts_owners_and_is_worked_out_anew_when_they_change() {
    let owners = Arc::new(TestOwners::default());
    let mut center =
        Center::open_all(Arc::new(InMemory::new()), Settings::default(), owners.clone()).expect("a lake");
    take(&mut center, 0, 1, (0..60).flat_map(|step| (0..7).map(move |number| (number, step))));
    let count = |center: &Center| center.numbers("select coalesce(max(owners), -1) from daily")[0];
    let due = |center: &mut Center| center.deriver.run(&mut || true).expect("a run");
    due(&mut center);
    assert_eq!(count(&center), 0);
    // Seven vehicles of five owners, and one that said nothing.
    let of = |number: u64| (number, (number % 5) as u32, 0, 48);
    owners.set((0..8).map(of));
    assert!(due(&mut center) > 0);
    assert_eq!(count(&center), 5);
    // The same in another order, or with other numbers, is the same.
    owners.set((0..8).rev().map(of));
    assert_eq!(due(&mut center), 0);
    owners.set((0..8).map(|number| (number, 90 - (number % 5) as u32, 0, 48)));
    assert_eq!(due(&mut center), 0);
    // Erased, or sold long before: four are too few to be told.
    owners.set(
        (0..8)
            .map(of)
            .map(|(number, owner, from, to)| (number, owner, from, to - 480 * i64::from(number % 5 == 4))),
    );
    assert!(due(&mut center) > 0);
    assert_eq!(count(&center), -1);
}

#[test]
fn a_trip_in_a_time_of_private_use_says_so() {
    let mut center = Center::new();
    take(&mut center, 0, 1, (0..660).flat_map(|step| [(0, step), (1, step)]));
    let mut private = |times: &[(u64, i64, Option<i64>)]| {
        let at = |minute: i64| START.plus_micros(minute * MINUTE);
        let time = |(number, from, until): &(u64, i64, Option<i64>)| lake::PrivateTime {
            vehicle: vehicle(*number),
            from: at(*from),
            until: until.map(at),
        };
        *center.vehicles.0.lock() = times.iter().map(time).collect();
        let days = center.deriver.run(&mut || true).expect("a run");
        let sql = "select coalesce(sum(case when private then 1 else 0 end), 0), count(*) from trips";
        (days > 0, center.numbers(sql))
    };
    assert_eq!(private(&[]), (true, vec![0, 2]));
    // The trip lasts from minute 5 to minute 35.
    assert_eq!(private(&[(1, 34, Some(50))]), (true, vec![1, 2]));
    assert_eq!(private(&[(1, 34, Some(50))]), (false, vec![1, 2]));
    assert_eq!(private(&[(1, 36, Some(50))]), (true, vec![0, 2]), "it is taken back");
    assert_eq!(private(&[(0, -100, None), (1, -100, Some(6))]), (true, vec![2, 2]));
    assert_eq!(private(&[(0, -100, Some(5))]), (true, vec![0, 2]), "it ended as the trip began");
}

#[test]
fn days_whose_term_is_over_leave_the_derived_tables() {
    let mut center = Center::new();
    take(&mut center, 0, 1, (0..660).map(|step| (0, step)));
    center.deriver.run(&mut || true).expect("a run");
    assert_eq!(center.numbers("select count(*) from trips"), [1]);
    center.clock.pass(370 * UtcMicros::PER_DAY + MINUTE);
    center.deriver.run(&mut || true).expect("a run");
    assert_eq!(center.numbers("select count(*) from trips"), [0]);
    assert_eq!(center.deriver.status().files, 0);
}
