//! What lies in the store, by its names.

use std::collections::{BTreeMap, BTreeSet};

use object_store::path::Path;
use store::ObjectKind;

use super::{Report, Store};
use crate::book::tables::{self, TableFile};
use crate::entry::Commitment;
use crate::{Error, Tile, TileKind};

/// The objects of a center.
pub(super) struct Listing {
    /// Objects that need an entry, by their names.
    pub(super) objects: BTreeMap<String, Object>,
    /// Openings, by their names.
    pub(super) openings: BTreeSet<String>,
}

/// An object that needs an entry.
pub(super) struct Object {
    pub(super) bytes: u64,
    pub(super) state: State,
    /// Whether its content was held against its commitment.
    pub(super) is_checked: bool,
}

/// What the log says of an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// Nothing.
    Unentered,
    /// It must be there.
    Entered { index: u64, commitment: Commitment },
    /// It may be there: something else stands for it.
    Removed { index: u64, commitment: Commitment },
    /// It must be gone.
    Destroyed { index: u64 },
}

impl Listing {
    /// Lists a center's objects.
    pub(super) fn read(store: &Store<'_>, report: &mut Report) -> Result<Self, Error> {
        let mut listing = Self { objects: BTreeMap::new(), openings: BTreeSet::new() };
        // The folder of all that is the center's has the center's name.
        let center = Path::from(store.names.center().as_str());
        for meta in store.objects.list(&center)? {
            let needs_entry = match store.names.kind(&meta.location) {
                ObjectKind::Genesis
                | ObjectKind::Batch(_)
                | ObjectKind::Control(_)
                | ObjectKind::Pack(_)
                | ObjectKind::Charter(_)
                | ObjectKind::Record(_)
                | ObjectKind::Manifest(_) => true,
                ObjectKind::Table(table) => {
                    tables::file(&store.names.table(&table), &meta.location) != TableFile::Derived
                }
                ObjectKind::Opening => {
                    listing.openings.insert(meta.location.clone().into());
                    false
                }
                // The signature is held against the genesis, the log against its tree; keys are wrapped, and deleted singly.
                ObjectKind::GenesisSignature | ObjectKind::Writer | ObjectKind::Key | ObjectKind::Ledger => {
                    false
                }
                ObjectKind::Foreign => {
                    report.find(&meta.location, "no object of a center has such a name: nobody entered it");
                    false
                }
            };
            if needs_entry {
                let object = Object { bytes: meta.size, state: State::Unentered, is_checked: false };
                listing.objects.insert(meta.location.into(), object);
            }
        }
        Ok(listing)
    }
}

/// The files of the log.
pub(super) struct LogListing {
    /// The widths of the tiles that lie at a place, narrow ones first.
    pub(super) tiles: BTreeMap<(TileKind, u64), Vec<u16>>,
}

impl LogListing {
    pub(super) fn read(store: &Store<'_>, report: &mut Report) -> Result<Self, Error> {
        let folder = store.names.ledger();
        let mut tiles: BTreeMap<_, Vec<u16>> = BTreeMap::new();
        for meta in store.objects.list(&folder)? {
            let below = meta.location.as_ref().strip_prefix(folder.as_ref()).unwrap_or_default();
            let below = below.trim_start_matches('/');
            match Tile::parse(below) {
                Some(tile) => tiles.entry((tile.kind, tile.index)).or_default().push(tile.width),
                None if below == "checkpoint" || below == "head.json" => {}
                None => report.find(&meta.location, "no file of a log has such a name"),
            }
        }
        tiles.values_mut().for_each(|widths| widths.sort_unstable());
        Ok(Self { tiles })
    }

    /// The widths that lie at a place.
    pub(super) fn widths(&self, kind: TileKind, index: u64) -> &[u16] {
        self.tiles.get(&(kind, index)).map_or(&[], Vec::as_slice)
    }
}
