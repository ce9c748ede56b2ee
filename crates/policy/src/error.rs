//! What can be wrong with the texts that an operator hands in: a country pack, a record, an access policy.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// A country pack that can't be used: where, what stands there, what is expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackError {
    /// Line of the pack's text, from 1.
    pub line: usize,
    /// The table as TOML writes it, such as `classes.location`; empty for the top.
    pub table: String,
    /// The key in that table; empty where the table itself is meant.
    pub key: String,
    /// What is wrong and what is expected.
    pub problem: String,
    /// A word that was probably meant.
    pub meant: Option<String>,
}

impl fmt::Display for PackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "country pack, line {}", self.line)?;
        match (self.table.is_empty(), self.key.is_empty()) {
            (true, true) => {}
            (true, false) => write!(f, ", `{}`", self.key)?,
            (false, true) => write!(f, ", [{}]", self.table)?,
            (false, false) => write!(f, ", [{}] `{}`", self.table, self.key)?,
        }
        write!(f, ": {}", self.problem)?;
        match &self.meant {
            Some(meant) => write!(f, "; did you mean `{meant}`?"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for PackError {}

/// A text that is not the version of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("version of a country pack: a name, a year and a number, such as cn-2026.1")]
pub struct InvalidPackVersion;

/// A value that its field doesn't take. It names the field and the rule, never the value, which may be personal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {rule}")]
pub struct FieldError {
    /// The field's name.
    pub field: Arc<str>,
    /// What the field takes.
    pub rule: Cow<'static, str>,
}

/// A header that doesn't fit a record's kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// No field of the kind has this name.
    #[error("column {position}: records of kind {kind} have no field `{name}`{}; their fields are {known}", did_you_mean(.meant))]
    Unknown {
        /// The kind of record.
        kind: &'static str,
        /// The column, from 1.
        position: usize,
        /// Its name, cut to 64 characters.
        name: String,
        /// A field that was probably meant.
        meant: Option<String>,
        /// The fields of the kind.
        known: String,
    },
    /// A field stands twice.
    #[error("column {position}: `{name}` stands there a second time; leave one of the two out")]
    Twice {
        /// The second column, from 1.
        position: usize,
        /// Its name.
        name: String,
    },
    /// A field that every record must have is missing.
    #[error("column `{name}` is missing; every record of kind {kind} has it")]
    Missing {
        /// The kind of record.
        kind: &'static str,
        /// The field's name.
        name: String,
    },
}

fn did_you_mean(word: &Option<String>) -> String {
    word.as_ref().map(|word| format!(" (did you mean `{word}`?)")).unwrap_or_default()
}

/// An access policy that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("access policy, line {line}: {problem}")]
pub struct AccessError {
    /// Line of the policy's text, from 1.
    pub line: usize,
    /// What is wrong, and where it can be told, what was probably meant.
    pub problem: String,
}

/// The known word nearest to `word`, if it is near enough to be a slip of the pen.
pub(crate) fn nearest<'w>(word: &str, known: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    /// Longer words are not compared: nobody mistypes a field's name at this length.
    const LENGTH_MAX: usize = 64;
    if word.len() > LENGTH_MAX {
        return None;
    }
    known
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).clamp(1, 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many letters are changed, left out, added or swapped with their neighbour, case aside.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let same = |i: usize, j: usize| a[i].eq_ignore_ascii_case(&b[j]);
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut next = vec![i + 1];
        for j in 0..b.len() {
            let changed = row[j] + usize::from(!same(i, j));
            let mut least = changed.min(row[j + 1] + 1).min(next[j] + 1);
            if i > 0 && j > 0 && same(i, j - 1) && same(i - 1, j) {
                least = least.min(before[j - 1] + 1);
            }
            next.push(least);
        }
        before = std::mem::replace(&mut row, next);
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_of_the_pen_finds_its_word_and_another_word_does_not() {
        let known = ["retention", "readers", "description"];
        assert_eq!(nearest("retension", known), Some("retention"));
        assert_eq!(nearest("Reader", known), Some("readers"));
        assert_eq!(nearest("titel", ["table", "title"]), Some("title"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest(&"x".repeat(10_000), known), None);
    }
}
