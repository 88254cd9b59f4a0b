//! Step 1: the public listener's routes, and what every request gets whatever becomes of it: an id, a place among the
//! requests in flight, a line in the log, an answer in OpenAI's shape.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use cocoon_ledger::{Ledger, Rates};
use cocoon_openapi::{
    ATTESTATION_NONCE_HEADER, CLIENT_NONCE_HEADER, COST_HEADER, IDEMPOTENT_REPLAYED_HEADER,
    KEY_DIGEST_HEADER, MODELS_PATH, OPENAPI_JSON, OPENAPI_PATH, PRICES_PATH, PRIVACY_HEADER, RECEIPT_HEADER,
    REQUEST_ID_HEADER, VERIFIED_AT_HEADER,
};
use cocoon_receipts::{Price, RequestId, VerifyingKey};
use cocoon_sealing::RESPONSE_NONCE_HEADER;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use http_body::Body as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_http::cors::{AllowHeaders, Any, CorsLayer, ExposeHeaders};

use crate::attest::Verifier;
use crate::authenticate::{self, ApiKey, authenticate};
use crate::channels::{self, Channels};
use crate::clock::now_s;
use crate::config::Config;
use crate::error::{self, Failure};
use crate::hop::Sender;
use crate::issuers::Issuers;
use crate::keys::Keys;
use crate::registry::Prices;
use crate::route::Fleet;
use crate::settle::{SettleError, Settler};
use crate::{billing, dashboard, evidence, inference, keys_api, models, rate_limits, relay, unheard};

/// Milliseconds until the answer began, as OpenAI calls it.
const PROCESSING_MS: HeaderName = HeaderName::from_static("openai-processing-ms");
/// How long a browser may remember what it was told of a path.
const PREFLIGHT_AGE: Duration = Duration::from_secs(3600);

/// What all requests share. Nothing in it outlives the process.
#[derive(Debug)]
pub struct Gateway {
    pub config: Config,
    pub api_keys: Vec<VerifyingKey>,
    /// Makes API keys.
    pub keys: Arc<Keys>,
    /// Others who say who asks.
    pub issuers: Issuers,
    pub ledger: Arc<dyn Ledger>,
    pub fleet: Arc<Fleet>,
    pub sender: Sender,
    /// The prices in force.
    pub prices: Arc<Prices>,
    /// None where no channels are taken.
    pub channels: Option<Channels>,
    pub settler: Arc<Settler>,
    pub verifier: Arc<Verifier>,
    /// What outboxes are asked for.
    pub redelivery: Arc<crate::reconcile::Redelivery>,
    /// Work that shutdown waits for.
    pub tracker: TaskTracker,
    /// Cancelled when the process was told to end.
    pub draining: CancellationToken,
    /// `config.max_in_flight` places.
    pub places: Arc<Semaphore>,
    /// [`evidence::MAX_FETCHES`] places.
    pub fetches: Semaphore,
}

/// A place among the requests in flight; held until the answer's last byte.
#[derive(Debug)]
pub struct InFlight {
    /// What its reserve left of limits per minute, once it was made.
    pub rates: OnceLock<Rates>,
    _permit: OwnedSemaphorePermit,
}

impl Gateway {
    /// Where channels are taken.
    ///
    /// # Errors
    /// 404 where they are not.
    pub fn channels(&self) -> Result<&Channels, Failure> {
        self.channels.as_ref().ok_or_else(Failure::no_channels)
    }

    /// Who asks to run a model, and pays for it: a voucher counts from now on.
    ///
    /// # Errors
    /// Those of [`Self::authenticate_any`] and [`Channels::admit`].
    pub async fn authenticate_payer(&self, headers: &HeaderMap) -> Result<ApiKey, Failure> {
        match authenticate::voucher(headers)? {
            Some(voucher) => self.channels()?.admit(&voucher).await,
            None => self.authenticate_any(headers).await,
        }
    }

    /// Who asks what only those may know who run models: by an API key of ours, by a token of an issuer that is
    /// configured, or by a voucher.
    ///
    /// # Errors
    /// 401; 404 for a voucher where channels are not taken; 503 where the issuer's keys cannot be fetched.
    pub async fn authenticate_any(&self, headers: &HeaderMap) -> Result<ApiKey, Failure> {
        if let Some(voucher) = authenticate::voucher(headers)? {
            return self.channels()?.identify(&voucher).await;
        }
        let token = authenticate::bearer(headers)?;
        match self.issuers.authenticate(token, now_s()).await? {
            Some(key) => Ok(key),
            None => self.authenticate(headers),
        }
    }

    /// Who asks, by an API key of ours.
    ///
    /// # Errors
    /// 401.
    pub fn authenticate(&self, headers: &HeaderMap) -> Result<ApiKey, Failure> {
        authenticate(headers, &self.api_keys, &self.config.issuer, now_s())
    }

    /// The price of the model `name` for `key`; none where it is not sold, or not to it.
    #[must_use]
    pub fn price_for(&self, key: &ApiKey, name: &str) -> Option<Price> {
        let allowed = key.models.as_ref().is_none_or(|models| models.iter().any(|model| model == name));
        self.prices.borrow().0.get(name).filter(|_| allowed).copied()
    }

    /// Books a receipt that came with its answer. Where that fails the outbox delivers it again, so the answer goes
    /// on.
    pub async fn book(&self, receipt: &str, ticket: &str) {
        match self.settler.settle(receipt, ticket).await {
            Ok(_) => {}
            Err(SettleError::Store(error)) => unheard::log(&error, "booking of an answer's receipt", None),
            Err(error) => tracing::warn!(%error, "receipt not booked with its answer"),
        }
    }
}

/// The public router.
pub fn router(gateway: Arc<Gateway>) -> Router {
    Router::new()
        .merge(inference::router())
        .merge(evidence::router())
        .merge(billing::router())
        .merge(keys_api::router())
        .merge(channels::router())
        .route(OPENAPI_PATH, get(async || ([(CONTENT_TYPE, "application/json")], OPENAPI_JSON)))
        .route(MODELS_PATH, get(models::list))
        .route("/v1/models/{*id}", get(models::retrieve))
        .route(PRICES_PATH, get(models::prices))
        .fallback(no_such_path)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn(sealed_is_a_post))
        .layer(middleware::from_fn_with_state(Arc::clone(&gateway), place))
        .layer(cors())
        // Costs no backend and no store, so it takes no place; and it is no other page's to read.
        .merge(dashboard::router())
        .layer(middleware::from_fn(identify))
        .with_state(gateway)
}

/// Any page may ask, with its user's key: nothing here is decided by cookies or addresses. `OPTIONS` is answered here,
/// without a key.
fn cors() -> CorsLayer {
    let exposed = [
        REQUEST_ID_HEADER,
        RECEIPT_HEADER,
        COST_HEADER,
        CLIENT_NONCE_HEADER,
        PRIVACY_HEADER,
        IDEMPOTENT_REPLAYED_HEADER,
        RESPONSE_NONCE_HEADER,
        KEY_DIGEST_HEADER,
        ATTESTATION_NONCE_HEADER,
        VERIFIED_AT_HEADER,
    ];
    let more = [RETRY_AFTER, error::RETRY_AFTER_MS, error::SHOULD_RETRY, PROCESSING_MS];
    let exposed = exposed.map(HeaderName::from_static).into_iter().chain(more).chain(rate_limits::names());
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::DELETE])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(ExposeHeaders::list(exposed))
        .max_age(PREFLIGHT_AGE)
}

/// Around every request: its id, its time, its line in the log.
async fn identify(mut request: Request, next: Next) -> Response {
    let id = RequestId::generate();
    let started = Instant::now();
    let (method, path) = (request.method().clone(), known_path(&request));
    request.extensions_mut().insert(id);
    let mut response = next.run(request).await;
    let took = started.elapsed();
    stamp(response.headers_mut(), id, took);
    let status = response.status().as_u16();
    tracing::info!(request = %id, %method, path, status, ms = took.as_millis() as u64, "answered");
    response
}

/// The headers of every answer, whatever became of the request.
fn stamp(headers: &mut HeaderMap, id: RequestId, took: Duration) {
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        headers.insert(HeaderName::from_static(REQUEST_ID_HEADER), value);
    }
    headers.insert(PROCESSING_MS, HeaderValue::from(took.as_millis() as u64));
}

/// Nothing else is answered to a client that says it has sealed its request.
async fn sealed_is_a_post(request: Request, next: Next) -> Result<Response, Failure> {
    let has_no_body = request.body().is_end_stream();
    relay::check_is_post_with_body(request.method(), request.headers(), has_no_body)?;
    Ok(next.run(request).await)
}

/// Gives a request its place among those in flight, or refuses it; either way the answer says how much may still be used.
async fn place(State(gateway): State<Arc<Gateway>>, mut request: Request, next: Next) -> Response {
    let (mut response, rates) = match Arc::clone(&gateway.places).try_acquire_owned() {
        Ok(permit) => {
            let slot = Arc::new(InFlight { rates: OnceLock::new(), _permit: permit });
            request.extensions_mut().insert(Arc::clone(&slot));
            let response = next.run(request).await;
            // An answer that is whole has no place any more when this one is given back.
            (response, slot.rates.get().copied().unwrap_or_default())
        }
        Err(_) => (Failure::overloaded().into_response(), Rates::default()),
    };
    let (places, free) = (gateway.config.max_in_flight, gateway.places.available_permits());
    rate_limits::say(response.headers_mut(), &rates, places, free);
    response
}

/// The route's pattern: a path that no route knows is the client's own text and stays out of the log.
fn known_path(request: &Request<Body>) -> String {
    request.extensions().get::<axum::extract::MatchedPath>().map_or("-", |path| path.as_str()).to_owned()
}

async fn no_such_path(method: Method, uri: Uri) -> Failure {
    Failure::no_such_path(&method, &uri)
}

async fn method_not_allowed(method: Method, uri: Uri) -> Failure {
    Failure::method_not_allowed(&method, &uri)
}
