//! Records: what was sold, who owns it from when to when, what a workshop did. `docs/formats/records.md` describes the object.
//!
//! An import is one immutable object in the store, all of it or nothing. SQLite keeps a projection of it without what identifies
//! anybody; that stays sealed in the object under the vehicle's key.

mod import;
mod object;
mod parse;
mod projection;
mod schema;
mod tables;
#[cfg(test)]
mod tests;

pub use import::RecordsImported;
pub(crate) use object::RecordsObject;
pub use object::records_of;
pub use parse::{RECORD_ROWS_MAX, RECORDS_BYTES_MAX, RecordInput};
pub(crate) use projection::{delete_records, sql_schema};
pub use schema::{Field, FieldKind, RecordSchema};
pub use tables::{Column, FieldValue, OwnerPeriod, OwnerTime, RecordPlace, RecordRow, RecordTable};
