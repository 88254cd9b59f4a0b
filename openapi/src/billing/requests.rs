//! Requests and their receipts.

use cocoon_receipts::{NanoTon, Usage};
use serde::Serialize;
use utoipa::ToSchema;

/// A page of requests, newest charge first.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct RequestList {
    /// `list`.
    pub object: &'static str,
    pub data: Vec<RequestView>,
    #[schema(required)]
    pub first_id: Option<String>,
    /// `after` of the next page.
    #[schema(required)]
    pub last_id: Option<String>,
    pub has_more: bool,
}

/// One charged request. What only its receipt says is null once that is kept no longer.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = ChargedRequest)]
pub struct RequestView {
    /// `request`.
    pub object: &'static str,
    pub id: String,
    /// Seconds since 1970.
    pub created: u64,
    pub model: String,
    /// `completions` or `embeddings`.
    pub work: &'static str,
    pub api_key_id: String,
    #[schema(required)]
    pub project_id: Option<String>,
    #[schema(value_type = UsageShape)]
    pub usage: Usage,
    /// What was paid for it in all, nanoTON.
    #[schema(value_type = String, pattern = "^[0-9]+$")]
    pub cost: NanoTon,
    /// `gateway` where the gateway sealed it for the client, `sealed` where the client did.
    #[schema(required)]
    pub privacy: Option<&'static str>,
    /// OpenAI's `finish_reason`, or `cancelled`, or `error`.
    #[schema(required)]
    pub finish: Option<String>,
    /// Null where no receipt came: then its last checkpoint was charged.
    #[schema(required)]
    pub receipt_id: Option<String>,
    /// The signed receipt, a JWS.
    #[schema(required)]
    pub receipt: Option<String>,
}

/// A receipt and what it says.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = ReceiptFacts)]
pub struct ReceiptView {
    /// `receipt`.
    pub object: &'static str,
    pub id: String,
    pub request_id: String,
    /// Seconds since 1970.
    pub created: u64,
    pub account: String,
    pub api_key_id: String,
    #[schema(required)]
    pub project_id: Option<String>,
    pub model: String,
    #[schema(value_type = UsageShape)]
    pub usage: Usage,
    /// What the receipt asks for, nanoTON.
    #[schema(value_type = String, pattern = "^[0-9]+$")]
    pub cost: NanoTon,
    /// What the account had paid for the request once it was booked.
    #[schema(value_type = String, pattern = "^[0-9]+$")]
    pub charged: NanoTon,
    /// `gateway` where the gateway sealed the request for the client, `sealed` where the client did.
    pub privacy: &'static str,
    /// OpenAI's `finish_reason`, or `cancelled`, or `error`.
    pub finish: String,
    /// Whether the answer was sent to its end.
    pub complete: bool,
    /// HTTP status of the answer.
    pub status: u16,
    /// Digest of the keyset that signed it.
    pub keyset: String,
    /// The signed receipt, a JWS.
    pub jws: String,
}

/// OpenRouter's envelope of a request.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Generation {
    pub data: GenerationData,
}

/// A request as OpenRouter shows it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct GenerationData {
    /// The request's id.
    pub id: String,
    /// The receipt's.
    pub upstream_id: String,
    pub model: String,
    /// RFC 3339.
    pub created_at: String,
    /// What was paid, TON. A number that readers may round.
    pub total_cost: f64,
    pub usage: f64,
    /// Ours: nanoTON, as a decimal string.
    #[schema(value_type = String, pattern = "^[0-9]+$")]
    pub total_cost_nano: NanoTon,
    /// `ton`.
    pub currency: &'static str,
    pub tokens_prompt: u64,
    pub tokens_completion: u64,
    pub native_tokens_prompt: u64,
    pub native_tokens_completion: u64,
    pub native_tokens_reasoning: u64,
    pub native_tokens_cached: u64,
    pub finish_reason: String,
    pub native_finish_reason: String,
    pub cancelled: bool,
    pub streamed: bool,
    /// Milliseconds from when the backend began until it was done.
    pub generation_time: u64,
    pub provider_name: &'static str,
    pub is_byok: bool,
}

/// Tokens by price class, which do not overlap.
#[derive(ToSchema)]
#[schema(as = TokenUsage)]
#[expect(dead_code, reason = "its shape is all that is used")]
pub(crate) struct UsageShape {
    prompt: u64,
    cached: u64,
    completion: u64,
    reasoning: u64,
}
