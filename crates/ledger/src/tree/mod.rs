//! The tree of RFC 6962 over tiles: growing it, reading it, proving and verifying.
//!
//! [`Edge`] is all of a tree that appending needs. [`TreeView`] reads a tree of which the root is known and lets nothing
//! through that does not lead to that root. The functions at the end need only a proof.

mod edge;
#[cfg(test)]
mod tests;
mod verify;
mod view;

pub use edge::{Edge, Growth};
pub use verify::{verify_consistency, verify_inclusion};
#[cfg(feature = "writer")]
pub(crate) use view::read_edge;
pub use view::{TileReader, TreeView};

/// The largest size of a log; sizes fit in 63 bits so that no addition of two overflows.
pub const SIZE_MAX: u64 = i64::MAX as u64;

/// The most hashes in a proof.
pub const PROOF_HASHES_MAX: usize = 63;

/// The largest power of two below `count`, which must be above one.
fn split(count: u64) -> u64 {
    1 << (count - 1).ilog2()
}
