//! The one writer of a log.
//!
//! Entries wait in a queue; a thread commits them in groups. The order of a commit, which `docs/formats/ledger.md` spells out:
//!
//! 1. Tiles, bundles and the signed checkpoint are worked out in memory.
//! 2. `head.json` is swapped (compare-and-swap) for one with the checkpoint and the entries. **This is the commit point.**
//! 3. Tiles and bundles are created. One that exists must be the same byte for byte.
//! 4. Who waits is told; the checkpoint is published, unless that needs a quorum.
//! 5. Partial tiles whose full tile is there go.
//!
//! [`Ledger::open`] claims the log with a new epoch and runs 3 to 5 for what `head.json` holds: the same code.

mod commit;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use object_store::path::Path;
use parking_lot::{Condvar, Mutex};
use store::Objects;

use crate::reader::{Entries, StoreTiles};
use crate::tile::ENTRY_BYTES_MAX;
use crate::tree::Edge;
use crate::{Error, Hash, SignedCheckpoint, SigningKey, TreeView};

/// Entries that are committed together at most: what one bundle holds.
pub(crate) const GROUP_ENTRIES_MAX: usize = 256;

/// How long entries gather before they are committed, where the last commit was less than this ago. Each commit costs some flushes
/// of the disk and leaves a partial tile.
pub(crate) const GATHER_TIME: Duration = Duration::from_millis(250);

/// Entries that may wait. Who brings more waits for room: a ledger that can't sign holds up what it is to record.
pub(crate) const QUEUE_MAX: usize = 4096;

/// What a ledger is made of.
pub struct Parts {
    /// The store.
    pub objects: Objects,
    /// The log's folder: `store::Names::ledger()`.
    pub folder: Path,
    /// The log's key; its name is the log's origin.
    pub key: SigningKey,
    /// The time.
    pub clock: Arc<dyn model::Clock>,
    /// Who writes, for people.
    pub owner: String,
    /// Whether each checkpoint is published as soon as it is signed (no quorum of witnesses is required).
    pub publish_at_once: bool,
}

/// The log's one writer. Clones are the same; when the last one goes, what waits is committed and the thread ends.
#[derive(Clone)]
pub struct Ledger {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The work of a log's thread, done a step at a time by whoever holds the hands. A store that fails is tried again without a pause.
pub struct LedgerHands {
    committer: commit::Committer,
}

impl LedgerHands {
    /// Commits the entries that wait, at most as many as are committed together. Returns whether there were any.
    ///
    /// # Errors
    /// Where nothing more is signed.
    pub fn commit(&mut self) -> Result<bool, Error> {
        self.committer.step()
    }
}

/// What callers and the thread share.
struct Shared {
    objects: Objects,
    folder: Path,
    key: SigningKey,
    clock: Arc<dyn model::Clock>,
    owner: String,
    publish_at_once: bool,
    state: Mutex<State>,
    /// There is something to commit, signing is allowed, or the end has come.
    called: Condvar,
    /// Entries were committed, there is room, or the ledger has failed or ended.
    moved: Condvar,
    /// Held while the object `checkpoint` is replaced.
    publishing: Mutex<()>,
}

struct State {
    queue: VecDeque<Vec<u8>>,
    /// Entries that the thread has taken and not committed yet.
    in_commit: usize,
    /// The committed tree.
    edge: Edge,
    checkpoint: SignedCheckpoint,
    published: Option<SignedCheckpoint>,
    held: bool,
    failed: Option<String>,
    is_closing: bool,
    has_ended: bool,
    commits: u64,
}

impl State {
    fn size(&self) -> u64 {
        self.checkpoint.size()
    }

    /// Why nothing more is taken; `None` while entries are.
    fn refusal(&self) -> Option<Error> {
        match &self.failed {
            Some(reason) => Some(Error::Failed { reason: reason.clone() }),
            None if self.is_closing => Some(Error::Closed),
            None => None,
        }
    }
}

/// An entry that waits to be committed.
#[must_use]
pub struct Pending {
    shared: Arc<Shared>,
    index: u64,
}

/// That an entry is in the log; only the ledger makes one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Receipt {
    index: u64,
    size: u64,
}

/// How the ledger is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Status {
    /// Whether signing waits for [`Ledger::allow`].
    pub held: bool,
    /// Why it has stopped.
    pub failed: Option<String>,
    /// Entries that wait.
    pub waiting: usize,
    /// Committed entries.
    pub size: u64,
    /// Entries under the published checkpoint.
    pub published_size: Option<u64>,
    /// Commits since it was opened.
    pub commits: u64,
}

impl Receipt {
    /// The entry's index.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The size of a committed tree that has it.
    pub fn size(&self) -> u64 {
        self.size
    }
}

impl Pending {
    /// Waits until it is committed, at most `timeout`; `None` where it still waits then.
    ///
    /// # Errors
    /// [`Error::Failed`] and [`Error::Closed`] where it will not be committed by this ledger any more.
    pub fn wait(&self, timeout: Duration) -> Result<Option<Receipt>, Error> {
        let mut state = self.shared.state.lock();
        let is_open =
            |state: &mut State| state.size() <= self.index && state.failed.is_none() && !state.has_ended;
        let _ = self.shared.moved.wait_while_for(&mut state, is_open, timeout);
        if state.size() > self.index {
            return Ok(Some(Receipt { index: self.index, size: state.size() }));
        }
        if state.failed.is_some() || state.has_ended {
            return Err(state.refusal().unwrap_or(Error::Closed));
        }
        Ok(None)
    }
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pending").field("index", &self.index).finish_non_exhaustive()
    }
}

impl Ledger {
    /// Opens the log, makes it where there is none, and claims it: an earlier writer is fenced from then on. Nothing is signed before
    /// [`Ledger::allow`], but for the empty log of a new center.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where what lies there is not what was signed, and the store's.
    pub fn open(parts: Parts) -> Result<Self, Error> {
        let (shared, committer) = commit::open(parts, true)?;
        let thread = std::thread::Builder::new()
            .name("ledger-commit".to_owned())
            .spawn(move || committer.run())
            .map_err(Error::Thread)?;
        Ok(Self { inner: Arc::new(Inner { shared, thread: Mutex::new(Some(thread)) }) })
    }

    /// As [`Ledger::open`], but that nothing is committed before the hands do it.
    ///
    /// # Errors
    /// As [`Ledger::open`].
    pub fn by_hand(parts: Parts) -> Result<(Self, LedgerHands), Error> {
        let (shared, committer) = commit::open(parts, false)?;
        let ledger = Self { inner: Arc::new(Inner { shared, thread: Mutex::new(None) }) };
        Ok((ledger, LedgerHands { committer }))
    }

    /// Lets it sign, knowing what cosigners have seen of it (`None`: nobody was asked).
    ///
    /// # Errors
    /// [`Error::RolledBack`] where they have seen more than is here: then nothing is ever signed by this ledger.
    pub fn allow(&self, seen_by_cosigners: Option<u64>) -> Result<(), Error> {
        let mut state = self.shared().state.lock();
        let ours = state.size();
        let result = match seen_by_cosigners {
            Some(seen) if seen > ours => {
                let error = Error::RolledBack { ours, seen };
                state.failed.get_or_insert(error.to_string());
                Err(error)
            }
            _ => state.failed.as_ref().map_or(Ok(()), |reason| Err(Error::Failed { reason: reason.clone() })),
        };
        state.held &= result.is_err();
        drop(state);
        self.shared().called.notify_all();
        self.shared().moved.notify_all();
        result
    }

    /// Queues an entry; blocks while too many wait.
    ///
    /// # Errors
    /// [`Error::EntryTooLong`], [`Error::Failed`], [`Error::Closed`].
    pub fn append(&self, entry: Vec<u8>) -> Result<Pending, Error> {
        if entry.len() > ENTRY_BYTES_MAX {
            return Err(Error::EntryTooLong { bytes: entry.len(), bytes_max: ENTRY_BYTES_MAX });
        }
        let shared = self.shared();
        let mut state = shared.state.lock();
        while state.refusal().is_none() && state.queue.len() >= QUEUE_MAX {
            shared.moved.wait(&mut state);
        }
        if let Some(refusal) = state.refusal() {
            return Err(refusal);
        }
        let index = state.size() + (state.in_commit + state.queue.len()) as u64;
        state.queue.push_back(entry);
        let is_first = state.queue.len() == 1 || state.queue.len() == GROUP_ENTRIES_MAX;
        drop(state);
        if is_first {
            shared.called.notify_all();
        }
        Ok(Pending { shared: Arc::clone(shared), index })
    }

    /// The last committed checkpoint, with the log's own signature.
    pub fn checkpoint(&self) -> SignedCheckpoint {
        self.shared().state.lock().checkpoint.clone()
    }

    /// The published checkpoint.
    pub fn published(&self) -> Option<SignedCheckpoint> {
        self.shared().state.lock().published.clone()
    }

    /// Publishes a checkpoint of this log with its cosignatures. An older one than is published is passed over.
    ///
    /// # Errors
    /// [`Error::NotPublishable`] where it is not one that this log has signed, and the store's.
    pub fn publish(&self, note: &str) -> Result<(), Error> {
        let shared = self.shared();
        let cosigned = SignedCheckpoint::open(note, &shared.key.verifier())?;
        let mut view = self.view()?;
        if cosigned.size() > view.size() || view.root_of(cosigned.size())? != cosigned.root() {
            let why = format!("no checkpoint of {} entries with this root was signed here", cosigned.size());
            return Err(Error::NotPublishable { why });
        }
        shared.publish(cosigned)
    }

    /// That a checkpoint which was seen earlier is of a state that this log was in.
    ///
    /// # Errors
    /// [`Error::RolledBack`] where this log is shorter, [`Error::Forked`] where it is another one, [`Error::Corrupt`], and the store's.
    pub fn check_extends(&self, earlier: &SignedCheckpoint) -> Result<(), Error> {
        let mut view = self.view()?;
        if earlier.size() > view.size() {
            return Err(Error::RolledBack { ours: view.size(), seen: earlier.size() });
        }
        if view.root_of(earlier.size())? != earlier.root() {
            return Err(Error::Forked { size: earlier.size() });
        }
        Ok(())
    }

    /// The proof that entry `index` is among the first `size`.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], [`Error::Corrupt`], and the store's.
    pub fn inclusion_proof(&self, index: u64, size: u64) -> Result<Vec<Hash>, Error> {
        self.view()?.inclusion_proof(index, size)
    }

    /// The proof that the tree of `old` entries is a prefix of that of `new`.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], [`Error::Corrupt`], and the store's.
    pub fn consistency_proof(&self, old: u64, new: u64) -> Result<Vec<Hash>, Error> {
        self.view()?.consistency_proof(old, new)
    }

    /// The committed entries from index `from`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where the tiles are not what was signed, and the store's; later ones come with the entries.
    pub fn entries(&self, from: u64) -> Result<Entries, Error> {
        Ok(Entries::new(self.view()?, from))
    }

    /// Waits until more than `size` entries are committed; the size then, or at the end of the time.
    pub fn wait_for_size_above(&self, size: u64, timeout: Duration) -> u64 {
        let mut state = self.shared().state.lock();
        let is_small = |state: &mut State| state.size() <= size && state.failed.is_none() && !state.has_ended;
        let _ = self.shared().moved.wait_while_for(&mut state, is_small, timeout);
        state.size()
    }

    /// How it is.
    pub fn status(&self) -> Status {
        let state = self.shared().state.lock();
        Status {
            held: state.held,
            failed: state.failed.clone(),
            waiting: state.queue.len() + state.in_commit,
            size: state.size(),
            published_size: state.published.as_ref().map(SignedCheckpoint::size),
            commits: state.commits,
        }
    }

    /// Takes nothing more, commits what waits where it may sign, and ends the thread. Blocks, at most about `timeout`; closing twice is
    /// harmless. Returns whether nothing is left.
    pub fn close(&self, timeout: Duration) -> bool {
        self.inner.close(timeout)
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }

    /// The committed tree. Its tiles are in the store: a commit is told only after they are.
    fn view(&self) -> Result<TreeView<StoreTiles>, Error> {
        let shared = self.shared();
        let (edge, root) = {
            let state = shared.state.lock();
            (state.edge.clone(), state.checkpoint.root())
        };
        TreeView::with_edge(StoreTiles::new(shared.objects.clone(), shared.folder.clone()), edge, root)
    }
}

impl Inner {
    fn close(&self, timeout: Duration) -> bool {
        let mut state = self.shared.state.lock();
        state.is_closing = true;
        self.shared.called.notify_all();
        self.shared.moved.notify_all();
        let _ = self.shared.moved.wait_while_for(&mut state, |state| !state.has_ended, timeout);
        let (has_ended, is_done) = (state.has_ended, state.queue.is_empty() && state.in_commit == 0);
        drop(state);
        if has_ended
            && let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the ledger's thread had panicked");
        }
        has_ended && is_done
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close(DROP_TIME);
    }
}

/// How long the last handle of a ledger waits for what is queued.
const DROP_TIME: Duration = Duration::from_secs(5);
