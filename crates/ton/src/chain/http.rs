//! One JSON-RPC call to one endpoint: bounded in time and size, and every failure told apart.

use std::time::Duration;

use cocoon_process::{FetchError, FetchLimits, Fetched, Fetcher};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::endpoint::{ApiKey, EndpointUrl};
use super::error::ChainError;

/// Longest answer, bytes: a page of transactions in base64 with what the endpoint says beside them.
const MAX_ANSWER_BYTES: usize = 8 * 1024 * 1024;

/// No rest that an endpoint asks for is longer.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

pub(super) struct Http {
    fetcher: Fetcher,
    url: String,
    headers: HeaderMap,
    key: Option<ApiKey>,
}

#[derive(Deserialize)]
struct Envelope {
    ok: bool,
    #[serde(default)]
    result: Value,
    #[serde(default)]
    error: Value,
    #[serde(default)]
    code: Option<u16>,
}

impl Http {
    pub(super) fn new(
        url: &EndpointUrl,
        key: Option<&ApiKey>,
        timeout: Duration,
    ) -> Result<Self, ChainError> {
        let mut headers =
            HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        if let Some(key) = key {
            let mut value = HeaderValue::from_str(key.secret())
                .map_err(|_| ChainError::Configuration("the API key is no header value"))?;
            value.set_sensitive(true);
            headers.insert(API_KEY, value);
        }
        let limits = FetchLimits { time: timeout, size: MAX_ANSWER_BYTES };
        let fetcher = Fetcher::new(url.is_encrypted(), limits)
            .map_err(|_| ChainError::Configuration("the machine's root certificates cannot be used"))?;
        Ok(Self { fetcher, url: url.rpc(), headers, key: key.cloned() })
    }

    /// The `result` of `method`.
    pub(super) async fn call(&self, method: &str, params: Value) -> Result<Value, ChainError> {
        let body = json!({"jsonrpc": "2.0", "id": "1", "method": method, "params": params}).to_string();
        let outcome = self.exchange(body).await;
        if let Err(error) = &outcome {
            tracing::debug!(method, %error, "the call to an endpoint failed");
        }
        outcome
    }

    async fn exchange(&self, body: String) -> Result<Value, ChainError> {
        let answer = self.fetcher.post(&self.url, self.headers.clone(), body.into()).await;
        let Fetched { status, headers, body } = answer.map_err(|error| {
            tracing::debug!(%error, "an endpoint cannot be asked");
            without_url(&error)
        })?;
        let retry_after = retry_after(&headers);
        if status != StatusCode::OK {
            let text = self.without_key(&error_text(&body));
            return Err(ChainError::from_answer(status.as_u16(), &text, retry_after));
        }
        let envelope: Envelope =
            serde_json::from_slice(&body).map_err(|_| ChainError::Malformed("a JSON-RPC answer"))?;
        if envelope.ok {
            return Ok(envelope.result);
        }
        let text = self.without_key(envelope.error.as_str().unwrap_or_default());
        Err(ChainError::from_answer(envelope.code.unwrap_or(500), &text, retry_after))
    }

    /// An endpoint that refuses a key may repeat it, and errors are logged.
    fn without_key(&self, text: &str) -> String {
        match &self.key {
            Some(key) if !key.secret().is_empty() => text.replace(key.secret(), "(the key)"),
            _ => text.to_owned(),
        }
    }
}

/// In toncenter's errors; the text of something between it and us is not kept.
fn error_text(bytes: &[u8]) -> String {
    let envelope: Option<Envelope> = serde_json::from_slice(bytes).ok();
    envelope.and_then(|envelope| envelope.error.as_str().map(str::to_owned)).unwrap_or_default()
}

/// Seconds alone: endpoints send no dates.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}

/// What the caller does next follows from the kind alone; the URL is the operator's to know, and in the log.
fn without_url(error: &FetchError) -> ChainError {
    match error {
        FetchError::TooLong { .. } => ChainError::Timeout,
        FetchError::TooLarge { .. } => ChainError::TooLarge,
        FetchError::BrokeOff { .. } => ChainError::Truncated,
        FetchError::NoRoots(_)
        | FetchError::Url(_)
        | FetchError::Unreachable { .. }
        | FetchError::Status { .. } => ChainError::Unreachable,
    }
}
