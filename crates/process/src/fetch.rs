//! One request at a time for what a server needs from others, with a bound on its time and on its answer. Redirections
//! are not followed.

use std::time::Duration;

use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// Why a request brought nothing. Errors name the URL, which is configured and holds no secret.
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
    #[error("the answer of {url} has more than {limit} bytes")]
    TooLarge { url: String, limit: usize },
    #[error("the answer of {url} broke off")]
    BrokeOff { url: String },
}

/// An answer.
#[derive(Debug)]
pub struct Fetched {
    pub status: StatusCode,
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

    /// The answer to a GET, which has status 200.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn get(&self, url: &str) -> Result<Fetched, FetchError> {
        let answer = async {
            let response = self.send(url, Method::GET, HeaderMap::new(), Bytes::new()).await?;
            let status = response.status();
            if status == StatusCode::OK {
                self.read(url, response).await
            } else {
                Err(FetchError::Status { url: url.to_owned(), status })
            }
        };
        self.in_time(url, answer).await
    }

    /// The answer to a POST, whatever its status. One that reports a failure has no body where that cannot be read.
    ///
    /// # Errors
    /// [`FetchError`], but for [`FetchError::Status`].
    pub async fn post(&self, url: &str, headers: HeaderMap, body: Bytes) -> Result<Fetched, FetchError> {
        let answer = async {
            let response = self.send(url, Method::POST, headers, body).await?;
            let (status, headers) = (response.status(), response.headers().clone());
            match self.read(url, response).await {
                // What failed stays known by its status.
                Err(_) if !status.is_success() => Ok(Fetched { status, headers, body: Bytes::new() }),
                read => read,
            }
        };
        self.in_time(url, answer).await
    }

    async fn in_time(
        &self,
        url: &str,
        answer: impl Future<Output = Result<Fetched, FetchError>>,
    ) -> Result<Fetched, FetchError> {
        let limit = self.limits.time;
        let answer = tokio::time::timeout(limit, answer).await;
        answer.unwrap_or_else(|_| Err(FetchError::TooLong { url: url.to_owned(), limit }))
    }

    async fn send(
        &self,
        url: &str,
        method: Method,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<http::Response<Incoming>, FetchError> {
        let uri: Uri = url.parse().map_err(|_| FetchError::Url(url.to_owned()))?;
        let mut request = Request::new(Full::new(body));
        (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (method, uri, headers);
        let response = self.client.request(request).await;
        response.map_err(|source| FetchError::Unreachable { url: url.to_owned(), source })
    }

    async fn read(&self, url: &str, response: http::Response<Incoming>) -> Result<Fetched, FetchError> {
        let (parts, body) = response.into_parts();
        let limit = self.limits.size;
        let body = Limited::new(body, limit).collect().await.map_err(|error| {
            let url = url.to_owned();
            if error.is::<LengthLimitError>() {
                FetchError::TooLarge { url, limit }
            } else {
                FetchError::BrokeOff { url }
            }
        })?;
        Ok(Fetched { status: parts.status, headers: parts.headers, body: body.to_bytes() })
    }
}
