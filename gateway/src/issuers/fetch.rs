//! The one GET that an issuer is asked, with a bound on time and size. Redirections are not followed.

use std::time::Duration;

use bytes::Bytes;
use http::{StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// For the whole answer.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest answer, bytes; a key has some 500.
pub(super) const MAX_ANSWER: usize = 128 << 10;

/// Why an issuer's keys were not fetched. The URL is configured and holds no secret.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("the machine's root certificates cannot be used: {0}")]
    NoRoots(#[source] std::io::Error),
    #[error("{0} is not a URL")]
    Url(String),
    #[error("it cannot be reached: {0}")]
    Unreachable(#[from] hyper_util::client::legacy::Error),
    #[error("it did not answer within {} s", ANSWER_TIMEOUT.as_secs())]
    TooLong,
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("its answer broke off or has more than {MAX_ANSWER} bytes")]
    Body,
    #[error("its answer is not a set of keys: {0}")]
    NotKeys(#[from] serde_json::Error),
    #[error("none of its keys can be used with the configured algorithms")]
    NoKeys,
}

/// An HTTP client of one URL.
#[derive(Debug)]
pub(super) struct Fetcher {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    uri: Uri,
}

impl Fetcher {
    /// # Errors
    /// [`FetchError::Url`], [`FetchError::NoRoots`].
    pub(super) fn new(url: &str) -> Result<Self, FetchError> {
        let uri: Uri = url.parse().map_err(|_| FetchError::Url(url.to_owned()))?;
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let tls = HttpsConnectorBuilder::new();
        // Plain HTTP stays on this machine, and needs no roots.
        let tls = if uri.scheme_str() == Some("https") {
            tls.with_native_roots().map_err(FetchError::NoRoots)?
        } else {
            let none = rustls::ClientConfig::builder()
                .with_root_certificates(rustls::RootCertStore::empty())
                .with_no_client_auth();
            tls.with_tls_config(none)
        };
        let connector = tls.https_or_http().enable_http1().wrap_connector(http);
        Ok(Self { client: Client::builder(TokioExecutor::new()).build(connector), uri })
    }

    /// # Errors
    /// [`FetchError`].
    pub(super) async fn get(&self) -> Result<Bytes, FetchError> {
        tokio::time::timeout(ANSWER_TIMEOUT, self.answer()).await.unwrap_or(Err(FetchError::TooLong))
    }

    async fn answer(&self) -> Result<Bytes, FetchError> {
        let response = self.client.get(self.uri.clone()).await?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        body.map(http_body_util::Collected::to_bytes).map_err(|_| FetchError::Body)
    }
}
