//! Closed segments become batches.

use std::time::Duration;

use model::{Sequence, UtcMicros};

use crate::{BatchName, SegmentNumber};

/// A batch that lies durably in the store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SealedBatch {
    /// Its name.
    pub name: BatchName,
    /// The segment that it came from.
    pub segment: SegmentNumber,
    /// Its first sequence.
    pub first: Sequence,
    /// Its last sequence.
    pub last: Sequence,
    /// How many frames.
    pub frames: u64,
    /// The object's size.
    pub bytes: u64,
    /// Start of the UTC hour of all its frames.
    pub hour: UtcMicros,
}

/// Whether sealing works.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SealState {
    /// Closed segments that wait for their batch.
    pub waiting: usize,
    /// Batches sealed since the start.
    pub sealed: u64,
    /// Since when (monotonic clock) and why it fails; `None` while it works.
    pub failing: Option<(Duration, String)>,
}
