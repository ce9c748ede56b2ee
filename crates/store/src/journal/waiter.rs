//! What a connection waits on for its acknowledgements.

use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use futures::task::AtomicWaker;
use model::Sequence;

/// A connection's place to wait: it holds one, passes it with each frame, and is woken once a group.
#[derive(Debug, Default)]
pub struct CommitWaiter {
    /// Every frame up to here, of whatever connection, is durable. Written by the commit thread alone.
    durable: AtomicU64,
    /// The group that holds this waiter already. Written and read under the journal's lock alone.
    group: AtomicU64,
    waker: AtomicWaker,
}

impl CommitWaiter {
    /// A waiter that nothing is durable for yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The last sequence known to be durable: each of this connection's frames up to it is acknowledgeable.
    pub fn durable(&self) -> Sequence {
        Sequence(self.durable.load(Ordering::Acquire))
    }

    /// Ready as soon as [`CommitWaiter::durable`] is beyond `past`, with its value. Only the task that polled last is woken.
    pub fn poll_durable(&self, context: &mut Context<'_>, past: Sequence) -> Poll<Sequence> {
        let durable = self.durable();
        if durable > past {
            return Poll::Ready(durable);
        }
        self.waker.register(context.waker());
        // The commit may have come between the look and the registration.
        let durable = self.durable();
        if durable > past { Poll::Ready(durable) } else { Poll::Pending }
    }

    /// Waits until [`CommitWaiter::durable`] is beyond `past`.
    pub async fn wait_durable(&self, past: Sequence) -> Sequence {
        std::future::poll_fn(|context| self.poll_durable(context, past)).await
    }

    /// Whether this is the waiter's first frame in the group; the caller holds the journal's lock.
    pub(super) fn enters(&self, group: u64) -> bool {
        if self.group.load(Ordering::Relaxed) == group {
            return false;
        }
        self.group.store(group, Ordering::Relaxed);
        true
    }

    /// Tells that every frame up to `last` is durable.
    pub(super) fn wake(&self, last: Sequence) {
        self.durable.fetch_max(last.0, Ordering::Release);
        self.waker.wake();
    }
}
