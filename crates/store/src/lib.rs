//! What is durable: the journal that frames are acknowledged from, the sealed batches, the objects of the store, and the
//! vehicles' data keys.
//!
//! Deliberately not here: sockets, SQL, and what the bytes of a frame mean. Nothing enters the journal but what
//! [`policy::Admitted`] permits. Start at [`Store::open`] and [`Journal::append`].
//!
//! The rooms above may block on this one: its calls are synchronous, but for the `object_store` handle that engines use.

mod batch;
mod disk;
mod error;
#[cfg(any(test, feature = "faults"))]
pub mod faults;
#[cfg(test)]
mod fixture;
mod held;
mod journal;
mod keyring;
mod objects;
pub mod paths;
mod register;
mod sealer;
mod settings;
mod store;

pub use batch::{Batch, BatchHeader, Row, read, write};
pub use disk::{Disk, DiskFile, OsDisk};
pub use error::{Error, Kind};
pub use held::{HeldBlock, HeldFrames};
pub use journal::{
    AppendRefused, CommitWaiter, Flushes, Group, Health, Journal, JournalHands, JournalStats, SegmentNumber,
    Tail, TailError,
};
pub use keyring::{DataKey, Identity, Keyring, Recipient, open_small, seal_small};
/// The name of an object in the store.
pub use object_store::path::Path as ObjectPath;
pub use objects::{Created, DurableFolder, Objects, Version};
pub use paths::{BatchName, Names, ObjectKind};
pub use register::Register;
pub use sealer::{Release, SealState, SealedBatch};
pub use settings::{Ack, JournalSettings, Settings};
pub use store::{OnSealed, Store, World};
