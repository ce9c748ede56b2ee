//! What a connection owes its vehicle: answers that are encoded when a frame is taken and leave when it is durable.

use std::collections::VecDeque;
use std::time::Duration;

use model::Sequence;

/// Frames of one connection that may wait for the journal; past it we stop reading. Twice what a vehicle has in flight at
/// most where the maker documents it.
const OWED_COUNT_MAX: usize = 1024;

/// Bytes of answers that may wait, so that long transaction ids can't fill the memory.
const OWED_BYTES_MAX: usize = 256 * 1024;

/// Answers in the order in which they are to leave.
#[derive(Default)]
pub(crate) struct Answers {
    /// Encoded answers, one after the other.
    bytes: Vec<u8>,
    /// For each frame: its number, where its answer ends in `bytes`, and when its bytes were read.
    owed: VecDeque<Owed>,
    /// Answers that may leave now.
    pub(crate) out: Vec<u8>,
}

struct Owed {
    sequence: Sequence,
    end: usize,
    read_at: Duration,
}

impl Answers {
    /// The buffer to which the next answer is encoded; [`Answers::owe`] or [`Answers::add`] follows.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// What was encoded since the last call leaves when the frame `sequence` is durable.
    pub(crate) fn owe(&mut self, sequence: Sequence, read_at: Duration) {
        self.owed.push_back(Owed { sequence, end: self.bytes.len(), read_at });
    }

    /// What was encoded since the last call leaves with the answer before it, or at once where none waits.
    pub(crate) fn add(&mut self) {
        match self.owed.back_mut() {
            Some(last) => last.end = self.bytes.len(),
            None => self.out.append(&mut self.bytes),
        }
    }

    /// The first frame that is waited for.
    pub(crate) fn first(&self) -> Option<Sequence> {
        self.owed.front().map(|owed| owed.sequence)
    }

    /// Whether so much waits that nothing more is to be read.
    pub(crate) fn is_full(&self) -> bool {
        self.owed.len() >= OWED_COUNT_MAX || self.bytes.len() >= OWED_BYTES_MAX
    }

    /// Lets the answers to all frames up to `durable` leave, and says of each how long ago its bytes were read.
    pub(crate) fn settle(
        &mut self,
        durable: Sequence,
        now: Duration,
        mut waited: impl FnMut(Duration),
    ) -> u64 {
        let mut count = 0;
        let mut end = 0;
        while let Some(owed) = self.owed.pop_front_if(|owed| owed.sequence <= durable) {
            waited(now.saturating_sub(owed.read_at));
            end = owed.end;
            count += 1;
        }
        if self.owed.is_empty() && self.out.is_empty() {
            // The usual case: everything is due, so the buffers change places and nothing is copied.
            std::mem::swap(&mut self.out, &mut self.bytes);
        } else if count > 0 {
            self.out.extend_from_slice(&self.bytes[..end]);
            self.bytes.drain(..end);
            for owed in &mut self.owed {
                owed.end -= end;
            }
        }
        count
    }

    /// Bytes that the buffers hold.
    pub(crate) fn held_bytes(&self) -> usize {
        self.bytes.capacity() + self.out.capacity() + self.owed.capacity() * size_of::<Owed>()
    }

    /// Gives empty buffers back; for a connection that has fallen silent.
    pub(crate) fn release(&mut self) {
        self.bytes.shrink_to_fit();
        self.out.shrink_to_fit();
        self.owed.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::Sequence;

    use super::Answers;

    #[test]
    fn answers_leave_in_order_and_only_when_durable() {
        let mut answers = Answers::default();
        let at = Duration::from_millis(5);
        for (sequence, text) in [(3, "three"), (5, "five"), (9, "nine")] {
            answers.buffer().extend_from_slice(text.as_bytes());
            answers.owe(Sequence(sequence), at);
        }
        answers.buffer().extend_from_slice(b"-and-more");
        answers.add();
        assert_eq!(answers.settle(Sequence(2), at, |_| ()), 0);
        assert!(answers.out.is_empty());
        let mut waited = Vec::new();
        assert_eq!(answers.settle(Sequence(7), at * 2, |time| waited.push(time)), 2);
        assert_eq!(answers.out, b"threefive");
        assert_eq!(waited, [at, at]);
        assert_eq!(answers.settle(Sequence(9), at, |_| ()), 1);
        assert_eq!(answers.out, b"threefivenine-and-more");
        assert_eq!(answers.first(), None);
    }

    #[test]
    fn an_answer_that_waits_for_nothing_leaves_at_once() {
        let mut answers = Answers::default();
        answers.buffer().extend_from_slice(b"now");
        answers.add();
        assert_eq!(answers.out, b"now");
        assert_eq!(answers.settle(Sequence(100), Duration::ZERO, |_| ()), 0);
        assert_eq!(answers.out, b"now");
    }

    #[test]
    fn a_connection_that_is_owed_much_is_full() {
        let mut answers = Answers::default();
        for sequence in 0..2000 {
            if answers.is_full() {
                assert_eq!(sequence, 1024);
                return;
            }
            answers.owe(Sequence(sequence), Duration::ZERO);
        }
        unreachable!("the queue never filled");
    }
}
