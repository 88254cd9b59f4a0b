//! EHBP, the encrypted HTTP body protocol, byte-exact: the sealed half of every hop in Cocoon Gateway.
//!
//! A client seals a request body to a backend's HPKE public key (RFC 9180, base mode) as a sequence of
//! length-prefixed frames; the backend answers in frames sealed under keys that only the two ends of that
//! request can derive. HTTP stays outside: callers carry the header values and the body bytes, this crate
//! turns them into keys, frames and errors. Section numbers "EHBP n" refer to EHBP's own `SPEC.md`.
//!
//! | step | client | backend |
//! |---|---|---|
//! | keys | [`decode_key_configs`] | [`PrivateKey::generate`], [`encode_key_configs`] |
//! | request | [`RequestSealer`] | [`parse_encapsulated_key`], [`FrameReader`], [`RequestOpener`] |
//! | response | [`parse_response_nonce`], [`FrameReader`], [`ResponseOpener`] | [`ResponseSealer`] |
//!
//! EHBP alone neither refuses a replayed request nor notices that trailing frames are missing. Both are closed
//! above this crate, in what is sealed and in the backend's replay set.

mod error;
mod frame;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod header;
mod kem;
mod key_config;
mod keys;
mod reader;
mod request;
mod response;
mod suite;

#[cfg(test)]
mod tests;

pub use error::SealingError;
pub use header::{
    ENCAPSULATED_KEY_HEADER, KEY_CONFIG_MEDIA_TYPE, KEY_CONFIG_PROBLEM, RESPONSE_NONCE_HEADER, encode_hex,
    parse_encapsulated_key, parse_response_nonce,
};
pub use kem::Kem;
pub use key_config::{KeyConfig, decode_key_configs, encode_key_configs};
pub use keys::{PrivateKey, PublicKey};
pub use reader::{FrameError, FrameLimits, FrameReader};
pub use request::{RequestOpener, RequestSealer};
pub use response::{ResponseOpener, ResponseSealer};
