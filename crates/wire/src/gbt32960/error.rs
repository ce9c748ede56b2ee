//! What can be wrong with a frame, and what cannot be built.

use crate::Malformed;
use crate::reader::Truncated;

/// A broken rule of the standard. Offsets count from the frame's first byte (in an encrypted data unit: as if
/// it had not been encrypted).
pub(super) fn malformed(offset: usize, rule: &'static str) -> Malformed {
    Malformed { what: "GB/T 32960 frame", rule, offset }
}

/// The same fault seen from `base` bytes further ahead.
pub(super) fn behind(error: Malformed, base: usize) -> Malformed {
    Malformed { offset: error.offset + base, ..error }
}

impl From<Truncated> for Malformed {
    fn from(truncated: Truncated) -> Self {
        malformed(truncated.offset, "the data end before what they declare")
    }
}

/// The data unit could not be turned to plain text: what the sender encrypted with is not what the center's
/// settings say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Undecipherable {
    /// RSA, SM2, SM4 or an unknown kind; only none (01) and AES-128 (03) are read.
    #[error("encryption kind {0:#04x} is not supported; have the sender use none (01) or AES-128 (03)")]
    Kind(u8),
    /// No AES key is set for this vehicle or platform.
    #[error("no AES-128 key is set for this sender; add one to the settings")]
    NoKey,
    /// No key that is set gives a well-formed data unit.
    #[error(
        "no AES-128 key that is set opens this data unit; compare key, mode and padding with the sender's"
    )]
    WrongKey,
}

/// Why a frame can't be read: one of the two above.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The bytes are wrong.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The bytes are closed.
    #[error(transparent)]
    Undecipherable(#[from] Undecipherable),
}

/// What was to be encoded does not fit the standard's counts and lengths; the caller's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} is too long for GB/T 32960: {length}, at most {length_max}")]
pub struct TooLong {
    /// Which part.
    pub what: &'static str,
    /// How long it is.
    pub length: usize,
    /// How long it may be.
    pub length_max: usize,
}
