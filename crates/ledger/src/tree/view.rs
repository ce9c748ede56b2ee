//! A tree that is read from tiles nobody is trusted for.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Edge, SIZE_MAX, split};
use crate::tile::{self, LEVELS_MAX, TILE_WIDTH};
use crate::{Error, Hash, SignedCheckpoint, Tile, hash};

/// Full tiles that a view keeps: 4 MiB. When there are more it begins anew.
const CACHED_TILES_MAX: usize = 512;

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

/// A tree of which the root is known: every hash and entry that it gives was held against that root.
#[derive(Clone, Debug)]
pub struct TreeView<R> {
    reader: R,
    edge: Edge,
    root: Hash,
    cache: BTreeMap<(u8, u64), Arc<Vec<Hash>>>,
}

impl<R: TileReader> TreeView<R> {
    /// Reads the right edge of the tree and holds it against the root.
    pub fn open(reader: R, size: u64, root: Hash) -> Result<Self, Error> {
        if size > SIZE_MAX {
            return Err(Error::malformed("a size", format!("{size} is more than a log can have")));
        }
        let edge = read_edge(&reader, size)?;
        Self::with_edge(reader, edge, root)
    }

    /// The tree of a checkpoint.
    pub fn of(reader: R, checkpoint: &SignedCheckpoint) -> Result<Self, Error> {
        Self::open(reader, checkpoint.size(), checkpoint.root())
    }

    /// A tree of which the right edge is in memory.
    pub fn with_edge(reader: R, edge: Edge, root: Hash) -> Result<Self, Error> {
        if edge.root() != root {
            let why = format!("the root of the {} entries is another than the checkpoint's", edge.size());
            return Err(Error::corrupt("one of the tiles at the right edge", why));
        }
        Ok(Self { reader, edge, root, cache: BTreeMap::new() })
    }

    /// Entries in the tree.
    pub fn size(&self) -> u64 {
        self.edge.size()
    }

    /// The root of the tree.
    pub fn root(&self) -> Hash {
        self.root
    }

    /// The right edge.
    pub fn edge(&self) -> &Edge {
        &self.edge
    }

    /// The root of the tree of the first `size` entries.
    pub fn root_of(&mut self, size: u64) -> Result<Hash, Error> {
        self.check_size(size)?;
        if size == 0 { Ok(hash::empty()) } else { self.subtree(0, size) }
    }

    /// The hash of an entry.
    pub fn leaf(&mut self, index: u64) -> Result<Hash, Error> {
        if index >= self.size() {
            return Err(Error::OutOfRange { asked: index, size: self.size() });
        }
        self.node(0, index)
    }

    /// The proof that entry `index` is in the tree of the first `size` entries (RFC 6962, section 2.1.1).
    pub fn inclusion_proof(&mut self, index: u64, size: u64) -> Result<Vec<Hash>, Error> {
        self.check_size(size)?;
        if index >= size {
            return Err(Error::OutOfRange { asked: index, size });
        }
        let mut proof = Vec::new();
        let (mut start, mut end) = (0, size);
        while end - start > 1 {
            let middle = start + split(end - start);
            if index < middle {
                proof.push(self.subtree(middle, end)?);
                end = middle;
            } else {
                proof.push(self.subtree(start, middle)?);
                start = middle;
            }
        }
        proof.reverse();
        Ok(proof)
    }

    /// The proof that the tree of the first `old` entries is a prefix of that of the first `new` (RFC 6962, section 2.1.2).
    pub fn consistency_proof(&mut self, old: u64, new: u64) -> Result<Vec<Hash>, Error> {
        self.check_size(new)?;
        if old > new {
            return Err(Error::OutOfRange { asked: old, size: new });
        }
        let mut proof = Vec::new();
        if old == 0 || old == new {
            return Ok(proof);
        }
        let (mut start, mut end) = (0, new);
        while end > old {
            let middle = start + split(end - start);
            if old <= middle {
                proof.push(self.subtree(middle, end)?);
                end = middle;
            } else {
                proof.push(self.subtree(start, middle)?);
                start = middle;
            }
        }
        // The old tree's own root need not be told to who has it.
        if start > 0 {
            proof.push(self.subtree(start, end)?);
        }
        proof.reverse();
        Ok(proof)
    }

    /// The entries of bundle `index`: 256, or fewer at the right edge. Each was held against its leaf hash.
    pub fn bundle(&mut self, index: u64) -> Result<Vec<Vec<u8>>, Error> {
        let hashes = self.tile(0, index)?;
        if hashes.is_empty() {
            return Err(Error::OutOfRange {
                asked: index.saturating_mul(TILE_WIDTH.into()),
                size: self.size(),
            });
        }
        // A tile has at most 256 hashes.
        let width = hashes.len() as u16;
        let (name, bytes) = read(&self.reader, Tile::entries(index, width))?;
        let damaged = |error: Error| Error::corrupt(name, error.to_string());
        let (entries, rest) = tile::first_entries(&bytes, width).map_err(damaged)?;
        if rest > 0 && name.width == width {
            return Err(Error::corrupt(name, format!("{rest} bytes follow the last entry")));
        }
        for (place, (entry, expected)) in entries.iter().zip(hashes.iter()).enumerate() {
            if hash::leaf(entry) != *expected {
                let number = index * u64::from(TILE_WIDTH) + place as u64;
                return Err(Error::corrupt(name, format!("entry {number} is not the one that was entered")));
            }
        }
        Ok(entries.into_iter().map(<[u8]>::to_vec).collect())
    }

    /// Reads every tile of hashes and holds it against the root.
    pub fn check_tiles(&mut self) -> Result<(), Error> {
        for index in 0..tile::edge_index(self.size(), 0) {
            self.tile(0, index)?;
        }
        Ok(())
    }

    fn check_size(&self, size: u64) -> Result<(), Error> {
        if size > self.size() { Err(Error::OutOfRange { asked: size, size: self.size() }) } else { Ok(()) }
    }

    /// The hash of the entries from `start` to `end`, which must be one of RFC 6962's splits.
    fn subtree(&mut self, start: u64, end: u64) -> Result<Hash, Error> {
        let count = end - start;
        if count.is_power_of_two() {
            let height = count.ilog2();
            return self.node(height, start >> height);
        }
        let middle = start + split(count);
        let left = self.subtree(start, middle)?;
        Ok(hash::node(&left, &self.subtree(middle, end)?))
    }

    /// The hash of the complete subtree of 2^height entries at `index` among those.
    fn node(&mut self, height: u32, index: u64) -> Result<Hash, Error> {
        // Heights are below 63, so levels are below 8.
        let level = (height / 8) as u8;
        let (first, count) = (index << (height % 8), 1_usize << (height % 8));
        let tile = self.tile(level, first / u64::from(TILE_WIDTH))?;
        let place = (first % u64::from(TILE_WIDTH)) as usize;
        match tile.get(place..place + count) {
            Some(hashes) => Ok(hash::root(hashes)),
            None => Err(Error::OutOfRange { asked: first, size: self.size() }),
        }
    }

    /// The hashes of a tile, held against the root through the tiles above it.
    fn tile(&mut self, level: u8, index: u64) -> Result<Arc<Vec<Hash>>, Error> {
        let edge = tile::edge_index(self.size(), level);
        if index == edge {
            return Ok(Arc::new(self.edge.level(level).to_vec()));
        }
        if index > edge {
            return Ok(Arc::default());
        }
        if let Some(tile) = self.cache.get(&(level, index)) {
            return Ok(Arc::clone(tile));
        }
        let above = self.tile(level + 1, index / u64::from(TILE_WIDTH))?;
        let expected = above.get((index % u64::from(TILE_WIDTH)) as usize);
        let (tile, hashes) = read_hashes(&self.reader, Tile::hashes(level, index, TILE_WIDTH))?;
        if expected != Some(&hash::root(&hashes)) {
            return Err(Error::corrupt(tile, "its hashes are not those that the checkpoint stands for"));
        }
        if self.cache.len() >= CACHED_TILES_MAX {
            self.cache.clear();
        }
        let hashes = Arc::new(hashes);
        self.cache.insert((level, index), Arc::clone(&hashes));
        Ok(hashes)
    }
}

/// The right edge of a tree as its tiles say; not yet held against a root.
pub(crate) fn read_edge(reader: &impl TileReader, size: u64) -> Result<Edge, Error> {
    let mut levels = Vec::new();
    for level in 0..LEVELS_MAX as u8 {
        let width = tile::edge_width(size, level);
        let hashes = match width {
            0 => Vec::new(),
            _ => read_hashes(reader, Tile::hashes(level, tile::edge_index(size, level), width))?.1,
        };
        levels.push(hashes);
    }
    let used = levels.iter().rposition(|level| !level.is_empty()).map_or(0, |last| last + 1);
    levels.truncate(used);
    Ok(Edge::from_levels(levels, size))
}

fn read_hashes(reader: &impl TileReader, tile: Tile) -> Result<(Tile, Vec<Hash>), Error> {
    let (name, bytes) = read(reader, tile)?;
    let mut hashes =
        tile::decode_hashes(&bytes, name.width).map_err(|error| Error::corrupt(name, error.to_string()))?;
    hashes.truncate(usize::from(tile.width));
    Ok((name, hashes))
}

/// A tile, or the full tile of its place where the partial one was collected; and which of them it is.
fn read(reader: &impl TileReader, tile: Tile) -> Result<(Tile, Vec<u8>), Error> {
    if let Some(bytes) = reader.read(&tile)? {
        return Ok((tile, bytes));
    }
    if !tile.is_full()
        && let Some(bytes) = reader.read(&tile.full())?
    {
        return Ok((tile.full(), bytes));
    }
    Err(Error::corrupt(tile, "it is missing"))
}
