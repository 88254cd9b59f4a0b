//! The gateways that take receipts.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cocoon_openapi::{Deliveries, Delivery, Outcomes};
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

const CONNECT_LIMIT: Duration = Duration::from_secs(2);
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// Longest answer that is read, bytes.
const MAX_ANSWER: usize = 1 << 20;

/// Why a post brought no outcomes.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PostError {
    #[error("the gateway cannot be reached")]
    Unreachable(#[source] hyper_util::client::legacy::Error),
    #[error("the gateway did not answer in time")]
    TooLong,
    #[error("the gateway answered {0}")]
    Status(StatusCode),
    #[error("the gateway's answer is not one outcome per delivery")]
    Answer,
}

/// All addresses, of which one is in use as long as it answers.
#[derive(Debug)]
pub(crate) struct Gateways {
    client: Client<HttpConnector, Full<Bytes>>,
    urls: Vec<Uri>,
    current: AtomicUsize,
}

impl Gateways {
    pub(crate) fn new(urls: Vec<Uri>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_LIMIT));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Self { client, urls, current: AtomicUsize::new(0) }
    }

    /// Posts to the gateway in use; where that fails, the next post goes to the next one.
    ///
    /// # Errors
    /// [`PostError`].
    pub(crate) async fn post(&self, deliveries: Vec<Delivery>) -> Result<Outcomes, PostError> {
        let current = self.current.load(Ordering::Relaxed);
        let answer = tokio::time::timeout(ANSWER_LIMIT, self.try_post(current, deliveries)).await;
        let answer = answer.unwrap_or(Err(PostError::TooLong));
        if answer.is_err() {
            self.current.store(current.wrapping_add(1), Ordering::Relaxed);
        }
        answer
    }

    async fn try_post(&self, at: usize, deliveries: Vec<Delivery>) -> Result<Outcomes, PostError> {
        let expected = deliveries.len();
        let url = self.urls.get(at % self.urls.len().max(1)).cloned().unwrap_or_default();
        let body = serde_json::to_vec(&Deliveries { deliveries }).map_err(|_| PostError::Answer)?;
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = url;
        let json = http::HeaderValue::from_static("application/json");
        request.headers_mut().insert(header::CONTENT_TYPE, json);
        let response = self.client.request(request).await.map_err(PostError::Unreachable)?;
        if !response.status().is_success() {
            return Err(PostError::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|_| PostError::Answer)?.to_bytes();
        let answer: Outcomes = serde_json::from_slice(&body).map_err(|_| PostError::Answer)?;
        if answer.outcomes.len() == expected { Ok(answer) } else { Err(PostError::Answer) }
    }
}
