//! Step 2: who asks. An API key is a JWT that any gateway checks without I/O; revocation and limits are the ledger's.

pub use cocoon_ledger::KeyScope as Scope;
use cocoon_ledger::Limits;
use cocoon_receipts::{API_KEY_PREFIX, AccountId, KeyId, ProjectId, SigningKey, VerifyingKey, jws};
use cocoon_ton::{VOUCHER_TOKEN_PREFIX, VoucherToken};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde::{Deserialize, Serialize};

use crate::error::Failure;

/// `typ` of an API key's JWS.
const KEY_TYPE: &str = "cocoon-key+jwt";
/// How far this machine's clock may be behind the one that issued a key, seconds.
pub(crate) const LEEWAY: u64 = 60;

/// Claims of an API key (`docs/LEDGER.md`, "Keys").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// The deployment.
    pub iss: String,
    /// The account that pays.
    pub sub: AccountId,
    pub jti: KeyId,
    /// Seconds since 1970.
    pub iat: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exp: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectId>,
    /// Models it may use; all where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<String>>,
    /// Refused where the gateway could read the body.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sealed_only: bool,
    #[serde(default, skip_serializing_if = "is_inference")]
    pub scope: Scope,
    /// What it may use at most; the ledger counts.
    #[serde(flatten)]
    pub limits: Limits,
}

fn is_inference(scope: &Scope) -> bool {
    *scope == Scope::Inference
}

impl ApiKey {
    /// The text a client gets, once.
    ///
    /// # Errors
    /// [`jws::JwsError::Sign`].
    pub fn issue(&self, key: &SigningKey) -> Result<String, jws::JwsError> {
        Ok(format!("{API_KEY_PREFIX}{}", jws::sign(KEY_TYPE, key, self)?))
    }
}

/// The bearer token of a request, without our prefix; not checked.
///
/// # Errors
/// 401 where there is not exactly one.
pub fn bearer(headers: &HeaderMap) -> Result<&str, Failure> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or_else(Failure::no_key)?;
    if values.next().is_some() {
        return Err(Failure::bad_key("more than one Authorization header"));
    }
    let text = value.to_str().map_err(|_| Failure::bad_key("it is not plain text"))?;
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    if !scheme.eq_ignore_ascii_case("bearer") || token.trim().is_empty() {
        return Err(Failure::no_key());
    }
    let token = token.trim();
    Ok(token.strip_prefix(API_KEY_PREFIX).unwrap_or(token))
}

/// The voucher that a request brings in place of an API key; none where it brings something else. Nothing of it is verified.
///
/// # Errors
/// 401 where there is not exactly one token, and for what only begins like a voucher.
pub fn voucher(headers: &HeaderMap) -> Result<Option<VoucherToken>, Failure> {
    let token = bearer(headers)?;
    if !token.starts_with(VOUCHER_TOKEN_PREFIX) {
        return Ok(None);
    }
    token.parse().map(Some).map_err(|_| Failure::bad_key("the voucher is malformed"))
}

/// Checks the bearer token of a request; `now` in seconds since 1970.
///
/// # Errors
/// 401, whatever is wrong with it.
pub fn authenticate(
    headers: &HeaderMap,
    keys: &[VerifyingKey],
    issuer: &str,
    now: u64,
) -> Result<ApiKey, Failure> {
    let token = bearer(headers)?;
    let key: ApiKey = jws::verify(KEY_TYPE, token, keys).map_err(|error| match error {
        jws::JwsError::UnknownKey | jws::JwsError::Signature => {
            Failure::bad_key("it was not issued by this deployment")
        }
        _ => Failure::bad_key("it is malformed"),
    })?;
    if key.iss != issuer {
        return Err(Failure::bad_key("it was not issued by this deployment"));
    }
    if key.iat > now + LEEWAY {
        return Err(Failure::bad_key("it is not valid yet"));
    }
    if key.exp.is_some_and(|exp| exp <= now) {
        return Err(Failure::bad_key("it has expired"));
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use cocoon_ledger::{Budget, Period};
    use cocoon_receipts::NanoTon;

    use super::*;

    const NOW: u64 = 1_000_000;

    fn key() -> ApiKey {
        ApiKey {
            iss: "cocoon".into(),
            sub: "alice".parse().unwrap(),
            jti: "k1".parse().unwrap(),
            iat: NOW,
            exp: Some(NOW + 1),
            project: None,
            models: None,
            sealed_only: false,
            scope: Scope::Inference,
            limits: Limits::default(),
        }
    }

    fn check(header: Option<&str>, signer: &SigningKey) -> Result<ApiKey, (u16, Option<String>)> {
        let mut headers = HeaderMap::new();
        if let Some(text) = header {
            headers.insert(AUTHORIZATION, text.parse().unwrap());
        }
        authenticate(&headers, &[signer.public().clone()], "cocoon", NOW)
            .map_err(|failure| (failure.api.status, failure.api.body.error.code))
    }

    #[test]
    fn a_key_is_good_with_and_without_its_prefix() {
        let signer = SigningKey::generate().unwrap();
        let text = key().issue(&signer).unwrap();
        assert_eq!(check(Some(&format!("Bearer {text}")), &signer), Ok(key()));
        let bare = text.strip_prefix(API_KEY_PREFIX).unwrap();
        assert_eq!(check(Some(&format!("bearer  {bare}")), &signer), Ok(key()));
    }

    #[test]
    fn limits_are_claims_of_their_own_and_no_other_claim_is_taken() {
        let claims = |rest: &str| {
            let text = format!(r#"{{"iss":"c","sub":"a","jti":"k","iat":1{rest}}}"#);
            serde_json::from_str::<ApiKey>(&text).map(|key| key.limits)
        };
        assert_eq!(claims("").unwrap(), Limits::default());
        let limits = claims(r#","rpm":3,"tpm":500,"concurrency":2,"budget":{"amount":"70","period":"week"}"#);
        let budget = Budget { amount: NanoTon(70), period: Period::Week };
        let expected = Limits { rpm: Some(3), tpm: Some(500), concurrency: Some(2), budget: Some(budget) };
        assert_eq!(limits.unwrap(), expected);
        assert!(claims(r#","rpn":3"#).is_err());
    }

    #[test]
    fn every_other_key_is_401() {
        let (signer, stranger) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
        let issued = |change: fn(&mut ApiKey)| {
            let mut key = key();
            change(&mut key);
            format!("Bearer {}", key.issue(&signer).unwrap())
        };
        let invalid = Err((401, Some("invalid_api_key".to_owned())));
        assert_eq!(check(None, &signer), Err((401, None)));
        assert_eq!(check(Some("Basic dXNlcg=="), &signer), Err((401, None)));
        assert_eq!(check(Some("Bearer "), &signer), Err((401, None)));
        assert_eq!(check(Some("Bearer sk-proj-1234"), &signer), invalid);
        assert_eq!(check(Some(&issued(|key| key.exp = Some(NOW))), &signer), invalid);
        assert_eq!(check(Some(&issued(|key| key.iat = NOW + LEEWAY + 1)), &signer), invalid);
        assert_eq!(check(Some(&issued(|key| key.iss = "other".into())), &signer), invalid);
        assert_eq!(check(Some(&issued(|_| ())), &stranger), invalid);
        // A ticket is signed by the same kind of key and is no API key.
        let other_type = jws::sign("cocoon-ticket+jwt", &signer, &key()).unwrap();
        assert_eq!(check(Some(&format!("Bearer {other_type}")), &signer), invalid);
    }
}
