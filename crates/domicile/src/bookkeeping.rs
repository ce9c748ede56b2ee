//! Double-entry bookkeeping: what became durable is entered in the center's ledger, on a thread of its own.
//!
//! A sealed batch is entered, and only when its entry is committed do the tables take it and does the journal free its segment. So
//! a ledger that can't sign holds up the journal, in the end the vehicles, and never lets an acknowledged frame pass unrecorded.
//! Changes of the registry and imports of records are durable before they are entered here; what a crash leaves unentered the
//! next start enters ([`Book::reconcile`]).

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use ledger::{
    About, Book, Entry, Label, Ledger, Meaning, Pending, Read, Refused, SignedCheckpoint, VerifierKey, Word,
};
use model::Clock;
use parking_lot::{Condvar, Mutex};
use store::{Keyring, OnSealed, Release, SealedBatch};

use crate::api::OfficeError;
use crate::observe::Metrics;
use crate::pki::replace_file;

/// How often refusals are entered: the ledger speaks of minutes.
const REFUSALS_TIME: Duration = Duration::from_secs(60);

/// First and longest pause after a failed step, and how long one waits for a receipt before it looks whether the program ends.
const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(10);
const RECEIPT_TIME: Duration = Duration::from_millis(500);

/// How long a command that has opened the folder itself waits for the ledger, and a center that ends. What is not entered by then
/// the next start enters.
const CLOSE_TIME: Duration = Duration::from_secs(10);

/// How often the newest checkpoint is noted in the center's folder. It is a lower bound: a rolled-back store is found out as long as
/// it lost more than the last seconds, and the cosigners know the rest.
const SEEN_TIME: Duration = Duration::from_secs(10);

/// What is called with each batch once it is entered.
pub(crate) type OnEntered = Box<dyn Fn(&SealedBatch) + Send>;

/// The newest checkpoint that this center is known to have published, kept beside the store, so that a store that was rolled back
/// behind our back is told.
pub(crate) struct Seen {
    path: PathBuf,
}

/// The running bookkeeper.
pub(crate) struct Bookkeeper {
    desk: Arc<Desk>,
    book: Book,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// What a witness says that has cosigned another history of this log; `None` while none says so.
    disputed: Mutex<Option<String>>,
}

/// What waits to be entered.
#[derive(Default)]
struct Desk {
    waiting: Mutex<Waiting>,
    called: Condvar,
    /// With `waiting`: the thread has ended.
    ended: Condvar,
}

#[derive(Default)]
struct Waiting {
    /// As many as the journal has segments at most, because each holds one back.
    sealed: VecDeque<(SealedBatch, Release)>,
    /// The registry has written a control object, or an import of records.
    has_changes: bool,
    /// What is called with each batch once it is entered.
    on_entered: Option<OnEntered>,
    /// Why the ledger does not take what is brought; `None` while it does.
    failing: Option<String>,
    is_ending: bool,
    has_ended: bool,
}

/// The bookkeeper's work, on its thread or by hand.
pub(crate) struct Worker {
    /// Goes first: who waits for the end is told.
    _ending: Ending,
    desk: Arc<Desk>,
    book: Book,
    meaning: PayloadMeaning,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    seen: Seen,
    refusals_at: Duration,
    seen_at: Duration,
    /// Whether what earlier runs left unentered is entered.
    is_reconciled: bool,
    /// How long one waits for a receipt before it looks whether the program ends; by hand not at all.
    receipt_time: Option<Duration>,
}

impl Seen {
    /// The note of a center's folder.
    pub(crate) fn of(folder: &Path) -> Self {
        Self { path: folder.join("ledger.seen") }
    }

    /// Holds the log in the store against what was noted.
    ///
    /// # Errors
    /// [`OfficeError::RolledBack`] where the log is shorter, or another one.
    pub(crate) fn check(&self, ledger: &Ledger, key: &VerifierKey) -> Result<(), OfficeError> {
        let Some(noted) = self.read() else { return Ok(()) };
        let rolled_back =
            |size: u64, what: String| OfficeError::RolledBack { path: self.path.clone(), size, what };
        let noted = SignedCheckpoint::open(&noted, key).map_err(|error| rolled_back(0, error.to_string()))?;
        match ledger.check_extends(&noted) {
            Err(ledger::Error::RolledBack { ours, seen }) => {
                Err(rolled_back(seen, format!("it has {ours} entries")))
            }
            Err(error @ ledger::Error::Forked { size }) => Err(rolled_back(size, error.to_string())),
            checked => Ok(checked?),
        }
    }

    /// The noted checkpoint; `None` where there is none.
    pub(crate) fn read(&self) -> Option<String> {
        std::fs::read_to_string(&self.path).ok()
    }

    /// Notes a checkpoint. Where that fails it is said: the next one is noted.
    pub(crate) fn write(&self, checkpoint: &str) {
        if let Err(error) = replace_file(&self.path, checkpoint.as_bytes(), 0o600) {
            tracing::warn!(%error, "the newest checkpoint can't be noted beside the store");
        }
    }
}

impl Bookkeeper {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start(
        book: Book,
        seen: Seen,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        keyring: Keyring,
    ) -> std::io::Result<Self> {
        let (bookkeeper, mut worker) = Self::by_hand(book, seen, clock, metrics, keyring);
        worker.receipt_time = Some(RECEIPT_TIME);
        let thread =
            std::thread::Builder::new().name("ledger-record".to_owned()).spawn(move || worker.run())?;
        *bookkeeper.thread.lock() = Some(thread);
        Ok(bookkeeper)
    }

    /// As [`Bookkeeper::start`], but that nothing is entered before the worker is told to.
    pub(crate) fn by_hand(
        book: Book,
        seen: Seen,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        keyring: Keyring,
    ) -> (Self, Worker) {
        let desk = Arc::new(Desk::default());
        let now = clock.monotonic();
        let worker = Worker {
            _ending: Ending(Arc::clone(&desk)),
            desk: Arc::clone(&desk),
            book: book.clone(),
            meaning: PayloadMeaning { keyring },
            clock,
            metrics,
            seen,
            refusals_at: now + REFUSALS_TIME,
            seen_at: now + SEEN_TIME,
            is_reconciled: false,
            receipt_time: None,
        };
        (Self { desk, book, thread: Mutex::default(), disputed: Mutex::default() }, worker)
    }

    /// The book that is kept.
    pub(crate) fn book(&self) -> &Book {
        &self.book
    }

    /// Whom to tell of each batch once it is entered. Set before there is a journal.
    #[cfg(feature = "lake")]
    pub(crate) fn tell(&self, on_entered: OnEntered) {
        self.desk.waiting.lock().on_entered = Some(on_entered);
    }

    /// What the sealing thread calls.
    pub(crate) fn on_sealed(&self) -> OnSealed {
        let desk = Arc::clone(&self.desk);
        Box::new(move |batch, release| {
            desk.waiting.lock().sealed.push_back((batch, release));
            desk.called.notify_all();
        })
    }

    /// What the registry calls after each change: never waits.
    pub(crate) fn on_recorded(&self) -> impl Fn() + Send + Sync + 'static {
        let desk = Arc::clone(&self.desk);
        move || {
            desk.waiting.lock().has_changes = true;
            desk.called.notify_all();
        }
    }

    /// Enters that somebody privileged looked. Waits while the ledger's queue is full.
    ///
    /// # Errors
    /// Where the ledger takes no entries: then nobody looks.
    pub(crate) fn looked(&self, role: &str, what: &str) -> Result<(), ledger::Error> {
        let read = Read { role: word(role)?, what: word(what)?, from: Word::of("inside") };
        self.book.enter(&Entry::Read(read)).map(drop)
    }

    /// Enters that a copy of a table is handed out, as a role may see it.
    ///
    /// # Errors
    /// Where the ledger takes no entries: then nothing is handed out.
    pub(crate) fn copied(&self, role: &str, table: &str) -> Result<(), ledger::Error> {
        self.looked(role, &format!("copy-{table}"))
    }

    /// Why the ledger does not take what is brought; `None` while it does.
    pub(crate) fn failing(&self) -> Option<String> {
        self.desk.waiting.lock().failing.clone()
    }

    /// Notes what the witnesses said in the last round of another history of this log.
    pub(crate) fn dispute(&self, words: Option<String>) {
        let mut disputed = self.disputed.lock();
        if let Some(words) = words.as_ref().filter(|_| disputed.is_none()) {
            tracing::error!("a witness disputes this log: {words}");
        }
        *disputed = words;
    }

    /// Whether a witness has cosigned another history of this log.
    pub(crate) fn is_disputed(&self) -> bool {
        self.disputed.lock().is_some()
    }

    /// Enters what waits, ends the thread and closes the ledger. Blocks. Returns whether everything is entered.
    pub(crate) fn close(&self) -> bool {
        let mut waiting = self.desk.waiting.lock();
        waiting.is_ending = true;
        self.desk.called.notify_all();
        let is_running = |waiting: &mut Waiting| !waiting.has_ended;
        if self.desk.ended.wait_while_for(&mut waiting, is_running, CLOSE_TIME).timed_out() {
            // It waits for room in a queue that does not move: a closed ledger turns it back.
            drop(waiting);
            self.book.ledger().close(Duration::ZERO);
        } else {
            drop(waiting);
        }
        let thread = self.thread.lock().take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!(
                "the bookkeeping thread ended by a defect of the program; the next start resumes its work"
            );
        }
        self.book.ledger().close(CLOSE_TIME)
    }
}

impl Drop for Bookkeeper {
    /// What a command changed in a folder that it had opened itself is entered before it ends.
    fn drop(&mut self) {
        self.close();
    }
}

/// Tells that the thread has ended, also where it ends by a panic.
struct Ending(Arc<Desk>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.waiting.lock().has_ended = true;
        self.0.ended.notify_all();
    }
}

impl Worker {
    fn run(mut self) {
        let mut pause = RETRY_MIN;
        loop {
            let is_ending = self.desk.waiting.lock().is_ending;
            match self.work(is_ending) {
                Ok(()) => {
                    pause = RETRY_MIN;
                    self.desk.waiting.lock().failing = None;
                    if is_ending {
                        return;
                    }
                    self.sleep();
                }
                Err(error) => {
                    let text = error.to_string();
                    let mut waiting = self.desk.waiting.lock();
                    if waiting.failing.as_ref() != Some(&text) {
                        tracing::error!(error = %text, "the ledger takes no entries; the journal keeps what is not entered");
                    }
                    waiting.failing = Some(text);
                    if is_ending {
                        return;
                    }
                    let _ =
                        self.desk.called.wait_while_for(&mut waiting, |waiting| !waiting.is_ending, pause);
                    pause = (pause * 2).min(RETRY_MAX);
                }
            }
        }
    }

    /// Enters what waits and frees the segments of what is committed. To be called again while there is more.
    ///
    /// # Errors
    /// Where the ledger or the store fails; what waits stays where it is.
    #[cfg(test)]
    pub(crate) fn step(&mut self) -> Result<(), ledger::Error> {
        self.work(false)
    }

    /// Enters all that waits. While no cosigner has said what it saw, nothing can be: what waits stays where it is.
    fn work(&mut self, is_ending: bool) -> Result<(), ledger::Error> {
        if self.book.ledger().status().held {
            return Ok(());
        }
        if !self.is_reconciled {
            let done = self.book.reconcile(&self.meaning)?;
            if done.adopted {
                tracing::info!(
                    entries = done.entered,
                    "entered what this center held from before the ledger"
                );
            }
            self.is_reconciled = true;
        }
        if std::mem::take(&mut self.desk.waiting.lock().has_changes)
            && let Err(error) = self.book.enter_changes(&self.meaning)
        {
            self.desk.waiting.lock().has_changes = true;
            return Err(error);
        }
        if !self.enter_batches()? {
            return Ok(());
        }
        let now = self.clock.monotonic();
        if is_ending || now >= self.refusals_at {
            self.refusals_at = now + REFUSALS_TIME;
            self.enter_refusals()?;
        }
        if is_ending || now >= self.seen_at {
            self.seen_at = now + SEEN_TIME;
            if let Some(published) = self.book.ledger().published() {
                self.seen.write(published.note());
            }
        }
        Ok(())
    }

    /// Enters the sealed batches; `false` where the program ends before a receipt is there.
    fn enter_batches(&self) -> Result<bool, ledger::Error> {
        loop {
            // The segment's release stays in the queue until the entry is committed.
            let next = self.desk.waiting.lock().sealed.front().map(|(batch, _)| batch.clone());
            let Some(batch) = next else { return Ok(true) };
            let pending = self.book.enter_batch(&batch)?;
            if !self.committed(pending)? {
                return Ok(false);
            }
            let mut waiting = self.desk.waiting.lock();
            if let Some(on_entered) = &waiting.on_entered {
                on_entered(&batch);
            }
            let released = waiting.sealed.pop_front();
            drop(waiting);
            if let Some((_, release)) = released {
                release.release();
            }
        }
    }

    /// Waits for an entry's receipt; `false` where the program ends before there is one. Without the entry at hand (an earlier try has
    /// queued it) it waits for all that is queued.
    fn committed(&self, pending: Option<Pending>) -> Result<bool, ledger::Error> {
        let ledger = self.book.ledger();
        let status = ledger.status();
        let queued = status.size + status.waiting as u64;
        loop {
            let time = self.receipt_time.unwrap_or_default();
            let is_committed = match &pending {
                Some(pending) => pending.wait(time)?.is_some(),
                None => queued == 0 || ledger.wait_for_size_above(queued - 1, time) >= queued,
            };
            if is_committed || self.receipt_time.is_none() {
                return Ok(is_committed);
            }
            if let Some(reason) = ledger.status().failed {
                return Err(ledger::Error::Failed { reason });
            }
            if self.desk.waiting.lock().is_ending {
                return Ok(false);
            }
        }
    }

    fn enter_refusals(&self) -> Result<(), ledger::Error> {
        for (pack, protocol, reason, count) in self.metrics.take_refusals() {
            let refused = Refused {
                protocol: word(protocol.as_str())?,
                reason: word(reason)?,
                count: About::of(count),
                pack: label(&pack.to_string())?,
            };
            let _follows = self.book.enter(&Entry::Refused(refused))?;
        }
        Ok(())
    }

    fn sleep(&self) {
        let is_held = self.book.ledger().status().held;
        let mut waiting = self.desk.waiting.lock();
        if is_held {
            let _ = self.desk.called.wait_while_for(&mut waiting, |waiting| !waiting.is_ending, RECEIPT_TIME);
            return;
        }
        let until = self.refusals_at.min(self.seen_at).saturating_sub(self.clock.monotonic());
        let is_idle =
            |waiting: &mut Waiting| waiting.sealed.is_empty() && !waiting.has_changes && !waiting.is_ending;
        let _ = self.desk.called.wait_while_for(&mut waiting, is_idle, until);
    }
}

/// A word of this program for an entry.
fn word(text: &str) -> Result<Word, ledger::Error> {
    text.parse().map_err(|rule| ledger::Error::Malformed { what: "entry", why: format!("{text}: {rule}") })
}

fn label(text: &str) -> Result<Label, ledger::Error> {
    text.parse().map_err(|rule| ledger::Error::Malformed { what: "entry", why: format!("{text}: {rule}") })
}

/// What the ledger must know of payloads that only other rooms read.
struct PayloadMeaning {
    keyring: Keyring,
}

impl Meaning for PayloadMeaning {
    fn pack_version(&self, pack: &[u8]) -> Option<String> {
        let pack = policy::Pack::parse(std::str::from_utf8(pack).ok()?).ok()?;
        Some(pack.version().to_string())
    }

    fn records(&self, records: &Bytes) -> Option<(Word, u64)> {
        let (kind, rows) = registry::records_of(records.clone(), &self.keyring)?;
        Some((kind.map_or("erased", registry::RecordKind::as_str).parse().ok()?, rows))
    }
}
