//! Asks a backend for its attestation document.

use std::time::Duration;

use bytes::Bytes;
use cocoon_attestation::{MAX_DOCUMENT, Nonce};
use cocoon_openapi::ATTESTATION_PATH;
use http::uri::Authority;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::AttestError;
use crate::hop::{HopBody, HttpClient};

/// Bound on one fetch. A hardware quote costs about 50 ms and may wait a second for its batch.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);

/// The attestation document of the backend at `authority` for `nonce`: its bytes, whatever they are.
///
/// # Errors
/// [`AttestError::Unreachable`] where no connection can be made, [`AttestError::Unanswered`] where one was and no document
/// came this time, [`AttestError::NoDocument`] where the backend says that none will.
pub async fn fetch(client: &HttpClient, authority: &Authority, nonce: Nonce) -> Result<Bytes, AttestError> {
    let unanswered = |error: &dyn std::fmt::Display| AttestError::Unanswered(error.to_string());
    let uri = format!("http://{authority}{ATTESTATION_PATH}?nonce={nonce}");
    let request = Request::get(uri).body(HopBody::default()).map_err(|error| unanswered(&error))?;
    let fetching = async {
        let response = client.request(request).await.map_err(|error| match error.is_connect() {
            true => AttestError::Unreachable(error.to_string()),
            false => unanswered(&error),
        })?;
        let status = response.status();
        if !status.is_success() {
            let text = format!("status {}", status.as_u16());
            return Err(match status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
                true => AttestError::Unanswered(text),
                false => AttestError::NoDocument(text),
            });
        }
        let body = Limited::new(response.into_body(), MAX_DOCUMENT).collect().await;
        let body = body.map_err(|error| match error.is::<LengthLimitError>() {
            true => AttestError::NoDocument(format!("more than {MAX_DOCUMENT} bytes")),
            false => unanswered(&error),
        })?;
        Ok(body.to_bytes())
    };
    tokio::time::timeout(FETCH_TIMEOUT, fetching).await.map_err(|_| unanswered(&"timed out"))?
}
