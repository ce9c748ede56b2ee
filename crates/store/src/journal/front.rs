//! The front of the journal: where connections put their frames. Everything here happens under one short lock.

use std::collections::VecDeque;
use std::sync::Arc;

use model::{Frame, Sequence, UtcMicros};
use policy::RegistryVersion;

use super::format::{BLOCK_BYTES, GROUP_HEADER_BYTES, RECORD_HEADER_BYTES, put_record};
use super::{AppendRefused, CommitWaiter};

/// The longest group: more than a slow disk's flush lets gather at the rates meant for one machine.
const GROUP_BYTES_MAX: usize = 4 << 20;
/// Groups of frames not yet durable, in their longest form, that are kept in memory; beyond it reading pauses.
const GROUPS_UNACKED_MAX: usize = 2;
/// Emptied buffers kept for the next groups.
const SPARES_MAX: usize = 3;
/// How far before the newest hour of the journal a frame may lie and still be counted to that hour: more than the time between
/// a connection's look at the clock and its append, less than a real step of the clock.
const STRAGGLER_MICROS_MAX: i64 = 60 * UtcMicros::PER_SECOND;

/// What follows from a segment's size.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// The longest group, header included.
    group_bytes_max: usize,
}

impl Limits {
    pub(super) fn of(segment_bytes: u64) -> Self {
        let room = usize::try_from(segment_bytes).expect("segments are at most 1 GiB") - BLOCK_BYTES;
        Self { group_bytes_max: room.min(GROUP_BYTES_MAX) }
    }

    fn unacked_bytes_max(self) -> usize {
        self.group_bytes_max * GROUPS_UNACKED_MAX
    }
}

/// Frames that will become durable together.
#[derive(Default)]
pub(super) struct GroupBuffer {
    /// Room for the header, then the records.
    pub(super) bytes: Vec<u8>,
    pub(super) first: Sequence,
    pub(super) frames: u32,
    /// Start of the UTC hour of all of its frames.
    pub(super) hour: UtcMicros,
    /// Each connection with frames in it, once.
    pub(super) waiters: Vec<Arc<CommitWaiter>>,
}

impl GroupBuffer {
    pub(super) fn last(&self) -> Sequence {
        Sequence(self.first.0 + u64::from(self.frames) - 1)
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.resize(GROUP_HEADER_BYTES, 0);
        self.waiters.clear();
        self.frames = 0;
    }
}

/// Where connections put their frames.
pub(super) struct Front {
    limits: Limits,
    barrier: RegistryVersion,
    /// The sequence of the next frame.
    next: Sequence,
    /// Grows with each group begun; never 0, which is what a new waiter holds.
    group: u64,
    current: GroupBuffer,
    /// The hour of the last frame.
    hour: UtcMicros,
    /// Groups that are complete because they are full or their hour is over.
    full: VecDeque<GroupBuffer>,
    spares: Vec<GroupBuffer>,
    /// Bytes of groups here and in the committer's hands.
    unacked_bytes: usize,
    /// The disk fails or the journal's room is used up.
    is_blocked: bool,
    /// Nothing is taken until the owner says so.
    is_held: bool,
    is_closed: bool,
    /// Somebody waits for room, or was refused and is about to.
    is_awaited: bool,
}

impl Front {
    /// An empty front; `last` is the last sequence that was ever used.
    pub(super) fn new(limits: Limits, last: Sequence) -> Self {
        let mut current = GroupBuffer::default();
        current.clear();
        Self {
            limits,
            barrier: RegistryVersion::default(),
            next: Sequence(last.0 + 1),
            group: 1,
            current,
            hour: UtcMicros::default(),
            full: VecDeque::new(),
            spares: Vec::new(),
            unacked_bytes: 0,
            is_blocked: false,
            is_held: false,
            is_closed: false,
            is_awaited: false,
        }
    }

    pub(super) fn append(
        &mut self,
        frame: &Frame<'_>,
        version: RegistryVersion,
        waiter: &Arc<CommitWaiter>,
    ) -> Result<Sequence, AppendRefused> {
        let bytes = RECORD_HEADER_BYTES + frame.bytes.len();
        if self.is_closed {
            return Err(AppendRefused::Closed);
        }
        if GROUP_HEADER_BYTES + bytes > self.limits.group_bytes_max {
            return Err(AppendRefused::TooLarge);
        }
        if version < self.barrier {
            return Err(AppendRefused::Stale);
        }
        if self.is_held || self.is_blocked || self.unacked_bytes + bytes > self.limits.unacked_bytes_max() {
            self.is_awaited = true;
            return Err(AppendRefused::Paused);
        }
        let received_at = self.hour_of_group(frame.received_at);
        let hour = hour_of(received_at);
        let is_full = self.current.bytes.len() + bytes > self.limits.group_bytes_max;
        if self.current.frames > 0 && (is_full || self.current.hour != hour) {
            self.complete_current();
        }
        if self.current.frames == 0 {
            self.current.first = self.next;
            self.current.hour = hour;
        }
        self.hour = hour;
        put_record(&mut self.current.bytes, frame, received_at);
        self.current.frames += 1;
        self.unacked_bytes += bytes;
        if waiter.enters(self.group) {
            self.current.waiters.push(Arc::clone(waiter));
        }
        let sequence = self.next;
        self.next.0 += 1;
        Ok(sequence)
    }

    pub(super) fn raise_barrier(&mut self, version: RegistryVersion) -> Sequence {
        self.barrier = self.barrier.max(version);
        Sequence(self.next.0 - 1)
    }

    /// Nothing waits to be committed.
    pub(super) fn is_idle(&self) -> bool {
        self.current.frames == 0 && self.full.is_empty()
    }

    /// Whether an append may be refused for want of room. Half of the room must be free, so that those who wait do not come in
    /// turns of one frame.
    pub(super) fn pauses(&self) -> bool {
        let is_full = self.unacked_bytes > self.limits.unacked_bytes_max() / 2;
        !self.is_closed && (self.is_held || self.is_blocked || is_full)
    }

    /// Whether there is something to wait for; who waits is then told of its end, also one who was never refused.
    pub(super) fn awaits_room(&mut self) -> bool {
        self.is_awaited = self.is_awaited || self.pauses();
        self.pauses()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    pub(super) fn close(&mut self) {
        self.is_closed = true;
    }

    /// Moves what waits to be committed into `groups`, in order.
    pub(super) fn take(&mut self, groups: &mut VecDeque<GroupBuffer>) {
        if self.current.frames > 0 {
            self.complete_current();
        }
        groups.append(&mut self.full);
    }

    /// Takes a group back that is durable (or given up). Returns whether to tell those who wait for room.
    pub(super) fn give_back(&mut self, mut group: GroupBuffer) -> bool {
        self.unacked_bytes -= group.bytes.len() - GROUP_HEADER_BYTES;
        group.clear();
        if self.spares.len() < SPARES_MAX {
            self.spares.push(group);
        }
        self.tell_room()
    }

    /// Blocks or unblocks appends. Returns whether to tell those who wait for room.
    pub(super) fn set_blocked(&mut self, is_blocked: bool) -> bool {
        self.is_blocked = is_blocked;
        self.tell_room()
    }

    /// Takes nothing any more, or takes again. Returns whether to tell those who wait for room.
    pub(super) fn set_held(&mut self, is_held: bool) -> bool {
        self.is_held = is_held;
        self.tell_room()
    }

    fn tell_room(&mut self) -> bool {
        let tell = self.is_awaited && !self.pauses();
        if tell {
            self.is_awaited = false;
        }
        tell
    }

    fn complete_current(&mut self) {
        let next = self.spares.pop().unwrap_or_else(|| {
            let mut fresh = GroupBuffer::default();
            fresh.clear();
            fresh
        });
        self.full.push_back(std::mem::replace(&mut self.current, next));
        self.group += 1;
    }

    /// The frame's instant, moved to the start of the journal's newest hour where it lies shortly before it.
    fn hour_of_group(&self, received_at: UtcMicros) -> UtcMicros {
        let early = self.hour.0.saturating_sub(received_at.0);
        if (1..=STRAGGLER_MICROS_MAX).contains(&early) { self.hour } else { received_at }
    }
}

fn hour_of(instant: UtcMicros) -> UtcMicros {
    UtcMicros(instant.0.div_euclid(UtcMicros::PER_HOUR).saturating_mul(UtcMicros::PER_HOUR))
}
