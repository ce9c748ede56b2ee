//! What a fleet counted: shared by all its vehicles, lock-free.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Sub-buckets of each power of two: a value is known to 1/16 (6 %).
const SUB_BUCKETS: u64 = 16;
const SUB_BITS: u32 = SUB_BUCKETS.trailing_zeros();
/// Buckets up to 2^40 µs, more than any ack takes.
const BUCKETS: usize = (40 - SUB_BITS as usize + 1) * SUB_BUCKETS as usize;

/// How long things took, in log-linear buckets of microseconds.
#[derive(Debug)]
pub struct Latency {
    buckets: Box<[AtomicU64]>,
}

impl Default for Latency {
    fn default() -> Self {
        Self { buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect() }
    }
}

impl Latency {
    /// Counts one.
    pub fn record(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.buckets[bucket(micros)].fetch_add(1, Ordering::Relaxed);
    }

    /// The smallest time that `share` (0 to 1) of all did not exceed, within 6 %; zero when nothing was counted.
    pub fn quantile(&self, share: f64) -> Duration {
        let counts: Vec<u64> = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        let total: u64 = counts.iter().sum();
        let wanted = ((total as f64 * share).ceil() as u64).clamp(1, total.max(1));
        let mut seen = 0;
        for (index, count) in counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Duration::from_micros(bucket_end(index));
            }
        }
        Duration::ZERO
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }

    /// Forgets everything, as after a warm-up.
    pub fn reset(&self) {
        for bucket in &self.buckets {
            bucket.store(0, Ordering::Relaxed);
        }
    }
}

fn bucket(micros: u64) -> usize {
    if micros < SUB_BUCKETS {
        return micros as usize;
    }
    let exponent = micros.ilog2() - SUB_BITS;
    let index = u64::from(exponent + 1) * SUB_BUCKETS + ((micros >> exponent) - SUB_BUCKETS);
    (index as usize).min(BUCKETS - 1)
}

/// The largest value of a bucket.
fn bucket_end(index: usize) -> u64 {
    let index = index as u64;
    if index < SUB_BUCKETS {
        return index;
    }
    let exponent = index / SUB_BUCKETS - 1;
    ((SUB_BUCKETS + index % SUB_BUCKETS + 1) << exponent) - 1
}

/// A fleet's counters.
#[derive(Debug, Default)]
pub struct Report {
    /// Messages made.
    pub made: AtomicU64,
    /// Messages written to a socket, each resend counted again.
    pub sent: AtomicU64,
    /// Of these, sent again after a lost connection.
    pub resent: AtomicU64,
    /// Messages acknowledged.
    pub acked: AtomicU64,
    /// Messages answered with an error.
    pub refused: AtomicU64,
    /// Messages given up because a vehicle's memory was full.
    pub dropped: AtomicU64,
    /// Connections made (handshake, upgrade or login done).
    pub connected: AtomicU64,
    /// Connections that did not come about, or were refused.
    pub failed: AtomicU64,
    /// Connections lost or closed after they were made.
    pub lost: AtomicU64,
    /// From the write of a message to its ack.
    pub latency: Latency,
}

/// A report's numbers at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// See [`Report::made`].
    pub made: u64,
    /// See [`Report::sent`].
    pub sent: u64,
    /// See [`Report::resent`].
    pub resent: u64,
    /// See [`Report::acked`].
    pub acked: u64,
    /// See [`Report::refused`].
    pub refused: u64,
    /// See [`Report::dropped`].
    pub dropped: u64,
    /// See [`Report::connected`].
    pub connected: u64,
    /// See [`Report::failed`].
    pub failed: u64,
    /// See [`Report::lost`].
    pub lost: u64,
}

impl Report {
    /// The numbers now.
    pub fn counts(&self) -> Counts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            made: get(&self.made),
            sent: get(&self.sent),
            resent: get(&self.resent),
            acked: get(&self.acked),
            refused: get(&self.refused),
            dropped: get(&self.dropped),
            connected: get(&self.connected),
            failed: get(&self.failed),
            lost: get(&self.lost),
        }
    }
}

/// Adds one.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::{BUCKETS, Latency, bucket, bucket_end};
    use std::time::Duration;

    #[test]
    fn every_value_lies_in_its_bucket_and_no_bucket_is_wider_than_a_sixteenth() {
        for micros in (0..5_000).chain((1..36).map(|bits| (1u64 << bits) + 12_345 % (1 << bits))) {
            let index = bucket(micros);
            assert!(index < BUCKETS && micros <= bucket_end(index), "{micros}");
            assert!(index == 0 || micros > bucket_end(index - 1), "{micros}");
            assert!(bucket_end(index) - micros <= micros / 16, "{micros}");
        }
    }

    #[test]
    fn quantiles_of_a_known_distribution_come_out() {
        let latency = Latency::default();
        assert_eq!(latency.quantile(0.5), Duration::ZERO);
        for millis in 1..=1_000 {
            latency.record(Duration::from_millis(millis));
        }
        for (share, millis) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1_000.0)] {
            let found = latency.quantile(share).as_secs_f64() * 1_000.0;
            assert!((millis..=millis * 1.0626).contains(&found), "{share}: {found}");
        }
    }
}
