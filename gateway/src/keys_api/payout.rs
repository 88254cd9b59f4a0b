//! Where an account's withdrawals go.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use cocoon_ledger::{Payout, TonAddress};
use cocoon_openapi::ApiError;
use cocoon_openapi::payouts::{NewPayout, PayoutOf, PendingPayout};
use http::HeaderMap;

use super::asked;
use crate::accept::Gateway;
use crate::caller::Caller;
use crate::error::Failure;

pub(super) async fn read(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
) -> Result<Json<PayoutOf>, Failure> {
    let by = gateway.administrator(&headers).await?;
    let payout = gateway.ledger.payout(&by.account).await.map_err(Failure::of_ledger)?;
    view(&gateway, &by, payout).await
}

pub(super) async fn set(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<PayoutOf>, Failure> {
    let by = gateway.administrator(&headers).await?;
    let asked: NewPayout = asked::json(&headers, body).await?;
    let address: TonAddress = asked
        .address
        .parse()
        .map_err(|error| ApiError::invalid(format!("'address' is none: {error}.")).with_param("address"))?;
    let set = gateway.ledger.set_payout_address(&by.account, &address).await;
    let payout = set.map_err(Failure::of_ledger)?;
    tracing::info!(by = %by.key.jti, account = %by.account, %address, "payout address set");
    view(&gateway, &by, payout).await
}

async fn view(gateway: &Gateway, by: &Caller, payout: Payout) -> Result<Json<PayoutOf>, Failure> {
    let account = gateway.ledger.account(&by.account).await.map_err(Failure::of_ledger)?;
    let pending = payout.pending.map(|pending| PendingPayout {
        address: pending.address.to_string(),
        usable_at: pending.from_ms.div_ceil(1000),
    });
    Ok(Json(PayoutOf {
        object: "organization.payout",
        address: payout.current.map(|address| address.to_string()),
        pending,
        withdrawable: account.withdrawable(),
        withdrawing: account.withdrawing,
        withdrawn: account.withdrawn,
    }))
}
