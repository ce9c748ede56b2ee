//! What other centers may read here: the charter, this center's log, objects and keys, and those of the copies that are held here.
//! And what they may say: that they hold a copy of this center.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
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
use ledger::{SignedCheckpoint, Tile};
use model::{CenterName, GatewayName, KeyPeriod, Sequence, VehicleId};
use parking_lot::Mutex;
use serde::Deserialize;
use store::{HeldBlock, HeldFrames, Keyring, Names, ObjectKind, ObjectPath, Recipient};

use super::listen::PeerCenter;
use super::receipts::Receipts;
use super::{CHARTER_HEADER, CONTROLS_HEADER, HEAD_WAIT_TIME, KEYS_AT_ONCE, KeyName, OPENING_HEADER};
use crate::api::{Problem, Rooms};
use crate::bookkeeping::Bookkeeper;
use crate::center::Center;
use crate::charter::Charters;

/// The most that is pushed at once: a little more than the largest group of a journal.
const PUSH_BYTES_MAX: usize = 64 << 20;

/// The most that is held of one gateway's journal: four times what a journal takes by default. Past it nothing more is held, until the
/// copy has the batches.
const HELD_BYTES_MAX: u64 = 4 << 30;

/// What the handlers share.
pub(crate) struct PeerOffice {
    center: Arc<Center>,
    store: Arc<store::Store>,
    registry: Arc<registry::Registry>,
    books: Arc<Bookkeeper>,
    charters: Arc<Charters>,
    receipts: Arc<Receipts>,
    held: Arc<HeldBooks>,
    entropy: Arc<dyn model::Entropy>,
}

impl PeerOffice {
    /// For an opened center.
    pub(super) fn new(
        rooms: &Rooms,
        receipts: Arc<Receipts>,
        held: Arc<HeldBooks>,
        entropy: Arc<dyn model::Entropy>,
    ) -> Self {
        Self {
            center: rooms.center.clone(),
            store: rooms.store.clone(),
            registry: rooms.registry.clone(),
            books: rooms.books.clone(),
            charters: rooms.charters.clone(),
            receipts,
            held,
            entropy,
        }
    }

    /// The names under a prefix that lies here: this center's own, or another one's of the charter.
    fn names(&self, center: &str) -> Result<Names, Problem> {
        let unknown = || Problem::not_found("no center of that name is in the charter");
        let name: CenterName = center.parse().map_err(|_| unknown())?;
        let in_force = self.charters.in_force().ok_or_else(unknown)?;
        in_force.charter.member(&name).ok_or_else(unknown)?;
        Ok(Names::new(name))
    }

    fn is_own(&self, names: &Names) -> bool {
        *names.center() == self.center.genesis.center()
    }

    fn read(&self, name: &ObjectPath) -> Result<Option<Bytes>, Problem> {
        self.store.objects().read(name).map_err(Problem::unavailable)
    }

    fn must_read(&self, name: &ObjectPath) -> Result<Bytes, Problem> {
        self.read(name)?.ok_or_else(|| Problem::not_found("it is not here, or not any more"))
    }
}

/// What is held of other centers' journals. Opened when it is first asked for.
#[derive(Default)]
pub(super) struct HeldBooks(Mutex<BTreeMap<OneGateway, Arc<Mutex<HeldFrames>>>>);

/// A gateway of a center.
type OneGateway = (CenterName, GatewayName);

impl HeldBooks {
    /// Works with what is held of a gateway; one at a time, and no other gateway waits for it.
    pub(super) fn with<T>(
        &self,
        store: &store::Store,
        center: &CenterName,
        gateway: &GatewayName,
        work: impl FnOnce(&mut HeldFrames) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let mut all = self.0.lock();
        let held = match all.entry((center.clone(), gateway.clone())) {
            Entry::Occupied(held) => held.get().clone(),
            Entry::Vacant(place) => {
                place.insert(Arc::new(Mutex::new(store.held_frames(center, gateway)?))).clone()
            }
        };
        drop(all);
        work(&mut held.lock())
    }
}

/// The interface for other centers.
pub(crate) fn router(office: Arc<PeerOffice>) -> Router {
    Router::new()
        .route("/peer/charter/{version}", get(charter))
        .route("/peer/{center}/head", get(head))
        .route("/peer/{center}/log/{*name}", get(log_file))
        .route("/peer/{center}/object/{*name}", get(object))
        .route("/peer/{center}/unentered/{*name}", get(unentered))
        .route("/peer/{center}/keys", post(keys))
        .route("/peer/held", post(held))
        .route("/peer/journal/{gateway}", post(journal).layer(DefaultBodyLimit::max(PUSH_BYTES_MAX)))
        .layer(axum::middleware::from_fn_with_state(office.clone(), still_here))
        .with_state(office)
}

/// A connection that is open when a charter retires its center ends with the next request.
async fn still_here(
    State(office): State<Arc<PeerOffice>>,
    Extension(PeerCenter(center)): Extension<PeerCenter>,
    request: Request,
    next: Next,
) -> Response {
    if !office.charters.others().iter().any(|member| member.name == center) {
        return Problem::refused("the charter in force does not name this center any more").into_response();
    }
    let mut response = next.run(request).await;
    if let Ok(version) = HeaderValue::from_str(&office.charters.version().to_string()) {
        response.headers_mut().insert(HeaderName::from_static(CHARTER_HEADER), version);
    }
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
    blocking(office, move |office| {
        let note = office.charters.note(version).map_err(Problem::unavailable)?;
        note.ok_or_else(|| Problem::not_found("there is no such version of the charter"))
    })
    .await
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
    blocking(office, move |office| {
        let names = office.names(&center)?;
        if office.is_own(&names) {
            let ledger = office.books.book().ledger();
            ledger.wait_for_size_above(after, HEAD_WAIT_TIME);
            let mut response = ledger.checkpoint().note().to_owned().into_response();
            let controls = HeaderValue::from(office.registry.version().0);
            response.headers_mut().insert(HeaderName::from_static(CONTROLS_HEADER), controls);
            return Ok(response);
        }
        let name = ObjectPath::from(format!("{}/checkpoint", names.ledger()));
        let note = String::from_utf8(office.must_read(&name)?.to_vec());
        let note = note.map_err(|_| Problem::unavailable("the copy's checkpoint is damaged"))?;
        Ok(note.into_response())
    })
    .await
}

async fn log_file(
    State(office): State<Arc<PeerOffice>>,
    UrlPath((center, name)): UrlPath<(String, String)>,
) -> Result<Response, Problem> {
    blocking(office, move |office| {
        let names = office.names(&center)?;
        Tile::parse(&name).ok_or_else(|| Problem::not_found("no file of a log has such a name"))?;
        let bytes = office.must_read(&ObjectPath::from(format!("{}/{name}", names.ledger())))?;
        Ok(octets(bytes))
    })
    .await
}

async fn object(
    State(office): State<Arc<PeerOffice>>,
    UrlPath((center, name)): UrlPath<(String, String)>,
) -> Result<Response, Problem> {
    blocking(office, move |office| {
        let names = office.names(&center)?;
        let name = ObjectPath::from(format!("{center}/{name}"));
        let opening = match names.kind(&name) {
            ObjectKind::Foreign
            | ObjectKind::Key
            | ObjectKind::Ledger
            | ObjectKind::Opening
            | ObjectKind::Writer
            | ObjectKind::GenesisSignature => None,
            _ => names.opening(&name),
        };
        let opening =
            opening.ok_or_else(|| Problem::not_found("no object that is entered has such a name"))?;
        let content = office.must_read(&name)?;
        let opening = office.must_read(&opening)?;
        let opening = HeaderValue::from_bytes(opening.trim_ascii_end())
            .map_err(|_| Problem::unavailable("the object's opening is damaged"))?;
        let mut response = octets(content);
        response.headers_mut().insert(HeaderName::from_static(OPENING_HEADER), opening);
        Ok(response)
    })
    .await
}

/// What needs no entry and is copied all the same: the genesis's signature, and checkpoints of tables' logs.
async fn unentered(
    State(office): State<Arc<PeerOffice>>,
    UrlPath((center, name)): UrlPath<(String, String)>,
) -> Result<Response, Problem> {
    blocking(office, move |office| {
        let names = office.names(&center)?;
        let name = ObjectPath::from(format!("{center}/{name}"));
        let is_derived = ledger::copy::is_unentered(&names, &name);
        if !is_derived {
            return Err(Problem::not_found("nothing that is copied without an entry has such a name"));
        }
        Ok(octets(office.must_read(&name)?))
    })
    .await
}

/// Keys, wrapped for the center that asks; null for one that was destroyed.
async fn keys(
    State(office): State<Arc<PeerOffice>>,
    Extension(PeerCenter(caller)): Extension<PeerCenter>,
    UrlPath(center): UrlPath<String>,
    Json(wanted): Json<Vec<KeyName>>,
) -> Result<Json<Vec<Option<String>>>, Problem> {
    blocking(office, move |office| {
        let names = office.names(&center)?;
        if wanted.len() > KEYS_AT_ONCE {
            return Err(Problem::invalid(format!("at most {KEYS_AT_ONCE} keys are handed out at once")));
        }
        let in_force = office.charters.in_force();
        let member = in_force.as_ref().and_then(|in_force| in_force.charter.member(&caller));
        let member = member.ok_or_else(|| Problem::refused("the charter does not name this center"))?;
        let recipient = Recipient::parse(&member.recipient).map_err(Problem::unavailable)?;
        let keyring = match office.is_own(&names) {
            true => office.store.keyring().clone(),
            false => {
                let identity = office.center.identity().map_err(Problem::unavailable)?;
                Keyring::new(office.store.objects().clone(), names, identity, office.entropy.clone())
            }
        };
        let wrapped = wanted.iter().map(|name| {
            let vehicle: VehicleId =
                name.vehicle.parse().map_err(|_| Problem::invalid("a key's vehicle is no pseudonym"))?;
            let wrapped = keyring.wrapped_for(vehicle, KeyPeriod(name.period), &recipient);
            Ok(wrapped.map_err(Problem::unavailable)?.map(|bytes| STANDARD.encode(bytes)))
        });
        Ok(Json(wrapped.collect::<Result<Vec<_>, Problem>>()?))
    })
    .await
}

#[derive(Deserialize)]
struct Freed {
    /// Frames up to here lie in batches that are held here.
    freed: u64,
}

/// Takes durable frames of another center's journal, durably; they stay until that center says that its batches are here.
async fn journal(
    State(office): State<Arc<PeerOffice>>,
    Extension(PeerCenter(caller)): Extension<PeerCenter>,
    UrlPath(gateway): UrlPath<String>,
    Query(Freed { freed }): Query<Freed>,
    text: Bytes,
) -> Result<StatusCode, Problem> {
    blocking(office, move |office| {
        let gateway: GatewayName =
            gateway.parse().map_err(|_| Problem::invalid("no gateway has such a name"))?;
        let mut blocks = Vec::new();
        let mut rest = &text[..];
        while !rest.is_empty() {
            let block = HeldBlock::parse(rest);
            let (block, after) =
                block.ok_or_else(|| Problem::invalid("what is sent is no block of frames"))?;
            blocks.push(block);
            rest = after;
        }
        let kept = office.held.with(&office.store, &caller, &gateway, |held| {
            held.release(Sequence(freed))?;
            anyhow::ensure!(
                held.bytes() < HELD_BYTES_MAX,
                "{} MiB of its frames are held here already: the copy of its batches does not keep up",
                held.bytes() >> 20
            );
            Ok(held.hold(&blocks)?)
        });
        kept.map_err(Problem::unavailable)?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// Another center says that it holds a copy of this one up to a checkpoint, which it has cosigned.
async fn held(
    State(office): State<Arc<PeerOffice>>,
    Extension(PeerCenter(caller)): Extension<PeerCenter>,
    note: String,
) -> Result<StatusCode, Problem> {
    blocking(office, move |office| {
        let checkpoint = SignedCheckpoint::open(&note, &office.center.genesis.log_key())
            .map_err(|error| Problem::invalid(error.to_string()))?;
        let in_force = office.charters.in_force();
        let member = in_force.as_ref().and_then(|in_force| in_force.charter.member(&caller));
        let keys = member.ok_or_else(|| Problem::refused("the charter does not name this center"))?.keys();
        let keys = keys.map_err(Problem::unavailable)?;
        match checkpoint.cosigned_at(&keys.mirror) {
            Ok(Some(_)) => {}
            _ => return Err(Problem::invalid("it is not cosigned by the mirror key that the charter names")),
        }
        office.receipts.keep(&caller, &checkpoint).map_err(Problem::unavailable)?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

fn octets(bytes: Bytes) -> Response {
    ([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response()
}
