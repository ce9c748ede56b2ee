//! The world that a seed makes: its dice, its time, and the power of each machine.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use model::{Clock, Entropy, UtcMicros};
use parking_lot::Mutex;
use tempfile::TempDir;

/// When a simulation begins.
const START: UtcMicros = UtcMicros::from_seconds(1_790_000_000);

/// Dice: the whole of a simulation's chance comes from one seed (xorshift64*, Vigna 2016).
#[derive(Debug)]
pub(super) struct Dice(AtomicU64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        // A state of zero would stay zero, and neighbouring seeds are to differ at once.
        Self(AtomicU64::new(mix(seed) | 1))
    }

    pub(super) fn next(&self) -> u64 {
        let mut state = self.0.load(Ordering::Relaxed);
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        self.0.store(state, Ordering::Relaxed);
        state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`.
    pub(super) fn below(&self, bound: usize) -> usize {
        (self.next() >> 16) as usize % bound.max(1)
    }

    /// True in so many of a thousand cases.
    pub(super) fn permille(&self, chances: usize) -> bool {
        self.below(1_000) < chances
    }

    pub(super) fn pick<'a, T>(&self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.below(items.len()))
    }
}

impl Entropy for Dice {
    fn fill(&self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
    }
}

/// A number that looks like no other (splitmix64, Steele et al. 2014).
pub(super) fn mix(mut number: u64) -> u64 {
    number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// The one time of the simulation, which goes on only when it is told to.
#[derive(Debug, Default)]
pub(super) struct Time(AtomicI64);

impl Time {
    pub(super) fn pass(&self, time: Duration) {
        self.0.fetch_add(i64::try_from(time.as_micros()).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    pub(super) fn passed(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed).unsigned_abs())
    }
}

/// A machine's clock: it goes as time does, and its wall clock is off by some seconds.
pub(super) struct SkewedClock {
    pub(super) time: Arc<Time>,
    pub(super) skew: AtomicI64,
}

impl Clock for SkewedClock {
    fn now(&self) -> UtcMicros {
        let passed = i64::try_from(self.time.passed().as_micros()).unwrap_or(i64::MAX);
        UtcMicros(START.0 + passed + self.skew.load(Ordering::Relaxed))
    }

    fn monotonic(&self) -> Duration {
        self.time.passed()
    }
}

/// A folder in memory, where the system has such a one: keys, certificates and receipts are written durably, and nobody waits for a disk.
pub(super) fn folder_in_memory() -> TempDir {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    folder.expect("a folder")
}

/// What unwinds a machine's work when its power goes.
pub(super) struct PowerCut;

/// The power of a machine. Everything that it does to a disk goes through here.
#[derive(Debug, Default)]
pub(super) struct Power(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    is_off: bool,
    /// It goes with so many further operations.
    cut_in: Option<u64>,
    operations: u64,
}

impl Power {
    /// Power again.
    pub(super) fn on(&self) {
        *self.0.lock() = State::default();
    }

    pub(super) fn off(&self) {
        self.0.lock().is_off = true;
    }

    pub(super) fn is_on(&self) -> bool {
        !self.0.lock().is_off
    }

    /// Lets it go in the middle of what the machine does next.
    pub(super) fn cut_in(&self, operations: u64) {
        self.0.lock().cut_in = Some(operations);
    }

    /// Does an operation on a disk. The power may go before it or after it: then the machine's work ends here.
    pub(super) fn operate<T>(&self, operation: impl FnOnce() -> T, off: impl FnOnce() -> T) -> T {
        let (is_last, is_done_first) = {
            let mut state = self.0.lock();
            if state.is_off {
                drop(state);
                return Self::end(off);
            }
            state.operations += 1;
            let left = state.cut_in.map(|left| left.checked_sub(1));
            state.cut_in = left.flatten();
            state.is_off = left == Some(None);
            (state.is_off, state.operations.is_multiple_of(2))
        };
        if !is_last {
            return operation();
        }
        if is_done_first {
            operation();
        }
        Self::end(off)
    }

    fn end<T>(off: impl FnOnce() -> T) -> T {
        if std::thread::panicking() {
            // What is dropped while the work unwinds finds no disk.
            return off();
        }
        std::panic::resume_unwind(Box::new(PowerCut))
    }
}
