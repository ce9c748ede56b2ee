//! Raw frames go when the shortest term of what may be in them is over: by whole batches, with their entries in the ledger. Where there are
//! tables, housekeeping sees to it; a pure gateway has a thread for it.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use ledger::entry::Ground;
use ledger::{Book, Destruction};
use model::{Clock, Sequence, UtcMicros};
use parking_lot::Mutex;
use store::{BatchName, Store};

use crate::bell::Bell;
use crate::center::Packs;

/// Batches that one entry destroys: their names go into a manifest.
const BATCHES_AT_ONCE: usize = 1_000;

/// How long it is waited for the ledger to sign what is entered. Longer, and what is to be deleted waits for the next run.
pub(crate) const ENTERED_TIME: Duration = Duration::from_secs(30);

/// The first run after a start: late enough that what a crash left is decoded and committed first.
pub(crate) const FIRST_RUN_TIME: Duration = Duration::from_secs(60);

/// How far the wall clock may run ahead of the one that never jumps before the center does not destroy anything by itself: a clock that was put
/// ahead by mistake must not let everything expire. Whoever is sure asks for it (`lake expire`), or starts the center again.
const CLOCK_JUMP_MAX: Duration = Duration::from_secs(3_600);

/// The sealed batches, and what their end needs.
pub(crate) struct RawFrames {
    store: Arc<Store>,
    packs: Arc<Packs>,
    book: Book,
    clock: Arc<dyn Clock>,
    /// The two clocks when it was made.
    started: (UtcMicros, Duration),
}

/// Why batches whose term is over are still there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RawError {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Ledger(#[from] ledger::Error),
    #[error("the ledger does not sign yet")]
    Held,
}

impl RawFrames {
    pub(crate) fn new(store: Arc<Store>, packs: Arc<Packs>, book: Book, clock: Arc<dyn Clock>) -> Self {
        let started = (clock.now(), clock.monotonic());
        Self { store, packs, book, clock, started }
    }

    /// Destroys the batches whose term is over and whose frames nobody needs any more: those up to `tabled`. Gives their number.
    ///
    /// # Errors
    /// [`RawError`]; the next call goes on.
    pub(crate) fn expire(&self, tabled: Sequence) -> Result<u64, RawError> {
        if is_held(&self.book) {
            return Err(RawError::Held);
        }
        self.book.finish_destruction(ENTERED_TIME)?;
        let batches = self.store.batches()?;
        let days = self.packs.in_force().pack.frame_retention_days();
        let expired = expired(&batches, self.clock.now(), days, tabled);
        for some in expired.chunks(BATCHES_AT_ONCE) {
            let objects: Vec<_> = some.iter().map(|batch| batch.path()).collect();
            self.book.destroy(Destruction::Expired, Ground::Term, &objects, ENTERED_TIME)?;
        }
        Ok(expired.len() as u64)
    }

    /// Whether the wall clock has run ahead of the one that never jumps.
    pub(crate) fn has_clock_jumped(&self) -> bool {
        let (utc, monotonic) = self.started;
        let by_monotonic = self.clock.monotonic().saturating_sub(monotonic);
        self.clock.now().since(utc).saturating_sub(by_monotonic) > CLOCK_JUMP_MAX
    }

    /// The book in which what goes is entered.
    #[cfg(feature = "lake")]
    pub(crate) fn book(&self) -> &Book {
        &self.book
    }
}

/// While no witness has said what it saw, nothing can be entered.
pub(crate) fn is_held(book: &Book) -> bool {
    book.is_new() || book.ledger().status().held
}

/// Batches whose frames were all received longer ago than the term, and are in the tables. The newest batch of a gateway stays: the journal
/// goes on counting from it. `batches` are by gateway and oldest first.
fn expired(batches: &[BatchName], now: UtcMicros, days: u32, tabled: Sequence) -> Vec<&BatchName> {
    let cutoff = now.plus_micros(-i64::from(days) * UtcMicros::PER_DAY);
    let is_newest =
        |place: usize| batches.get(place + 1).is_none_or(|next| next.gateway != batches[place].gateway);
    let is_over = |batch: &BatchName| batch.hour.plus_micros(UtcMicros::PER_HOUR) <= cutoff;
    batches
        .iter()
        .enumerate()
        .filter(|(place, batch)| !is_newest(*place) && is_over(batch) && batch.last <= tabled)
        .map(|(_, batch)| batch)
        .collect()
}

/// The thread of a pure gateway, whose batches no table takes.
pub(crate) struct RawKeeper {
    desk: Arc<Desk>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Desk {
    raw: RawFrames,
    bell: Bell,
}

impl RawKeeper {
    /// Starts the thread, which runs each `interval`; without one nothing goes by itself.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start(raw: RawFrames, interval: Option<Duration>) -> std::io::Result<Self> {
        let desk = Arc::new(Desk { raw, bell: Bell::default() });
        let start = |interval: Duration| {
            let desk = Arc::clone(&desk);
            let thread = std::thread::Builder::new().name("raw-housekeeping".to_owned());
            thread.spawn(move || desk.run_each(interval))
        };
        let thread = interval.map(start).transpose()?;
        Ok(Self { desk, thread: Mutex::new(thread) })
    }

    /// Ends the thread after its step. Blocks.
    pub(crate) fn finish(&self) {
        self.desk.bell.end();
        if self.thread.lock().take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("housekeeping ended by a defect of the program; the next start goes on with it");
        }
    }
}

impl Desk {
    fn run_each(&self, interval: Duration) {
        let mut pause = FIRST_RUN_TIME.min(interval);
        while self.bell.pause(pause) {
            pause = interval;
            if self.raw.has_clock_jumped() {
                tracing::warn!(
                    "the wall clock has jumped since the start: nothing is destroyed by its term. Set the clock right, or, where it \
                     is, start the gateway again"
                );
                continue;
            }
            match self.raw.expire(Sequence(u64::MAX)) {
                Ok(0) => {}
                Ok(batches) => tracing::info!(batches, "raw frames whose term is over were destroyed"),
                Err(error) => {
                    tracing::warn!(%error, "raw frames whose term is over are still there; the next run goes on")
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
