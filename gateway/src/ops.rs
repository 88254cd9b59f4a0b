//! The ops listener: for operators and outboxes, never public.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use cocoon_ledger::{Ledger, LedgerError};
use cocoon_openapi::ops::{AccountView, Backends, Health, OperatorView};
use cocoon_openapi::{
    ApiError, BACKENDS_PATH, Deliveries, MAX_DELIVERIES, METRICS_PATH, OPERATORS_PATH, Outcomes,
    RECEIPTS_PATH,
};
use cocoon_receipts::{AccountId, NanoTon, OperatorId};
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
        .route(&format!("{OPERATORS_PATH}/{{operator}}"), get(operator_of))
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

/// What an operator has earned. As with the backends, who reaches this listener may know.
async fn operator_of(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
) -> Result<Json<OperatorView>, Failure> {
    earned_by(gateway.ledger.as_ref(), &name).await.map(Json)
}

async fn earned_by(ledger: &dyn Ledger, name: &str) -> Result<OperatorView, Failure> {
    let operator: OperatorId =
        name.parse().map_err(|_| ApiError::invalid("Not the name of an operator.").with_param("operator"))?;
    earned(ledger, operator).await.map_err(Failure::of_ledger)
}

/// Shard after shard, each at a moment of its own: both sums only grow.
async fn earned(ledger: &dyn Ledger, operator: OperatorId) -> Result<OperatorView, LedgerError> {
    let (mut accrued, mut reversed) = (NanoTon::ZERO, NanoTon::ZERO);
    for shard in ledger.shards().all() {
        for totals in ledger.totals(shard).await?.operators {
            if totals.operator == operator {
                accrued = accrued.checked_add(totals.accrued).ok_or(LedgerError::Overflow)?;
                reversed = reversed.checked_add(totals.reversed).ok_or(LedgerError::Overflow)?;
            }
        }
    }
    Ok(OperatorView { operator, accrued, reversed })
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cocoon_ledger::{
        Bind, Checkpoint, Estimate, Expired, Grant, Limits, Options, Reserve, Settled, Settlement, Work,
    };
    use cocoon_receipts::{BasisPoints, Digest, ReceiptId, RequestId, Usage};

    use super::*;

    const KEYSET: Digest = Digest([1; 32]);
    const LEASE: Duration = Duration::from_secs(60);

    fn settlement(account: &str, operator: &str, request: RequestId, cost: u64) -> Settlement {
        Settlement {
            account: account.parse().unwrap(),
            key: "k".parse().unwrap(),
            project: None,
            request,
            attempt: 1,
            keyset: KEYSET,
            operator: operator.parse().unwrap(),
            operator_share: BasisPoints::NINE_TENTHS,
            receipt: ReceiptId::generate(),
            receipt_digest: Digest([2; 32]),
            receipt_jws: "jws".into(),
            model: "m".into(),
            work: Work::Completions,
            usage: Usage::default(),
            cost: NanoTon(cost),
            max_cost: NanoTon(cost),
        }
    }

    /// Charged 200 at its last checkpoint, and 150 by the receipt that came after it had expired.
    async fn corrected(ledger: &dyn Ledger, account: &str, operator: &str) {
        let now = u64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
        let request = RequestId::generate();
        let last = settlement(account, operator, request, 150);
        let Settlement { key, model, usage, .. } = last.clone();
        let account = last.account.clone();
        let grant = Grant { id: RequestId::generate(), account: account.clone(), amount: NanoTon(200) };
        ledger.grant(&grant).await.unwrap();
        let estimate = Estimate { worst_case: NanoTon(200), useful_minimum: None, tokens: 0 };
        let reserve = Reserve {
            request,
            account: account.clone(),
            key,
            project: None,
            model,
            work: Work::Completions,
            estimate,
            limits: Limits::default(),
            lease: LEASE,
        };
        ledger.reserve(&reserve).await.unwrap();
        let bind = Bind { account: account.clone(), request, attempt: 1, keyset: KEYSET, lease: LEASE };
        ledger.bind(&bind).await.unwrap();
        let checkpoint = Checkpoint {
            account: account.clone(),
            request,
            attempt: 1,
            keyset: KEYSET,
            operator: last.operator.clone(),
            operator_share: last.operator_share,
            usage,
            cost: NanoTon(200),
            lease: LEASE,
        };
        ledger.extend(&checkpoint).await.unwrap();
        ledger.set_test_time(now + 3_600_000).await.unwrap();
        let expired = ledger.expire(ledger.shards().of(&account), request).await.unwrap();
        assert!(matches!(expired, Expired::Expired { .. }), "{expired:?}");
        assert!(matches!(ledger.settle(&last).await.unwrap(), Settled::Charged { .. }));
    }

    #[tokio::test]
    async fn an_operators_sums_are_those_of_all_shards_and_of_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("ledger.db").display());
        let options = Options { test_clock: true, ..Options::default() };
        let ledger = cocoon_ledger::open(&url, options).await.unwrap();
        let accounts: Vec<String> = (0..5).map(|n| format!("account-{n}")).collect();
        let shard = |account: &String| ledger.shards().of(&account.parse().unwrap());
        assert!(accounts.iter().any(|account| shard(account) != shard(&accounts[0])));
        for account in &accounts {
            for operator in ["0:aa", "0:bb"] {
                // Nobody can pay for it: the operator earns by it all the same.
                let settlement = settlement(account, operator, RequestId::generate(), 15);
                assert!(matches!(ledger.settle(&settlement).await.unwrap(), Settled::Charged { .. }));
                assert_eq!(settlement.operator_amount(), NanoTon(13));
            }
        }
        corrected(ledger.as_ref(), &accounts[0], "0:aa").await;
        let view = |name: &'static str| earned_by(ledger.as_ref(), name);
        let of = |operator: &str, accrued, reversed| OperatorView {
            operator: operator.parse().unwrap(),
            accrued: NanoTon(accrued),
            reversed: NanoTon(reversed),
        };
        assert_eq!(view("0:aa").await.unwrap(), of("0:aa", 5 * 13 + 180, 45));
        assert_eq!(view("0:bb").await.unwrap(), of("0:bb", 5 * 13, 0));
        assert_eq!(view("0:cc").await.unwrap(), of("0:cc", 0, 0), "one that never earned");
        for name in ["", "a b", "0:aa/x", "\u{e4}"] {
            let refused = view(name).await.unwrap_err().into_response();
            assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{name}");
        }
    }
}
