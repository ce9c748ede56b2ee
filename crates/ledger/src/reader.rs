//! The log as it lies in a store, read without a claim on it.

use std::collections::VecDeque;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use store::Objects;

use crate::tile::{self, TILE_WIDTH};
use crate::tree::{Edge, Growth, read_edge};
use crate::{Error, Hash, SignedCheckpoint, Tile, TileReader, TreeView, VerifierKey};

/// The name of the register below the log's folder.
pub(crate) const HEAD: &str = "head.json";
/// The name of the published checkpoint below the log's folder (C2SP tlog-tiles).
pub(crate) const CHECKPOINT: &str = "checkpoint";

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

/// The register as it is stored: `head.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredHead {
    epoch: u64,
    /// Who claimed the log, for people.
    owner: String,
    size: u64,
    checkpoint: String,
    staged: Vec<String>,
}

impl Head {
    /// Entries in the log before the last commit.
    pub(crate) fn size_before(&self) -> u64 {
        self.checkpoint.size() - self.staged.len() as u64
    }

    pub(crate) fn encode(&self, owner: &str) -> Bytes {
        let stored = StoredHead {
            epoch: self.epoch,
            owner: owner.to_owned(),
            size: self.checkpoint.size(),
            checkpoint: self.checkpoint.note().to_owned(),
            staged: self.staged.iter().map(|entry| STANDARD.encode(entry)).collect(),
        };
        serde_json::to_vec(&stored).expect("numbers and texts are JSON").into()
    }

    pub(crate) fn parse(bytes: &[u8], key: &VerifierKey) -> Result<Self, Error> {
        let damaged = |why: String| Error::corrupt(HEAD, why);
        let stored: StoredHead = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
        let checkpoint =
            SignedCheckpoint::open(&stored.checkpoint, key).map_err(|error| damaged(error.to_string()))?;
        let decode =
            |entry: &String| STANDARD.decode(entry).map_err(|_| damaged("an entry is no base64".to_owned()));
        let staged: Vec<_> = stored.staged.iter().map(decode).collect::<Result<_, _>>()?;
        if checkpoint.size() != stored.size || staged.len() as u64 > stored.size {
            return Err(damaged("its sizes contradict each other".to_owned()));
        }
        Ok(Self { epoch: stored.epoch, checkpoint, staged })
    }

    /// The tree after the last commit, worked out from the tree before it and the staged entries and held against the signed root;
    /// and what the commit writes.
    pub(crate) fn grow(&self, tiles: &StoreTiles) -> Result<Grown, Error> {
        let mut edge = read_edge(tiles, self.size_before())?;
        let mut bundle = read_partial_bundle(tiles, self.size_before())?;
        let growth = edge.grow(&mut bundle, self.staged.iter().map(Vec::as_slice))?;
        if edge.root() != self.checkpoint.root() {
            let why = "its entries and the tiles at the right edge don't lead to the root that is signed";
            return Err(Error::corrupt(HEAD, why));
        }
        Ok(Grown { edge, bundle, growth })
    }
}

/// A tree after a commit.
pub(crate) struct Grown {
    pub(crate) edge: Edge,
    /// The incomplete bundle at the right edge.
    pub(crate) bundle: Vec<u8>,
    pub(crate) growth: Growth,
}

/// The entries of the incomplete bundle at the right edge, encoded.
pub(crate) fn read_partial_bundle(tiles: &StoreTiles, size: u64) -> Result<Vec<u8>, Error> {
    let width = tile::edge_width(size, 0);
    if width == 0 {
        return Ok(Vec::new());
    }
    let name = Tile::entries(tile::edge_index(size, 0), width);
    let bytes = match tiles.read(&name)? {
        Some(bytes) => bytes,
        None => tiles.read(&name.full())?.ok_or_else(|| Error::corrupt(name, "it is missing"))?,
    };
    let (_, rest) =
        tile::first_entries(&bytes, width).map_err(|error| Error::corrupt(name, error.to_string()))?;
    Ok(bytes[..bytes.len() - rest].to_vec())
}

/// A log's tiles in a store.
#[derive(Clone, Debug)]
pub struct StoreTiles {
    objects: Objects,
    folder: Path,
    /// Tiles of a commit that may not be in the store yet.
    staged: Arc<Growth>,
}

impl StoreTiles {
    pub(crate) fn new(objects: Objects, folder: Path) -> Self {
        Self { objects, folder, staged: Arc::default() }
    }
}

impl TileReader for StoreTiles {
    fn read(&self, tile: &Tile) -> Result<Option<Vec<u8>>, Error> {
        if let Some(bytes) = self.staged.get(tile) {
            return Ok(Some(bytes.clone()));
        }
        let name = below(&self.folder, &tile.path());
        Ok(self.objects.read(&name)?.map(|bytes| bytes.to_vec()))
    }
}

/// A name below the log's folder.
pub(crate) fn below(folder: &Path, name: &str) -> Path {
    Path::from(format!("{folder}/{name}"))
}

/// The entries of a log in order, with their indexes; each was held against the checkpoint.
#[derive(Debug)]
pub struct Entries {
    view: TreeView<StoreTiles>,
    next: u64,
    /// Of the bundle that was read last, those that are still to come.
    ready: VecDeque<Vec<u8>>,
}

impl Entries {
    pub(crate) fn new(view: TreeView<StoreTiles>, from: u64) -> Self {
        Self { view, next: from, ready: VecDeque::new() }
    }
}

impl Iterator for Entries {
    type Item = Result<(u64, Vec<u8>), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ready.is_empty() {
            if self.next >= self.view.size() {
                return None;
            }
            let width = u64::from(TILE_WIDTH);
            match self.view.bundle(self.next / width) {
                // Less than 256 are left out.
                Ok(entries) => self.ready = entries.into_iter().skip((self.next % width) as usize).collect(),
                Err(error) => {
                    self.next = u64::MAX;
                    return Some(Err(error));
                }
            }
        }
        let entry = self.ready.pop_front()?;
        let index = self.next;
        self.next += 1;
        Some(Ok((index, entry)))
    }
}

/// Reads the object `checkpoint`.
pub(crate) fn parse_checkpoint(bytes: &[u8], key: &VerifierKey) -> Result<SignedCheckpoint, Error> {
    let damaged = |why: String| Error::corrupt(CHECKPOINT, why);
    let note = std::str::from_utf8(bytes).map_err(|_| damaged("it is no text".to_owned()))?;
    SignedCheckpoint::open(note, key).map_err(|error| damaged(error.to_string()))
}

impl LogReader {
    /// A reader of the log in `folder`; nothing is read yet.
    pub fn new(objects: Objects, folder: Path, key: VerifierKey) -> Self {
        Self { objects, folder, key }
    }

    /// The published checkpoint (object `checkpoint`), its log's signature verified; `None` where there is none.
    pub fn checkpoint(&self) -> Result<Option<SignedCheckpoint>, Error> {
        let bytes = self.objects.read(&below(&self.folder, CHECKPOINT))?;
        bytes.map(|bytes| parse_checkpoint(&bytes, &self.key)).transpose()
    }

    /// The register (object `head.json`), its checkpoint's signature verified; `None` where there is none.
    pub fn head(&self) -> Result<Option<Head>, Error> {
        let bytes = self.objects.read(&below(&self.folder, HEAD))?;
        bytes.map(|bytes| Head::parse(&bytes, &self.key)).transpose()
    }

    /// The tree of a checkpoint, authenticated against it.
    pub fn view(&self, checkpoint: &SignedCheckpoint) -> Result<TreeView<StoreTiles>, Error> {
        TreeView::of(self.tiles(), checkpoint)
    }

    /// The tree of the register's checkpoint, including what is only staged.
    pub fn view_of_head(&self, head: &Head) -> Result<TreeView<StoreTiles>, Error> {
        let mut tiles = self.tiles();
        let Grown { edge, growth, .. } = head.grow(&tiles)?;
        tiles.staged = Arc::new(growth);
        TreeView::with_edge(tiles, edge, head.checkpoint.root())
    }

    /// The entries from index `from` to the end of the view.
    pub fn entries(&self, view: TreeView<StoreTiles>, from: u64) -> Entries {
        Entries::new(view, from)
    }

    /// The proof that entry `index` is in the tree of the checkpoint.
    pub fn inclusion_proof(&self, checkpoint: &SignedCheckpoint, index: u64) -> Result<Vec<Hash>, Error> {
        self.view(checkpoint)?.inclusion_proof(index, checkpoint.size())
    }

    fn tiles(&self) -> StoreTiles {
        StoreTiles::new(self.objects.clone(), self.folder.clone())
    }
}
