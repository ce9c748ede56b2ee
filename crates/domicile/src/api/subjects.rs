//! What somebody may ask for who is the subject of data: to have it erased.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use model::Vin;
use registry::{Erasure, ErasureGround, NewErasure};
use serde::{Deserialize, Serialize};

use super::vehicles::VehicleView;
use super::{Caller, Office, Problem};
use crate::erasure::{commit, deadline, last_day};

/// Bytes of a salt: as many as a VIN can't be guessed through.
const SALT_BYTES: usize = 16;

/// An erasure that is asked for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EraseRequest {
    pub(crate) vin: String,
    pub(crate) why: String,
    /// `request` (default), `withdrawal`, `order`.
    #[serde(default)]
    pub(crate) ground: Option<String>,
    /// The first day of an owner's period, as in the table `owners`; without it all of the vehicle is erased.
    #[serde(default)]
    pub(crate) owner_period: Option<String>,
    /// When it was asked for, if earlier than now: the deadline runs from then.
    #[serde(default)]
    pub(crate) asked_at: Option<String>,
}

/// An erasure that has begun.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct EraseView {
    pub(crate) erasure: ErasureView,
    /// Opens the certificate's subject together with the VIN. It is told here and kept nowhere.
    pub(crate) salt: String,
}

/// How an erasure stands. Names no VIN.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ErasureView {
    pub(crate) number: u64,
    /// `open` or `done`.
    pub(crate) state: String,
    /// `vehicle` or `owner-period`.
    pub(crate) scope: String,
    pub(crate) ground: String,
    pub(crate) why: String,
    /// What commits to the VIN.
    pub(crate) subject: String,
    /// RFC 3339, UTC.
    pub(crate) asked_at: String,
    pub(crate) began_at: String,
    pub(crate) done_at: Option<String>,
    /// The last day on which it must be done, by the country pack's calendar.
    pub(crate) deadline: String,
    /// Days of the calendar until then; negative where it is over. None where it is done.
    pub(crate) days_left: Option<i64>,
    /// Why the last try failed; it is tried again.
    pub(crate) failing: Option<String>,
    /// The signed certificate, where it is done and one erasure is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) certificate: Option<String>,
}

pub(super) async fn erase(
    State(office): State<Arc<Office>>,
    Extension(caller): Extension<Caller>,
    Json(request): Json<EraseRequest>,
) -> Result<(StatusCode, Json<EraseView>), Problem> {
    let role = caller.role();
    let view = office.blocking(move |office| office.erase(&request, role)).await?;
    Ok((StatusCode::ACCEPTED, Json(view)))
}

/// What the registry holds of a vehicle, with what identifies somebody.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SubjectView {
    pub(crate) vehicle: VehicleView,
    /// PEM, where one is registered.
    pub(crate) public_key: Option<String>,
    /// Records of sale, ownership and service, as they were imported.
    pub(crate) records: Vec<serde_json::Value>,
    /// What of it was erased, by the erasures' numbers.
    pub(crate) erasures: Vec<ErasureView>,
    /// The newest checkpoint of the log, signed.
    pub(crate) checkpoint: Option<String>,
    /// Until when somebody who asks for it must have it, by the country pack: a day, and the rule.
    pub(crate) deadline: String,
    pub(crate) deadline_rule: String,
}

/// Whose data is asked for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SubjectRequest {
    pub(crate) vin: String,
}

/// What is held of a vehicle, but for the tables. A look at an identity, with its entry.
pub(super) async fn subject(
    State(office): State<Arc<Office>>,
    Extension(caller): Extension<Caller>,
    Json(request): Json<SubjectRequest>,
) -> Result<Json<SubjectView>, Problem> {
    let role = caller.role();
    office.blocking(move |office| Ok(Json(office.subject(&request.vin, role)?))).await
}

pub(super) async fn list(State(office): State<Arc<Office>>) -> Result<Json<Vec<ErasureView>>, Problem> {
    office
        .blocking(|office| {
            let erasures = office.registry.erasures()?;
            Ok(Json(erasures.iter().map(|erasure| office.view(erasure)).collect()))
        })
        .await
}

pub(super) async fn show(
    State(office): State<Arc<Office>>,
    Path(number): Path<u64>,
) -> Result<Json<ErasureView>, Problem> {
    office
        .blocking(move |office| {
            let erasure = office.registry.erasure(number)?.ok_or(registry::Error::NoSuchErasure)?;
            let certificate = erasure.done.as_ref().map(|(_, certificate)| certificate.clone());
            Ok(Json(ErasureView { certificate, ..office.view(&erasure) }))
        })
        .await
}

impl Office {
    fn erase(&self, request: &EraseRequest, role: &str) -> Result<EraseView, Problem> {
        let eraser = self.eraser.as_ref().ok_or_else(|| {
            Problem::unavailable("this command has not opened journal and tables; it can't erase")
        })?;
        let vin: Vin = request.vin.parse().map_err(Problem::invalid)?;
        let instant = |text: &Option<String>| {
            text.as_deref().map(registry::date).transpose().map_err(|_| {
                Problem::invalid(
                    "a date such as 2026-01-31, or an instant such as 2026-01-31T08:00:00Z, is expected",
                )
            })
        };
        let ground = request.ground.as_deref().map_or(Ok(ErasureGround::Request), str::parse)?;
        let mut salt = [0; SALT_BYTES];
        self.world.entropy.fill(&mut salt);
        let salt: String = salt.iter().map(|byte| format!("{byte:02x}")).collect();
        // It is looked up whom the VIN is: a look at an identity.
        self.books.looked(role, "identity").map_err(Problem::unavailable)?;
        let (erasure, version) = self.registry.erase(&NewErasure {
            vin: &vin,
            owner_from: instant(&request.owner_period)?,
            ground,
            why: &request.why,
            asked_at: instant(&request.asked_at)?.unwrap_or_else(|| self.world.clock.now()),
            subject: commit(&salt, &vin),
        })?;
        self.changed(version);
        if let Some(live) = &self.live {
            live.forget(&vin);
        }
        eraser.call();
        Ok(EraseView { erasure: self.view(&erasure), salt })
    }

    fn subject(&self, vin: &str, role: &str) -> Result<SubjectView, Problem> {
        let vin: Vin = vin.parse().map_err(Problem::invalid)?;
        self.books.looked(role, "identity").map_err(Problem::unavailable)?;
        let vehicle = self.registry.show(&vin)?.ok_or(registry::Error::NoSuchVehicle)?;
        let erasures = self.registry.erasures()?;
        let pack = &self.packs.in_force().pack;
        let rule = &pack.deadlines().access;
        let (year, month, day) = last_day(pack, rule.value, self.world.clock.now()).civil();
        Ok(SubjectView {
            records: self.registry.records_of_vehicle(vehicle.id)?,
            erasures: erasures
                .iter()
                .filter(|erasure| erasure.vehicle == vehicle.id)
                .map(|erasure| self.view(erasure))
                .collect(),
            public_key: vehicle.public_key.clone(),
            vehicle: VehicleView::of(vehicle, true),
            checkpoint: self.books.book().ledger().published().map(|published| published.note().to_owned()),
            deadline: format!("{year:04}-{month:02}-{day:02}"),
            deadline_rule: format!("{} ({})", rule.value, rule.source),
        })
    }

    fn view(&self, erasure: &Erasure) -> ErasureView {
        let pack = &self.packs.in_force().pack;
        let last = deadline(pack, erasure.asked_at);
        let (year, month, day) = last.civil();
        let is_open = erasure.done.is_none();
        ErasureView {
            number: erasure.number,
            state: if is_open { "open" } else { "done" }.to_owned(),
            scope: if erasure.span.is_some() { "owner-period" } else { "vehicle" }.to_owned(),
            ground: erasure.ground.as_str().to_owned(),
            why: erasure.why.clone(),
            subject: erasure.subject.clone(),
            asked_at: erasure.asked_at.to_string(),
            began_at: erasure.began_at.to_string(),
            done_at: erasure.done.as_ref().map(|(at, _)| at.to_string()),
            deadline: format!("{year:04}-{month:02}-{day:02}"),
            days_left: is_open.then(|| last.0 - pack.day(self.world.clock.now()).0),
            failing: self.eraser.as_ref().filter(|_| is_open).and_then(|eraser| eraser.failing()),
            certificate: None,
        }
    }
}
