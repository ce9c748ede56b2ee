//! Erasures to their end: one thread that takes the open ones of the registry, also those that a crash cut, and goes on until a
//! certificate can be signed.
//!
//! The order: what the journal took in before the erasure is sealed and its segments are overwritten, and the tables take it;
//! the data keys are destroyed, and with them raw frames, records and personal fields; the tables' files that held rows, those that
//! others stand for, and the tables' logs are destroyed, each with its entry in the ledger; then the certificate is signed and
//! noted in the registry. Each step can be done twice, so that after a crash all of them are done again.

mod certificate;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use model::{Clock, Sequence, UtcMicros};
use parking_lot::Mutex;
use registry::{Erasure, Registry};
use store::Journal;

use crate::bell::Bell;
use crate::bookkeeping::Bookkeeper;
use crate::center::{Center, CenterError, Packs};
#[cfg(feature = "lake")]
use crate::deriving::Derivers;
#[cfg(feature = "lake")]
use crate::housekeeping::Housekeeper;
#[cfg(feature = "lake")]
use crate::pipeline::Progress;

pub(crate) use certificate::{Certificate, commit, deadline, last_day, verify};

/// How long one step is waited for before it is looked whether the program ends.
const STEP_TIME: Duration = Duration::from_millis(500);

/// How long apart it is looked whether something that is waited for is so.
const LOOK_TIME: Duration = Duration::from_millis(50);

/// Pauses after an erasure that failed: first and longest.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// Why an erasure can't go on. It is tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ErasureError {
    #[error(transparent)]
    Registry(#[from] registry::Error),
    #[cfg(feature = "lake")]
    #[error(transparent)]
    Lake(#[from] lake::Error),
    /// Boxed, because it is much larger than the others.
    #[error(transparent)]
    Center(Box<CenterError>),
    #[error(transparent)]
    Ledger(#[from] ledger::Error),
    #[error("the program ends")]
    Ending,
}

impl From<CenterError> for ErasureError {
    fn from(error: CenterError) -> Self {
        Self::Center(Box::new(error))
    }
}

/// What was destroyed of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TableErased {
    pub(crate) table: String,
    pub(crate) rows: u64,
    pub(crate) files: u64,
}

/// What was destroyed of the tables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TablesErased {
    pub(crate) tables: Vec<TableErased>,
    /// Data files and commits of the tables' logs that were destroyed.
    pub(crate) objects: u64,
}

/// The rooms that an erasure needs.
pub(crate) struct Parts {
    pub(crate) registry: Arc<Registry>,
    pub(crate) journal: Journal,
    pub(crate) center: Arc<Center>,
    pub(crate) packs: Arc<Packs>,
    pub(crate) books: Arc<Bookkeeper>,
    pub(crate) clock: Arc<dyn Clock>,
    #[cfg(feature = "lake")]
    pub(crate) tables: Option<(Arc<Housekeeper>, Arc<Progress>, Arc<Derivers>)>,
}

/// The running thread.
pub(crate) struct Eraser {
    desk: Arc<Desk>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The work of the thread.
pub(crate) struct Desk {
    parts: Parts,
    bell: Bell,
    failing: Mutex<Option<String>>,
    failures: AtomicU64,
}

impl Eraser {
    /// Starts the thread; it takes what earlier runs left open first.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start(parts: Parts) -> std::io::Result<Self> {
        let desk = Arc::new(Desk::new(parts));
        desk.bell.call();
        let working = Arc::clone(&desk);
        let thread = std::thread::Builder::new().name("eraser".to_owned()).spawn(move || working.run())?;
        Ok(Self { desk, thread: Mutex::new(Some(thread)) })
    }

    /// Tells that there is something to erase.
    pub(crate) fn call(&self) {
        self.desk.bell.call();
    }

    /// Why the last try failed; `None` where it did not.
    pub(crate) fn failing(&self) -> Option<String> {
        self.desk.failing.lock().clone()
    }

    /// Tries that failed since the start.
    pub(crate) fn failures(&self) -> u64 {
        self.desk.failures.load(Ordering::Relaxed)
    }

    /// Open erasures, and those of them whose deadline is over.
    pub(crate) fn open(&self) -> (u64, u64) {
        let parts = &self.desk.parts;
        let open = parts.registry.erasures().unwrap_or_default();
        let pack = &parts.packs.in_force().pack;
        let today = pack.day(parts.clock.now());
        let open = || open.iter().filter(|erasure| erasure.done.is_none());
        let overdue = open().filter(|erasure| deadline(pack, erasure.asked_at) < today);
        (open().count() as u64, overdue.count() as u64)
    }

    /// Lets the thread end after its step; what is open the next start goes on with.
    pub(crate) fn end(&self) {
        self.desk.bell.end();
    }

    /// Ends the thread. Blocks.
    pub(crate) fn finish(&self) {
        self.end();
        if self.thread.lock().take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the eraser ended by a defect of the program; the next start goes on with it");
        }
    }
}

impl Desk {
    pub(crate) fn new(parts: Parts) -> Self {
        Self { parts, bell: Bell::default(), failing: Mutex::default(), failures: AtomicU64::new(0) }
    }

    fn run(&self) {
        let mut pause = RETRY_MIN;
        while self.bell.wait() {
            match self.work() {
                Ok(()) => {
                    pause = RETRY_MIN;
                    *self.failing.lock() = None;
                }
                Err(ErasureError::Ending) => return,
                Err(error) => {
                    self.failures.fetch_add(1, Ordering::Relaxed);
                    tracing::error!(%error, "an erasure can't go on; trying again");
                    *self.failing.lock() = Some(error.to_string());
                    self.bell.call();
                    self.bell.pause(pause);
                    pause = (pause * 2).min(RETRY_MAX);
                }
            }
        }
    }

    /// Goes on with what is open, to its end.
    pub(crate) fn work(&self) -> Result<(), ErasureError> {
        let mut open = self.parts.registry.erasures()?;
        open.retain(|erasure| erasure.done.is_none());
        // Oldest first.
        while let Some(erasure) = open.pop() {
            self.erase(&erasure)?;
        }
        Ok(())
    }

    fn erase(&self, erasure: &Erasure) -> Result<(), ErasureError> {
        let Parts { registry, journal, .. } = &self.parts;
        // Nothing comes in any more under what is to be destroyed; what came before is followed through.
        let through = journal.raise_barrier(registry.version());
        self.until(|| journal.wait_freed(through, STEP_TIME))?;
        self.tabled(through)?;
        registry.destroy_keys(erasure)?;
        let tables = self.erase_tables(erasure)?;
        let facts = certificate::Facts {
            center: &self.parts.center,
            pack: &self.parts.packs.in_force().pack,
            checkpoint: self.parts.books.book().ledger().checkpoint(),
            done_at: self.now(),
            tables: &tables,
        };
        let certificate = certificate::sign(erasure, &facts, &self.parts.center.log_key()?)?;
        registry.erasure_done(erasure.number, &certificate)?;
        tracing::info!(number = erasure.number, "an erasure is done");
        Ok(())
    }

    /// Waits until the tables have all frames up to this one.
    #[cfg(feature = "lake")]
    fn tabled(&self, through: Sequence) -> Result<(), ErasureError> {
        let Some((_, progress, _)) = &self.parts.tables else { return Ok(()) };
        self.until(|| progress.committed.load(Ordering::Relaxed) >= through.0)
    }

    #[cfg(not(feature = "lake"))]
    fn tabled(&self, _through: Sequence) -> Result<(), ErasureError> {
        Ok(())
    }

    #[cfg(feature = "lake")]
    fn erase_tables(&self, erasure: &Erasure) -> Result<TablesErased, ErasureError> {
        let Some((housekeeper, _, derivers)) = &self.parts.tables else { return Ok(TablesErased::default()) };
        let done = housekeeper.erase(ground(erasure))?;
        if !done.is_clean {
            return Err(ErasureError::Ending);
        }
        // What was worked out of the rows; it is worked out anew without them.
        derivers.forget(erasure.vehicle)?;
        let mut erased =
            TablesErased { tables: Vec::new(), objects: done.destroyed + done.discarded + done.commits };
        for step in &done.steps {
            let known = erased.tables.iter().position(|table| table.table == step.table);
            let place = known.unwrap_or_else(|| {
                erased.tables.push(TableErased { table: step.table.to_owned(), ..TableErased::default() });
                erased.tables.len() - 1
            });
            erased.tables[place].rows += step.erased;
            erased.tables[place].files += step.files_removed;
        }
        Ok(erased)
    }

    #[cfg(not(feature = "lake"))]
    fn erase_tables(&self, _erasure: &Erasure) -> Result<TablesErased, ErasureError> {
        Ok(TablesErased::default())
    }

    /// Looks until it is so.
    fn until(&self, mut is_so: impl FnMut() -> bool) -> Result<(), ErasureError> {
        while !is_so() {
            if !self.bell.pause(LOOK_TIME) {
                return Err(ErasureError::Ending);
            }
        }
        Ok(())
    }

    fn now(&self) -> UtcMicros {
        self.parts.clock.now()
    }
}

#[cfg(feature = "lake")]
fn ground(erasure: &Erasure) -> ledger::entry::Ground {
    match erasure.ground {
        registry::ErasureGround::Request => ledger::entry::Ground::Request,
        registry::ErasureGround::Withdrawal => ledger::entry::Ground::Withdrawal,
        registry::ErasureGround::Order => ledger::entry::Ground::Order,
    }
}
