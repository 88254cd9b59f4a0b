//! The ops listener: for operators and outboxes, never public.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use cocoon_openapi::ops::{AccountView, Backends, Health};
use cocoon_openapi::{
    ApiError, BACKENDS_PATH, Deliveries, MAX_DELIVERIES, METRICS_PATH, Outcomes, RECEIPTS_PATH,
};
use cocoon_receipts::AccountId;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, StatusCode, Uri};

use crate::accept::Gateway;
use crate::account;
use crate::authenticate::Scope;
use crate::error::Failure;
use crate::{backends, metrics};

/// Bytes of one post of receipts: [`MAX_DELIVERIES`] pairs of tokens at their largest.
const MAX_POST: usize = MAX_DELIVERIES * 2 * 8 * 1024 + 64 * 1024;

/// The ops router.
pub fn router(gateway: Arc<Gateway>) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route(METRICS_PATH, get(metrics))
        .route(BACKENDS_PATH, get(list_backends))
        .route(RECEIPTS_PATH, post(receipts))
        .route("/internal/accounts/{account}", get(account_of))
        .layer(DefaultBodyLimit::max(MAX_POST))
        .fallback(async |method: Method, uri: Uri| Failure::no_such_path(&method, &uri))
        .method_not_allowed_fallback(async |method: Method, uri: Uri| {
            Failure::method_not_allowed(&method, &uri)
        })
        .with_state(gateway)
}

/// Whether the process runs.
async fn healthz() -> Json<serde_json::Value> {
    Json(serde_json::json!({ "status": "ok" }))
}

/// Whether it can serve: the ledger answers, a backend is attested, and it is not on its way out.
async fn readyz(State(gateway): State<Arc<Gateway>>) -> Response {
    let ledger = gateway.ledger.ping().await.is_ok();
    let attested = gateway.fleet.attested().count();
    let draining = gateway.draining.is_cancelled();
    let health = Health {
        status: match (draining, ledger && attested > 0) {
            (true, _) => "draining",
            (false, true) => "ready",
            (false, false) => "not_ready",
        },
        ledger: if ledger { "up" } else { "down" },
        attested_backends: attested,
        backends: gateway.fleet.backends().len(),
    };
    let status = if health.status == "ready" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(health)).into_response()
}

/// What is counted.
async fn metrics(State(gateway): State<Arc<Gateway>>) -> Result<Response, Failure> {
    let text = gateway.verifier.metrics.text().map_err(|error| {
        tracing::error!(%error, "metrics cannot be written");
        Failure::internal()
    })?;
    Ok(([(CONTENT_TYPE, metrics::MEDIA_TYPE)], text).into_response())
}

/// How every backend stands.
async fn list_backends(State(gateway): State<Arc<Gateway>>) -> Json<Backends> {
    let policy = Arc::clone(&gateway.verifier.policy.borrow());
    Json(backends::view(&gateway.fleet, &policy))
}

/// Receipts from outboxes. They are signed, and their tickets are ours: no other credential is needed.
async fn receipts(
    State(gateway): State<Arc<Gateway>>,
    deliveries: Result<Json<Deliveries>, axum::extract::rejection::JsonRejection>,
) -> Result<Json<Outcomes>, Failure> {
    let Json(Deliveries { deliveries }) = deliveries.map_err(|rejection| {
        ApiError::new(rejection.status().as_u16(), "invalid_request_error", None, "Not a list of deliveries.")
    })?;
    if deliveries.len() > MAX_DELIVERIES {
        return Err(ApiError::invalid(format!("At most {MAX_DELIVERIES} deliveries at once.")).into());
    }
    let mut outcomes = Vec::with_capacity(deliveries.len());
    for delivery in &deliveries {
        outcomes.push(gateway.settler.deliver(delivery).await);
    }
    let redeliver = gateway.redelivery.asked().map(|request| request.to_string());
    Ok(Json(Outcomes { outcomes, redeliver }))
}

/// An account's state; operators' keys only.
async fn account_of(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Json<AccountView>, Failure> {
    if gateway.good_key(&headers).await?.scope != Scope::Operator {
        return Err(Failure::forbidden("This needs an operator's key."));
    }
    let name: AccountId =
        name.parse().map_err(|_| ApiError::invalid("Not the name of an account.").with_param("account"))?;
    let state = gateway.ledger.account(&name).await.map_err(Failure::of_ledger)?;
    Ok(Json(account::view(name, &state)))
}
