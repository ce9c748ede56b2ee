//! The tables' files: how they are, and housekeeping on demand.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};

use super::{Office, Problem};

/// What somebody asks housekeeping for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chore {
    /// Put files together.
    Compact,
    /// Take out rows whose term is over, and destroy their files.
    Expire,
    /// Throw the derived tables away; they are made anew.
    Rebuild,
}

/// How a table's files are.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct TableFilesView {
    pub(crate) table: String,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    /// Rows in files.
    pub(crate) rows: u64,
    /// Files that wait to be put together.
    pub(crate) waiting: u64,
    /// When the oldest row in a file was received: RFC 3339, UTC.
    pub(crate) oldest: Option<String>,
    /// For how long rows are kept, by class.
    pub(crate) terms: Vec<TermView>,
    /// The country pack that says so.
    pub(crate) pack: String,
    /// When files of it were last put together or rewritten: RFC 3339, UTC.
    pub(crate) sorted_at: Option<String>,
}

/// For how long rows of a class are kept after their receipt.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct TermView {
    pub(crate) class: String,
    pub(crate) days: u32,
}

/// How the lake is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LakeView {
    pub(crate) tables: Vec<TableFilesView>,
    /// When housekeeping last ended well since the program's start: RFC 3339, UTC.
    pub(crate) last_run: Option<String>,
    pub(crate) derived: DerivedView,
}

/// How the derived tables are.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DerivedView {
    /// UTC days that are worked out.
    pub(crate) days: u64,
    /// Days whose signals have changed since.
    pub(crate) behind: u64,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

/// What a run has done.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct DoneView {
    /// Files that left a table.
    pub(crate) files_removed: u64,
    /// Files that came in their place.
    pub(crate) files_added: u64,
    pub(crate) bytes_before: u64,
    pub(crate) bytes_after: u64,
    /// Rows whose term was over.
    pub(crate) expired: u64,
    /// Rows that were there twice.
    pub(crate) doubled: u64,
    /// Data files and commits of the tables' logs that were destroyed, with their entries in the ledger.
    pub(crate) destroyed: u64,
    /// Data files deleted for which others stand.
    pub(crate) discarded: u64,
}

pub(super) async fn status(State(office): State<Arc<Office>>) -> Result<Json<LakeView>, Problem> {
    let tables = office.tables()?;
    office.blocking(move |_| Ok(Json(tables.lake()))).await
}

pub(super) async fn run(
    State(office): State<Arc<Office>>,
    Path(chore): Path<String>,
) -> Result<Json<DoneView>, Problem> {
    let chore = match chore.as_str() {
        "compact" => Chore::Compact,
        "expire" => Chore::Expire,
        "rebuild" => Chore::Rebuild,
        _ => return Err(Problem::not_found("housekeeping is `compact`, `expire` or `rebuild`")),
    };
    let tables = office.tables()?;
    let done = office.blocking(move |_| tables.keep(chore)).await?;
    let done = done.ok_or_else(|| Problem::conflict("housekeeping is under way; ask again in a while"))?;
    Ok(Json(done))
}
