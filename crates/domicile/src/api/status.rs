//! How the center is: for people, for monitoring, and for load balancers. Names no vehicle.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::{Office, Problem};

/// How a center is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StatusView {
    pub(crate) center: String,
    pub(crate) country: String,
    pub(crate) cluster: String,
    pub(crate) site: String,
    /// The program's version.
    pub(crate) version: String,
    /// The center's time: RFC 3339, UTC.
    pub(crate) time: String,
    pub(crate) vehicles_registered: u64,
    pub(crate) vehicles_revoked: u64,
    /// `None` where the center is not running.
    pub(crate) live: Option<LiveView>,
    pub(crate) tables: Vec<TableView>,
}

/// How a running center is. Counters count from its start.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct LiveView {
    /// RFC 3339, UTC.
    pub(crate) started_at: String,
    pub(crate) connections: u64,
    /// Vehicles that are connected, behind platforms too.
    pub(crate) vehicles: u64,
    pub(crate) protocols: Vec<ProtocolView>,
    /// Connections and frames refused, by the refusal's code.
    pub(crate) refused: Vec<CountView>,
    pub(crate) journal: JournalView,
    pub(crate) store: StoreView,
    pub(crate) ledger: LedgerView,
}

/// What came over one protocol.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct ProtocolView {
    pub(crate) protocol: String,
    /// Where it listens.
    pub(crate) listening: Vec<String>,
    pub(crate) connections: u64,
    pub(crate) frames: u64,
    pub(crate) frame_bytes: u64,
    pub(crate) acks: u64,
    /// From the last byte of a frame to its acknowledgement, in milliseconds.
    pub(crate) ack_ms_p50: f64,
    pub(crate) ack_ms_p99: f64,
}

/// How often something happened.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CountView {
    pub(crate) code: String,
    pub(crate) count: u64,
}

/// How the journal is.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct JournalView {
    /// `healthy`, `failing` or `full`.
    pub(crate) state: String,
    /// The last sequence that is durable.
    pub(crate) durable: u64,
    pub(crate) bytes: u64,
    pub(crate) bytes_max: u64,
    pub(crate) flush_ms_p50: f64,
    pub(crate) flush_ms_p99: f64,
}

/// How the store is.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct StoreView {
    /// `healthy` or `failing`.
    pub(crate) state: String,
    /// Batches sealed since the start.
    pub(crate) batches: u64,
    /// Segments of the journal that wait to be sealed.
    pub(crate) waiting: u64,
}

/// How the transparency log is.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct LedgerView {
    /// `healthy`; `held` while no cosigner has said what it saw; `disputed` while one says that it has cosigned another history;
    /// `failing` while nothing is entered.
    pub(crate) state: String,
    pub(crate) entries: u64,
    /// Entries under the published checkpoint.
    pub(crate) published: u64,
    /// Entries that wait to be committed.
    pub(crate) waiting: u64,
}

/// How a table is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct TableView {
    pub(crate) table: String,
    pub(crate) rows: u64,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    /// Rows that queries see and that are in no file yet.
    pub(crate) tail_rows: u64,
    /// Rows dropped since the start because they had been seen.
    pub(crate) duplicates: u64,
}

pub(super) async fn status(State(office): State<Arc<Office>>) -> Result<Json<StatusView>, Problem> {
    let (registered, revoked) = office.blocking(|office| Ok(office.registry.counts()?)).await?;
    let genesis = &office.center.genesis;
    Ok(Json(StatusView {
        center: genesis.center().to_string(),
        country: genesis.country().to_string(),
        cluster: genesis.cluster.clone(),
        site: genesis.site.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        time: office.world.clock.now().to_string(),
        vehicles_registered: registered,
        vehicles_revoked: revoked,
        live: office.live.as_ref().map(|live| live.status()),
        tables: office.sql.as_ref().map(|sql| sql.tables()).unwrap_or_default(),
    }))
}

pub(super) async fn metrics(State(office): State<Arc<Office>>) -> Response {
    let Some(live) = &office.live else {
        return Problem::unavailable("the center is not running, so there is nothing to measure")
            .into_response();
    };
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], live.metrics()).into_response()
}
