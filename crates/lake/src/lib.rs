//! The lake: what vehicles said, as open tables and SQL.
//!
//! It owns the tables `signals`, `positions` and `events` (Delta tables under `<center>/lake/`), the rows that are not yet in one of
//! their files (the tail), and queries over both. It is the only room that knows DataFusion.
//!
//! Not here: the vehicles' bytes (the pipeline decodes and hands over readings), object names outside `<center>/lake/`, sockets.
//! Start at [`Lake::open`]: it gives the [`Lake`], which answers queries, and the one [`LakeWriter`], which takes rows.

mod error;
mod settings;
mod source;
mod writer;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::stream::BoxStream;
use model::{CenterName, Clock, GatewayName, SignalInfo};
use object_store::ObjectStore;

pub use error::{Error, QueryError};
pub use settings::Settings;
pub use source::{FrameBatch, FrameSource, SourceError, StoredFrame, VehicleRow, VehicleSource};
pub use writer::{BatchRange, BatchSink, Commit, FrameSink, LakeWriter};

/// What a lake is made of.
pub struct Parts {
    /// The operator's settings.
    pub settings: Settings,
    /// The store room's durable object store; names begin with the center's.
    pub store: Arc<dyn ObjectStore>,
    /// The center, under whose prefix the tables lie.
    pub center: CenterName,
    /// The gateway, whose sequences the commits follow.
    pub gateway: GatewayName,
    /// The signal catalogue; a [`model::SignalId`] is an index into it.
    pub signals: &'static [SignalInfo],
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The table `frames`.
    pub frames: Arc<dyn FrameSource>,
    /// The table `vehicles`.
    pub vehicles: Arc<dyn VehicleSource>,
}

/// Answers queries; cheap to clone and to share between threads.
#[derive(Clone)]
pub struct Lake {}

/// Rows as they come, with their schema known at once.
pub struct Answer {
    /// The columns.
    pub schema: SchemaRef,
    /// The rows; dropping it ends the query.
    pub rows: BoxStream<'static, Result<RecordBatch, QueryError>>,
}

/// How a table stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableStatus {
    /// Its name.
    pub table: &'static str,
    /// Its Delta version.
    pub version: i64,
    /// Files of that version.
    pub files: u64,
    /// Rows in them.
    pub rows: u64,
    /// Their size together.
    pub bytes: u64,
    /// Rows that queries see and that are not yet in a file.
    pub tail_rows: u64,
    /// Rows dropped since the start because they had been seen.
    pub duplicates: u64,
}

impl Lake {
    /// Opens the tables, makes those that do not exist, and learns from the newest files what was seen lately.
    pub async fn open(parts: Parts) -> Result<(Self, LakeWriter), Error> {
        let _ = parts;
        unimplemented!()
    }

    /// Answers one SQL query over `signals`, `positions`, `events`, `frames` and `vehicles`. Anything but a question is refused.
    pub async fn query(&self, sql: &str) -> Result<Answer, QueryError> {
        let _ = sql;
        unimplemented!()
    }

    /// How the three tables stand.
    pub fn status(&self) -> Vec<TableStatus> {
        unimplemented!()
    }
}
