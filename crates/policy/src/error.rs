//! What can be wrong with the texts that an operator hands in: an access policy.

/// An access policy that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("access policy, line {line}: {problem}")]
pub struct AccessError {
    /// Line of the policy's text, from 1.
    pub line: usize,
    /// What is wrong, and where it can be told, what was probably meant.
    pub problem: String,
}
