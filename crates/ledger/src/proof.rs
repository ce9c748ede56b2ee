//! Offline proofs (c2sp.org/tlog-proof@v1).

use crate::{Error, Hash, SignedCheckpoint, VerifierKey};

/// An entry's proof, with the checkpoint that it leads to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlogProof {
    /// What travels with it; not authenticated.
    pub extra: Option<Vec<u8>>,
    /// The entry's index.
    pub index: u64,
    /// The siblings, the leaf's first.
    pub hashes: Vec<Hash>,
    /// The signed checkpoint.
    pub checkpoint: String,
}

impl TlogProof {
    /// Its text.
    pub fn encode(&self) -> String {
        unimplemented!()
    }
    /// Reads a text.
    pub fn parse(_text: &str) -> Result<Self, Error> {
        unimplemented!()
    }
    /// Verifies it for an entry; the checkpoint is the log's.
    pub fn verify(&self, _entry: &[u8], _key: &VerifierKey) -> Result<SignedCheckpoint, Error> {
        unimplemented!()
    }
}
