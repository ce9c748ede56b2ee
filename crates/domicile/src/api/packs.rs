//! The country pack: which one is in force, and putting another in its place.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::{Office, Problem};
use crate::center::SignedPack;

/// A pack with the country key's signature.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPack {
    pub(crate) text: String,
    pub(crate) signature: String,
}

/// The pack that was put in force.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PackView {
    pub(crate) version: String,
    /// Its number: how many packs this center has had.
    pub(crate) number: u64,
}

pub(super) async fn show(State(office): State<Arc<Office>>) -> Response {
    let pack = office.packs.in_force();
    ([(header::CONTENT_TYPE, "application/toml; charset=utf-8")], pack.text.clone()).into_response()
}

pub(super) async fn apply(
    State(office): State<Arc<Office>>,
    Json(new): Json<NewPack>,
) -> Result<(StatusCode, Json<PackView>), Problem> {
    office
        .blocking(move |office| {
            let signed = SignedPack { text: new.text, signature: new.signature };
            let (version, number) = office.packs.apply(&office.center, signed)?;
            if let Some(live) = &office.live {
                live.pack_changed();
            }
            Ok((StatusCode::CREATED, Json(PackView { version: version.to_string(), number })))
        })
        .await
}
