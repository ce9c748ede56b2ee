//! The journal's files: made, zeroed and kept ready, so that a commit never waits for that.
//!
//! A slot is a file that serves one segment after the other. Its way, each step durable before the next: header says released →
//! body zeroed → header says active under a new number → groups.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use model::{CenterName, Entropy, GatewayName};
use parking_lot::{Condvar, Mutex};

use super::format::{BLOCK_BYTES, SegmentHeader, SegmentState};
use super::{JournalOptions, SegmentNumber};
use crate::paths::slot_file;
use crate::{Disk, DiskFile, World};

/// Segments kept ready beside the one in use.
const READY_MIN: usize = 2;
/// Bytes zeroed with one write.
const ZEROS_BYTES: usize = 1 << 20;
/// First and longest pause between tries on a failing disk.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// A slot that no segment uses.
pub(super) enum FreeSlot {
    /// Its body may hold what is sealed or void up to `end`; beyond it is zero. It is zeroed at once: frames lie there in the
    /// clear, and leave the journal's disk as soon as a batch holds them.
    Dirty { slot: u32, file: Arc<dyn DiskFile>, end: u64 },
    /// As [`FreeSlot::Dirty`], in a file that can't serve again, because a write or flush failed on it or its size is another:
    /// it is removed at once, and made anew.
    Suspect { slot: u32 },
    /// Its body is zero.
    Clean { slot: u32, file: Arc<dyn DiskFile> },
    /// Its file is missing, or holds no group and is of another size: it is made anew.
    Remake { slot: u32 },
}

impl FreeSlot {
    fn slot(&self) -> u32 {
        match *self {
            Self::Dirty { slot, .. }
            | Self::Suspect { slot }
            | Self::Clean { slot, .. }
            | Self::Remake { slot } => slot,
        }
    }

    /// Whether groups may lie in it.
    fn may_hold_groups(&self) -> bool {
        matches!(self, Self::Dirty { .. } | Self::Suspect { .. })
    }
}

/// A segment that can take its first group.
pub(super) struct ReadySegment {
    pub(super) slot: u32,
    pub(super) number: SegmentNumber,
    pub(super) salt: u64,
    pub(super) file: Arc<dyn DiskFile>,
}

/// What [`Slots::take`] got.
pub(super) enum Taken {
    Ready(ReadySegment),
    /// One is being made ready.
    Preparing,
    /// The disk fails, with this answer.
    Failing(String),
    /// Every slot holds a segment that is not sealed yet.
    Full,
}

/// How many slots there are.
#[derive(Clone, Copy, Default)]
pub(super) struct SlotCount {
    pub(super) total: u32,
    pub(super) next: u32,
}

pub(super) struct Slots {
    disk: Arc<dyn Disk>,
    entropy: Arc<dyn Entropy>,
    folder: PathBuf,
    center: CenterName,
    gateway: GatewayName,
    segment_bytes: u64,
    slots_max: u32,
    state: Mutex<State>,
    /// A segment became ready or was taken, a slot was freed, the disk failed, or the end has come.
    changed: Condvar,
}

struct State {
    ready: VecDeque<ReadySegment>,
    free: VecDeque<FreeSlot>,
    count: SlotCount,
    next_number: u64,
    is_preparing: bool,
    failing: Option<String>,
    has_ended: bool,
}

impl State {
    /// The next slot that is to be voided or made ready, and the number of its segment; `None` where there is nothing to do.
    fn next_job(&mut self, slots_max: u32) -> Option<(FreeSlot, SegmentNumber)> {
        let slot = if let Some(sealed) = self.free.iter().position(FreeSlot::may_hold_groups) {
            self.free.remove(sealed)?
        } else if self.ready.len() >= READY_MIN {
            return None;
        } else if let Some(free) = self.free.pop_front() {
            free
        } else if self.count.total < slots_max {
            let slot = self.count.next;
            self.count.total += 1;
            self.count.next += 1;
            FreeSlot::Remake { slot }
        } else {
            return None;
        };
        let number = SegmentNumber(self.next_number);
        self.next_number += 1;
        self.is_preparing = true;
        Some((slot, number))
    }
}

impl Slots {
    pub(super) fn new(
        options: &JournalOptions,
        world: &World,
        free: Vec<FreeSlot>,
        count: SlotCount,
        next_number: u64,
    ) -> Self {
        let slots_max = options.bytes_max / options.segment_bytes;
        Self {
            disk: Arc::clone(&world.disk),
            entropy: Arc::clone(&world.entropy),
            folder: options.folder.clone(),
            center: options.center.clone(),
            gateway: options.gateway.clone(),
            segment_bytes: options.segment_bytes,
            slots_max: u32::try_from(slots_max).unwrap_or(u32::MAX),
            state: Mutex::new(State {
                ready: VecDeque::new(),
                free: free.into(),
                count,
                next_number,
                is_preparing: false,
                failing: None,
                has_ended: false,
            }),
            changed: Condvar::new(),
        }
    }

    /// Takes the next segment; waits at most `wait` for it.
    pub(super) fn take(&self, wait: Duration) -> Taken {
        let mut state = self.state.lock();
        if state.ready.is_empty() {
            let _ = self.changed.wait_for(&mut state, wait);
        }
        if let Some(ready) = state.ready.pop_front() {
            self.changed.notify_all();
            return Taken::Ready(ready);
        }
        match &state.failing {
            Some(reason) => Taken::Failing(reason.clone()),
            None if state.is_preparing || !state.free.is_empty() || state.count.total < self.slots_max => {
                Taken::Preparing
            }
            None => Taken::Full,
        }
    }

    /// Takes a slot back. What lies in slots is voided in the order in which they come back, so that after a power cut the groups
    /// that are left follow each other without a gap.
    pub(super) fn release(&self, slot: FreeSlot) {
        self.state.lock().free.push_back(slot);
        self.changed.notify_all();
    }

    /// Waits, at most `wait`, until what lay in slots that came back is overwritten. Returns whether it is.
    pub(super) fn wait_voided(&self, wait: Duration) -> bool {
        let is_voiding =
            |state: &mut State| state.is_preparing || state.free.iter().any(FreeSlot::may_hold_groups);
        let mut state = self.state.lock();
        !self.changed.wait_while_for(&mut state, is_voiding, wait).timed_out()
    }

    /// Lets a waiting [`Slots::take`] look again.
    pub(super) fn wake(&self) {
        self.changed.notify_all();
    }

    /// Ends [`Slots::run`], after what is sealed is zeroed.
    pub(super) fn end(&self) {
        self.state.lock().has_ended = true;
        self.changed.notify_all();
    }

    /// Keeps segments ready, until the end.
    pub(super) fn run(&self) {
        let mut pause = RETRY_MIN;
        while let Some(job) = self.next_job() {
            if self.work(job) {
                pause = RETRY_MIN;
                continue;
            }
            let mut state = self.state.lock();
            if state.has_ended {
                return;
            }
            let _ = self.changed.wait_while_for(&mut state, |state| !state.has_ended, pause);
            pause = (pause * 2).min(RETRY_MAX);
        }
    }

    /// Does what there is to do now. Returns whether the disk let it.
    pub(super) fn prepare_all(&self) -> bool {
        loop {
            let job = self.state.lock().next_job(self.slots_max);
            let Some(job) = job else { return true };
            if !self.work(job) {
                return false;
            }
        }
    }

    /// Makes a slot ready. Returns whether the disk let it.
    fn work(&self, (slot, number): (FreeSlot, SegmentNumber)) -> bool {
        let (id, may_hold_groups) = (slot.slot(), slot.may_hold_groups());
        let prepared = self.prepare(slot, number);
        let mut state = self.state.lock();
        state.is_preparing = false;
        let is_ready = prepared.is_ok();
        match prepared {
            Ok(ready) => {
                state.ready.push_back(ready);
                state.failing = None;
            }
            Err(error) => {
                tracing::error!(slot = id, %error, "a journal segment can't be made ready; trying again");
                // Its groups may still lie there: it stays the first to be voided.
                state.free.push_front(if may_hold_groups {
                    FreeSlot::Suspect { slot: id }
                } else {
                    FreeSlot::Remake { slot: id }
                });
                state.failing = Some(error.to_string());
            }
        }
        self.changed.notify_all();
        is_ready
    }

    /// Waits for something to do; `None` at the end.
    fn next_job(&self) -> Option<(FreeSlot, SegmentNumber)> {
        let mut state = self.state.lock();
        loop {
            let holds_groups = state.free.iter().any(FreeSlot::may_hold_groups);
            if state.has_ended && !holds_groups {
                return None;
            }
            if let Some(job) = state.next_job(self.slots_max) {
                return Some(job);
            }
            self.changed.wait(&mut state);
        }
    }

    fn prepare(&self, slot: FreeSlot, number: SegmentNumber) -> io::Result<ReadySegment> {
        let mut salt = [0; 8];
        self.entropy.fill(&mut salt);
        let salt = u64::from_le_bytes(salt);
        let id = slot.slot();
        let file = match slot {
            FreeSlot::Clean { file, .. } => file,
            FreeSlot::Dirty { file, end, .. } => {
                // First of all the old groups are declared void: were the body zeroed first and the power cut, groups would be
                // missing in the middle, which is what damage looks like.
                self.write_header(file.as_ref(), SegmentState::Released, number, salt)?;
                self.write_zeros(file.as_ref(), end.min(self.segment_bytes))?;
                file
            }
            FreeSlot::Suspect { slot } | FreeSlot::Remake { slot } => {
                let path = self.folder.join(slot_file(slot));
                match self.disk.remove(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
                let file = self.disk.create(&path, self.segment_bytes)?;
                // Written once, so that a commit changes no metadata of the file system.
                self.write_zeros(file.as_ref(), self.segment_bytes)?;
                self.disk.sync_folder(&self.folder)?;
                file
            }
        };
        self.write_header(file.as_ref(), SegmentState::Active, number, salt)?;
        Ok(ReadySegment { slot: id, number, salt, file })
    }

    fn write_header(
        &self,
        file: &dyn DiskFile,
        state: SegmentState,
        number: SegmentNumber,
        salt: u64,
    ) -> io::Result<()> {
        let header = SegmentHeader {
            state,
            number,
            bytes: self.segment_bytes,
            salt,
            center: self.center.clone(),
            gateway: self.gateway.clone(),
        };
        file.write_at(&header.encode(), 0)?;
        file.sync()
    }

    /// Zeroes the body up to `end`.
    fn write_zeros(&self, file: &dyn DiskFile, end: u64) -> io::Result<()> {
        let zeros = vec![0; ZEROS_BYTES];
        let mut offset = BLOCK_BYTES as u64;
        while offset < end {
            let bytes = (end - offset).min(ZEROS_BYTES as u64);
            file.write_at(&zeros[..bytes as usize], offset)?;
            offset += bytes;
        }
        file.sync()
    }
}
