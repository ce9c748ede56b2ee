//! Errors as answers: problem details (RFC 9457).

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

/// What went wrong, for the one who asked. `code` is for programs, `detail` for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Problem {
    /// `about:blank`, as RFC 9457 (section 4.2.1) has it where the status says it all.
    r#type: String,
    title: String,
    status: u16,
    pub(crate) code: String,
    pub(crate) detail: String,
}

impl Problem {
    /// Whether there is nothing of that name.
    #[cfg(test)]
    pub(crate) fn is_not_found(&self) -> bool {
        self.status == StatusCode::NOT_FOUND.as_u16()
    }

    /// The request can't be carried out as it is.
    pub(crate) fn invalid(detail: impl ToString) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", detail)
    }

    /// Nobody knows who asks.
    pub(crate) fn unauthorized(detail: impl ToString) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
    }

    /// A rule refuses it.
    pub(crate) fn refused(detail: impl ToString) -> Self {
        Self::new(StatusCode::FORBIDDEN, "refused", detail)
    }

    /// It isn't there.
    pub(crate) fn not_found(detail: impl ToString) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    /// It can't be had in a form that is accepted.
    pub(crate) fn not_acceptable(detail: impl ToString) -> Self {
        Self::new(StatusCode::NOT_ACCEPTABLE, "not_acceptable", detail)
    }

    /// What is there contradicts it.
    pub(crate) fn conflict(detail: impl ToString) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", detail)
    }

    /// The center can't do it now.
    pub(crate) fn unavailable(detail: impl ToString) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
    }

    /// Whether a rule refused it.
    pub(crate) fn is_refusal(&self) -> bool {
        self.status == StatusCode::FORBIDDEN.as_u16()
    }

    fn new(status: StatusCode, code: &str, detail: impl ToString) -> Self {
        Self {
            r#type: "about:blank".to_owned(),
            title: status.canonical_reason().unwrap_or_default().to_owned(),
            status: status.as_u16(),
            code: code.to_owned(),
            detail: detail.to_string(),
        }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Problem {}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).expect("a problem is texts and a number");
        (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response()
    }
}

impl From<registry::Error> for Problem {
    fn from(error: registry::Error) -> Self {
        use registry::Error;
        match error {
            Error::Field { .. } | Error::Import { .. } | Error::Schema { .. } => Self::invalid(error),
            Error::AlreadyRegistered { .. }
            | Error::CountryDiffers { .. }
            | Error::AlreadyRevoked { .. }
            | Error::PlatformExists
            | Error::TokenExists => Self::conflict(error),
            Error::NoSuchVehicle
            | Error::NoSuchPlatform
            | Error::NoSuchToken
            | Error::NoSuchPeriod
            | Error::NoSuchErasure => Self::not_found(error),
            _ => Self::unavailable(error),
        }
    }
}
