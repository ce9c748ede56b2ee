//! The lake: what vehicles said, as open tables and SQL.
//!
//! It owns the tables `signals`, `positions` and `events` (Delta tables under `<center>/lake/`), the rows
//! that are not yet in one of their files (the tail), and queries over both. It is the only room that knows
//! DataFusion.
//!
//! [`PostgresSession`] speaks PostgreSQL's protocol about the same tables, message by message.
//!
//! Not here: the vehicles' bytes (the pipeline decodes and hands over readings), object names outside
//! `<center>/lake/`, sockets. Start at [`Lake::open`]: it gives the [`Lake`], which answers queries, and the
//! one [`LakeWriter`], which takes rows.

mod columns;
mod delta;
mod encode;
mod error;
mod lake;
mod postgres;
mod query;
mod recall;
mod rows;
mod schema;
mod seen;
mod settings;
mod source;
mod tail;
mod threads;
mod writer;

pub use delta::Changes;
pub use error::{Error, QueryError};
pub use lake::{Lake, Parts, TableStatus};
pub use postgres::{Permit, PostgresSession};
pub use query::{Allowed, Answer};
pub use settings::Settings;
pub use source::{
    FrameBatch, FrameSource, NoRecords, RecordColumn, RecordKind, RecordSource, RecordTable, RecordValue,
    SourceError, StoredFrame, VehicleRow, VehicleSource,
};
pub use writer::{BatchRange, BatchSink, Commit, FrameSink, LakeWriter};
