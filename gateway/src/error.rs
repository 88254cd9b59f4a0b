//! The one place where a failure becomes an HTTP answer. Every message is safe to show: what went wrong in detail is
//! in the log, under the request's id.

use axum::response::{IntoResponse, Response};
use cocoon_ledger::Refusal;
use cocoon_openapi::ApiError;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, StatusCode};

/// Told to OpenAI's SDKs, which otherwise retry every 408, 409, 429 and 5xx.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");

/// A failure on its way to the client.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Boxed, so that a result is as small as its good case.
    pub api: Box<ApiError>,
    /// Seconds after which a retry makes sense.
    pub retry_after: Option<u64>,
    /// Whether an SDK may retry by itself; none leaves it to the status.
    pub should_retry: Option<bool>,
}

impl From<ApiError> for Failure {
    fn from(api: ApiError) -> Self {
        Self { api: Box::new(api), retry_after: None, should_retry: None }
    }
}

impl Failure {
    fn new(status: u16, kind: &str, code: &str, message: impl Into<String>) -> Self {
        ApiError::new(status, kind, Some(code), message).into()
    }

    fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    fn no_retry(mut self) -> Self {
        self.should_retry = Some(false);
        self
    }

    /// 401 without a key.
    #[must_use]
    pub fn no_key() -> Self {
        ApiError::new(
            401,
            "invalid_request_error",
            None,
            "You didn't provide an API key. Send it in an Authorization header: 'Authorization: Bearer YOUR_KEY'.",
        )
        .into()
    }

    /// 401 for every key that is not good; `why` must not quote it.
    #[must_use]
    pub fn bad_key(why: &str) -> Self {
        Self::new(
            401,
            "invalid_request_error",
            "invalid_api_key",
            format!("Incorrect API key provided: {why}."),
        )
    }

    /// 403 for a good key that may not do this.
    #[must_use]
    pub fn forbidden(message: &str) -> Self {
        Self::new(403, "invalid_request_error", "forbidden", message)
    }

    /// 404 as OpenAI words it. The name is the client's own and is bounded by the reader.
    #[must_use]
    pub fn model_not_found(model: &str) -> Self {
        let message = format!("The model `{model}` does not exist or you do not have access to it.");
        ApiError::new(404, "invalid_request_error", Some("model_not_found"), message)
            .with_param("model")
            .into()
    }

    /// 404 for a path nothing answers at.
    #[must_use]
    pub fn no_such_path(method: &http::Method) -> Self {
        Self::new(404, "invalid_request_error", "unknown_url", format!("Unknown request URL for {method}."))
    }

    /// 405.
    #[must_use]
    pub fn method_not_allowed(method: &http::Method) -> Self {
        Self::new(
            405,
            "invalid_request_error",
            "method_not_allowed",
            format!("Not allowed to {method} here."),
        )
    }

    /// 413.
    #[must_use]
    pub fn body_too_large(limit: usize) -> Self {
        let message = format!("The request body is over the limit of {limit} bytes.");
        Self::new(413, "invalid_request_error", "request_too_large", message)
    }

    /// 415.
    #[must_use]
    pub fn content_encoding() -> Self {
        let message = "Compressed request bodies are not accepted: send it without Content-Encoding.";
        Self::new(415, "invalid_request_error", "unsupported_content_encoding", message)
    }

    /// 402 and 429, as the ledger refused.
    #[must_use]
    pub fn refused(refusal: Refusal) -> Self {
        match refusal {
            Refusal::InsufficientBalance { needed, available } => Self::new(
                402,
                "insufficient_quota",
                "insufficient_balance",
                format!("The balance is too low: this request needs {needed} nanoTON and {available} are available."),
            )
            .no_retry(),
            Refusal::BalanceHeld { needed, available } => Self::new(
                429,
                "insufficient_quota",
                "balance_held",
                format!(
                    "Running requests hold the balance: this one needs {needed} nanoTON and {available} are available."
                ),
            )
            .retry_after(1),
            Refusal::Finished => Self::internal(),
        }
    }

    /// 503 while the ledger does not answer. Never 401: the key may be good.
    #[must_use]
    pub fn store_down() -> Self {
        Self::new(
            503,
            "server_error",
            "store_unavailable",
            "Requests cannot be admitted right now. Try again shortly.",
        )
        .retry_after(1)
    }

    /// 503 while no attested backend serves the model, or none takes the request.
    #[must_use]
    pub fn no_backend() -> Self {
        Self::new(
            503,
            "server_error",
            "backend_unavailable",
            "No attested backend can take this request right now.",
        )
        .retry_after(2)
    }

    /// 503 while the gateway itself is full or on its way out.
    #[must_use]
    pub fn overloaded() -> Self {
        Self::new(503, "server_error", "overloaded", "The gateway cannot take more requests right now.")
            .retry_after(1)
    }

    /// 502 after a backend broke off or sent what it must not. What it generated until then is billed by its receipt.
    #[must_use]
    pub fn backend_failed() -> Self {
        Self::new(502, "server_error", "backend_failed", "The backend failed before its answer was complete.")
    }

    /// 504.
    #[must_use]
    pub fn deadline() -> Self {
        Self::new(
            504,
            "server_error",
            "deadline_exceeded",
            "The request took longer than this gateway allows.",
        )
        .no_retry()
    }

    /// 500.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(
            500,
            "server_error",
            "internal_error",
            "The gateway failed. The request id identifies it in the log.",
        )
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.api.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, self.api.to_json()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
            headers.insert(RETRY_AFTER_MS, HeaderValue::from(seconds * 1000));
        }
        if let Some(retry) = self.should_retry {
            headers.insert(SHOULD_RETRY, HeaderValue::from_static(if retry { "true" } else { "false" }));
        }
        response
    }
}
