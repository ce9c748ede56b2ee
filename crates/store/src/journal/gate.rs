//! Acknowledgements that wait for another center: while the gate is shut, being durable here is not enough.

use std::collections::VecDeque;
use std::sync::Arc;

use model::Sequence;

use super::CommitWaiter;

/// Groups whose connections are kept apart. Where more wait, the oldest are put together and wait for the last of them: a link that
/// is cut for hours costs no more than each connection once.
const GROUPS_APART_MAX: usize = 1024;

/// Who waits until another center has frames too.
#[derive(Default)]
pub(super) struct Gate {
    /// Frames up to here may be acknowledged once they are durable; `None` while one center is enough.
    through: Option<Sequence>,
    waiting: VecDeque<(Sequence, Vec<Arc<CommitWaiter>>)>,
}

impl Gate {
    /// A group is durable. Gives back those who may be woken at once.
    pub(super) fn pass(&mut self, last: Sequence, waiters: &mut Vec<Arc<CommitWaiter>>) {
        if self.through.is_none_or(|through| last <= through) || waiters.is_empty() {
            return;
        }
        self.waiting.push_back((last, std::mem::take(waiters)));
        if self.waiting.len() > GROUPS_APART_MAX {
            self.put_together();
        }
    }

    /// Frames up to `through` may be acknowledged (`None`: all that are durable here). Gives those who waited for it.
    pub(super) fn set(&mut self, through: Option<Sequence>) -> Vec<(Sequence, Vec<Arc<CommitWaiter>>)> {
        self.through = through;
        let passes = |(last, _): &(Sequence, _)| through.is_none_or(|through| *last <= through);
        let count = self.waiting.iter().take_while(|group| passes(group)).count();
        self.waiting.drain(..count).collect()
    }

    fn put_together(&mut self) {
        let older = self.waiting.drain(..GROUPS_APART_MAX / 2).collect::<Vec<_>>();
        let last = older.last().map_or(Sequence(0), |(last, _)| *last);
        let mut waiters: Vec<_> = older.into_iter().flat_map(|(_, waiters)| waiters).collect();
        waiters.sort_unstable_by_key(|waiter| Arc::as_ptr(waiter) as usize);
        waiters.dedup_by(|a, b| Arc::ptr_eq(a, b));
        self.waiting.push_front((last, waiters));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_wait_in_order_and_each_once_where_many_groups_wait() {
        let waiter = Arc::new(CommitWaiter::new());
        let mut gate = Gate::default();
        let mut passing = vec![waiter.clone()];
        gate.pass(Sequence(5), &mut passing);
        assert_eq!(passing.len(), 1, "one center is enough");
        assert!(gate.set(Some(Sequence(5))).is_empty());
        for last in 6..=5_000 {
            gate.pass(Sequence(last), &mut vec![waiter.clone()]);
        }
        assert!(gate.waiting.len() <= GROUPS_APART_MAX);
        assert!(
            gate.set(Some(Sequence(6))).is_empty(),
            "it waits for the last of those that were put together"
        );
        let woken = gate.set(Some(Sequence(4_999)));
        assert_eq!(woken.last().map(|(last, _)| *last), Some(Sequence(4_999)));
        assert!(woken.iter().all(|(_, waiters)| waiters.len() == 1));
        assert_eq!(gate.set(None).len(), 1);
    }
}
