//! The journal: frames of all connections of a gateway, appended, made durable as groups, and kept until a batch holds them.

mod stats;
mod waiter;

use std::sync::Arc;

use model::{Frame, Sequence};
use policy::{Admitted, RegistryVersion};
use tokio::sync::watch;

pub use stats::{Flushes, Health, JournalStats};
pub use waiter::CommitWaiter;

/// A segment's number: grows by one with each segment put to use, and is never used twice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SegmentNumber(pub u64);

/// Why a frame was not appended. Nothing of it was kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AppendRefused {
    /// The admission is older than the last barrier: decide anew and append again.
    Stale,
    /// No room, or the disk fails: read no more, wait for [`Journal::ready`], append again.
    Paused,
    /// The frame can never fit. The listeners' own limits are lower, so the sender has broken the protocol.
    TooLarge,
    /// The journal is closed: the program is ending.
    Closed,
}

/// A gateway's journal. Clones are the same journal.
#[derive(Clone)]
pub struct Journal {}

impl Journal {
    /// Appends a frame to the group that is being gathered; never waits for the disk, allocates nothing in steady state.
    ///
    /// `waiter` is woken when the frame is durable: then, and not before, it may be acknowledged.
    pub fn append(
        &self,
        frame: Admitted<Frame<'_>>,
        waiter: &Arc<CommitWaiter>,
    ) -> Result<Sequence, AppendRefused> {
        let _ = (frame, waiter);
        unimplemented!()
    }

    /// Waits until [`AppendRefused::Paused`] is over.
    pub async fn ready(&self) {
        unimplemented!()
    }

    /// From when this returns, frames whose admission is older than `version` are refused as [`AppendRefused::Stale`].
    /// Returns the last sequence appended before.
    pub fn raise_barrier(&self, version: RegistryVersion) -> Sequence {
        let _ = version;
        unimplemented!()
    }

    /// The last sequence that is durable in the journal, as it grows.
    pub fn committed(&self) -> watch::Receiver<Sequence> {
        unimplemented!()
    }

    /// Reads durable frames from sequence `from` on, in order.
    pub fn tail(&self, from: Sequence) -> Tail {
        let _ = from;
        unimplemented!()
    }

    /// Whether frames become durable.
    pub fn health(&self) -> Health {
        unimplemented!()
    }

    /// Counters since the start.
    pub fn stats(&self) -> &JournalStats {
        unimplemented!()
    }

    /// Whether sealing works, and how many segments wait for it.
    pub fn sealing(&self) -> crate::SealState {
        unimplemented!()
    }

    /// Takes no more frames, makes durable what was appended and ends the journal's threads. With `seal` it first waits, at
    /// most `wait`, until everything is sealed; returns whether that is so.
    pub fn close(&self, seal: bool, wait: std::time::Duration) -> bool {
        let _ = (seal, wait);
        unimplemented!()
    }
}

/// Reads the journal's durable groups in order.
pub struct Tail {}

impl Tail {
    /// The next group, or `None` while nothing more is durable (wait on [`Journal::committed`]).
    pub fn next_group(&mut self) -> Result<Option<Group<'_>>, TailError> {
        unimplemented!()
    }

    /// The sequence that comes next.
    pub fn next_sequence(&self) -> Sequence {
        unimplemented!()
    }
}

/// Why the tail can't go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TailError {
    /// The frames are sealed and their segment is free again: read them from the batches (`Store::batches_after`), then
    /// start a new tail at `resume`.
    #[error("the journal no longer holds the frames; those before {resume} lie in batches")]
    Overrun {
        /// The first sequence that the journal still holds or will give out.
        resume: Sequence,
    },
    /// The segment can't be read.
    #[error(transparent)]
    Store(#[from] crate::Error),
}

/// Frames that became durable together.
pub struct Group<'a> {
    bytes: &'a [u8],
}

impl<'a> Group<'a> {
    /// The segment, and so the batch, that they belong to.
    pub fn segment(&self) -> SegmentNumber {
        unimplemented!()
    }

    /// Its frames in order.
    pub fn frames(&self) -> impl Iterator<Item = (Sequence, Frame<'a>)> + use<'a> {
        let _ = self.bytes;
        std::iter::empty()
    }
}
