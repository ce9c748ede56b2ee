//! Whether the center is there for vehicles and for other centers, or a drill keeps it away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Told to all that meet others. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Away(Arc<AtomicBool>);

impl Away {
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, is_away: bool) {
        self.0.store(is_away, Ordering::Relaxed);
    }
}
