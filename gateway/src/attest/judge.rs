//! Judges a document under the policy, and reads out of it what a backend is sent to with.

use std::net::IpAddr;

use cocoon_attestation::{Document, Keyset, Nonce, Policy};
use cocoon_sealing::{Kem, PublicKey};

use super::AttestError;
use crate::route::Attested;

/// The verdict on `document`, which was asked for with `nonce`.
///
/// # Errors
/// [`AttestError::NoDocument`], [`AttestError::Refused`] or [`AttestError::Keys`].
pub fn judge(
    policy: &Policy,
    document: &[u8],
    nonce: Nonce,
    now_ms: u64,
    loopback: bool,
) -> Result<Attested, AttestError> {
    // The parser's own words may repeat the document's.
    let document: Document = serde_json::from_slice(document)
        .map_err(|error| AttestError::NoDocument(format!("at byte {} of its JSON", error.column())))?;
    let verdict = policy.verify(&document, nonce, now_ms, loopback)?;
    let keys = usable_keys(&verdict.keyset)?;
    let receipt_key = verdict.keyset.receipt_key().map_err(|_| AttestError::Keys)?;
    Ok(Attested { verdict, policy: policy.digest(), keys, receipt_key })
}

/// The keys of every KEM that is known here, X25519 first. One that is listed and cannot be used is an error: to go on
/// with the others would be a quiet step back.
fn usable_keys(keyset: &Keyset) -> Result<Vec<(u8, PublicKey)>, AttestError> {
    let mut keys = Vec::new();
    for kem in Kem::ALL {
        for key in keyset.hpke.iter().filter(|key| key.kem == kem.id()) {
            let bytes = key.bytes().ok_or(AttestError::Keys)?;
            keys.push((key.key_id, PublicKey::new(kem, &bytes).map_err(|_| AttestError::Keys)?));
        }
    }
    match keys.first() {
        Some((_, first)) if first.kem() == Kem::X25519 => Ok(keys),
        _ => Err(AttestError::Keys),
    }
}

/// Whether `host` is a loopback address. Names are not: what they resolve to can change.
#[must_use]
pub fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
