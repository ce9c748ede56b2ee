//! The center's interface for people and programs: HTTP with JSON (rows as an Arrow stream), a file a noun.
//!
//! One router serves a running center's socket ([`serve_socket`]) and a command that has opened the folder itself (the client
//! calls it in process), so that both ways give the same answers. Errors are RFC 9457 problems ([`Problem`]).

pub(crate) mod access;
pub(crate) mod answer;
pub(crate) mod centers;
pub(crate) mod copies;
pub(crate) mod lake;
mod log;
mod office;
mod packs;
mod platforms;
mod problem;
pub(crate) mod query;
pub(crate) mod records;
pub(crate) mod rows;
mod socket;
pub(crate) mod status;
pub(crate) mod subjects;
mod tokens;
pub(crate) mod vehicles;

use std::sync::Arc;

use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use axum::{Extension, Router};
use policy::Action;

use access::{Guard, guard, guard_metrics};

pub(crate) use access::Caller;
pub(crate) use lake::{DerivedView, DoneView, LakeView, TableFilesView};
pub(crate) use office::{Live, Office, OfficeError, Rooms};
pub(crate) use packs::{NewPack, PackView};
pub(crate) use platforms::{NewPlatform, PlatformView};
pub(crate) use problem::Problem;
pub(crate) use socket::serve_socket;
pub(crate) use tokens::{MadeToken, NewToken, TokenView};

/// Everything, for those who may read the center's folder.
pub(crate) fn private_router(office: Arc<Office>) -> Router {
    router(office).layer(Extension(Caller::Socket))
}

/// The HTTPS port: how the center is and what the log publishes for anybody, everything else with a token.
pub(crate) fn public_router(office: Arc<Office>) -> Router {
    router(office)
}

fn router(office: Arc<Office>) -> Router {
    let metrics = Guard { office: office.clone(), action: Action::MetricsRead };
    let mut router = Router::new()
        .route("/metrics", get(status::metrics))
        .route_layer(from_fn_with_state(metrics, guard_metrics))
        .route("/status", get(status::status))
        .route("/ledger/checkpoint", get(log::checkpoint))
        .route("/ledger/tile/{level}/{*name}", get(log::tile));
    for (action, routes) in guarded_routes() {
        let guard_of = Guard { office: office.clone(), action };
        router = router.merge(routes.route_layer(from_fn_with_state(guard_of, guard)));
    }
    router.fallback(not_found).with_state(office)
}

/// What needs permission, by the action that is asked of the policies.
fn guarded_routes() -> [(Action, Router<Arc<Office>>); 18] {
    let route = |path, methods| Router::new().route(path, methods);
    [
        (
            Action::VehiclesRead,
            route("/api/vehicles", get(vehicles::list))
                .route("/api/vehicles/{vehicle}", get(vehicles::show))
                .route("/api/vehicles/{vehicle}/telemetry-config", get(vehicles::telemetry_config)),
        ),
        (
            Action::VehiclesWrite,
            route("/api/vehicles", post(vehicles::add))
                .route("/api/vehicles/import", post(vehicles::import).layer(vehicles::import_limit()))
                .route("/api/vehicles/{vehicle}/private", post(vehicles::set_private))
                .route("/api/vehicles/{vehicle}/certificate", post(vehicles::certificate))
                .route("/api/vehicles/{vehicle}/revoke", post(vehicles::revoke)),
        ),
        (Action::PlatformsRead, route("/api/platforms", get(platforms::list))),
        (
            Action::PlatformsWrite,
            route("/api/platforms", post(platforms::add))
                .route("/api/platforms/{platform}/revoke", post(platforms::revoke)),
        ),
        (Action::TokensRead, route("/api/tokens", get(tokens::list))),
        (
            Action::TokensWrite,
            route("/api/tokens", post(tokens::create))
                .route("/api/tokens/{token}/revoke", post(tokens::revoke)),
        ),
        (
            Action::RecordsWrite,
            route("/api/records/{kind}", post(records::import).layer(vehicles::import_limit())),
        ),
        (
            Action::SubjectsRead,
            route("/api/subjects/erasures", get(subjects::list))
                .route("/api/subjects/erasures/{number}", get(subjects::show))
                .route("/api/subjects/show", post(subjects::subject)),
        ),
        (Action::SubjectsErase, route("/api/subjects/erasures", post(subjects::erase))),
        (
            Action::Query,
            route("/api/query", post(query::query)).route("/api/tables/{table}/copy", post(copies::copy)),
        ),
        (Action::LakeRead, route("/api/lake", get(lake::status))),
        (Action::LakeWrite, route("/api/lake/{chore}", post(lake::run))),
        (Action::PolicyRead, route("/api/policy", get(packs::show))),
        (Action::PolicyWrite, route("/api/policy", post(packs::apply))),
        (
            Action::CentersRead,
            route("/api/centers", get(centers::show)).route("/api/drill", get(centers::show_drill)),
        ),
        (
            Action::CentersWrite,
            route("/api/charter", post(centers::apply)).route("/api/drill", post(centers::drill)),
        ),
        (Action::LedgerRead, route("/ledger/tile/entries/{*name}", get(log::bundle))),
        (Action::IdentitiesRead, route("/api/identities/{vehicle}", get(vehicles::identity))),
    ]
}

async fn not_found() -> Problem {
    Problem::not_found("there is nothing under this address")
}
