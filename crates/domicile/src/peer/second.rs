//! Acknowledgements from two centers (`peer.ack_centers = 2`): a thread that pushes the journal's durable frames to the center that
//! holds the copy of this one, and lets vehicles be answered once that center has them in its own files.
//!
//! That center lets go of frames only when their batches lie in its copy, so at any time it has every acknowledged frame: in a
//! batch, or as pushed. While it is away nothing is acknowledged, or, as `peer.when_alone` says, frames are acknowledged from this
//! center alone: loudly, with an entry in the log.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use ledger::entry::{Degraded, Word};
use ledger::{Entry, Error};
use model::{CenterName, Clock, GatewayName, Sequence};
use parking_lot::Mutex;
use registry::Registry;
use store::{Journal, Tail, TailError};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::network::{Network, wrong};
use super::placement::holders;
use super::receipts::Receipts;
use crate::api::Rooms;
use crate::bookkeeping::Bookkeeper;
use crate::charter::{Charters, Member};
use crate::settings::WhenAlone;

/// What one push carries at most, beside its last group: larger ones hold up the answers to their first frames.
const PUSH_BYTES_MAX: usize = 4 << 20;
/// How long new frames are waited for before it is looked whether something else is to be said.
const LOOK_TIME: Duration = Duration::from_millis(100);
/// How long the other center may be silent before this one is alone: longer than its restart takes, shorter than vehicles wait.
const ALONE_TIME: Duration = Duration::from_secs(5);
/// First and longest pause after a push that failed.
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// How the second center stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SecondView {
    /// Who it is; empty before there is one.
    pub(crate) center: String,
    /// Every frame up to here lies there too.
    pub(crate) held: u64,
    /// Bytes that are acknowledged, or would be, and lie here alone.
    pub(crate) bytes_at_risk: u64,
    /// Whether frames are acknowledged from this center alone.
    pub(crate) is_degraded: bool,
    /// Why the last push failed; empty where it did not.
    pub(crate) problem: String,
}

/// The running thread.
pub(crate) struct Second {
    view: Arc<Mutex<SecondView>>,
    is_ending: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Second {
    /// Starts it; from when this returns no frame is acknowledged from here alone. Called inside the runtime.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub(super) fn start(
        rooms: &Rooms,
        network: Arc<dyn Network>,
        receipts: Arc<Receipts>,
        journal: &Journal,
        clock: Arc<dyn Clock>,
    ) -> std::io::Result<Self> {
        let mut pusher = Pusher::new(rooms, network, receipts, journal, clock);
        let (view, is_ending) = (pusher.view.clone(), Arc::new(AtomicBool::new(false)));
        let (ends, runtime) = (is_ending.clone(), Handle::current());
        let thread = std::thread::Builder::new().name("second-center".to_owned());
        let thread = thread.spawn(move || pusher.run(&runtime, &ends))?;
        Ok(Self { view, is_ending, thread: Mutex::new(Some(thread)) })
    }

    /// How it stands.
    pub(crate) fn view(&self) -> SecondView {
        self.view.lock().clone()
    }

    /// Ends the thread. Blocks.
    pub(super) fn finish(&self) {
        self.is_ending.store(true, Ordering::Relaxed);
        if self.thread.lock().take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!(
                "the thread that pushes frames to another center ended by a defect of the program"
            );
        }
    }
}

/// The work of the thread.
pub(super) struct Pusher {
    own: CenterName,
    gateway: GatewayName,
    when_alone: WhenAlone,
    charters: Arc<Charters>,
    books: Arc<Bookkeeper>,
    registry: Arc<Registry>,
    journal: Journal,
    network: Arc<dyn Network>,
    receipts: Arc<Receipts>,
    clock: Arc<dyn Clock>,
    view: Arc<Mutex<SecondView>>,
    tail: Tail,
    /// Frames up to here were pushed or lie in batches.
    pushed: Sequence,
    /// Those of them whose vehicles the other center knows too: they may be acknowledged.
    held: Sequence,
    /// Frames up to the first were pushed; their vehicles are known where so many changes of this center's registry are taken over.
    unknown: VecDeque<(Sequence, u64)>,
    /// Some frames up to there were sealed before they were pushed: they are held once the other center has so many entries of the log.
    unproven: Option<u64>,
    /// Frames up to the first are in batches that the log has within its first so many entries.
    freed: VecDeque<(Sequence, u64)>,
    /// The other center may let go of frames up to here.
    freeable: Sequence,
    /// The other center was told that it may let go of frames up to here.
    released: Sequence,
    /// When the other center last had everything.
    heard_at: Duration,
    /// Bytes that the journal had taken then.
    bytes_held: u64,
    is_degraded: bool,
}

impl Pusher {
    /// From when this returns no frame is acknowledged from here alone.
    pub(super) fn new(
        rooms: &Rooms,
        network: Arc<dyn Network>,
        receipts: Arc<Receipts>,
        journal: &Journal,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let oldest = journal.oldest();
        let held = Sequence(oldest.0.saturating_sub(1));
        // Nobody waits for what an earlier run took in.
        journal.acknowledge(Some(held));
        Self {
            own: rooms.center.genesis.center(),
            gateway: rooms.center.gateway(),
            when_alone: rooms.center.settings.peer.when_alone,
            charters: rooms.charters.clone(),
            books: rooms.books.clone(),
            registry: rooms.registry.clone(),
            journal: journal.clone(),
            network,
            receipts,
            view: Arc::default(),
            tail: journal.tail(oldest),
            pushed: held,
            held,
            unknown: VecDeque::new(),
            unproven: None,
            freed: VecDeque::new(),
            freeable: Sequence(0),
            released: Sequence(0),
            heard_at: clock.monotonic(),
            bytes_held: journal.stats().bytes(),
            is_degraded: false,
            clock,
        }
    }

    fn run(&mut self, runtime: &Handle, is_ending: &AtomicBool) {
        let mut pause = RETRY_MIN;
        let mut complaint = String::new();
        while !is_ending.load(Ordering::Relaxed) {
            self.wait_for_news(runtime);
            match self.step() {
                Ok(()) => (pause, complaint) = (RETRY_MIN, String::new()),
                Err(error) => {
                    let text = error.to_string();
                    if text != complaint {
                        tracing::warn!(error = %text, "no second center takes frames");
                        complaint = text;
                    }
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(RETRY_MAX);
                }
            }
        }
    }

    /// Whether frames are acknowledged from here alone.
    #[cfg(test)]
    pub(super) fn is_degraded(&self) -> bool {
        self.is_degraded
    }

    /// Pushes what is new, answers vehicles, and sees whether this center is alone. Waits for nothing but the other center.
    pub(super) fn step(&mut self) -> Result<(), Error> {
        let pushed = self.push();
        match &pushed {
            Ok(()) => self.view.lock().problem.clear(),
            Err(error) => {
                self.view.lock().problem = error.to_string();
                self.tail = self.journal.tail(Sequence(self.pushed.0 + 1));
            }
        }
        self.judge();
        pushed
    }

    /// Pushes what is new, and answers vehicles.
    fn push(&mut self) -> Result<(), Error> {
        let member = self.second()?;
        let (text, last) = self.gather(&member.name)?;
        let freed = self.freed(&member.name);
        if last > self.pushed {
            // The vehicles of these frames are known to this state of the registry.
            self.unknown.push_back((last, self.registry.version().0));
        }
        if !text.is_empty() || freed > self.released || !self.unknown.is_empty() {
            let source = self.network.peer(&member, &self.own)?;
            let adopted = source.push_frames(&self.gateway, freed, text)?;
            self.released = self.released.max(freed);
            while let Some((through, _)) = self.unknown.front().filter(|(_, version)| *version <= adopted) {
                self.held = self.held.max(*through);
                self.unknown.pop_front();
            }
        }
        self.pushed = self.pushed.max(last);
        if let Some(size) = self.unproven
            && self.receipts.held_by(&member.name) >= size
        {
            self.unproven = None;
        }
        if self.unproven.is_none() {
            if !self.is_degraded {
                self.journal.acknowledge(Some(self.held));
            }
            if self.held >= *self.journal.committed().borrow() {
                self.heard_at = self.clock.monotonic();
                self.bytes_held = self.journal.stats().bytes();
            }
        }
        let mut view = self.view.lock();
        (view.center, view.held) = (member.name.to_string(), self.held.0);
        Ok(())
    }

    /// The center that is to have frames too: the one that is to hold the copy of this one.
    fn second(&self) -> Result<Member, Error> {
        let nobody = || {
            wrong(&self.own, "the charter names no other center that could have its frames too".to_owned())
        };
        let in_force = self.charters.in_force().ok_or_else(nobody)?;
        holders(&in_force.charter, &self.own).first().map(|member| (*member).clone()).ok_or_else(nobody)
    }

    fn wait_for_news(&self, runtime: &Handle) {
        let next = self.tail.next_sequence();
        let mut committed = self.journal.committed();
        if *committed.borrow() < next {
            let news = committed.wait_for(|committed| *committed >= next);
            let _looked_at_in_any_case =
                runtime.block_on(async { timeout(LOOK_TIME, news).await.map(|_| ()) });
        }
    }

    /// Durable frames as blocks, and the last of them.
    fn gather(&mut self, second: &CenterName) -> Result<(Vec<u8>, Sequence), Error> {
        let (mut text, mut last) = (Vec::new(), self.pushed);
        while text.len() < PUSH_BYTES_MAX {
            match self.tail.next_group() {
                Ok(Some(group)) => {
                    group.held().put(&mut text);
                    last = group.last();
                }
                Ok(None) => break,
                Err(TailError::Overrun { resume }) => {
                    // Their batches are in the log: whoever has the log up to now has them.
                    let size = self.books.book().ledger().checkpoint().size();
                    self.unproven = Some(size);
                    self.tail = self.journal.tail(resume);
                    last = last.max(Sequence(resume.0 - 1));
                }
                Err(error) => return Err(wrong(second, format!("the journal can't be read: {error}"))),
            }
        }
        Ok((text, last))
    }

    /// Frames up to here lie in batches of the copy that the second center holds.
    fn freed(&mut self, second: &CenterName) -> Sequence {
        let through = Sequence(self.journal.oldest().0 - 1);
        if self.freed.back().is_none_or(|(known, _)| *known < through) {
            // An entry is there before its segment is released.
            self.freed.push_back((through, self.books.book().ledger().checkpoint().size()));
        }
        let receipt = self.receipts.held_by(second);
        while let Some((through, _)) = self.freed.front().filter(|(_, size)| *size <= receipt) {
            self.freeable = self.freeable.max(*through);
            self.freed.pop_front();
        }
        self.freeable
    }

    /// Whether this center is alone, and what follows.
    fn judge(&mut self) {
        let silent = self.clock.monotonic().saturating_sub(self.heard_at);
        let at_risk = self.journal.stats().bytes() - self.bytes_held;
        let is_alone = at_risk > 0 && silent >= ALONE_TIME;
        let is_back = silent < LOOK_TIME * 10 && self.unproven.is_none();
        if is_alone && !self.is_degraded && self.when_alone == WhenAlone::Degrade {
            self.is_degraded = true;
            tracing::error!(
                "no second center has frames: they are acknowledged from this one alone (peer.when_alone)"
            );
            self.enter("alone");
            self.journal.acknowledge(None);
        } else if self.is_degraded && is_back {
            self.is_degraded = false;
            tracing::warn!("a second center has all frames again");
            self.enter("restored");
            self.journal.acknowledge(Some(self.held));
        }
        let mut view = self.view.lock();
        (view.bytes_at_risk, view.is_degraded) = (at_risk, self.is_degraded);
    }

    fn enter(&self, state: &'static str) {
        let entry = Entry::Degraded(Degraded { part: Word::of("second-center"), state: Word::of(state) });
        if let Err(error) = self.books.book().enter(&entry) {
            tracing::error!(%error, "how acknowledgements stand can't be entered in the log");
        }
    }
}
