//! Who may ask for what: a token on the HTTPS port, or the center's own socket, decided by the Cedar policies of
//! `policy/access.cedar`.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use policy::{Action, Principal, Resource, Roles};

use super::{Office, Problem};

/// Who asks, as far as it was made sure.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    /// Whoever may write into the center's folder: the peer of its socket, or the command that has opened it.
    Socket,
    /// The holder of a token.
    Token { name: Arc<str>, roles: Roles },
}

/// The address that a request comes from; set by the listener.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PeerAddress(pub(crate) IpAddr);

impl Caller {
    fn principal(&self) -> Principal<'_> {
        match self {
            Self::Socket => Principal::SOCKET,
            Self::Token { name, roles } => Principal { name, roles: *roles },
        }
    }

    /// What the caller may act as.
    pub(crate) fn roles(&self) -> Roles {
        self.principal().roles
    }

    /// The name of the strongest role, for the ledger.
    pub(crate) fn role(&self) -> &'static str {
        let principal = self.principal();
        let held = policy::Role::ALL.into_iter().rev().find(|role| principal.roles.contains(*role));
        held.map_or("none", policy::Role::as_str)
    }
}

impl Office {
    /// Asks the policies.
    ///
    /// # Errors
    /// A problem that says which action is not permitted.
    pub(crate) fn permit(
        &self,
        caller: &Caller,
        action: Action,
        resource: &Resource<'_>,
    ) -> Result<(), Problem> {
        if self.access.decide(&caller.principal(), action, resource).allowed {
            return Ok(());
        }
        let of = match resource {
            Resource::Center => String::new(),
            Resource::Table { name, .. } => format!(" of the table {name}"),
            Resource::Role(role) => format!(" of the role {}", role.as_str()),
        };
        Err(Problem::refused(format!(
            "policy/access.cedar does not permit `{}`{of} to this caller; an operator or officer may ask for a token that may",
            action.as_str()
        )))
    }

    /// The holder of the token that a request shows.
    fn caller(&self, headers: &HeaderMap) -> Result<Caller, Problem> {
        let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some(value) = value else {
            return Err(Problem::unauthorized(
                "show a token: `Authorization: Bearer domicile_…`; `domicile token create` makes one",
            ));
        };
        let token = value
            .split_once(' ')
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim());
        self.holder(token.unwrap_or_default())
    }

    /// The holder of a token.
    ///
    /// # Errors
    /// A problem that says that it is none.
    pub(crate) fn holder(&self, token: &str) -> Result<Caller, Problem> {
        let holder = self.registry.token_check(token, self.world.clock.now());
        let holder =
            holder.ok_or_else(|| Problem::unauthorized("this token is unknown, expired or revoked"))?;
        Ok(Caller::Token { name: holder.name, roles: holder.role.into() })
    }
}

/// What a route asks for.
#[derive(Clone)]
pub(super) struct Guard {
    pub(super) office: Arc<Office>,
    pub(super) action: Action,
}

/// Lets a request through whose caller may do what the route does, and tells the handler who it is.
pub(super) async fn guard(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    let known = request.extensions().get::<Caller>().cloned();
    let caller = match known.map_or_else(|| guard.office.caller(request.headers()), Ok) {
        Ok(caller) => caller,
        Err(problem) => return problem.into_response(),
    };
    // What is decided table by table (or role by role) is asked again by the handler, which knows which.
    let is_decided_later = matches!(guard.action, Action::Query | Action::TokensWrite);
    if !is_decided_later && let Err(problem) = guard.office.permit(&caller, guard.action, &Resource::Center) {
        return problem.into_response();
    }
    request.extensions_mut().insert(caller);
    next.run(request).await
}

/// Lets metrics be read from the addresses that the settings list, and else with a token.
pub(super) async fn guard_metrics(State(guard_of): State<Guard>, request: Request, next: Next) -> Response {
    let from = request.extensions().get::<PeerAddress>().map(|peer| peer.0);
    let listed = guard_of.office.center.settings.metrics_networks();
    if from.is_some_and(|from| listed.iter().any(|network| network.contains(&from))) {
        return next.run(request).await;
    }
    guard(State(guard_of), request, next).await
}
