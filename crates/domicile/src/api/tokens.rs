//! Tokens: who may ask over HTTPS, and as what.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use model::UtcMicros;
use policy::{Action, Resource};
use serde::{Deserialize, Serialize};

use super::access::Caller;
use super::vehicles::{Reason, RevocationView};
use super::{Office, Problem};

/// The longest life that a token is given in days: who needs more asks again.
const DAYS_MAX: u32 = 3_650;

/// A token to be made.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewToken {
    pub(crate) name: String,
    /// `operator`, `analyst`, `officer` or `auditor`.
    pub(crate) role: String,
    /// In how many days it expires; never where it is left out.
    #[serde(default)]
    pub(crate) days: Option<u32>,
}

/// A token that was made. The secret is nowhere else.
#[derive(Serialize, Deserialize)]
pub(crate) struct MadeToken {
    pub(crate) secret: String,
}

/// A token, without its secret.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TokenView {
    pub(crate) name: String,
    pub(crate) role: String,
    /// RFC 3339, UTC.
    pub(crate) created_at: String,
    pub(crate) expires_at: Option<String>,
    pub(crate) revoked: Option<RevocationView>,
}

pub(super) async fn list(State(office): State<Arc<Office>>) -> Result<Json<Vec<TokenView>>, Problem> {
    let tokens = office.blocking(|office| Ok(office.registry.token_list()?)).await?;
    let view = |token: registry::Token| TokenView {
        name: token.name,
        role: token.role.as_str().to_owned(),
        created_at: token.created_at.to_string(),
        expires_at: token.expires_at.map(|at| at.to_string()),
        revoked: token.revoked.map(RevocationView::from),
    };
    Ok(Json(tokens.into_iter().map(view).collect()))
}

pub(super) async fn create(
    State(office): State<Arc<Office>>,
    Extension(caller): Extension<Caller>,
    Json(new): Json<NewToken>,
) -> Result<(StatusCode, Json<MadeToken>), Problem> {
    let role = role(&new.role)?;
    office.permit(&caller, Action::TokensWrite, &Resource::Role(role))?;
    let expires = match new.days {
        Some(days) if days == 0 || days > DAYS_MAX => {
            return Err(Problem::invalid(format!("expires: 1 to {DAYS_MAX} days")));
        }
        Some(days) => Some(office.world.clock.now().plus_micros(i64::from(days) * UtcMicros::PER_DAY)),
        None => None,
    };
    let (secret, _) =
        office.blocking(move |office| Ok(office.registry.token_create(&new.name, role, expires)?)).await?;
    Ok((StatusCode::CREATED, Json(MadeToken { secret: secret.as_str().to_owned() })))
}

pub(super) async fn revoke(
    State(office): State<Arc<Office>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    Json(reason): Json<Reason>,
) -> Result<StatusCode, Problem> {
    let asked = name.clone();
    let tokens = office.blocking(|office| Ok(office.registry.token_list()?)).await?;
    let known = tokens.into_iter().find(|token| token.name == asked);
    let known = known.ok_or_else(|| Problem::not_found("there is no such token; `token list` shows them"))?;
    office.permit(&caller, Action::TokensWrite, &Resource::Role(known.role))?;
    office
        .blocking(move |office| {
            office.registry.token_revoke(&name, &reason.why)?;
            Ok(StatusCode::NO_CONTENT)
        })
        .await
}

fn role(name: &str) -> Result<policy::Role, Problem> {
    policy::Role::from_name(name)
        .ok_or_else(|| Problem::invalid("role: operator, analyst, officer or auditor"))
}
