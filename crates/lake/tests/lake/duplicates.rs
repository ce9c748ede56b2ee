//! What vehicles send again shows once.

use std::sync::Arc;

use lake::Settings;
use model::{Protocol, Quality, Reading, ReadingSink, Sequence, SignalId};
use object_store::memory::InMemory;

use crate::world::{Center, check_rows, range, received_at, vehicle, write_frame};

fn resend(center: &mut Center, segment: u64, sequence: u64, of: u64) {
    let sequence = Sequence(sequence);
    let mut sink = center.writer.begin_frame(
        segment,
        sequence,
        vehicle(of % 3),
        Protocol::Tesla,
        received_at(sequence.0),
    );
    write_frame(&mut sink, of);
}

#[test]
fn a_resent_frame_is_dropped_from_tail_and_files_and_counted() {
    let mut center = Center::new();
    center.take(1, 1..=10);
    resend(&mut center, 1, 11, 6);
    check_rows(&center, 10, "resent while in the tail");
    center.writer.commit(range(1, 11)).expect("a commit");
    resend(&mut center, 2, 12, 7);
    check_rows(&center, 10, "resent after the commit");
    // Frames 4 and 8 repeat what came three frames before them.
    let duplicates: Vec<_> = center.lake.status().iter().map(|table| table.duplicates).collect();
    assert_eq!(duplicates, [16, 4, 1]);
}

#[test]
fn a_start_remembers_what_the_newest_files_hold() {
    let disk = Arc::new(InMemory::new());
    let mut center = Center::open(disk.clone()).expect("a lake");
    center.take(1, 1..=10);
    center.commit(1, 10).expect("a commit");
    drop(center);
    let mut center = Center::open(disk).expect("a lake");
    for of in 1..=10 {
        resend(&mut center, 2, 10 + of, of);
    }
    check_rows(&center, 10, "all resent after a restart");
    center.writer.commit(range(11, 20)).expect("a commit without rows");
    check_rows(&center, 10, "committed");
}

#[test]
fn rows_of_a_discarded_chunk_come_back() {
    let mut center = Center::new();
    // The tail missed frames 1 to 4; frames 5 to 10 were seen, and frame 11 of the next segment resends 6 and
    // 2.
    center.take(1, 5..=10);
    resend(&mut center, 2, 11, 6);
    resend(&mut center, 2, 12, 2);
    center.commit(1, 10).expect("decoded again");
    center.writer.commit(range(11, 12)).expect("a commit");
    check_rows(&center, 10, "frame 2 from the resent frame, all others from their own");
}

#[test]
fn a_batch_sink_that_is_given_up_leaves_what_was_seen() {
    let mut center = Center::new();
    center.take(1, 2..=10);
    {
        let mut sink = center.writer.decode_batch(range(1, 10));
        for sequence in 1..=5 {
            let vehicle = vehicle(sequence % 3);
            let mut frame =
                sink.begin_frame(Sequence(sequence), vehicle, Protocol::Tesla, received_at(sequence));
            write_frame(&mut frame, sequence);
        }
    }
    resend(&mut center, 2, 11, 6);
    center.commit(1, 10).expect("decoded again");
    center.writer.commit(range(11, 11)).expect("a commit");
    check_rows(&center, 10, "nothing twice, frame 1 not taken for seen");
}

#[test]
fn the_same_value_of_another_quality_is_the_same_reading() {
    let mut center = Center::new();
    for (sequence, quality) in [(1, Quality::Clock), (2, Quality::Valid)] {
        let mut sink = center.writer.begin_frame(
            1,
            Sequence(sequence),
            vehicle(1),
            Protocol::Tesla,
            received_at(sequence),
        );
        let reading =
            Reading { time: received_at(9), signal: SignalId(1), value: Some(5.0), text: None, quality };
        sink.reading(reading);
        // Other values are other readings, also those that are none.
        sink.reading(Reading { value: Some(5.0 + sequence as f64), ..reading });
        sink.reading(Reading { value: Some(f64::NAN), signal: SignalId(2), ..reading });
    }
    assert_eq!(center.numbers("select count(*), count(value) from signals"), [4, 3]);
    assert_eq!(
        center.numbers("select count(*) from signals where quality = 'abnormal' and value is null"),
        [1]
    );
}

#[test]
fn a_frame_of_very_many_rows_of_one_time_is_deduplicated_quickly() {
    let mut center = Center::new();
    for sequence in 1..=2 {
        let mut sink = center.writer.begin_frame(
            1,
            Sequence(sequence),
            vehicle(1),
            Protocol::Tesla,
            received_at(sequence),
        );
        for number in 0..100_000 {
            sink.reading(Reading {
                time: received_at(1),
                signal: SignalId(number as u16 % 60),
                value: Some(f64::from(number / 2)),
                text: None,
                quality: Quality::Valid,
            });
        }
    }
    let expected = center.numbers("select count(*), count(distinct concat(signal, value)) from signals");
    assert_eq!(expected[0], expected[1]);
    assert_eq!(center.lake.status()[0].duplicates as i64 + expected[0], 200_000);
}

#[test]
fn a_full_tail_says_so_and_the_batch_is_decoded_again() {
    let settings = Settings { memory_bytes_max: Settings::MEMORY_BYTES_MIN, ..Settings::default() };
    let mut center = Center::open_with(Arc::new(InMemory::new()), settings).expect("a lake");
    let mut last = 0;
    while !center.writer.is_full() {
        last += 1;
        center.take(1, last..=last);
        assert!(last < 1_000_000, "the tail never fills");
    }
    // The pipeline stops taking frames; the segment closes with more of them and is committed from its batch.
    center.commit(1, last + 5).expect("decoded again");
    assert!(!center.writer.is_full());
    check_rows(&center, last + 5, "all");
}
