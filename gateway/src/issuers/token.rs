//! One token of an issuer (RFC 7519): signed by the key it names, from that issuer, for us, of now.

use cocoon_receipts::{AccountId, Digest, KeyId, ProjectId};
use jsonwebtoken::Validation;
use jsonwebtoken::errors::ErrorKind;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::ACCOUNT_PREFIX;
use super::config::IssuerConfig;
use super::keys::{IssuerKey, MAX_KID};
use crate::authenticate::{ApiKey, LEEWAY, Scope};

/// Longest account of an issuer that is used, bytes, before it is hashed.
const MAX_SUBJECT: usize = 1024;
/// Before the digest of an account that cannot be a name.
const HASHED: &str = "sha256-";
/// With prefix and separators such an account still is a name.
const MAX_PLAIN: usize = 64;

/// Why a token is refused. None quotes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum TokenError {
    #[error("it is malformed")]
    Malformed,
    #[error("its key is not known")]
    UnknownKey,
    #[error("its key does not sign in this way")]
    Algorithm,
    #[error("its signature does not verify")]
    Signature,
    #[error("it is of another issuer")]
    Issuer,
    #[error("it is for another audience")]
    Audience,
    #[error("it has no end")]
    NoEnd,
    #[error("it has expired")]
    Expired,
    #[error("it is not valid yet")]
    NotYet,
    #[error("it does not say who pays")]
    Account,
    #[error("its project is not the name of one")]
    Project,
}

/// The issuer that a token says it is of; nothing of that is checked.
pub(super) fn named_issuer(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        iss: String,
    }
    jsonwebtoken::dangerous::insecure_decode_claims::<Named>(token).ok().map(|named| named.iss)
}

/// The key that it says it is signed with.
///
/// # Errors
/// [`TokenError::Malformed`], also where it has extensions that must be understood (RFC 7515 section 4.1.11).
pub(super) fn kid(token: &str) -> Result<String, TokenError> {
    let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
    if header.crit.is_some() {
        return Err(TokenError::Malformed);
    }
    header.kid.filter(|kid| !kid.is_empty() && kid.len() <= MAX_KID).ok_or(TokenError::Malformed)
}

/// Verifies a token with its key; `now` in seconds since 1970.
///
/// # Errors
/// [`TokenError`].
pub(super) fn verify(
    token: &str,
    key: &IssuerKey,
    config: &IssuerConfig,
    now: u64,
) -> Result<ApiKey, TokenError> {
    let mut validation = Validation::default();
    // The key's, whatever the token says.
    validation.algorithms.clone_from(&key.algorithms);
    validation.set_audience(&[&config.audience]);
    validation.set_required_spec_claims(&["aud"]);
    // Judged below, by the caller's clock.
    validation.validate_exp = false;
    let data = jsonwebtoken::decode::<Map<String, Value>>(token, &key.decoding, &validation);
    let claims = data.map_err(|error| refusal(error.kind()))?.claims;
    // The issuer is one text: a list that contains it is not it.
    if claims.get("iss").and_then(Value::as_str) != Some(&config.issuer) {
        return Err(TokenError::Issuer);
    }
    let (issued, ends) = check_times(&claims, now)?;
    let who = text(&claims, &config.account_claim).ok_or(TokenError::Account)?;
    let project: Option<ProjectId> = match &config.project_claim {
        None => None,
        Some(claim) if !claims.contains_key(claim) => None,
        Some(claim) => {
            let project = text(&claims, claim).and_then(|project| project.parse().ok());
            Some(project.ok_or(TokenError::Project)?)
        }
    };
    Ok(ApiKey {
        iss: config.issuer.clone(),
        sub: account(&config.name, who)?,
        jti: key_id(&config.name, who)?,
        iat: issued,
        exp: Some(ends),
        project,
        models: config.models.clone(),
        sealed_only: false,
        scope: Scope::Inference,
        limits: config.limits,
    })
}

fn refusal(kind: &ErrorKind) -> TokenError {
    match kind {
        ErrorKind::InvalidSignature => TokenError::Signature,
        ErrorKind::InvalidAlgorithm => TokenError::Algorithm,
        ErrorKind::InvalidAudience => TokenError::Audience,
        ErrorKind::MissingRequiredClaim(claim) if claim == "aud" => TokenError::Audience,
        _ => TokenError::Malformed,
    }
}

/// When the token was issued (0 where it does not say) and when it ends, seconds since 1970. The issuer's clock may be
/// [`LEEWAY`] away from ours.
fn check_times(claims: &Map<String, Value>, now: u64) -> Result<(u64, u64), TokenError> {
    // Times may have fractions (RFC 7519 section 2).
    let time = |name: &str| match claims.get(name) {
        None => Ok(None),
        Some(value) => match value.as_f64() {
            Some(seconds) if (0.0..1e12).contains(&seconds) => Ok(Some(seconds as u64)),
            _ => Err(TokenError::Malformed),
        },
    };
    let ends = time("exp")?.ok_or(TokenError::NoEnd)?;
    if ends + LEEWAY <= now {
        return Err(TokenError::Expired);
    }
    let issued = time("iat")?;
    for begins in [issued, time("nbf")?].into_iter().flatten() {
        if begins > now + LEEWAY {
            return Err(TokenError::NotYet);
        }
    }
    Ok((issued.unwrap_or(0), ends))
}

fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    claims.get(name)?.as_str().filter(|text| !text.is_empty() && text.len() <= MAX_SUBJECT)
}

/// `iss:<name>:<who>`; who cannot stand in a name, or could be taken for a digest, stands there as a digest.
fn account(issuer: &str, who: &str) -> Result<AccountId, TokenError> {
    let plain = who.len() <= MAX_PLAIN && !who.starts_with(HASHED) && who.parse::<AccountId>().is_ok();
    let name = if plain {
        format!("{ACCOUNT_PREFIX}{issuer}:{who}")
    } else {
        format!("{ACCOUNT_PREFIX}{issuer}:{HASHED}{}", Digest::of(&[who.as_bytes()]))
    };
    name.parse().map_err(|_| TokenError::Account)
}

/// One for all tokens of an account: what is counted per key would begin anew with every token otherwise.
fn key_id(issuer: &str, who: &str) -> Result<KeyId, TokenError> {
    let digest = Digest::of(&[issuer.as_bytes(), b"\0", who.as_bytes()]);
    format!("{ACCOUNT_PREFIX}{digest}").parse().map_err(|_| TokenError::Account)
}
