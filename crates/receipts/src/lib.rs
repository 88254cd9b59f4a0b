//! Tickets and receipts: the two signed statements a bill is made of, the money in them, and their keys.
//!
//! Both are compact JWS (RFC 7515) with EdDSA, so that any JWT library checks them. Formats: `docs/PROTOCOL.md`.

mod account_tag;
mod ids;
pub mod jws;
mod money;
mod receipt;
mod ticket;

pub use account_tag::{API_KEY_PREFIX, AccountTagKey};
pub use ids::*;
pub use jws::{Jwk, JwsError, SigningKey, VerifyingKey};
pub use money::*;
pub use receipt::*;
pub use ticket::*;

/// Fills `bytes` from the system's randomness.
///
/// # Errors
/// [`JwsError::Key`] where the system has none.
pub fn random(bytes: &mut [u8]) -> Result<(), JwsError> {
    aws_lc_rs::rand::fill(bytes).map_err(|_| JwsError::Key)
}
