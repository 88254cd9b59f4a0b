//! `POST /v1/chat/completions`: walks a request through its steps.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::Response;
use bytes::Bytes;
use cocoon_openapi::x_conf::ClientNonce;
use cocoon_openapi::{
    CHAT_COMPLETIONS_PATH, CLIENT_NONCE_HEADER, COST_HEADER, PRIVACY_HEADER, RECEIPT_HEADER,
};
use cocoon_receipts::RequestId;
use cocoon_sealing::ENCAPSULATED_KEY_HEADER;
use futures_util::stream;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, TRAILER};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Limited, StreamBody};
use tokio::time::Instant;

use crate::accept::{Gateway, InFlight};
use crate::admit;
use crate::authenticate::{ApiKey, Scope};
use crate::error::Failure;
use crate::read;
use crate::send::{Outgoing, PATIENCE};
use crate::stream::{self as answer, Answer, AnswerError, Piece, Whole};

/// A client that does not send its body for this long is let go.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// The handler.
///
/// # Errors
/// Every [`Failure`] before the first byte of the answer; what fails later is said inside the stream.
pub async fn completions(
    State(gateway): State<Arc<Gateway>>,
    Extension(request): Extension<RequestId>,
    Extension(slot): Extension<Arc<InFlight>>,
    http_request: Request<Body>,
) -> Result<Response, Failure> {
    let deadline = Instant::now() + gateway.config.request_deadline();
    let (parts, body) = http_request.into_parts();
    let key = gateway.authenticate(&parts.headers)?;
    let nonce = check_headers(&parts.headers, &key)?;
    let body = read_body(body, &parts.headers, gateway.config.body_limit).await?;
    let opened = open(&gateway, request, key, &parts.headers, nonce, &body);
    let mut answer = tokio::time::timeout_at(deadline, opened).await.map_err(|_| Failure::deadline())??;

    let mut response = if answer.is_stream() {
        let client = Client { gateway: Arc::clone(&gateway), request, deadline, answer, _slot: slot };
        streamed(client)
    } else {
        let whole =
            tokio::time::timeout_at(deadline, answer::collect(&mut answer, gateway.config.answer_limit))
                .await
                .map_err(|_| Failure::deadline())?
                .map_err(|error| broken(request, &error))?;
        unstreamed(&gateway, &answer, whole).await?
    };
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static(PRIVACY_HEADER), HeaderValue::from_static("gateway"));
    headers.insert(HeaderName::from_static(CLIENT_NONCE_HEADER), header_value(&hex::encode(nonce.0))?);
    Ok(response)
}

/// Admits the request and sends it to a backend.
async fn open(
    gateway: &Gateway,
    request: RequestId,
    key: ApiKey,
    headers: &HeaderMap,
    nonce: ClientNonce,
    body: &Bytes,
) -> Result<Answer, Failure> {
    let wanted = read::read(body)?;
    let name = gateway.config.aliases.get(&wanted.model).unwrap_or(&wanted.model);
    let allowed = key.models.as_ref().is_none_or(|models| models.contains(name));
    let price = gateway.config.prices.get(name).filter(|_| allowed);
    let price = *price.ok_or_else(|| Failure::model_not_found(&wanted.model))?;
    // A model we sell whose backends are all away is not unknown.
    let context = gateway.fleet.context_length(name, PATIENCE).await.ok_or_else(Failure::no_backend)?;
    let estimate =
        admit::estimate(&price, body.len(), wanted.ceiling, context).ok_or_else(Failure::internal)?;
    let lease = gateway.config.lease();
    let admitted = admit::admit(&gateway.ledger, &gateway.tracker, request, key, estimate, lease).await?;
    let outgoing = Outgoing {
        path: CHAT_COMPLETIONS_PATH,
        model: name,
        price,
        body,
        nonce,
        accept: headers.get(ACCEPT),
        lease,
    };
    let exchange = gateway.sender.send(admitted, &outgoing).await?;
    Ok(Answer::new(exchange, &nonce.0, body))
}

/// What the headers alone decide. Returns the nonce of the receipt's `body`: the client's, or a new one.
fn check_headers(headers: &HeaderMap, key: &ApiKey) -> Result<ClientNonce, Failure> {
    if key.scope != Scope::Inference {
        return Err(Failure::forbidden("An admin key runs no inference."));
    }
    if headers.contains_key(ENCAPSULATED_KEY_HEADER) {
        return Err(cocoon_openapi::ApiError::invalid("This gateway does not relay sealed requests.").into());
    }
    if key.sealed_only {
        return Err(Failure::forbidden(
            "This key is for sealed requests only: the gateway would read this one.",
        ));
    }
    if headers.contains_key(CONTENT_ENCODING) {
        return Err(Failure::content_encoding());
    }
    let mut nonce = [0; 32];
    match headers.get(CLIENT_NONCE_HEADER) {
        None => cocoon_receipts::random(&mut nonce).map_err(|_| Failure::internal())?,
        Some(value) => hex::decode_to_slice(value.as_bytes(), &mut nonce).map_err(|_| {
            let message = format!("'{CLIENT_NONCE_HEADER}' must be 64 hexadecimal characters.");
            cocoon_openapi::ApiError::invalid(message).with_param(CLIENT_NONCE_HEADER)
        })?,
    }
    Ok(ClientNonce(nonce))
}

async fn read_body(body: Body, headers: &HeaderMap, limit: usize) -> Result<Bytes, Failure> {
    // A length that is over the limit is refused before a byte of it is read.
    let announced =
        headers.get(http::header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: u64| length > limit as u64) {
        return Err(Failure::body_too_large(limit));
    }
    let collected = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, limit).collect()).await;
    match collected {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            Err(Failure::body_too_large(limit))
        }
        Ok(Err(_)) => Err(cocoon_openapi::ApiError::invalid("The request body broke off.").into()),
        Err(_) => Err(cocoon_openapi::ApiError::new(
            408,
            "invalid_request_error",
            Some("request_timeout"),
            "The request body did not arrive in time.",
        )
        .into()),
    }
}

fn header_value(text: &str) -> Result<HeaderValue, Failure> {
    HeaderValue::from_str(text).map_err(|_| Failure::internal())
}

fn broken(request: RequestId, error: &AnswerError) -> Failure {
    tracing::warn!(%error, %request, "answer is not handed on");
    Failure::backend_failed()
}

async fn unstreamed(gateway: &Gateway, answer: &Answer, whole: Whole) -> Result<Response, Failure> {
    gateway.book(&whole.receipt, answer.ticket()).await;
    let status = StatusCode::from_u16(answer.status()).map_err(|_| Failure::internal())?;
    let mut response = Response::new(Body::from(whole.body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, header_value(answer.content_type())?);
    headers.insert(HeaderName::from_static(RECEIPT_HEADER), header_value(&whole.receipt)?);
    headers.insert(HeaderName::from_static(COST_HEADER), HeaderValue::from(whole.checked.cost.0));
    Ok(response)
}

/// A stream on its way to a client. Dropped when the client hangs up, which closes the connection to the backend,
/// which cancels the generation; its receipt then comes by outbox.
struct Client {
    gateway: Arc<Gateway>,
    request: RequestId,
    deadline: Instant,
    answer: Answer,
    _slot: Arc<InFlight>,
}

enum Stage {
    Open(Box<Client>),
    /// The receipt is checked and booked; its trailer is still to be sent.
    Trailer {
        client: Box<Client>,
        receipt: String,
        cost: u64,
    },
    Closed,
}

fn streamed(client: Client) -> Response {
    let frames = stream::unfold(Stage::Open(Box::new(client)), |stage| async move {
        let (frame, next) = match stage {
            Stage::Open(client) => advance(client).await,
            Stage::Trailer { mut client, receipt, cost } => {
                client.answer.let_go().await;
                (Frame::trailers(trailers(&receipt, cost)), Stage::Closed)
            }
            Stage::Closed => return None,
        };
        Some((Ok::<_, Infallible>(frame), next))
    });
    let mut response = Response::new(Body::new(StreamBody::new(frames)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(TRAILER, HeaderValue::from_static("Cocoon-Receipt, Cocoon-Cost"));
    response
}

async fn advance(mut client: Box<Client>) -> (Frame<Bytes>, Stage) {
    let piece = match tokio::time::timeout_at(client.deadline, client.answer.next()).await {
        Ok(piece) => piece,
        Err(_) => return (answer::failure_event(&Failure::deadline().api), Stage::Closed),
    };
    match piece {
        Ok(Some(Piece::Content(bytes))) => (Frame::data(bytes), Stage::Open(client)),
        Ok(Some(Piece::End { receipt, checked, rest })) => {
            // Booked before the client sees the end: what it reads of its balance then is settled.
            client.gateway.book(&receipt, client.answer.ticket()).await;
            (Frame::data(rest), Stage::Trailer { client, receipt, cost: checked.cost.0 })
        }
        Ok(None) => (answer::failure_event(&Failure::internal().api), Stage::Closed),
        Err(error) => (answer::failure_event(&broken(client.request, &error).api), Stage::Closed),
    }
}

fn trailers(receipt: &str, cost: u64) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(receipt) {
        trailers.insert(HeaderName::from_static(RECEIPT_HEADER), value);
    }
    trailers.insert(HeaderName::from_static(COST_HEADER), HeaderValue::from(cost));
    trailers
}
