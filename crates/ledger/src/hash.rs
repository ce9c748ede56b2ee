//! The hashes of RFC 6962, section 2.1.

use sha2::{Digest, Sha256};

/// A SHA-256 hash.
pub type Hash = [u8; HASH_BYTES];

/// Bytes of a hash.
pub const HASH_BYTES: usize = 32;

/// The hash of an entry.
pub fn leaf(entry: &[u8]) -> Hash {
    Sha256::new().chain_update([0x00]).chain_update(entry).finalize().into()
}

/// The hash of two subtrees.
pub fn node(left: &Hash, right: &Hash) -> Hash {
    // One update of the whole input is faster than three of its parts.
    let mut input = [0x01; 1 + 2 * HASH_BYTES];
    input[1..=HASH_BYTES].copy_from_slice(left);
    input[1 + HASH_BYTES..].copy_from_slice(right);
    Sha256::digest(input).into()
}

/// The root of the tree without entries.
pub fn empty() -> Hash {
    Sha256::digest([]).into()
}

/// The root over the hashes of subtrees that lie side by side; all are of one size but the last, which may be smaller.
/// The split is RFC 6962's: the left side is the largest power of two below the count.
pub fn root(hashes: &[Hash]) -> Hash {
    match hashes {
        [] => empty(),
        [one] => *one,
        [left, right] => node(left, right),
        more => {
            let (left, right) = more.split_at(more.len().next_power_of_two() / 2);
            node(&root(left), &root(right))
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    #[test]
    fn the_empty_root_is_the_published_one() {
        assert_eq!(STANDARD.encode(super::empty()), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
        assert_eq!(super::root(&[]), super::empty());
    }
}
