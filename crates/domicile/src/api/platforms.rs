//! Platforms: accounts that may forward their vehicles' frames.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::vehicles::{Reason, RevocationView};
use super::{Office, Problem};

/// A platform to be registered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPlatform {
    pub(crate) name: String,
    pub(crate) password: String,
}

/// A platform.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PlatformView {
    pub(crate) name: String,
    /// RFC 3339, UTC.
    pub(crate) added_at: String,
    pub(crate) revoked: Option<RevocationView>,
}

pub(super) async fn list(State(office): State<Arc<Office>>) -> Result<Json<Vec<PlatformView>>, Problem> {
    let platforms = office.blocking(|office| Ok(office.registry.platforms()?)).await?;
    let view = |platform: registry::Platform| PlatformView {
        name: platform.name,
        added_at: platform.added_at.to_string(),
        revoked: platform.revoked.map(RevocationView::from),
    };
    Ok(Json(platforms.into_iter().map(view).collect()))
}

pub(super) async fn add(
    State(office): State<Arc<Office>>,
    Json(new): Json<NewPlatform>,
) -> Result<StatusCode, Problem> {
    office
        .blocking(move |office| {
            office.registry.platform_add(&new.name, &new.password)?;
            Ok(StatusCode::CREATED)
        })
        .await
}

pub(super) async fn revoke(
    State(office): State<Arc<Office>>,
    Path(name): Path<String>,
    Json(reason): Json<Reason>,
) -> Result<StatusCode, Problem> {
    office
        .blocking(move |office| {
            let version = office.registry.platform_revoke(&name, &reason.why)?;
            office.changed(version);
            Ok(StatusCode::NO_CONTENT)
        })
        .await
}
