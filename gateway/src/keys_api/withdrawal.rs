//! Withdrawals: begun here, paid by the settler.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use cocoon_ledger::{Withdrawal, WithdrawalBegun, WithdrawalRefusal};
use cocoon_openapi::ApiError;
use cocoon_openapi::payouts::{NewWithdrawal, WithdrawalOf};
use cocoon_receipts::{NanoTon, RequestId};
use http::HeaderMap;

use super::asked;
use crate::accept::Gateway;
use crate::error::Failure;

/// Begins one, or says what became of it.
pub(super) async fn begin(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<WithdrawalOf>, Failure> {
    let by = gateway.administrator(&headers).await?;
    let billing = &gateway.config.billing;
    if billing.treasury.is_none() {
        return Err(not_offered().into());
    }
    let NewWithdrawal { amount, id } = asked::json(&headers, body).await?;
    if amount < billing.minimum_transfer {
        let message = format!("'amount' must be at least {} nanoTON.", billing.minimum_transfer);
        return Err(ApiError::invalid(message).with_param("amount").into());
    }
    let intent = id.unwrap_or_else(RequestId::generate);
    let withdrawal = Withdrawal { account: by.account.clone(), intent, amount };
    let begun = gateway.ledger.withdraw_begin(&withdrawal).await.map_err(Failure::of_ledger)?;
    let (status, address) = match begun {
        WithdrawalBegun::Begun { address } => ("pending", Some(address.to_string())),
        WithdrawalBegun::Done => ("paid", None),
        WithdrawalBegun::Undone => ("undone", None),
        WithdrawalBegun::Refused(refusal) => return Err(refused(refusal).into()),
    };
    tracing::info!(by = %by.key.jti, account = %by.account, %intent, %amount, status, "withdrawal");
    Ok(Json(WithdrawalOf { object: "organization.withdrawal", id: intent, amount, status, address }))
}

fn not_offered() -> ApiError {
    let message = "This deployment has no treasury: nothing is paid out.";
    ApiError::new(404, "invalid_request_error", Some("not_found"), message)
}

/// What a client is told; nothing has moved.
fn refused(refusal: WithdrawalRefusal) -> ApiError {
    match refusal {
        WithdrawalRefusal::Insufficient { withdrawable: NanoTon(most) } => {
            let message = format!("At most {most} nanoTON can be withdrawn now.");
            ApiError::invalid(message).with_param("amount").with_code("insufficient_balance")
        }
        WithdrawalRefusal::NoAddress { from_ms: None } => {
            let message = "No address was set for withdrawals.";
            ApiError::invalid(message).with_code("no_payout_address")
        }
        WithdrawalRefusal::NoAddress { from_ms: Some(from_ms) } => {
            let message =
                format!("The address can be used from {} on (seconds since 1970).", from_ms.div_ceil(1000));
            ApiError::invalid(message).with_code("no_payout_address")
        }
        WithdrawalRefusal::OtherIntent => {
            let message = "'id' belongs to another withdrawal.";
            ApiError::invalid(message).with_param("id").with_code("id_in_use")
        }
        WithdrawalRefusal::OfChannel => {
            let message = "The account is a payment channel's. Its money is in the channel: close that to have it back.";
            ApiError::invalid(message).with_code("account_is_a_channel")
        }
        // The reason is the operator's own business.
        WithdrawalRefusal::Stopped { .. } => {
            let message = "Withdrawals are stopped for now. Nothing has moved; try again later.";
            ApiError::new(503, "service_unavailable", Some("withdrawals_stopped"), message)
        }
    }
}
