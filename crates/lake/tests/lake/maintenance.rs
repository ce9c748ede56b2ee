//! Files are put together, rows expire, and nothing else is lost or doubled, whatever fails when.

use std::sync::Arc;

use arrow::util::pretty::pretty_format_batches;
use futures::TryStreamExt;
use lake::{Books, Done, Error, SourceError, Step, Urgency, Work};
use model::{Protocol, Quality, Reading, ReadingSink, Sequence, SignalId, UtcMicros};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::world::{Center, Fault, FaultyStore, INPUTS_FROM, START, check_rows, range, vehicle};

const DAY: i64 = UtcMicros::PER_DAY;

/// Books that enter at once and delete what they are told to.
pub(crate) struct Plain(pub(crate) Arc<dyn ObjectStore>);

impl Plain {
    fn delete(&self, objects: &[Path]) -> Result<(), SourceError> {
        for object in objects {
            match futures::executor::block_on(self.0.delete(object)) {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(SourceError(error.to_string())),
            }
        }
        Ok(())
    }
}

impl Books for Plain {
    fn finish(&self) -> Result<(), SourceError> {
        Ok(())
    }

    fn entered(&self, _table: &str, version: i64) -> Result<i64, SourceError> {
        Ok(version)
    }

    fn destroy(&self, objects: &[Path]) -> Result<(), SourceError> {
        self.delete(objects)
    }

    fn discard(&self, objects: &[Path]) -> Result<(), SourceError> {
        self.delete(objects)
    }
}

pub(crate) fn run(
    center: &Center,
    store: &Arc<dyn ObjectStore>,
    work: Work,
    urgency: Urgency,
) -> Result<Done, Error> {
    center.maintenance.lock().run(work, urgency, &Plain(store.clone()), &mut |_| true)
}

/// Takes and commits batches of some frames each.
pub(crate) fn fill(center: &mut Center, batches: std::ops::Range<u64>, frames: u64) {
    for batch in batches {
        let (first, last) = (batch * frames + 1, (batch + 1) * frames);
        center.take(batch, first..=last);
        center.commit(first, last).expect("a commit");
    }
}

/// Every row of the tables, as text.
fn dump(center: &Center) -> [String; 3] {
    let texts = |sql: &str| {
        let rows = center.query(sql).expect("an answer");
        pretty_format_batches(&rows).expect("printable").to_string()
    };
    [
        texts("select * from signals order by vehicle, signal, time, received_at"),
        texts("select * from positions order by vehicle, time, received_at"),
        texts("select * from events order by vehicle, time, code, received_at"),
    ]
}

pub(crate) fn listed(store: &dyn ObjectStore) -> Vec<String> {
    let objects: Vec<_> = futures::executor::block_on(store.list(None).try_collect()).expect("a list");
    let mut names: Vec<String> = objects.into_iter().map(|object| object.location.to_string()).collect();
    names.sort_unstable();
    names
}

pub(crate) fn data_files(store: &dyn ObjectStore, table: &str) -> usize {
    let folder = format!("shanghai-1/lake/{table}/");
    let is_data = |name: &&String| name.starts_with(&folder) && !name.contains("_delta_log");
    listed(store).iter().filter(is_data).count()
}

#[test]
fn compaction_keeps_every_row_and_sorts_it() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut center = Center::open(store.clone()).expect("a lake");
    fill(&mut center, 0..40, 5);
    let before = dump(&center);
    let nothing = run(&center, &store, Work::Compact, Urgency::Due).expect("a run");
    assert!(nothing.steps.is_empty(), "files of the last hour are left alone: {nothing:?}");
    let done = run(&center, &store, Work::Compact, Urgency::Now).expect("a run");
    assert_eq!(done.steps.iter().map(|step| step.rows).sum::<u64>(), 200 * 4 + 200 + 100);
    assert!(done.steps.iter().all(|step| step.expired == 0 && step.doubled == 0 && step.files_added == 1));
    assert_eq!(dump(&center), before);
    for status in center.lake.status() {
        assert_eq!(status.files, 1, "{}", status.table);
        assert!(status.sorted_at.is_some());
        assert_eq!(data_files(store.as_ref(), status.table), 41, "the old files stay for running queries");
    }
    let order = "select vehicle, signal, time from signals";
    let rows = center.query(order).expect("an answer");
    let sorted = center.query(&format!("{order} order by vehicle, signal, time")).expect("an answer");
    let text = |rows| pretty_format_batches(rows).expect("printable").to_string();
    assert_eq!(text(&rows), text(&sorted), "the file's own order");
    // After an hour the old files go.
    center.clock.pass(3_700 * UtcMicros::PER_SECOND);
    let done = run(&center, &store, Work::Both, Urgency::Due).expect("a run");
    assert_eq!((done.steps.len(), done.discarded), (0, 120));
    assert_eq!(data_files(store.as_ref(), "signals"), 1);
    assert_eq!(dump(&center), before);
    drop(center);
    let mut center = Center::open(store).expect("a lake");
    assert_eq!(dump(&center), before);
    // What comes again is known from the sorted file.
    fill(&mut center, 40..42, 5);
    check_rows(&center, 210, "more rows after compaction and a start");
}

#[test]
fn a_day_that_is_over_is_put_together_by_itself() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut center = Center::open(store.clone()).expect("a lake");
    fill(&mut center, 0..7, 5);
    center.clock.pass(2 * UtcMicros::PER_HOUR);
    assert_eq!(center.lake.status()[0].waiting, 0, "too few while their day goes on");
    fill(&mut center, 7..10, 5);
    assert_eq!(center.lake.status()[0].waiting, 10);
    center.clock.pass(DAY);
    let done = run(&center, &store, Work::Both, Urgency::Due).expect("a run");
    assert_eq!(done.steps.len(), 3);
    assert_eq!(center.lake.status()[0].waiting, 0);
    check_rows(&center, 50, "put together");
}

#[test]
fn a_crash_at_any_operation_of_maintenance_loses_and_doubles_nothing() {
    let filled = || -> Arc<dyn ObjectStore> {
        let disk: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        fill(&mut Center::open(disk.clone()).expect("a lake"), 0..4, 6);
        disk
    };
    let work = |store: &Arc<dyn ObjectStore>, later: i64| -> Result<(), Error> {
        let center = Center::open(store.clone())?;
        for time in [later, 2 * UtcMicros::PER_HOUR, 15 * DAY, 2 * UtcMicros::PER_HOUR] {
            center.clock.pass(time);
            run(&center, store, Work::Both, Urgency::Now)?;
        }
        Ok(())
    };
    // To a clock that was put back every row shows that lies in a file.
    let rows = |store: &Arc<dyn ObjectStore>| {
        Center::open(store.clone()).expect("a lake").numbers("select count(*) from signals")[0]
    };
    let disk = filled();
    let probe = Arc::new(FaultyStore::new(disk.clone(), u64::MAX, Fault::Before, false));
    let faultless: Arc<dyn ObjectStore> = probe.clone();
    work(&faultless, 0).expect("no fault");
    assert_eq!(rows(&disk), 24 * 3);
    let count = probe.count();
    for at in 1..=count {
        for fault in [Fault::Before, Fault::After] {
            let context = format!("crash at operation {at} of {count}, {fault:?}");
            let disk = filled();
            let dying: Arc<dyn ObjectStore> = Arc::new(FaultyStore::new(disk.clone(), at, fault, true));
            // A checkpoint that fails is made good by a later one, so that not each fault is an error.
            let _crashed = work(&dying, 0);
            let mut center = Center::open(disk.clone()).expect("the store is well again");
            let found = center.numbers("select count(*) from signals")[0];
            assert!(found == 24 * 4 || found == 24 * 3, "{context}: {found}");
            fill(&mut center, 4..5, 6);
            drop(center);
            work(&disk, 20 * DAY).expect(&context);
            assert_eq!(rows(&disk), 30 * 3, "{context}");
            assert_eq!(data_files(disk.as_ref(), "positions"), 0, "{context}");
            assert_eq!(data_files(disk.as_ref(), "signals"), 1, "{context}");
        }
    }
    println!("crashed at each of {count} operations, before and after it took effect");
}

/// A lake of 16 batches with three vehicles, whose files are to have few rows.
fn with_small_files(store: &Arc<dyn ObjectStore>) -> Center {
    let mut center = Center::open(store.clone()).expect("a lake");
    fill(&mut center, 0..16, 6);
    center.maintenance.lock().set_rows_max(200);
    center
}

/// Files of `signals` that were cut by vehicle.
fn slices(store: &dyn ObjectStore) -> usize {
    let is_slice = |name: &&String| {
        name.strip_prefix("shanghai-1/lake/signals/sorted.").is_some_and(|rest| rest.contains('-'))
    };
    listed(store).iter().filter(is_slice).count()
}

#[test]
fn files_of_a_day_are_cut_by_vehicle_so_that_an_erasure_rewrites_few() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let center = with_small_files(&store);
    let before = dump(&center);
    let done = run(&center, &store, Work::Compact, Urgency::Now).expect("a run");
    println!("{:?}", done.steps);
    assert_eq!(dump(&center), before);
    assert_eq!(slices(store.as_ref()), 3, "the files of signals were cut");
    let signals = &center.lake.status()[0];
    assert_eq!(signals.files, 3, "{signals:?}");
    let again = run(&center, &store, Work::Compact, Urgency::Now).expect("a run");
    assert!(again.steps.is_empty(), "it comes to an end: {again:?}");
    for number in 0..3 {
        let span = lake::ErasedRows {
            vehicle: vehicle(number),
            from: UtcMicros(i64::MIN),
            to: UtcMicros(i64::MAX),
            is_open: true,
        };
        center.erasures.set(&[span]);
        let done = run(&center, &store, Work::Erase, Urgency::Now).expect("a run");
        let of_signals = done.steps.iter().filter(|step| step.table == "signals");
        let (files, rows) =
            of_signals.fold((0, 0), |sum, step| (sum.0 + step.files_removed, sum.1 + step.erased));
        assert_eq!(rows, 32 * 4, "all rows of the vehicle");
        assert_eq!(files, 1, "{files} files were rewritten for one of three vehicles: {done:?}");
    }
    assert_eq!(center.numbers("select count(*) from signals"), [0]);
}

/// Random numbers that are the same each time (SplitMix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// Takes batches of chance size and vehicles, of which the first says half of all; gives how many rows each vehicle has.
fn fill_by_chance(center: &mut Center, chance: &mut Chance, vehicles: u64) -> Vec<u64> {
    let (mut sequence, mut rows) = (1, vec![0; vehicles as usize]);
    for batch in 0..30 + chance.below(60) {
        let first = sequence;
        for _ in 0..1 + chance.below(8) {
            let number = if chance.below(2) == 0 { 0 } else { chance.below(vehicles) };
            let at = START.plus_micros(sequence as i64 * 1_000);
            let (id, count) = (vehicle(number), 1 + chance.below(5));
            let mut sink = center.writer.begin_frame(batch, Sequence(sequence), id, Protocol::Tesla, at);
            for step in 0..count {
                let (time, value) = (at.plus_micros(step as i64), Some((sequence * 10 + step) as f64));
                let signal = SignalId(INPUTS_FROM + chance.below(3) as u16);
                sink.reading(Reading { time, signal, value, text: None, quality: Quality::Valid });
            }
            drop(sink);
            rows[number as usize] += count;
            sequence += 1;
        }
        center.writer.commit(range(first, sequence - 1)).expect("a commit");
    }
    rows
}

#[test]
fn whatever_is_cut_by_vehicle_stays_the_same_rows_in_few_files() {
    for seed in 0..24 {
        let mut chance = Chance(seed);
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let mut center = Center::open(store.clone()).expect("a lake");
        let vehicles = 2 + chance.below(6);
        let rows = fill_by_chance(&mut center, &mut chance, vehicles);
        // A batch is a small file: half of it has more rows.
        let rows_max = 90 + chance.below(150);
        center.maintenance.lock().set_rows_max(rows_max);
        let before = dump(&center);
        let context = format!("seed {seed}: {rows:?}, {rows_max} at a time");
        run(&center, &store, Work::Compact, Urgency::Now).expect(&context);
        assert!(dump(&center) == before, "{context}");
        let again = run(&center, &store, Work::Compact, Urgency::Now).expect(&context);
        assert!(again.steps.is_empty(), "it comes to an end; {context}: {again:?}");
        assert!(slices(store.as_ref()) > 0 || rows.iter().sum::<u64>() < 2 * rows_max, "{context}");
        for (number, rows) in (0..).zip(rows) {
            let vehicle = vehicle(number);
            let (from, to) = (UtcMicros(i64::MIN), UtcMicros(i64::MAX));
            center.erasures.set(&[lake::ErasedRows { vehicle, from, to, is_open: true }]);
            let done = run(&center, &store, Work::Erase, Urgency::Now).expect(&context);
            let erased: u64 = done.steps.iter().map(|step| step.erased).sum();
            assert_eq!(erased, rows, "{context}");
            let files: u64 = done.steps.iter().map(|step| step.files_removed).sum();
            let few = 3 + 2 * rows.div_ceil(rows_max);
            assert!(files <= few, "{files} files, {few} expected, of vehicle {number}; {context}");
        }
    }
}

#[test]
fn a_crash_while_files_are_cut_by_vehicle_loses_and_doubles_nothing() {
    let work = |store: &Arc<dyn ObjectStore>| -> Result<(), Error> {
        let center = Center::open(store.clone())?;
        center.maintenance.lock().set_rows_max(200);
        run(&center, store, Work::Compact, Urgency::Now).map(drop)
    };
    let filled = || -> Arc<dyn ObjectStore> {
        let disk: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        drop(with_small_files(&disk));
        disk
    };
    let probe = Arc::new(FaultyStore::new(filled(), u64::MAX, Fault::Before, false));
    let faultless: Arc<dyn ObjectStore> = probe.clone();
    work(&faultless).expect("no fault");
    let count = probe.count();
    // Each third operation, so that the walk takes seconds.
    for at in (1..=count).step_by(3) {
        let context = format!("crash at operation {at} of {count}");
        let disk = filled();
        let fault = if at % 2 == 0 { Fault::Before } else { Fault::After };
        let dying: Arc<dyn ObjectStore> = Arc::new(FaultyStore::new(disk.clone(), at, fault, true));
        let _crashed = work(&dying);
        work(&disk).expect(&context);
        assert_eq!(slices(disk.as_ref()), 3, "{context}");
        check_rows(&Center::open(disk).expect("a lake"), 96, &context);
    }
}

#[test]
fn new_rows_come_while_two_put_files_together() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut center = Center::open(store.clone()).expect("a lake");
    fill(&mut center, 0..30, 4);
    let threads: Vec<_> = (0..2)
        .map(|number| {
            let (maintenance, books) = (center.maintenance.clone(), Plain(store.clone()));
            let work = move || -> Result<Vec<Step>, Error> {
                let mut steps = Vec::new();
                for _ in 0..20 {
                    let done = maintenance.lock().run(Work::Both, Urgency::Now, &books, &mut |_| true)?;
                    steps.extend(done.steps);
                }
                Ok(steps)
            };
            std::thread::Builder::new().name(format!("maintenance-{number}")).spawn(work).expect("a thread")
        })
        .collect();
    for batch in 30..90 {
        // Each fourth frame says again what an earlier one said.
        fill(&mut center, batch..batch + 1, 4);
        let rows = center.numbers("select count(*) from signals")[0];
        assert_eq!(rows, (batch as i64 + 1) * 16, "no row is missing or doubled at any time");
    }
    let mut steps = Vec::new();
    for thread in threads {
        steps.extend(thread.join().expect("a thread").expect("runs"));
    }
    assert!(steps.iter().all(|step| step.doubled == 0 && step.expired == 0));
    check_rows(&center, 360, "with what came meanwhile");
    run(&center, &store, Work::Compact, Urgency::Now).expect("a run");
    check_rows(&center, 360, "put together at the end");
    println!("{} steps beside 60 commits", steps.len());
}

#[test]
fn rows_are_gone_from_answers_when_their_term_is_over() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut center = Center::open(store.clone()).expect("a lake");
    fill(&mut center, 0..10, 4);
    // Not yet in a file.
    center.take(99, 41..=50);
    let count = |center: &Center| {
        center.numbers(
            "select (select count(*) from signals) a, (select count(*) from positions) b, (select count(*) from events) c,
                    (select count(*) from signals where signal like '%Part02') d, (select count(text) from signals) e",
        )
    };
    assert_eq!(count(&center), [200, 50, 25, 50, 50]);
    center.clock.pass(13 * DAY);
    assert_eq!(count(&center), [200, 50, 25, 50, 50]);
    center.clock.pass(DAY + 60 * UtcMicros::PER_SECOND);
    assert_eq!(count(&center), [150, 0, 25, 0, 50]);
    let narrow = center.numbers("select cast(sum(value) as bigint) from signals where value > 40");
    assert_eq!(narrow, [(41..=50).sum::<i64>()], "without the columns that decide");
    center.clock.pass(352 * DAY);
    assert_eq!(count(&center), [100, 0, 0, 0, 50]);
    let limited = center.query("select time from signals limit 70").expect("an answer");
    assert_eq!(limited.iter().map(|batch| batch.num_rows()).sum::<usize>(), 70);
    center.clock.pass(5_200 * DAY);
    assert_eq!(count(&center), [0, 0, 0, 0, 0]);
}

#[test]
fn expired_rows_are_gone_from_files_and_from_the_log() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut center = Center::open(store.clone()).expect("a lake");
    fill(&mut center, 0..10, 4);
    let old = dump(&center);
    center.clock.pass(14 * DAY + UtcMicros::PER_HOUR);
    let done = run(&center, &store, Work::Expire, Urgency::Due).expect("a run");
    assert_eq!(done.destroyed, 10, "files of positions go at once; signals wait for some hours: {done:?}");
    assert_eq!(data_files(store.as_ref(), "positions"), 0);
    center.clock.pass(DAY);
    let done = run(&center, &store, Work::Expire, Urgency::Due).expect("a run");
    assert_eq!(done.steps.iter().map(|step| step.expired).sum::<u64>(), 40, "{done:?}");
    let again = run(&center, &store, Work::Expire, Urgency::Now).expect("a run");
    assert!(again.steps.is_empty(), "{again:?}");
    assert_eq!(data_files(store.as_ref(), "signals"), 1);
    // No file and no line of the log says anything of the expired rows: neither their places nor which vehicles there were.
    for name in listed(store.as_ref()).iter().filter(|name| name.contains("positions")) {
        let bytes = futures::executor::block_on(async {
            store.get(&Path::from(name.as_str())).await.expect("there").bytes().await.expect("bytes")
        });
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("v000000000000000"), "{name} names a vehicle");
    }
    for table in ["signals", "positions"] {
        let log = format!("shanghai-1/lake/{table}/_delta_log/");
        let commits = listed(store.as_ref())
            .iter()
            .filter(|name| name.starts_with(&log) && name.ends_with(".json"))
            .count();
        assert_eq!(commits, 1, "{table}: older commits are gone");
    }
    assert_ne!(dump(&center), old);
    let now = dump(&center);
    drop(center);
    let center = Center::open(store.clone()).expect("a lake");
    // To a clock that was put back the rows are gone too.
    assert_eq!(dump(&center), now);
    assert_eq!(center.numbers("select count(*) from signals"), [120]);
}
