//! What a client is told when a call fails, in toncenter's words where it has some.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::ChainError;
use crate::execution::NotExecuted;

#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("Unknown method")]
    UnknownMethod,
    #[error("Not Found")]
    NoSuchPath,
    #[error("Method Not Allowed")]
    NotAllowed,
    #[error("Validation error: {0}")]
    Parameter(String),
    /// The request's body could not be read.
    #[error("{1}")]
    Body(StatusCode, String),
    #[error("Incorrect address")]
    Address,
    #[error("{0} is not offered by this chain")]
    NotOffered(&'static str),
    #[error("LITE_SERVER_NOTREADY: {0}")]
    NotFound(&'static str),
    #[error("LITE_SERVER_UNKNOWN: {0}")]
    Chain(String),
    #[error("Ratelimit exceed")]
    RateLimit,
    #[error("refused, because it was told to be")]
    Refused(u16),
    #[error("timeout")]
    Lost,
    #[error("this call failed in a way that it should not: the log has more")]
    Panicked,
    /// Whoever steers the chain asked for what cannot be.
    #[error("{0}")]
    Control(String),
    /// The chain's file failed.
    #[error("{0}")]
    Store(String),
}

impl From<ChainError> for ApiError {
    fn from(error: ChainError) -> Self {
        match error {
            ChainError::Execution(NotExecuted::NotAccepted(exit_code)) => {
                let reason =
                    exit_code.map_or_else(|| "no code was run".to_owned(), |code| format!("exitcode={code}"));
                Self::Chain(format!(
                    "cannot apply external message to current state : External message was not accepted\n\
                     Cannot run message on account: inbound external message rejected by transaction:\n{reason}"
                ))
            }
            other => Self::Chain(other.to_string()),
        }
    }
}

impl From<tycho_types::error::Error> for ApiError {
    fn from(error: tycho_types::error::Error) -> Self {
        Self::Chain(error.to_string())
    }
}

impl ApiError {
    /// What is said to whoever steers the chain.
    pub(crate) fn of_control(error: &ChainError) -> Self {
        match error {
            ChainError::Store(_) => Self::Store(error.to_string()),
            _ => Self::Control(error.to_string()),
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::UnknownMethod | Self::Parameter(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::NoSuchPath => StatusCode::NOT_FOUND,
            Self::NotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Body(status, _) => *status,
            Self::Address => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::NotOffered(_) => StatusCode::NOT_IMPLEMENTED,
            Self::NotFound(_) | Self::Chain(_) | Self::Panicked | Self::Store(_) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            Self::RateLimit => StatusCode::TOO_MANY_REQUESTS,
            Self::Refused(status) => StatusCode::from_u16(*status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE),
            Self::Lost => StatusCode::GATEWAY_TIMEOUT,
            Self::Control(_) => StatusCode::BAD_REQUEST,
        }
    }

    /// The answer, with the `id` of a JSON-RPC call.
    pub(crate) fn answer(&self, id: Option<Value>) -> Response {
        let status = self.status();
        let mut body = json!({"ok": false, "error": self.to_string(), "code": status.as_u16()});
        enveloped(&mut body, id);
        (status, Json(body)).into_response()
    }
}

/// What an answer has over JSON-RPC beside what it has over REST.
pub(super) fn enveloped(body: &mut Value, id: Option<Value>) {
    if let Some(id) = id {
        body["id"] = id;
        body["jsonrpc"] = "2.0".into();
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        self.answer(None)
    }
}
