//! Step 1: the public listener's routes, and what every request gets whatever becomes of it: an id, a place among the
//! requests in flight, a line in the log, an answer in OpenAI's shape.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use cocoon_ledger::Ledger;
use cocoon_openapi::{
    CHAT_COMPLETIONS_PATH, CLIENT_NONCE_HEADER, COST_HEADER, PRIVACY_HEADER, RECEIPT_HEADER,
    REQUEST_ID_HEADER,
};
use cocoon_receipts::{RequestId, VerifyingKey};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_http::cors::{AllowHeaders, Any, CorsLayer, ExposeHeaders};

use crate::authenticate::{ApiKey, authenticate};
use crate::clock::now_s;
use crate::config::Config;
use crate::error::Failure;
use crate::route::Fleet;
use crate::send::Sender;
use crate::settle::Settler;
use crate::{chat, models};

/// What all requests share. Nothing in it outlives the process.
#[derive(Debug)]
pub struct Gateway {
    pub config: Config,
    pub api_keys: Vec<VerifyingKey>,
    pub ledger: Arc<dyn Ledger>,
    pub fleet: Arc<Fleet>,
    pub sender: Sender,
    pub settler: Arc<Settler>,
    /// Work that shutdown waits for.
    pub tracker: TaskTracker,
    /// Cancelled when the process was told to end.
    pub draining: CancellationToken,
    /// `config.max_in_flight` places.
    pub places: Arc<Semaphore>,
}

/// A place among the requests in flight; held until the answer's last byte.
#[derive(Debug)]
pub struct InFlight {
    _permit: OwnedSemaphorePermit,
}

impl Gateway {
    /// # Errors
    /// 401.
    pub fn authenticate(&self, headers: &HeaderMap) -> Result<ApiKey, Failure> {
        authenticate(headers, &self.api_keys, &self.config.issuer, now_s())
    }

    /// Books a receipt that came with its answer. Where that fails the outbox delivers it again, so the answer goes
    /// on.
    pub async fn book(&self, receipt: &str, ticket: &str) {
        if let Err(error) = self.settler.settle(receipt, ticket).await {
            tracing::warn!(%error, "receipt not booked with its answer");
        }
    }
}

/// The public router.
pub fn router(gateway: Arc<Gateway>) -> Router {
    let cors = CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(ExposeHeaders::list(
            [REQUEST_ID_HEADER, RECEIPT_HEADER, COST_HEADER, CLIENT_NONCE_HEADER, PRIVACY_HEADER]
                .map(HeaderName::from_static),
        ));
    Router::new()
        .route(CHAT_COMPLETIONS_PATH, post(chat::completions))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*id}", get(models::retrieve))
        .fallback(no_such_path)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn_with_state(Arc::clone(&gateway), accept))
        .layer(cors)
        .with_state(gateway)
}

/// Around every request.
async fn accept(State(gateway): State<Arc<Gateway>>, mut request: Request, next: Next) -> Response {
    let id = RequestId::generate();
    let started = Instant::now();
    let (method, path) = (request.method().clone(), known_path(&request));
    let mut response = match Arc::clone(&gateway.places).try_acquire_owned() {
        Ok(permit) => {
            request.extensions_mut().insert(id);
            request.extensions_mut().insert(Arc::new(InFlight { _permit: permit }));
            next.run(request).await
        }
        Err(_) => Failure::overloaded().into_response(),
    };
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        response.headers_mut().insert(HeaderName::from_static(REQUEST_ID_HEADER), value);
    }
    let status = response.status().as_u16();
    tracing::info!(request = %id, %method, path, status, ms = started.elapsed().as_millis() as u64, "answered");
    response
}

/// The route's pattern: a path that no route knows is the client's own text and stays out of the log.
fn known_path(request: &Request<Body>) -> String {
    request.extensions().get::<axum::extract::MatchedPath>().map_or("-", |path| path.as_str()).to_owned()
}

async fn no_such_path(method: Method) -> Failure {
    Failure::no_such_path(&method)
}

async fn method_not_allowed(method: Method) -> Failure {
    Failure::method_not_allowed(&method)
}
