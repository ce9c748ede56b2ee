//! Verification of proofs (RFC 9162, sections 2.1.3.2 and 2.1.4.2).

use super::SIZE_MAX;
use crate::{Error, Hash, hash};

/// Verifies that the entry with the hash `leaf` is entry `index` of the tree of `size` entries with this root.
pub fn verify_inclusion(
    index: u64,
    size: u64,
    leaf: &Hash,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), Error> {
    if size > SIZE_MAX || index >= size {
        return Err(Error::proof(format!("there is no entry {index} among {size}")));
    }
    let mut place = Place { node: index, last: size - 1 };
    let mut found = *leaf;
    for sibling in proof {
        found = if place.step()? { hash::node(sibling, &found) } else { hash::node(&found, sibling) };
    }
    place.end()?;
    if found == *root { Ok(()) } else { Err(Error::proof("it leads to another root")) }
}

/// Verifies that the tree of `old` entries with one root is a prefix of the tree of `new` entries with another.
pub fn verify_consistency(
    old: u64,
    old_root: Hash,
    new: u64,
    new_root: Hash,
    proof: &[Hash],
) -> Result<(), Error> {
    if new > SIZE_MAX || old > new {
        return Err(Error::proof(format!("{new} entries don't follow {old}")));
    }
    if old == 0 || old == new {
        let holds = if old == new { old_root == new_root } else { old_root == hash::empty() };
        return match (proof.is_empty(), holds) {
            (true, true) => Ok(()),
            (false, _) => Err(Error::proof("there is nothing to prove, and yet there are hashes")),
            (true, false) => Err(Error::proof("the roots contradict each other")),
        };
    }
    // The old tree is its own first hash where it is complete.
    let own = old.is_power_of_two().then_some(&old_root);
    let mut hashes = own.into_iter().chain(proof);
    let Some(first) = hashes.next().filter(|_| !proof.is_empty()) else {
        return Err(Error::proof("there are no hashes"));
    };
    let shift = (old - 1).trailing_ones();
    let mut place = Place { node: (old - 1) >> shift, last: (new - 1) >> shift };
    let (mut found_old, mut found_new) = (*first, *first);
    for sibling in hashes {
        if place.step()? {
            found_old = hash::node(sibling, &found_old);
            found_new = hash::node(sibling, &found_new);
        } else {
            found_new = hash::node(&found_new, sibling);
        }
    }
    place.end()?;
    if found_old != old_root {
        return Err(Error::proof("it leads to another old root"));
    }
    if found_new == new_root { Ok(()) } else { Err(Error::proof("it leads to another new root")) }
}

/// A node on the way up, and the last node of its height.
struct Place {
    node: u64,
    last: u64,
}

impl Place {
    /// Goes up past one sibling; whether that lies on the left.
    fn step(&mut self) -> Result<bool, Error> {
        if self.last == 0 {
            return Err(Error::proof("it has too many hashes"));
        }
        let is_left = self.node & 1 == 1 || self.node == self.last;
        if is_left {
            // An incomplete subtree has no sibling until it is a right child.
            let up = self.node.trailing_zeros().min(u64::BITS - 1);
            self.node >>= up;
            self.last >>= up;
        }
        self.node >>= 1;
        self.last >>= 1;
        Ok(is_left)
    }

    fn end(&self) -> Result<(), Error> {
        if self.last == 0 { Ok(()) } else { Err(Error::proof("it has too few hashes")) }
    }
}
