//! OpenAI's model objects, with our own members beside.

use cocoon_receipts::Price;
use serde::Serialize;
use utoipa::ToSchema;

/// What can be asked for, what it costs, and on what evidence it runs.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Model {
    pub id: String,
    /// `model`.
    pub object: &'static str,
    /// Seconds since 1970: when the first of its keysets began.
    pub created: u64,
    pub owned_by: &'static str,
    /// Tokens of prompt and completion that fit together.
    pub context_length: u64,
    /// nanoTON per million tokens.
    #[schema(value_type = PriceShape)]
    pub pricing: Price,
    /// One per backend that requests may go to.
    pub attestation: Vec<ModelEvidence>,
    /// One per backend that served it and is refused now: no request goes there.
    pub refused: Vec<RefusedEvidence>,
}

/// The evidence of one backend.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ModelEvidence {
    /// `verified`.
    pub verdict: &'static str,
    /// `dev` is no hardware at all.
    pub tee: &'static str,
    /// Digest of its keyset.
    pub keyset: String,
    /// The keyset's end, milliseconds since 1970.
    pub not_after: u64,
    /// When the gateway verified it last, milliseconds since 1970.
    pub verified_at: u64,
    /// Until when that counts, milliseconds since 1970.
    pub valid_until: u64,
}

/// A backend that is refused.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RefusedEvidence {
    /// `refused`.
    pub verdict: &'static str,
    /// Digest of the keyset that was verified last.
    pub keyset: String,
    /// Name of the check that failed.
    pub check: &'static str,
    /// Since when, milliseconds since 1970.
    pub since: u64,
}

/// All of them.
#[derive(Debug, Serialize, ToSchema)]
pub struct Models {
    /// `list`.
    pub object: &'static str,
    pub data: Vec<Model>,
}

/// How a [`Price`] is written: nanoTON per million tokens, as decimal strings.
#[derive(ToSchema)]
#[schema(as = Price)]
#[expect(dead_code, reason = "its shape is all that is used")]
pub(crate) struct PriceShape {
    /// Number of the price table.
    table: u32,
    #[schema(pattern = "^[0-9]+$")]
    prompt: String,
    #[schema(pattern = "^[0-9]+$")]
    cached: String,
    #[schema(pattern = "^[0-9]+$")]
    completion: String,
    #[schema(pattern = "^[0-9]+$")]
    reasoning: String,
}
