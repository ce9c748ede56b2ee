//! The center's interface for people and programs: HTTP with JSON (rows as an Arrow stream), a file a noun.
//!
//! One router serves a running center's socket ([`serve_socket`]) and a command that has opened the folder itself (the client
//! calls it in process), so that both ways give the same answers. Errors are RFC 9457 problems ([`Problem`]).

mod office;
mod platforms;
mod problem;
pub(crate) mod query;
mod socket;
pub(crate) mod status;
pub(crate) mod vehicles;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

pub(crate) use office::{Live, Office, OfficeError, Rooms};
pub(crate) use platforms::{NewPlatform, PlatformView};
pub(crate) use problem::Problem;
pub(crate) use socket::serve_socket;

/// Everything, for those who may read the center's folder.
pub(crate) fn private_router(office: Arc<Office>) -> Router {
    Router::new()
        .route("/api/vehicles", get(vehicles::list).post(vehicles::add))
        .route("/api/vehicles/import", post(vehicles::import).layer(vehicles::import_limit()))
        .route("/api/vehicles/{vehicle}", get(vehicles::show))
        .route("/api/vehicles/{vehicle}/certificate", post(vehicles::certificate))
        .route("/api/vehicles/{vehicle}/revoke", post(vehicles::revoke))
        .route("/api/vehicles/{vehicle}/telemetry-config", get(vehicles::telemetry_config))
        .route("/api/platforms", get(platforms::list).post(platforms::add))
        .route("/api/platforms/{platform}/revoke", post(platforms::revoke))
        .route("/api/query", post(query::query))
        .merge(public_routes())
        .fallback(not_found)
        .with_state(office)
}

/// What anybody may see who reaches the HTTPS port: how the center is, and no vehicle.
pub(crate) fn public_router(office: Arc<Office>) -> Router {
    public_routes().fallback(not_found).with_state(office)
}

fn public_routes() -> Router<Arc<Office>> {
    Router::new().route("/status", get(status::status)).route("/metrics", get(status::metrics))
}

async fn not_found() -> Problem {
    Problem::not_found("there is nothing under this address")
}
