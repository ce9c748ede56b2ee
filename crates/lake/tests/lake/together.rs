//! Queries while rows come and batches are committed.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::world::{Center, SIGNALS_A_FRAME, ask, first_row};

#[test]
fn a_query_sees_every_acknowledged_frame_once_while_batches_are_committed() {
    const BATCHES: u64 = 60;
    const BATCH: u64 = 50;
    let mut center = Center::new();
    let lake = center.lake.clone();
    let (written, done, asked) = (AtomicU64::new(0), AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let queries = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            while !done.load(Ordering::Acquire) {
                let before = written.load(Ordering::Acquire);
                let sql = "select count(*), count(distinct time), cast(sum(value) as bigint), (select count(*) from positions) positions
                           from signals where signal like '%Part01'";
                let row = first_row(&runtime.block_on(ask(&lake, sql)).expect("an answer"));
                // The frame being written shows before it is counted.
                let after = written.load(Ordering::Acquire) + 1;
                let count = row[0];
                assert!(before as i64 <= count && count <= after as i64, "{before} {count} {after}");
                assert_eq!(row[1], count, "no row twice");
                assert_eq!(row[2], count * (count + 1) / 2, "no row missing");
                assert_eq!(row[3], count, "all tables of one view at one instant");
                asked.fetch_add(1, Ordering::AcqRel);
            }
        });
        for batch in 0..BATCHES {
            for sequence in batch * BATCH + 1..=(batch + 1) * BATCH {
                center.take(batch, sequence..=sequence);
                written.store(sequence, Ordering::Release);
            }
            // Let queries come in between.
            let seen = asked.load(Ordering::Acquire);
            while batch % 4 == 0 && asked.load(Ordering::Acquire) < seen + 2 && !queries.is_finished() {
                std::thread::sleep(Duration::from_millis(1));
            }
            center.commit(batch * BATCH + 1, (batch + 1) * BATCH).expect("a commit");
        }
        done.store(true, Ordering::Release);
    });
    println!("{} queries during {BATCHES} commits", asked.load(Ordering::Relaxed));
    let rows = center.lake.status().iter().map(|table| table.rows).collect::<Vec<_>>();
    assert_eq!(rows[0], BATCHES * BATCH * SIGNALS_A_FRAME);
    assert!(center.lake.status().iter().all(|table| table.tail_rows == 0));
}

#[test]
fn dropping_an_answer_ends_its_query() {
    let center = Center::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    for _ in 0..40 {
        // More than may run at once: each must end when its answer is dropped.
        let answer = runtime.block_on(center.lake.query("select * from generate_series(1, 1000000000000)"));
        drop(answer.expect("an answer"));
    }
    assert_eq!(center.numbers("select count(*) from signals"), [0]);
}
