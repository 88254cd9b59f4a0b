//! Who administers, and which account: a key of scope admin its own, one of scope operator the one that the request names.

use cocoon_openapi::{ApiError, ORGANIZATION_HEADER};
use cocoon_receipts::AccountId;
use http::HeaderMap;

use crate::accept::Gateway;
use crate::authenticate::{ApiKey, Scope};
use crate::error::Failure;

/// A request's administrator.
#[derive(Debug, Clone)]
pub struct Administrator {
    /// The account that is administered.
    pub account: AccountId,
    /// The key that asks.
    pub key: ApiKey,
}

/// Checks a request's key, and asks the ledger whether it is revoked: what an administrator does must end with his key.
///
/// # Errors
/// 401 for no good key, 403 for one that runs models, 503 where the ledger does not answer.
pub async fn administering_key(gateway: &Gateway, headers: &HeaderMap) -> Result<ApiKey, Failure> {
    let key = gateway.authenticate(headers)?;
    if key.scope == Scope::Inference {
        return Err(Failure::forbidden("This needs an admin key."));
    }
    let is_revoked = gateway.ledger.is_revoked(&key.sub, &key.jti).await;
    if is_revoked.map_err(|error| ledger_failure(&error))? {
        return Err(Failure::bad_key("it was revoked"));
    }
    Ok(key)
}

/// Who administers which account.
///
/// # Errors
/// Those of [`administering_key`], 403 for an admin key that names another account than its own, 400 where an operator's
/// names none.
pub async fn administrator(gateway: &Gateway, headers: &HeaderMap) -> Result<Administrator, Failure> {
    let key = administering_key(gateway, headers).await?;
    let named = named(headers)?;
    let account = match (key.scope, named) {
        (Scope::Operator, Some(account)) => account,
        (Scope::Operator, None) => {
            let message = format!("An operator's key needs '{ORGANIZATION_HEADER}': the account.");
            return Err(ApiError::invalid(message).with_param(ORGANIZATION_HEADER).into());
        }
        (_, Some(account)) if account != key.sub => {
            return Err(Failure::forbidden("This key administers another account."));
        }
        _ => key.sub.clone(),
    };
    Ok(Administrator { account, key })
}

/// The account that the request names, if it does.
fn named(headers: &HeaderMap) -> Result<Option<AccountId>, Failure> {
    let bad = || {
        ApiError::invalid(format!("'{ORGANIZATION_HEADER}' must be the name of one account."))
            .with_param(ORGANIZATION_HEADER)
    };
    let mut values = headers.get_all(ORGANIZATION_HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(bad().into());
    }
    let name = value.to_str().map_err(|_| bad())?;
    Ok(Some(name.parse().map_err(|_| bad())?))
}

/// What a client sees of a ledger that failed; the rest is logged.
pub(crate) fn ledger_failure(error: &cocoon_ledger::LedgerError) -> Failure {
    tracing::error!(%error, "ledger failed");
    match error {
        cocoon_ledger::LedgerError::Unavailable(_) => Failure::store_down(),
        _ => Failure::internal(),
    }
}
