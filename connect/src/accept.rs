//! The listener's routes, and what every request meets first: whether its caller may ask at all.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Query, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use cocoon_openapi::{
    CLIENT_NONCE_HEADER, COST_HEADER, Endpoint, PRIVACY_HEADER, RECEIPT_HEADER, REQUEST_ID_HEADER,
};
use cocoon_receipts::RequestId;
use http::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use serde::Deserialize;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer, ExposeHeaders};

use crate::ask::{ApiKey, Asker, Payer};
use crate::deliver::VERIFIED_KEYSET_HEADER;
use crate::error::{self, Failure};
use crate::local::Callers;
use crate::report::Report;
use crate::token::{LocalToken, bearer};
use crate::{inference, pass};

/// What all requests share.
#[derive(Debug)]
pub struct Sidecar {
    pub asker: Asker,
    pub callers: Callers,
    /// Where the sidecar pays by itself: callers then show the token.
    pub own: Option<(Payer, LocalToken)>,
    /// Largest request body, bytes.
    pub body_limit: usize,
}

impl Sidecar {
    /// Who pays for a request, if anybody.
    ///
    /// # Errors
    /// 401 where the sidecar does and the caller has not its token.
    pub fn payer_of(&self, headers: &HeaderMap) -> Result<Option<Payer>, Failure> {
        match &self.own {
            None => Ok(bearer(headers).and_then(ApiKey::new).map(Payer::Key)),
            Some((payer, token)) if token.is_in(headers) => Ok(Some(payer.clone())),
            Some(_) => Err(Failure::no_local_token()),
        }
    }
}

/// The only router.
pub fn router(sidecar: Arc<Sidecar>) -> Router {
    let mut router = Router::new();
    for endpoint in Endpoint::ALL {
        router = router
            .route(endpoint.path(), post(move |state, request| inference::infer(state, endpoint, request)));
    }
    router
        .route("/v1/{*path}", any(pass::pass))
        .route("/verification", get(verification))
        .fallback(async |method: Method, uri: Uri| Failure::no_such_path(&method, &uri))
        .method_not_allowed_fallback(async |method: Method, uri: Uri| {
            Failure::method_not_allowed(&method, &uri)
        })
        .layer(cors(&sidecar.callers))
        .layer(middleware::from_fn_with_state(Arc::clone(&sidecar), admit))
        .layer(middleware::from_fn(note))
        .with_state(sidecar)
}

/// For pages of origins that were named; requests of others do not come this far.
fn cors(callers: &Callers) -> CorsLayer {
    let exposed = [
        REQUEST_ID_HEADER,
        RECEIPT_HEADER,
        COST_HEADER,
        CLIENT_NONCE_HEADER,
        PRIVACY_HEADER,
        VERIFIED_KEYSET_HEADER,
    ];
    let exposed = exposed.map(HeaderName::from_static).into_iter().chain([
        RETRY_AFTER,
        error::SHOULD_RETRY,
        error::UNAUTHENTICATED,
    ]);
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(callers.origins.iter().cloned()))
        .allow_methods([Method::GET, Method::HEAD, Method::POST])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(ExposeHeaders::list(exposed))
        .allow_private_network(!callers.origins.is_empty())
}

async fn admit(State(sidecar): State<Arc<Sidecar>>, request: Request<Body>, next: Next) -> Response {
    match sidecar.callers.check(request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(stranger) => {
            tracing::warn!(reason = %stranger, "request refused");
            Failure::from(stranger).into_response()
        }
    }
}

/// Around every request: one line in the log, in which a path that no route knows is left out as the caller's own text;
/// and an id, where the gateway has given none.
async fn note(request: Request<Body>, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let path = request.extensions().get::<MatchedPath>().map_or("-", |path| path.as_str()).to_owned();
    let mut response = next.run(request).await;
    if !response.headers().contains_key(REQUEST_ID_HEADER)
        && let Ok(id) = HeaderValue::from_str(&RequestId::generate().to_string())
    {
        response.headers_mut().insert(REQUEST_ID_HEADER, id);
    }
    let (status, ms) = (response.status().as_u16(), started.elapsed().as_millis() as u64);
    let id = response.headers().get(REQUEST_ID_HEADER).and_then(|id| id.to_str().ok()).unwrap_or("-");
    tracing::info!(request = id, %method, path, status, ms, "answered");
    response
}

#[derive(Debug, Deserialize)]
struct Shown {
    format: Option<String>,
}

/// `GET /verification`: what is known, without asking the gateway for more.
async fn verification(
    State(sidecar): State<Arc<Sidecar>>,
    Query(shown): Query<Shown>,
    headers: HeaderMap,
) -> Response {
    let fleet = &sidecar.asker.fleet;
    let report = Report::new(fleet, fleet.overview());
    let accepts_json = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).is_some_and(|accept| {
        accept.split(',').any(|kind| kind.split(';').next().map(str::trim) == Some("application/json"))
    });
    let (kind, body) = if shown.format.as_deref() == Some("json") || accepts_json {
        ("application/json", serde_json::to_string(&report).unwrap_or_default())
    } else {
        ("text/plain; charset=utf-8", report.text())
    };
    ([(CONTENT_TYPE, HeaderValue::from_static(kind))], body).into_response()
}
