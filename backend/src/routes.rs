//! What is answered at which path.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{Query, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use cocoon_attestation::Nonce;
use cocoon_openapi::{
    ATTESTATION_PATH, ApiError, CHAT_COMPLETIONS_PATH, COMPLETIONS_PATH, EMBEDDINGS_PATH, KEY_CONFIG_PATH,
    REQUEST_ID_HEADER, RESPONSES_PATH,
};
use cocoon_receipts::RequestId;
use cocoon_sealing::{ENCAPSULATED_KEY_HEADER, KEY_CONFIG_MEDIA_TYPE};
use http::{HeaderMap, Method, Uri, header};
use serde::{Deserialize, Serialize};
use tokio_util::task::TaskTracker;

use crate::admission::Admission;
use crate::completion::{Completion, Services};
use crate::evidence::Desk;
use crate::keyring::Keyring;
use crate::refusal::{Cause, Refusal, respond};
use crate::reply;
use crate::unseal::Unsealer;

/// What the handlers share.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) desk: Desk,
    pub(crate) unsealer: Unsealer,
    pub(crate) admission: Admission,
    pub(crate) services: Arc<Services>,
    /// One task per admitted request.
    pub(crate) requests: TaskTracker,
}

pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route(CHAT_COMPLETIONS_PATH, post(complete))
        .route(COMPLETIONS_PATH, post(complete))
        .route(RESPONSES_PATH, post(complete))
        .route(EMBEDDINGS_PATH, post(complete))
        .route(ATTESTATION_PATH, get(attestation))
        .route(KEY_CONFIG_PATH, get(key_configs))
        .route("/healthz", get(health))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn(sealed_has_a_body))
        .with_state(app)
}

async fn complete(State(app): State<Arc<App>>, request: Request) -> Response {
    let id = request_id(request.headers());
    match app.complete(request).await {
        Ok(response) => response,
        Err(refusal) => {
            tracing::info!(request = ?id, reason = %refusal, "request refused");
            refusal.into_response()
        }
    }
}

impl App {
    async fn complete(&self, request: Request) -> Result<Response, Refusal> {
        let (parts, body) = request.into_parts();
        let announced = self.unsealer.announced(&parts.headers, parts.uri.path())?;
        let place = self.admission.admit(&self.services.engine).await?;
        let (opened, sealer) = self.unsealer.open(announced, body).await?;
        let (reply, reader) = reply::channel(sealer);
        // Nothing is awaited between the admission of a key and this: an opened request always gets its task.
        self.requests.spawn(Completion::new(Arc::clone(&self.services), opened, reply).run(place));
        reader.response().await
    }
}

#[derive(Deserialize)]
struct AttestationQuery {
    nonce: String,
}

async fn attestation(
    State(app): State<Arc<App>>,
    query: Result<Query<AttestationQuery>, axum::extract::rejection::QueryRejection>,
) -> Response {
    let nonce = query.ok().and_then(|Query(query)| query.nonce.parse::<Nonce>().ok());
    let Some(nonce) = nonce else {
        return respond(
            &ApiError::invalid("'nonce' must be 64 lower-case hexadecimal characters.")
                .with_param("nonce")
                .with_code("invalid_nonce"),
        );
    };
    match app.desk.document(nonce).await {
        Ok(document) => Json(document).into_response(),
        Err(unavailable) => Refusal::from(unavailable).into_response(),
    }
}

async fn key_configs(State(app): State<Arc<App>>) -> Response {
    ([(header::CONTENT_TYPE, KEY_CONFIG_MEDIA_TYPE)], app.keyring.key_configs()).into_response()
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
    engine: &'static str,
    /// Requests that have a place.
    running: usize,
    /// Sequences in the engine, in its own word; null where it does not answer.
    engine_running: Option<u64>,
}

async fn health(State(app): State<Arc<App>>) -> Json<Health> {
    let engine = &app.services.engine;
    let up = engine.is_up();
    Json(Health {
        status: "ok",
        engine: if up { "up" } else { "down" },
        running: app.admission.running(),
        engine_running: if up { engine.running().await.ok() } else { Some(0) },
    })
}

async fn unknown_path(method: Method, uri: Uri) -> Response {
    respond(&ApiError::no_such_path(method.as_str(), uri.path()))
}

async fn wrong_method(method: Method, uri: Uri) -> Response {
    respond(&ApiError::method_not_allowed(method.as_str(), uri.path()))
}

/// A sealed request without a body cannot be one (EHBP 4.1).
async fn sealed_has_a_body(request: Request, next: Next) -> Response {
    if request.method() != Method::POST && request.headers().contains_key(ENCAPSULATED_KEY_HEADER) {
        return Refusal::from(Cause::Empty).into_response();
    }
    next.run(request).await
}

/// The gateway's id of a request, where it is one; for the log.
fn request_id(headers: &HeaderMap) -> Option<RequestId> {
    headers.get(REQUEST_ID_HEADER)?.to_str().ok()?.parse().ok()
}
