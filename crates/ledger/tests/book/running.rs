//! Verification beside a center that goes on: what is new waits or is entered, what goes has its entry.

use std::sync::atomic::{AtomicBool, Ordering};

use ledger::Destruction;
use ledger::entry::Ground;

use crate::world::{Plain, SOON, World, done};

/// Verifications that must pass while the center writes.
const VERIFICATIONS: usize = 25;

#[test]
fn a_running_center_passes_at_any_moment() {
    let world = World::filled();
    let book = world.book();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0;
            while !is_over.load(Ordering::Relaxed) {
                let batch = world.put_batch(10 + number, 10 + number);
                done(book.enter_batch(&batch));
                let number_of_change = 4 + number;
                world.put_control(number_of_change);
                book.enter_changes(&Plain).expect("entered");
                let version = 2 + i64::try_from(number).expect("few");
                done(book.enter_table_version(&world.put_version(
                    version,
                    &format!("gw-{}", 10 + number),
                    &[],
                )));
                if number % 3 == 2 {
                    let gone = [batch.name.path()];
                    book.destroy(Destruction::Expired, Ground::Term, &gone, SOON).expect("destroyed");
                }
                number += 1;
            }
        });
        let mut reports = Vec::new();
        for _ in 0..VERIFICATIONS {
            reports.push(world.verify());
        }
        is_over.store(true, Ordering::Relaxed);
        for report in reports {
            assert_eq!(report.findings, []);
        }
    });
    assert!(book.ledger().close(SOON));
    world.assert_clean();
}
