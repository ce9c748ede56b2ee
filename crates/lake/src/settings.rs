//! What an operator may set, and how the room's memory is divided.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The section `[lake]` of the settings file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// `false` makes the center a pure gateway: frames are kept, tables are not made.
    pub enabled: bool,
    /// Memory for queries, for rows that are not yet in a file, and for the index of what was seen lately,
    /// together.
    pub memory_bytes_max: u64,
    /// How long a query may take, its waiting and its reader's slowness included: a question without an end must not hold one of
    /// the few places for ever.
    pub query_seconds_max: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { enabled: true, memory_bytes_max: 1 << 30, query_seconds_max: 300 }
    }
}

impl Settings {
    /// The least memory with which the lake works at all; less is raised to this.
    pub const MEMORY_BYTES_MIN: u64 = 64 << 20;

    /// Half of the memory: what all running queries may hold together.
    pub fn query_bytes_max(&self) -> usize {
        self.share(2)
    }

    /// A quarter: rows decoded and not yet in a file. A segment of 16 MiB decodes to some 30 MiB of rows, so
    /// there is room for several while the object store is slow.
    pub fn tail_bytes_max(&self) -> usize {
        self.share(4)
    }

    /// An eighth: digests of rows seen lately. The rest is for encoding one file.
    pub fn seen_bytes_max(&self) -> usize {
        self.share(8)
    }

    /// See [`Settings::query_seconds_max`]; zero is raised to a second.
    pub fn query_time_max(&self) -> Duration {
        Duration::from_secs(self.query_seconds_max.max(1))
    }

    fn share(&self, part: u64) -> usize {
        usize::try_from(self.memory_bytes_max.max(Self::MEMORY_BYTES_MIN) / part).unwrap_or(usize::MAX)
    }
}
