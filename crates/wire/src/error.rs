//! What can be wrong with a vehicle's bytes.

/// The bytes are not what their format says: the sender's fault, and sending them again doesn't help.
///
/// It names the rule and the place, never the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed {what} at byte {offset}: {rule}")]
pub struct Malformed {
    /// What was being read, such as `envelope`.
    pub what: &'static str,
    /// The rule that the bytes break.
    pub rule: &'static str,
    /// Where, counted from the first byte of what was being read.
    pub offset: usize,
}
