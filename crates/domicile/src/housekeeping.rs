//! Housekeeping of the tables while the center serves: one thread that runs when it is time and when somebody asks, and the books
//! on what goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use lake::{Books, Done, Maintenance, ObjectPath, SourceError, Step, Urgency, Work};
use ledger::Book;
use ledger::entry::Ground;
use model::{Clock, Sequence, UtcMicros};
use parking_lot::{Condvar, Mutex};
use store::{BatchName, Store};

use crate::center::Packs;
use crate::pipeline::Progress;

/// Batches that one entry destroys: their names go into a manifest.
const BATCHES_AT_ONCE: usize = 1_000;

/// How long a run waits for the ledger to sign what it has entered. Longer, and what is to be deleted waits for the next run.
const ENTERED_TIME: Duration = Duration::from_secs(30);

/// How often the books are asked for a version that the pipeline is about to enter.
const LOOK_TIME: Duration = Duration::from_millis(50);

/// After a step as much time passes as it took, up to this: half of one core at most, so that vehicles and queries go first.
const REST_TIME_MAX: Duration = Duration::from_secs(5);

/// The first run after a start: late enough that what a crash left is decoded and committed first.
const FIRST_RUN_TIME: Duration = Duration::from_secs(60);

/// How far the wall clock may run ahead of the one that never jumps before the center does not destroy anything by itself: a clock that was put
/// ahead by mistake must not let everything expire. Whoever is sure asks for it (`lake expire`), or starts the center again.
const CLOCK_JUMP_MAX: Duration = Duration::from_secs(3_600);

/// The raw frames, whose batches go when the shortest term of what may be in them is over.
pub(crate) struct RawFrames {
    pub(crate) store: Arc<Store>,
    pub(crate) packs: Arc<Packs>,
    /// How far the tables have the frames.
    pub(crate) progress: Arc<Progress>,
}

/// What housekeeping has done since the start.
#[derive(Default)]
pub(crate) struct Chores {
    pub(crate) runs: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) is_failing: AtomicBool,
    pub(crate) files_compacted: AtomicU64,
    pub(crate) rows_compacted: AtomicU64,
    pub(crate) rows_doubled: AtomicU64,
    pub(crate) rows_expired: AtomicU64,
    pub(crate) objects_deleted: AtomicU64,
    /// When the last run ended well; microseconds, 0 for never.
    last_run: std::sync::atomic::AtomicI64,
}

impl Chores {
    /// When the last run ended well.
    pub(crate) fn last_run(&self) -> Option<UtcMicros> {
        Some(UtcMicros(self.last_run.load(Ordering::Relaxed))).filter(|at| at.0 != 0)
    }

    fn count(&self, done: &Done) {
        let add = |counter: &AtomicU64, number: u64| {
            counter.fetch_add(number, Ordering::Relaxed);
        };
        for step in &done.steps {
            add(&self.files_compacted, step.files_removed);
            add(&self.rows_compacted, step.rows);
            add(&self.rows_doubled, step.doubled);
            add(&self.rows_expired, step.expired);
        }
        add(&self.objects_deleted, done.destroyed + done.discarded + done.commits + done.swept);
    }
}

/// The housekeeper. Who runs holds the one [`Maintenance`], so there is one run at a time.
pub(crate) struct Housekeeper {
    desk: Arc<Desk>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Desk {
    maintenance: Mutex<Maintenance>,
    raw: RawFrames,
    /// The two clocks when it started.
    started: (UtcMicros, Duration),
    books: TableBooks,
    clock: Arc<dyn Clock>,
    chores: Arc<Chores>,
    is_ending: Mutex<bool>,
    called: Condvar,
}

impl Housekeeper {
    /// Starts the thread, which runs each `interval`; without one it waits to be asked.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start(
        maintenance: Maintenance,
        raw: RawFrames,
        book: Book,
        clock: Arc<dyn Clock>,
        interval: Option<Duration>,
    ) -> std::io::Result<Self> {
        let desk = Arc::new(Desk {
            maintenance: Mutex::new(maintenance),
            raw,
            started: (clock.now(), clock.monotonic()),
            books: TableBooks {
                book,
                clock: clock.clone(),
                destruction: (ledger::Destruction::Expired, Ground::Term),
            },
            clock,
            chores: Arc::new(Chores::default()),
            is_ending: Mutex::new(false),
            called: Condvar::new(),
        });
        let thread = interval
            .map(|interval| {
                let desk = Arc::clone(&desk);
                std::thread::Builder::new()
                    .name("lake-housekeeping".to_owned())
                    .spawn(move || desk.run_each(interval))
            })
            .transpose()?;
        Ok(Self { desk, thread: Mutex::new(thread) })
    }

    /// What was done since the start.
    pub(crate) fn chores(&self) -> Arc<Chores> {
        Arc::clone(&self.desk.chores)
    }

    /// Runs at once. `None` where a run is under way: it is not waited for. Blocks.
    ///
    /// # Errors
    /// What the lake says.
    pub(crate) fn run_now(&self, work: Work) -> Result<Option<Done>, lake::Error> {
        match self.desk.maintenance.try_lock() {
            Some(mut maintenance) => {
                self.desk.run(&mut maintenance, &self.desk.books, work, Urgency::Now).map(Some)
            }
            None => Ok(None),
        }
    }

    /// Takes out and destroys the rows of open erasures; a run that is under way is waited for. Blocks.
    ///
    /// # Errors
    /// What the lake says.
    pub(crate) fn erase(&self, ground: Ground) -> Result<Done, lake::Error> {
        let mut maintenance = self.desk.maintenance.lock();
        let destruction = (ledger::Destruction::Erased, ground);
        let books = TableBooks { destruction, ..self.desk.books.clone() };
        self.desk.run(&mut maintenance, &books, Work::Erase, Urgency::Now)
    }

    /// Ends the thread after its step. Blocks.
    pub(crate) fn finish(&self) {
        *self.desk.is_ending.lock() = true;
        self.desk.called.notify_all();
        if self.thread.lock().take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("housekeeping ended by a defect of the program; the next start goes on with it");
        }
    }
}

impl Desk {
    fn run_each(&self, interval: Duration) {
        let mut pause = FIRST_RUN_TIME.min(interval);
        while self.rest(pause) {
            pause = interval;
            // Who asked for a run does the same.
            let Some(mut maintenance) = self.maintenance.try_lock() else { continue };
            let work = if self.has_clock_jumped() {
                tracing::warn!(
                    "the wall clock has jumped since the start: nothing is destroyed by its term. Set the clock right, or, where it \
                     is, run `domicile lake expire` or start the center again"
                );
                Work::Compact
            } else {
                Work::Both
            };
            // The error is logged and counted.
            let _next_time = self.run(&mut maintenance, &self.books, work, Urgency::Due);
        }
    }

    fn run(
        &self,
        maintenance: &mut Maintenance,
        books: &TableBooks,
        work: Work,
        urgency: Urgency,
    ) -> Result<Done, lake::Error> {
        let mut began = self.clock.monotonic();
        let mut goes_on = |_: &Step| {
            let took = self.clock.monotonic().saturating_sub(began);
            let goes_on = self.rest(took.min(REST_TIME_MAX));
            began = self.clock.monotonic();
            goes_on
        };
        let done = maintenance.run(work, urgency, books, &mut goes_on).and_then(|mut done| {
            if matches!(work, Work::Expire | Work::Both) {
                done.destroyed += self.expire_batches(books)?;
            }
            Ok(done)
        });
        let chores = &self.chores;
        chores.is_failing.store(done.is_err(), Ordering::Relaxed);
        match &done {
            Ok(done) => {
                chores.runs.fetch_add(1, Ordering::Relaxed);
                chores.last_run.store(self.clock.now().0, Ordering::Relaxed);
                chores.count(done);
                if !done.steps.is_empty() {
                    let Done { steps, destroyed, discarded, commits, .. } = done;
                    tracing::info!(steps = steps.len(), destroyed, discarded, commits, "kept the tables");
                }
            }
            Err(error) => {
                chores.failures.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(%error, "the tables were not kept to the end; the next run goes on");
            }
        }
        done
    }

    /// Destroys the batches of raw frames whose term is over; gives their number.
    fn expire_batches(&self, books: &TableBooks) -> Result<u64, SourceError> {
        let RawFrames { store, packs, progress } = &self.raw;
        let batches = store.batches().map_err(|error| SourceError(error.to_string()))?;
        let days = packs.in_force().pack.frame_retention_days();
        let tabled = Sequence(progress.committed.load(Ordering::Relaxed));
        let objects = expired_batches(&batches, self.clock.now(), days, tabled);
        for some in objects.chunks(BATCHES_AT_ONCE) {
            books.destroy(some)?;
        }
        Ok(objects.len() as u64)
    }

    /// Whether the wall clock has run ahead of the one that never jumps.
    fn has_clock_jumped(&self) -> bool {
        let (utc, monotonic) = self.started;
        let by_monotonic = self.clock.monotonic().saturating_sub(monotonic);
        self.clock.now().since(utc).saturating_sub(by_monotonic) > CLOCK_JUMP_MAX
    }

    /// Waits; `false` where the center ends.
    fn rest(&self, time: Duration) -> bool {
        let mut is_ending = self.is_ending.lock();
        let _either_way = self.called.wait_while_for(&mut is_ending, |is_ending| !*is_ending, time);
        !*is_ending
    }
}

/// Batches whose frames were all received longer ago than the term, and are in the tables. The newest batch of a gateway stays: the journal
/// goes on counting from it. `batches` are by gateway and oldest first.
fn expired_batches(batches: &[BatchName], now: UtcMicros, days: u32, tabled: Sequence) -> Vec<ObjectPath> {
    let cutoff = now.plus_micros(-i64::from(days) * UtcMicros::PER_DAY);
    let is_newest =
        |place: usize| batches.get(place + 1).is_none_or(|next| next.gateway != batches[place].gateway);
    let is_over = |batch: &BatchName| batch.hour.plus_micros(UtcMicros::PER_HOUR) <= cutoff;
    batches
        .iter()
        .enumerate()
        .filter(|(place, batch)| !is_newest(*place) && is_over(batch) && batch.last <= tabled)
        .map(|(_, batch)| batch.path())
        .collect()
}

/// The center's ledger, as the tables' books. The pipeline enters the versions; here they are waited for.
#[derive(Clone)]
struct TableBooks {
    book: Book,
    clock: Arc<dyn Clock>,
    /// As what, and why, objects are destroyed.
    destruction: (ledger::Destruction, Ground),
}

impl Books for TableBooks {
    fn finish(&self) -> Result<(), SourceError> {
        if self.is_held() {
            return Err(SourceError("the ledger does not sign yet".to_owned()));
        }
        self.book.finish_destruction(ENTERED_TIME).map_err(failed)
    }

    fn entered(&self, table: &str, version: i64) -> Result<i64, SourceError> {
        let began = self.clock.monotonic();
        let is_late = || self.clock.monotonic().saturating_sub(began) >= ENTERED_TIME;
        let newest = || self.book.table_version(table).unwrap_or(-1);
        while newest() < version && !is_late() {
            std::thread::sleep(LOOK_TIME);
        }
        // It may stand in the queue only: wait until all that is there by now is signed.
        let entered = newest();
        let ledger = self.book.ledger();
        let status = ledger.status();
        let queued = status.size + status.waiting as u64;
        let is_signed = queued == 0 || ledger.wait_for_size_above(queued - 1, ENTERED_TIME) >= queued;
        if is_signed { Ok(entered) } else { Err(SourceError("the ledger does not sign in time".to_owned())) }
    }

    fn destroy(&self, objects: &[ObjectPath]) -> Result<(), SourceError> {
        let (kind, ground) = self.destruction;
        self.book.destroy(kind, ground, objects, ENTERED_TIME).map_err(failed)
    }

    fn discard(&self, objects: &[ObjectPath]) -> Result<(), SourceError> {
        self.book.discard(objects).map_err(failed)
    }
}

impl TableBooks {
    /// While no witness has said what it saw, nothing can be entered.
    fn is_held(&self) -> bool {
        self.book.is_new() || self.book.ledger().status().held
    }
}

fn failed(error: ledger::Error) -> SourceError {
    SourceError(error.to_string())
}

#[cfg(test)]
mod tests {
    use model::{Sequence, UtcMicros};
    use store::BatchName;

    use super::expired_batches;

    #[test]
    fn batches_go_when_the_term_of_their_last_frame_is_over() {
        let start = UtcMicros::from_seconds(1_795_428_000);
        let hour = |number: i64| start.plus_micros(number * UtcMicros::PER_HOUR);
        let batch = |gateway: &str, number: i64| BatchName {
            center: "shanghai-1".parse().expect("a name"),
            gateway: gateway.parse().expect("a name"),
            hour: hour(number),
            last: Sequence(number.unsigned_abs() + 1),
        };
        let batches = [batch("a", 0), batch("a", 1), batch("a", 2), batch("b", 0)];
        let gone = |now, tabled| {
            let gone = expired_batches(&batches, now, 14, Sequence(tabled));
            gone.iter().map(|path| batches.iter().position(|batch| batch.path() == *path)).collect::<Vec<_>>()
        };
        let later = |hours: i64| hour(14 * 24 + hours);
        assert_eq!(gone(later(1).plus_micros(-1), 9), [], "its last frame may be a moment younger");
        assert_eq!(gone(later(1), 9), [Some(0)]);
        assert_eq!(gone(later(1), 0), [], "not in the tables yet");
        assert_eq!(gone(later(100), 9), [Some(0), Some(1)], "the newest of each gateway stays");
    }
}
