//! The log from its first entry to its head: the tree is worked out and held against every tile, bundle and signed head.

use std::ops::Range;

use super::accounts::Accounts;
use super::heads::Heads;
use super::listing::LogListing;
use super::{Report, Store, first_difference};
use crate::hash::{HASH_BYTES, leaf, root};
use crate::tile::{TILE_WIDTH, decode_bundle, decode_hashes, edge_index, edge_width, encode_hashes};
use crate::{Edge, Error, Hash, Tile, TileKind};

/// Levels of tiles that a log can have.
const LEVELS: u8 = 8;

/// How far the tree is worked out.
#[derive(Default)]
pub(super) struct Walk {
    edge: Edge,
    /// Entries are missing and nothing stands for them: there is no tree after them.
    is_broken: bool,
    /// Entries that were walked past, whether they were readable or not.
    past: u64,
}

/// What one walk works with.
struct Step<'a> {
    store: &'a Store<'a>,
    heads: &'a Heads,
    log: &'a LogListing,
}

/// The entries of a bundle and their hashes.
struct Bundle {
    entries: Vec<Vec<u8>>,
    /// What the tree has for them; `None` where it can't be known.
    hashes: Option<Vec<Hash>>,
}

impl Walk {
    /// Entries of the log.
    pub(super) fn size(&self) -> u64 {
        self.past
    }

    /// The root that they lead to.
    pub(super) fn root(&self) -> Option<Hash> {
        (!self.is_broken).then(|| self.edge.root())
    }

    /// Goes on to a head.
    pub(super) fn walk_to(
        &mut self,
        store: &Store<'_>,
        heads: &Heads,
        log: &LogListing,
        accounts: &mut Accounts,
        report: &mut Report,
    ) -> Result<(), Error> {
        let step = Step { store, heads, log };
        if self.past == 0 {
            heads.check_root(0, || self.edge.root(), report);
        }
        let width = u64::from(TILE_WIDTH);
        for index in self.past / width..heads.size().div_ceil(width) {
            self.bundle(&step, index, accounts, report)?;
        }
        if self.is_broken {
            return Ok(());
        }
        self.edge_tiles(&step, report)?;
        step.needed(report)?;
        for (&(kind, index), widths) in &log.tiles {
            let level = if let TileKind::Hashes(level) = kind { level } else { 0 };
            let hashes = heads.size().checked_shr(8 * u32::from(level)).unwrap_or(0);
            for &width in
                widths.iter().filter(|&&width| index.saturating_mul(256) + u64::from(width) > hashes)
            {
                let place = step.place(Tile { kind, index, width });
                if heads.is_copy {
                    // A copy is cosigned once everything is here that its next entries name.
                    report.pending.push(place.to_string());
                } else {
                    report.find(place, "it lies beyond the end of the log");
                }
            }
        }
        Ok(())
    }

    fn bundle(
        &mut self,
        step: &Step<'_>,
        index: u64,
        accounts: &mut Accounts,
        report: &mut Report,
    ) -> Result<(), Error> {
        let start = index * u64::from(TILE_WIDTH);
        let width = (step.heads.size() - start).min(u64::from(TILE_WIDTH)) as u16;
        let bundle = step.read(&self.edge, index, width, self.is_broken, report)?;
        // A later walk begins in a bundle that an earlier one has seen a part of.
        let known = (self.past - start) as usize;
        for (number, entry) in bundle.entries.iter().enumerate().skip(known) {
            let is_trusted =
                bundle.hashes.as_ref().is_none_or(|hashes| hashes.get(number) == Some(&leaf(entry)));
            if is_trusted {
                accounts.take(step.store, start + number as u64, entry, report)?;
            }
        }
        self.past = start + u64::from(width);
        let Some(hashes) = bundle.hashes.filter(|_| !self.is_broken) else {
            self.is_broken = true;
            return Ok(());
        };
        if hashes[..known] != *self.edge.level(0) {
            report.find(step.place(Tile::entries(index, width)), "it changed while this was running");
        }
        let mut completed = Vec::new();
        for hash in &hashes[known..] {
            self.edge.append(*hash, |tile, hashes| completed.push((tile, hashes.to_vec())));
            step.heads.check_root(self.edge.size(), || self.edge.root(), report);
        }
        completed.iter().try_for_each(|(tile, hashes)| step.tiles(tile.kind, tile.index, hashes, report))
    }

    /// The partial tiles of the right edge.
    fn edge_tiles(&self, step: &Step<'_>, report: &mut Report) -> Result<(), Error> {
        for level in 0..LEVELS {
            let hashes = self.edge.level(level);
            if !hashes.is_empty() {
                step.tiles(TileKind::Hashes(level), edge_index(self.edge.size(), level), hashes, report)?;
            }
        }
        Ok(())
    }
}

impl Step<'_> {
    fn place(&self, tile: Tile) -> String {
        self.store.log_file(&tile.path()).into()
    }

    fn file(&self, tile: Tile) -> Result<Option<bytes::Bytes>, Error> {
        self.store.read(&self.store.log_file(&tile.path()))
    }

    /// Holds every tile of a place against the hashes that belong there.
    fn tiles(&self, kind: TileKind, index: u64, hashes: &[Hash], report: &mut Report) -> Result<(), Error> {
        let mut widths = self.log.widths(kind, index).to_vec();
        // What is not in the list may have been written since.
        if !widths.contains(&(hashes.len() as u16)) {
            widths.push(hashes.len() as u16);
        }
        for width in widths.into_iter().filter(|width| usize::from(*width) <= hashes.len()) {
            let tile = Tile { kind, index, width };
            let Some(bytes) = self.file(tile)? else { continue };
            report.tiles += 1;
            let wanted = encode_hashes(&hashes[..usize::from(width)]);
            if bytes != wanted {
                let byte = first_difference(&bytes, &wanted);
                report.find(
                    self.place(tile),
                    format!("from byte {byte} on it is not what the entries lead to"),
                );
            }
        }
        Ok(())
    }

    /// Tiles and bundles that a signed head needs.
    fn needed(&self, report: &mut Report) -> Result<(), Error> {
        let kinds = (0..LEVELS).map(TileKind::Hashes).chain([TileKind::Entries]);
        for kind in kinds {
            let level = if let TileKind::Hashes(level) = kind { level } else { 0 };
            let full = |size: u64| edge_index(size, level);
            let sure = full(self.heads.written_size());
            for index in 0..full(self.heads.size()) {
                let tile = Tile { kind, index, width: TILE_WIDTH };
                let is_listed = self.log.widths(kind, index).contains(&TILE_WIDTH);
                if is_listed || self.file(tile)?.is_some() {
                    continue;
                }
                self.miss(tile, index < sure, report);
            }
            // An entry bundle has the width of the tile of its hashes.
            for (size, is_sure) in [(self.heads.published_size(), true), (Some(self.heads.size()), false)] {
                let Some(size) = size else { continue };
                let (index, width) = (edge_index(size, level), edge_width(size, level));
                let tile = Tile { kind, index, width };
                let widths = self.log.widths(kind, index);
                let is_listed = widths.contains(&width) || widths.contains(&TILE_WIDTH);
                if width == 0 || is_listed || self.file(tile)?.is_some() || self.file(tile.full())?.is_some()
                {
                    continue;
                }
                self.miss(tile, is_sure, report);
            }
        }
        Ok(())
    }

    fn miss(&self, tile: Tile, is_sure: bool, report: &mut Report) {
        if is_sure {
            report.find(self.place(tile), "it is missing");
        } else if !report.pending.contains(&self.place(tile)) {
            report.pending.push(self.place(tile));
        }
    }

    /// Reads a bundle and decides what the tree has there.
    fn read(
        &self,
        edge: &Edge,
        index: u64,
        width: u16,
        is_broken: bool,
        report: &mut Report,
    ) -> Result<Bundle, Error> {
        let entries = self.entries(index, width, report)?;
        let of_entries: Vec<Hash> = entries.iter().map(|entry| leaf(entry)).collect();
        let of_tile = self.tile_hashes(index)?;
        let wanted = usize::from(width);
        let is_whole = of_entries.len() == wanted;
        let shared = of_entries.len().min(of_tile.len());
        let place = self.place(Tile::entries(index, width));
        let hashes = if is_whole && of_entries[..shared] == of_tile[..shared] {
            Some(of_entries)
        } else {
            let differs = (0..shared).find(|&number| of_entries[number] != of_tile[number]);
            let leads = |hashes: &[Hash]| -> Result<bool, Error> {
                if hashes.len() < wanted {
                    Ok(false)
                } else {
                    self.leads(edge, index, &hashes[..wanted], is_broken)
                }
            };
            let entry = |number: usize| index * u64::from(TILE_WIDTH) + number as u64;
            if is_whole && leads(&of_entries)? {
                // The tile is the wrong one; it is told where tiles are compared.
                Some(of_entries)
            } else if leads(&of_tile)? {
                if let Some(number) = differs {
                    report.find(&place, format!("entry {} is not the one that was entered", entry(number)));
                }
                Some(of_tile[..wanted].to_vec())
            } else {
                if let Some(number) = differs {
                    let what = format!(
                        "entry {} and its hash in the tile differ, and nothing tells which is right",
                        entry(number)
                    );
                    report.find(&place, what);
                }
                [of_entries, of_tile].into_iter().find(|hashes| hashes.len() >= wanted).map(|mut hashes| {
                    hashes.truncate(wanted);
                    hashes
                })
            }
        };
        if let Some(hashes) = &hashes {
            self.narrow_bundles(index, hashes, report)?;
            self.staged(index, hashes, report);
        }
        Ok(Bundle { entries, hashes })
    }

    /// The entries of a bundle, from the widest that is there and, for the last commit's, from the register.
    fn entries(&self, index: u64, width: u16, report: &mut Report) -> Result<Vec<Vec<u8>>, Error> {
        let mut widths = self.log.widths(TileKind::Entries, index).to_vec();
        widths.extend([width, TILE_WIDTH]);
        widths.sort_unstable();
        widths.dedup();
        let mut entries: Vec<Vec<u8>> = Vec::new();
        for width in widths.into_iter().rev() {
            let tile = Tile::entries(index, width);
            let Some(bytes) = self.file(tile)? else { continue };
            match decode_bundle(&bytes, width) {
                Ok(read) => {
                    entries = read.into_iter().map(<[u8]>::to_vec).collect();
                    break;
                }
                Err(error) => report.find(self.place(tile), error.to_string()),
            }
        }
        entries.truncate(usize::from(width));
        let start = index * u64::from(TILE_WIDTH);
        let missing = start + entries.len() as u64..start + u64::from(width);
        for at in missing.clone() {
            match self.heads.staged(at) {
                Some(entry) => entries.push(entry.to_vec()),
                None => {
                    let Range { end, .. } = missing;
                    let what = format!("entries {at} to {} are missing", end - 1);
                    report.find(self.place(Tile::entries(index, width)), what);
                    break;
                }
            }
        }
        Ok(entries)
    }

    /// The hashes of the widest tile of level 0 that is there and has a whole number of them.
    fn tile_hashes(&self, index: u64) -> Result<Vec<Hash>, Error> {
        for &width in self.log.widths(TileKind::Hashes(0), index).iter().rev() {
            let Some(bytes) = self.file(Tile::hashes(0, index, width))? else { continue };
            if let Ok(hashes) = decode_hashes(&bytes, width) {
                return Ok(hashes);
            }
        }
        Ok(Vec::new())
    }

    /// Whether hashes lead to what lies above them: the parent's hash in its tile, or, for the last of the log, its head.
    fn leads(&self, edge: &Edge, index: u64, hashes: &[Hash], is_broken: bool) -> Result<bool, Error> {
        let start = index * u64::from(TILE_WIDTH);
        if hashes.len() == usize::from(TILE_WIDTH) {
            let (parent, number) = (index / u64::from(TILE_WIDTH), (index % u64::from(TILE_WIDTH)) as usize);
            for &width in self.log.widths(TileKind::Hashes(1), parent).iter().rev() {
                let Some(bytes) = self.file(Tile::hashes(1, parent, width))? else { continue };
                if let Some(hash) = bytes.get(number * HASH_BYTES..(number + 1) * HASH_BYTES)
                    && hash == root(hashes)
                {
                    return Ok(true);
                }
            }
        }
        if is_broken || edge.size() < start || start + hashes.len() as u64 != self.heads.size() {
            return Ok(false);
        }
        let mut edge = edge.clone();
        for hash in &hashes[(edge.size() - start) as usize..] {
            edge.append(*hash, |_, _| {});
        }
        Ok(edge.root() == self.heads.root())
    }

    /// Narrow bundles that are still there begin as the widest one does.
    fn narrow_bundles(&self, index: u64, hashes: &[Hash], report: &mut Report) -> Result<(), Error> {
        for &width in self.log.widths(TileKind::Entries, index) {
            let tile = Tile::entries(index, width);
            let Some(bytes) = self.file(tile)?.filter(|_| usize::from(width) <= hashes.len()) else {
                continue;
            };
            report.tiles += 1;
            match decode_bundle(&bytes, width) {
                Ok(entries) => {
                    let wrong = entries.iter().zip(hashes).position(|(entry, hash)| leaf(entry) != *hash);
                    if let Some(number) = wrong {
                        let entry = index * u64::from(TILE_WIDTH) + number as u64;
                        report
                            .find(self.place(tile), format!("entry {entry} is not the one that was entered"));
                    }
                }
                Err(error) => report.find(self.place(tile), error.to_string()),
            }
        }
        Ok(())
    }

    /// What the register repeats of the last commit is what the log has.
    fn staged(&self, index: u64, hashes: &[Hash], report: &mut Report) {
        let start = index * u64::from(TILE_WIDTH);
        for (at, hash) in (start..).zip(hashes) {
            if self.heads.staged(at).is_some_and(|entry| leaf(entry) != *hash) {
                let what = format!("entry {at}, which it repeats, is not the one that was entered");
                report.find(self.store.log_file("head.json"), what);
            }
        }
    }
}
