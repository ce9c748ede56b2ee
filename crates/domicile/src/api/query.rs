//! SQL: a question in, rows out, as an Arrow stream, JSON or CSV by what the request accepts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use model::Class;
use policy::{Action, Resource, Role};
use serde::{Deserialize, Serialize};

use super::answer::{Limits, respond};
use super::centers::MissingView;
use super::lake::{Chore, DoneView, LakeView};
use super::rows::RowFormat;
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
    /// Of those among them that are Delta tables, the version that is read.
    pub(crate) versions: BTreeMap<String, i64>,
    pub(crate) batches: BoxStream<'static, Result<RecordBatch, Problem>>,
}

/// A question.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Question {
    pub(crate) sql: String,
    /// At most so many rows, where that is less than the settings allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rows_max: Option<u64>,
    /// At most so many bytes, where that is less than the settings allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bytes_max: Option<u64>,
    /// At most so many seconds, where that is less than the settings allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seconds_max: Option<u64>,
}

impl Question {
    /// One without limits of its own.
    pub(crate) fn new(sql: String) -> Self {
        Self { sql, rows_max: None, bytes_max: None, seconds_max: None }
    }
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
    let limits = Limits::of(&office.center.settings.http, &question);
    let asked = async {
        let visible = office.visible_to(&caller)?;
        let rows = limits.within(office.query(question.sql, visible)).await?;
        office.looks(caller.role(), &rows.tables).await?;
        let missing = office.missing(&rows.tables);
        let mut response = respond(rows, format, limits).await?;
        if !missing.is_empty() {
            let text = serde_json::to_string(&missing).map_err(Problem::unavailable)?;
            response.headers_mut().insert(MISSING, text.parse().map_err(Problem::unavailable)?);
        }
        Ok::<_, Problem>(response)
    };
    asked.await.unwrap_or_else(IntoResponse::into_response)
}

impl Office {
    /// Which centers' rows may be missing in an answer from these tables, and from when on.
    pub(crate) fn missing(&self, tables: &BTreeSet<String>) -> Vec<MissingView> {
        let is_of_all = tables.iter().any(|table| OF_ALL_CENTERS.contains(&table.as_str()));
        self.live.as_ref().filter(|_| is_of_all).map(|live| live.missing()).unwrap_or_default()
    }
}

/// The header that says whose rows may be missing: a JSON list of [`super::centers::MissingView`].
pub(crate) const MISSING: &str = "domicile-missing";

/// Tables that hold what all centers of the country received, as far as copies lie here.
const OF_ALL_CENTERS: [&str; 3] = ["signals", "positions", "events"];

/// The tables, and whether their rows name persons or vehicles.
pub(super) const TABLES: &[(&str, bool)] = &[
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
