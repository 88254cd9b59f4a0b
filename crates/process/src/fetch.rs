//! One GET at a time of what a server needs from others, with a bound on its time and on its answer. Redirections are not
//! followed.

use std::time::Duration;

use http::{HeaderMap, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// Why a GET brought nothing. Errors name the URL, which is configured and holds no secret.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("the machine's root certificates cannot be used: {0}")]
    NoRoots(#[source] std::io::Error),
    #[error("{0} is not a URL")]
    Url(String),
    #[error("{url} cannot be reached: {source}")]
    Unreachable { url: String, source: hyper_util::client::legacy::Error },
    #[error("{url} did not answer within {} s", limit.as_secs())]
    TooLong { url: String, limit: Duration },
    #[error("{url} answered {status}")]
    Status { url: String, status: StatusCode },
    #[error("the answer of {url} broke off or has more than {limit} bytes")]
    Body { url: String, limit: usize },
}

/// An answer with status 200.
#[derive(Debug)]
pub struct Fetched {
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// What an answer is bounded by.
#[derive(Debug, Clone, Copy)]
pub struct FetchLimits {
    /// For the whole of it.
    pub time: Duration,
    /// Bytes.
    pub size: usize,
}

/// An HTTP client for both schemes.
#[derive(Debug, Clone)]
pub struct Fetcher {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    limits: FetchLimits,
}

impl Fetcher {
    /// # Errors
    /// [`FetchError::NoRoots`]; only where `encrypted`, for else none are needed.
    pub fn new(encrypted: bool, limits: FetchLimits) -> Result<Self, FetchError> {
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
        Ok(Self { client: Client::builder(TokioExecutor::new()).build(connector), limits })
    }

    /// # Errors
    /// [`FetchError`].
    pub async fn get(&self, url: &str) -> Result<Fetched, FetchError> {
        let limit = self.limits.time;
        let answer = tokio::time::timeout(limit, self.answer(url)).await;
        answer.unwrap_or_else(|_| Err(FetchError::TooLong { url: url.to_owned(), limit }))
    }

    async fn answer(&self, url: &str) -> Result<Fetched, FetchError> {
        let uri: Uri = url.parse().map_err(|_| FetchError::Url(url.to_owned()))?;
        let response = self.client.get(uri).await;
        let response = response.map_err(|source| FetchError::Unreachable { url: url.to_owned(), source })?;
        let (parts, body) = response.into_parts();
        if parts.status != StatusCode::OK {
            return Err(FetchError::Status { url: url.to_owned(), status: parts.status });
        }
        let limit = self.limits.size;
        let body = Limited::new(body, limit).collect().await;
        let body = body.map_err(|_| FetchError::Body { url: url.to_owned(), limit })?.to_bytes();
        Ok(Fetched { headers: parts.headers, body })
    }
}
