//! Vehicles: who may connect, and what became of those who tried.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use futures::StreamExt;
use model::{VehicleId, Vin};
use policy::{Action, Refusal, Resource};
use registry::{Imported, NewVehicle, PrivateTimes, Revocation, Vehicle, VehicleState};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::query::Visible;
use super::{Caller, Office, Problem};

mod telemetry;

/// The largest file of vehicles: the registry's limit of lines, each with a public key.
const IMPORT_BYTES_MAX: usize = 256 << 20;
/// Vehicles of one page of a list.
const PAGE: usize = 1_000;
/// Lines of the connection diary that are shown: the latest.
const DIARY_LINES_MAX: usize = 50;

/// A vehicle to be registered; texts as in the columns of an import.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct VehicleDetails {
    pub(crate) vin: String,
    pub(crate) country: String,
    pub(crate) maker: String,
    pub(crate) model: String,
    pub(crate) iccid: Option<String>,
    pub(crate) public_key: Option<String>,
    pub(crate) sold_at: Option<String>,
}

/// A registered vehicle.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct VehicleView {
    /// Left out for who may not see identities.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) vin: String,
    pub(crate) id: String,
    pub(crate) country: String,
    /// `active` or `revoked`.
    pub(crate) state: String,
    pub(crate) maker: String,
    pub(crate) model: String,
    /// Left out for who may not see identities.
    pub(crate) iccid: Option<String>,
    pub(crate) has_public_key: bool,
    /// RFC 3339, UTC.
    pub(crate) sold_at: Option<String>,
    pub(crate) added_at: String,
    pub(crate) revoked: Option<RevocationView>,
    /// Times of private use, from an instant up to another, or until further notice. Left out for who may not see identities.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) private: Vec<(String, Option<String>)>,
    /// Pseudonyms that other centers gave it before they knew of this one: rows of then lie under them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) aliases: Vec<String>,
}

/// A time in which a vehicle is used privately, or is not. Dates and instants as in an import, UTC.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PrivateTime {
    pub(crate) from: String,
    /// Until further notice where it is left out.
    #[serde(default)]
    pub(crate) until: Option<String>,
    pub(crate) private: bool,
}

/// When and why somebody was revoked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RevocationView {
    pub(crate) at: String,
    pub(crate) why: String,
}

/// What became of adding a vehicle.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AddedView {
    pub(crate) vehicle: VehicleView,
    /// It had been revoked and may connect again.
    pub(crate) restored: bool,
}

/// What an import did.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ImportView {
    pub(crate) added: usize,
    pub(crate) changed: usize,
    pub(crate) unchanged: usize,
    /// Vehicles of the file that are revoked and stay so.
    pub(crate) revoked: usize,
}

/// Everything about a VIN or pseudonym.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ShowView {
    /// `None` for a stranger who tried to connect.
    pub(crate) vehicle: Option<VehicleView>,
    pub(crate) connection: Option<ConnectionView>,
    /// Oldest first.
    pub(crate) diary: Vec<DiaryLine>,
}

/// A vehicle's connection.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ConnectionView {
    pub(crate) connection: String,
    pub(crate) protocol: String,
    /// What the identity rests on.
    pub(crate) assurance: String,
    pub(crate) peer: String,
    /// RFC 3339, UTC.
    pub(crate) since: String,
}

/// A line of the connection diary.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DiaryLine {
    /// RFC 3339, UTC.
    pub(crate) time: String,
    /// `connected`, `disconnected`, `refused`, `login`, `logout`.
    pub(crate) kind: String,
    /// Why, as metrics name it; empty where there is no why.
    pub(crate) code: String,
    /// Protocol, address and the like, as text or one JSON object.
    pub(crate) detail: String,
}

/// Why something is revoked, in the operator's words.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reason {
    pub(crate) why: String,
}

/// A vehicle's certificate, all as PEM.
#[derive(Serialize, Deserialize)]
pub(crate) struct CertificateView {
    pub(crate) certificate: String,
    pub(crate) key: String,
    /// What the vehicle verifies the center's server with.
    pub(crate) server_ca: String,
}

/// Where a list starts.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    after: Option<String>,
}

/// Under which host name a vehicle is to reach the center.
#[derive(Debug, Deserialize)]
pub(super) struct Host {
    host: Option<String>,
}

/// Lets an import be larger than other requests.
pub(super) fn import_limit() -> DefaultBodyLimit {
    DefaultBodyLimit::max(IMPORT_BYTES_MAX)
}

pub(super) async fn list(
    State(office): State<Arc<Office>>,
    Extension(caller): Extension<Caller>,
    Query(page): Query<Page>,
) -> Result<Json<Vec<VehicleView>>, Problem> {
    let after = match page.after {
        Some(name) => Some(registered(&office, name).await?.vin),
        None => None,
    };
    let vehicles = office.blocking(move |office| Ok(office.registry.list(after.as_ref(), PAGE)?)).await?;
    let names = office.may_identify(&caller);
    Ok(Json(vehicles.into_iter().map(|vehicle| VehicleView::of(vehicle, names)).collect()))
}

pub(super) async fn add(
    State(office): State<Arc<Office>>,
    Extension(caller): Extension<Caller>,
    Json(details): Json<VehicleDetails>,
) -> Result<(StatusCode, Json<AddedView>), Problem> {
    let new = details.parse()?;
    let added = office
        .blocking(move |office| {
            let added = office.registry.add(&new)?;
            office.changed(added.version);
            Ok(added)
        })
        .await?;
    let vehicle = VehicleView::of(added.vehicle, office.may_identify(&caller));
    let view = AddedView { vehicle, restored: added.restored };
    Ok((StatusCode::CREATED, Json(view)))
}

pub(super) async fn import(
    State(office): State<Arc<Office>>,
    csv: Bytes,
) -> Result<Json<ImportView>, Problem> {
    let imported = office
        .blocking(move |office| {
            let imported = office.registry.import(&csv)?;
            office.changed(imported.version);
            Ok(imported)
        })
        .await?;
    let Imported { added, changed, unchanged, revoked, .. } = imported;
    Ok(Json(ImportView { added, changed, unchanged, revoked }))
}

pub(super) async fn show(
    State(office): State<Arc<Office>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Result<Json<ShowView>, Problem> {
    let names = office.may_identify(&caller);
    if !names && name.parse::<VehicleId>().is_err() {
        return Err(Problem::refused(
            "which vehicle a VIN is in the tables is an identity; ask by the vehicle's id (v and 16 characters)",
        ));
    }
    let vehicle = find(&office, name.clone()).await?;
    let view = match vehicle {
        Some(vehicle) => {
            let live = office.live.as_ref();
            let connection = live.and_then(|live| live.connection(vehicle.id));
            let diary = diary(&office, &vehicle).await;
            ShowView { vehicle: Some(VehicleView::of(vehicle, names)), connection, diary }
        }
        None => {
            let vin = name.parse::<Vin>().ok();
            let live = office.live.as_ref();
            let diary = live.zip(vin).map(|(live, vin)| live.diary(&vin)).unwrap_or_default();
            ShowView { vehicle: None, connection: None, diary }
        }
    };
    Ok(Json(view))
}

/// Which vehicle a pseudonym stands for. Each look is an entry in the ledger.
pub(super) async fn identity(
    State(office): State<Arc<Office>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Result<Json<VehicleView>, Problem> {
    let vehicle = registered(&office, name).await?;
    let role = caller.role();
    office
        .blocking(move |office| {
            office.books.looked(role, "identity").map_err(Problem::unavailable)?;
            Ok(Json(VehicleView::of(vehicle, true)))
        })
        .await
}

pub(super) async fn revoke(
    State(office): State<Arc<Office>>,
    Path(name): Path<String>,
    Json(reason): Json<Reason>,
) -> Result<StatusCode, Problem> {
    let vehicle = registered(&office, name).await?;
    office
        .blocking(move |office| {
            let version = office.registry.revoke(&vehicle.vin, &reason.why)?;
            office.changed(version);
            Ok(StatusCode::NO_CONTENT)
        })
        .await
}

pub(super) async fn set_private(
    State(office): State<Arc<Office>>,
    Path(name): Path<String>,
    Json(time): Json<PrivateTime>,
) -> Result<StatusCode, Problem> {
    let vehicle = registered(&office, name).await?;
    let date = |text: &str| registry::date(text).map_err(Problem::invalid);
    let (from, until) = (date(&time.from)?, time.until.as_deref().map(date).transpose()?);
    office
        .blocking(move |office| {
            let (_, version) = office.registry.set_private(&vehicle.vin, (from, until), time.private)?;
            office.changed(version);
            Ok(StatusCode::NO_CONTENT)
        })
        .await
}

pub(super) async fn certificate(
    State(office): State<Arc<Office>>,
    Path(name): Path<String>,
) -> Result<Json<CertificateView>, Problem> {
    let vehicle = registered(&office, name).await?;
    if vehicle.state() == VehicleState::Revoked {
        return Err(Problem::refused(Refusal::Revoked));
    }
    if vehicle.country != office.center.genesis.country() {
        return Err(Problem::refused(Refusal::ForeignCountry));
    }
    office
        .blocking(move |office| {
            let authority = office.center.vehicle_authority().map_err(Problem::unavailable)?;
            let now = office.world.clock.now();
            let issued = authority.vehicle(&vehicle.vin, now).map_err(Problem::unavailable)?;
            let server_ca = office.center.server_ca().map_err(Problem::unavailable)?;
            Ok(Json(CertificateView { certificate: issued.certificate, key: issued.key, server_ca }))
        })
        .await
}

pub(super) async fn telemetry_config(
    State(office): State<Arc<Office>>,
    Path(name): Path<String>,
    Query(host): Query<Host>,
) -> Result<Json<Value>, Problem> {
    registered(&office, name).await?;
    office.blocking(move |office| telemetry::config(&office.center, host.host).map(Json)).await
}

/// The vehicle of a VIN or pseudonym.
async fn find(office: &Arc<Office>, name: String) -> Result<Option<Vehicle>, Problem> {
    office
        .blocking(move |office| {
            if let Ok(vin) = name.parse::<Vin>() {
                Ok(office.registry.show(&vin)?)
            } else if let Ok(id) = name.parse::<VehicleId>() {
                Ok(office.registry.show_id(id)?)
            } else {
                Err(Problem::invalid(
                    "neither a VIN (17 upper-case letters and digits) nor a vehicle's id (v and 16 characters)",
                ))
            }
        })
        .await
}

async fn registered(office: &Arc<Office>, name: String) -> Result<Vehicle, Problem> {
    find(office, name).await?.ok_or_else(|| registry::Error::NoSuchVehicle.into())
}

/// The connection diary of a registered vehicle: from the table `events`, which outlives the program; without tables, what the
/// running center remembers.
async fn diary(office: &Office, vehicle: &Vehicle) -> Vec<DiaryLine> {
    let remembered = || office.live.as_ref().map(|live| live.diary(&vehicle.vin)).unwrap_or_default();
    if office.sql.is_none() {
        return remembered();
    }
    // A vehicle's id has letters and digits only, so it can stand in the text of a query.
    let sql = format!(
        "select time, kind, code, detail from events where vehicle = '{}' and source = 'center' \
         order by time desc limit {DIARY_LINES_MAX}",
        vehicle.id
    );
    match lines(office, sql).await {
        Ok(lines) => lines,
        Err(problem) => {
            tracing::warn!(%problem, "the connection diary can't be read from the table of events");
            remembered()
        }
    }
}

async fn lines(office: &Office, sql: String) -> Result<Vec<DiaryLine>, Problem> {
    let mut rows = office.query(sql, Visible::everything()).await?;
    let mut lines = Vec::new();
    while let Some(batch) = rows.batches.next().await {
        lines.extend(batch_lines(&batch?).map_err(Problem::unavailable)?);
    }
    lines.reverse();
    Ok(lines)
}

fn batch_lines(batch: &RecordBatch) -> Result<Vec<DiaryLine>, arrow::error::ArrowError> {
    let options = FormatOptions::default();
    let columns: Vec<ArrayFormatter<'_>> = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column.as_ref(), &options))
        .collect::<Result<_, _>>()?;
    let text = |column: usize, row: usize| {
        columns.get(column).map(|column| column.value(row).to_string()).unwrap_or_default()
    };
    let line =
        |row| DiaryLine { time: text(0, row), kind: text(1, row), code: text(2, row), detail: text(3, row) };
    Ok((0..batch.num_rows()).map(line).collect())
}

impl VehicleDetails {
    fn parse(self) -> Result<NewVehicle, Problem> {
        let mut new = NewVehicle::new(
            self.vin.parse().map_err(Problem::invalid)?,
            self.country.parse().map_err(Problem::invalid)?,
        );
        new.maker = self.maker;
        new.model = self.model;
        new.iccid = self
            .iccid
            .map(|iccid| iccid.parse())
            .transpose()
            .map_err(|error: policy::InvalidIccid| Problem::invalid(error))?;
        new.public_key = self.public_key;
        new.sold_at = self.sold_at.map(|text| registry::date(&text)).transpose()?;
        Ok(new)
    }
}

impl Office {
    /// Whether this caller may see which vehicle a pseudonym stands for.
    fn may_identify(&self, caller: &Caller) -> bool {
        self.permit(caller, Action::IdentitiesRead, &Resource::Center).is_ok()
    }
}

impl VehicleView {
    /// A vehicle as it is shown to who may (`names`) or may not see identities.
    pub(super) fn of(vehicle: Vehicle, names: bool) -> Self {
        Self {
            vin: if names { vehicle.vin.to_string() } else { String::new() },
            id: vehicle.id.to_string(),
            country: vehicle.country.to_string(),
            state: vehicle.state().as_str().to_owned(),
            maker: vehicle.maker,
            model: vehicle.model,
            iccid: vehicle.iccid.filter(|_| names).map(|iccid| iccid.as_str().to_owned()),
            has_public_key: vehicle.public_key.is_some(),
            sold_at: vehicle.sold_at.map(|at| at.to_string()),
            added_at: vehicle.added_at.to_string(),
            revoked: vehicle.revoked.map(RevocationView::from),
            private: if names { private_view(&vehicle.private) } else { Vec::new() },
            aliases: vehicle.aliases.iter().map(ToString::to_string).collect(),
        }
    }
}

fn private_view(times: &PrivateTimes) -> Vec<(String, Option<String>)> {
    times.iter().map(|(from, until)| (from.to_string(), until.map(|until| until.to_string()))).collect()
}

impl From<Revocation> for RevocationView {
    fn from(revocation: Revocation) -> Self {
        Self { at: revocation.at.to_string(), why: revocation.why }
    }
}
