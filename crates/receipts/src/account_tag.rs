//! Binds a sealed request to the API key it was sent with, in words that only holders of that key understand.

use std::fmt;

use zeroize::Zeroizing;

use crate::Digest;

/// Shown before an API key's JWT, so that secret scanners and people recognise it. Not part of what is signed.
pub const API_KEY_PREFIX: &str = "sk-cocoon-";

const SECRET_LABEL: &[u8] = b"cocoon/account-secret/v1";
const TAG_LABEL: &[u8] = b"cocoon/account-tag/v1";

/// What client and gateway have in common, and nobody between the gateway and the backend: derived from the API key.
///
/// The client seals [`tag`](Self::tag) into `x_conf.acct`, the gateway signs its own into the ticket, and the backend
/// compares the two: a ciphertext sent on under another account's ticket is refused. A backend learns nothing of the
/// account: tags of two requests have nothing in common, and the key cannot be guessed from one.
#[derive(Clone)]
pub struct AccountTagKey(Zeroizing<[u8; 32]>);

impl AccountTagKey {
    /// Of an API key as it stands after `Bearer `, with or without its prefix.
    #[must_use]
    pub fn of_api_key(api_key: &str) -> Self {
        let token = api_key.strip_prefix(API_KEY_PREFIX).unwrap_or(api_key);
        Self(Zeroizing::new(Digest::of(&[SECRET_LABEL, token.as_bytes()]).0))
    }

    /// The tag of the request with this (decoded) encapsulated key.
    #[must_use]
    pub fn tag(&self, encapsulated_key: &[u8]) -> Digest {
        Digest::of(&[TAG_LABEL, self.0.as_ref(), encapsulated_key])
    }
}

impl fmt::Debug for AccountTagKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccountTagKey").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_of_one_key_and_one_request() {
        let key = AccountTagKey::of_api_key("a.b.c");
        assert_eq!(key.tag(&[1; 32]), AccountTagKey::of_api_key("sk-cocoon-a.b.c").tag(&[1; 32]));
        assert_ne!(key.tag(&[1; 32]), key.tag(&[2; 32]));
        assert_ne!(key.tag(&[1; 32]), AccountTagKey::of_api_key("a.b.d").tag(&[1; 32]));
    }

    /// Computed with another SHA-256.
    #[test]
    fn the_tag_is_what_the_protocol_says() {
        assert_eq!(AccountTagKey::of_api_key("sk-cocoon-a.b.c").tag(&[1; 32]).to_string(), EXPECTED);
    }

    const EXPECTED: &str = "6d2c62cc3903d3c08d33a965d27a54a7eeb1a0b4cfc9513def303c4304a3696d";
}
