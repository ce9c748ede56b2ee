//! The committer: takes what connections gathered, makes it durable, and tells those who have frames in it.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use model::UtcMicros;

use super::format::{BLOCK_BYTES, GroupHash, GroupHeader, group_hash, next_offset};
use super::front::GroupBuffer;
use super::index::{GroupPlace, Segment};
use super::slots::{FreeSlot, ReadySegment, Taken};
use super::{Health, Shared};
use crate::Ack;
use model::Sequence;

/// First and longest pause between tries on a failing disk.
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// How often a wait for a segment is looked at.
const SEGMENT_WAIT: Duration = Duration::from_millis(100);
/// Such looks before a closing journal gives up its last, unacknowledged frames.
const CLOSING_WAITS_MAX: u32 = 50;
/// The shortest wait for a segment's age, so that a clock that stands still makes no busy loop.
const AGE_WAIT_MIN: Duration = Duration::from_millis(1);

pub(super) struct Committer {
    shared: Arc<Shared>,
    active: Option<Active>,
    /// The hash of the last durable group since the start.
    chain: Option<GroupHash>,
    /// When the last flush began.
    started_at: Option<Duration>,
    groups: VecDeque<GroupBuffer>,
}

/// The segment that groups go to.
struct Active {
    segment: ReadySegment,
    /// Where the next group goes.
    offset: usize,
    /// Groups in it.
    index: u32,
    /// Of all of its frames; holds once there are groups.
    hour: UtcMicros,
    /// When its first group was written; holds once there are groups.
    opened_at: Duration,
}

impl Committer {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, active: None, chain: None, started_at: None, groups: VecDeque::new() }
    }

    pub(super) fn run(mut self) {
        while self.gather() {
            while let Some(group) = self.groups.pop_front() {
                let group = self.commit(group);
                let tell = self.shared.front.lock().give_back(group);
                self.tell_room(tell);
            }
        }
        self.close_segment(false);
    }

    /// Commits what was gathered, once, and closes a segment that is old enough; waits for nothing. A group that can't be made durable
    /// now is the first of the next step.
    pub(super) fn step(&mut self) {
        let shared = Arc::clone(&self.shared);
        if self.groups.is_empty() {
            let mut front = shared.front.lock();
            if !front.is_idle() {
                front.take(&mut self.groups);
            }
        }
        while let Some(mut group) = self.groups.pop_front() {
            shared.slots.prepare_all();
            let is_durable = self.has_room(group.bytes.len(), group.hour) && self.try_write(&mut group);
            if !is_durable {
                self.groups.push_front(group);
                return;
            }
            let tell = shared.front.lock().give_back(group);
            self.tell_room(tell);
        }
        if self.age_left() == Some(Duration::ZERO) {
            self.close_segment(false);
        }
    }

    pub(super) fn close_open_segment(&mut self) {
        if self.active.as_ref().is_some_and(|active| active.index > 0) {
            self.close_segment(false);
        }
    }

    /// Waits for frames and takes them; closes the segment when it is old enough. `false` at the end.
    fn gather(&mut self) -> bool {
        let shared = Arc::clone(&self.shared);
        let mut front = shared.front.lock();
        while front.is_idle() {
            if front.is_closed() {
                return false;
            }
            match self.age_left() {
                None => shared.work.wait(&mut front),
                Some(Duration::ZERO) => {
                    drop(front);
                    self.close_segment(false);
                    front = shared.front.lock();
                }
                Some(left) => {
                    let _ = shared.work.wait_for(&mut front, left.max(AGE_WAIT_MIN));
                }
            }
        }
        let since = self.started_at.map(|started| shared.now().saturating_sub(started));
        let early = since.and_then(|since| shared.options.commit_interval.checked_sub(since));
        if let Some(early) = early.filter(|early| !early.is_zero() && !front.is_closed()) {
            drop(front);
            std::thread::sleep(early);
            front = shared.front.lock();
        }
        front.take(&mut self.groups);
        self.started_at = Some(shared.now());
        true
    }

    /// Makes a group durable, on one segment after the other if need be. Gives the buffer back.
    fn commit(&mut self, mut group: GroupBuffer) -> GroupBuffer {
        let mut pause = RETRY_MIN;
        loop {
            if !self.make_room(group.bytes.len(), group.hour) {
                return group;
            }
            if self.try_write(&mut group) {
                return group;
            }
            let mut front = self.shared.front.lock();
            if !front.is_closed() {
                let _ = self.shared.work.wait_while_for(&mut front, |front| !front.is_closed(), pause);
            }
            if front.is_closed() {
                return group;
            }
            pause = (pause * 2).min(RETRY_MAX);
        }
    }

    /// Writes a group, publishes it where it is durable, and leaves the segment where it is not. Returns whether it is.
    fn try_write(&mut self, group: &mut GroupBuffer) -> bool {
        let began = self.shared.now();
        match self.write(group) {
            Ok(()) => {
                self.publish(group, self.shared.now().saturating_sub(began));
                true
            }
            Err(error) => {
                tracing::error!(%error, "the journal's disk failed; nothing is acknowledged until a write holds");
                self.shared.stats.count_failure(&error.to_string());
                self.abandon();
                self.block(Health::Failing { since: self.shared.now(), reason: error.to_string() });
                false
            }
        }
    }

    fn write(&mut self, group: &mut GroupBuffer) -> io::Result<()> {
        let active = self.active.as_ref().expect("room was made");
        let header = GroupHeader {
            segment: active.segment.number,
            salt: active.segment.salt,
            index: active.index,
            first: group.first,
            frames: group.frames,
            is_chain_start: self.chain.is_none(),
            before: self.chain.unwrap_or_default(),
        };
        header.seal(&mut group.bytes);
        active.segment.file.write_at(&group.bytes, active.offset as u64)?;
        active.segment.file.sync()
    }

    /// The group is durable: notes it, then tells the tail, those who wait for it, and those who wait for room.
    fn publish(&mut self, group: &mut GroupBuffer, flush: Duration) {
        let shared = Arc::clone(&self.shared);
        let active = self.active.as_mut().expect("the group was written to it");
        self.chain = Some(group_hash(&group.bytes));
        let narrow = |n: usize| u32::try_from(n).expect("a segment is at most 1 GiB");
        let (offset, bytes) = (active.offset, group.bytes.len());
        let place = GroupPlace {
            offset: narrow(offset),
            bytes: narrow(bytes),
            first: group.first,
            last: group.last(),
        };
        let mut index = shared.index.lock();
        if active.index == 0 {
            active.hour = group.hour;
            active.opened_at = shared.now();
            index.open(Segment {
                number: active.segment.number,
                slot: active.segment.slot,
                salt: active.segment.salt,
                file: Arc::clone(&active.segment.file),
                hour: group.hour,
                groups: Vec::new(),
                after: Sequence(0),
                is_closed: false,
                is_sealed: false,
                is_suspect: false,
                is_recovered: false,
                waiters: Vec::new(),
            });
        }
        index.add(place);
        if shared.options.ack == Ack::Object {
            index.add_waiters(&mut group.waiters);
        }
        drop(index);
        active.index += 1;
        active.offset = next_offset(offset, bytes);
        shared.stats.count_group(u64::from(group.frames), bytes as u64, flush);
        shared.committed.send_replace(place.last);
        shared.wake(place.last, &mut group.waiters);
        self.unblock();
    }

    /// Provides a segment that the group fits. `false` when the journal closes while there is none.
    fn make_room(&mut self, bytes: usize, hour: UtcMicros) -> bool {
        if self.has_active_for(bytes, hour) {
            return true;
        }
        let mut waits = 0;
        loop {
            if self.take_segment(SEGMENT_WAIT) {
                return true;
            }
            if self.shared.front.lock().is_closed() {
                waits += 1;
                if waits > CLOSING_WAITS_MAX {
                    return false;
                }
            }
        }
    }

    /// As [`Committer::make_room`], without waiting.
    fn has_room(&mut self, bytes: usize, hour: UtcMicros) -> bool {
        self.has_active_for(bytes, hour) || self.take_segment(Duration::ZERO)
    }

    /// Whether the group fits the segment in use, which is closed where it does not.
    fn has_active_for(&mut self, bytes: usize, hour: UtcMicros) -> bool {
        let Some(active) = &self.active else { return false };
        let fits = (active.offset + bytes) as u64 <= self.shared.options.segment_bytes;
        let is_right = active.index == 0 || (active.hour == hour && self.age_left() != Some(Duration::ZERO));
        if !fits || !is_right {
            self.close_segment(false);
        }
        fits && is_right
    }

    /// Takes a segment that was made ready; waits at most `wait` for one.
    fn take_segment(&mut self, wait: Duration) -> bool {
        match self.shared.slots.take(wait) {
            Taken::Ready(segment) => {
                let (hour, opened_at) = (UtcMicros::default(), Duration::ZERO);
                self.active = Some(Active { segment, offset: BLOCK_BYTES, index: 0, hour, opened_at });
                return true;
            }
            Taken::Preparing => {}
            Taken::Full => self.block(Health::Full { since: self.shared.now() }),
            Taken::Failing(reason) => {
                self.shared.stats.count_failure(&reason);
                self.block(Health::Failing { since: self.shared.now(), reason });
            }
        }
        false
    }

    /// The time until the active segment is to be closed; `None` while it holds nothing.
    fn age_left(&self) -> Option<Duration> {
        let active = self.active.as_ref().filter(|active| active.index > 0)?;
        let age = self.shared.now().saturating_sub(active.opened_at);
        Some(self.shared.options.segment_age.saturating_sub(age))
    }

    /// Leaves a segment on which a write or a flush failed: what the disk says of it later can't be relied on.
    fn abandon(&mut self) {
        self.shared.stats.count_abandoned();
        self.close_segment(true);
    }

    fn close_segment(&mut self, is_suspect: bool) {
        let Some(active) = self.active.take() else { return };
        if active.index > 0 {
            self.shared.index.lock().close_newest(is_suspect);
            self.shared.sealing.notify_all();
        } else if is_suspect {
            self.shared.slots.release(FreeSlot::Suspect { slot: active.segment.slot });
        } else {
            self.shared
                .slots
                .release(FreeSlot::Clean { slot: active.segment.slot, file: active.segment.file });
        }
    }

    /// Stops appends; keeps the instant since when, while the state is of the same kind.
    fn block(&self, health: Health) {
        let mut current = self.shared.health.lock();
        *current = match (&*current, health) {
            (Health::Failing { since, .. }, Health::Failing { reason, .. }) => {
                Health::Failing { since: *since, reason }
            }
            (Health::Full { since }, Health::Full { .. }) => Health::Full { since: *since },
            (_, changed) => changed,
        };
        drop(current);
        self.shared.front.lock().set_blocked(true);
    }

    fn unblock(&self) {
        let mut health = self.shared.health.lock();
        if *health == Health::Healthy {
            return;
        }
        *health = Health::Healthy;
        drop(health);
        tracing::info!("the journal's frames become durable again");
        let tell = self.shared.front.lock().set_blocked(false);
        self.tell_room(tell);
    }

    fn tell_room(&self, tell: bool) {
        if tell {
            self.shared.room.notify_waiters();
        }
    }
}
