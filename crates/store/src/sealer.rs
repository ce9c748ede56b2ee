//! The sealer: closed segments become batches.
//!
//! In this order: batch written → object durable → those who wait told → segment free to be zeroed. After a crash between any two
//! of these steps the start finds the segment again, holds it against the batch that has its frames, and frees it.

use std::sync::Arc;
use std::time::Duration;

use model::{CenterName, Frame, GatewayName, Sequence, UtcMicros};

use crate::journal::{ClosedSegment, Shared};
use crate::store::read_batch;
use crate::{
    BatchHeader, BatchName, Created, Error, Keyring, Objects, OnSealed, Register, Row, SegmentNumber, batch,
};

/// First and longest pause between tries on a store that fails.
const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(10);

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

/// The right to free the journal's segment of a sealed batch. Until it is used the journal keeps the segment: who holds it back
/// (because the batch is not in the ledger yet) holds up the journal, in the end the vehicles. Dropped unused, the segment stays
/// until the next start. Segments are released in the order in which they were sealed.
#[must_use = "the journal keeps the segment until it is released"]
pub struct Release {
    shared: Arc<Shared>,
    number: SegmentNumber,
}

impl Release {
    /// Lets the journal zero the segment and use it again, and acknowledges what waited for the batch (`ack = "object"`).
    pub fn release(self) {
        self.shared.release(self.number);
    }
}

/// Whether sealing works.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SealState {
    /// Closed segments that wait for their batch, or for its release.
    pub waiting: usize,
    /// Batches sealed since the start.
    pub sealed: u64,
    /// Since when (monotonic clock) and why it fails; `None` while it works.
    pub failing: Option<(Duration, String)>,
}

/// Where batches go.
pub(crate) struct SealTarget {
    pub(crate) objects: Objects,
    pub(crate) keyring: Keyring,
    pub(crate) register: Register,
    pub(crate) center: CenterName,
    pub(crate) gateway: GatewayName,
    pub(crate) on_sealed: OnSealed,
}

pub(crate) struct Sealer {
    shared: Arc<Shared>,
    target: SealTarget,
}

impl Sealer {
    pub(crate) fn new(shared: Arc<Shared>, target: SealTarget) -> Self {
        Self { shared, target }
    }

    pub(crate) fn run(self) {
        let mut pause = RETRY_MIN;
        while let Some(segment) = self.shared.next_unsealed() {
            match self.seal(&segment) {
                Ok(()) => pause = RETRY_MIN,
                Err(error) => {
                    tracing::error!(segment = segment.number.0, %error, "sealing failed; trying again");
                    if !self.shared.sealing_failed(error.to_string(), pause) {
                        return;
                    }
                    pause = (pause * 2).min(RETRY_MAX);
                }
            }
        }
    }

    /// Seals the oldest closed segment. Returns whether there was one.
    pub(crate) fn step(&self) -> Result<bool, Error> {
        let Some(segment) = self.shared.unsealed() else { return Ok(false) };
        self.seal(&segment).map(|()| true)
    }

    fn seal(&self, segment: &ClosedSegment) -> Result<(), Error> {
        let sealed = self.target.seal(segment)?;
        self.shared.sealed(segment.number);
        let release = Release { shared: Arc::clone(&self.shared), number: segment.number };
        (self.target.on_sealed)(sealed, release);
        Ok(())
    }
}

impl SealTarget {
    fn seal(&self, segment: &ClosedSegment) -> Result<SealedBatch, Error> {
        self.register.check()?;
        let held = segment.read()?;
        let mut frames = held.frames().map(|(sequence, _)| sequence);
        let first = frames.next().expect("a segment that waits for its batch holds a frame");
        let (last, count) = frames.fold((first, 1), |(_, count), sequence| (sequence, count + 1));
        let (center, gateway) = (self.center.clone(), self.gateway.clone());
        let header = BatchHeader { center: center.clone(), gateway: gateway.clone(), first, last };
        let name = BatchName { center, gateway, hour: segment.hour, last };
        let bytes = batch::write(&header, held.frames(), &self.keyring)?;
        let mut length = bytes.len() as u64;
        if self.objects.create(&name.path(), bytes)? == Created::Exists {
            // An earlier try put it and did not hear of it. The bytes may differ (another compressor), the frames may not.
            let batch = read_batch(&self.objects, &name)?;
            length = batch.bytes();
            let held: Vec<_> = held.frames().collect();
            if batch.frames() != count || self.count_equal(&batch, &held)? != count {
                return Err(Error::corrupt(
                    name.path(),
                    "it exists already and holds other frames than the journal",
                ));
            }
        }
        Ok(SealedBatch {
            name,
            segment: segment.number,
            first,
            last,
            frames: count,
            bytes: length,
            hour: segment.hour,
        })
    }

    /// Holds a segment, found at the start, against the batches that have its frames up to the newest batch's last.
    pub(crate) fn compare_with_sealed(
        &self,
        segment: &ClosedSegment,
        sealed: &[BatchName],
    ) -> Result<(), Error> {
        let Some(through) = sealed.last().map(|batch| batch.last) else { return Ok(()) };
        let held = segment.read()?;
        let held: Vec<_> = held.frames().take_while(|(sequence, _)| *sequence <= through).collect();
        let (Some((first, _)), Some((last, _))) = (held.first(), held.last()) else { return Ok(()) };
        let mut equal = 0;
        for (index, name) in sealed.iter().enumerate() {
            // A batch has frames from the one before it, exclusively, to its own last.
            let after = index.checked_sub(1).map_or(Sequence(0), |before| sealed[before].last);
            if name.last >= *first && after < *last {
                equal += self.count_equal(&read_batch(&self.objects, name)?, &held)?;
            }
        }
        if equal == held.len() as u64 {
            return Ok(());
        }
        Err(Error::JournalDamaged {
            what: format!(
                "segment {}: {} of its frames {first} to {last} are not in the batches that should have them",
                segment.number.0,
                held.len() as u64 - equal
            ),
        })
    }

    /// How many of the held frames, which are in order, the batch has; fails where one differs.
    fn count_equal(&self, batch: &batch::Batch, held: &[(Sequence, Frame<'_>)]) -> Result<u64, Error> {
        let mut equal = 0;
        batch.for_each(&self.keyring, |row: Row<'_>| {
            if let Ok(at) = held.binary_search_by_key(&row.sequence, |(sequence, _)| *sequence) {
                // The bytes of a vehicle whose key was destroyed are gone on purpose.
                let frame = row.frame().unwrap_or(held[at].1);
                if frame != held[at].1 {
                    let what = format!("frame {} differs between journal and batch", row.sequence);
                    return Err(Error::JournalDamaged { what });
                }
                equal += 1;
            }
            Ok(())
        })?;
        Ok(equal)
    }
}
