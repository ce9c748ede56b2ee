//! The log as it lies in a store, read without a claim on it.

use object_store::path::Path;
use store::Objects;

use crate::{Error, Hash, SignedCheckpoint, Tile, TileReader, TreeView, VerifierKey};

/// Reads a log. It writes nothing and claims nothing. Clones read the same log.
#[derive(Clone, Debug)]
pub struct LogReader {
    objects: Objects,
    folder: Path,
    key: VerifierKey,
}

/// What the register of the log says.
#[derive(Clone, Debug)]
pub struct Head {
    /// The writer's epoch.
    pub epoch: u64,
    /// The last checkpoint that was signed.
    pub checkpoint: SignedCheckpoint,
    /// The entries of the last commit, whose tiles may not be written yet.
    pub staged: Vec<Vec<u8>>,
}

/// A log's tiles in a store.
#[derive(Clone, Debug)]
pub struct StoreTiles {
    objects: Objects,
    folder: Path,
}

impl TileReader for StoreTiles {
    fn read(&self, _tile: &Tile) -> Result<Option<Vec<u8>>, Error> {
        unimplemented!()
    }
}

/// The entries of a log in order, with their indexes; each was held against the checkpoint.
#[derive(Debug)]
pub struct Entries {
    view: TreeView<StoreTiles>,
}

impl Iterator for Entries {
    type Item = Result<(u64, Vec<u8>), Error>;
    fn next(&mut self) -> Option<Self::Item> {
        unimplemented!()
    }
}

impl LogReader {
    /// A reader of the log in `folder`; nothing is read yet.
    pub fn new(objects: Objects, folder: Path, key: VerifierKey) -> Self {
        Self { objects, folder, key }
    }
    /// The published checkpoint (object `checkpoint`), its log's signature verified; `None` where there is none.
    pub fn checkpoint(&self) -> Result<Option<SignedCheckpoint>, Error> {
        unimplemented!()
    }
    /// The register (object `head.json`), its checkpoint's signature verified; `None` where there is none.
    pub fn head(&self) -> Result<Option<Head>, Error> {
        unimplemented!()
    }
    /// The tree of a checkpoint, authenticated against it.
    pub fn view(&self, _checkpoint: &SignedCheckpoint) -> Result<TreeView<StoreTiles>, Error> {
        unimplemented!()
    }
    /// The tree of the register's checkpoint, including what is only staged.
    pub fn view_of_head(&self, _head: &Head) -> Result<TreeView<StoreTiles>, Error> {
        unimplemented!()
    }
    /// The entries from index `from` to the end of the view.
    pub fn entries(&self, _view: TreeView<StoreTiles>, _from: u64) -> Entries {
        unimplemented!()
    }
    /// The proof that entry `index` is in the tree of the checkpoint.
    pub fn inclusion_proof(&self, _checkpoint: &SignedCheckpoint, _index: u64) -> Result<Vec<Hash>, Error> {
        unimplemented!()
    }
}
