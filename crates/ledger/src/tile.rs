//! Tiles and entry bundles (c2sp.org/tlog-tiles): their names, which of them a growth writes, and the bundle's encoding.
//!
//! A full tile at level L and index N holds the 256 hashes of the subtrees of 256^L entries that begin at N * 256^(L+1). A
//! tile at the right edge is partial: narrower, under a name of its own.

use std::fmt;

use crate::hash::HASH_BYTES;
use crate::{Error, Hash};

/// Hashes or entries in a full tile.
pub const TILE_WIDTH: u16 = 256;
/// Levels of tiles that a size below 2^63 can have: 0 to 7.
pub const LEVELS_MAX: usize = 8;
/// The longest entry that a bundle can hold.
pub const ENTRY_BYTES_MAX: usize = u16::MAX as usize;
/// Bytes of the longest bundle.
pub const BUNDLE_BYTES_MAX: usize = TILE_WIDTH as usize * (2 + ENTRY_BYTES_MAX);

/// The highest level that a path may name.
const LEVEL_MAX: u8 = 63;
/// The longest index: `x018/x446/x744/x073/x709/x551/615`.
const INDEX_GROUPS_MAX: usize = 7;

/// What a tile holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TileKind {
    /// Hashes of subtrees of 256^level entries.
    Hashes(u8),
    /// Entries: an entry bundle.
    Entries,
}

/// One tile: 256 wide, or less at the right edge.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Tile {
    /// What it holds.
    pub kind: TileKind,
    /// Its place among the tiles of its kind, from the left.
    pub index: u64,
    /// Hashes or entries in it: 1 to 256.
    pub width: u16,
}

impl Tile {
    /// The tile of hashes at a level.
    pub fn hashes(level: u8, index: u64, width: u16) -> Self {
        Self { kind: TileKind::Hashes(level), index, width }
    }

    /// The bundle with the entries of the tile of this index and width at level 0.
    pub fn entries(index: u64, width: u16) -> Self {
        Self { kind: TileKind::Entries, index, width }
    }

    /// Whether it is 256 wide.
    pub fn is_full(&self) -> bool {
        self.width == TILE_WIDTH
    }

    /// The full tile of the same place.
    pub fn full(&self) -> Self {
        Self { width: TILE_WIDTH, ..*self }
    }

    /// Its name below the log's folder, such as `tile/0/x001/234` or `tile/entries/000.p/5`.
    pub fn path(&self) -> String {
        self.to_string()
    }

    /// The folder of the partial tiles of its place.
    pub fn partials(&self) -> String {
        format!("{}.p", self.full())
    }

    /// Reads a name that [`Tile::path`] made; `None` for any other.
    pub fn parse(path: &str) -> Option<Self> {
        let mut parts: Vec<&str> = path.strip_prefix("tile/")?.split('/').collect();
        // The kind, the groups of the index, and perhaps a width.
        if parts.len() > INDEX_GROUPS_MAX + 2 {
            return None;
        }
        let kind = match parts.remove(0) {
            "entries" => TileKind::Entries,
            level => TileKind::Hashes(number(level, 2)?.try_into().ok().filter(|level| *level <= LEVEL_MAX)?),
        };
        let width = match parts.as_slice() {
            [.., last, width] if last.ends_with(".p") => {
                let width =
                    number(width, 3)?.try_into().ok().filter(|width| (1..TILE_WIDTH).contains(width))?;
                parts.pop();
                width
            }
            _ => TILE_WIDTH,
        };
        let last = parts.pop()?;
        let last = if width == TILE_WIDTH { last } else { last.strip_suffix(".p")? };
        let mut index = 0_u64;
        for part in parts {
            index = index.checked_mul(1000)?.checked_add(group(part.strip_prefix('x')?)?)?;
        }
        index = index.checked_mul(1000)?.checked_add(group(last)?)?;
        let tile = Self { kind, index, width };
        // Leading groups of zeros are no second name of a tile.
        (tile.path() == path).then_some(tile)
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Hashes(level) => write!(f, "tile/{level}/")?,
            TileKind::Entries => f.write_str("tile/entries/")?,
        }
        let mut groups = vec![self.index % 1000];
        let mut rest = self.index / 1000;
        while rest > 0 {
            groups.push(rest % 1000);
            rest /= 1000;
        }
        for group in groups.iter().skip(1).rev() {
            write!(f, "x{group:03}/")?;
        }
        write!(f, "{:03}", groups[0])?;
        if self.is_full() { Ok(()) } else { write!(f, ".p/{}", self.width) }
    }
}

/// A decimal number without leading zeros.
fn number(text: &str, digits_max: usize) -> Option<u64> {
    let plain =
        !text.is_empty() && text.len() <= digits_max && text.bytes().all(|byte| byte.is_ascii_digit());
    (plain && (text == "0" || !text.starts_with('0'))).then(|| text.parse().ok())?
}

fn group(text: &str) -> Option<u64> {
    (text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

/// How wide the partial tile at the right edge of a level is; 0 where there is none.
pub fn edge_width(size: u64, level: u8) -> u16 {
    let hashes = size.checked_shr(8 * u32::from(level)).unwrap_or(0);
    // Below 256 by the remainder.
    (hashes % u64::from(TILE_WIDTH)) as u16
}

/// The index of the tile at the right edge of a level, which is also the number of full tiles of the level.
pub fn edge_index(size: u64, level: u8) -> u64 {
    size.checked_shr(8 * (u32::from(level) + 1)).unwrap_or(0)
}

/// All tiles of hashes and all bundles that the growth from `old` to `new` entries writes: the full ones that it completes, and
/// the partial ones at the new right edge. From an old size of 0 these are all that a log of the new size must have.
pub fn written(old: u64, new: u64) -> Vec<Tile> {
    let mut tiles = Vec::new();
    if new <= old {
        return tiles;
    }
    let mut add = |kind, level| {
        for index in edge_index(old, level)..edge_index(new, level) {
            tiles.push(Tile { kind, index, width: TILE_WIDTH });
        }
        let width = edge_width(new, level);
        let grew = new.checked_shr(8 * u32::from(level)) != old.checked_shr(8 * u32::from(level));
        if width > 0 && grew {
            tiles.push(Tile { kind, index: edge_index(new, level), width });
        }
    };
    add(TileKind::Entries, 0);
    for level in 0..LEVELS_MAX as u8 {
        add(TileKind::Hashes(level), level);
    }
    tiles
}

/// A tile's bytes.
pub fn encode_hashes(hashes: &[Hash]) -> Vec<u8> {
    hashes.concat()
}

/// The hashes of a tile's bytes; there must be `width` of them.
pub fn decode_hashes(bytes: &[u8], width: u16) -> Result<Vec<Hash>, Error> {
    let (hashes, rest) = bytes.as_chunks::<HASH_BYTES>();
    if rest.is_empty() && hashes.len() == usize::from(width) {
        Ok(hashes.to_vec())
    } else {
        Err(Error::malformed("a tile", format!("{} bytes are not {width} hashes", bytes.len())))
    }
}

/// Appends an entry to a bundle: its length in two bytes, the higher one first, and the entry.
pub fn push_entry(bundle: &mut Vec<u8>, entry: &[u8]) -> Result<(), Error> {
    let too_long = |_| Error::EntryTooLong { bytes: entry.len(), bytes_max: ENTRY_BYTES_MAX };
    let length = u16::try_from(entry.len()).map_err(too_long)?;
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
    Ok(())
}

/// A bundle of these entries.
pub fn encode_bundle<'a>(entries: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<u8>, Error> {
    let mut bundle = Vec::new();
    for entry in entries {
        push_entry(&mut bundle, entry)?;
    }
    Ok(bundle)
}

/// The entries of a bundle; there must be `width` of them and nothing after them.
pub fn decode_bundle(bytes: &[u8], width: u16) -> Result<Vec<&[u8]>, Error> {
    let (entries, rest) = first_entries(bytes, width)?;
    if rest == 0 {
        Ok(entries)
    } else {
        Err(Error::malformed("an entry bundle", format!("{rest} bytes too many")))
    }
}

/// The first entries of a bundle, and how many bytes follow them.
pub(crate) fn first_entries(bytes: &[u8], width: u16) -> Result<(Vec<&[u8]>, usize), Error> {
    let mut entries = Vec::with_capacity(usize::from(width));
    let mut rest = bytes;
    for _ in 0..width {
        let cut =
            || Error::malformed("an entry bundle", format!("cut in entry {} of {width}", entries.len()));
        let (length, after) = rest.split_first_chunk::<2>().ok_or_else(cut)?;
        let (entry, after) =
            after.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or_else(cut)?;
        entries.push(entry);
        rest = after;
    }
    Ok((entries, rest.len()))
}

#[cfg(test)]
mod tests {
    use super::{Tile, TileKind, decode_bundle, encode_bundle, written};

    #[test]
    fn paths_are_those_of_the_specification() {
        for (tile, path) in [
            (Tile::hashes(0, 1_234_067, 256), "tile/0/x001/x234/067"),
            (Tile::hashes(0, 1234, 5), "tile/0/x001/234.p/5"),
            (Tile::hashes(1, 0, 1), "tile/1/000.p/1"),
            (Tile::entries(5, 256), "tile/entries/005"),
            (Tile::entries(1000, 255), "tile/entries/x001/000.p/255"),
            (Tile::hashes(63, u64::MAX, 256), "tile/63/x018/x446/x744/x073/x709/x551/615"),
        ] {
            assert_eq!(tile.path(), path);
            assert_eq!(Tile::parse(path), Some(tile), "{path}");
            for end in 0..path.len() {
                if let Some(other) = Tile::parse(&path[..end]) {
                    assert_eq!(other.path(), path[..end]);
                }
            }
        }
        assert_eq!(Tile::entries(1234, 9).partials(), "tile/entries/x001/234.p");
    }

    #[test]
    fn a_tile_has_one_name() {
        for path in [
            "tile",
            "tile/",
            "tile/0",
            "tile/0/",
            "tile/00/000",
            "tile/64/000",
            "tile/0/0",
            "tile/0/x000/000",
            "tile/0/000.p",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/01",
            "tile/0/000.p/1/",
            "tile/0/+01",
            "tile/0/001/000",
            "tile/entries/x001",
            "tile/Entries/000",
            "tile/8/0/000x",
            "/tile/0/000",
            "tile/0/000/",
            "tile/-1/000",
            "tile/0/x018/x446/x744/x073/x709/x551/616",
            "tile/0/x001/x001/x001/x001/x001/x001/x001/x001/001",
            "tile/0/é00",
        ] {
            assert_eq!(Tile::parse(path), None, "{path}");
        }
    }

    #[test]
    fn a_log_of_70000_entries_has_the_published_tiles() {
        let tiles = written(0, 70_000);
        let count = |kind, full| {
            let width = |tile: &&Tile| tile.kind == kind && tile.is_full() == full;
            tiles.iter().filter(width).map(|tile| (1, tile.width)).fold((0, 0), |a, b| (a.0 + b.0, b.1))
        };
        assert_eq!(count(TileKind::Hashes(0), true), (273, 256));
        assert_eq!(count(TileKind::Hashes(0), false), (1, 112));
        assert_eq!(count(TileKind::Hashes(1), true), (1, 256));
        assert_eq!(count(TileKind::Hashes(1), false), (1, 17));
        assert_eq!(count(TileKind::Hashes(2), false), (1, 1));
        assert_eq!(count(TileKind::Hashes(3), false), (0, 0));
        assert_eq!(count(TileKind::Entries, true), (273, 256));
        let small: Vec<String> = written(255, 256).iter().map(Tile::path).collect();
        assert_eq!(small, ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]);
        assert_eq!(written(5, 5), []);
        // Level 1 does not grow here, so its partial tile is there already.
        let one: Vec<String> = written(300, 301).iter().map(Tile::path).collect();
        assert_eq!(one, ["tile/entries/001.p/45", "tile/0/001.p/45"]);
    }

    #[test]
    fn bundles_come_back_and_cut_ones_are_refused() {
        let long = vec![7; 300];
        let entries: [&[u8]; 3] = [b"one", b"", &long];
        let bundle = encode_bundle(entries).expect("short entries");
        assert_eq!(&bundle[..5], b"\x00\x03one");
        assert_eq!(decode_bundle(&bundle, 3).expect("a bundle"), entries);
        assert!(decode_bundle(&bundle, 2).is_err() && decode_bundle(&bundle, 4).is_err());
        for end in 0..bundle.len() {
            assert!(decode_bundle(&bundle[..end], 3).is_err(), "{end}");
        }
        assert!(encode_bundle([vec![0; 65_536].as_slice()]).is_err());
        assert!(encode_bundle([vec![0; 65_535].as_slice()]).is_ok());
    }
}
