//! The settings `[store]` and `[journal]`: values an operator writes, with their defaults.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The section `[store]`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where objects lie: `file:` and a folder, relative to the data folder unless absolute.
    pub url: String,
    /// A batch is closed at this size; the journal's segments have it too.
    pub batch_bytes_max: u64,
    /// A batch is closed at this age.
    pub batch_age_ms_max: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { url: "file:store".to_owned(), batch_bytes_max: 16 << 20, batch_age_ms_max: 10_000 }
    }
}

/// The section `[journal]`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JournalSettings {
    /// Its folder, relative to the data folder unless absolute.
    pub dir: String,
    /// When a frame is acknowledged.
    pub ack: Ack,
    /// Flushes start at least this far apart.
    pub commit_interval_ms_min: u64,
    /// The room that all segments together may take on the disk.
    pub bytes_max: u64,
}

impl Default for JournalSettings {
    fn default() -> Self {
        Self { dir: "journal".to_owned(), ack: Ack::Journal, commit_interval_ms_min: 10, bytes_max: 1 << 30 }
    }
}

impl JournalSettings {
    /// Age at which a batch closes with `ack = "object"`, where every vehicle waits for the batch: short.
    pub(crate) const OBJECT_AGE: Duration = Duration::from_millis(200);
}

/// After which step a frame is acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ack {
    /// After the journal's flush.
    Journal,
    /// After its batch lies in the store: for gateways without a disk of their own.
    Object,
}
