//! Reading the journal while it grows.

use std::sync::Arc;

use model::{Frame, Sequence};

use super::format::{GROUP_HEADER_BYTES, GroupHeader};
use super::index::{Found, numbered};
use super::{SegmentNumber, Shared};
use crate::{Error, HeldBlock};

/// Reads the journal's durable groups in order. It reads the segments' files (the page cache, as a rule) and holds nothing up.
pub struct Tail {
    shared: Arc<Shared>,
    next: Sequence,
    /// The group read last; reused.
    bytes: Vec<u8>,
}

impl Tail {
    pub(super) fn new(shared: Arc<Shared>, from: Sequence) -> Self {
        Self { shared, next: from.max(Sequence(1)), bytes: Vec::new() }
    }

    /// The next group, or `None` while nothing more is durable (wait on [`super::Journal::committed`]). Blocks on the disk.
    pub fn next_group(&mut self) -> Result<Option<Group<'_>>, TailError> {
        let found = self.shared.index.lock().find(self.next);
        let (segment, salt, file, place) = match found {
            Found::Group { segment, salt, file, group } => (segment, salt, file, group),
            Found::Nothing => return Ok(None),
            Found::Released { resume } => return Err(TailError::Overrun { resume }),
        };
        self.bytes.resize(place.bytes as usize, 0);
        let read = file.read_at(&mut self.bytes, u64::from(place.offset));
        // The segment may have been sealed, released and zeroed while its file was read.
        let index = self.shared.index.lock();
        if !index.holds(segment) {
            let Found::Released { resume } = index.find(self.next) else {
                unreachable!("what was found and is not held any more was released")
            };
            return Err(TailError::Overrun { resume });
        }
        drop(index);
        read.map_err(Error::disk(format!("reading journal segment {}", segment.0)))?;
        if GroupHeader::parse(&self.bytes, segment, salt).is_none() {
            let what =
                format!("segment {}: the group at {} changed after it was written", segment.0, place.offset);
            return Err(TailError::Store(Error::JournalDamaged { what }));
        }
        let from = self.next;
        self.next = Sequence(place.last.0 + 1);
        Ok(Some(Group {
            segment,
            first: place.first,
            from,
            last: place.last,
            body: &self.bytes[GROUP_HEADER_BYTES..],
        }))
    }

    /// The sequence that comes next.
    pub fn next_sequence(&self) -> Sequence {
        self.next
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
    Store(#[from] Error),
}

/// Frames that became durable together.
#[derive(Clone, Copy)]
pub struct Group<'a> {
    segment: SegmentNumber,
    /// The sequence of the first record in `body`.
    first: Sequence,
    /// Records before this were given already.
    from: Sequence,
    last: Sequence,
    body: &'a [u8],
}

impl<'a> Group<'a> {
    /// The segment, and so the batch, that they belong to.
    pub fn segment(&self) -> SegmentNumber {
        self.segment
    }

    /// It as another center holds it.
    pub fn held(&self) -> HeldBlock<'a> {
        HeldBlock { first: self.first, last: self.last, body: self.body }
    }

    /// The last sequence in it.
    pub fn last(&self) -> Sequence {
        self.last
    }

    /// Its frames in order.
    pub fn frames(&self) -> impl Iterator<Item = (Sequence, Frame<'a>)> + use<'a> {
        let from = self.from;
        numbered(self.first, self.body).skip_while(move |(sequence, _)| *sequence < from)
    }
}
