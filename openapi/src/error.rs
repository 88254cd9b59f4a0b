//! OpenAI's error shape, the only one that leaves us.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::billing::TopUp;

/// OpenAI's `type` of what the caller can mend.
const INVALID_REQUEST: &str = "invalid_request_error";
/// As much of a path as an error repeats, bytes.
const MAX_SHOWN: usize = 256;

/// `{"error": {…}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    pub error: ErrorDetail,
}

/// The first four members are always there; `param` and `code` may be null.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorDetail {
    pub message: String,
    #[serde(rename = "type")]
    pub kind: String,
    #[schema(required)]
    pub param: Option<String>,
    #[schema(required)]
    pub code: Option<String>,
    /// With a 402 of a deployment that says how to pay in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<TopUp>)]
    pub topup: Option<Box<TopUp>>,
}

/// A failure as a caller sees it: a status and a body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{status}: {}", body.error.message)]
pub struct ApiError {
    pub status: u16,
    pub body: ErrorBody,
}

impl ApiError {
    /// `kind` is OpenAI's `type`. The message must not quote content.
    #[must_use]
    pub fn new(status: u16, kind: &str, code: Option<&str>, message: impl Into<String>) -> Self {
        let detail = ErrorDetail {
            message: message.into(),
            kind: kind.to_owned(),
            param: None,
            code: code.map(str::to_owned),
            topup: None,
        };
        Self { status, body: ErrorBody { error: detail } }
    }

    /// 400 `invalid_request_error`.
    #[must_use]
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, INVALID_REQUEST, None, message)
    }

    #[must_use]
    pub fn with_param(mut self, param: impl Into<String>) -> Self {
        self.body.error.param = Some(param.into());
        self
    }

    #[must_use]
    pub fn with_code(mut self, code: &str) -> Self {
        self.body.error.code = Some(code.to_owned());
        self
    }

    /// 401 without a key.
    #[must_use]
    pub fn no_key() -> Self {
        let message = "You didn't provide an API key. Send it in an Authorization header: 'Authorization: Bearer YOUR_KEY'.";
        Self::new(401, INVALID_REQUEST, None, message)
    }

    /// 404 as OpenAI words it. The name is the caller's own.
    #[must_use]
    pub fn model_not_found(model: &str) -> Self {
        let message = format!("The model `{model}` does not exist or you do not have access to it.");
        Self::new(404, INVALID_REQUEST, Some("model_not_found"), message).with_param("model")
    }

    /// 404 for a path nothing answers at, as OpenAI words it. The path is the caller's own.
    #[must_use]
    pub fn no_such_path(method: &str, path: &str) -> Self {
        let message = format!("Invalid URL ({method} {})", shown(path));
        Self::new(404, INVALID_REQUEST, Some("unknown_url"), message)
    }

    /// 405; `allow` says what would do.
    #[must_use]
    pub fn method_not_allowed(method: &str, path: &str) -> Self {
        let path = shown(path);
        let message = format!(
            "Not allowed to {method} on {path} (HINT: Perhaps you meant to use a different HTTP method?)"
        );
        Self::new(405, INVALID_REQUEST, Some("method_not_allowed"), message)
    }

    /// 408: nothing of it was admitted.
    #[must_use]
    pub fn body_timeout() -> Self {
        let message = "The request body did not arrive in time.";
        Self::new(408, INVALID_REQUEST, Some("request_timeout"), message)
    }

    /// 413.
    #[must_use]
    pub fn body_too_large(limit: usize) -> Self {
        let message = format!("The request body is over the limit of {limit} bytes.");
        Self::new(413, INVALID_REQUEST, Some("request_too_large"), message)
    }

    /// The JSON body.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        // Strings and options of strings always serialise.
        serde_json::to_vec(&self.body).unwrap_or_default()
    }

    /// One SSE event that carries the error, for a stream that has begun.
    #[must_use]
    pub fn to_event(&self) -> Vec<u8> {
        [b"data: ".as_slice(), &self.to_json(), b"\n\n"].concat()
    }
}

fn shown(path: &str) -> &str {
    path.get(..MAX_SHOWN).unwrap_or(path)
}
