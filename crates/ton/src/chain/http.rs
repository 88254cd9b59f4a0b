//! One JSON-RPC call to one endpoint: bounded in time and size, and every failure told apart.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, redirect};
use rustls::crypto::CryptoProvider;
use serde::Deserialize;
use serde_json::{Value, json};

use super::endpoint::{ApiKey, EndpointUrl};
use super::error::ChainError;

/// Longest answer, bytes: a page of transactions in base64 with what the endpoint says beside them.
const MAX_ANSWER_BYTES: usize = 8 * 1024 * 1024;

/// Longest answer to a request that failed, bytes.
const MAX_ERROR_BYTES: usize = 16 * 1024;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// No rest that an endpoint asks for is longer.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

pub(super) struct Http {
    client: Client,
    url: String,
    key: Option<ApiKey>,
    timeout: Duration,
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
        if CryptoProvider::get_default().is_none() {
            return Err(ChainError::Configuration("the process has installed no crypto provider"));
        }
        let mut headers =
            HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        if let Some(key) = key {
            let mut value = HeaderValue::from_str(key.secret())
                .map_err(|_| ChainError::Configuration("the API key is no header value"))?;
            value.set_sensitive(true);
            headers.insert(API_KEY, value);
        }
        let client = Client::builder()
            .default_headers(headers)
            .connect_timeout(CONNECT_TIMEOUT)
            // A redirect would take the key to somewhere else.
            .redirect(redirect::Policy::none())
            .build()
            .map_err(|_| ChainError::Configuration("no TLS for it"))?;
        Ok(Self { client, url: url.rpc(), key: key.cloned(), timeout })
    }

    /// The `result` of `method`.
    pub(super) async fn call(&self, method: &str, params: Value) -> Result<Value, ChainError> {
        let body = json!({"jsonrpc": "2.0", "id": "1", "method": method, "params": params}).to_string();
        let exchange = tokio::time::timeout(self.timeout, self.exchange(body)).await;
        let outcome = exchange.unwrap_or(Err(ChainError::Timeout));
        if let Err(error) = &outcome {
            tracing::debug!(method, %error, "the call to an endpoint failed");
        }
        outcome
    }

    async fn exchange(&self, body: String) -> Result<Value, ChainError> {
        let sent = self.client.post(&self.url).body(body).send().await;
        // reqwest's own text would name the URL.
        let response =
            sent.map_err(
                |error| if error.is_timeout() { ChainError::Timeout } else { ChainError::Unreachable },
            )?;
        let (status, retry_after) = (response.status(), retry_after(response.headers()));
        if status != StatusCode::OK {
            let text = match bounded(response, MAX_ERROR_BYTES).await {
                Ok(bytes) => self.without_key(&error_text(&bytes)),
                // What failed stays known by its status.
                Err(_) => String::new(),
            };
            return Err(ChainError::from_answer(status.as_u16(), &text, retry_after));
        }
        let bytes = bounded(response, MAX_ANSWER_BYTES).await?;
        let envelope: Envelope =
            serde_json::from_slice(&bytes).map_err(|_| ChainError::Malformed("a JSON-RPC answer"))?;
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

async fn bounded(mut response: Response, limit: usize) -> Result<Vec<u8>, ChainError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| ChainError::Truncated)? {
        if bytes.len() + chunk.len() > limit {
            return Err(ChainError::TooLarge);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}
