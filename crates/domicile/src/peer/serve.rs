//! The interface for other centers, over HTTPS: what the [`PeerOffice`] answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Path as UrlPath, Query, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use model::{GatewayName, KeyPeriod, Sequence, VehicleId};
use serde::Deserialize;

use super::listen::PeerCenter;
use super::office::PeerOffice;
use super::{CHARTER_HEADER, CONTROLS_HEADER, HEAD_WAIT_TIME, KeyName, OPENING_HEADER};
use crate::api::Problem;
use crate::ingress::away::Away;

/// The most that is pushed at once: a little more than the largest group of a journal.
const PUSH_BYTES_MAX: usize = 64 << 20;

/// The interface for other centers.
pub(crate) fn router(office: Arc<PeerOffice>, away: Away) -> Router {
    Router::new()
        .route("/peer/charter/{version}", get(charter))
        .route("/peer/{center}/head", get(head))
        .route("/peer/{center}/log/{*name}", get(log_file))
        .route("/peer/{center}/object/{*name}", get(object))
        .route("/peer/{center}/unentered/{*name}", get(unentered))
        .route("/peer/{center}/keys", post(keys))
        .route("/peer/held", post(held))
        .route("/peer/hand-over", post(hand_over))
        .route("/peer/server-certificate", post(server_certificate))
        .route("/peer/journal/{gateway}", post(journal).layer(DefaultBodyLimit::max(PUSH_BYTES_MAX)))
        .layer(axum::middleware::from_fn_with_state((office.clone(), away), still_here))
        .with_state(office)
}

/// A connection that is open when a charter retires its center ends with the next request; and a drill keeps all away.
async fn still_here(
    State((office, away)): State<(Arc<PeerOffice>, Away)>,
    Extension(PeerCenter(center)): Extension<PeerCenter>,
    request: Request,
    next: Next,
) -> Response {
    if away.is_set() {
        return Problem::unavailable("a drill keeps this center away from others").into_response();
    }
    if !office.serves(&center) {
        return Problem::refused("the charter in force does not name this center any more").into_response();
    }
    let mut response = next.run(request).await;
    let version = HeaderValue::from(office.charter_version());
    response.headers_mut().insert(HeaderName::from_static(CHARTER_HEADER), version);
    response
}

async fn blocking<T: Send + 'static>(
    office: Arc<PeerOffice>,
    work: impl FnOnce(&PeerOffice) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(move || work(&office)).await;
    done.unwrap_or_else(|_| Err(Problem::unavailable("a defect of the program ended the request")))
}

async fn charter(
    State(office): State<Arc<PeerOffice>>,
    UrlPath(version): UrlPath<u64>,
) -> Result<String, Problem> {
    blocking(office, move |office| office.charter(version)).await
}

#[derive(Deserialize)]
struct After {
    /// The size that the caller knows: the answer waits a while for a longer log.
    after: u64,
}

async fn head(
    State(office): State<Arc<PeerOffice>>,
    UrlPath(center): UrlPath<String>,
    Query(After { after }): Query<After>,
) -> Result<Response, Problem> {
    let answer = blocking(office, move |office| office.head(&center, after, HEAD_WAIT_TIME)).await?;
    let mut response = answer.note.into_response();
    let controls = HeaderValue::from(answer.controls);
    response.headers_mut().insert(HeaderName::from_static(CONTROLS_HEADER), controls);
    Ok(response)
}

async fn log_file(
    State(office): State<Arc<PeerOffice>>,
    UrlPath((center, name)): UrlPath<(String, String)>,
) -> Result<Response, Problem> {
    blocking(office, move |office| office.log_file(&center, &name)).await.map(octets)
}

async fn object(
    State(office): State<Arc<PeerOffice>>,
    UrlPath((center, name)): UrlPath<(String, String)>,
) -> Result<Response, Problem> {
    let (content, opening) = blocking(office, move |office| office.object(&center, &name)).await?;
    let opening = HeaderValue::from_bytes(opening.trim_ascii_end())
        .map_err(|_| Problem::unavailable("the object's opening is damaged"))?;
    let mut response = octets(content);
    response.headers_mut().insert(HeaderName::from_static(OPENING_HEADER), opening);
    Ok(response)
}

async fn unentered(
    State(office): State<Arc<PeerOffice>>,
    UrlPath((center, name)): UrlPath<(String, String)>,
) -> Result<Response, Problem> {
    blocking(office, move |office| office.unentered(&center, &name)).await.map(octets)
}

async fn hand_over(
    State(office): State<Arc<PeerOffice>>,
    Extension(PeerCenter(caller)): Extension<PeerCenter>,
    Json(known): Json<BTreeMap<String, u64>>,
) -> Result<Json<u64>, Problem> {
    blocking(office, move |office| office.take_over_held(&caller, &known)).await.map(Json)
}

async fn server_certificate(
    State(office): State<Arc<PeerOffice>>,
    certificate: String,
) -> Result<String, Problem> {
    blocking(office, move |office| office.renew_certificate(&certificate)).await
}

/// Keys as base64; null for one that was destroyed.
async fn keys(
    State(office): State<Arc<PeerOffice>>,
    Extension(PeerCenter(caller)): Extension<PeerCenter>,
    UrlPath(center): UrlPath<String>,
    Json(wanted): Json<Vec<KeyName>>,
) -> Result<Json<Vec<Option<String>>>, Problem> {
    let read = |name: &KeyName| {
        let vehicle: VehicleId =
            name.vehicle.parse().map_err(|_| Problem::invalid("a key's vehicle is no pseudonym"))?;
        Ok((vehicle, KeyPeriod(name.period)))
    };
    let wanted = wanted.iter().map(read).collect::<Result<Vec<_>, Problem>>()?;
    let keys = blocking(office, move |office| office.keys(&caller, &center, &wanted)).await?;
    Ok(Json(keys.into_iter().map(|key| key.map(|key| STANDARD.encode(key))).collect()))
}

#[derive(Deserialize)]
struct Freed {
    /// Frames up to here lie in batches that are held here.
    freed: u64,
}

async fn journal(
    State(office): State<Arc<PeerOffice>>,
    Extension(PeerCenter(caller)): Extension<PeerCenter>,
    UrlPath(gateway): UrlPath<String>,
    Query(Freed { freed }): Query<Freed>,
    text: Bytes,
) -> Result<Response, Problem> {
    let gateway: GatewayName = gateway.parse().map_err(|_| Problem::invalid("no gateway has such a name"))?;
    let taken = blocking(office, move |office| office.take_frames(&caller, &gateway, Sequence(freed), &text));
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.headers_mut().insert(HeaderName::from_static(CONTROLS_HEADER), HeaderValue::from(taken.await?));
    Ok(response)
}

async fn held(
    State(office): State<Arc<PeerOffice>>,
    Extension(PeerCenter(caller)): Extension<PeerCenter>,
    note: String,
) -> Result<StatusCode, Problem> {
    blocking(office, move |office| office.take_receipt(&caller, &note)).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn octets(bytes: Bytes) -> Response {
    ([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response()
}
