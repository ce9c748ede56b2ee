//! The country's centers: the charter in force, the next version of it, and how the copies stand.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::{Office, Problem};

/// The charter in force, and the copies.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CentersView {
    /// 0 while the center is alone.
    pub(crate) version: u64,
    /// The signed charter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) charter: Option<String>,
    /// Entries of this center's own log.
    pub(crate) entries: u64,
    /// What this center holds of others; empty where it is not serving.
    pub(crate) copies: Vec<CopyView>,
    /// What others say that they hold of this center.
    pub(crate) receipts: Vec<ReceiptView>,
}

/// A center whose rows may be missing in answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MissingView {
    pub(crate) center: String,
    /// Rows that it received later may be missing; all of them where this is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<String>,
}

/// What this center holds of another.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CopyView {
    pub(crate) center: String,
    /// Entries of that center's log up to which everything is held, and when it was cosigned.
    pub(crate) held: u64,
    pub(crate) held_at: Option<String>,
    /// Entries that the center has shown.
    pub(crate) head: u64,
    /// Objects and bytes fetched since the start.
    pub(crate) objects: u64,
    pub(crate) bytes: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) problem: String,
}

/// What another center says that it holds of this one.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ReceiptView {
    pub(crate) center: String,
    pub(crate) held: u64,
    pub(crate) held_at: Option<String>,
}

/// A drill to be begun.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewDrill {
    pub(crate) seconds: u32,
}

/// A drill.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DrillView {
    pub(crate) center: String,
    pub(crate) began_at: String,
    /// When it was over; none while it goes on.
    pub(crate) over_at: Option<String>,
    /// Pseudonyms of the vehicles that were connected when it began.
    pub(crate) vehicles: Vec<String>,
    /// Frames that were acknowledged, and entries of the log, that no other center had when it began.
    pub(crate) frames_only_here: u64,
    pub(crate) entries_only_here: u64,
}

/// A signed version.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewCharter {
    pub(crate) charter: String,
}

/// The version that was put in force.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CharterView {
    pub(crate) version: u64,
}

pub(super) async fn show(State(office): State<Arc<Office>>) -> Json<CentersView> {
    let in_force = office.charters.in_force();
    let (copies, receipts) = office.live.as_ref().map(|live| live.copies()).unwrap_or_default();
    Json(CentersView {
        version: office.charters.version(),
        charter: in_force.map(|in_force| in_force.note.clone()),
        entries: office.books.book().ledger().checkpoint().size(),
        copies,
        receipts,
    })
}

pub(super) async fn drill(
    State(office): State<Arc<Office>>,
    Json(new): Json<NewDrill>,
) -> Result<(StatusCode, Json<DrillView>), Problem> {
    let live = office.live.as_ref().ok_or_else(|| Problem::unavailable("the center is not serving"))?;
    Ok((StatusCode::CREATED, Json(live.begin_drill(new.seconds)?)))
}

pub(super) async fn show_drill(State(office): State<Arc<Office>>) -> Result<Json<DrillView>, Problem> {
    let view = office.live.as_ref().and_then(|live| live.drill());
    view.map(Json).ok_or_else(|| Problem::not_found("there was no drill since the center's start"))
}

pub(super) async fn apply(
    State(office): State<Arc<Office>>,
    Json(new): Json<NewCharter>,
) -> Result<(StatusCode, Json<CharterView>), Problem> {
    office
        .blocking(move |office| {
            let version = office.charters.apply(&new.charter)?;
            Ok((StatusCode::CREATED, Json(CharterView { version })))
        })
        .await
}
