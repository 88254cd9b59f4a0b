//! `GET /v1/receipts/{id}` and OpenRouter's `GET /v1/generation`: one receipt, by its id or its request's.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use cocoon_ledger::{KeptReceipt, LedgerError};
use cocoon_openapi::ApiError;
use cocoon_openapi::billing::{CURRENCY, Generation, GenerationData, ReceiptView};
use cocoon_receipts::{Receipt, ReceiptId, RequestId};
use http::{HeaderMap, Uri};
use jiff::Timestamp;

use crate::accept::Gateway;
use crate::billing::parameters::{Parameters, invalid};
use crate::billing::ton;
use crate::caller::Caller;
use crate::error::Failure;

/// A receipt, and what it says.
pub(super) async fn receipt(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Json<ReceiptView>, Failure> {
    let caller = gateway.caller(&headers).await?;
    Parameters::read(&uri, &[])?;
    let (kept, claims) = find(&gateway, &caller, &id).await?;
    Ok(Json(ReceiptView {
        object: "receipt",
        id: kept.receipt.to_string(),
        request_id: kept.request.to_string(),
        created: claims.iat,
        account: caller.account.to_string(),
        api_key_id: kept.key.to_string(),
        project_id: kept.project.map(|project| project.to_string()),
        usage: claims.usage,
        cost: claims.cost,
        charged: kept.charged,
        privacy: privacy(&claims),
        complete: claims.complete,
        status: claims.status,
        keyset: claims.iss.to_string(),
        model: claims.model,
        finish: claims.finish,
        jws: kept.jws,
    }))
}

/// A request, as OpenRouter shows it.
pub(super) async fn generation(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Json<Generation>, Failure> {
    let caller = gateway.caller(&headers).await?;
    let parameters = Parameters::read(&uri, &["id"])?;
    let id = parameters.one("id")?.ok_or_else(|| invalid("id", "the id of a request or of a receipt"))?;
    let (kept, claims) = find(&gateway, &caller, id).await?;
    let started = i64::try_from(claims.started).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let prompt = claims.usage.prompt.saturating_add(claims.usage.cached);
    let completion = claims.usage.completion.saturating_add(claims.usage.reasoning);
    Ok(Json(Generation {
        data: GenerationData {
            id: kept.request.to_string(),
            upstream_id: kept.receipt.to_string(),
            created_at: started.map_or_else(String::new, |at| at.to_string()),
            total_cost: ton(kept.charged.0.into()),
            usage: ton(kept.charged.0.into()),
            total_cost_nano: kept.charged,
            currency: CURRENCY,
            tokens_prompt: prompt,
            tokens_completion: completion,
            native_tokens_prompt: prompt,
            native_tokens_completion: completion,
            native_tokens_reasoning: claims.usage.reasoning,
            native_tokens_cached: claims.usage.cached,
            cancelled: claims.finish == "cancelled",
            streamed: claims.ctype.starts_with("text/event-stream"),
            generation_time: claims.finished.saturating_sub(claims.started),
            provider_name: "cocoon",
            is_byok: false,
            native_finish_reason: claims.finish.clone(),
            finish_reason: claims.finish,
            model: claims.model,
        },
    }))
}

/// 404 for whatever `caller` may not see: whether it is there is nobody else's business.
async fn find(gateway: &Gateway, caller: &Caller, id: &str) -> Result<(KeptReceipt, Receipt), Failure> {
    let unknown = || -> Failure {
        let message = "There is no such receipt, or it is kept no longer.";
        ApiError::new(404, "invalid_request_error", Some("receipt_not_found"), message)
            .with_param("id")
            .into()
    };
    let (Ok(receipt), Ok(request)) = (id.parse::<ReceiptId>(), id.parse::<RequestId>()) else {
        return Err(unknown());
    };
    let account = &caller.account;
    let kept = match gateway.ledger.receipt(account, receipt).await.map_err(Failure::of_ledger)? {
        Some(kept) => Some(kept),
        None => gateway.ledger.receipt_of(account, request).await.map_err(Failure::of_ledger)?,
    };
    let visible = |kept: &KeptReceipt| caller.only().is_none_or(|key| *key == kept.key);
    let kept = kept.filter(visible).ok_or_else(unknown)?;
    let claims = claims(&kept.jws)?;
    Ok((kept, claims))
}

/// What a kept receipt says.
///
/// # Errors
/// 500: it was verified before it was kept.
pub(super) fn claims(jws: &str) -> Result<Receipt, Failure> {
    Receipt::booked(jws).map_err(|error| Failure::of_ledger(LedgerError::Corrupt(error.to_string())))
}

/// Who could read the body: a client that seals it itself tells the backend no nonce of the gateway's making.
pub(super) fn privacy(receipt: &Receipt) -> &'static str {
    if receipt.body.is_some() { "gateway" } else { "sealed" }
}
