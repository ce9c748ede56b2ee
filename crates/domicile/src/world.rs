//! The real world: the only place that reads the time and the system's randomness; with `settings.rs` the only one that reads
//! the environment.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use model::{Clock, Entropy, UtcMicros};
use rustls::crypto::SecureRandom;

/// Reads an environment variable; `None` where it is not set or no UTF-8.
pub(crate) type Environment = dyn Fn(&str) -> Option<String> + Send + Sync;

/// What the program takes from outside itself.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) environment: Arc<Environment>,
}

impl World {
    /// The world as it is.
    pub(crate) fn real() -> Self {
        Self {
            clock: Arc::new(SystemClock::new()),
            entropy: Arc::new(OsEntropy),
            environment: Arc::new(crate::settings::environment_variable),
        }
    }
}

/// The computer's clock.
pub(crate) struct SystemClock {
    started: Instant,
}

impl SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the clock that everything else takes as an argument"
    )]
    pub(crate) fn new() -> Self {
        Self { started: Instant::now() }
    }
}

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the clock that everything else takes as an argument"
    )]
    fn now(&self) -> UtcMicros {
        let micros = |elapsed: Duration| i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX);
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => UtcMicros(micros(after)),
            Err(before) => UtcMicros(-micros(before.duration())),
        }
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}

/// The operating system's randomness, through the cryptographic library.
pub(crate) struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        let random: &dyn SecureRandom = rustls::crypto::aws_lc_rs::default_provider().secure_random;
        random.fill(buffer).expect("the operating system gives randomness; without it no key may be made");
    }
}
