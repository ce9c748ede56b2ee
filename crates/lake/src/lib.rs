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
//! one [`LakeWriter`], which takes rows, and the one [`Maintenance`], which compacts and expires them.

mod columns;
mod copies;
mod copy;
mod delta;
mod derived;
mod doubles;
mod encode;
mod erased;
mod error;
mod identity;
mod lake;
mod maintenance;
mod places;
mod postgres;
mod query;
mod recall;
mod rows;
mod schema;
mod seen;
mod settings;
mod source;
mod tail;
mod terms;
mod threads;
mod writer;

pub use copies::files_of_vehicle;
pub use copy::CopyFile;
pub use delta::Changes;
pub use derived::{DerivedStatus, Deriver};
pub use erased::{Erased, ErasedRows, ErasureSource};
pub use error::{Error, QueryError};
pub use lake::{Lake, Parts, TableStatus, TermStatus};
pub use maintenance::{Books, Done, Maintenance, Step, Urgency, Work};
pub use object_store::path::Path as ObjectPath;
pub use postgres::{Permit, PostgresSession};
pub use query::{Allowed, Answer, Places, Sight};
pub use settings::Settings;
pub use source::{
    FrameBatch, FrameSource, NoRecords, OwnerTime, PrivateTime, RecordColumn, RecordKind, RecordSource,
    RecordTable, RecordValue, SourceError, StoredFrame, VehicleRow, VehicleSource,
};
pub use terms::{TermSource, Terms};
pub use writer::{BatchRange, BatchSink, Commit, FrameSink, LakeWriter};
