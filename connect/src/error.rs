//! The one place where a failure becomes an HTTP answer: our own in OpenAI's shape, and the gateway's, passed on and
//! marked as what anybody on the way may have said.

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use cocoon_openapi::{ApiError, REQUEST_ID_HEADER};
use cocoon_receipts::NanoTon;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::Value;

use crate::local::Stranger;

/// Told to OpenAI's SDKs, which otherwise retry every 408, 409, 429 and 5xx.
pub const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
/// On an error that no attested machine stands for.
pub const UNAUTHENTICATED: HeaderName = HeaderName::from_static("cocoon-unauthenticated");
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
const RATE_LIMITS: &str = "x-ratelimit-";
/// Largest error of the gateway's that is read, bytes.
pub const MAX_ERROR: usize = 64 << 10;

/// A plain answer of the gateway's that is an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlainError {
    /// 400 to 599.
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// At most [`MAX_ERROR`] bytes.
    pub body: Bytes,
}

/// A failure on its way to the caller.
#[derive(Debug, Clone)]
pub enum Failure {
    /// Found here.
    Ours {
        /// Boxed, so that a result is as small as its good case.
        api: Box<ApiError>,
        /// Whether an SDK may retry by itself; none leaves it to the status.
        should_retry: Option<bool>,
    },
    /// Said by the gateway.
    Theirs(Box<PlainError>),
}

impl From<ApiError> for Failure {
    fn from(api: ApiError) -> Self {
        Self::Ours { api: Box::new(api), should_retry: None }
    }
}

impl From<Stranger> for Failure {
    fn from(stranger: Stranger) -> Self {
        Self::new(403, "invalid_request_error", "forbidden", format!("Refused: {stranger}."))
    }
}

impl Failure {
    fn new(status: u16, kind: &str, code: &str, message: impl Into<String>) -> Self {
        ApiError::new(status, kind, Some(code), message).into()
    }

    fn no_retry(self) -> Self {
        match self {
            Self::Ours { api, .. } => Self::Ours { api, should_retry: Some(false) },
            theirs @ Self::Theirs(_) => theirs,
        }
    }

    /// 401 without a key.
    #[must_use]
    pub fn no_key() -> Self {
        ApiError::no_key().into()
    }

    /// 401 where the sidecar has the key, and its callers present the local token.
    #[must_use]
    pub fn no_local_token() -> Self {
        let message = "This sidecar pays by itself. Send the token of its state folder in place of a key.";
        Self::new(401, "invalid_request_error", "invalid_local_token", message)
    }

    /// 402 where the channel's deposit does not cover what a request may cost. Amounts are nanoTON.
    #[must_use]
    pub fn channel_exhausted(left: NanoTon, part: NanoTon) -> Self {
        let message = format!(
            "The payment channel has {left} nanoTON left, and this request may cost {part}. Ask for fewer tokens, or \
             add to the channel: cocoon-connect channel deposit --amount TON."
        );
        Self::new(402, "insufficient_quota", "channel_exhausted", message).no_retry()
    }

    /// 403 where the gateway takes no voucher of the channel any more.
    #[must_use]
    pub fn channel_closed() -> Self {
        let message = "The payment channel is closed: nothing more can be paid from it. `cocoon-connect channel \
                       status` shows what becomes of the rest; `channel open` opens another one.";
        Self::new(403, "invalid_request_error", "channel_closed", message).no_retry()
    }

    /// 404 for a path nothing answers at, as OpenAI words it. The path is the caller's own.
    #[must_use]
    pub fn no_such_path(method: &http::Method, uri: &http::Uri) -> Self {
        ApiError::no_such_path(method.as_str(), uri.path()).into()
    }

    /// 405; the router says in `allow` what would do.
    #[must_use]
    pub fn method_not_allowed(method: &http::Method, uri: &http::Uri) -> Self {
        ApiError::method_not_allowed(method.as_str(), uri.path()).into()
    }

    /// 408: nothing of it was sent on.
    #[must_use]
    pub fn body_timeout() -> Self {
        ApiError::body_timeout().into()
    }

    /// 413.
    #[must_use]
    pub fn body_too_large(limit: usize) -> Self {
        ApiError::body_too_large(limit).into()
    }

    /// 415: what is sealed are the bytes that came, and the other end unpacks nothing.
    #[must_use]
    pub fn content_encoding() -> Self {
        let message = "A body that will be sealed cannot be compressed: send it without Content-Encoding.";
        Self::new(415, "invalid_request_error", "unsupported_content_encoding", message)
    }

    /// 404 as OpenAI words it.
    #[must_use]
    pub fn model_not_found(model: &str) -> Self {
        ApiError::model_not_found(model).into()
    }

    /// 502 where every backend that the gateway names was refused here. The reason is a refusal's or a fetch's own
    /// words; one that may pass is retried by SDKs.
    #[must_use]
    pub fn not_verified(reason: &str, may_pass: bool) -> Self {
        let message = format!("No backend of this model was verified, so nothing was sent: {reason}.");
        let failure = Self::new(502, "server_error", "backend_not_verified", message);
        if may_pass { failure } else { failure.no_retry() }
    }

    /// 502 where the gateway's prices are not the published ones.
    #[must_use]
    pub fn prices_not_published(reason: &str) -> Self {
        let message =
            format!("The gateway's prices are not those that are published, so nothing was sent: {reason}.");
        Self::new(502, "server_error", "prices_not_published", message).no_retry()
    }

    /// 502 where an answer is not what an attested backend says it sent. It may have been billed.
    #[must_use]
    pub fn answer_not_verified(reason: &str) -> Self {
        let message = format!("The answer could not be verified and is not handed on: {reason}.");
        Self::new(502, "server_error", "answer_not_verified", message).no_retry()
    }

    /// 502 where a success came in the clear: who wrote it is not known.
    #[must_use]
    pub fn answer_not_sealed() -> Self {
        let message = "The gateway answered a sealed request in the clear; the answer is not handed on.";
        Self::new(502, "server_error", "answer_not_sealed", message).no_retry()
    }

    /// 502: a redirect would send keys elsewhere.
    #[must_use]
    pub fn redirected() -> Self {
        let message = "The gateway answered with a redirect, which is never followed.";
        Self::new(502, "server_error", "gateway_redirect", message).no_retry()
    }

    /// 502 where the gateway's answer is not what its interface has.
    #[must_use]
    pub fn gateway_broken(reason: &str) -> Self {
        Self::new(502, "server_error", "gateway_failed", format!("The gateway failed: {reason}."))
    }

    /// 502 after the request may have been admitted.
    #[must_use]
    pub fn gateway_broke_off() -> Self {
        Self::gateway_broken("the connection broke before its answer began").no_retry()
    }

    /// 503: nothing was sent.
    #[must_use]
    pub fn gateway_unreachable() -> Self {
        Self::new(503, "server_error", "gateway_unreachable", "The gateway cannot be reached.")
    }

    /// 504. The next try would take as long.
    #[must_use]
    pub fn gateway_timeout() -> Self {
        Self::new(504, "server_error", "deadline_exceeded", "The gateway did not answer in time.").no_retry()
    }

    /// 503: every attempt met keys that had just changed.
    #[must_use]
    pub fn keys_changed() -> Self {
        let message = "The backend's keys changed while the request was sealed to them. Try again.";
        Self::new(503, "server_error", "backend_unavailable", message)
    }

    /// 500. The next try would meet the same fault.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(500, "server_error", "internal_error", "The sidecar failed; its log says more.").no_retry()
    }

    /// What a stream that has begun says at its end.
    #[must_use]
    pub fn to_event(&self) -> Vec<u8> {
        match self {
            Self::Ours { api, .. } => api.to_event(),
            Self::Theirs(plain) => [b"data: ".as_slice(), &marked(plain), b"\n\n"].concat(),
        }
    }
}

/// Headers of the gateway's that callers have a use for: they say when to come again, and under which id to ask.
#[must_use]
pub fn passed_on(headers: &HeaderMap) -> HeaderMap {
    let known = |name: &HeaderName| {
        *name == RETRY_AFTER
            || *name == RETRY_AFTER_MS
            || *name == SHOULD_RETRY
            || name == REQUEST_ID_HEADER
            || name == "openai-processing-ms"
            || name.as_str().starts_with(RATE_LIMITS)
    };
    headers
        .iter()
        .filter(|(name, _)| known(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// The gateway's error with `"unauthenticated": true` in it, or one in OpenAI's shape where it was none.
fn marked(plain: &PlainError) -> Vec<u8> {
    let theirs = serde_json::from_slice::<Value>(&plain.body)
        .ok()
        .filter(|body| body["error"]["message"].is_string() && body["error"]["type"].is_string());
    let mut body = theirs.unwrap_or_else(|| {
        let status = plain.status.as_u16();
        let message = format!("The gateway answered with status {status}.");
        serde_json::from_slice(
            &ApiError::new(status, "server_error", Some("gateway_error"), message).to_json(),
        )
        .unwrap_or_default()
    });
    body["error"]["unauthenticated"] = true.into();
    serde_json::to_vec(&body).unwrap_or_default()
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, body, headers) = match self {
            Self::Ours { api, should_retry } => {
                let mut headers = HeaderMap::new();
                if let Some(retry) = should_retry {
                    let retry = if retry { "true" } else { "false" };
                    headers.insert(SHOULD_RETRY, HeaderValue::from_static(retry));
                }
                let status = StatusCode::from_u16(api.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                (status, api.to_json(), headers)
            }
            Self::Theirs(plain) => {
                let mut headers = passed_on(&plain.headers);
                headers.insert(UNAUTHENTICATED, HeaderValue::from_static("true"));
                (plain.status, marked(&plain), headers)
            }
        };
        let mut response = (status, body).into_response();
        response.headers_mut().extend(headers);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answered(status: u16, headers: &[(&str, &str)], body: &str) -> (HeaderMap, Value) {
        let headers = headers
            .iter()
            .map(|(name, value)| {
                (HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap())
            })
            .collect();
        let plain = PlainError {
            status: StatusCode::from_u16(status).unwrap(),
            headers,
            body: Bytes::from(body.to_owned()),
        };
        let response = Failure::Theirs(Box::new(plain)).into_response();
        assert_eq!(response.status().as_u16(), status);
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        (parts.headers, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn an_error_of_the_gateway_is_passed_on_and_marked() {
        let body = r#"{"error":{"message":"m","type":"t","param":null,"code":"insufficient_balance","topup":{"a":1}},"x":2}"#;
        let headers = [
            ("retry-after", "3"),
            ("retry-after-ms", "3000"),
            ("x-should-retry", "false"),
            ("x-ratelimit-limit-requests", "9"),
            ("x-request-id", "r"),
            ("set-cookie", "evil=1"),
            ("access-control-allow-origin", "*"),
            ("cocoon-receipt", "forged"),
            ("content-encoding", "gzip"),
        ];
        let (headers, body) = answered(402, &headers, body).await;
        assert_eq!(headers["cocoon-unauthenticated"], "true");
        assert_eq!(body["error"]["unauthenticated"], true);
        assert_eq!(body["error"]["code"], "insufficient_balance");
        assert_eq!(body["error"]["topup"]["a"], 1);
        for name in
            ["retry-after", "retry-after-ms", "x-should-retry", "x-ratelimit-limit-requests", "x-request-id"]
        {
            assert!(headers.contains_key(name), "{name}");
        }
        for name in ["set-cookie", "access-control-allow-origin", "cocoon-receipt", "content-encoding"] {
            assert!(!headers.contains_key(name), "{name}");
        }
    }

    #[tokio::test]
    async fn what_is_no_openai_error_becomes_one() {
        for body in ["", "<html>", "{}", "[]", r#"{"error":"text"}"#, r#"{"error":{"message":1,"type":"t"}}"#]
        {
            let (headers, body) = answered(503, &[], body).await;
            assert_eq!(headers["cocoon-unauthenticated"], "true");
            assert_eq!(headers["content-type"], "application/json");
            assert_eq!(body["error"]["code"], "gateway_error");
            assert_eq!(body["error"]["unauthenticated"], true);
            assert!(body["error"]["message"].as_str().unwrap().contains("503"), "{body}");
        }
    }

    #[test]
    fn what_may_have_been_billed_is_not_retried_by_itself() {
        for (failure, retry) in [
            (Failure::answer_not_verified("x"), Some("false")),
            (Failure::answer_not_sealed(), Some("false")),
            (Failure::gateway_broke_off(), Some("false")),
            (Failure::gateway_timeout(), Some("false")),
            (Failure::gateway_unreachable(), None),
            (Failure::keys_changed(), None),
        ] {
            let response = failure.into_response();
            let said = response.headers().get(SHOULD_RETRY).map(|value| value.to_str().unwrap());
            assert_eq!(said, retry);
        }
    }
}
