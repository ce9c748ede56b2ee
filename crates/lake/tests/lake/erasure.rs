//! Erased rows are seen by nobody from then on, are gone from files and log, and don't come back.

use std::sync::Arc;

use lake::{ErasedRows, Error, Urgency, Work};
use model::{Event, Protocol, ReadingSink, Sequence, UtcMicros};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::maintenance::{data_files, fill, listed, run};
use crate::world::{Center, Fault, FaultyStore, received_at, vehicle};

const ALL: (UtcMicros, UtcMicros) = (UtcMicros(i64::MIN), UtcMicros(i64::MAX));

fn erased(number: u64, (from, to): (UtcMicros, UtcMicros), is_open: bool) -> ErasedRows {
    ErasedRows { vehicle: vehicle(number), from, to, is_open }
}

/// Rows of each vehicle in the three tables.
fn counts(center: &Center) -> Vec<[i64; 3]> {
    let of = |number| {
        let name = vehicle(number);
        let count = |table| format!("(select count(*) from {table} where vehicle = '{name}')");
        let sql = format!("select {} a, {} b, {} c", count("signals"), count("positions"), count("events"));
        let counts = center.numbers(&sql);
        [counts[0], counts[1], counts[2]]
    };
    (0..3).map(of).collect()
}

/// Objects below the tables' folders in which a vehicle's name stands as plain bytes: the log and the files' footers have it.
fn naming(store: &dyn ObjectStore, number: u64) -> Vec<String> {
    let holds = |name: &String| {
        let bytes = futures::executor::block_on(async {
            store.get(&Path::from(name.as_str())).await.expect("there").bytes().await.expect("bytes")
        });
        String::from_utf8_lossy(&bytes).contains(vehicle(number).as_str())
    };
    listed(store).into_iter().filter(holds).collect()
}

#[test]
fn an_erased_vehicle_is_seen_by_nobody_at_once_and_then_gone() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut center = Center::open(store.clone()).expect("a lake");
    // Some files were put together, some not, and some rows are in no file yet.
    fill(&mut center, 0..4, 6);
    run(&center, &store, Work::Compact, Urgency::Now).expect("a run");
    fill(&mut center, 4..6, 6);
    center.take(99, 37..=42);
    let before = counts(&center);
    assert_eq!(before, [[56, 14, 7], [56, 14, 7], [56, 14, 7]]);
    assert!(!naming(store.as_ref(), 0).is_empty());

    center.erasures.set(&[erased(0, ALL, true)]);
    assert_eq!(counts(&center), [[0, 0, 0], before[1], before[2]]);
    let narrow = center.numbers("select count(*), count(value) from signals where value >= 0");
    assert_eq!(narrow, [28 * 3, 28 * 3], "without the columns that decide");
    let frames = center.numbers("select count(*) from frames");
    assert_eq!(frames, [8], "of the twelve raw frames four are of the vehicle");

    center.commit(37, 42).expect("a commit");
    let done = run(&center, &store, Work::Erase, Urgency::Now).expect("a run");
    assert!(done.is_clean);
    assert_eq!(done.steps.iter().map(|step| step.erased).sum::<u64>(), 56 + 14 + 7, "{done:?}");
    assert_eq!(naming(store.as_ref(), 0), [""; 0], "neither files that others stand for nor the log name it");
    center.erasures.set(&[erased(0, ALL, false)]);
    assert_eq!(counts(&center), [[0, 0, 0], before[1], before[2]], "nothing is left to be hidden");
    let again = run(&center, &store, Work::Erase, Urgency::Now).expect("a run");
    assert!(again.steps.is_empty() && again.is_clean, "{again:?}");
    drop(center);
    let center = Center::open(store).expect("a lake");
    assert_eq!(counts(&center), [[0, 0, 0], before[1], before[2]]);
}

#[test]
fn a_vehicle_is_erased_from_a_table_whose_files_are_named_as_others_without_it() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut center = Center::open(store.clone()).expect("a lake");
    // In this batch the vehicle has an event alone, and its name lies between those of the others.
    center.take(0, 1..=2);
    let mut sink = center.writer.begin_frame(0, Sequence(3), vehicle(1), Protocol::Gbt32960, received_at(3));
    sink.event(Event {
        time: received_at(3),
        kind: "login",
        code: "1",
        level: None,
        ended_at: None,
        detail: None,
    });
    drop(sink);
    center.take(0, 4..=6);
    center.commit(1, 6).expect("a commit");
    let of = |center: &Center| center.numbers("select count(*) from events where code = '1'")[0];
    assert_eq!(of(&center), 1);
    let span = (received_at(3), received_at(4));
    center.erasures.set(&[erased(1, span, true)]);
    let done = run(&center, &store, Work::Erase, Urgency::Now).expect("a run");
    center.erasures.set(&[erased(1, span, false)]);
    assert_eq!(of(&center), 0, "{done:?}");
}

#[test]
fn an_owners_period_is_erased_and_the_others_stay() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut center = Center::open(store.clone()).expect("a lake");
    fill(&mut center, 0..5, 6);
    let period = (received_at(10), received_at(20));
    center.erasures.set(&[erased(2, period, true)]);
    let sql = format!(
        "select count(*), cast(sum(value) as bigint) from signals where signal like '%Part01' and vehicle = '{}'",
        vehicle(2)
    );
    // Of the frames 2, 5, …, 29 those from 11 to 17 are gone: 20 is outside.
    let left = [7, 2 + 5 + 8 + 20 + 23 + 26 + 29];
    assert_eq!(center.numbers(&sql), left);
    let done = run(&center, &store, Work::Erase, Urgency::Now).expect("a run");
    assert_eq!(done.steps.iter().map(|step| step.erased).sum::<u64>(), 3 * 4 + 3 + 1, "{done:?}");
    center.erasures.set(&[erased(2, period, false)]);
    assert_eq!(center.numbers(&sql), left);
}

#[test]
fn a_batch_that_is_decoded_again_brings_nothing_back() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut center = Center::open(store).expect("a lake");
    center.erasures.set(&[erased(0, ALL, false)]);
    // The tail does not have the batch, so it is decoded.
    center.commit(1, 12).expect("a commit");
    assert_eq!(counts(&center), [[0, 0, 0], [16, 4, 2], [16, 4, 2]]);
}

#[test]
fn compaction_meanwhile_leaves_erased_rows_out() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut center = Center::open(store.clone()).expect("a lake");
    fill(&mut center, 0..6, 6);
    center.erasures.set(&[erased(1, ALL, true)]);
    let done = run(&center, &store, Work::Compact, Urgency::Now).expect("a run");
    assert_eq!(done.steps.iter().map(|step| (step.erased, step.doubled)).max(), Some((48, 0)), "{done:?}");
    let done = run(&center, &store, Work::Erase, Urgency::Now).expect("a run");
    assert!(done.steps.is_empty() && done.is_clean, "{done:?}");
    assert_eq!(naming(store.as_ref(), 1), [""; 0]);
}

#[test]
fn a_crash_at_any_operation_of_an_erasure_is_made_good() {
    let filled = || -> Arc<dyn ObjectStore> {
        let disk: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        fill(&mut Center::open(disk.clone()).expect("a lake"), 0..4, 6);
        disk
    };
    let work = |store: &Arc<dyn ObjectStore>| -> Result<(), Error> {
        let center = Center::open(store.clone())?;
        center.erasures.set(&[erased(1, ALL, true)]);
        run(&center, store, Work::Erase, Urgency::Now).map(drop)
    };
    let probe = Arc::new(FaultyStore::new(filled(), u64::MAX, Fault::Before, false));
    let faultless: Arc<dyn ObjectStore> = probe.clone();
    work(&faultless).expect("no fault");
    let count = probe.count();
    for at in 1..=count {
        for fault in [Fault::Before, Fault::After] {
            let context = format!("crash at operation {at} of {count}, {fault:?}");
            let disk = filled();
            let dying: Arc<dyn ObjectStore> = Arc::new(FaultyStore::new(disk.clone(), at, fault, true));
            let _crashed = work(&dying);
            work(&disk).expect(&context);
            assert_eq!(naming(disk.as_ref(), 1), [""; 0], "{context}");
            assert_eq!(data_files(disk.as_ref(), "signals"), 1, "{context}");
            let center = Center::open(disk).expect("a lake");
            assert_eq!(counts(&center), [[32, 8, 4], [0, 0, 0], [32, 8, 4]], "{context}");
        }
    }
    println!("crashed at each of {count} operations, before and after it took effect");
}
