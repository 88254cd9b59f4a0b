//! Compact JWS (RFC 7515) with EdDSA over Ed25519 (RFC 8037), and nothing else: no other algorithm, no header
//! that names a key by itself.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::Digest;

/// Longest token that is looked at, bytes.
pub const MAX_TOKEN: usize = 8 * 1024;

/// A token or key that is refused. The text never contains the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwsError {
    #[error("the token is not a compact JWS of the expected type")]
    Malformed,
    #[error("the token is signed by a key that is not known")]
    UnknownKey,
    #[error("the signature does not verify")]
    Signature,
    #[error("the claims are not what this type of token carries")]
    Claims,
    #[error("the key is not an Ed25519 key in PKCS#8 PEM, or JWK")]
    Key,
    #[error("the token could not be signed")]
    Sign,
}

/// An Ed25519 private key. The memory of the key itself is the crypto library's, which cleanses it.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    encoding: EncodingKey,
    public: VerifyingKey,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", self.public.kid)
    }
}

impl SigningKey {
    /// A new key from the system's randomness.
    ///
    /// # Errors
    /// [`JwsError::Key`] where the system has none.
    pub fn generate() -> Result<Self, JwsError> {
        let document = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).map_err(|_| JwsError::Key)?;
        Self::from_pkcs8(document.as_ref())
    }

    /// A new key as PKCS#8 PEM (RFC 7468), for a file.
    ///
    /// # Errors
    /// [`JwsError::Key`] where the system has no randomness.
    pub fn generate_pem() -> Result<Zeroizing<String>, JwsError> {
        let document = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).map_err(|_| JwsError::Key)?;
        let body = Zeroizing::new(STANDARD.encode(document.as_ref()));
        Ok(Zeroizing::new(format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            body.as_str()
        )))
    }

    /// # Errors
    /// [`JwsError::Key`] where the text is not one Ed25519 private key.
    pub fn from_pem(pem: &str) -> Result<Self, JwsError> {
        let body: Zeroizing<String> = Zeroizing::new(
            pem.trim()
                .strip_prefix("-----BEGIN PRIVATE KEY-----")
                .and_then(|rest| rest.strip_suffix("-----END PRIVATE KEY-----"))
                .ok_or(JwsError::Key)?
                .split_whitespace()
                .collect(),
        );
        let der = Zeroizing::new(STANDARD.decode(body.as_bytes()).map_err(|_| JwsError::Key)?);
        Self::from_pkcs8(&der)
    }

    fn from_pkcs8(der: &[u8]) -> Result<Self, JwsError> {
        let pair = Ed25519KeyPair::from_pkcs8(der).map_err(|_| JwsError::Key)?;
        let public = VerifyingKey::from_bytes(pair.public_key().as_ref())?;
        Ok(Self { pair, encoding: EncodingKey::from_ed_der(der), public })
    }

    #[must_use]
    pub fn public(&self) -> &VerifyingKey {
        &self.public
    }

    /// A bare Ed25519 signature, for what is not a JWS (the `dev` quote).
    #[must_use]
    pub fn sign_bytes(&self, message: &[u8]) -> [u8; 64] {
        let mut signature = [0; 64];
        signature.copy_from_slice(self.pair.sign(message).as_ref());
        signature
    }
}

/// An Ed25519 public key with its RFC 7638 thumbprint.
#[derive(Clone)]
pub struct VerifyingKey {
    bytes: [u8; 32],
    kid: String,
    decoding: DecodingKey,
}

impl std::fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VerifyingKey({})", self.kid)
    }
}

impl PartialEq for VerifyingKey {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for VerifyingKey {}

/// A public key as JWK (RFC 8037 section 2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwk {
    pub kty: String,
    pub crv: String,
    pub x: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
}

impl VerifyingKey {
    /// # Errors
    /// [`JwsError::Key`] where there are not 32 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, JwsError> {
        let bytes: [u8; 32] = bytes.try_into().map_err(|_| JwsError::Key)?;
        let x = URL_SAFE_NO_PAD.encode(bytes);
        let thumbprint = Digest::of(&[format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#).as_bytes()]);
        Ok(Self {
            bytes,
            kid: URL_SAFE_NO_PAD.encode(thumbprint.0),
            decoding: DecodingKey::from_ed_components(&x).map_err(|_| JwsError::Key)?,
        })
    }

    /// base64url without padding, as in a JWK's `x`.
    ///
    /// # Errors
    /// [`JwsError::Key`] where it is not that.
    pub fn from_base64url(text: &str) -> Result<Self, JwsError> {
        Self::from_bytes(&URL_SAFE_NO_PAD.decode(text).map_err(|_| JwsError::Key)?)
    }

    /// # Errors
    /// [`JwsError::Key`] where it is another kind of key, or its `kid` is not its thumbprint.
    pub fn from_jwk(jwk: &Jwk) -> Result<Self, JwsError> {
        if jwk.kty != "OKP" || jwk.crv != "Ed25519" {
            return Err(JwsError::Key);
        }
        let key = Self::from_base64url(&jwk.x)?;
        if jwk.kid.as_ref().is_some_and(|kid| *kid != key.kid) {
            return Err(JwsError::Key);
        }
        Ok(key)
    }

    #[must_use]
    pub fn to_jwk(&self) -> Jwk {
        Jwk { kty: "OKP".into(), crv: "Ed25519".into(), x: self.to_base64url(), kid: Some(self.kid.clone()) }
    }

    #[must_use]
    pub fn to_base64url(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.bytes)
    }

    /// JWK thumbprint (RFC 7638), base64url.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Verifies a bare signature made by [`SigningKey::sign_bytes`].
    #[must_use]
    pub fn verify_bytes(&self, message: &[u8], signature: &[u8]) -> bool {
        aws_lc_rs::signature::UnparsedPublicKey::new(&aws_lc_rs::signature::ED25519, &self.bytes)
            .verify(message, signature)
            .is_ok()
    }
}

/// Signs `claims` as a token of type `typ`.
///
/// # Errors
/// [`JwsError::Sign`].
pub fn sign<T: Serialize>(typ: &str, key: &SigningKey, claims: &T) -> Result<String, JwsError> {
    let mut header = Header::new(Algorithm::EdDSA);
    header.typ = Some(typ.to_owned());
    header.kid = Some(key.public.kid.clone());
    jsonwebtoken::encode(&header, claims, &key.encoding).map_err(|_| JwsError::Sign)
}

/// The claims of a token of type `typ` whose `kid` is one of `keys`, once its signature verifies. No claim is
/// judged here, not the times either: they mean different things at admission and at settlement.
///
/// # Errors
/// Every other token.
pub fn verify<'k, T: DeserializeOwned>(
    typ: &str,
    token: &str,
    keys: impl IntoIterator<Item = &'k VerifyingKey>,
) -> Result<T, JwsError> {
    if token.len() > MAX_TOKEN {
        return Err(JwsError::Malformed);
    }
    let header = jsonwebtoken::decode_header(token).map_err(|_| JwsError::Malformed)?;
    if header.alg != Algorithm::EdDSA || header.typ.as_deref() != Some(typ) {
        return Err(JwsError::Malformed);
    }
    let kid = header.kid.ok_or(JwsError::UnknownKey)?;
    let key = keys.into_iter().find(|key| key.kid == kid).ok_or(JwsError::UnknownKey)?;
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    let data = jsonwebtoken::decode::<T>(token, &key.decoding, &validation).map_err(|error| {
        use jsonwebtoken::errors::ErrorKind;
        match error.kind() {
            ErrorKind::InvalidSignature => JwsError::Signature,
            ErrorKind::Json(_) => JwsError::Claims,
            _ => JwsError::Malformed,
        }
    })?;
    Ok(data.claims)
}

/// The `typ` a token claims, before anything of it is checked: it only says which reader to give it to.
#[must_use]
pub fn claimed_type(token: &str) -> Option<String> {
    if token.len() > MAX_TOKEN {
        return None;
    }
    jsonwebtoken::decode_header(token).ok()?.typ
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Claims {
        n: u64,
    }

    #[test]
    fn a_token_verifies_under_its_own_key_and_type_only() {
        let (key, other) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
        let token = sign("a+jwt", &key, &Claims { n: 7 }).unwrap();
        assert_eq!(
            verify::<Claims>("a+jwt", &token, [other.public(), key.public()]).unwrap(),
            Claims { n: 7 }
        );
        assert_eq!(verify::<Claims>("b+jwt", &token, [key.public()]), Err(JwsError::Malformed));
        assert_eq!(verify::<Claims>("a+jwt", &token, [other.public()]), Err(JwsError::UnknownKey));
    }

    #[test]
    fn every_changed_character_is_refused() {
        let key = SigningKey::generate().unwrap();
        let token = sign("a+jwt", &key, &Claims { n: 7 }).unwrap();
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(verify::<Claims>("a+jwt", &changed, [key.public()]).is_err(), "character {at}");
        }
    }

    #[test]
    fn a_token_without_signature_is_refused() {
        let key = SigningKey::generate().unwrap();
        let header = format!(r#"{{"typ":"a+jwt","alg":"none","kid":"{}"}}"#, key.public().kid());
        let token = format!("{}.{}.", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(r#"{"n":7}"#));
        assert_eq!(verify::<Claims>("a+jwt", &token, [key.public()]), Err(JwsError::Malformed));
    }

    #[test]
    fn a_key_survives_its_pem() {
        let pem = SigningKey::generate_pem().unwrap();
        let key = SigningKey::from_pem(&pem).unwrap();
        let signature = key.sign_bytes(b"message");
        let again = VerifyingKey::from_jwk(&key.public().to_jwk()).unwrap();
        assert!(again.verify_bytes(b"message", &signature));
        assert!(!again.verify_bytes(b"massage", &signature));
    }

    #[test]
    fn the_thumbprint_is_that_of_rfc_8037_appendix_a_3() {
        let key = VerifyingKey::from_base64url("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").unwrap();
        assert_eq!(key.kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }
}
