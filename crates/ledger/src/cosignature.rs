//! Cosignatures.
