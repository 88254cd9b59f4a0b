//! The end of step 7: an answer on its way to the client, whole or piece by piece, with its receipt.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use cocoon_exchange::Piece;
use cocoon_openapi::{CLIENT_NONCE_HEADER, COST_HEADER, PRIVACY_HEADER, RECEIPT_HEADER};
use cocoon_receipts::{Receipt, RequestId};
use futures_util::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, TRAILER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::time::Instant;

use crate::accept::{Gateway, InFlight};
use crate::error::{Failure, say_should_retry};
use crate::idempotency::{Gathered, Kept, Running};
use crate::stream::{self as answer, Answer, AnswerError, Whole};

const EVENT_STREAM: &str = "text/event-stream; charset=utf-8";

/// Head of an unstreamed answer.
#[derive(Debug)]
pub struct Head<'a> {
    pub status: u16,
    pub content_type: &'a str,
    /// JWS.
    pub receipt: &'a str,
    /// nanoTON.
    pub cost: u64,
}

impl Head<'_> {
    /// # Errors
    /// 500 where the backend's words are no headers.
    pub fn respond(&self, body: Bytes) -> Result<Response, Failure> {
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = StatusCode::from_u16(self.status).map_err(|_| Failure::internal())?;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, header_value(self.content_type)?);
        headers.extend(receipt_headers(self.receipt, self.cost)?);
        Ok(response)
    }
}

/// Receipt and cost, as headers or trailers.
///
/// # Errors
/// 500 where the receipt is no header.
pub fn receipt_headers(receipt: &str, cost: u64) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    headers.insert(HeaderName::from_static(RECEIPT_HEADER), header_value(receipt)?);
    headers.insert(HeaderName::from_static(COST_HEADER), HeaderValue::from(cost));
    Ok(headers)
}

/// What every answer of a model says; `nonce` in hexadecimal.
///
/// # Errors
/// 500 where the nonce is no header.
pub fn common(headers: &mut HeaderMap, nonce: &str) -> Result<(), Failure> {
    headers.insert(HeaderName::from_static(PRIVACY_HEADER), HeaderValue::from_static("gateway"));
    headers.insert(HeaderName::from_static(CLIENT_NONCE_HEADER), header_value(nonce)?);
    Ok(())
}

/// Head of a streamed answer.
#[must_use]
pub fn stream_of(body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(EVENT_STREAM));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(TRAILER, HeaderValue::from_static("Cocoon-Receipt, Cocoon-Cost"));
    response
}

fn header_value(text: &str) -> Result<HeaderValue, Failure> {
    HeaderValue::from_str(text).map_err(|_| Failure::internal())
}

/// An answer that is not handed on: what the client is told, and the log.
pub fn broken(request: RequestId, error: &AnswerError) -> Failure {
    tracing::warn!(%error, %request, "answer is not handed on");
    Failure::backend_failed()
}

/// A whole answer: booked, kept where it ran under an idempotency key, and handed on.
///
/// # Errors
/// 500 where the backend's words are no headers.
pub async fn unstreamed(
    gateway: &Gateway,
    answer: &Answer,
    whole: Whole,
    nonce: String,
    running: Option<Running>,
) -> Result<Response, Failure> {
    gateway.book(&whole.receipt, answer.ticket()).await;
    let cost = whole.claims.cost.0;
    let head =
        Head { status: answer.status(), content_type: answer.content_type(), receipt: &whole.receipt, cost };
    let body = Bytes::from(whole.body);
    let mut response = head.respond(body.clone())?;
    common(response.headers_mut(), &nonce)?;
    let success = response.status().is_success();
    match running {
        Some(running) if success && whole.claims.complete => {
            let mut gathered = Gathered::default();
            gathered.add(&body);
            let kept = gathered.take().map(|body| Kept {
                status: answer.status(),
                content_type: answer.content_type().to_owned(),
                streamed: false,
                receipt: whole.receipt.clone(),
                cost,
                nonce,
                body,
            });
            running.end(kept.as_ref()).await;
        }
        Some(running) => running.abandon().await,
        // A failure that cost is not begun again by an SDK.
        None if !success && cost > 0 => say_should_retry(response.headers_mut(), false),
        None => {}
    }
    Ok(response)
}

/// A stream on its way to a client. Dropped when the client hangs up, which closes the connection to the backend,
/// which cancels the generation; its receipt then comes by outbox.
#[derive(Debug)]
pub struct Client {
    pub gateway: Arc<Gateway>,
    pub request: RequestId,
    pub deadline: Instant,
    pub answer: Answer,
    /// Hexadecimal.
    pub nonce: String,
    /// Where it runs under an idempotency key.
    pub running: Option<Running>,
    /// What went by, for the key.
    pub gathered: Gathered,
    pub slot: Arc<InFlight>,
}

enum Stage {
    Open(Box<Client>),
    /// The receipt is checked and booked; its trailer is still to be sent.
    Trailer {
        client: Box<Client>,
        trailers: HeaderMap,
    },
    Closed,
}

/// Hands on piece by piece.
///
/// # Errors
/// 500 where the nonce is no header.
pub fn streamed(client: Client) -> Result<Response, Failure> {
    let nonce = client.nonce.clone();
    let frames = stream::unfold(Stage::Open(Box::new(client)), |stage| async move {
        let (frame, next) = match stage {
            Stage::Open(client) => advance(client).await,
            Stage::Trailer { mut client, trailers } => {
                client.answer.let_go().await;
                (Frame::trailers(trailers), Stage::Closed)
            }
            Stage::Closed => return None,
        };
        Some((Ok::<_, Infallible>(frame), next))
    });
    let mut response = stream_of(Body::new(StreamBody::new(frames)));
    common(response.headers_mut(), &nonce)?;
    Ok(response)
}

async fn advance(mut client: Box<Client>) -> (Frame<Bytes>, Stage) {
    let piece = match tokio::time::timeout_at(client.deadline, client.answer.next()).await {
        Ok(piece) => piece,
        Err(_) => return (answer::failure_event(&Failure::deadline().api), Stage::Closed),
    };
    match piece {
        Ok(Some(Piece::Content(bytes))) => {
            client.gather(&bytes);
            (Frame::data(bytes), Stage::Open(client))
        }
        Ok(Some(Piece::End { receipt, claims, rest })) => {
            // Booked before the client sees the end: what it reads of its balance then is settled.
            client.gateway.book(&receipt, client.answer.ticket()).await;
            client.gather(&rest);
            let cost = claims.cost.0;
            client.keep(&receipt, &claims).await;
            // A receipt that was verified is text that fits a header.
            let trailers = receipt_headers(&receipt, cost).unwrap_or_default();
            if rest.is_empty() {
                client.answer.let_go().await;
                return (Frame::trailers(trailers), Stage::Closed);
            }
            (Frame::data(rest), Stage::Trailer { client, trailers })
        }
        Ok(None) => (answer::failure_event(&Failure::internal().api), Stage::Closed),
        Err(error) => (answer::failure_event(&broken(client.request, &error).api), Stage::Closed),
    }
}

impl Client {
    fn gather(&mut self, bytes: &Bytes) {
        if self.running.is_some() {
            self.gathered.add(bytes);
        }
    }

    /// A stream that ends with an error has a receipt too, but is no answer to keep.
    async fn keep(&mut self, receipt: &str, claims: &Receipt) {
        let Some(running) = self.running.take() else { return };
        if !claims.complete {
            return running.abandon().await;
        }
        let kept = self.gathered.take().map(|body| Kept {
            status: self.answer.status(),
            content_type: self.answer.content_type().to_owned(),
            streamed: true,
            receipt: receipt.to_owned(),
            cost: claims.cost.0,
            nonce: self.nonce.clone(),
            body,
        });
        running.end(kept.as_ref()).await;
    }
}
