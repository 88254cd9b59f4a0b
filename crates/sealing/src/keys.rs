use std::fmt;

use hpke::{Deserializable, Kem as _, Serializable};
use zeroize::Zeroizing;

use crate::error::SealingError;
use crate::kem::Kem;
use crate::suite::{OpenRequest, SealRequest, X25519, XWing, set_up_receiver, set_up_sender};

/// A backend's HPKE public key: what requests are sealed to.
#[derive(Clone)]
pub struct PublicKey {
    bytes: Box<[u8]>,
    key: PublicKeyOf,
}

#[derive(Clone)]
enum PublicKeyOf {
    X25519(<X25519 as hpke::Kem>::PublicKey),
    XWing(Box<<XWing as hpke::Kem>::PublicKey>),
}

impl PublicKey {
    /// Parses a serialized public key (RFC 9180 section 4).
    ///
    /// Refuses a wrong length, and a key to which its KEM cannot encapsulate: the identity and the other
    /// small-order points of X25519, and ML-KEM keys with coefficients out of range.
    ///
    /// # Panics
    /// When the operating system has no randomness to give: the check is an encapsulation.
    pub fn new(kem: Kem, bytes: &[u8]) -> Result<Self, SealingError> {
        let key = match kem {
            Kem::X25519 => PublicKeyOf::X25519(usable::<X25519>(bytes)?),
            Kem::XWing => PublicKeyOf::XWing(Box::new(usable::<XWing>(bytes)?)),
        };
        Ok(Self { bytes: bytes.into(), key })
    }

    /// The KEM this key is for.
    pub fn kem(&self) -> Kem {
        match self.key {
            PublicKeyOf::X25519(_) => Kem::X25519,
            PublicKeyOf::XWing(_) => Kem::XWing,
        }
    }

    /// The serialized key, [`Kem::public_key_len`] bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn set_up_sender(&self) -> Result<(Vec<u8>, Box<dyn SealRequest>), SealingError> {
        match &self.key {
            PublicKeyOf::X25519(key) => set_up_sender::<X25519>(key),
            PublicKeyOf::XWing(key) => set_up_sender::<XWing>(key),
        }
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.kem() == other.kem() && self.bytes == other.bytes
    }
}

impl Eq for PublicKey {}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicKey")
            .field("kem", &self.kem())
            .field("bytes", &hex::encode(&self.bytes))
            .finish()
    }
}

/// A backend's HPKE private key with its public half. Wiped when dropped; never printed, never cloned.
pub struct PrivateKey {
    key: PrivateKeyOf,
    public: PublicKey,
}

enum PrivateKeyOf {
    X25519(<X25519 as hpke::Kem>::PrivateKey),
    XWing(Box<<XWing as hpke::Kem>::PrivateKey>),
}

impl PrivateKey {
    /// Makes a fresh key pair: `DeriveKeyPair` of 32 random bytes (RFC 9180 section 4).
    pub fn generate(kem: Kem) -> Result<Self, SealingError> {
        let mut seed = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(seed.as_mut()).map_err(|_| SealingError::NoRandomness)?;
        Ok(match kem {
            Kem::X25519 => Self::from_x25519(X25519::derive_keypair(seed.as_ref())),
            Kem::XWing => Self::from_xwing(XWing::derive_keypair(seed.as_ref())),
        })
    }

    /// Parses a serialized private key, 32 bytes for either KEM; for X-Wing those are the seed.
    pub fn from_bytes(kem: Kem, bytes: &[u8]) -> Result<Self, SealingError> {
        Ok(match kem {
            Kem::X25519 => Self::from_x25519(key_pair::<X25519>(bytes)?),
            Kem::XWing => Self::from_xwing(key_pair::<XWing>(bytes)?),
        })
    }

    /// The public half, to be published.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    pub(crate) fn set_up_receiver(
        &self,
        encapsulated_key: &[u8],
    ) -> Result<Box<dyn OpenRequest>, SealingError> {
        match &self.key {
            PrivateKeyOf::X25519(key) => set_up_receiver::<X25519>(key, encapsulated_key),
            PrivateKeyOf::XWing(key) => set_up_receiver::<XWing>(key, encapsulated_key),
        }
    }

    fn from_x25519((private, public): KeyPair<X25519>) -> Self {
        let bytes = public.to_bytes().as_slice().into();
        Self {
            key: PrivateKeyOf::X25519(private),
            public: PublicKey { bytes, key: PublicKeyOf::X25519(public) },
        }
    }

    fn from_xwing((private, public): KeyPair<XWing>) -> Self {
        let bytes = public.to_bytes().as_slice().into();
        Self {
            key: PrivateKeyOf::XWing(Box::new(private)),
            public: PublicKey { bytes, key: PublicKeyOf::XWing(Box::new(public)) },
        }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey").field("public", &self.public).finish_non_exhaustive()
    }
}

type KeyPair<K> = (<K as hpke::Kem>::PrivateKey, <K as hpke::Kem>::PublicKey);

fn key_pair<K: hpke::Kem>(bytes: &[u8]) -> Result<KeyPair<K>, SealingError> {
    let private = K::PrivateKey::from_bytes(bytes).map_err(|_| SealingError::InvalidPrivateKey)?;
    let public = K::sk_to_pk(&private);
    Ok((private, public))
}

/// Parses a key and encapsulates to it once: parsing alone lets small-order X25519 points through.
fn usable<K: hpke::Kem>(bytes: &[u8]) -> Result<K::PublicKey, SealingError> {
    let key = K::PublicKey::from_bytes(bytes).map_err(|_| SealingError::InvalidPublicKey)?;
    K::encap(&key, None).map_err(|_| SealingError::InvalidPublicKey)?;
    Ok(key)
}
