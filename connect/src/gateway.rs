//! Speaking to the gateway: bounded in time and size, never redirected, never through a proxy of the environment's.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::de::DeserializeOwned;

use crate::error::{Failure, MAX_ERROR, PlainError};
use crate::origin::GatewayUrl;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Bound on everything but inference: lists, documents, models.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(15);
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
const OUR_NAME: &str = concat!("cocoon-connect/", env!("CARGO_PKG_VERSION"));

/// Why the gateway gave no usable answer. No content is in it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum GatewayError {
    /// Not a byte of the request was sent.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    #[error("the connection broke: {0}")]
    Broken(String),
    #[error("it did not answer in time")]
    Timeout,
    #[error("it answered with a redirect")]
    Redirect,
    /// Its words are not ours, and stay out of what we say.
    #[error("it answered with status {}", .0.status.as_u16())]
    Refused(Box<PlainError>),
    #[error("its answer is larger than it may be")]
    TooLarge,
    #[error("its answer is not what its interface has")]
    Malformed,
    #[error("the request cannot be expressed in HTTP")]
    Request,
}

impl From<GatewayError> for Failure {
    fn from(error: GatewayError) -> Self {
        match error {
            GatewayError::Unreachable(_) => Self::gateway_unreachable(),
            GatewayError::Broken(_) => Self::gateway_broke_off(),
            GatewayError::Timeout => Self::gateway_timeout(),
            GatewayError::Redirect => Self::redirected(),
            GatewayError::Refused(plain) => Self::Theirs(plain),
            GatewayError::TooLarge | GatewayError::Malformed => Self::gateway_broken(&error.to_string()),
            GatewayError::Request => Self::internal(),
        }
    }
}

/// Why no client can be made.
#[derive(Debug, thiserror::Error)]
#[error("the machine's root certificates cannot be used: {0}")]
pub struct NoRoots(#[from] std::io::Error);

/// The one gateway.
#[derive(Debug, Clone)]
pub struct Gateway {
    url: GatewayUrl,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    /// Until an inference answer begins, and between any two pieces of it.
    patience: Duration,
}

impl Gateway {
    /// # Errors
    /// [`NoRoots`].
    pub fn new(url: GatewayUrl, patience: Duration) -> Result<Self, NoRoots> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let tls = HttpsConnectorBuilder::new();
        // The machine's own roots: a company that looks into its TLS sees ciphertext, and the API key.
        let connector = if url.is_encrypted() {
            tls.with_native_roots()?.https_only().enable_all_versions().wrap_connector(http)
        } else {
            let none = rustls::ClientConfig::builder()
                .with_root_certificates(rustls::RootCertStore::empty())
                .with_no_client_auth();
            tls.with_tls_config(none).https_or_http().enable_http1().wrap_connector(http)
        };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .timer(TokioTimer::new())
            .build(connector);
        Ok(Self { url, client, patience })
    }

    #[must_use]
    pub fn url(&self) -> &GatewayUrl {
        &self.url
    }

    #[must_use]
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// Begins a GET with these headers; whatever the status but for redirects.
    ///
    /// # Errors
    /// [`GatewayError`].
    pub async fn get(
        &self,
        path_and_query: &str,
        headers: HeaderMap,
    ) -> Result<Response<Incoming>, GatewayError> {
        let mut request = Request::get(self.url.at(path_and_query).ok_or(GatewayError::Request)?)
            .body(Full::default())
            .map_err(|_| GatewayError::Request)?;
        *request.headers_mut() = headers;
        self.send(request, QUESTION_TIMEOUT).await
    }

    /// The JSON at a path, at most `limit` bytes.
    ///
    /// # Errors
    /// [`GatewayError`]; also for every status but a success.
    pub async fn get_json<T: DeserializeOwned>(
        &self,
        path_and_query: &str,
        authorization: Option<HeaderValue>,
        limit: usize,
    ) -> Result<T, GatewayError> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(authorization) = authorization {
            headers.insert(AUTHORIZATION, authorization);
        }
        answered(self.get(path_and_query, headers), limit).await
    }

    /// The JSON that a POST is answered with, at most `limit` bytes; without a body where there is none.
    ///
    /// # Errors
    /// [`GatewayError`]; also for every status but a success.
    pub async fn post_json<T: DeserializeOwned>(
        &self,
        path: &str,
        authorization: Option<HeaderValue>,
        body: Option<&serde_json::Value>,
        limit: usize,
    ) -> Result<T, GatewayError> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(authorization) = authorization {
            headers.insert(AUTHORIZATION, authorization);
        }
        let body = body.map(ToString::to_string).unwrap_or_default();
        answered(self.post(path, headers, body.into()), limit).await
    }

    /// Begins a POST with these headers; whatever the status but for redirects.
    ///
    /// # Errors
    /// [`GatewayError`].
    pub async fn post(
        &self,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Incoming>, GatewayError> {
        let mut request = Request::post(self.url.at(path).ok_or(GatewayError::Request)?)
            .body(Full::new(body))
            .map_err(|_| GatewayError::Request)?;
        *request.headers_mut() = headers;
        self.send(request, self.patience).await
    }

    async fn send(
        &self,
        mut request: Request<Full<Bytes>>,
        patience: Duration,
    ) -> Result<Response<Incoming>, GatewayError> {
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(OUR_NAME));
        let response = match tokio::time::timeout(patience, self.client.request(request)).await {
            Err(_) => return Err(GatewayError::Timeout),
            Ok(Err(error)) if error.is_connect() => return Err(GatewayError::Unreachable(causes(&error))),
            Ok(Err(error)) => return Err(GatewayError::Broken(causes(&error))),
            Ok(Ok(response)) => response,
        };
        if response.status().is_redirection() {
            return Err(GatewayError::Redirect);
        }
        Ok(response)
    }
}

/// The JSON of a success.
async fn answered<T: DeserializeOwned>(
    asking: impl Future<Output = Result<Response<Incoming>, GatewayError>>,
    limit: usize,
) -> Result<T, GatewayError> {
    let answer = async {
        let response = asking.await?;
        if !response.status().is_success() {
            return Err(refused(response).await);
        }
        collect(response.into_body(), limit).await
    };
    let body = tokio::time::timeout(QUESTION_TIMEOUT, answer).await.map_err(|_| GatewayError::Timeout)??;
    serde_json::from_slice(&body).map_err(|_| GatewayError::Malformed)
}

/// An answer that is no success: an error to pass on where it is one.
pub async fn refused(response: Response<Incoming>) -> GatewayError {
    let (parts, body) = response.into_parts();
    if parts.status < StatusCode::BAD_REQUEST {
        return GatewayError::Malformed;
    }
    // An error whose body is too large or does not come is still an error with a status.
    let body = tokio::time::timeout(QUESTION_TIMEOUT, collect(body, MAX_ERROR)).await;
    let body = body.ok().and_then(Result::ok).unwrap_or_default();
    GatewayError::Refused(Box::new(PlainError { status: parts.status, headers: parts.headers, body }))
}

/// Reads a body of at most `limit` bytes.
///
/// # Errors
/// [`GatewayError::TooLarge`], [`GatewayError::Broken`].
pub async fn collect(body: Incoming, limit: usize) -> Result<Bytes, GatewayError> {
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(GatewayError::TooLarge),
        Err(error) => Err(GatewayError::Broken(error.to_string())),
    }
}

/// Whether headers announce more than `limit` bytes.
#[must_use]
pub fn announces_more(headers: &HeaderMap, limit: usize) -> bool {
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    announced.is_some_and(|length: u64| length > limit as u64)
}

/// An error with what caused it: hyper's own text alone says little.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
