//! The transparency log of a center: a C2SP tlog-tiles log in the object store.
//!
//! The pure part knows trees, tiles, notes, checkpoints, cosignatures and proofs; it has no IO and compiles to WebAssembly.
//! With the feature `writer` there is the log as it lies in a store: [`Ledger`] appends, [`LogReader`] reads.
//!
//! Deliberately not here: sockets, and what an entry's commitment commits to. Start at [`Ledger::append`] and [`TreeView`].

pub mod checkpoint;
pub mod cosignature;
mod error;
pub mod hash;
pub mod note;
pub mod proof;
pub mod tile;
pub mod tree;
pub mod witness;

#[cfg(feature = "writer")]
mod book;
#[cfg(feature = "writer")]
pub mod copy;
#[cfg(feature = "writer")]
pub mod entry;
#[cfg(feature = "writer")]
mod reader;
#[cfg(feature = "writer")]
mod sequencer;
#[cfg(feature = "writer")]
pub mod trace;
#[cfg(feature = "writer")]
mod verify;

#[cfg(feature = "writer")]
pub use book::{Book, Destruction, Meaning, Reconciled, TableVersion};
pub use checkpoint::{Checkpoint, SignedCheckpoint};
#[cfg(feature = "writer")]
pub use entry::{About, Entered, Entry, Label, Read, Refused, Word};
pub use error::{Error, Kind};
pub use hash::Hash;
pub use note::{Note, NoteSignature, SignatureType, SigningKey, VerifierKey};
pub use proof::TlogProof;
#[cfg(feature = "writer")]
pub use reader::{Entries, Head, LogReader, StoreTiles};
#[cfg(feature = "writer")]
pub use sequencer::{Ledger, LedgerHands, Parts, Pending, Receipt, Status};
pub use tile::{Tile, TileKind};
pub use tree::{Edge, Growth, TileReader, TreeView};
#[cfg(feature = "writer")]
pub use verify::{
    BatchProof, BatchProofs, Finding, Options, ProvedObject, Report, proof_of, proofs_of_batches, verify,
    verify_proof_file,
};
