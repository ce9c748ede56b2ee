//! Which groups lie where: what the tail reads and the sealer seals.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use model::{Frame, Sequence, UtcMicros};

use super::format::{GROUP_HEADER_BYTES, GroupHeader, Records};
use super::slots::FreeSlot;
use super::{CommitWaiter, SegmentNumber};
use crate::{DiskFile, Error, SealState};

/// Where a durable group lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct GroupPlace {
    pub(super) offset: u32,
    pub(super) bytes: u32,
    pub(super) first: Sequence,
    pub(super) last: Sequence,
}

/// A segment that holds durable groups.
pub(super) struct Segment {
    pub(super) number: SegmentNumber,
    pub(super) slot: u32,
    pub(super) salt: u64,
    pub(super) file: Arc<dyn DiskFile>,
    /// Start of the UTC hour of all of its frames.
    pub(super) hour: UtcMicros,
    pub(super) groups: Vec<GroupPlace>,
    /// Frames up to this one count as another segment's or are sealed: after a failed flush a group may stand in two segments.
    pub(super) after: Sequence,
    /// Takes no more groups.
    pub(super) is_closed: bool,
    /// Its batch lies in the store; it stays until whoever was told so releases it.
    pub(super) is_sealed: bool,
    /// A write or flush failed on its file, or its size is not the one that is set: it is made anew instead of reused.
    pub(super) is_suspect: bool,
    /// An earlier run wrote it: beyond its groups there may be one that was never whole.
    pub(super) is_recovered: bool,
    /// Who waits for the batch (`ack = "object"`).
    pub(super) waiters: Vec<Arc<CommitWaiter>>,
}

/// The segments with durable groups, oldest first.
#[derive(Default)]
pub(super) struct Index {
    segments: VecDeque<Segment>,
    /// Frames up to here are sealed, and gone from the journal.
    released: Sequence,
    emptied: Vec<FreeSlot>,
    sealed: u64,
    failing: Option<(Duration, String)>,
    has_ended: bool,
}

impl Index {
    /// The index of what recovery found; `compare` holds a segment against the batches that already have some of its frames.
    /// Also returns how many frames no batch holds yet.
    pub(super) fn recovered(
        segments: Vec<Segment>,
        sealed: Sequence,
        compare: impl Fn(&ClosedSegment) -> Result<(), Error>,
    ) -> Result<(Self, u64), Error> {
        let mut index = Self { released: sealed, ..Self::default() };
        let mut frames = 0;
        for mut segment in segments {
            if segment.first() <= sealed {
                compare(&segment.closed())?;
            }
            segment.after = segment.after.max(sealed);
            segment.groups.retain(|group| group.last > segment.after);
            if segment.groups.is_empty() {
                index.emptied.push(segment.into_free());
                continue;
            }
            let held = |group: &GroupPlace| group.last.0 - group.first.0.max(segment.after.0 + 1) + 1;
            frames += segment.groups.iter().map(held).sum::<u64>();
            index.segments.push_back(segment);
        }
        Ok((index, frames))
    }

    pub(super) fn take_emptied(&mut self) -> Vec<FreeSlot> {
        std::mem::take(&mut self.emptied)
    }

    /// Whether a segment holds a frame up to this one.
    pub(super) fn holds_up_to(&self, through: Sequence) -> bool {
        self.segments.front().is_some_and(|segment| segment.first() <= through)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Begins a segment.
    pub(super) fn open(&mut self, segment: Segment) {
        self.segments.push_back(segment);
    }

    /// Notes a durable group of the newest segment.
    pub(super) fn add(&mut self, group: GroupPlace) {
        let newest =
            self.segments.back_mut().expect("a group is committed to the segment that was opened last");
        newest.groups.push(group);
    }

    /// Keeps those who wait for the newest segment's batch.
    pub(super) fn add_waiters(&mut self, waiters: &mut Vec<Arc<CommitWaiter>>) {
        let newest =
            self.segments.back_mut().expect("a group is committed to the segment that was opened last");
        newest.waiters.append(waiters);
    }

    /// Closes the newest segment.
    pub(super) fn close_newest(&mut self, is_suspect: bool) {
        if let Some(newest) = self.segments.back_mut() {
            newest.is_closed = true;
            newest.is_suspect |= is_suspect;
        }
    }

    /// The oldest closed segment whose batch does not lie in the store yet.
    pub(super) fn oldest_unsealed(&self) -> Option<ClosedSegment> {
        let oldest = self.segments.iter().find(|segment| !segment.is_sealed);
        oldest.filter(|segment| segment.is_closed).map(Segment::closed)
    }

    /// Notes that a segment's batch lies in the store.
    pub(super) fn sealed(&mut self, number: SegmentNumber) {
        if let Some(segment) = self.segments.iter_mut().find(|segment| segment.number == number) {
            segment.is_sealed = true;
            self.sealed += 1;
            self.failing = None;
        }
    }

    /// Forgets the oldest segment: its slot, its last sequence and who waits for it.
    pub(super) fn release(&mut self, number: SegmentNumber) -> (FreeSlot, Sequence, Vec<Arc<CommitWaiter>>) {
        let mut segment = self.segments.pop_front().expect("who releases a segment was handed it");
        assert_eq!(segment.number, number, "segments are released in the order in which they were sealed");
        let (last, waiters) = (segment.last(), std::mem::take(&mut segment.waiters));
        self.released = self.released.max(last);
        (segment.into_free(), last, waiters)
    }

    pub(super) fn sealing_failed(&mut self, now: Duration, reason: String) {
        let since = self.failing.as_ref().map_or(now, |(since, _)| *since);
        self.failing = Some((since, reason));
    }

    pub(super) fn seal_state(&self) -> SealState {
        let waiting = self.segments.iter().filter(|segment| segment.is_closed).count();
        SealState { waiting, sealed: self.sealed, failing: self.failing.clone() }
    }

    pub(super) fn end_sealing(&mut self) {
        self.has_ended = true;
    }

    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Where the group with the first frame from `next` on lies.
    pub(super) fn find(&self, next: Sequence) -> Found {
        if next <= self.released {
            return Found::Released { resume: Sequence(self.released.0 + 1) };
        }
        let at = self.segments.partition_point(|segment| segment.last() < next);
        let Some(segment) = self.segments.get(at) else { return Found::Nothing };
        let group = segment.groups[segment.groups.partition_point(|group| group.last < next)];
        Found::Group { segment: segment.number, salt: segment.salt, file: Arc::clone(&segment.file), group }
    }

    /// The first sequence that is not released.
    pub(super) fn oldest(&self) -> Sequence {
        Sequence(self.released.0 + 1)
    }

    /// Whether the segment has not been released.
    pub(super) fn holds(&self, number: SegmentNumber) -> bool {
        self.segments.iter().any(|segment| segment.number == number)
    }
}

/// What [`Index::find`] found.
pub(super) enum Found {
    Group {
        segment: SegmentNumber,
        salt: u64,
        file: Arc<dyn DiskFile>,
        group: GroupPlace,
    },
    /// No group that far is durable yet.
    Nothing,
    /// It is sealed and gone.
    Released {
        resume: Sequence,
    },
}

impl Segment {
    pub(super) fn first(&self) -> Sequence {
        self.groups.first().map_or(Sequence(u64::MAX), |group| group.first)
    }

    pub(super) fn last(&self) -> Sequence {
        self.groups.last().map_or(Sequence(0), |group| group.last)
    }

    /// Its slot, once a batch holds its frames.
    fn into_free(self) -> FreeSlot {
        if self.is_suspect {
            return FreeSlot::Suspect { slot: self.slot };
        }
        let end = match self.groups.last() {
            Some(group) if !self.is_recovered => u64::from(group.offset) + u64::from(group.bytes),
            _ => u64::MAX,
        };
        FreeSlot::Dirty { slot: self.slot, file: self.file, end }
    }

    pub(super) fn closed(&self) -> ClosedSegment {
        ClosedSegment {
            number: self.number,
            salt: self.salt,
            file: Arc::clone(&self.file),
            hour: self.hour,
            groups: self.groups.clone(),
            after: self.after,
        }
    }
}

/// A segment as the sealer sees it.
pub(crate) struct ClosedSegment {
    pub(crate) number: SegmentNumber,
    /// Start of the UTC hour of all of its frames.
    pub(crate) hour: UtcMicros,
    salt: u64,
    file: Arc<dyn DiskFile>,
    groups: Vec<GroupPlace>,
    after: Sequence,
}

impl ClosedSegment {
    /// Reads it back from the disk, every group checked once more.
    pub(crate) fn read(&self) -> Result<SegmentFrames, Error> {
        let total = self.groups.iter().map(|group| group.bytes as usize).sum();
        let mut bytes = vec![0; total];
        let mut rest = bytes.as_mut_slice();
        for place in &self.groups {
            let (group, after) = rest.split_at_mut(place.bytes as usize);
            rest = after;
            let doing = || format!("reading journal segment {}", self.number.0);
            self.file.read_at(group, u64::from(place.offset)).map_err(Error::disk(doing()))?;
            let parsed = GroupHeader::parse(group, self.number, self.salt);
            if parsed.is_none_or(|(header, _)| (header.first, header.last()) != (place.first, place.last)) {
                let what = format!(
                    "segment {}: the group at {} changed after it was written",
                    self.number.0, place.offset
                );
                return Err(Error::JournalDamaged { what });
            }
        }
        Ok(SegmentFrames { bytes, groups: self.groups.clone(), after: self.after })
    }
}

/// A segment's frames in memory.
pub(crate) struct SegmentFrames {
    bytes: Vec<u8>,
    groups: Vec<GroupPlace>,
    after: Sequence,
}

impl SegmentFrames {
    /// The frames that count as this segment's, in order.
    pub(crate) fn frames(&self) -> impl Iterator<Item = (Sequence, Frame<'_>)> {
        let mut offset = 0;
        let groups = self.groups.iter().map(move |place| {
            let start = offset;
            offset += place.bytes as usize;
            (place.first, &self.bytes[start + GROUP_HEADER_BYTES..offset])
        });
        let mut past = self.after;
        groups.flat_map(|(first, body)| numbered(first, body)).filter(move |(sequence, _)| {
            // A group may repeat frames of an earlier one.
            let is_new = *sequence > past;
            past = past.max(*sequence);
            is_new
        })
    }
}

/// The frames of a group's body, numbered from `first`. The body was checked when the group was parsed.
pub(crate) fn numbered(first: Sequence, body: &[u8]) -> impl Iterator<Item = (Sequence, Frame<'_>)> {
    let frames = Records::of(body).map(|record| record.expect("the group's records were checked"));
    (first.0..).map(Sequence).zip(frames)
}
