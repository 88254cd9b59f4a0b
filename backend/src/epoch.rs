//! The keys that are made, named and published together.

use std::sync::Arc;

use cocoon_attestation::HpkeKey;
use cocoon_receipts::Digest;
use cocoon_sealing::{Kem, PrivateKey, SealingError, encode_key_configs};

use crate::identity::Identity;
use crate::replay::ReplaySet;

/// A private key with what it has opened. Both end together: no key is left that would open a request again.
#[derive(Debug)]
pub(crate) struct RequestKey {
    pub(crate) private: PrivateKey,
    pub(crate) admitted: ReplaySet,
    /// Digest of the keyset that the key is in.
    pub(crate) epoch: Digest,
}

impl RequestKey {
    pub(crate) fn kem(&self) -> Kem {
        self.private.public_key().kem()
    }
}

/// One key of each kind, and the keyset that they are in.
#[derive(Debug)]
pub(crate) struct Epoch {
    /// SHA-256 of the keyset: this backend's name in tickets and receipts.
    pub(crate) digest: Digest,
    /// The keyset's exact bytes.
    pub(crate) keyset: Vec<u8>,
    /// Key configurations (RFC 9458 section 3.1).
    pub(crate) key_configs: Vec<u8>,
    pub(crate) keys: Vec<Arc<RequestKey>>,
}

impl Epoch {
    /// Makes the keys. The keyset is valid from `not_before` to `not_after`, milliseconds since 1970; each key admits
    /// `most` requests.
    ///
    /// # Errors
    /// [`SealingError::NoRandomness`].
    pub(crate) fn new(
        identity: &Identity,
        not_before: u64,
        not_after: u64,
        most: usize,
    ) -> Result<Self, SealingError> {
        // Independent of each other: whoever breaks the one has not got the other.
        let made = Kem::ALL.into_iter().map(PrivateKey::generate).collect::<Result<Vec<_>, _>>()?;
        let published: Vec<_> =
            made.iter().map(|key| (key_id(key.public_key().kem()), key.public_key())).collect();
        let hpke = published
            .iter()
            .map(|(key_id, public)| HpkeKey::new(*key_id, public.kem().id(), public.as_bytes()))
            .collect();
        let keyset = identity.keyset(hpke, not_before, not_after).to_bytes();
        let key_configs = encode_key_configs(&published);
        let epoch = Digest::of(&[&keyset]);
        let key = |private| Arc::new(RequestKey { private, admitted: ReplaySet::new(most), epoch });
        Ok(Self { digest: epoch, keyset, key_configs, keys: made.into_iter().map(key).collect() })
    }
}

/// The number under which a key is published.
fn key_id(kem: Kem) -> u8 {
    match kem {
        Kem::X25519 => 0,
        Kem::XWing => 1,
    }
}

#[cfg(test)]
mod tests {
    use cocoon_attestation::Keyset;
    use cocoon_sealing::decode_key_configs;

    use super::*;
    use crate::identity::tests::identity;

    #[test]
    fn both_keys_are_published_x25519_first_and_the_keyset_names_the_same() {
        let epoch = Epoch::new(&identity(), 5, 6, 1).unwrap();
        let configs = decode_key_configs(&epoch.key_configs).unwrap();
        let published: Vec<_> =
            configs.iter().map(|config| (config.key_id, config.public_key.kem())).collect();
        assert_eq!(published, [(0, Kem::X25519), (1, Kem::XWing)]);
        let keyset = Keyset::from_bytes(&epoch.keyset).unwrap();
        assert_eq!((keyset.not_before, keyset.not_after), (5, 6));
        assert_eq!(Digest::of(&[&epoch.keyset]), epoch.digest);
        for ((config, named), key) in configs.iter().zip(&keyset.hpke).zip(&epoch.keys) {
            assert_eq!((named.key_id, named.kem), (config.key_id, config.public_key.kem().id()));
            assert_eq!(named.bytes().unwrap(), config.public_key.as_bytes());
            assert_eq!(key.private.public_key(), &config.public_key);
            assert_eq!(key.epoch, epoch.digest);
        }
    }

    #[test]
    fn no_key_is_in_two_epochs() {
        let identity = identity();
        let [one, two] = [(); 2].map(|()| Epoch::new(&identity, 5, 6, 1).unwrap());
        assert_ne!(one.digest, two.digest);
        for (one, two) in one.keys.iter().zip(&two.keys) {
            assert_ne!(one.private.public_key(), two.private.public_key());
        }
    }
}
