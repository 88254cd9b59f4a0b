//! Who asks about an account, and about which: an operator's key names it in `OpenAI-Organization`, every other key has
//! one of its own and may name no other.

use cocoon_ledger::Refusal;
use cocoon_openapi::{ApiError, ORGANIZATION_HEADER};
use cocoon_receipts::{AccountId, KeyId};
use http::HeaderMap;

use crate::accept::Gateway;
use crate::authenticate::{self, ApiKey, Scope};
use crate::error::Failure;

/// A good key, and the account that it asks about.
#[derive(Debug, Clone)]
pub struct Caller {
    pub account: AccountId,
    pub key: ApiKey,
}

impl Caller {
    /// The one key whose usage and requests it may see; none: all of the account's.
    #[must_use]
    pub fn only(&self) -> Option<&KeyId> {
        (self.key.scope == Scope::Inference).then_some(&self.key.jti)
    }
}

impl Gateway {
    /// Who reads a bill.
    ///
    /// # Errors
    /// Those of [`Gateway::good_key`] and [`account_of`].
    pub async fn caller(&self, headers: &HeaderMap) -> Result<Caller, Failure> {
        let key = self.good_key(headers).await?;
        Ok(Caller { account: account_of(&key, headers)?, key })
    }

    /// Who administers.
    ///
    /// # Errors
    /// Those of [`Gateway::caller`], and 403 for a key that runs models.
    pub async fn administrator(&self, headers: &HeaderMap) -> Result<Caller, Failure> {
        let key = self.good_key(headers).await?;
        match key.scope {
            Scope::Inference => Err(Failure::forbidden("This needs an admin key.")),
            Scope::Admin | Scope::Operator => Ok(Caller { account: account_of(&key, headers)?, key }),
        }
    }

    /// An API key of ours that is not revoked, or a voucher: what its holder may do ends with it.
    ///
    /// # Errors
    /// 401 for any other; 503 where the ledger does not answer.
    pub async fn good_key(&self, headers: &HeaderMap) -> Result<ApiKey, Failure> {
        if let Some(voucher) = authenticate::voucher(headers)? {
            return self.channels()?.identify(&voucher).await;
        }
        let key = self.authenticate(headers)?;
        self.refuse_revoked(&key).await?;
        Ok(key)
    }

    /// # Errors
    /// 401 for a revoked key; 503 where the ledger does not answer.
    pub async fn refuse_revoked(&self, key: &ApiKey) -> Result<(), Failure> {
        match self.ledger.is_revoked(&key.sub, &key.jti).await.map_err(Failure::of_ledger)? {
            true => Err(Failure::refused(Refusal::Revoked)),
            false => Ok(()),
        }
    }
}

/// The account that a request with `key` is about.
///
/// # Errors
/// 401 as OpenAI answers where another is named than the key's; 400 for an operator's key without one, and for what is
/// not the name of one account.
fn account_of(key: &ApiKey, headers: &HeaderMap) -> Result<AccountId, Failure> {
    match (key.scope, named(headers)?) {
        (Scope::Operator, Some(account)) => Ok(account),
        (Scope::Operator, None) => {
            let message = "An operator's key names the account in the header 'OpenAI-Organization'.";
            Err(ApiError::invalid(message).with_param(ORGANIZATION_HEADER).into())
        }
        (_, Some(account)) if account != key.sub => Err(Failure::mismatched_organization()),
        _ => Ok(key.sub.clone()),
    }
}

fn named(headers: &HeaderMap) -> Result<Option<AccountId>, Failure> {
    let mut values = headers.get_all(ORGANIZATION_HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let account = value.to_str().ok().and_then(|text| text.parse().ok()).filter(|_| values.next().is_none());
    account.map(Some).ok_or_else(|| {
        let message = "'OpenAI-Organization' must be the name of one account.";
        ApiError::invalid(message).with_param(ORGANIZATION_HEADER).into()
    })
}

#[cfg(test)]
mod tests {
    use cocoon_ledger::Limits;

    use super::*;

    fn asks(scope: Scope, named: &[&'static str]) -> Result<(String, bool), u16> {
        let key = ApiKey {
            iss: "cocoon".into(),
            sub: "alice".parse().unwrap(),
            jti: "k1".parse().unwrap(),
            iat: 1,
            exp: None,
            project: None,
            models: None,
            sealed_only: false,
            scope,
            limits: Limits::default(),
        };
        let mut headers = HeaderMap::new();
        for name in named {
            headers.append(ORGANIZATION_HEADER, http::HeaderValue::from_static(name));
        }
        let account = account_of(&key, &headers).map_err(|failure| failure.api.status)?;
        let caller = Caller { account, key };
        Ok((caller.account.to_string(), caller.only().is_some()))
    }

    #[test]
    fn a_key_sees_its_own_and_only_an_operators_any_account() {
        assert_eq!(asks(Scope::Inference, &[]), Ok(("alice".into(), true)));
        assert_eq!(asks(Scope::Inference, &["alice"]), Ok(("alice".into(), true)));
        assert_eq!(asks(Scope::Inference, &["bob"]), Err(401));
        assert_eq!(asks(Scope::Admin, &[]), Ok(("alice".into(), false)));
        assert_eq!(asks(Scope::Admin, &["bob"]), Err(401));
        assert_eq!(asks(Scope::Operator, &["bob"]), Ok(("bob".into(), false)));
        assert_eq!(asks(Scope::Operator, &[]), Err(400));
        for unclear in [&["bob", "carol"][..], &["not a name"], &[""]] {
            assert_eq!(asks(Scope::Operator, unclear), Err(400), "{unclear:?}");
        }
    }
}
