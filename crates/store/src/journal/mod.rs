//! The journal: frames of all connections of a gateway, appended, made durable as groups, and kept until a batch holds them.
//!
//! Three threads serve it. The committer takes the group that connections have gathered, writes it, syncs, and wakes exactly
//! those connections. The preparer keeps zeroed segments ready. The sealer turns closed segments into batches. The bytes on the
//! disk are described in `docs/formats/journal.md`.

mod commit;
mod format;
mod front;
mod gate;
mod hands;
mod index;
mod recovery;
mod slots;
mod stats;
mod tail;
#[cfg(test)]
mod tests;
mod waiter;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use model::{CenterName, Clock, Frame, GatewayName, Sequence};
use parking_lot::{Condvar, Mutex};
use policy::{Admitted, RegistryVersion};
use tokio::sync::{Notify, watch};

pub use hands::JournalHands;
pub use stats::{Flushes, Health, JournalStats};
pub use tail::{Group, Tail, TailError};
pub use waiter::CommitWaiter;

pub(crate) use format::Records;
#[cfg(test)]
pub(crate) use format::put_record;
pub(crate) use index::{ClosedSegment, numbered};

use self::commit::Committer;
use self::front::Front;
use self::gate::Gate;
use self::index::Index;
use self::slots::Slots;
use crate::sealer::{SealTarget, Sealer};
use crate::{Ack, BatchName, Error, SealState, World};

/// The smallest segment: some groups of some blocks each.
const SEGMENT_BYTES_MIN: u64 = 64 << 10;
/// The largest segment: offsets within it fit 32 bits with room to spare.
const SEGMENT_BYTES_MAX: u64 = 1 << 30;
/// Segments that must fit `bytes_max`: one in use, one being sealed, two being made ready.
const SEGMENTS_MIN: u64 = 4;

/// A segment's number: grows by one with each segment made ready, and is never used twice in a journal's life.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SegmentNumber(pub u64);

/// Why a frame was not appended. Nothing of it was kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AppendRefused {
    /// The admission is older than the last barrier: decide anew and append again.
    Stale,
    /// No room, or the disk fails: read no more, wait for [`Journal::ready`], append again.
    Paused,
    /// The frame can never fit. The listeners' own limits are lower, so the sender has broken the protocol.
    TooLarge,
    /// The journal is closed: the program is ending.
    Closed,
}

/// What a journal is opened with.
pub(crate) struct JournalOptions {
    /// The folder of its segments.
    pub(crate) folder: PathBuf,
    pub(crate) center: CenterName,
    pub(crate) gateway: GatewayName,
    /// Size of a segment.
    pub(crate) segment_bytes: u64,
    /// Age at which a segment that holds something is closed.
    pub(crate) segment_age: Duration,
    /// The room of all segments.
    pub(crate) bytes_max: u64,
    /// Flushes start at least this far apart.
    pub(crate) commit_interval: Duration,
    pub(crate) ack: Ack,
}

/// A gateway's journal. Clones are the same journal.
#[derive(Clone)]
pub struct Journal {
    shared: Arc<Shared>,
}

/// What connections, tails and the three threads share. No two of its locks are ever held together.
pub(crate) struct Shared {
    options: JournalOptions,
    clock: Arc<dyn Clock>,
    /// The hot lock: every append takes it for as long as copying a frame takes.
    front: Mutex<Front>,
    /// Acknowledgements that wait for another center.
    gate: Mutex<Gate>,
    /// With `front`: there is something to commit, or the journal is closing.
    work: Condvar,
    /// Appends are possible again.
    room: Notify,
    index: Mutex<Index>,
    /// With `index`: a segment was closed or released, or the sealer is to end.
    sealing: Condvar,
    slots: Slots,
    committed: watch::Sender<Sequence>,
    health: Mutex<Health>,
    stats: JournalStats,
    threads: Mutex<Threads>,
}

#[derive(Default)]
struct Threads {
    commit: Option<JoinHandle<()>>,
    slots: Option<JoinHandle<()>>,
    seal: Option<JoinHandle<()>>,
}

impl Journal {
    /// Recovers the journal and starts its threads. `sealed` are the gateway's batches in the store, oldest first.
    pub(crate) fn open(
        options: JournalOptions,
        world: &World,
        target: SealTarget,
        sealed: &[BatchName],
    ) -> Result<Self, Error> {
        let journal = Self::recover(options, world, &target, sealed)?;
        journal.start_threads(target)?;
        Ok(journal)
    }

    /// As [`Journal::open`], but that nothing happens by itself: what its threads would do is done with the hands.
    pub(crate) fn by_hand(
        options: JournalOptions,
        world: &World,
        target: SealTarget,
        sealed: &[BatchName],
    ) -> Result<(Self, JournalHands), Error> {
        let journal = Self::recover(options, world, &target, sealed)?;
        let hands = JournalHands::new(&journal.shared, target);
        Ok((journal, hands))
    }

    fn recover(
        options: JournalOptions,
        world: &World,
        target: &SealTarget,
        sealed: &[BatchName],
    ) -> Result<Self, Error> {
        check(&options)?;
        let recovered = recovery::recover(&options, world.disk.as_ref())?;
        let sealed_through = sealed.last().map_or(Sequence(0), |batch| batch.last);
        let last = sealed_through.max(recovered.last);
        let slots = Slots::new(&options, world, recovered.free, recovered.slots, recovered.next_number);
        let (index, frames) = Index::recovered(recovered.segments, sealed_through, |segment| {
            target.compare_with_sealed(segment, sealed)
        })?;
        let stats = JournalStats::default();
        stats.count_recovered(frames);
        let limits = front::Limits::of(options.segment_bytes);
        let shared = Arc::new(Shared {
            clock: Arc::clone(&world.clock),
            front: Mutex::new(Front::new(limits, last)),
            gate: Mutex::default(),
            work: Condvar::new(),
            room: Notify::new(),
            index: Mutex::new(index),
            sealing: Condvar::new(),
            slots,
            committed: watch::Sender::new(last),
            health: Mutex::new(Health::Healthy),
            stats,
            threads: Mutex::default(),
            options,
        });
        let journal = Self { shared };
        journal.free_emptied();
        Ok(journal)
    }

    /// Appends a frame to the group that is being gathered; never waits for the disk, allocates nothing in steady state.
    ///
    /// `waiter` is woken when the frame is durable: then, and not before, it may be acknowledged. A frame received up to a minute
    /// before the newest full UTC hour of the journal counts as received at that hour's start, so that a batch has one hour.
    pub fn append(
        &self,
        frame: Admitted<Frame<'_>>,
        waiter: &Arc<CommitWaiter>,
    ) -> Result<Sequence, AppendRefused> {
        let mut front = self.shared.front.lock();
        let was_idle = front.is_idle();
        let sequence = front.append(frame.get(), frame.version(), waiter)?;
        drop(front);
        if was_idle {
            self.shared.work.notify_one();
        }
        Ok(sequence)
    }

    /// Waits until [`AppendRefused::Paused`] is over (or the journal is closed).
    pub async fn ready(&self) {
        loop {
            let notified = self.shared.room.notified();
            let mut notified = std::pin::pin!(notified);
            // Registered before the look, so that no notification falls between.
            notified.as_mut().enable();
            if !self.shared.front.lock().awaits_room() {
                return;
            }
            notified.await;
        }
    }

    /// Takes no frames until it is called again with `false`: appends are refused as [`AppendRefused::Paused`]. What was taken before
    /// becomes durable.
    pub fn hold(&self, is_held: bool) {
        let tell = self.shared.front.lock().set_held(is_held);
        if tell {
            self.shared.room.notify_waiters();
        }
    }

    /// From when this returns, frames whose admission is older than `version` are refused as [`AppendRefused::Stale`].
    /// Returns the last sequence appended before; what was appended before stays and becomes durable.
    pub fn raise_barrier(&self, version: RegistryVersion) -> Sequence {
        self.shared.front.lock().raise_barrier(version)
    }

    /// Waits, at most `wait`, until nothing of the frames up to `through` lies in the journal's files: they are sealed, their
    /// segments are released and overwritten. Returns whether it is so. Blocks.
    pub fn wait_freed(&self, through: Sequence, wait: Duration) -> bool {
        if *self.shared.committed.borrow() < through {
            // They are on their way to the disk.
            return false;
        }
        let mut index = self.shared.index.lock();
        let is_held = |index: &mut Index| index.holds_up_to(through);
        let is_freed = !self.shared.sealing.wait_while_for(&mut index, is_held, wait).timed_out();
        drop(index);
        is_freed && self.shared.slots.wait_voided(wait)
    }

    /// The last sequence that is durable in the journal, as it grows.
    pub fn committed(&self) -> watch::Receiver<Sequence> {
        self.shared.committed.subscribe()
    }

    /// From now on frames are acknowledgeable only up to `through`, where they are durable too: another center has those (`None`: all
    /// that are durable here). It may go back: what was acknowledged stays so.
    pub fn acknowledge(&self, through: Option<Sequence>) {
        let groups = self.shared.gate.lock().set(through);
        for (last, waiters) in groups {
            waiters.iter().for_each(|waiter| waiter.wake(last));
        }
    }

    /// The first sequence that may still lie in the journal's files: those before are in batches that the owner has released.
    pub fn oldest(&self) -> Sequence {
        self.shared.index.lock().oldest()
    }

    /// Reads durable frames from sequence `from` on, in order.
    pub fn tail(&self, from: Sequence) -> Tail {
        Tail::new(Arc::clone(&self.shared), from)
    }

    /// Whether frames become durable.
    pub fn health(&self) -> Health {
        self.shared.health.lock().clone()
    }

    /// Counters since the start.
    pub fn stats(&self) -> &JournalStats {
        &self.shared.stats
    }

    /// Whether sealing works, and how many segments wait for it.
    pub fn sealing(&self) -> SealState {
        self.shared.index.lock().seal_state()
    }

    /// Takes no more frames, makes durable what was appended and ends the journal's threads. With `seal` it also waits, at
    /// most `wait`, until everything is sealed. Returns whether nothing is left unsealed. Blocks; closing twice is harmless.
    pub fn close(&self, seal: bool, wait: Duration) -> bool {
        let mut threads = self.shared.threads.lock();
        self.shared.front.lock().close();
        self.shared.work.notify_all();
        self.shared.slots.wake();
        self.shared.room.notify_waiters();
        join(threads.commit.take());
        let mut index = self.shared.index.lock();
        if seal && threads.seal.is_some() {
            let is_full = |index: &mut Index| !index.is_empty();
            let _ = self.shared.sealing.wait_while_for(&mut index, is_full, wait);
        }
        index.end_sealing();
        let is_sealed = index.is_empty();
        drop(index);
        self.shared.sealing.notify_all();
        join(threads.seal.take());
        self.shared.slots.end();
        join(threads.slots.take());
        is_sealed
    }

    /// Segments that recovery found to be wholly sealed are free at once.
    fn free_emptied(&self) {
        let emptied = self.shared.index.lock().take_emptied();
        for slot in emptied {
            self.shared.slots.release(slot);
        }
    }

    /// The one place where the store starts threads.
    fn start_threads(&self, target: SealTarget) -> Result<(), Error> {
        let start = |name: &str, body: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new()
                .name(name.to_owned())
                .spawn(body)
                .map_err(Error::disk(format!("starting the thread {name}")))
        };
        let mut threads = self.shared.threads.lock();
        let shared = Arc::clone(&self.shared);
        threads.slots = Some(start("journal-slots", Box::new(move || shared.slots.run()))?);
        let committer = Committer::new(Arc::clone(&self.shared));
        threads.commit = Some(start("journal-commit", Box::new(move || committer.run()))?);
        let sealer = Sealer::new(Arc::clone(&self.shared), target);
        threads.seal = Some(start("journal-seal", Box::new(move || sealer.run()))?);
        Ok(())
    }
}

impl Shared {
    /// The monotonic clock.
    pub(crate) fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    /// The oldest closed segment that has no batch, where there is one.
    pub(crate) fn unsealed(&self) -> Option<ClosedSegment> {
        self.index.lock().oldest_unsealed()
    }

    /// The oldest closed segment that has no batch; waits for one. `None` when the sealer is to end.
    pub(crate) fn next_unsealed(&self) -> Option<ClosedSegment> {
        let mut index = self.index.lock();
        loop {
            if index.has_ended() {
                return None;
            }
            if let Some(segment) = index.oldest_unsealed() {
                return Some(segment);
            }
            self.sealing.wait(&mut index);
        }
    }

    /// Notes that sealing failed, and waits before the next try. Returns whether to try again.
    pub(crate) fn sealing_failed(&self, reason: String, pause: Duration) -> bool {
        let now = self.now();
        let mut index = self.index.lock();
        index.sealing_failed(now, reason);
        let _ = self.sealing.wait_while_for(&mut index, |index| !index.has_ended(), pause);
        !index.has_ended()
    }

    /// Notes that a segment's batch lies in the store.
    pub(crate) fn sealed(&self, number: SegmentNumber) {
        self.index.lock().sealed(number);
    }

    /// Wakes those whose frames up to `last` are durable, unless another center is to have them first.
    pub(crate) fn wake(&self, last: Sequence, waiters: &mut Vec<Arc<CommitWaiter>>) {
        self.gate.lock().pass(last, waiters);
        waiters.drain(..).for_each(|waiter| waiter.wake(last));
    }

    /// Frees a segment whose batch lies in the store, and tells those who waited for the batch.
    pub(crate) fn release(&self, number: SegmentNumber) {
        let (slot, last, mut waiters) = self.index.lock().release(number);
        self.sealing.notify_all();
        self.slots.release(slot);
        self.wake(last, &mut waiters);
    }
}

fn check(options: &JournalOptions) -> Result<(), Error> {
    let fits = (SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&options.segment_bytes);
    if !fits || !options.segment_bytes.is_multiple_of(format::BLOCK_BYTES as u64) {
        return Err(Error::Setting {
            setting: "store.batch_bytes_max",
            rule: format!(
                "must be a multiple of {} from {SEGMENT_BYTES_MIN} to {SEGMENT_BYTES_MAX}",
                format::BLOCK_BYTES
            ),
        });
    }
    if options.bytes_max < SEGMENTS_MIN * options.segment_bytes {
        let rule = format!("must be at least {SEGMENTS_MIN} times store.batch_bytes_max");
        return Err(Error::Setting { setting: "journal.bytes_max", rule });
    }
    Ok(())
}

fn join(thread: Option<JoinHandle<()>>) {
    if let Some(thread) = thread
        && thread.join().is_err()
    {
        tracing::error!("a thread of the journal had panicked");
    }
}
