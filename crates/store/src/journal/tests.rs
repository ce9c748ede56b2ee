use std::sync::Arc;
use std::time::Duration;

use model::{Sequence, UtcMicros};
use policy::RegistryVersion;

use super::recovery::recover;
use super::slots::{FreeSlot, SlotCount, Slots};
use super::{AppendRefused, CommitWaiter, Health, Journal, JournalOptions, TailError};
use crate::faults::{Faults, FaultyDisk, Survivors};
use crate::fixture::{Center, Running, SEALED_MARK, TEN, admission, admitted, eventually, vehicle};
use crate::objects::wait;
use crate::paths::{journal_folder, slot_file};
use crate::{Ack, Disk, Error};

const WAIT: Duration = Duration::from_secs(20);

/// The bytes of frame `number`: of varying length, compressible, and unlike any other frame's.
fn content(number: u64) -> Vec<u8> {
    let length = 20 + (number * 997 % 2_500) as usize;
    (0..length as u64).map(|i| (number.wrapping_mul(31) + i / 7) as u8).chain(number.to_le_bytes()).collect()
}

/// Appends frame `number` as soon as the journal takes it.
fn append(journal: &Journal, number: u64, waiter: &Arc<CommitWaiter>) -> Sequence {
    let bytes = content(number);
    loop {
        match journal.append(admitted(vehicle((number % 10) as u8), TEN, &bytes), waiter) {
            Ok(sequence) => return sequence,
            Err(AppendRefused::Paused) => wait(journal.ready()),
            Err(other) => panic!("refused: {other:?}"),
        }
    }
}

/// Appends and waits until it may be acknowledged.
fn append_durable(journal: &Journal, number: u64, waiter: &Arc<CommitWaiter>) -> Sequence {
    let sequence = append(journal, number, waiter);
    wait(waiter.wait_durable(Sequence(sequence.0 - 1)));
    sequence
}

fn options(center: &Center) -> JournalOptions {
    let gateway = "gw".parse().expect("a gateway");
    JournalOptions {
        folder: journal_folder(center.journal.dir.as_ref(), &gateway),
        center: "shanghai-1".parse().expect("a center"),
        gateway,
        segment_bytes: center.settings.batch_bytes_max,
        segment_age: Duration::from_secs(1),
        bytes_max: center.journal.bytes_max,
        commit_interval: Duration::ZERO,
        ack: Ack::Journal,
    }
}

/// What recovery finds: sequences with their bytes, as the sealer would take them.
fn recovered_frames(center: &Center, disk: &FaultyDisk) -> Result<Vec<(u64, Vec<u8>)>, Error> {
    let recovered = recover(&options(center), disk)?;
    let mut frames = Vec::new();
    for segment in recovered.segments {
        let held = segment.closed().read()?;
        frames.extend(held.frames().map(|(sequence, frame)| (sequence.0, frame.bytes.to_vec())));
    }
    Ok(frames)
}

/// A run of some segments in which a flush and a write fail; frame `n` gets sequence `n`. Returns the number of frames.
fn scripted_run(center: &Center) -> u64 {
    let running = center.start();
    let waiters: Vec<_> = (0..3).map(|_| Arc::new(CommitWaiter::new())).collect();
    let mut number = 0;
    for round in 0..45_u64 {
        match round {
            15 => center.disk.set_faults(Faults { syncs: 1, ..Faults::default() }),
            25 => center.disk.set_faults(Faults { writes: 1, ..Faults::default() }),
            33 => center.disk.set_faults(Faults { syncs: 2, ..Faults::default() }),
            _ => {}
        }
        let mut last = Sequence(0);
        for waiter in waiters.iter().take(1 + (round % 3) as usize) {
            number += 1;
            last = append(&running.journal, number, waiter);
            assert_eq!(last, Sequence(number));
        }
        let waiter = &waiters[(round % 3) as usize];
        let durable = wait(waiter.wait_durable(Sequence(last.0 - 1)));
        center.disk.mark(durable.0);
    }
    running.journal.close(false, WAIT);
    number
}

#[test]
fn after_any_power_cut_acknowledged_frames_are_there_once_and_none_in_part() {
    let center = Center::new();
    let count = scripted_run(&center);
    let steps = center.disk.steps();
    let mut seen_sealed = 0;
    for cut in 0..=steps {
        let marks = center.disk.marks(cut);
        let newest = |is_sealed: bool| {
            let of_kind = marks.iter().filter(|mark| (*mark & SEALED_MARK != 0) == is_sealed);
            of_kind.map(|mark| mark & !SEALED_MARK).max().unwrap_or(0)
        };
        let (acknowledged, sealed) = (newest(false), newest(true));
        seen_sealed = seen_sealed.max(sealed);
        let survivors =
            [Survivors::None, Survivors::All, Survivors::Seed(cut as u64), Survivors::Seed(!(cut as u64))];
        for survivors in survivors {
            let image = center.disk.image(cut, survivors);
            let frames = recovered_frames(&center, &image)
                .unwrap_or_else(|error| panic!("cut after step {cut}, {survivors:?}: {error}"));
            assert!(frames.is_sorted_by(|a, b| a.0 < b.0), "each frame once, in order, after step {cut}");
            for (sequence, bytes) in &frames {
                assert!(*sequence <= count);
                assert!(*bytes == content(*sequence), "frame {sequence} is whole after step {cut}");
            }
            for sequence in sealed + 1..=acknowledged {
                let is_there = frames.binary_search_by_key(&sequence, |frame| frame.0).is_ok();
                assert!(is_there, "acknowledged frame {sequence} is there after step {cut}, {survivors:?}");
            }
        }
    }
    assert!(
        steps > 150 && seen_sealed > 20,
        "the run was long enough to mean something: {steps}, {seen_sealed}"
    );
}

#[test]
fn after_a_power_cut_the_next_start_seals_every_acknowledged_frame_once() {
    let center = Center::new();
    let count = scripted_run(&center);
    let steps = center.disk.steps();
    // The store is as it is at the end of the run, also for earlier cuts: batches of segments that the image still holds are
    // there already, which is what a crash between put and release leaves.
    for cut in [steps, steps - 3, steps * 3 / 4, steps / 2] {
        let mut again = Center { disk: center.disk.image(cut, Survivors::Seed(cut as u64)), ..Center::new() };
        again.identity = center.identity.clone();
        copy_folder(&center.path().join("store"), &again.path().join("store"));
        let acknowledged =
            center.disk.marks(cut).into_iter().filter(|mark| mark & SEALED_MARK == 0).max().unwrap_or(0);
        let running = again.start();
        let waiter = Arc::new(CommitWaiter::new());
        let next = append_durable(&running.journal, count + 500, &waiter);
        assert!(running.journal.close(true, WAIT), "everything is sealed");
        let frames = running.frames_in_batches();
        assert!(frames.is_sorted_by(|a, b| a.0 < b.0), "no frame lies in two batches");
        assert_eq!(frames.last(), Some(&(next.0, content(count + 500))), "sequences go on where they ended");
        let held = frames.iter().take_while(|frame| frame.0 < next.0).count() as u64;
        assert!(held >= acknowledged, "cut {cut}: {held} of {acknowledged} acknowledged frames");
        assert!(frames[..frames.len() - 1].iter().all(|(sequence, bytes)| *bytes == content(*sequence)));
    }
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

#[test]
fn damage_that_no_crash_leaves_is_found_and_named() {
    let center = Center::new();
    // Batches can't be put, so every segment stays in the journal.
    let blocker = block_batches(&center);
    let running = center.start();
    let waiter = Arc::new(CommitWaiter::new());
    for number in 1..=40 {
        append_durable(&running.journal, number, &waiter);
    }
    running.journal.close(false, Duration::ZERO);
    drop(blocker);
    let sound = center.disk.image(center.disk.steps(), Survivors::None);
    assert_eq!(recovered_frames(&center, &sound).expect("it is sound").len(), 40);
    let mut paths = sound.paths();
    paths.sort();
    let refused = |path: &std::path::Path, offset: usize, bytes: &[u8], rule: &str| {
        let image = center.disk.image(center.disk.steps(), Survivors::None);
        image.corrupt(path, offset, bytes);
        match recovered_frames(&center, &image) {
            Err(Error::JournalDamaged { what }) => {
                assert!(what.contains(rule), "`{what}` should say `{rule}`");
            }
            other => panic!("damage was not found: {:?}", other.map(|frames| frames.len())),
        }
    };
    // A group in the middle, the header, the header blanked.
    refused(&paths[0], 4096 + 100, &[0xFF; 4], "does not hold, but a later one at 8192 does");
    refused(&paths[0], 20, &[0xFF; 4], "its header does not hold");
    refused(&paths[0], 0, &[0; 512], "its header is gone");
    // The last group of the first segment: only the next segment knows that it was there.
    let image = center.disk.image(center.disk.steps(), Survivors::None);
    let first = &recover(&options(&center), &image).expect("it is sound").segments[0];
    let last_group = first.groups.last().expect("it has groups").offset as usize;
    refused(
        &paths[first.slot as usize],
        last_group + 90,
        &[0xFF; 4],
        "the end of a segment before it is lost",
    );
}

/// Makes every put of a batch fail until it is dropped: a file stands where the folder should be.
struct BatchBlocker(std::path::PathBuf);

fn block_batches(center: &Center) -> BatchBlocker {
    let path = center.path().join("store/shanghai-1/batch");
    std::fs::create_dir_all(path.parent().expect("it has a parent")).expect("a folder");
    std::fs::write(&path, b"in the way").expect("a file");
    BatchBlocker(path)
}

impl Drop for BatchBlocker {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).expect("it is there");
    }
}

#[test]
fn a_failing_flush_withholds_acknowledgements_until_the_frames_lie_elsewhere() {
    let center = Center::new();
    let running = center.start();
    let waiter = Arc::new(CommitWaiter::new());
    append_durable(&running.journal, 1, &waiter);
    center.disk.set_faults(Faults { syncs: u32::MAX, ..Faults::default() });
    let second = append(&running.journal, 2, &waiter);
    eventually("the failure is seen", || matches!(running.journal.health(), Health::Failing { .. }));
    let bytes = content(3);
    let refused = running.journal.append(admitted(vehicle(3), TEN, &bytes), &waiter);
    assert_eq!(refused, Err(AppendRefused::Paused));
    assert_eq!(waiter.durable(), Sequence(1), "nothing is acknowledged");
    center.disk.set_faults(Faults::default());
    wait(waiter.wait_durable(Sequence(1)));
    wait(running.journal.ready());
    assert_eq!(waiter.durable(), second);
    append_durable(&running.journal, 3, &waiter);
    assert_eq!(running.journal.health(), Health::Healthy);
    assert!(running.journal.stats().abandoned() >= 1 && running.journal.stats().failures() >= 1);
    assert!(running.journal.close(true, WAIT));
    assert_eq!(running.frames_in_batches(), [(1, content(1)), (2, content(2)), (3, content(3))]);
}

#[test]
fn what_comes_back_first_is_void_first_whatever_is_to_be_done_with_it() {
    let center = Center::new();
    let options = options(&center);
    let path = |slot: u32| options.folder.join(slot_file(slot));
    let held = |slot: u32| {
        let file = center.disk.create(&path(slot), options.segment_bytes).expect("a file");
        file.write_at(&[0xAA; 512], 0).and_then(|()| file.sync()).expect("a write");
        file
    };
    let _ = held(0);
    let file = held(1);
    center.disk.sync_folder(&options.folder).expect("a sync");
    let before = center.disk.steps();
    let free = vec![FreeSlot::Suspect { slot: 0 }, FreeSlot::Dirty { slot: 1, file, end: u64::MAX }];
    let slots = Slots::new(&options, &center.world(), free, SlotCount { total: 2, next: 2 }, 3);
    slots.end();
    slots.run();
    for cut in before..=center.disk.steps() {
        let image = center.disk.image(cut, Survivors::None);
        let is_held = |slot: u32| {
            let mut start = [0; 512];
            image.open(&path(slot)).and_then(|file| file.read_at(&mut start, 0)).is_ok()
                && start == [0xAA; 512]
        };
        assert!(is_held(1) || !is_held(0), "after step {cut} a gap is left");
        assert!(cut > before || is_held(0), "both were held at first");
        assert!(cut < center.disk.steps() || !is_held(1), "both are void at the end");
    }
}

#[test]
fn a_sealed_segment_of_another_size_is_made_anew() {
    let mut center = Center::new();
    let running = center.try_start_with(drop).expect("the center starts");
    let waiter = Arc::new(CommitWaiter::new());
    append_durable(&running.journal, 1, &waiter);
    eventually("the batch lies in the store", || !running.sealed.lock().is_empty());
    assert!(!running.journal.close(true, Duration::from_millis(50)), "it was never released");
    drop(running);
    center.settings.batch_bytes_max = 128 << 10;
    assert!(center.start().journal.close(true, WAIT));
    center.settings.batch_bytes_max = 64 << 10;
    let running = center.start();
    assert_eq!(append_durable(&running.journal, 2, &Arc::new(CommitWaiter::new())), Sequence(2));
    assert!(running.journal.close(true, WAIT));
    assert_eq!(running.frames_in_batches(), [(1, content(1)), (2, content(2))]);
}

#[test]
fn a_full_disk_pauses_and_goes_on_without_a_restart() {
    let center = Center::new();
    center.disk.set_faults(Faults { is_full: true, ..Faults::default() });
    let running = center.start();
    let waiter = Arc::new(CommitWaiter::new());
    let first = append(&running.journal, 1, &waiter);
    eventually("the failure is seen", || matches!(running.journal.health(), Health::Failing { .. }));
    assert_eq!(waiter.durable(), Sequence(0));
    center.disk.set_faults(Faults::default());
    assert_eq!(wait(waiter.wait_durable(Sequence(0))), first);
    wait(running.journal.ready());
    append_durable(&running.journal, 2, &waiter);
    assert!(running.journal.close(true, WAIT));
}

#[test]
fn a_failing_store_stops_acknowledgements_only_when_the_room_is_used_up() {
    let center = Center::new();
    let blocker = block_batches(&center);
    let running = center.start();
    let waiter = Arc::new(CommitWaiter::new());
    let mut number = 0;
    // Until it is refused: a wait for room would never end here.
    while running
        .journal
        .append(admitted(vehicle(1), TEN, &content(number + 1)), &waiter)
        .is_ok_and(|sequence| sequence == Sequence(number + 1))
    {
        number += 1;
        std::thread::sleep(Duration::from_millis(1));
        assert!(number < 5_000, "the room has an end");
    }
    eventually("it is seen to be full", || matches!(running.journal.health(), Health::Full { .. }));
    assert!(waiter.durable().0 > 60, "acknowledgements went on while there was room: {}", waiter.durable());
    assert!(running.journal.sealing().failing.is_some());
    let bytes = content(1);
    let refused = running.journal.append(admitted(vehicle(1), TEN, &bytes), &waiter);
    assert_eq!(refused, Err(AppendRefused::Paused));
    drop(blocker);
    wait(running.journal.ready());
    wait(waiter.wait_durable(Sequence(number - 1)));
    assert!(running.journal.close(true, WAIT));
    let frames = running.frames_in_batches();
    assert_eq!(frames.len() as u64, number);
    assert!(frames.iter().enumerate().all(|(index, frame)| frame.0 == index as u64 + 1));
}

#[test]
fn what_was_admitted_before_a_barrier_is_turned_back_after_it() {
    let center = Center::new();
    let Running { journal, .. } = center.start();
    let waiter = Arc::new(CommitWaiter::new());
    let append = |version: u64| {
        let permit = admission(vehicle(1), version);
        journal.append(permit.frame(TEN, model::Protocol::Tesla, model::ConnectionId(1), b"frame"), &waiter)
    };
    assert_eq!(append(1), Ok(Sequence(1)));
    assert_eq!(journal.raise_barrier(RegistryVersion(2)), Sequence(1));
    assert_eq!(append(1), Err(AppendRefused::Stale));
    assert_eq!(append(2), Ok(Sequence(2)));
    assert_eq!(journal.raise_barrier(RegistryVersion(1)), Sequence(2));
    assert_eq!(append(1), Err(AppendRefused::Stale), "a barrier never sinks");
    let too_large = vec![0; 64 << 10];
    let refused = journal.append(admitted(vehicle(1), TEN, &too_large), &waiter);
    assert_eq!(refused, Err(AppendRefused::TooLarge));
    journal.close(false, WAIT);
    assert_eq!(append(2), Err(AppendRefused::Closed));
}

#[test]
fn the_tail_reads_what_is_durable_and_says_when_it_came_too_late() {
    let center = Center::new();
    let running = center.start();
    let waiter = Arc::new(CommitWaiter::new());
    let mut tail = running.journal.tail(Sequence(2));
    assert!(tail.next_group().expect("it reads").is_none());
    for number in 1..=5 {
        append_durable(&running.journal, number, &waiter);
    }
    let mut seen = Vec::new();
    while let Some(group) = tail.next_group().expect("it reads") {
        seen.extend(group.frames().map(|(sequence, frame)| (sequence.0, frame.bytes.to_vec())));
    }
    assert_eq!(seen, (2..=5).map(|number| (number, content(number))).collect::<Vec<_>>());
    assert_eq!(tail.next_sequence(), Sequence(6));
    assert_eq!(*running.journal.committed().borrow(), Sequence(5));
    assert!(running.journal.close(true, WAIT));
    let mut late = running.journal.tail(Sequence(1));
    assert!(matches!(late.next_group(), Err(TailError::Overrun { resume: Sequence(6) })));
}

#[test]
fn a_batch_holds_one_hour_and_takes_stragglers_along() {
    let center = Center::new();
    let running = center.start();
    let waiter = Arc::new(CommitWaiter::new());
    let eleven = TEN.plus_micros(UtcMicros::PER_HOUR);
    let instants = [
        TEN.plus_micros(1),
        eleven.plus_micros(-1),
        eleven,
        eleven.plus_micros(-1_000), // A straggler.
        eleven.plus_micros(5),
        TEN, // The clock was set back.
    ];
    for instant in instants {
        running.journal.append(admitted(vehicle(1), instant, b"frame"), &waiter).expect("room");
    }
    assert!(running.journal.close(true, WAIT));
    let sealed = running.sealed.lock().clone();
    let summary: Vec<_> = sealed.iter().map(|batch| (batch.hour, batch.first.0, batch.last.0)).collect();
    assert_eq!(summary, [(TEN, 1, 2), (eleven, 3, 5), (TEN, 6, 6)]);
    let batch = running.store.read_batch(&sealed[1].name).expect("a batch");
    let mut received = Vec::new();
    let visit = |row: crate::Row<'_>| {
        received.push(row.received_at);
        Ok::<_, Error>(())
    };
    batch.for_each(running.store.keyring(), visit).expect("it opens");
    assert_eq!(received, [eleven, eleven, eleven.plus_micros(5)]);
}

#[test]
fn with_ack_object_a_frame_is_acknowledged_from_its_batch() {
    let mut center = Center::new();
    center.journal.ack = Ack::Object;
    let blocker = block_batches(&center);
    let running = center.start();
    let waiter = Arc::new(CommitWaiter::new());
    let first = append(&running.journal, 1, &waiter);
    let mut committed = running.journal.committed();
    wait(committed.wait_for(|last| *last == first)).expect("the journal lives");
    eventually("sealing was tried", || running.journal.sealing().failing.is_some());
    assert_eq!(waiter.durable(), Sequence(0));
    drop(blocker);
    assert_eq!(wait(waiter.wait_durable(Sequence(0))), first);
    assert_eq!(running.sealed.lock().len(), 1);
    running.journal.close(true, WAIT);
}

#[test]
fn many_threads_get_every_frame_acknowledged_and_sealed_once() {
    const THREADS: u64 = 8;
    const FRAMES: u64 = 150;
    let center = Center::new();
    let running = center.start();
    let mut appended: Vec<(u64, Vec<u8>)> = std::thread::scope(|scope| {
        let thread = |thread: u64| {
            let journal = running.journal.clone();
            scope.spawn(move || {
                let waiter = Arc::new(CommitWaiter::new());
                let number = |frame: u64| thread * FRAMES + frame;
                (0..FRAMES)
                    .map(|frame| (append_durable(&journal, number(frame), &waiter).0, content(number(frame))))
                    .collect::<Vec<_>>()
            })
        };
        let threads: Vec<_> = (0..THREADS).map(thread).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    assert!(running.journal.close(true, WAIT));
    appended.sort_unstable();
    assert!(running.frames_in_batches() == appended);
    let stats = running.journal.stats();
    assert_eq!(stats.frames(), THREADS * FRAMES);
    assert!(stats.groups() < stats.frames(), "frames of several threads share a flush: {}", stats.groups());
    assert_eq!(stats.flushes().count, stats.groups());
}

#[test]
fn a_journal_that_contradicts_its_batch_stops_the_start() {
    let center = Center::new();
    let running = center.start();
    let waiter = Arc::new(CommitWaiter::new());
    append_durable(&running.journal, 1, &waiter);
    let before = center.disk.image(center.disk.steps(), Survivors::None);
    assert!(running.journal.close(true, WAIT));
    drop(running);
    // The same journal beside a batch of the same name with another frame.
    let other = Center::new();
    let running = other.start();
    append_durable(&running.journal, 2, &waiter);
    assert!(running.journal.close(true, WAIT));
    drop(running);
    let contradicting = Center { disk: before, ..other };
    match contradicting.try_start().map(|_| ()) {
        Err(Error::JournalDamaged { what }) => assert!(what.contains("frame 1 differs"), "{what}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_segment_stays_until_its_batch_is_released_and_a_start_finds_those_that_never_were() {
    let center = Center::new();
    let (sender, held) = std::sync::mpsc::sync_channel(64);
    let running =
        center.try_start_with(move |release| sender.send(release).expect("room")).expect("it starts");
    let waiter = Arc::new(CommitWaiter::new());
    let last = append_durable(&running.journal, 1, &waiter);
    let first = held.recv_timeout(WAIT).expect("the segment closes by age, and its batch is put");
    assert_eq!(running.sealed.lock()[0].last, last);
    assert_eq!(running.journal.sealing().waiting, 1, "it is sealed and not released");
    // The sealer goes on meanwhile, and the journal still holds the frame.
    append_durable(&running.journal, 2, &waiter);
    let second = held.recv_timeout(WAIT).expect("the next one is sealed too");
    assert_eq!(running.journal.sealing().waiting, 2);
    assert!(running.journal.tail(last).next_group().expect("a read").is_some());
    first.release();
    assert_eq!(running.journal.sealing().waiting, 1);
    drop(second);
    assert!(!running.journal.close(true, Duration::from_millis(50)), "the second was never released");
    drop(running);
    let running = center.start();
    assert_eq!(running.frames_in_batches().len(), 2, "each frame once");
    assert!(running.journal.close(true, WAIT), "what lies in a batch is not held up by an earlier run");
}
