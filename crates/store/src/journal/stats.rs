//! Counters of the journal, for metrics and the status page.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

/// Buckets of the flush histogram: powers of two of microseconds, the last one about 2 minutes and more.
const BUCKETS: usize = 28;

/// The journal's state, as far as an operator must act on it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Health {
    /// Frames become durable.
    Healthy,
    /// The disk fails: no acknowledgements, reads are paused, retried with a back-off.
    Failing {
        /// Since when, by the monotonic clock.
        since: Duration,
        /// What the disk answered last.
        reason: String,
    },
    /// All the room that `bytes_max` gives holds batches that the store has not taken yet: reads are paused.
    Full {
        /// Since when, by the monotonic clock.
        since: Duration,
    },
}

/// Counters since the start. Reading them takes no lock of the hot path.
#[derive(Debug, Default)]
pub struct JournalStats {
    groups: AtomicU64,
    frames: AtomicU64,
    bytes: AtomicU64,
    failures: AtomicU64,
    abandoned: AtomicU64,
    recovered: AtomicU64,
    flushes: [AtomicU64; BUCKETS],
    flush_micros: AtomicU64,
    last_failure: Mutex<Option<String>>,
}

/// How long flushes took: write and `fdatasync` of a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flushes {
    /// How many.
    pub count: u64,
    /// All together.
    pub total: Duration,
    /// Half were at most this long (upper bound of a power of two).
    pub p50: Duration,
    /// 99 in 100 were at most this long (upper bound of a power of two).
    pub p99: Duration,
}

impl JournalStats {
    /// Groups made durable.
    pub fn groups(&self) -> u64 {
        self.groups.load(Ordering::Relaxed)
    }

    /// Frames made durable.
    pub fn frames(&self) -> u64 {
        self.frames.load(Ordering::Relaxed)
    }

    /// Bytes made durable, headers included.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Failed writes and flushes.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Segments left because a flush failed on them.
    pub fn abandoned(&self) -> u64 {
        self.abandoned.load(Ordering::Relaxed)
    }

    /// Frames that the start found in the journal and that no batch held yet.
    pub fn recovered(&self) -> u64 {
        self.recovered.load(Ordering::Relaxed)
    }

    /// What the disk answered to the last failure.
    pub fn last_failure(&self) -> Option<String> {
        self.last_failure.lock().clone()
    }

    /// How long flushes took.
    pub fn flushes(&self) -> Flushes {
        let counts: [u64; BUCKETS] = std::array::from_fn(|i| self.flushes[i].load(Ordering::Relaxed));
        let count = counts.iter().sum();
        let quantile = |share: f64| {
            let rank = (count as f64 * share).ceil() as u64;
            let mut seen = 0;
            let bucket = counts.iter().position(|n| {
                seen += n;
                seen >= rank.max(1)
            });
            Duration::from_micros(bucket.map_or(0, |bucket| 1 << bucket))
        };
        Flushes {
            count,
            total: Duration::from_micros(self.flush_micros.load(Ordering::Relaxed)),
            p50: quantile(0.5),
            p99: quantile(0.99),
        }
    }

    pub(super) fn count_group(&self, frames: u64, bytes: u64, flush: Duration) {
        self.groups.fetch_add(1, Ordering::Relaxed);
        self.frames.fetch_add(frames, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let micros = u64::try_from(flush.as_micros()).unwrap_or(u64::MAX);
        self.flush_micros.fetch_add(micros, Ordering::Relaxed);
        let bucket = (u64::BITS - micros.leading_zeros()) as usize;
        self.flushes[bucket.min(BUCKETS - 1)].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_failure(&self, reason: &str) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        *self.last_failure.lock() = Some(reason.to_owned());
    }

    pub(super) fn count_abandoned(&self) {
        self.abandoned.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_recovered(&self, frames: u64) {
        self.recovered.fetch_add(frames, Ordering::Relaxed);
    }
}
