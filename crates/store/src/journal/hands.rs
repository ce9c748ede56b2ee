//! The work of a journal's threads, done a step at a time by whoever holds the hands: everything happens on one thread and in an order
//! that can be had again.

use std::sync::Arc;

use super::Shared;
use super::commit::Committer;
use crate::Error;
use crate::sealer::{SealTarget, Sealer};

/// The work of a journal's three threads. Nothing of it waits for time to pass.
pub struct JournalHands {
    shared: Arc<Shared>,
    committer: Committer,
    sealer: Sealer,
}

impl JournalHands {
    pub(super) fn new(shared: &Arc<Shared>, target: SealTarget) -> Self {
        let committer = Committer::new(Arc::clone(shared));
        Self { shared: Arc::clone(shared), committer, sealer: Sealer::new(Arc::clone(shared), target) }
    }

    /// Makes segments ready and overwrites what was released, as far as the disk lets it. Returns whether all of that is done.
    pub fn prepare(&mut self) -> bool {
        self.shared.slots.prepare_all()
    }

    /// Makes durable what was appended, and closes a segment that is old enough. What the disk refuses stays for the next call.
    pub fn commit(&mut self) {
        self.committer.step();
    }

    /// Closes the segment that frames go to, whatever its age.
    pub fn close_segment(&mut self) {
        self.committer.close_open_segment();
    }

    /// Seals the oldest closed segment. Returns whether there was one.
    ///
    /// # Errors
    /// Where the store fails; the segment stays.
    pub fn seal(&mut self) -> Result<bool, Error> {
        self.sealer.step()
    }
}
