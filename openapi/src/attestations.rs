//! What a gateway says of the keysets that are in force.

use serde::Serialize;
use utoipa::ToSchema;

/// One keyset: what a request can be sealed to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Attestation {
    /// Its digest.
    pub keyset: String,
    /// Milliseconds since 1970.
    pub not_after: u64,
    /// `dev` is no hardware at all.
    pub tee: &'static str,
    /// Public name of the model its backend serves.
    pub model: String,
}

/// All of them.
#[derive(Debug, Serialize, ToSchema)]
pub struct Attestations {
    /// `list`.
    pub object: &'static str,
    pub data: Vec<Attestation>,
}
