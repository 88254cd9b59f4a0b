//! `GET /v1/key` and `GET /v1/credits`: the key that asks and the account's balance, in OpenRouter's shapes.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use cocoon_ledger::{LedgerError, Limits, Standing, Whose};
use cocoon_openapi::billing::{CURRENCY, Credits, CreditsData, KeyData, KeyEnvelope, LimitsInUse};
use cocoon_openapi::limits::BudgetPeriod;
use cocoon_receipts::NanoTon;
use http::{HeaderMap, Uri};

use crate::accept::Gateway;
use crate::billing::parameters::Parameters;
use crate::billing::ton;
use crate::caller::Caller;
use crate::clock::now_ms;
use crate::error::Failure;
use crate::limits;

/// What is known of the key that asks, what it spent, and what is left of all that limits it.
pub(super) async fn key(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Json<KeyEnvelope>, Failure> {
    let caller = gateway.caller(&headers).await?;
    Parameters::read(&uri, &[])?;
    let limits = limits_of(&gateway, &caller).await.map_err(Failure::of_ledger)?;
    // The key's own, or else the account's: the first.
    let first = limits.first().ok_or_else(Failure::internal)?;
    let mut spent = first.used.spent;
    if caller.only().is_none() {
        // The account's sum is never forgotten.
        spent.total = gateway.ledger.account(&caller.account).await.map_err(Failure::of_ledger)?.charged;
    }
    let amount = |amount: NanoTon| ton(amount.0.into());
    let budget = first.limits.budget.as_ref();
    let Caller { account, key } = caller;
    Ok(Json(KeyEnvelope {
        data: KeyData {
            label: key.jti.to_string(),
            id: key.jti.to_string(),
            account: account.to_string(),
            project: key.project.map(|project| project.to_string()),
            scope: key.scope.as_str(),
            models: key.models,
            sealed_only: key.sealed_only,
            expires_at: key.exp,
            limit: budget.map(|budget| amount(budget.amount)),
            limit_remaining: first.used.budget.map(|left| amount(left.remaining)),
            limit_reset: budget.and_then(|budget| match budget.period {
                BudgetPeriod::Day => Some("daily"),
                BudgetPeriod::Week => Some("weekly"),
                BudgetPeriod::Month => Some("monthly"),
                BudgetPeriod::Total => None,
            }),
            usage: amount(spent.total),
            usage_daily: amount(spent.daily),
            usage_weekly: amount(spent.weekly),
            usage_monthly: amount(spent.monthly),
            usage_nano: spent,
            limits,
            is_free_tier: false,
            currency: CURRENCY,
        },
    }))
}

/// Whose limits count for the requests of the key that asks, the narrowest first; the account's alone for a key that runs
/// none.
async fn limits_of(gateway: &Gateway, caller: &Caller) -> Result<Vec<LimitsInUse>, LedgerError> {
    let now_ms = now_ms();
    let view = |of, id: String, limits: &Limits, standing: &Standing| LimitsInUse {
        of,
        id,
        limits: limits::shown(limits),
        used: limits::used(limits, standing, now_ms),
    };
    let Caller { account, key } = caller;
    let mut all = Vec::new();
    if caller.only().is_some() {
        let standing = gateway.ledger.standing(account, &Whose::Key(key.jti.clone())).await?;
        all.push(view("key", key.jti.to_string(), &key.limits, &standing));
        if let Some(project) = &key.project {
            let (limits, standing) = gateway.limits_in_use(account, Some(project)).await?;
            all.push(view("project", project.to_string(), &limits, &standing));
        }
    }
    let (limits, standing) = gateway.limits_in_use(account, None).await?;
    all.push(view("account", account.to_string(), &limits, &standing));
    Ok(all)
}

/// The account's balance.
pub(super) async fn credits(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Json<Credits>, Failure> {
    let caller = gateway.caller(&headers).await?;
    Parameters::read(&uri, &[])?;
    let account = gateway.ledger.account(&caller.account).await.map_err(Failure::of_ledger)?;
    Ok(Json(Credits {
        data: CreditsData {
            total_credits: ton(i128::from(account.deposited.0) + i128::from(account.granted.0)),
            total_usage: ton(account.charged.0.into()),
            currency: CURRENCY,
            account: caller.account.to_string(),
            balance: account.balance,
            held: account.held,
            available: account.available(),
            deposited: account.deposited,
            granted: account.granted,
            charged: account.charged,
            withdrawing: account.withdrawing,
            withdrawn: account.withdrawn,
            topup: gateway.config.billing.topup(&caller.account, None),
        },
    }))
}
