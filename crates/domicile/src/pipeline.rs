//! From durable frames to tables: follow the journal, decode, show the rows to queries, and commit each sealed batch exactly
//! once. A start after a crash takes the same steps, beginning with the batches that the tables don't hold yet.
//!
//! It has a thread of its own and never delays an acknowledgement: what it can't keep up with waits in the journal and in the
//! batches, not in memory.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use lake::{BatchRange, Changes, Commit, LakeWriter};
use ledger::{Book, TableVersion};
use model::{Event, Frame, GatewayName, Position, Reading, ReadingSink, Sequence};
use parking_lot::Mutex;
use store::{BatchName, Journal, SealedBatch, Store, Tail, TailError};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use crate::observe::Metrics;

/// Sealed batches that may wait to be committed; more are found in the store again when their turn comes. At one each 10 s this
/// is an hour.
const SEALED_MAX: usize = 360;

/// How long new frames are left to gather before they are decoded: rows show in queries within this time and a little more,
/// and the processor is not woken for every flush of the journal.
const GATHER_TIME: Duration = Duration::from_millis(50);

/// Pauses after a failed commit: first and longest.
const RETRY_TIME_MIN: Duration = Duration::from_millis(500);
const RETRY_TIME_MAX: Duration = Duration::from_secs(30);

/// Entries that may wait in the ledger's queue before table versions are left for later.
const LEDGER_WAITING_MAX: usize = 1_024;

/// The longest sleep without anything to do, so that a missed call is only a delay.
const SLEEP_TIME_MAX: Duration = Duration::from_secs(1);

/// Why the pipeline can't go on with a step. The step is repeated.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PipelineError {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Lake(#[from] lake::Error),
    #[error(transparent)]
    Tail(#[from] TailError),
    #[error(transparent)]
    Ledger(#[from] ledger::Error),
}

/// Takes sealed batches from the sealing thread, without ever making it wait.
#[derive(Default)]
pub(crate) struct Inbox {
    sealed: Mutex<Waiting>,
    called: Notify,
}

#[derive(Default)]
struct Waiting {
    batches: VecDeque<Sealed>,
    /// Some had no room: they are listed from the store.
    is_incomplete: bool,
}

/// A sealed batch that is to be committed.
#[derive(Clone)]
struct Sealed {
    name: BatchName,
    range: BatchRange,
}

impl Inbox {
    /// Takes one.
    pub(crate) fn put(&self, batch: &SealedBatch) {
        let range = BatchRange { first: batch.first, last: batch.last, frames: batch.frames };
        let mut waiting = self.sealed.lock();
        if waiting.batches.len() < SEALED_MAX {
            waiting.batches.push_back(Sealed { name: batch.name.clone(), range });
        } else {
            waiting.is_incomplete = true;
        }
        drop(waiting);
        self.called.notify_one();
    }
}

/// What the pipeline has done and how far it is.
#[derive(Default)]
pub(crate) struct Progress {
    /// Every frame up to here is decoded or in a committed batch.
    pub(crate) decoded: AtomicU64,
    /// Every frame up to here is in the tables' files.
    pub(crate) committed: AtomicU64,
    /// Readings, positions and events decoded.
    pub(crate) rows: AtomicU64,
    /// Signals and items that the catalogue doesn't know.
    pub(crate) unknown: AtomicU64,
    /// Commits that failed and were or are repeated.
    pub(crate) failures: AtomicU64,
    /// Whether the last step failed.
    pub(crate) is_failing: AtomicBool,
    /// Whether the thread runs.
    pub(crate) is_running: AtomicBool,
}

/// What the pipeline works with.
pub(crate) struct Parts {
    pub(crate) store: Arc<Store>,
    pub(crate) journal: Journal,
    pub(crate) gateway: GatewayName,
    pub(crate) writer: LakeWriter,
    pub(crate) inbox: Arc<Inbox>,
    /// Where table commits are entered.
    pub(crate) book: Book,
    pub(crate) context: wire::Context,
    pub(crate) metrics: Arc<Metrics>,
}

/// The running pipeline.
pub(crate) struct Pipeline {
    thread: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    inbox: Arc<Inbox>,
    pub(crate) progress: Arc<Progress>,
}

impl Pipeline {
    /// Starts the thread. Called inside the runtime, whose timers it uses.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start(parts: Parts) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let progress = Arc::new(Progress::default());
        let Parts { store, journal, gateway, writer, inbox, book, context, metrics } = parts;
        let covered = writer.covered().unwrap_or(Sequence(0));
        let tail = journal.tail(Sequence(covered.0 + 1));
        let mut worker = Worker {
            committed: journal.committed(),
            store,
            journal,
            gateway,
            writer,
            tail,
            inbox: inbox.clone(),
            book,
            decoder: Decoder { context, metrics, progress: progress.clone() },
            runtime: Handle::current(),
            stop: stop.clone(),
            waiting: VecDeque::new(),
            is_listed: false,
        };
        progress.is_running.store(true, Ordering::Relaxed);
        let thread = std::thread::Builder::new().name("decode".to_owned()).spawn(move || worker.run())?;
        Ok(Self { thread: Some(thread), stop, inbox, progress })
    }

    /// Decodes and commits all that is durable and sealed by now, and ends the thread. Blocks.
    pub(crate) fn finish(mut self) {
        self.stop.store(true, Ordering::Release);
        self.inbox.called.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(
                "the decoding thread ended by a defect of the program; the next start resumes its work"
            );
        }
    }
}

struct Worker {
    store: Arc<Store>,
    journal: Journal,
    gateway: GatewayName,
    writer: LakeWriter,
    tail: Tail,
    inbox: Arc<Inbox>,
    book: Book,
    decoder: Decoder,
    committed: watch::Receiver<Sequence>,
    runtime: Handle,
    stop: Arc<AtomicBool>,
    /// Sealed batches to be committed, oldest first.
    waiting: VecDeque<Sealed>,
    /// Whether the batches that earlier runs left behind are in `waiting`.
    is_listed: bool,
}

impl Worker {
    fn run(&mut self) {
        let mut retry = RETRY_TIME_MIN;
        loop {
            let is_ending = self.stop.load(Ordering::Acquire);
            match self.work() {
                Ok(()) => {
                    retry = RETRY_TIME_MIN;
                    self.decoder.progress.is_failing.store(false, Ordering::Relaxed);
                    if is_ending {
                        break;
                    }
                    self.sleep();
                }
                Err(error) => {
                    self.decoder.progress.failures.fetch_add(1, Ordering::Relaxed);
                    self.decoder.progress.is_failing.store(true, Ordering::Relaxed);
                    tracing::error!(%error, "the tables can't be written; frames stay in the journal and the batches");
                    if is_ending {
                        break;
                    }
                    std::thread::sleep(retry);
                    retry = (retry * 2).min(RETRY_TIME_MAX);
                }
            }
        }
        self.decoder.progress.is_running.store(false, Ordering::Relaxed);
    }

    /// Does all that can be done now.
    fn work(&mut self) -> Result<(), PipelineError> {
        if !self.is_listed {
            self.list_batches()?;
            self.is_listed = true;
        }
        loop {
            self.take_sealed();
            let is_due =
                self.waiting.front().is_some_and(|sealed| self.tail.next_sequence() > sealed.range.last);
            if is_due || (self.writer.is_full() && !self.waiting.is_empty()) {
                self.commit_first()?;
                continue;
            }
            if self.writer.is_full() || !self.decode_group()? {
                break;
            }
        }
        self.enter_tables()?;
        self.writer.learn();
        self.writer.examine();
        self.writer.publish();
        let decoded = self.tail.next_sequence().0.saturating_sub(1);
        self.decoder.progress.decoded.store(decoded, Ordering::Relaxed);
        Ok(())
    }

    /// Enters the versions of the tables that the ledger does not have yet: the commits just made, and those that a crash left.
    fn enter_tables(&mut self) -> Result<(), PipelineError> {
        // What a center from before the ledger holds is adopted first, tables included. And where the ledger does not move, this
        // thread must not wait in its queue: the versions are still there when it does.
        let ledger = self.book.ledger().status();
        if self.book.is_new() || ledger.held || ledger.failed.is_some() || ledger.waiting > LEDGER_WAITING_MAX
        {
            return Ok(());
        }
        for (table, newest) in self.writer.versions() {
            let entered = self.book.table_version(table);
            for version in entered.map_or(0, |entered| entered + 1)..=newest {
                let Changes { commit, mut added, removed } = self.writer.changes(table, version)?;
                added.push(commit);
                let version = TableVersion { table: table.to_owned(), version, added, removed };
                let _follows = self.book.enter_table_version(&version)?;
            }
        }
        Ok(())
    }

    /// Finds the sealed batches that the tables don't hold.
    fn list_batches(&mut self) -> Result<(), PipelineError> {
        let covered = self.writer.covered().unwrap_or(Sequence(0));
        self.decoder.progress.committed.store(covered.0, Ordering::Relaxed);
        let mut waiting = VecDeque::new();
        for name in self.store.batches_after(&self.gateway, covered)? {
            let batch = self.store.read_batch(&name)?;
            let header = batch.header();
            let range = BatchRange { first: header.first, last: header.last, frames: batch.frames() };
            waiting.push_back(Sealed { name, range });
        }
        self.waiting = waiting;
        Ok(())
    }

    fn take_sealed(&mut self) {
        let mut sealed = self.inbox.sealed.lock();
        let known = self.waiting.back().map(|sealed| sealed.range.last).max(self.writer.covered());
        self.waiting.extend(sealed.batches.drain(..).filter(|batch| Some(batch.range.last) > known));
        if self.waiting.is_empty() && std::mem::take(&mut sealed.is_incomplete) {
            self.is_listed = false;
        }
    }

    /// Commits the oldest sealed batch: from the rows that are there if they are complete, else from the batch.
    fn commit_first(&mut self) -> Result<(), PipelineError> {
        let Some(Sealed { name, range }) = self.waiting.front().cloned() else { return Ok(()) };
        let mut commit = self.writer.commit(range)?;
        if commit == Commit::NeedsRows {
            commit = self.commit_from_batch(&name, range)?;
        }
        self.waiting.pop_front();
        if self.tail.next_sequence() <= range.last {
            self.tail = self.journal.tail(Sequence(range.last.0 + 1));
        }
        self.decoder.progress.committed.store(range.last.0, Ordering::Relaxed);
        if let Commit::Done { rows, bytes } = commit {
            tracing::debug!(last = range.last.0, frames = range.frames, rows, bytes, "committed a batch");
        }
        Ok(())
    }

    fn commit_from_batch(&mut self, name: &BatchName, range: BatchRange) -> Result<Commit, PipelineError> {
        let batch = self.store.read_batch(name)?;
        let mut sink = self.writer.decode_batch(range);
        let decoder = &mut self.decoder;
        batch.for_each(self.store.keyring(), |row| {
            let rows = sink.begin_frame(row.sequence, row.vehicle, row.protocol, row.received_at);
            // A frame whose key was destroyed says nothing any more.
            if let Some(frame) = row.frame() {
                decoder.decode(&frame, rows);
            }
            Ok::<(), store::Error>(())
        })?;
        Ok(sink.finish()?)
    }

    /// Decodes the next group of durable frames; `false` when there is none.
    fn decode_group(&mut self) -> Result<bool, PipelineError> {
        match self.tail.next_group() {
            Ok(Some(group)) => {
                let segment = group.segment().0;
                for (sequence, frame) in group.frames() {
                    let rows = self.writer.begin_frame(
                        segment,
                        sequence,
                        frame.vehicle,
                        frame.protocol,
                        frame.received_at,
                    );
                    self.decoder.decode(&frame, rows);
                }
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(TailError::Overrun { resume }) => {
                // What was passed over lies in batches, which come one by one.
                self.tail = self.journal.tail(resume);
                Ok(true)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for something to do.
    fn sleep(&mut self) {
        let next = self.tail.next_sequence();
        let (committed, inbox) = (&mut self.committed, &self.inbox);
        self.runtime.block_on(async {
            let more = async {
                tokio::select! {
                    _ = committed.wait_for(|durable| *durable >= next) => {}
                    () = inbox.called.notified() => {}
                }
            };
            let _either_way = timeout(SLEEP_TIME_MAX, more).await;
            if !self.stop.load(Ordering::Acquire) {
                tokio::time::sleep(GATHER_TIME).await;
            }
        });
    }
}

/// Turns frames into rows.
struct Decoder {
    context: wire::Context,
    metrics: Arc<Metrics>,
    progress: Arc<Progress>,
}

impl Decoder {
    /// Decodes one frame. One that can't be decoded is counted and shown as an event; it never stops the others.
    fn decode(&mut self, frame: &Frame<'_>, sink: impl ReadingSink) {
        let mut counted = Counted { sink, rows: 0, unknown: 0 };
        let decoded =
            wire::decode(frame.protocol, frame.bytes, frame.received_at, &mut self.context, &mut counted);
        if let Err(error) = decoded {
            self.metrics.decode_failed(frame.protocol);
            counted.event(Event {
                time: frame.received_at,
                kind: "undecodable",
                code: code_of(&error),
                level: None,
                ended_at: None,
                // The text names rules and places, never content.
                detail: Some(&serde_json::json!({ "error": error.to_string() }).to_string()),
            });
        }
        self.progress.rows.fetch_add(counted.rows, Ordering::Relaxed);
        if counted.unknown > 0 {
            self.progress.unknown.fetch_add(counted.unknown, Ordering::Relaxed);
        }
    }
}

fn code_of(error: &wire::Unreadable) -> &'static str {
    match error {
        wire::Unreadable::Malformed(_) => "malformed",
        wire::Unreadable::Undecipherable(_) => "undecipherable",
    }
}

/// Counts what passes through it.
struct Counted<S> {
    sink: S,
    rows: u64,
    unknown: u64,
}

impl<S: ReadingSink> ReadingSink for Counted<S> {
    fn reading(&mut self, reading: Reading<'_>) {
        self.rows += 1;
        self.sink.reading(reading);
    }

    fn position(&mut self, position: Position) {
        self.rows += 1;
        self.sink.position(position);
    }

    fn event(&mut self, event: Event<'_>) {
        self.rows += 1;
        self.unknown += u64::from(event.kind.starts_with("unknown_"));
        self.sink.event(event);
    }
}
