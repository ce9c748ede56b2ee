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
use parking_lot::Mutex;

use crate::bell::Bell;
use crate::pipeline::Progress;
use crate::raw::{ENTERED_TIME, FIRST_RUN_TIME, RawFrames, is_held};

/// How often the books are asked for a version that the pipeline is about to enter.
const LOOK_TIME: Duration = Duration::from_millis(50);

/// After a step as much time passes as it took, up to this: half of one core at most, so that vehicles and queries go first.
const REST_TIME_MAX: Duration = Duration::from_secs(5);

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
    /// How far the tables have the frames.
    progress: Arc<Progress>,
    books: TableBooks,
    clock: Arc<dyn Clock>,
    chores: Arc<Chores>,
    bell: Bell,
}

impl Housekeeper {
    /// Starts the thread, which runs each `interval`; without one it waits to be asked.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start(
        maintenance: Maintenance,
        raw: RawFrames,
        progress: Arc<Progress>,
        clock: Arc<dyn Clock>,
        interval: Option<Duration>,
    ) -> std::io::Result<Self> {
        let desk = Arc::new(Desk {
            maintenance: Mutex::new(maintenance),
            books: TableBooks {
                book: raw.book().clone(),
                clock: clock.clone(),
                destruction: (ledger::Destruction::Expired, Ground::Term),
            },
            raw,
            progress,
            clock,
            chores: Arc::new(Chores::default()),
            bell: Bell::default(),
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
            // Who asked for a run does the same.
            let Some(mut maintenance) = self.maintenance.try_lock() else { continue };
            let work = if self.raw.has_clock_jumped() {
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
            let goes_on = self.bell.pause(took.min(REST_TIME_MAX));
            began = self.clock.monotonic();
            goes_on
        };
        let done = maintenance.run(work, urgency, books, &mut goes_on).and_then(|mut done| {
            if matches!(work, Work::Expire | Work::Both) {
                let tabled = Sequence(self.progress.committed.load(Ordering::Relaxed));
                let expired = self.raw.expire(tabled);
                done.destroyed += expired.map_err(|error| SourceError(error.to_string()))?;
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
        if is_held(&self.book) {
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

fn failed(error: ledger::Error) -> SourceError {
    SourceError(error.to_string())
}
