//! Tiles and entry bundles.

/// What a tile holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TileKind {
    /// Hashes of subtrees of 256^level entries.
    Hashes(u8),
    /// Entries.
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
