//! The tree: its right edge, its tiles, proofs.

use std::collections::BTreeMap;

use crate::{Error, Hash, Tile};

/// Gives a tile's bytes; `None` where there is no such tile.
pub trait TileReader {
    /// The bytes of the tile of exactly this width.
    fn read(&self, tile: &Tile) -> Result<Option<Vec<u8>>, Error>;
}

impl<F: Fn(&Tile) -> Result<Option<Vec<u8>>, Error>> TileReader for F {
    fn read(&self, tile: &Tile) -> Result<Option<Vec<u8>>, Error> {
        self(tile)
    }
}

/// The right edge of a tree: its incomplete tiles, which are all that appending needs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Edge {
    levels: Vec<Vec<Hash>>,
    size: u64,
}

/// A tree of which the root is known: every hash that it gives was held against that root.
#[derive(Debug)]
pub struct TreeView<R> {
    reader: R,
    edge: Edge,
    root: Hash,
    cache: BTreeMap<Tile, Vec<Hash>>,
}

impl<R: TileReader> TreeView<R> {
    /// Reads the right edge and holds it against the root.
    pub fn open(_reader: R, _size: u64, _root: Hash) -> Result<Self, Error> {
        unimplemented!()
    }
    /// The root of the tree of the first `size` entries.
    pub fn root_of(&mut self, _size: u64) -> Result<Hash, Error> {
        unimplemented!()
    }
    /// The proof that entry `index` is in the tree of the first `size` entries.
    pub fn inclusion_proof(&mut self, _index: u64, _size: u64) -> Result<Vec<Hash>, Error> {
        unimplemented!()
    }
    /// The proof that the tree of `old` entries is a prefix of that of `new`.
    pub fn consistency_proof(&mut self, _old: u64, _new: u64) -> Result<Vec<Hash>, Error> {
        unimplemented!()
    }
    /// The entries of bundle `index` (256 of them, or less at the right edge), each held against its leaf hash.
    pub fn bundle(&mut self, _index: u64) -> Result<Vec<Vec<u8>>, Error> {
        unimplemented!()
    }
}
