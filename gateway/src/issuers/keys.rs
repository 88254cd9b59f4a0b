//! An issuer's keys, each with what it may sign with: its own kind decides that, and the configuration, never a token.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use cocoon_process::FetchError;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use super::config::IssuerConfig;

/// Longest `kid`, bytes.
pub(super) const MAX_KID: usize = 256;

/// Why there are no new keys of an issuer.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeysError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("its answer is not a set of keys: {0}")]
    NotKeys(#[from] serde_json::Error),
    #[error("none of its keys can be used with the configured algorithms")]
    NoKeys,
}

/// A key that tokens are verified with.
#[derive(Debug, Clone)]
pub(super) struct IssuerKey {
    /// At least one.
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) decoding: DecodingKey,
}

/// By `kid`.
pub(super) type IssuerKeys = BTreeMap<String, IssuerKey>;

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

/// Reads a set (RFC 7517 section 5). Keys that are of no use here are passed over, as it says; so are those that share a
/// `kid`, because a token could mean either.
///
/// # Errors
/// [`KeysError::NotKeys`], [`KeysError::NoKeys`].
pub(super) fn read(bytes: &[u8], config: &IssuerConfig) -> Result<IssuerKeys, KeysError> {
    let set: Set = serde_json::from_slice(bytes)?;
    let mut keys: BTreeMap<String, Option<IssuerKey>> = BTreeMap::new();
    for value in set.keys {
        let Some((kid, key)) = usable(value, config) else { continue };
        match keys.entry(kid) {
            Entry::Vacant(place) => drop(place.insert(Some(key))),
            Entry::Occupied(mut place) => drop(place.insert(None)),
        }
    }
    let keys: IssuerKeys = keys.into_iter().filter_map(|(kid, key)| Some((kid, key?))).collect();
    if keys.is_empty() { Err(KeysError::NoKeys) } else { Ok(keys) }
}

fn usable(value: Value, config: &IssuerConfig) -> Option<(String, IssuerKey)> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    let kid = jwk.common.key_id.clone().filter(|kid| !kid.is_empty() && kid.len() <= MAX_KID)?;
    if jwk.common.public_key_use.as_ref().is_some_and(|purpose| *purpose != PublicKeyUse::Signature) {
        return None;
    }
    // A symmetric key (`oct`) in a public set is a secret for everyone: no kind of it is here.
    let of_kind: &[Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => &[Algorithm::RS256, Algorithm::PS256],
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => &[Algorithm::ES256],
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => &[Algorithm::EdDSA],
        _ => return None,
    };
    // A key that names its algorithm has no other.
    let own = match jwk.common.key_algorithm {
        None => None,
        Some(named) => Some(Algorithm::try_from(named).ok()?),
    };
    let configured = |algorithm: &Algorithm| {
        config.algorithms.iter().any(|configured| configured.algorithm() == *algorithm)
    };
    let algorithms: Vec<Algorithm> = of_kind
        .iter()
        .copied()
        .filter(configured)
        .filter(|algorithm| own.is_none_or(|own| own == *algorithm))
        .collect();
    let decoding = DecodingKey::from_jwk(&jwk).ok()?;
    (!algorithms.is_empty()).then_some((kid, IssuerKey { algorithms, decoding }))
}
