//! The right edge of a growing tree.

use std::collections::BTreeMap;

use crate::tile::{self, TILE_WIDTH};
use crate::{Error, Hash, Tile, hash};

/// The right edge of a tree: the hashes of its incomplete tiles, which are all that appending and the root need.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Edge {
    /// By level, the hashes of the incomplete tile: always fewer than 256.
    levels: Vec<Vec<Hash>>,
    size: u64,
}

/// The tiles and bundles that a growth writes.
pub type Growth = BTreeMap<Tile, Vec<u8>>;

impl Edge {
    /// The edge of the empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// The edge of a tree of `size` entries from the hashes of its incomplete tiles, lowest level first.
    pub(super) fn from_levels(levels: Vec<Vec<Hash>>, size: u64) -> Self {
        Self { levels, size }
    }

    /// Entries in the tree.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The hashes of the incomplete tile at a level.
    pub fn level(&self, level: u8) -> &[Hash] {
        self.levels.get(usize::from(level)).map_or(&[], Vec::as_slice)
    }

    /// The root of the tree.
    pub fn root(&self) -> Hash {
        let mut below = None;
        for level in &self.levels {
            // What is incomplete below lies to the right of this level's subtrees, as one more that is smaller.
            let mut hashes = level.clone();
            hashes.extend(below);
            if !hashes.is_empty() {
                below = Some(hash::root(&hashes));
            }
        }
        below.unwrap_or_else(hash::empty)
    }

    /// Appends the hash of an entry, and gives each tile of hashes that it completes to `completed`.
    pub fn append(&mut self, leaf: Hash, mut completed: impl FnMut(Tile, &[Hash])) {
        let mut hash = leaf;
        for level in 0..=u8::MAX {
            if self.levels.len() == usize::from(level) {
                self.levels.push(Vec::with_capacity(TILE_WIDTH.into()));
            }
            let tile = &mut self.levels[usize::from(level)];
            tile.push(hash);
            if tile.len() < usize::from(TILE_WIDTH) {
                break;
            }
            completed(Tile::hashes(level, tile::edge_index(self.size, level), TILE_WIDTH), tile);
            hash = hash::root(tile);
            tile.clear();
        }
        self.size += 1;
    }

    /// Appends entries and gives all tiles and bundles that the growth writes. `bundle` is the incomplete bundle at the right edge,
    /// before and after.
    pub fn grow<'a>(
        &mut self,
        bundle: &mut Vec<u8>,
        entries: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Growth, Error> {
        let old = self.size;
        let mut growth = Growth::new();
        for entry in entries {
            tile::push_entry(bundle, entry)?;
            let index = tile::edge_index(self.size, 0);
            self.append(hash::leaf(entry), |tile, hashes| {
                growth.insert(tile, tile::encode_hashes(hashes));
            });
            if tile::edge_width(self.size, 0) == 0 {
                growth.insert(Tile::entries(index, TILE_WIDTH), std::mem::take(bundle));
            }
        }
        for tile in tile::written(old, self.size).into_iter().filter(|tile| !tile.is_full()) {
            let bytes = match tile.kind {
                crate::TileKind::Hashes(level) => tile::encode_hashes(self.level(level)),
                crate::TileKind::Entries => bundle.clone(),
            };
            growth.insert(tile, bytes);
        }
        Ok(growth)
    }
}
