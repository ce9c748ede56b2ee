//! Tables of a center that was lost, beside those of the center that holds its copy and takes over its frames.

use std::sync::Arc;

use lake::Error;
use model::{CenterName, Protocol, Sequence};
use object_store::ObjectStore;
use object_store::memory::InMemory;

use crate::world::{Center, Fault, FaultyStore, check_rows, received_at, vehicle, write_frame};

const FRAMES: u64 = 30;
const BATCH: u64 = 10;

fn run(center: &mut Center) -> Result<(), Error> {
    for first in (1..=FRAMES).step_by(BATCH as usize) {
        center.take(first, first..first + BATCH);
        center.commit(first, first + BATCH - 1)?;
    }
    Ok(())
}

/// What the other center does: it takes the frames that one of the tables lacks, and some before them that the lost center would have
/// known as duplicates.
fn take_over(store: Arc<dyn ObjectStore>, again: u64) -> Center {
    let mut heir = Center::open_named(store, "beijing-1").expect("a lake");
    let lost: CenterName = "shanghai-1".parse().expect("a name");
    let gateway = "gw".parse().expect("a name");
    let through = heir.block_on(async |lake| lake.copy_progress(&lost, &gateway).await);
    let Sequence(through) = through.expect("the copy is read");
    let lake = heir.lake.clone();
    std::thread::scope(|scope| {
        let learned = scope.spawn(|| lake.learn_copy(&lost));
        while !learned.is_finished() {
            heir.writer.learn();
        }
        learned.join().expect("no panic").expect("learned");
    });
    for (own, sequence) in (1..).zip(through.saturating_sub(again) + 1..=FRAMES) {
        let (whose, at) = (vehicle(sequence % 3), received_at(sequence));
        let mut sink = heir.writer.begin_frame(1, Sequence(own), whose, Protocol::Tesla, at);
        write_frame(&mut sink, sequence);
    }
    heir
}

#[test]
fn a_center_lost_at_any_operation_of_its_store_leaves_every_row_once() {
    let counting = Arc::new(FaultyStore::new(Arc::new(InMemory::new()), u64::MAX, Fault::Before, false));
    run(&mut Center::open(counting.clone()).expect("a lake")).expect("no fault");
    for at in 1..=counting.count() {
        for fault in [Fault::Before, Fault::After] {
            let disk: Arc<InMemory> = Arc::new(InMemory::new());
            let dying = Arc::new(FaultyStore::new(disk.clone(), at, fault, true));
            let _lost = Center::open(dying).and_then(|mut center| run(&mut center));
            let heir = take_over(disk, 7);
            check_rows(&heir, FRAMES, &format!("lost at operation {at}, {fault:?}"));
        }
    }
}

#[test]
fn a_writer_that_has_ended_keeps_nobody_waiting() {
    let Center { lake, writer, .. } = Center::new();
    drop(writer);
    assert!(lake.learn_copy(&"beijing-1".parse().expect("a name")).is_err());
}
