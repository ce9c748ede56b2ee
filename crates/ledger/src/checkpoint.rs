//! Checkpoints (c2sp.org/tlog-checkpoint).

use crate::{Error, Hash, VerifierKey};

/// The head of a tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    /// The log.
    pub origin: String,
    /// Its entries.
    pub size: u64,
    /// Its root.
    pub root: Hash,
}

/// A checkpoint whose log's signature was verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    note: String,
}

impl SignedCheckpoint {
    /// Opens a signed checkpoint with the log's key.
    pub fn open(_note: &str, _key: &VerifierKey) -> Result<Self, Error> {
        unimplemented!()
    }
    /// Its content.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }
    /// Entries.
    pub fn size(&self) -> u64 {
        self.checkpoint.size
    }
    /// Root.
    pub fn root(&self) -> Hash {
        self.checkpoint.root
    }
    /// The signed note.
    pub fn note(&self) -> &str {
        &self.note
    }
}
