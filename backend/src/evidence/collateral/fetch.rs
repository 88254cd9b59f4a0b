//! The few GETs that collateral needs, with a bound on each answer.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// A verifier waits 10 s for its document, and Intel's collateral is four answers, fetched side by side.
const ANSWER_LIMIT: Duration = Duration::from_secs(6);
/// Largest answer, bytes.
pub(super) const MAX_ANSWER: usize = 256 << 10;

/// Why a GET brought nothing. Errors name the URL, which is configured and holds no secret.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("the machine's root certificates cannot be used: {0}")]
    NoRoots(#[source] std::io::Error),
    #[error("{0} is not a URL")]
    Url(String),
    #[error("{url} cannot be reached: {source}")]
    Unreachable { url: String, source: hyper_util::client::legacy::Error },
    #[error("{url} did not answer within {} s", ANSWER_LIMIT.as_secs())]
    TooLong { url: String },
    #[error("{url} answered {status}")]
    Status { url: String, status: StatusCode },
    #[error("the answer of {url} broke off or has more than {MAX_ANSWER} bytes")]
    Body { url: String },
}

/// An answer with status 200.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// An HTTP client for both schemes.
#[derive(Debug, Clone)]
pub(super) struct Fetcher(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

impl Fetcher {
    /// # Errors
    /// [`FetchError::NoRoots`]; only where `encrypted`, for else none are needed.
    pub(super) fn new(encrypted: bool) -> Result<Self, FetchError> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_connect_timeout(Some(CONNECT_LIMIT));
        let tls = HttpsConnectorBuilder::new();
        let tls = if encrypted {
            tls.with_native_roots().map_err(FetchError::NoRoots)?
        } else {
            let none = rustls::ClientConfig::builder()
                .with_root_certificates(rustls::RootCertStore::empty())
                .with_no_client_auth();
            tls.with_tls_config(none)
        };
        let connector = tls.https_or_http().enable_http1().wrap_connector(http);
        Ok(Self(Client::builder(TokioExecutor::new()).build(connector)))
    }

    /// # Errors
    /// [`FetchError`].
    pub(super) async fn get(&self, url: &str) -> Result<Fetched, FetchError> {
        let answer = tokio::time::timeout(ANSWER_LIMIT, self.answer(url)).await;
        answer.unwrap_or_else(|_| Err(FetchError::TooLong { url: url.to_owned() }))
    }

    async fn answer(&self, url: &str) -> Result<Fetched, FetchError> {
        let uri: Uri = url.parse().map_err(|_| FetchError::Url(url.to_owned()))?;
        let response = self.0.get(uri).await;
        let response = response.map_err(|source| FetchError::Unreachable { url: url.to_owned(), source })?;
        let (parts, body) = response.into_parts();
        if parts.status != StatusCode::OK {
            return Err(FetchError::Status { url: url.to_owned(), status: parts.status });
        }
        let body = Limited::new(body, MAX_ANSWER).collect().await;
        let body = body.map_err(|_| FetchError::Body { url: url.to_owned() })?.to_bytes();
        Ok(Fetched { headers: parts.headers, body })
    }
}
