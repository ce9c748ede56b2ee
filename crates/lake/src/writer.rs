//! The one writer of the three tables.

use std::marker::PhantomData;

use model::{Event, Position, Protocol, Reading, ReadingSink, Sequence, UtcMicros, VehicleId};

use crate::Error;

/// The frames of one sealed batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchRange {
    /// Its first frame.
    pub first: Sequence,
    /// Its last frame.
    pub last: Sequence,
    /// How many frames it has.
    pub frames: u64,
}

/// What a commit came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    /// The batch's rows are in the tables now.
    Done {
        /// Rows written, all three tables together.
        rows: u64,
        /// Size of the files written.
        bytes: u64,
    },
    /// They were already there: a replay.
    AlreadyDone,
    /// The tail does not hold all frames of the batch: decode the batch into [`LakeWriter::decode_batch`].
    NeedsRows,
}

/// Takes rows, one writer a lake. Its methods block: call them on a thread of their own, outside the async runtime.
pub struct LakeWriter {}

impl LakeWriter {
    /// The highest sequence whose rows all three tables hold in files; frames up to it need not be replayed.
    pub fn covered(&self) -> Option<Sequence> {
        unimplemented!()
    }

    /// Takes the rows of one frame of the journal; they show in queries when the sink is dropped. `segment` is the journal segment
    /// (any number that changes with it), sequences grow. A frame that the tables hold already gives no rows.
    pub fn begin_frame(
        &mut self,
        segment: u64,
        sequence: Sequence,
        vehicle: VehicleId,
        source: Protocol,
        received_at: UtcMicros,
    ) -> FrameSink<'_> {
        let _ = (segment, sequence, vehicle, source, received_at);
        unimplemented!()
    }

    /// Whether the tail is full: commit batches before the next frame.
    pub fn is_full(&self) -> bool {
        unimplemented!()
    }

    /// Shows all rows taken so far to queries at once (a query does so by itself, but not more often than each 100 ms).
    pub fn publish(&mut self) {
        unimplemented!()
    }

    /// Commits a sealed batch from the tail. Batches come in the order of their sequences; repeat the step after an error.
    pub fn commit(&mut self, batch: BatchRange) -> Result<Commit, Error> {
        let _ = batch;
        unimplemented!()
    }

    /// Takes a sealed batch's rows afresh, for a batch whose rows the tail does not hold in full.
    pub fn decode_batch(&mut self, batch: BatchRange) -> BatchSink<'_> {
        let _ = batch;
        unimplemented!()
    }
}

/// Takes the rows of one frame.
pub struct FrameSink<'a> {
    lake: PhantomData<&'a mut ()>,
}

impl ReadingSink for FrameSink<'_> {
    fn reading(&mut self, _reading: Reading<'_>) {}
    fn position(&mut self, _position: Position) {}
    fn event(&mut self, _event: Event<'_>) {}
}

/// Takes the rows of a whole batch; dropped without [`BatchSink::finish`] it leaves everything as it was.
pub struct BatchSink<'a> {
    lake: PhantomData<&'a mut ()>,
}

impl BatchSink<'_> {
    /// Takes the rows of one frame of the batch, in the batch's order.
    pub fn begin_frame(
        &mut self,
        sequence: Sequence,
        vehicle: VehicleId,
        source: Protocol,
        received_at: UtcMicros,
    ) -> FrameSink<'_> {
        let _ = (sequence, vehicle, source, received_at);
        unimplemented!()
    }

    /// Commits what came.
    pub fn finish(self) -> Result<Commit, Error> {
        unimplemented!()
    }
}
