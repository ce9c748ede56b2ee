//! Time and randomness, passed in so that the real program runs in a simulation.

use std::time::Duration;

use crate::UtcMicros;

/// The time.
pub trait Clock: Send + Sync {
    /// The wall clock; may jump.
    fn now(&self) -> UtcMicros;

    /// Time since some fixed instant; never goes back.
    fn monotonic(&self) -> Duration;
}

/// Randomness fit for keys.
pub trait Entropy: Send + Sync {
    /// Fills the buffer with random bytes.
    fn fill(&self, buffer: &mut [u8]);
}
