//! GETs, which have no body to seal: asked of the gateway in the clear, and answered as it answers.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Method, Request, StatusCode};

use crate::accept::Sidecar;
use crate::error::{self, Failure};
use crate::gateway::{self, GatewayError};

/// Largest answer that is handed on, bytes.
const MAX_ANSWER: usize = 16 << 20;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// # Errors
/// [`Failure`]; 404 for everything but a GET.
pub async fn pass(State(sidecar): State<Arc<Sidecar>>, request: Request<Body>) -> Result<Response, Failure> {
    let (parts, _) = request.into_parts();
    let path_and_query = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return Err(Failure::no_such_path(&parts.method, &parts.uri));
    }
    let mut headers = HeaderMap::new();
    if let Some(payer) = sidecar.payer_of(&parts.headers)? {
        headers.insert(AUTHORIZATION, payer.authorization()?);
    }
    if let Some(accept) = parts.headers.get(ACCEPT) {
        headers.insert(ACCEPT, accept.clone());
    }
    let response = sidecar.asker.gateway().get(path_and_query, headers).await?;
    if !response.status().is_success() {
        return Err(gateway::refused(response).await.into());
    }
    let (theirs, body) = response.into_parts();
    let body = tokio::time::timeout(ANSWER_TIMEOUT, gateway::collect(body, MAX_ANSWER))
        .await
        .map_err(|_| GatewayError::Timeout)??;
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.extend(error::passed_on(&theirs.headers));
    if let Some(content_type) = theirs.headers.get(CONTENT_TYPE) {
        headers.insert(CONTENT_TYPE, content_type.clone());
    }
    Ok(response)
}
