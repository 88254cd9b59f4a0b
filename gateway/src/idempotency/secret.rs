//! What a caller's token and idempotency key are turned into, so that neither reaches the store.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hkdf, hmac};
use cocoon_receipts::Digest;
use zeroize::Zeroizing;

use cocoon_openapi::Endpoint;

const SALT: &[u8] = b"cocoon/idempotency/v1";
const ID: &[u8] = b"id";
const FINGERPRINT: &[u8] = b"fingerprint";
const ANSWER: &[u8] = b"answer";

/// One per (token, key). A token is signed, so nobody guesses it from what the store has.
pub(super) struct Secret {
    id: Digest,
    fingerprint: hmac::Key,
    answer: LessSafeKey,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

struct Bytes32;

impl hkdf::KeyType for Bytes32 {
    fn len(&self) -> usize {
        32
    }
}

impl Secret {
    pub(super) fn new(token: &str, key: &str) -> Option<Self> {
        let length = u32::try_from(token.len()).ok()?.to_be_bytes();
        let both = Zeroizing::new([&length, token.as_bytes(), key.as_bytes()].concat());
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, SALT).extract(&both);
        let derive = |label: &[u8]| {
            let mut bytes = Zeroizing::new([0; 32]);
            prk.expand(&[label], Bytes32).and_then(|okm| okm.fill(bytes.as_mut())).ok()?;
            Some(bytes)
        };
        Some(Self {
            id: Digest(*derive(ID)?),
            fingerprint: hmac::Key::new(hmac::HMAC_SHA256, derive(FINGERPRINT)?.as_ref()),
            answer: LessSafeKey::new(UnboundKey::new(&AES_256_GCM, derive(ANSWER)?.as_ref()).ok()?),
        })
    }

    /// What the store looks it up by.
    pub(super) fn id(&self) -> Digest {
        self.id
    }

    /// Differs where endpoint or body do. Keyed: without the secret, no guess at a prompt can be checked against it.
    pub(super) fn fingerprint(&self, endpoint: Endpoint, body: &[u8]) -> Digest {
        let mut mac = hmac::Context::with_key(&self.fingerprint);
        mac.update(endpoint.path().as_bytes());
        mac.update(&[0]);
        mac.update(body);
        let mut digest = [0; 32];
        digest.copy_from_slice(mac.sign().as_ref());
        Digest(digest)
    }

    /// Nonce, ciphertext and tag; bound to its request.
    pub(super) fn seal(&self, fingerprint: &Digest, mut plain: Vec<u8>) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        aws_lc_rs::rand::fill(&mut nonce).ok()?;
        let aad = Aad::from(fingerprint.0);
        self.answer.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut plain).ok()?;
        Some([nonce.as_slice(), &plain].concat())
    }

    pub(super) fn open(&self, fingerprint: &Digest, mut sealed: Vec<u8>) -> Option<Vec<u8>> {
        let (nonce, ciphertext) = sealed.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let plain = self.answer.open_in_place(nonce, Aad::from(fingerprint.0), ciphertext).ok()?;
        Some(plain.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_derived_differs_by_token_key_and_purpose() {
        let secret = |token, key| Secret::new(token, key).unwrap();
        let ids = [("token", "key"), ("token", "kez"), ("tokem", "key"), ("tokenk", "ey")]
            .map(|(token, key)| secret(token, key).id());
        for (at, id) in ids.iter().enumerate() {
            assert!(!ids[..at].contains(id), "{at}");
        }
        assert_eq!(secret("token", "key").id(), ids[0]);
        let one = secret("token", "key");
        let other = secret("token", "kez");
        assert_ne!(
            one.fingerprint(Endpoint::Responses, b"{}"),
            other.fingerprint(Endpoint::Responses, b"{}"),
            "a guess at a body cannot be checked without the secret"
        );
        assert_ne!(
            one.fingerprint(Endpoint::Completions, b"{}"),
            one.fingerprint(Endpoint::ChatCompletions, b"{}")
        );
        assert_ne!(one.fingerprint(Endpoint::Responses, b"{}"), one.fingerprint(Endpoint::Responses, b"{ }"));
    }

    #[test]
    fn an_answer_opens_under_its_own_secret_and_request_only() {
        let (one, other) = (Secret::new("token", "key").unwrap(), Secret::new("token", "kez").unwrap());
        let (request, another) = (Digest([1; 32]), Digest([2; 32]));
        let sealed = one.seal(&request, b"an answer".to_vec()).unwrap();
        assert!(!sealed.windows(6).any(|window| window == b"answer"));
        assert_ne!(sealed, one.seal(&request, b"an answer".to_vec()).unwrap());
        assert_eq!(one.open(&request, sealed.clone()).as_deref(), Some(b"an answer".as_slice()));
        assert_eq!(one.open(&another, sealed.clone()), None);
        assert_eq!(other.open(&request, sealed.clone()), None);
        assert_eq!(one.open(&request, sealed[..NONCE_LEN - 1].to_vec()), None);
    }
}
