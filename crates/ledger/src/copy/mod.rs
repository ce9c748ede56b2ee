//! A copy of another center's log and of every object that it names, kept byte for byte under that center's prefix.
//!
//! [`Copy::follow`] goes from the size that is held to a signed head of the log: it reads the entries, each held against the head's
//! root, fetches the objects that they name with their openings, holds each against its commitment and makes it durable, and takes
//! away what the entries took away. Only when nothing is missing may the head be cosigned and held ([`Copy::hold`]); the place where
//! the held head lies is the log's published checkpoint, so the copy is read as any other log. A crash anywhere leaves a copy that
//! is held up to an earlier size, and objects after it that the next run finds there.
//!
//! What is not entered because it is derived (the checkpoints of a table's log, the genesis's signature) is fetched too; the first
//! before commits that it stands for are destroyed here.

mod derived;
mod fetch;
mod step;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use object_store::path::Path;
use store::{Created, Names, Objects};

use crate::entry::{Adopted, Commitment, Entered, Opening};
use crate::reader::{CHECKPOINT, HEAD, Head, StoreTiles, below, parse_checkpoint, read_partial_bundle};
use crate::tile::{self, TILE_WIDTH};
use crate::tree::{Growth, read_edge};
use crate::{Edge, Entry, Error, SignedCheckpoint, Tile, TileKind, TileReader, TreeView, VerifierKey};

pub use derived::is_unentered;
pub use fetch::OBJECTS_AT_ONCE;

/// Where a copy is made from. Called from several threads.
pub trait Source: Sync {
    /// A tile or bundle of the log; `None` where there is none.
    fn tile(&self, tile: &Tile) -> Result<Option<Vec<u8>>, Error>;

    /// An object and the opening of its commitment; `None` where it is not there, or not any more.
    fn object(&self, name: &Path) -> Result<Option<(Bytes, Opening)>, Error>;

    /// An object that needs no entry: the genesis's signature, the checkpoint of a table's log and the pointer to it.
    fn unentered(&self, name: &Path) -> Result<Option<Bytes>, Error>;
}

/// What following the log brought.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Followed {
    /// Entries that were read.
    pub entries: u64,
    /// Objects that were fetched, and their bytes.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects that were taken away.
    pub removed: u64,
    /// Files that a later version of their table does without. They stay until [`Copy::discard`]: somebody may be reading them.
    pub leaving: Vec<Path>,
    /// Versions of tables among the entries.
    pub tables: u64,
    /// Changes of the registry among what was fetched: which keys there are follows from them.
    pub controls: Vec<u64>,
    /// Entries that say something else than what is held of others: what two centers say of each other would else never end.
    pub news: u64,
}

/// A copy of a center's log and objects. One process writes it.
#[derive(Debug)]
pub struct Copy {
    objects: Objects,
    names: Names,
    key: VerifierKey,
    edge: Edge,
    /// The incomplete bundle at the right edge.
    bundle: Vec<u8>,
    held: Option<SignedCheckpoint>,
    /// What the source did not have, and no entry has taken away yet.
    absent: BTreeMap<String, Commitment>,
    /// Commits of tables' logs that are destroyed as soon as a checkpoint is here that stands for them.
    due: BTreeSet<Path>,
    /// Places whose full tile is there and whose partial ones may go.
    completed: BTreeSet<(TileKind, u64)>,
    /// Objects that are asked for at once.
    at_once: usize,
}

/// A log's tiles as the source has them.
struct SourceTiles<'a>(&'a dyn Source);

impl TileReader for SourceTiles<'_> {
    fn read(&self, tile: &Tile) -> Result<Option<Vec<u8>>, Error> {
        self.0.tile(tile)
    }
}

/// What a log says of the changes of its center's registry that come after change `after`, by their numbers. Looks from the end of the
/// log back to the first that is not after it; every entry is held against the head.
///
/// # Errors
/// [`Error::Corrupt`] where the source sends what is not in the log, and whatever the source gives.
pub fn controls_after(
    source: &dyn Source,
    head: &SignedCheckpoint,
    after: u64,
) -> Result<BTreeMap<u64, Commitment>, Error> {
    let mut controls = BTreeMap::new();
    let mut view = TreeView::of(SourceTiles(source), head)?;
    for index in (0..head.size().div_ceil(u64::from(TILE_WIDTH))).rev() {
        for entry in view.bundle(index)?.iter().rev() {
            if let Entry::Control(control) | Entry::Adopted(Adopted::Control(control)) =
                Entered::parse(entry)?.entry
            {
                if control.number <= after {
                    return Ok(controls);
                }
                controls.insert(control.number, control.commitment);
            }
        }
    }
    Ok(controls)
}

impl Copy {
    /// Opens the copy of a center's prefix, or begins one.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where what lies there is no such copy.
    pub fn open(objects: Objects, names: Names, key: VerifierKey) -> Result<Self, Error> {
        let folder = names.ledger();
        let held = objects.read(&below(&folder, CHECKPOINT))?;
        let held = held.map(|bytes| parse_checkpoint(&bytes, &key)).transpose()?;
        let size = held.as_ref().map_or(0, SignedCheckpoint::size);
        let tiles = StoreTiles::new(objects.clone(), folder);
        let (edge, bundle) = (read_edge(&tiles, size)?, read_partial_bundle(&tiles, size)?);
        if let Some(held) = held.as_ref().filter(|held| held.root() != edge.root()) {
            let why =
                format!("its tiles don't lead to the root of the {} entries that are held", held.size());
            return Err(Error::corrupt(names.ledger(), why));
        }
        let (absent, due, completed) = Default::default();
        let at_once = OBJECTS_AT_ONCE;
        Ok(Self { objects, names, key, edge, bundle, held, absent, due, completed, at_once })
    }

    /// Asks for so many objects at once; for one after the other no thread is started.
    #[must_use]
    pub fn asking_at_once(self, objects: usize) -> Self {
        Self { at_once: objects.max(1), ..self }
    }

    /// The checkpoint up to which everything is held, with the cosignature that says so.
    pub fn held(&self) -> Option<&SignedCheckpoint> {
        self.held.as_ref()
    }

    /// Entries up to which everything is held.
    pub fn size(&self) -> u64 {
        self.held.as_ref().map_or(0, SignedCheckpoint::size)
    }

    /// Entries up to which the log was read; what they name may still be missing.
    pub fn reached(&self) -> u64 {
        self.edge.size()
    }

    /// What the source did not have and what no entry has taken away: while there is some, nothing more is held.
    pub fn absent(&self) -> impl Iterator<Item = &str> {
        self.absent.keys().map(String::as_str)
    }

    /// Whether everything up to the head that was followed last is here.
    pub fn is_whole(&self) -> bool {
        self.absent.is_empty() && self.due.is_empty()
    }

    /// Goes on to a head of the log. `followed` is told what that brought, also where it ends with an error: what was taken in is not
    /// gone through again, and what it asks of others must not be forgotten.
    ///
    /// # Errors
    /// [`Error::RolledBack`] and [`Error::Forked`] where the head is of an older or another log than the one that is held: then
    /// nothing was changed. [`Error::Corrupt`] where the source sends what its log does not name. After any error the next call goes on.
    pub fn follow(
        &mut self,
        source: &dyn Source,
        head: &SignedCheckpoint,
        followed: &mut Followed,
    ) -> Result<(), Error> {
        let known = self.edge.size();
        if head.size() < known {
            return Err(Error::RolledBack { ours: head.size(), seen: known });
        }
        let mut view = TreeView::of(SourceTiles(source), head)?;
        if view.root_of(known)? != self.edge.root() {
            return Err(Error::Forked { size: known });
        }
        let width = u64::from(TILE_WIDTH);
        for index in known / width..head.size().div_ceil(width) {
            let entries = view.bundle(index)?;
            let new = entries.get((self.edge.size() - index * width) as usize..).unwrap_or_default();
            self.step(source, new, followed)?;
            let (mut edge, mut bundle) = (self.edge.clone(), self.bundle.clone());
            let growth = edge.grow(&mut bundle, new.iter().map(Vec::as_slice))?;
            self.write_tiles(&growth)?;
            (self.edge, self.bundle) = (edge, bundle);
            followed.entries += new.len() as u64;
        }
        self.fetch_signature(source)?;
        self.destroy_due(source, followed)
    }

    /// Says that the head that was followed last is held: `cosigned` is that head, with the cosignature that promises it.
    ///
    /// # Errors
    /// [`Error::NotPublishable`] where it is another head, or something is missing.
    pub fn hold(&mut self, cosigned: SignedCheckpoint) -> Result<(), Error> {
        if cosigned.size() != self.edge.size() || cosigned.root() != self.edge.root() || !self.is_whole() {
            let why = "not everything that it names is here".to_owned();
            return Err(Error::NotPublishable { why });
        }
        self.put(&below(&self.names.ledger(), CHECKPOINT), Bytes::from(cosigned.note().to_owned()))?;
        self.held = Some(cosigned);
        self.collect_partials();
        Ok(())
    }

    /// Makes the copy the log of this center again, whose copy it was: its next entry follows what is held. `epoch` is greater than that
    /// of every earlier writer, `owner` is for people.
    ///
    /// # Errors
    /// [`Error::NotPublishable`] where nothing is held, or not all that was followed; [`Error::Corrupt`] where a log lies here.
    pub fn into_log(self, epoch: u64, owner: &str) -> Result<(), Error> {
        let size = self.edge.size();
        let Some(checkpoint) = self.held.filter(|held| held.size() == size) else {
            return Err(Error::NotPublishable { why: "not everything that it names is here".to_owned() });
        };
        let name = below(&self.names.ledger(), HEAD);
        let head = Head { epoch, checkpoint, staged: Vec::new() };
        match self.objects.create(&name, head.encode(owner))? {
            Created::New => Ok(()),
            Created::Exists => Err(Error::corrupt(name, "there is a log of its own")),
        }
    }

    /// Deletes files that were told as [`Followed::leaving`], with their openings.
    ///
    /// # Errors
    /// Where the store fails; some may be gone then.
    pub fn discard(&self, files: &[Path]) -> Result<(), Error> {
        files
            .iter()
            .filter(|file| self.names.opening(file).is_some())
            .try_for_each(|file| self.delete_with_opening(file))
    }

    /// The key that signs the log.
    pub fn log_key(&self) -> &VerifierKey {
        &self.key
    }

    fn write_tiles(&mut self, growth: &Growth) -> Result<(), Error> {
        let folder = self.names.ledger();
        let objects =
            growth.iter().map(|(tile, bytes)| (below(&folder, &tile.path()), Bytes::from(bytes.clone())));
        let objects: Vec<(Path, Bytes)> = objects.collect();
        self.objects.create_many(objects.clone())?;
        for (name, bytes) in objects {
            if self.objects.read(&name)?.as_ref() != Some(&bytes) {
                // The copy of a center that was rolled back and went another way has been refused before: this is damage here.
                self.put(&name, bytes)?;
            }
        }
        self.completed
            .extend(growth.keys().filter(|tile| tile.is_full()).map(|tile| (tile.kind, tile.index)));
        Ok(())
    }

    /// Deletes partial tiles whose full tile is there. A failure only leaves files that nobody needs.
    fn collect_partials(&mut self) {
        for (kind, index) in std::mem::take(&mut self.completed) {
            let full = Tile { kind, index, width: tile::TILE_WIDTH };
            let partials = below(&self.names.ledger(), &full.partials());
            let found = self.objects.list(&partials).unwrap_or_default();
            for partial in found {
                let _only_a_file_that_nobody_needs = self.objects.delete(&partial.location);
            }
        }
    }

    /// Puts an object in the place of whatever is there; the copy has one writer.
    fn put(&self, name: &Path, bytes: Bytes) -> Result<(), Error> {
        if let Some((there, version)) = self.objects.read_version(name)? {
            if there == bytes || self.objects.replace(name, bytes, &version)?.is_some() {
                return Ok(());
            }
        } else if self.objects.create(name, bytes)? == Created::New {
            return Ok(());
        }
        Err(Error::corrupt(name, "somebody else writes into this copy"))
    }

    fn delete_with_opening(&self, object: &Path) -> Result<(), Error> {
        self.objects.delete(object)?;
        if let Some(opening) = self.names.opening(object) {
            self.objects.delete(&opening)?;
        }
        Ok(())
    }
}
