//! The ticket: what a gateway promises a backend for one attempt at one request.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::jws::{self, JwsError, SigningKey, VerifyingKey};
use crate::{AccountId, Digest, KeyId, NanoTon, Price, ProjectId, RequestId};

/// `typ` of a ticket's JWS.
pub const TICKET_TYPE: &str = "cocoon-ticket+jwt";

/// Claims of a ticket (`docs/PROTOCOL.md`, "Tickets").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ticket {
    pub req: RequestId,
    /// Counts from 1; a new attempt supersedes the old one.
    pub attempt: u32,
    /// Keyset of the one backend that may serve it.
    pub keyset: Digest,
    /// SHA-256 of the decoded encapsulated key of the one ciphertext it is for.
    pub enc: Digest,
    /// [`AccountTagKey::tag`](crate::AccountTagKey::tag) of that ciphertext's encapsulated key.
    pub acct: Digest,
    pub path: String,
    pub model: String,
    pub price: Price,
    /// The hold. The backend ends the generation before its cost passes this.
    pub max_cost: NanoTon,
    /// Seconds since 1970 after which a backend no longer admits it.
    pub exp: u64,
    /// [`Payer`], readable to the deployment's gateways only.
    #[serde(rename = "priv")]
    pub payer: SealedPayer,
}

impl Ticket {
    /// # Errors
    /// [`JwsError::Sign`].
    pub fn sign(&self, key: &SigningKey) -> Result<String, JwsError> {
        jws::sign(TICKET_TYPE, key, self)
    }

    /// A ticket signed by one of `keys`. Its `exp` is not judged: a backend does at admission, and at settlement
    /// it is long past.
    ///
    /// # Errors
    /// Every other token.
    pub fn verify<'k>(
        token: &str,
        keys: impl IntoIterator<Item = &'k VerifyingKey>,
    ) -> Result<Self, JwsError> {
        jws::verify(TICKET_TYPE, token, keys)
    }
}

/// Who pays, from which hold: all that a gateway needs to settle from ticket and receipt alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payer {
    pub account: AccountId,
    pub key: KeyId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectId>,
    /// Ledger shard of the account.
    pub shard: u16,
}

/// [`Payer`] under the deployment's key, base64url.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SealedPayer(String);

/// The 32-byte key that all gateways of a deployment share.
pub struct DeploymentKey(Zeroizing<[u8; 32]>);

impl std::fmt::Debug for DeploymentKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DeploymentKey")
    }
}

const PAYER_INFO: &[u8] = b"cocoon/ticket-priv/v1";
const SALT: usize = 16;

impl DeploymentKey {
    /// # Errors
    /// [`JwsError::Key`] where the system has no randomness.
    pub fn generate() -> Result<Self, JwsError> {
        let mut bytes = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(bytes.as_mut()).map_err(|_| JwsError::Key)?;
        Ok(Self(bytes))
    }

    /// From the 64 hexadecimal characters of its file.
    ///
    /// # Errors
    /// [`JwsError::Key`].
    pub fn from_hex(text: &str) -> Result<Self, JwsError> {
        let mut bytes = Zeroizing::new([0; 32]);
        hex::decode_to_slice(text.trim(), bytes.as_mut()).map_err(|_| JwsError::Key)?;
        Ok(Self(bytes))
    }

    #[must_use]
    pub fn to_hex(&self) -> Zeroizing<String> {
        Zeroizing::new(hex::encode(self.0.as_ref()))
    }

    /// Seals `payer` for the ticket of `request`: it opens in no other.
    ///
    /// # Errors
    /// [`JwsError::Sign`].
    pub fn seal(&self, payer: &Payer, request: RequestId) -> Result<SealedPayer, JwsError> {
        let mut salt = [0; SALT];
        aws_lc_rs::rand::fill(&mut salt).map_err(|_| JwsError::Sign)?;
        let mut sealed = serde_json::to_vec(payer).map_err(|_| JwsError::Sign)?;
        self.key_for(&salt)
            .and_then(|key| {
                let aad = Aad::from(request.to_string().into_bytes());
                key.seal_in_place_append_tag(zero_nonce(), aad, &mut sealed).ok()
            })
            .ok_or(JwsError::Sign)?;
        Ok(SealedPayer(URL_SAFE_NO_PAD.encode([salt.as_slice(), &sealed].concat())))
    }

    /// # Errors
    /// [`JwsError::Claims`] where it was sealed for another request or under another key, or was changed.
    pub fn open(&self, sealed: &SealedPayer, request: RequestId) -> Result<Payer, JwsError> {
        let mut bytes = URL_SAFE_NO_PAD.decode(&sealed.0).map_err(|_| JwsError::Claims)?;
        let (salt, ciphertext) = bytes.split_at_mut_checked(SALT).ok_or(JwsError::Claims)?;
        let key = self.key_for(salt).ok_or(JwsError::Claims)?;
        let aad = Aad::from(request.to_string().into_bytes());
        let plain = key.open_in_place(zero_nonce(), aad, ciphertext).map_err(|_| JwsError::Claims)?;
        serde_json::from_slice(plain).map_err(|_| JwsError::Claims)
    }

    /// One AES key per salt. Random 96-bit nonces under one key are safe for about 2³² tickets, which a busy
    /// deployment issues in weeks; a 128-bit salt has no such limit, and the nonce may then be constant.
    fn key_for(&self, salt: &[u8]) -> Option<LessSafeKey> {
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(self.0.as_ref());
        let okm = prk.expand(&[PAYER_INFO], &AES_256_GCM).ok()?;
        Some(LessSafeKey::new(UnboundKey::from(okm)))
    }
}

fn zero_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payer() -> Payer {
        Payer { account: "alice".parse().unwrap(), key: "k1".parse().unwrap(), project: None, shard: 7 }
    }

    #[test]
    fn a_payer_opens_for_its_request_and_key_only() {
        let (key, other) = (DeploymentKey::generate().unwrap(), DeploymentKey::generate().unwrap());
        let (request, another) = (RequestId::generate(), RequestId::generate());
        let sealed = key.seal(&payer(), request).unwrap();
        assert_eq!(key.open(&sealed, request), Ok(payer()));
        assert_eq!(key.open(&sealed, another), Err(JwsError::Claims));
        assert_eq!(other.open(&sealed, request), Err(JwsError::Claims));
        assert!(!sealed.0.contains("alice"));
    }

    #[test]
    fn one_payer_seals_to_two_texts() {
        let key = DeploymentKey::generate().unwrap();
        let request = RequestId::generate();
        assert_ne!(key.seal(&payer(), request).unwrap(), key.seal(&payer(), request).unwrap());
    }

    #[test]
    fn amounts_are_strings_in_the_token() {
        let key = SigningKey::generate().unwrap();
        let deployment = DeploymentKey::generate().unwrap();
        let request = RequestId::generate();
        let ticket = Ticket {
            req: request,
            attempt: 1,
            keyset: Digest([1; 32]),
            enc: Digest([2; 32]),
            acct: Digest([4; 32]),
            path: "/v1/chat/completions".into(),
            model: "m".into(),
            price: Price {
                table: 1,
                prompt: NanoTon(u64::MAX),
                cached: NanoTon(0),
                completion: NanoTon(3),
                reasoning: NanoTon(3),
            },
            max_cost: NanoTon(10),
            exp: 1,
            payer: deployment.seal(&payer(), request).unwrap(),
        };
        let token = ticket.sign(&key).unwrap();
        let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!(claims["price"]["prompt"], "18446744073709551615");
        assert_eq!(claims["max_cost"], "10");
        assert_eq!(Ticket::verify(&token, [key.public()]).unwrap(), ticket);
    }
}
