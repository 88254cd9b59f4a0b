//! The endpoints that run a model: walks a request through its steps.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;
use cocoon_ledger::Refusal;
use cocoon_openapi::x_conf::ClientNonce;
use cocoon_openapi::{ApiError, CLIENT_NONCE_HEADER};
use cocoon_receipts::{AccountTagKey, RequestId};
use cocoon_sealing::ENCAPSULATED_KEY_HEADER;
use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue, Request};
use tokio::time::Instant;

use crate::accept::{Gateway, InFlight};
use crate::admit::{self, Asker, What};
use crate::authenticate::{self, ApiKey, Scope};
use crate::body;
use crate::deliver::{self, Client};
use crate::error::Failure;
use crate::hop::{Errand, PATIENCE};
use crate::idempotency::{self, Gathered, Running, Turn};
use crate::relay;
use crate::stream::{self as answer, Answer};
use cocoon_openapi::Endpoint;
use cocoon_openapi::estimate::estimate;
use cocoon_openapi::read;

/// What every body is that the gateway seals.
static JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The routes.
pub fn router() -> Router<Arc<Gateway>> {
    Endpoint::ALL.into_iter().fold(Router::new(), |router, endpoint| {
        let handler = move |state, request, slot, body| infer(endpoint, state, request, slot, body);
        router.route(endpoint.path(), post(handler))
    })
}

/// The handler.
///
/// # Errors
/// Every [`Failure`] before the first byte of the answer; what fails later is said inside the stream.
async fn infer(
    endpoint: Endpoint,
    State(gateway): State<Arc<Gateway>>,
    Extension(request): Extension<RequestId>,
    Extension(slot): Extension<Arc<InFlight>>,
    http_request: Request<Body>,
) -> Result<Response, Failure> {
    let deadline = Instant::now() + gateway.config.request_deadline();
    let (parts, body) = http_request.into_parts();
    let key = gateway.authenticate_payer(&parts.headers).await?;
    if key.scope != Scope::Inference {
        return Err(Failure::forbidden("An admin key runs no inference."));
    }
    if parts.headers.contains_key(ENCAPSULATED_KEY_HEADER) {
        return relay::relay(endpoint, gateway, request, slot, key, parts, body).await;
    }
    let nonce = check_headers(&parts.headers, &key)?;
    let body = body::read(body, &parts.headers, gateway.config.body_limit).await?;
    let account = &key.sub;
    let turn = idempotency::turn(&gateway, &parts.headers, account, endpoint, &body, request).await?;
    let running = match turn {
        Turn::Again(response) => {
            check_not_revoked(&gateway, &key, request).await?;
            return Ok(*response);
        }
        Turn::First(running) => Some(*running),
        Turn::Once => None,
    };
    let asker = Asker { request, key, slot: &slot };
    let opened = open(&gateway, endpoint, asker, &parts.headers, nonce, &body);
    let opened = tokio::time::timeout_at(deadline, opened).await.unwrap_or_else(|_| Err(Failure::deadline()));
    let mut answer = match opened {
        Ok(answer) => answer,
        Err(failure) => return Err(freed(running, failure).await),
    };
    let nonce = hex::encode(nonce.0);
    if answer.is_stream() {
        let gathered = Gathered::default();
        return deliver::streamed(Client {
            gateway,
            request,
            deadline,
            answer,
            nonce,
            running,
            gathered,
            slot,
        });
    }
    let collected = answer::collect(&mut answer, gateway.config.answer_limit);
    let whole = match tokio::time::timeout_at(deadline, collected).await {
        Ok(Ok(whole)) => whole,
        Ok(Err(error)) => return Err(freed(running, deliver::broken(request, &error)).await),
        Err(_) => return Err(freed(running, Failure::deadline()).await),
    };
    deliver::unstreamed(&gateway, &answer, whole, nonce, running).await
}

/// What is answered without a reserve is refused to a revoked key here.
async fn check_not_revoked(gateway: &Gateway, key: &ApiKey, request: RequestId) -> Result<(), Failure> {
    let revoked = gateway.ledger.is_revoked(&key.sub, &key.jti).await;
    match revoked.map_err(|error| admit::store_failure(&error, "is_revoked", request))? {
        false => Ok(()),
        true => Err(Failure::refused(Refusal::Revoked)),
    }
}

/// The failure of a request whose idempotency key, if it has one, is free again: it may be repeated.
async fn freed(running: Option<Running>, failure: Failure) -> Failure {
    match running {
        None => failure,
        Some(running) => {
            running.abandon().await;
            failure.of_idempotent_request()
        }
    }
}

/// Admits the request and sends it to a backend.
async fn open(
    gateway: &Gateway,
    endpoint: Endpoint,
    asker: Asker<'_>,
    headers: &HeaderMap,
    nonce: ClientNonce,
    body: &Bytes,
) -> Result<Answer, Failure> {
    let wanted = read::read(endpoint, body)?;
    let name = gateway.config.aliases.get(&wanted.model).unwrap_or(&wanted.model);
    let request = asker.request;
    let price = gateway.price_for(&asker.key, name).ok_or_else(|| Failure::model_not_found(&wanted.model))?;
    // A model we sell whose backends are all away is not unknown.
    let context = gateway.fleet.context_length(name, PATIENCE).await.ok_or_else(Failure::no_backend)?;
    let bound = estimate(&price, body.len(), wanted.tokens, context).ok_or_else(Failure::internal)?;
    let lease = gateway.config.lease();
    let what = What { endpoint, model: name, bound };
    let admitted = admit::admit(gateway, asker, what).await?;
    let tag_key = AccountTagKey::of_api_key(authenticate::bearer(headers)?);
    let errand = Errand {
        path: endpoint.path(),
        model: name,
        price,
        tag_key: &tag_key,
        content_type: Some(&JSON),
        accept: headers.get(ACCEPT),
        lease,
    };
    let exchange = gateway.sender.send(admitted, &errand, body, nonce).await?;
    Answer::new(exchange).map_err(|error| deliver::broken(request, &error))
}

/// What the headers alone decide. Returns the nonce of the receipt's `body`: the client's, or a new one.
fn check_headers(headers: &HeaderMap, key: &ApiKey) -> Result<ClientNonce, Failure> {
    if key.sealed_only {
        return Err(Failure::forbidden(
            "This key is for sealed requests only: the gateway would read this one.",
        ));
    }
    let mut nonce = [0; 32];
    match headers.get(CLIENT_NONCE_HEADER) {
        None => cocoon_receipts::random(&mut nonce).map_err(|_| Failure::internal())?,
        Some(value) => hex::decode_to_slice(value.as_bytes(), &mut nonce).map_err(|_| {
            let message = format!("'{CLIENT_NONCE_HEADER}' must be 64 hexadecimal characters.");
            ApiError::invalid(message).with_param(CLIENT_NONCE_HEADER)
        })?,
    }
    Ok(ClientNonce(nonce))
}
