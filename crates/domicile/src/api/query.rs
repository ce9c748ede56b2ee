//! SQL: a question in, rows out, as an Arrow stream, JSON or CSV by what the request accepts.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use model::Class;
use policy::{Action, Resource, Role};
use serde::{Deserialize, Serialize};

use super::lake::{Chore, DoneView, LakeView};
use super::rows::{RowFormat, RowWriter, Unsent};
use super::status::TableView;
use super::{Caller, Office, Problem};

/// Whoever answers SQL.
pub(crate) trait Sql: Send + Sync {
    /// Answers one question over what is `visible`.
    fn query(&self, sql: String, visible: Visible) -> BoxFuture<'_, Result<Rows, Problem>>;

    /// How the tables are.
    fn tables(&self) -> Vec<TableView>;

    /// How their files are.
    fn lake(&self) -> LakeView;

    /// Keeps house. `None` where that is under way.
    fn keep(&self, chore: Chore) -> Result<Option<DoneView>, Problem>;
}

/// What a caller may see of the tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Visible {
    /// The tables; `None` for all.
    pub(crate) tables: Option<BTreeSet<String>>,
    /// How exact places are.
    pub(crate) places: PlacesSeen,
    /// Classes whose rows are left out.
    pub(crate) hidden: BTreeSet<Class>,
}

impl Visible {
    /// Everything as it is: for the program's own questions, of whose answers it shows what the caller may see.
    pub(crate) fn everything() -> Self {
        Self { tables: None, places: PlacesSeen::Exact, hidden: BTreeSet::new() }
    }
}

/// How exact a caller sees places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlacesSeen {
    Exact,
    /// On a grid with cells of so many millionths of a degree.
    Coarse(u32),
    Hidden,
}

/// An answer's rows as they come.
pub(crate) struct Rows {
    pub(crate) schema: SchemaRef,
    /// The tables that are read for them.
    pub(crate) tables: BTreeSet<String>,
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
    headers: HeaderMap,
    Json(question): Json<Question>,
) -> Response {
    let Some(format) = RowFormat::accepted(&headers) else {
        let why = "Accept: rows come as application/vnd.apache.arrow.stream, application/json or text/csv";
        return Problem::not_acceptable(why).into_response();
    };
    let asked = match office.visible_to(&caller) {
        Ok(visible) => answer(&office, &caller, question.sql, visible, format).await,
        Err(problem) => Err(problem),
    };
    match asked {
        Ok(body) => ([(header::CONTENT_TYPE, format.content_type())], body).into_response(),
        Err(problem) => problem.into_response(),
    }
}

async fn answer(
    office: &Arc<Office>,
    caller: &Caller,
    sql: String,
    visible: Visible,
    format: RowFormat,
) -> Result<Body, Problem> {
    let rows = office.query(sql, visible).await?;
    office.looks(caller.role(), &rows.tables).await?;
    // An answer without any rows has ended when its first batch is asked for, and the stream is asked once more below.
    let mut following = rows.batches.fuse();
    // Most of what can fail does so before the first rows, and then the answer can still be a problem instead of a stream
    // that breaks off.
    let first = following.next().await.transpose()?;
    let broken = |error: ArrowError| Problem::unavailable(error);
    let unsent = Unsent::default();
    let mut writer = Some(RowWriter::new(format, &rows.schema, unsent.clone()).map_err(broken)?);
    let batches = stream::iter(first.map(Ok)).chain(following).map(Some).chain(stream::iter([None]));
    let parts = batches.map(move |batch| -> Result<Bytes, Problem> {
        match (batch, &mut writer) {
            (Some(batch), Some(writer)) => writer.rows(&batch?).map_err(broken)?,
            _ => writer.take().map_or(Ok(()), RowWriter::finish).map_err(broken)?,
        }
        Ok(unsent.take())
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
    ("trips", false),
    ("charges", false),
    ("states", false),
    ("battery", false),
    ("gaps", false),
    ("daily", false),
    ("frames", true),
    ("sales", true),
    ("owners", true),
    ("services", true),
];

impl Office {
    /// What a caller may see of the tables: what the policies permit, within what the country pack in force allows his roles.
    pub(crate) fn visible_to(&self, caller: &Caller) -> Result<Visible, Problem> {
        let tables = self.tables_for(caller)?;
        let pack = &self.packs.in_force().pack;
        let roles = caller.roles();
        let is_held = |listed: &[Role]| listed.iter().any(|role| roles.contains(*role));
        let may = |action| self.permit(caller, action, &Resource::Center).is_ok();
        let location = pack.class(Class::Location);
        let places = if is_held(&location.readers) && may(Action::LocationExact) {
            PlacesSeen::Exact
        } else if is_held(&location.readers) || is_held(&location.coarse_readers) {
            PlacesSeen::Coarse((pack.positions().analyst_grid.value * 1e6).round() as u32)
        } else {
            PlacesSeen::Hidden
        };
        let is_hidden = |class: &Class| {
            let is_sensitive = matches!(class, Class::Sensitive | Class::Important);
            !is_held(&pack.class(*class).readers) || is_sensitive && !may(Action::SensitiveRead)
        };
        let classes = [Class::Technical, Class::Personal, Class::Sensitive, Class::Important];
        Ok(Visible { tables, places, hidden: classes.into_iter().filter(is_hidden).collect() })
    }

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

    /// Enters in the ledger that somebody looked into tables whose rows name persons or vehicles.
    ///
    /// # Errors
    /// Where the ledger takes no entries: then nobody looks.
    pub(crate) async fn looks(
        self: &Arc<Self>,
        role: &'static str,
        tables: &BTreeSet<String>,
    ) -> Result<(), Problem> {
        let into = TABLES.iter().filter(|(name, identities)| *identities && tables.contains(*name));
        let into: Vec<&'static str> = into.map(|(name, _)| *name).collect();
        if into.is_empty() {
            return Ok(());
        }
        self.blocking(move |office| {
            into.iter().try_for_each(|table| office.books.looked(role, table)).map_err(Problem::unavailable)
        })
        .await
    }

    /// Answers one question over what is `visible`.
    pub(crate) async fn query(&self, sql: String, visible: Visible) -> Result<Rows, Problem> {
        self.tables()?.query(sql, visible).await
    }

    /// Who answers SQL.
    ///
    /// # Errors
    /// A problem that says that there are no tables.
    pub(crate) fn tables(&self) -> Result<Arc<dyn Sql>, Problem> {
        self.sql.clone().ok_or_else(|| {
            Problem::unavailable(
                "this center is a pure gateway: it has no tables (setting lake.enabled, or a program built without the lake)",
            )
        })
    }
}
