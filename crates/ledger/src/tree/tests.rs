//! Trees over tiles, against the definition of RFC 6962 and against each other.

use std::collections::BTreeMap;

use super::{Edge, Growth, TileReader, TreeView, verify_consistency, verify_inclusion};
use crate::tile::written;
use crate::{Error, Hash, Tile, hash};

const SIZE: u64 = 600;

fn entry(index: u64) -> Vec<u8> {
    format!("entry {index}").into_bytes()
}

/// The definition (RFC 6962, section 2.1), as slow as it is plain.
fn naive(from: u64, to: u64) -> Hash {
    match to - from {
        0 => hash::empty(),
        1 => hash::leaf(&entry(from)),
        count => {
            let middle = from + (count as usize).next_power_of_two() as u64 / 2;
            hash::node(&naive(from, middle), &naive(middle, to))
        }
    }
}

/// All tiles that a log has which published every size up to this one.
fn grown(size: u64) -> (Edge, Growth) {
    let (mut edge, mut bundle, mut tiles) = (Edge::new(), Vec::new(), Growth::new());
    for index in 0..size {
        let entry = entry(index);
        let mut growth = edge.grow(&mut bundle, [entry.as_slice()]).expect("a short entry");
        let names: Vec<Tile> = growth.keys().copied().collect();
        let mut expected = written(index, index + 1);
        expected.sort_unstable();
        assert_eq!(names, expected);
        tiles.append(&mut growth);
    }
    (edge, tiles)
}

fn reader(tiles: &Growth) -> impl TileReader {
    |tile: &Tile| -> Result<Option<Vec<u8>>, Error> { Ok(tiles.get(tile).cloned()) }
}

#[test]
fn roots_are_those_of_the_definition() {
    let mut edge = Edge::new();
    for size in 0..=SIZE {
        assert_eq!(edge.root(), naive(0, size), "{size}");
        edge.append(hash::leaf(&entry(size)), |_, _| {});
    }
}

#[test]
fn a_growth_at_once_writes_what_the_growth_in_steps_writes() {
    let (stepwise, tiles) = grown(SIZE);
    for step in [1, 7, 255, 256, 257, 600] {
        let (mut edge, mut bundle, mut all) = (Edge::new(), Vec::new(), Growth::new());
        for from in (0..SIZE).step_by(step) {
            let entries: Vec<_> = (from..(from + step as u64).min(SIZE)).map(entry).collect();
            all.append(
                &mut edge.grow(&mut bundle, entries.iter().map(Vec::as_slice)).expect("short entries"),
            );
        }
        assert_eq!(edge, stepwise);
        for (tile, bytes) in &all {
            assert_eq!(tiles.get(tile), Some(bytes), "{tile}");
        }
    }
}

#[test]
fn proofs_of_all_sizes_hold_and_no_other() {
    let (edge, tiles) = grown(SIZE);
    let mut view = TreeView::open(reader(&tiles), SIZE, edge.root()).expect("a tree");
    assert_eq!(view.edge(), &edge);
    for size in (1..=SIZE).filter(|size| size % 7 == 1 || size.is_power_of_two() || size % 256 == 0) {
        let root = view.root_of(size).expect("a size of it");
        assert_eq!(root, naive(0, size));
        for index in (0..size).filter(|index| index % 13 == 0 || index + 1 == size) {
            let proof = view.inclusion_proof(index, size).expect("a proof");
            let leaf = hash::leaf(&entry(index));
            assert_eq!(view.leaf(index).expect("an entry of it"), leaf);
            verify_inclusion(index, size, &leaf, &proof, &root).expect("a good proof");
            assert!(verify_inclusion(index + 1, size, &leaf, &proof, &root).is_err());
            assert!(verify_inclusion(index, size, &hash::leaf(b"other"), &proof, &root).is_err());
            check_changed_hashes(&proof, |proof| verify_inclusion(index, size, &leaf, proof, &root));
        }
        for old in (0..=size).filter(|old| old % 11 == 0 || *old == size || old.is_power_of_two()) {
            let (old_root, proof) = (naive(0, old), view.consistency_proof(old, size).expect("a proof"));
            verify_consistency(old, old_root, size, root, &proof).expect("a good proof");
            assert!(verify_consistency(old, hash::leaf(b"other"), size, root, &proof).is_err());
            check_changed_hashes(&proof, |proof| verify_consistency(old, old_root, size, root, proof));
        }
    }
}

/// A proof with one hash more, less or changed must not hold.
fn check_changed_hashes(proof: &[Hash], verify: impl Fn(&[Hash]) -> Result<(), Error>) {
    let mut more = proof.to_vec();
    more.push(hash::empty());
    assert!(verify(&more).is_err());
    if let Some((last, others)) = proof.split_last() {
        assert!(verify(others).is_err() && verify(&proof[1..]).is_err());
        let mut changed = proof.to_vec();
        changed[others.len()] = hash::node(last, last);
        assert!(verify(&changed).is_err());
    }
}

#[test]
fn random_sizes_and_indexes_of_a_larger_tree() {
    const LARGE: u64 = 70_000;
    let entries: Vec<_> = (0..LARGE).map(entry).collect();
    let (mut edge, mut bundle) = (Edge::new(), Vec::new());
    let tiles = edge.grow(&mut bundle, entries.iter().map(Vec::as_slice)).expect("short entries");
    let mut view = TreeView::open(reader(&tiles), LARGE, edge.root()).expect("a tree");
    assert_eq!(edge.root(), naive(0, LARGE));
    let mut state = 42_u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for _ in 0..300 {
        let size = 1 + random(LARGE);
        let (index, old) = (random(size), random(size + 1));
        let root = view.root_of(size).expect("a size of it");
        let proof = view.inclusion_proof(index, size).expect("a proof");
        verify_inclusion(index, size, &hash::leaf(&entry(index)), &proof, &root).expect("a good proof");
        let (old_root, proof) =
            (view.root_of(old).expect("a size"), view.consistency_proof(old, size).expect("a proof"));
        verify_consistency(old, old_root, size, root, &proof).expect("a good proof");
    }
    view.check_tiles().expect("all tiles hold");
    assert!(view.inclusion_proof(5, LARGE + 1).is_err() && view.inclusion_proof(9, 9).is_err());
    assert!(view.consistency_proof(9, 8).is_err() && view.root_of(u64::MAX).is_err());
    assert!(view.bundle(LARGE).is_err() && view.bundle(u64::MAX).is_err() && view.leaf(LARGE).is_err());
}

#[test]
fn hostile_numbers_are_refused() {
    let root = hash::empty();
    for (index, size) in [(0, 0), (1, 1), (u64::MAX, u64::MAX), (0, u64::MAX), (u64::MAX - 1, u64::MAX)] {
        assert!(verify_inclusion(index, size, &root, &[], &root).is_err());
        assert!(verify_inclusion(index, size, &root, &[root; 70], &root).is_err());
        assert!(verify_consistency(index, root, size, root, &[root; 70]).is_err());
    }
    assert!(verify_inclusion(0, 1 << 62, &root, &[root; 70], &root).is_err());
    assert!(TreeView::open(reader(&BTreeMap::new()), u64::MAX, root).is_err());
    assert!(TreeView::open(reader(&BTreeMap::new()), 5, root).is_err());
    TreeView::open(reader(&BTreeMap::new()), 0, root).expect("the empty tree");
}

#[test]
fn the_full_tile_stands_for_a_partial_one_that_was_collected() {
    let (_, tiles) = grown(SIZE);
    let full: Growth =
        tiles.iter().filter(|(tile, _)| tile.is_full()).map(|(t, b)| (*t, b.clone())).collect();
    let partial_of_level_1 = tiles[&Tile::hashes(1, 0, 2)].clone();
    let mut full = full;
    full.insert(Tile::hashes(1, 0, 1), partial_of_level_1[..32].to_vec());
    let mut view = TreeView::open(reader(&full), 300, naive(0, 300)).expect("a tree");
    assert_eq!(view.bundle(1).expect("a bundle"), (256..300).map(entry).collect::<Vec<_>>());
    assert_eq!(view.bundle(0).expect("a bundle").len(), 256);
}

#[test]
fn a_flipped_byte_is_found_wherever_it_is() {
    let (edge, mut tiles) = grown(SIZE);
    let current = written(0, SIZE);
    let read_all = |tiles: &Growth| -> Result<(), Error> {
        let mut view = TreeView::open(reader(tiles), SIZE, edge.root())?;
        view.check_tiles()?;
        (0..3).try_for_each(|bundle| view.bundle(bundle).map(drop))
    };
    read_all(&tiles).expect("nothing is damaged");
    for tile in current {
        let bytes = tiles[&tile].len();
        for place in (0..bytes).step_by(61).chain([bytes - 1]) {
            tiles.get_mut(&tile).expect("it is there")[place] ^= 0x10;
            assert!(matches!(read_all(&tiles), Err(Error::Corrupt { .. })), "{tile} at {place}");
            tiles.get_mut(&tile).expect("it is there")[place] ^= 0x10;
        }
        let whole = tiles.remove(&tile).expect("it is there");
        let cut = |end: usize| whole[..end].to_vec();
        assert!(matches!(read_all(&tiles), Err(Error::Corrupt { .. })), "{tile} is missing");
        for end in [0, 1, bytes / 2, bytes - 1] {
            tiles.insert(tile, cut(end));
            assert!(matches!(read_all(&tiles), Err(Error::Corrupt { .. })), "{tile} cut at {end}");
        }
        tiles.insert(tile, [whole.as_slice(), &[0]].concat());
        assert!(matches!(read_all(&tiles), Err(Error::Corrupt { .. })), "{tile} with a byte more");
        tiles.insert(tile, whole);
    }
    read_all(&tiles).expect("all is whole again");
}
