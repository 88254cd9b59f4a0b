//! Who reads a bill, and whose.

use cocoon_ledger::Refusal;
use cocoon_openapi::ApiError;
use cocoon_openapi::billing::ORGANIZATION_HEADER;
use cocoon_receipts::{AccountId, KeyId};
use http::HeaderMap;

use crate::accept::Gateway;
use crate::authenticate::{ApiKey, Scope};
use crate::billing::ledger_failed;
use crate::error::Failure;

/// A good key, and what of the ledger it may see.
#[derive(Debug, Clone)]
pub struct Reader {
    /// Whose bill is read.
    pub account: AccountId,
    /// This key's usage and requests alone; none: all of the account's.
    pub only: Option<KeyId>,
    /// The key that asks.
    pub key: ApiKey,
}

impl Gateway {
    /// The key of a request that reads a bill. An inference key sees its own usage, an account's key all of the account, an
    /// operator's the account that `OpenAI-Organization` names.
    ///
    /// # Errors
    /// 401 for a key that is not good or is revoked, and where another account is named than the key's; 400 for an
    /// operator's key without one; 503 where the ledger cannot say.
    pub async fn reader(&self, headers: &HeaderMap) -> Result<Reader, Failure> {
        let key = self.authenticate(headers)?;
        if self.ledger.is_revoked(&key.sub, &key.jti).await.map_err(ledger_failed)? {
            return Err(Failure::refused(Refusal::Revoked));
        }
        choose(key, headers)
    }
}

fn choose(key: ApiKey, headers: &HeaderMap) -> Result<Reader, Failure> {
    let named = organization(headers)?;
    let account = match (key.scope, named) {
        (Scope::Operator, Some(account)) => account,
        (Scope::Operator, None) => {
            let message = "An operator's key names the account in the header 'OpenAI-Organization'.";
            return Err(ApiError::invalid(message).with_param(ORGANIZATION_HEADER).into());
        }
        (_, Some(account)) if account != key.sub => {
            let message = "OpenAI-Organization header should match organization for API key.";
            let mismatch =
                ApiError::new(401, "invalid_request_error", Some("mismatched_organization"), message);
            return Err(mismatch.into());
        }
        _ => key.sub.clone(),
    };
    let only = (key.scope == Scope::Inference).then(|| key.jti.clone());
    Ok(Reader { account, only, key })
}

fn organization(headers: &HeaderMap) -> Result<Option<AccountId>, Failure> {
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

    fn chosen(scope: Scope, named: &[&'static str]) -> Result<(String, bool), u16> {
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
        choose(key, &headers)
            .map(|reader| (reader.account.to_string(), reader.only.is_some()))
            .map_err(|failure| failure.api.status)
    }

    #[test]
    fn a_key_sees_its_own_and_only_an_operators_any_account() {
        assert_eq!(chosen(Scope::Inference, &[]), Ok(("alice".into(), true)));
        assert_eq!(chosen(Scope::Inference, &["alice"]), Ok(("alice".into(), true)));
        assert_eq!(chosen(Scope::Inference, &["bob"]), Err(401));
        assert_eq!(chosen(Scope::Admin, &[]), Ok(("alice".into(), false)));
        assert_eq!(chosen(Scope::Admin, &["bob"]), Err(401));
        assert_eq!(chosen(Scope::Operator, &["bob"]), Ok(("bob".into(), false)));
        assert_eq!(chosen(Scope::Operator, &[]), Err(400));
        for unclear in [&["bob", "carol"][..], &["not a name"], &[""]] {
            assert_eq!(chosen(Scope::Operator, unclear), Err(400), "{unclear:?}");
        }
    }
}
