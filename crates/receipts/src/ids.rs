//! The names that travel in tickets and receipts.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// An identifier that is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    #[error("a digest is 64 lower-case hexadecimal characters")]
    Digest,
    #[error("a name is 1 to 96 characters of a-z, A-Z, 0-9, '-', '_', '.' and ':'")]
    Name,
    #[error("not a UUID of version 7")]
    Uuid,
}

/// A SHA-256 digest; in text 64 lower-case hexadecimal characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// SHA-256 over the concatenation of `parts`.
    #[must_use]
    pub fn of(parts: &[&[u8]]) -> Self {
        use sha2::Digest as _;
        let mut hash = sha2::Sha256::new();
        for part in parts {
            hash.update(part);
        }
        Self(hash.finalize().into())
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Digest {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(IdError::Digest);
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| IdError::Digest)?;
        Ok(Self(bytes))
    }
}

macro_rules! uuid_v7 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// A new one: the clock's milliseconds and 74 random bits (RFC 9562 section 5.7).
            #[must_use]
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }

            /// When it was made, milliseconds since 1970.
            #[must_use]
            pub fn made_at_ms(&self) -> u64 {
                self.0.get_timestamp().map_or(0, |at| {
                    let (seconds, nanos) = at.to_unix();
                    seconds * 1000 + u64::from(nanos) / 1_000_000
                })
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let id = Uuid::parse_str(text).map_err(|_| IdError::Uuid)?;
                // One text per id: an idempotency key must not have two spellings.
                if id.get_version_num() != 7 || id.hyphenated().to_string() != text {
                    return Err(IdError::Uuid);
                }
                Ok(Self(id))
            }
        }

        text_serde!($name);
    };
}

macro_rules! text_serde {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
                if text.is_empty() || text.len() > 96 || !text.bytes().all(plain) {
                    return Err(IdError::Name);
                }
                Ok(Self(text.to_owned()))
            }
        }

        text_serde!($name);
    };
}

text_serde!(Digest);
uuid_v7! {
    /// One request of a client; made by the gateway, the idempotency key of its hold and its charge.
    RequestId
}
uuid_v7! {
    /// One signed receipt.
    ReceiptId
}
name! {
    /// Who pays.
    AccountId
}
name! {
    /// One API key (the `jti` of its JWT).
    KeyId
}
name! {
    /// A project of an account.
    ProjectId
}
name! {
    /// Who is paid: the operator of a backend, as its keyset names it (a TON address).
    OperatorId
}
