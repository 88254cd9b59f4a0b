//! One token of NVIDIA's attestation service: signed, of the service, and of now.

use jsonwebtoken::{Algorithm, DecodingKey, Validation};

use super::claims::Claims;
use super::keys::{KeyError, Keys};
use crate::verify::shown;

/// Longest token that is read, bytes; one over eight GPUs has 1,800.
const MAX_TOKEN: usize = 16 << 10;
/// Longest name of a key, bytes.
const MAX_KID: usize = 200;
const ISSUER: &str = "https://nras.attestation.nvidia.com";
/// How far the service's clock may be ahead of ours, seconds. It is asked only for when a token begins: one that has ended
/// has ended.
const MAX_SKEW_S: u64 = 60;

/// Why a token is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum TokenError {
    #[error("not a token of the form that is known here")]
    Malformed,
    #[error("not signed with ES384")]
    Algorithm,
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("its signature is not of its key")]
    Signature,
    #[error("its claims are not of the form that is known here")]
    Claims,
    #[error("not issued by {ISSUER}")]
    Issuer,
    #[error("its key was not certified when it was issued, at {}", shown(*.0))]
    Certified(u64),
    #[error("valid from {} to {}", shown(*.0), shown(*.1))]
    Dates(u64, u64),
    #[error("issued at {}, longer ago than {} seconds", shown(*.0), .1)]
    Age(u64, u64),
}

/// What a token says, and until when it stands, milliseconds since 1970.
#[derive(Debug)]
pub(super) struct Verified {
    pub(super) claims: Claims,
    pub(super) until: u64,
}

/// Verifies a token that must not be older than `max_age_s` seconds.
pub(super) fn verify(
    token: &str,
    keys: &mut Keys<'_>,
    now_ms: u64,
    max_age_s: u64,
) -> Result<Verified, TokenError> {
    if token.len() > MAX_TOKEN {
        return Err(TokenError::Malformed);
    }
    let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
    if header.alg != Algorithm::ES384 {
        return Err(TokenError::Algorithm);
    }
    let kid = header.kid.filter(|kid| kid.len() <= MAX_KID).ok_or(TokenError::Malformed)?;
    let key = keys.get(&kid)?;
    let claims = signed(token, &key.point)?;
    if claims.iss != ISSUER {
        return Err(TokenError::Issuer);
    }
    let [issued, begins, ends] = [claims.iat, claims.nbf, claims.exp].map(|time| time.saturating_mul(1000));
    if !(key.from..=key.until).contains(&issued) {
        return Err(TokenError::Certified(issued));
    }
    let soon = now_ms.saturating_add(MAX_SKEW_S * 1000);
    if now_ms >= ends || soon < begins || soon < issued {
        return Err(TokenError::Dates(begins.max(issued), ends));
    }
    let stale = issued.saturating_add(max_age_s.saturating_mul(1000));
    if now_ms > stale {
        return Err(TokenError::Age(issued, max_age_s));
    }
    Ok(Verified { claims, until: ends.min(stale) })
}

/// The claims of a token that the key at `point` signed. Its times are judged above, by the caller's clock.
fn signed(token: &str, point: &[u8]) -> Result<Claims, TokenError> {
    let mut validation = Validation::new(Algorithm::ES384);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    let data = jsonwebtoken::decode::<Claims>(token, &DecodingKey::from_ec_der(point), &validation).map_err(
        |error| {
            use jsonwebtoken::errors::ErrorKind;
            match error.kind() {
                ErrorKind::InvalidSignature => TokenError::Signature,
                ErrorKind::Json(_) => TokenError::Claims,
                _ => TokenError::Malformed,
            }
        },
    )?;
    Ok(data.claims)
}
