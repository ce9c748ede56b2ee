//! Tables of other centers beside the own ones: of one that was lost, by the center that takes over its frames, and of one that a
//! vehicle left with frames in flight.

use std::sync::Arc;

use lake::{Error, Urgency, Work};
use model::{CenterName, Protocol, Sequence, UtcMicros};
use object_store::ObjectStore;
use object_store::memory::InMemory;

use crate::maintenance;
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

const A: &str = "shanghai-1";
const B: &str = "beijing-1";

/// Frames of a batch, few: so many batches come that they are compacted.
const FRAMES_A_BATCH: u64 = 2;

/// Commits whole batches.
fn commit_all(center: &mut Center, sequences: std::ops::RangeInclusive<u64>) {
    for first in sequences.step_by(FRAMES_A_BATCH as usize) {
        center.commit(first, first + FRAMES_A_BATCH - 1).expect("a commit");
    }
}

/// Frames that a center takes, each so much later than the vehicle sent it first.
fn take_later(center: &mut Center, sequences: std::ops::RangeInclusive<u64>, later: i64) {
    for sequence in sequences {
        let at = received_at(sequence).plus_micros(later);
        let segment = sequence.div_ceil(FRAMES_A_BATCH);
        let mut sink = center.writer.begin_frame(
            segment,
            Sequence(sequence),
            vehicle(sequence % 3),
            Protocol::Tesla,
            at,
        );
        write_frame(&mut sink, sequence);
    }
}

fn show(center: &Center, other: &str) {
    let name: CenterName = other.parse().expect("a name");
    center.block_on(async |lake| lake.show_copy(&name).await).expect("the copy is read");
}

/// Vehicles that send to A until frame 20, of which it acknowledges the last six too late: they come to B again, which has all after them.
struct Moved {
    store: Arc<dyn ObjectStore>,
    derived: Arc<InMemory>,
    a: Center,
    b: Center,
}

const FIRST_AGAIN: u64 = 15; // the first of a batch
const LAST_OF_A: u64 = 20;
const LATER: i64 = 5 * UtcMicros::PER_SECOND;

impl Moved {
    fn new() -> Self {
        let (store, derived) = (Arc::new(InMemory::new()), Arc::new(InMemory::new()));
        let mut a = Center::open_named(store.clone(), A).expect("a lake");
        take_later(&mut a, 1..=LAST_OF_A, 0);
        let b = Center::open_again(store.clone(), B, derived.clone()).expect("a lake");
        Self { store, derived, a, b }
    }

    fn check_all(&self, context: &str) {
        check_rows(&self.a, FRAMES, &format!("{context}, at A"));
        check_rows(&self.b, FRAMES, &format!("{context}, at B"));
        let third = Center::open_named(self.store.clone(), "chengdu-1").expect("a lake");
        show(&third, A);
        show(&third, B);
        check_rows(&third, FRAMES, &format!("{context}, at C"));
    }
}

#[test]
fn frames_that_came_to_two_centers_show_once_at_each() {
    let Moved { mut a, mut b, store, derived } = Moved::new();
    commit_all(&mut a, 1..=LAST_OF_A);
    show(&b, A);
    take_later(&mut b, FIRST_AGAIN..=FRAMES, LATER);
    // In the tail of B, and in A's file.
    b.writer.examine();
    check_rows(&b, FRAMES, "in the tail");
    commit_all(&mut b, FIRST_AGAIN..=FRAMES);
    check_rows(&b, FRAMES, "in files");
    show(&a, B);
    let mut moved = Moved { store, derived, a, b };
    moved.check_all("both in files");
    // Rows of A alone are hidden from nobody who sees A alone.
    let own = moved
        .b
        .numbers("select count(*) from signals where received_at < timestamp '2026-11-23T10:00:02.05Z'");
    assert_eq!(own, [20 * 4], "the rows received first show");

    for center in [&moved.a, &moved.b] {
        let done = maintenance::run(center, &moved.store, Work::Compact, Urgency::Now).expect("compacted");
        assert!(!done.steps.is_empty(), "files were put together");
    }
    show(&moved.a, B);
    show(&moved.b, A);
    moved.check_all("both in other files");

    // From what was kept, and from nothing.
    for derived in [moved.derived.clone(), Arc::new(InMemory::new())] {
        moved.b = Center::open_again(moved.store.clone(), B, derived).expect("a lake");
        let own = moved.b.numbers("select count(*) from signals");
        // Frame 13, said again by frame 16, and 15 to 30.
        assert_eq!(own, [17 * 4], "nothing is hidden while the other center's tables are not here");
        show(&moved.b, A);
        check_rows(&moved.b, FRAMES, "after a start");
    }
}

/// The limit, as it is documented.
#[test]
fn what_comes_to_the_second_center_hours_later_shows_twice() {
    let Moved { mut a, mut b, .. } = Moved::new();
    commit_all(&mut a, 1..=LAST_OF_A);
    take_later(&mut b, FIRST_AGAIN..=FRAMES, 2 * UtcMicros::PER_HOUR);
    commit_all(&mut b, FIRST_AGAIN..=FRAMES);
    show(&b, A);
    let shown = b.numbers("select count(*), count(distinct (vehicle, time, signal)) from signals");
    assert_eq!(shown, [(20 + 17) * 4, 30 * 4]);
}

#[test]
fn what_a_center_took_during_a_cut_shows_once_when_it_is_over() {
    let Moved { mut a, mut b, store, derived } = Moved::new();
    take_later(&mut b, FIRST_AGAIN..=FRAMES, LATER);
    commit_all(&mut b, FIRST_AGAIN..=24);
    commit_all(&mut a, 1..=LAST_OF_A);
    show(&b, A);
    show(&a, B);
    check_rows(&b, FRAMES, "B's rows in files and in the tail, A's in files");
    commit_all(&mut b, 25..=FRAMES);
    show(&a, B);
    Moved { store, derived, a, b }.check_all("all in files");
}
