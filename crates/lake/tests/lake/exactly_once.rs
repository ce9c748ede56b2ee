//! Every row once, whatever fails when.

use std::sync::Arc;

use lake::{Commit, Error};
use model::Sequence;
use object_store::memory::InMemory;

use crate::world::{Center, Fault, FaultyStore, check_rows, range};

const FRAMES: u64 = 30;
const BATCH: u64 = 10;

/// What the pipeline does: frames to the tail, sealed batches to the tables. Every second batch is decoded
/// again (its segment begins in the middle, as after a crash).
fn run(center: &mut Center, retries: u32) -> Result<(), Error> {
    let from = center.writer.covered().map_or(1, |covered| covered.0 + 1);
    for first in (1..=FRAMES).step_by(BATCH as usize) {
        let last = first + BATCH - 1;
        let missing = if first % (2 * BATCH) == 1 { 0 } else { 4 };
        center.take(first, (first + missing).max(from)..=last);
        let mut tries = 0;
        while let Err(error) = center.commit(first, last) {
            tries += 1;
            if tries > retries {
                return Err(error);
            }
        }
    }
    Ok(())
}

/// Operations of a run without faults.
fn operations() -> u64 {
    let store = Arc::new(FaultyStore::new(Arc::new(InMemory::new()), u64::MAX, Fault::Before, false));
    run(&mut Center::open(store.clone()).expect("a lake"), 0).expect("no fault");
    store.count()
}

#[test]
fn a_crash_at_any_operation_of_the_store_loses_and_doubles_nothing() {
    let count = operations();
    assert!(count > 3 * 3 * 2, "{count}");
    for at in 1..=count {
        for fault in [Fault::Before, Fault::After] {
            let context = format!("crash at operation {at}, {fault:?}");
            let disk: Arc<InMemory> = Arc::new(InMemory::new());
            let dying = Arc::new(FaultyStore::new(disk.clone(), at, fault, true));
            let crashed = Center::open(dying).and_then(|mut center| run(&mut center, 0));
            assert!(crashed.is_err(), "{context}");
            let mut center = Center::open(disk.clone()).expect("the store is well again");
            run(&mut center, 0).expect(&context);
            check_rows(&center, FRAMES, &context);
            assert_eq!(center.writer.covered(), Some(Sequence(FRAMES)));
        }
    }
    println!("crashed at each of {count} operations, before and after it took effect");
}

#[test]
fn an_error_of_the_store_is_made_good_by_repeating_the_step() {
    for at in 4..=operations() {
        for fault in [Fault::Before, Fault::After] {
            let context = format!("error at operation {at}, {fault:?}");
            let store = Arc::new(FaultyStore::new(Arc::new(InMemory::new()), at, fault, false));
            let Ok(mut center) = Center::open(store) else { continue };
            run(&mut center, 3).expect(&context);
            check_rows(&center, FRAMES, &context);
        }
    }
}

#[test]
fn rows_between_tables_of_one_batch_survive_while_the_store_is_down() {
    let disk = Arc::new(InMemory::new());
    for at in 1..=6 {
        // Opening takes some operations: count them first, then fail one of the commit's.
        let probe = Arc::new(FaultyStore::new(disk.clone(), u64::MAX, Fault::Before, false));
        drop(Center::open(probe.clone()).expect("a lake"));
        let first = 1 + (at - 1) * BATCH;
        let failing = Arc::new(FaultyStore::new(disk.clone(), probe.count() + at, Fault::Before, false));
        let mut center = Center::open(failing).expect("a lake");
        center.take(at, first..=first + BATCH - 1);
        assert!(center.writer.commit(range(first, first + BATCH - 1)).is_err());
        check_rows(&center, first + BATCH - 1, "some tables committed, the rest in the tail");
        center.writer.commit(range(first, first + BATCH - 1)).expect("the store is well again");
        check_rows(&center, first + BATCH - 1, "all committed");
    }
}

#[test]
fn a_replay_changes_nothing() {
    let disk = Arc::new(InMemory::new());
    let mut center = Center::open(disk.clone()).expect("a lake");
    center.take(1, 1..=10);
    assert!(matches!(center.commit(1, 10), Ok(Commit::Done { rows: 55, .. })));
    let before = center.lake.status();
    assert!(matches!(center.commit(1, 10), Ok(Commit::AlreadyDone)));
    center.take(1, 1..=10);
    assert!(matches!(center.commit(1, 10), Ok(Commit::AlreadyDone)));
    assert_eq!(center.lake.status(), before);
    drop(center);
    let mut center = Center::open(disk).expect("a lake");
    assert_eq!(center.writer.covered(), Some(Sequence(10)));
    center.take(1, 1..=10);
    check_rows(&center, 10, "replayed into the tail");
    assert!(matches!(center.commit(1, 10), Ok(Commit::AlreadyDone)));
    check_rows(&center, 10, "committed again");
}

#[test]
fn a_batch_that_comes_before_an_older_one_is_refused() {
    let mut center = Center::new();
    center.take(1, 1..=10);
    center.take(2, 11..=20);
    assert!(matches!(center.commit(11, 20), Err(Error::OutOfOrder { last: 20, earlier: 1 })));
    center.commit(1, 10).expect("in order");
    center.commit(11, 20).expect("in order");
    check_rows(&center, 20, "both");
}

#[test]
fn a_batch_decoded_in_part_is_refused() {
    let mut center = Center::new();
    let mut sink = center.writer.decode_batch(range(1, 10));
    let vehicle = crate::world::vehicle(1);
    sink.begin_frame(Sequence(1), vehicle, model::Protocol::Tesla, crate::world::received_at(1));
    assert!(matches!(sink.finish(), Err(Error::Incomplete { frames: 1, expected: 10 })));
    drop(sink);
    center.commit(1, 10).expect("decoded whole");
    check_rows(&center, 10, "decoded whole");
}

#[test]
fn a_checkpoint_says_what_the_log_says() {
    let disk = Arc::new(InMemory::new());
    let mut center = Center::open(disk.clone()).expect("a lake");
    for batch in 0..105 {
        center.take(batch, batch * 2 + 1..=batch * 2 + 2);
        center.commit(batch * 2 + 1, batch * 2 + 2).expect("a commit");
    }
    let before = center.lake.status();
    check_rows(&center, 210, "with the log in memory");
    drop(center);
    // Commits that the checkpoint covers are not needed any more.
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    for table in ["signals", "positions", "events"] {
        for version in 0..100 {
            let path = format!("shanghai-1/lake/{table}/_delta_log/{version:020}.json");
            use object_store::ObjectStoreExt;
            runtime.block_on(disk.delete(&path.into())).expect("a commit");
        }
    }
    let mut center = Center::open(disk).expect("a lake");
    check_rows(&center, 210, "from checkpoint and log");
    let after = center.lake.status();
    let stands = |all: &[lake::TableStatus]| -> Vec<_> {
        all.iter().map(|one| (one.version, one.files, one.rows, one.bytes)).collect()
    };
    assert_eq!(stands(&after), stands(&before));
    assert_eq!(center.writer.covered(), Some(Sequence(210)));
    assert!(matches!(center.commit(1, 2), Ok(Commit::AlreadyDone)));
}
