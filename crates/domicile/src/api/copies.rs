//! A copy of a table for an engine: the rows that a role may see, as it may see them.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use arrow::datatypes::Schema;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use model::{UtcMicros, VehicleId};
use policy::{Action, Resource, Role};
use serde::{Deserialize, Serialize};

use super::answer::{Limits, respond};
use super::query::{PlacesSeen, TABLES};
use super::rows::RowFormat;
use super::{Caller, Office, Problem};

/// Keys of what the answer's schema says of itself.
pub(crate) mod about {
    pub(crate) const CENTER: &str = "domicile.center";
    pub(crate) const MADE_AT: &str = "domicile.made_at";
    pub(crate) const PACK: &str = "domicile.pack";
    /// `exact`, `hidden`, or the side of a cell in degrees.
    pub(crate) const PLACES: &str = "domicile.places";
    /// The classes whose rows are left out, with spaces between.
    pub(crate) const HIDDEN: &str = "domicile.hidden";
    /// Of the Delta table; left out for other tables.
    pub(crate) const VERSION: &str = "domicile.version";
}

/// What is asked for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewCopy {
    /// For whom: the rows are those that a token of this role sees.
    pub(crate) role: String,
    /// Rows received at this instant or later: RFC 3339; without an offset it is UTC.
    pub(crate) from: Option<String>,
    /// Rows received before this instant.
    pub(crate) until: Option<String>,
    /// Rows of this vehicle alone, by its pseudonym.
    #[serde(default)]
    pub(crate) vehicle: Option<String>,
}

/// Tables whose rows say when they were received.
const RECEIVED: [&str; 4] = ["signals", "positions", "events", "frames"];

pub(super) async fn copy(
    State(office): State<Arc<Office>>,
    Extension(caller): Extension<Caller>,
    Path(table): Path<String>,
    Json(asked): Json<NewCopy>,
) -> Result<Response, Problem> {
    if !matches!(caller, Caller::Socket) {
        return Err(Problem::refused(
            "files are handed out on the center's own machine: `domicile lake export-files`",
        ));
    }
    let known = TABLES.iter().find(|(name, _)| *name == table);
    let &(table, identities) = known.ok_or_else(|| Problem::not_found("there is no such table"))?;
    let role: Role = asked.role.parse().map_err(Problem::invalid)?;
    let resource = Resource::Table { name: table, identities };
    office.permit(&caller, Action::Query, &resource)?;
    // No token has an empty name: what is permitted to single tokens is not permitted here.
    let holder = Caller::Token { name: "".into(), roles: role.into() };
    office.permit(&holder, Action::Query, &resource)?;
    let visible = office.visible_to(&holder)?;
    let (pack, made_at) = (office.packs.in_force().pack.version(), office.world.clock.now());
    let sql = statement(table, &asked)?;
    let mut rows = office.query(sql, visible.clone()).await?;
    office
        .blocking(move |office| office.books.copied(role.as_str(), table).map_err(Problem::unavailable))
        .await?;
    let places = match visible.places {
        PlacesSeen::Exact => "exact".to_owned(),
        PlacesSeen::Coarse(cell) => (f64::from(cell) / 1e6).to_string(),
        PlacesSeen::Hidden => "hidden".to_owned(),
    };
    let hidden: Vec<&str> = visible.hidden.iter().map(|class| class.as_str()).collect();
    let mut says = HashMap::from([
        (about::CENTER.to_owned(), office.center.genesis.center().to_string()),
        (about::MADE_AT.to_owned(), made_at.to_string()),
        (about::PACK.to_owned(), pack.to_string()),
        (about::PLACES.to_owned(), places),
        (about::HIDDEN.to_owned(), hidden.join(" ")),
    ]);
    if let Some(version) = rows.versions.get(table) {
        says.insert(about::VERSION.to_owned(), version.to_string());
    }
    rows.schema = Arc::new(Schema::new_with_metadata(rows.schema.fields().clone(), says));
    let answered = respond(rows, RowFormat::Arrow, Limits::NONE).await;
    Ok(answered.unwrap_or_else(IntoResponse::into_response))
}

/// All of a table, or what was received in a time or is of a vehicle.
fn statement(table: &str, asked: &NewCopy) -> Result<String, Problem> {
    let mut bounds = Vec::new();
    if let Some(vehicle) = &asked.vehicle {
        // It has letters and digits only, so it can stand in the text of a query.
        let vehicle: VehicleId = vehicle.parse().map_err(Problem::invalid)?;
        bounds.push(format!("vehicle = '{vehicle}'"));
    }
    for (text, relation) in [(&asked.from, ">="), (&asked.until, "<")] {
        let Some(text) = text else { continue };
        if !RECEIVED.contains(&table) {
            return Err(Problem::invalid(format!(
                "rows of {table} don't say when they were received: leave the bounds out"
            )));
        }
        let nanos = string_to_timestamp_nanos(text)
            .map_err(|_| Problem::invalid("a bound is an instant such as 2026-11-25T00:00:00Z"))?;
        let instant = UtcMicros(nanos.div_euclid(1_000));
        bounds.push(format!(
            "received_at {relation} arrow_cast({}, 'Timestamp(Microsecond, Some(\"UTC\"))')",
            instant.0
        ));
    }
    let filter = if bounds.is_empty() { String::new() } else { format!(" where {}", bounds.join(" and ")) };
    Ok(format!("select * from {table}{filter}"))
}
