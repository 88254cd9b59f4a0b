//! The sealed answer on its way back: its bytes as they come, its receipt booked on the way. What goes wrong ends it
//! without an end, because only the backend can say anything inside the seal.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use cocoon_openapi::{PRIVACY_HEADER, RECEIPT_HEADER};
use cocoon_receipts::{Receipt, RequestId};
use cocoon_sealing::RESPONSE_NONCE_HEADER;
use futures_util::stream;
use http::header::{CONTENT_TYPE, TRAILER};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::accept::{Gateway, InFlight};
use crate::deliver;
use crate::error::Failure;
use crate::hop::Answered;
use crate::route::Chosen;

/// How long the receipt of an answer is waited for whose client has gone: at `[DONE]`, as SDKs do.
const LAST_WORD: Duration = Duration::from_millis(250);

/// Why an answer ends without its end.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("the backend broke off: {0}")]
    Backend(#[from] hyper::Error),
    #[error("the request took longer than this gateway allows")]
    Deadline,
}

/// An answer on its way. Dropped before its end, its client has gone.
struct Relayed {
    gateway: Arc<Gateway>,
    request: RequestId,
    deadline: Instant,
    /// None once it has ended.
    upstream: Option<Incoming>,
    /// Held as long as the answer.
    going_on: Option<GoingOn>,
}

/// What an answer that goes on has of the gateway.
struct GoingOn {
    ticket: String,
    chosen: Chosen,
    _slot: Arc<InFlight>,
}

/// Hands the answer on.
///
/// # Errors
/// 500 where the response nonce is no header.
pub(super) fn respond(
    gateway: Arc<Gateway>,
    request: RequestId,
    deadline: Instant,
    slot: Arc<InFlight>,
    answered: Answered,
    chosen: Chosen,
) -> Result<Response, Failure> {
    let Answered { response, nonce, ticket } = answered;
    let (parts, upstream) = response.into_parts();
    let going_on = GoingOn { ticket: ticket.token, chosen, _slot: slot };
    let relayed = Relayed { gateway, request, deadline, upstream: Some(upstream), going_on: Some(going_on) };
    let frames = stream::unfold(relayed, |mut relayed| async move {
        let frame = relayed.next().await?;
        Some((frame, relayed))
    });
    let mut response = Response::new(Body::new(StreamBody::new(frames)));
    *response.status_mut() = parts.status;
    let headers = response.headers_mut();
    // The allow-list of the way back.
    if let Some(content_type) = parts.headers.get(CONTENT_TYPE) {
        headers.insert(CONTENT_TYPE, content_type.clone());
    }
    let nonce = HeaderValue::from_str(&nonce).map_err(|_| Failure::internal())?;
    headers.insert(HeaderName::from_static(RESPONSE_NONCE_HEADER), nonce);
    headers.insert(HeaderName::from_static(PRIVACY_HEADER), HeaderValue::from_static("sealed"));
    headers.insert(TRAILER, HeaderValue::from_static("Cocoon-Receipt, Cocoon-Cost"));
    Ok(response)
}

impl Relayed {
    /// The next frame for the client; none at the end.
    async fn next(&mut self) -> Option<Result<Frame<Bytes>, Broken>> {
        let upstream = self.upstream.as_mut()?;
        let frame = match tokio::time::timeout_at(self.deadline, upstream.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(None) => {
                self.upstream = None;
                return None;
            }
            Ok(Some(Err(error))) => return Some(Err(self.broken(error.into()))),
            Err(_) => return Some(Err(self.broken(Broken::Deadline))),
        };
        match frame.into_trailers() {
            Err(data) => Some(Ok(data)),
            Ok(trailers) => {
                self.upstream = None;
                let going_on = self.going_on.take()?;
                let gateway = Arc::clone(&self.gateway);
                // In a task of its own: a client that leaves now must not take the booking with it.
                let booking =
                    self.gateway.tracker.spawn(async move { going_on.book(&gateway, &trailers).await });
                // Awaited, so that what the client reads of its balance at the end is settled.
                Some(Ok(Frame::trailers(booking.await.ok()??)))
            }
        }
    }

    fn broken(&mut self, broken: Broken) -> Broken {
        self.upstream = None;
        tracing::warn!(error = %broken, request = %self.request, "sealed answer broke off");
        broken
    }
}

impl GoingOn {
    /// Books the receipt that `trailers` carry; what the client is told of it. A receipt that is not the backend's own is
    /// not handed on.
    async fn book(&self, gateway: &Gateway, trailers: &HeaderMap) -> Option<HeaderMap> {
        let receipt = trailers.get(RECEIPT_HEADER)?.to_str().ok()?;
        let claims = Receipt::verify(receipt, &self.chosen.attested.receipt_key).ok()?;
        gateway.book(receipt, &self.ticket).await;
        deliver::receipt_headers(receipt, claims.cost.0).ok()
    }
}

impl Drop for Relayed {
    /// The gateway cannot see that an answer is whole, so it reads on for its receipt, and only then lets go: which
    /// cancels what is still being generated.
    fn drop(&mut self) {
        let (Some(mut upstream), Some(going_on)) = (self.upstream.take(), self.going_on.take()) else {
            return;
        };
        let gateway = Arc::clone(&self.gateway);
        self.gateway.tracker.spawn(async move {
            let last_word = async {
                while let Some(Ok(frame)) = upstream.frame().await {
                    if let Ok(trailers) = frame.into_trailers() {
                        return Some(trailers);
                    }
                }
                None
            };
            if let Ok(Some(trailers)) = tokio::time::timeout(LAST_WORD, last_word).await {
                going_on.book(&gateway, &trailers).await;
            }
        });
    }
}
