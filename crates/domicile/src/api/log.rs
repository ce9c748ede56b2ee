//! The transparency log as C2SP tlog-tiles has it (section "Parameters" and following): read-only, below `/ledger/`. Checkpoint and
//! tiles are public, because hashes say nothing of what was entered; entry bundles are for auditors and mirrors.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::{Office, Problem};

/// The longest name below `/ledger/`: a tile of level 63 with six groups of digits and a width.
const NAME_LENGTH_MAX: usize = 64;

pub(super) async fn checkpoint(State(office): State<Arc<Office>>) -> Result<Response, Problem> {
    serve(office, "checkpoint".to_owned(), "text/plain; charset=utf-8", "no-cache").await
}

pub(super) async fn tile(
    State(office): State<Arc<Office>>,
    Path((level, name)): Path<(String, String)>,
) -> Result<Response, Problem> {
    serve(office, format!("tile/{level}/{name}"), "application/octet-stream", IMMUTABLE).await
}

pub(super) async fn bundle(
    State(office): State<Arc<Office>>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    serve(office, format!("tile/entries/{name}"), "application/octet-stream", "private, max-age=604800").await
}

/// What never changes once it is there.
const IMMUTABLE: &str = "public, max-age=604800, immutable";

async fn serve(
    office: Arc<Office>,
    name: String,
    kind: &'static str,
    cache: &'static str,
) -> Result<Response, Problem> {
    let is_known = name == "checkpoint" || ledger::Tile::parse(&name).is_some();
    if name.len() > NAME_LENGTH_MAX || !is_known {
        return Err(Problem::not_found("no such part of a log (C2SP tlog-tiles)"));
    }
    let content = office
        .blocking(move |office| office.store.read_log(&name).map_err(Problem::unavailable))
        .await?
        .ok_or_else(|| Problem::not_found("the log does not have it (yet)"))?;
    let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, cache)];
    let mut response = (headers, content).into_response();
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}
