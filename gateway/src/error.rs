//! The one place where a failure becomes an HTTP answer. Every message is safe to show: what went wrong in detail is
//! in the log, under the request's id.

use axum::response::{IntoResponse, Response};
use cocoon_ledger::{Holder, LedgerError, Limit, Refusal};
use cocoon_openapi::billing::TopUp;
use cocoon_openapi::{ApiError, KEY_DIGEST_HEADER};
use cocoon_receipts::NanoTon;
use cocoon_sealing::KEY_CONFIG_PROBLEM;
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::rate_limits;

/// Told to OpenAI's SDKs, which otherwise retry every 408, 409, 429 and 5xx.
pub const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
/// As `retry-after`, finer.
pub const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");

/// A failure on its way to the client.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Boxed, so that a result is as small as its good case.
    pub api: Box<ApiError>,
    /// Milliseconds after which a retry makes sense.
    pub retry_after_ms: Option<u64>,
    /// Whether an SDK may retry by itself; none leaves it to the status.
    pub should_retry: Option<bool>,
    /// Whether the request may have run, and be billed. It is then retried by itself only where an idempotency key
    /// says that the two are one.
    pub may_be_billed: bool,
    /// What the client could do instead, where HTTP has a header for it.
    pub hint: Option<(HeaderName, &'static str)>,
    /// `type` of the RFC 9457 problem that it is told as, instead of OpenAI's shape.
    pub problem: Option<&'static str>,
}

impl From<ApiError> for Failure {
    fn from(api: ApiError) -> Self {
        Self {
            api: Box::new(api),
            retry_after_ms: None,
            should_retry: None,
            may_be_billed: false,
            hint: None,
            problem: None,
        }
    }
}

impl Failure {
    fn new(status: u16, kind: &str, code: &str, message: impl Into<String>) -> Self {
        ApiError::new(status, kind, Some(code), message).into()
    }

    fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_ms = Some(seconds * 1000);
        self
    }

    fn no_retry(mut self) -> Self {
        self.should_retry = Some(false);
        self
    }

    fn may_be_billed(mut self) -> Self {
        self.may_be_billed = true;
        self
    }

    /// 401 without a key.
    #[must_use]
    pub fn no_key() -> Self {
        ApiError::no_key().into()
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

    /// 401 as OpenAI answers to a key that names another account than its own.
    #[must_use]
    pub fn mismatched_organization() -> Self {
        let message = "OpenAI-Organization header should match organization for API key.";
        Self::new(401, "invalid_request_error", "mismatched_organization", message)
    }

    /// 401 for a voucher of a channel that was not opened here: the client can open it and ask again.
    #[must_use]
    pub fn unknown_channel() -> Self {
        let message =
            "The voucher is of a channel that was not opened here: POST its address to /v1/channels.";
        Self::new(401, "invalid_request_error", "unknown_channel", message)
    }

    /// 402 for a voucher above what is deposited, as far as was seen.
    #[must_use]
    pub fn channel_exhausted(NanoTon(deposited): NanoTon) -> Self {
        let message = format!(
            "The voucher is for more than the {deposited} nanoTON that are deposited; after a deposit, POST the channel's address to /v1/channels."
        );
        Self::new(402, "insufficient_quota", "channel_exhausted", message).no_retry()
    }

    /// 403: no voucher of it is taken any more.
    #[must_use]
    pub fn channel_closed() -> Self {
        Self::new(403, "invalid_request_error", "channel_closed", "The channel is closed.")
    }

    /// 400 for a channel that breaks a rule; `why` is ours.
    #[must_use]
    pub fn channel_not_accepted(why: &str) -> Self {
        let message = format!("The channel is not accepted: {why}.");
        Self::new(400, "invalid_request_error", "channel_not_accepted", message)
    }

    /// 404 where no channels are taken.
    #[must_use]
    pub fn no_channels() -> Self {
        Self::new(404, "invalid_request_error", "not_found", "This deployment takes no payment channels.")
    }

    /// 503: nobody, or not enough, would say how the channel stands.
    #[must_use]
    pub fn chain_unavailable() -> Self {
        let message = "The chain cannot be asked about the channel now.";
        Self::new(503, "server_error", "chain_unavailable", message).retry_after(5)
    }

    /// 403 for a good key that may not do this.
    #[must_use]
    pub fn forbidden(message: &str) -> Self {
        Self::new(403, "invalid_request_error", "forbidden", message)
    }

    /// 404 as OpenAI words it. The name is the client's own and is bounded by the reader.
    #[must_use]
    pub fn model_not_found(model: &str) -> Self {
        ApiError::model_not_found(model).into()
    }

    /// 404 for a path nothing answers at, as OpenAI words it. The path is the client's own.
    #[must_use]
    pub fn no_such_path(method: &http::Method, uri: &http::Uri) -> Self {
        ApiError::no_such_path(method.as_str(), uri.path()).into()
    }

    /// 405; the router says in `allow` what would do.
    #[must_use]
    pub fn method_not_allowed(method: &http::Method, uri: &http::Uri) -> Self {
        ApiError::method_not_allowed(method.as_str(), uri.path()).into()
    }

    /// 408: nothing of it was admitted.
    #[must_use]
    pub fn body_timeout() -> Self {
        ApiError::body_timeout().into()
    }

    /// 413.
    #[must_use]
    pub fn body_too_large(limit: usize) -> Self {
        ApiError::body_too_large(limit).into()
    }

    /// 413 for a sealed body that is more than its backend takes.
    #[must_use]
    pub fn sealed_too_large() -> Self {
        Self::new(413, "invalid_request_error", "request_too_large", "The request body is too large.")
    }

    /// 415.
    #[must_use]
    pub fn content_encoding() -> Self {
        let message = "A request body may be encoded once, as 'gzip', 'br' or 'zstd'.";
        Self {
            // RFC 9110 section 15.5.16.
            hint: Some((ACCEPT_ENCODING, "gzip, br, zstd")),
            ..Self::new(415, "invalid_request_error", "unsupported_content_encoding", message)
        }
    }

    /// 415 for a sealed body that is encoded too: its bytes are to pass as they are.
    #[must_use]
    pub fn sealed_content_encoding() -> Self {
        let message = "A sealed request must not have a content encoding.";
        Self {
            hint: Some((ACCEPT_ENCODING, "identity")),
            ..Self::new(415, "invalid_request_error", "unsupported_content_encoding", message)
        }
    }

    /// 422: the client's keys are not, or no longer, those of a backend. It fetches them again (EHBP 5.4.2). The words
    /// are a backend's own: whose refusal it was is nobody's business.
    #[must_use]
    pub fn key_config() -> Self {
        Self {
            problem: Some(KEY_CONFIG_PROBLEM),
            ..ApiError::new(422, "invalid_request_error", None, "The key configuration is not known.").into()
        }
    }

    /// 400 for all that a backend finds wrong with a sealed request, in the backend's own words: they are the same
    /// whatever the cause.
    #[must_use]
    pub fn sealed_refused() -> Self {
        Self::new(400, "invalid_request_error", "sealed_request_refused", "The sealed request was refused.")
    }

    /// 400 for a keyset and a model that do not belong together.
    #[must_use]
    pub fn keyset_of_another_model() -> Self {
        let message = format!("'{KEY_DIGEST_HEADER}' names a keyset of another model.");
        ApiError::invalid(message).with_param(KEY_DIGEST_HEADER).into()
    }

    /// 404 for a keyset that no backend has.
    #[must_use]
    pub fn unknown_keyset() -> Self {
        Self::new(
            404,
            "invalid_request_error",
            "keyset_not_found",
            "No backend has this keyset, or has it any more.",
        )
    }

    /// 401, 402 and 429, as the ledger refused.
    #[must_use]
    pub fn refused(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Revoked => Self::bad_key("it was revoked"),
            Refusal::Limited { holder, limit, retry_after_ms, .. } => Self::limited(holder, limit, retry_after_ms),
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

    /// A 402 says how to pay in, where the deployment does.
    #[must_use]
    pub fn with_topup(mut self, topup: Option<TopUp>) -> Self {
        if self.api.status == 402 {
            self.api.body.error.topup = topup.map(Box::new);
        }
        self
    }

    /// 429 as OpenAI's, with the time after which it may be tried again. No SDK waits for a budget's next period.
    fn limited(holder: Holder, limit: Limit, retry_after_ms: Option<u64>) -> Self {
        let whose = match holder {
            Holder::Key => "key",
            Holder::Project => "project",
            Holder::Account => "account",
        };
        let when = retry_after_ms
            .map_or_else(String::new, |ms| format!(" Please try again in {}.", rate_limits::duration(ms)));
        let reached = |what: &str| format!("Rate limit reached for {what} of this {whose}.{when}");
        let (kind, code, message) = match limit {
            Limit::Requests => ("requests", "rate_limit_exceeded", reached("requests per minute")),
            Limit::Tokens => ("tokens", "rate_limit_exceeded", reached("tokens per minute")),
            Limit::Concurrency => ("requests", "rate_limit_exceeded", reached("requests at once")),
            Limit::Budget => (
                "insufficient_quota",
                "budget_exceeded",
                format!("This request is more than what is left of the budget of this {whose}.{when}"),
            ),
        };
        let retried = limit != Limit::Budget && retry_after_ms.is_some();
        Self {
            retry_after_ms,
            should_retry: (!retried).then_some(false),
            ..Self::new(429, kind, code, message)
        }
    }

    /// What a client sees of a ledger that failed: 503 while it does not answer, else 500. The cause is logged.
    #[must_use]
    pub fn of_ledger(error: LedgerError) -> Self {
        match error {
            // The store itself logs when it goes and when it is back.
            LedgerError::Unavailable(_) => {
                tracing::debug!(%error, "refused while the ledger is down");
                Self::store_down()
            }
            _ => {
                tracing::error!(%error, "ledger failed");
                Self::internal()
            }
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

    /// 503 for a token that may be good: its issuer's keys cannot be fetched.
    #[must_use]
    pub fn issuer_unavailable() -> Self {
        Self::new(
            503,
            "server_error",
            "issuer_unavailable",
            "The issuer of this token cannot be asked for its keys right now. Try again shortly.",
        )
        .retry_after(10)
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

    /// 409 where the key belongs to another request.
    #[must_use]
    pub fn idempotency_key_reuse() -> Self {
        Self::new(
            409,
            "idempotency_error",
            "idempotency_key_reuse",
            "This Idempotency-Key was used for another request. Send this one under a new key.",
        )
        .no_retry()
    }

    /// 409 while the first request under the key runs.
    #[must_use]
    pub fn idempotency_in_progress() -> Self {
        Self {
            should_retry: Some(true),
            ..Self::new(
                409,
                "idempotency_error",
                "idempotency_in_progress",
                "The first request under this Idempotency-Key is still running.",
            )
            .retry_after(2)
        }
    }

    /// 409 where the first request under the key was answered with more than is kept.
    #[must_use]
    pub fn idempotency_answer_too_large(limit: usize) -> Self {
        let message =
            format!("The answer under this Idempotency-Key is over {limit} bytes and was not kept.");
        Self::new(409, "idempotency_error", "idempotency_answer_too_large", message).no_retry()
    }

    /// 429 where the account runs as many requests under keys as it may.
    #[must_use]
    pub fn idempotency_full() -> Self {
        Self::new(
            429,
            "idempotency_error",
            "idempotency_full",
            "Too many requests under an Idempotency-Key are running at once.",
        )
        .retry_after(1)
    }

    /// 502 after a backend broke off or sent what it must not. What it generated until then is billed by its receipt.
    #[must_use]
    pub fn backend_failed() -> Self {
        Self::backend_refused().may_be_billed()
    }

    /// 502 after a backend would not open the request: nothing was generated.
    #[must_use]
    pub fn backend_refused() -> Self {
        Self::new(502, "server_error", "backend_failed", "The backend failed before its answer was complete.")
    }

    /// 504. The next try would take as long.
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

    /// 500. The next try would meet the same fault.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(
            500,
            "server_error",
            "internal_error",
            "The gateway failed. The request id identifies it in the log.",
        )
        .no_retry()
    }

    /// The same failure of a request whose repetition is known to be one: it may be retried.
    #[must_use]
    pub fn of_idempotent_request(mut self) -> Self {
        self.may_be_billed = false;
        self
    }
}

/// `x-should-retry`, for answers that are not ours but a backend's too.
pub fn say_should_retry(headers: &mut HeaderMap, retry: bool) {
    headers.insert(SHOULD_RETRY, HeaderValue::from_static(if retry { "true" } else { "false" }));
}

/// RFC 9457's.
#[derive(serde::Serialize)]
struct Problem<'a> {
    title: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.api.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let (content_type, body) = match self.problem {
            None => ("application/json", self.api.to_json()),
            Some(kind) => {
                let problem = Problem { title: &self.api.body.error.message, kind };
                ("application/problem+json", serde_json::to_vec(&problem).unwrap_or_default())
            }
        };
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Some(ms) = self.retry_after_ms {
            headers.insert(RETRY_AFTER, HeaderValue::from(ms.div_ceil(1000)));
            headers.insert(RETRY_AFTER_MS, HeaderValue::from(ms));
        }
        if let Some((name, value)) = self.hint {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if let Some(retry) = self.should_retry.or(self.may_be_billed.then_some(false)) {
            say_should_retry(headers, retry);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limited(holder: Holder, limit: Limit, retry_after_ms: Option<u64>) -> Failure {
        let rates = cocoon_ledger::Rates::default();
        Failure::refused(Refusal::Limited { holder, limit, retry_after_ms, rates })
    }

    /// What OpenAI's SDKs do with an answer: `x-should-retry` decides, else 408, 409, 429 and 5xx are retried.
    fn is_retried(failure: Failure) -> bool {
        let response = failure.into_response();
        match response.headers().get(SHOULD_RETRY).map(HeaderValue::as_bytes) {
            Some(b"true") => true,
            Some(_) => false,
            None => matches!(response.status().as_u16(), 408 | 409 | 429 | 500..),
        }
    }

    #[test]
    fn only_what_cannot_have_been_billed_is_retried() {
        let refusal = |held: bool| {
            let (needed, available) = (cocoon_receipts::NanoTon(2), cocoon_receipts::NanoTon(1));
            Failure::refused(match held {
                true => Refusal::BalanceHeld { needed, available },
                false => Refusal::InsufficientBalance { needed, available },
            })
        };
        for failure in [
            Failure::body_timeout(),
            refusal(true),
            limited(Holder::Key, Limit::Requests, Some(5)),
            limited(Holder::Key, Limit::Concurrency, Some(5)),
            Failure::store_down(),
            Failure::issuer_unavailable(),
            Failure::chain_unavailable(),
            Failure::no_backend(),
            Failure::overloaded(),
            Failure::backend_refused(),
            Failure::backend_failed().of_idempotent_request(),
        ] {
            assert!(is_retried(failure.clone()), "{failure:?}");
        }
        for failure in [
            Failure::no_key(),
            Failure::model_not_found("m"),
            Failure::body_too_large(1),
            Failure::content_encoding(),
            refusal(false),
            Failure::refused(Refusal::Revoked),
            Failure::unknown_channel(),
            Failure::channel_exhausted(cocoon_receipts::NanoTon(2)),
            Failure::channel_closed(),
            limited(Holder::Key, Limit::Requests, None),
            limited(Holder::Key, Limit::Budget, Some(5)),
            Failure::backend_failed(),
            Failure::deadline(),
            Failure::deadline().of_idempotent_request(),
            Failure::internal(),
        ] {
            assert!(!is_retried(failure.clone()), "{failure:?}");
        }
    }

    #[test]
    fn a_path_is_shown_without_its_query_and_bounded() {
        let long = format!("/v1/{}?key=secret", "x".repeat(5000)).parse().unwrap();
        let failure = Failure::no_such_path(&http::Method::GET, &long);
        let message = &failure.api.body.error.message;
        assert!(message.starts_with("Invalid URL (GET /v1/xxx") && message.len() < 300, "{message}");
        assert!(!message.contains("secret"));
    }

    /// Every failure that is the gateway's own, as bytes. After a change that is meant:
    /// `COCOON_UPDATE_GOLDENS=1 cargo test --release -p cocoon-gateway`, and read the difference.
    #[tokio::test]
    async fn every_failure_is_as_checked_in() {
        let uri: http::Uri = "/v1/foo?key=secret".parse().unwrap();
        let (needed, available) = (cocoon_receipts::NanoTon(2), cocoon_receipts::NanoTon(1));
        let topup = Some(TopUp {
            amount: Some(cocoon_receipts::NanoTon(1)),
            url: Some("https://pay.test".into()),
            transfer: None,
        });
        let failures = [
            Failure::no_key(),
            Failure::bad_key("it has expired"),
            Failure::mismatched_organization(),
            Failure::forbidden("An admin key runs no inference."),
            Failure::model_not_found("m"),
            Failure::no_such_path(&http::Method::GET, &uri),
            Failure::method_not_allowed(&http::Method::GET, &uri),
            Failure::body_timeout(),
            Failure::body_too_large(1),
            Failure::content_encoding(),
            Failure::sealed_content_encoding(),
            Failure::sealed_too_large(),
            Failure::key_config(),
            Failure::sealed_refused(),
            Failure::keyset_of_another_model(),
            Failure::unknown_keyset(),
            Failure::refused(Refusal::InsufficientBalance { needed, available }),
            Failure::refused(Refusal::InsufficientBalance { needed, available }).with_topup(topup.clone()),
            Failure::refused(Refusal::BalanceHeld { needed, available }).with_topup(topup),
            Failure::refused(Refusal::Finished),
            Failure::refused(Refusal::Revoked),
            limited(Holder::Key, Limit::Requests, Some(19_999)),
            limited(Holder::Project, Limit::Tokens, Some(60_000)),
            limited(Holder::Account, Limit::Concurrency, Some(1000)),
            limited(Holder::Key, Limit::Tokens, None),
            limited(Holder::Project, Limit::Budget, Some(86_400_000)),
            limited(Holder::Key, Limit::Budget, None),
            Failure::store_down(),
            Failure::issuer_unavailable(),
            Failure::no_backend(),
            Failure::overloaded(),
            Failure::idempotency_key_reuse(),
            Failure::idempotency_in_progress(),
            Failure::idempotency_answer_too_large(1),
            Failure::idempotency_full(),
            Failure::backend_failed(),
            Failure::backend_failed().of_idempotent_request(),
            Failure::backend_refused(),
            Failure::deadline(),
            Failure::internal(),
            Failure::unknown_channel(),
            Failure::channel_exhausted(needed),
            Failure::channel_closed(),
            Failure::channel_not_accepted("the channel is not open"),
            Failure::no_channels(),
            Failure::chain_unavailable(),
        ];
        let mut got = String::new();
        for failure in failures {
            let (parts, body) = failure.into_response().into_parts();
            let body = axum::body::to_bytes(body, 1 << 16).await.unwrap();
            let mut headers: Vec<String> = parts
                .headers
                .iter()
                .map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap()))
                .collect();
            headers.sort();
            got += &format!(
                "{}\n{}{}\n\n",
                parts.status.as_u16(),
                headers.concat(),
                String::from_utf8_lossy(&body)
            );
        }
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/goldens/failures.txt");
        if std::env::var_os("COCOON_UPDATE_GOLDENS").is_some() {
            std::fs::write(file, &got).unwrap();
        }
        assert_eq!(got, std::fs::read_to_string(file).unwrap());
    }
}
