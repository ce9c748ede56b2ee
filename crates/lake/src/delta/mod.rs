//! A thin writer and reader of Delta logs: reader version 1, writer version 2 of the Delta protocol
//! (github.com/delta-io/delta, PROTOCOL.md), appends, and files in the place of
//! others. Why it is our own: docs/decisions/0001-own-delta-log.md.

mod action;
mod changes;
mod checkpoint;
mod log;
mod replace;
mod statistics;
mod table;
#[cfg(test)]
mod tests;

pub use changes::Changes;
pub(crate) use log::{DataFile, LogNames, Snapshot, read as read_log, read_commit, version_of_commit};
pub(crate) use replace::{Replacement, WrittenFile};
pub(crate) use statistics::{Bounds, FileStatistics};
pub(crate) use table::{DeltaTable, NewFile};
