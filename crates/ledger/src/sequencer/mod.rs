//! The one writer of a log.

use std::sync::Arc;
use std::time::Duration;

use object_store::path::Path;
use store::Objects;

use crate::{Entries, Error, Hash, SignedCheckpoint, SigningKey};

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

/// The log's one writer. Clones are the same.
#[derive(Clone)]
pub struct Ledger;

/// An entry that waits to be committed.
#[must_use]
#[derive(Debug)]
pub struct Pending;

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
    /// Waits until it is committed.
    pub fn wait(self, _timeout: Duration) -> Result<Receipt, Error> {
        unimplemented!()
    }
}

impl Ledger {
    /// Opens the log.
    pub fn open(_parts: Parts) -> Result<Self, Error> {
        unimplemented!()
    }
    /// Lets it sign.
    pub fn allow(&self, _seen_by_cosigners: Option<u64>) -> Result<(), Error> {
        unimplemented!()
    }
    /// Queues an entry; blocks while too many wait.
    pub fn append(&self, _entry: Vec<u8>) -> Result<Pending, Error> {
        unimplemented!()
    }
    /// The last committed checkpoint.
    pub fn checkpoint(&self) -> SignedCheckpoint {
        unimplemented!()
    }
    /// The published checkpoint.
    pub fn published(&self) -> Option<SignedCheckpoint> {
        unimplemented!()
    }
    /// Publishes a (cosigned) checkpoint.
    pub fn publish(&self, _note: &str) -> Result<(), Error> {
        unimplemented!()
    }
    /// The proof that entry `index` is among the first `size`.
    pub fn inclusion_proof(&self, _index: u64, _size: u64) -> Result<Vec<Hash>, Error> {
        unimplemented!()
    }
    /// The proof that the tree of `old` entries is a prefix of that of `new`.
    pub fn consistency_proof(&self, _old: u64, _new: u64) -> Result<Vec<Hash>, Error> {
        unimplemented!()
    }
    /// The committed entries from index `from`.
    pub fn entries(&self, _from: u64) -> Result<Entries, Error> {
        unimplemented!()
    }
    /// Waits until more than `size` entries are committed; the size then, or at the end of the time.
    pub fn wait_for_size_above(&self, _size: u64, _timeout: Duration) -> u64 {
        unimplemented!()
    }
    /// How it is.
    pub fn status(&self) -> Status {
        unimplemented!()
    }
    /// Commits what waits and stops; whether that was done in time.
    pub fn close(&self, _timeout: Duration) -> bool {
        unimplemented!()
    }
}
