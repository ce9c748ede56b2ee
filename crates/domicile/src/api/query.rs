//! SQL: a question in, an Arrow stream out (IPC streaming format).

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use policy::{Action, Resource};
use serde::{Deserialize, Serialize};

use super::lake::{Chore, DoneView, LakeView};
use super::status::TableView;
use super::{Caller, Office, Problem};

/// The content type of an Arrow stream.
const ARROW_STREAM: &str = "application/vnd.apache.arrow.stream";

/// Whoever answers SQL.
pub(crate) trait Sql: Send + Sync {
    /// Answers one question over the tables of `allowed`; over all where it is `None`.
    fn query(&self, sql: String, allowed: Option<BTreeSet<String>>) -> BoxFuture<'_, Result<Rows, Problem>>;

    /// How the tables are.
    fn tables(&self) -> Vec<TableView>;

    /// How their files are.
    fn lake(&self) -> LakeView;

    /// Keeps house. `None` where that is under way.
    fn keep(&self, chore: Chore) -> Result<Option<DoneView>, Problem>;
}

/// An answer's rows as they come.
pub(crate) struct Rows {
    pub(crate) schema: SchemaRef,
    pub(crate) batches: BoxStream<'static, Result<RecordBatch, Problem>>,
}

/// A question.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Question {
    pub(crate) sql: String,
}

pub(super) async fn query(
    State(office): State<Arc<Office>>,
    Extension(caller): Extension<Caller>,
    Json(question): Json<Question>,
) -> Response {
    let asked = match office.tables_for(&caller) {
        Ok(allowed) => answer(&office, question.sql, allowed).await,
        Err(problem) => Err(problem),
    };
    match asked {
        Ok(body) => ([(header::CONTENT_TYPE, ARROW_STREAM)], body).into_response(),
        Err(problem) => problem.into_response(),
    }
}

async fn answer(office: &Office, sql: String, allowed: Option<BTreeSet<String>>) -> Result<Body, Problem> {
    let rows = office.query(sql, allowed).await?;
    // An answer without any rows has ended when its first batch is asked for, and the stream is asked once more below.
    let mut following = rows.batches.fuse();
    // Most of what can fail does so before the first rows, and then the answer can still be a problem instead of a stream
    // that breaks off.
    let first = following.next().await.transpose()?;
    let broken = |error: ArrowError| Problem::unavailable(error);
    let mut writer = StreamWriter::try_new(Vec::new(), &rows.schema).map_err(broken)?;
    let batches = stream::iter(first.map(Ok)).chain(following).map(Some).chain(stream::iter([None]));
    let parts = batches.map(move |batch| -> Result<Bytes, Problem> {
        match batch {
            Some(batch) => writer.write(&batch?).map_err(broken)?,
            None => writer.finish().map_err(broken)?,
        }
        Ok(Bytes::from(std::mem::take(writer.get_mut())))
    });
    Ok(Body::from_stream(parts.map_err(|problem| {
        tracing::warn!(%problem, "a query ended before its last row");
        problem
    })))
}

/// The tables, and whether their rows name persons or vehicles.
const TABLES: &[(&str, bool)] = &[
    ("signals", false),
    ("positions", false),
    ("events", false),
    ("vehicles", false),
    ("frames", true),
    ("sales", true),
    ("owners", true),
    ("services", true),
];

impl Office {
    /// The tables that a caller may ask; `None` for all.
    fn tables_for(&self, caller: &Caller) -> Result<Option<BTreeSet<String>>, Problem> {
        let mut allowed = BTreeSet::new();
        let mut last = Ok(());
        for &(name, identities) in TABLES {
            match self.permit(caller, Action::Query, &Resource::Table { name, identities }) {
                Ok(()) => {
                    allowed.insert(name.to_owned());
                }
                refused => last = refused,
            }
        }
        if allowed.is_empty() {
            last?;
        }
        Ok((allowed.len() < TABLES.len()).then_some(allowed))
    }

    /// Answers one question over the tables of `allowed`; over all where it is `None`.
    pub(crate) async fn query(
        &self,
        sql: String,
        allowed: Option<BTreeSet<String>>,
    ) -> Result<Rows, Problem> {
        match &self.sql {
            Some(sql_room) => sql_room.query(sql, allowed).await,
            None => Err(Problem::unavailable(
                "this center is a pure gateway: it has no tables (setting lake.enabled, or a program built without the lake)",
            )),
        }
    }
}
