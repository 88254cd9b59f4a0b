//! OpenAI's pages of usage and costs, with our exact amounts beside.

use serde::Serialize;
use utoipa::ToSchema;

/// A page of buckets.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct UsagePage {
    /// `page`.
    pub object: &'static str,
    /// Oldest first; a bucket in which nothing was used has no results.
    pub data: Vec<UsageBucket>,
    pub has_more: bool,
    /// `page` of the next page.
    #[schema(required)]
    pub next_page: Option<String>,
}

/// One bucket of time, in UTC.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct UsageBucket {
    /// `bucket`.
    pub object: &'static str,
    /// Seconds since 1970, inclusive.
    pub start_time: u64,
    /// Exclusive.
    pub end_time: u64,
    pub results: Vec<UsageResult>,
}

/// A group of what is in a bucket.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum UsageResult {
    Completions(CompletionsUsage),
    Embeddings(EmbeddingsUsage),
    Costs(CostsResult),
}

/// What a group is of: null where the results are not grouped by it, or it has none.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
pub struct UsageGroup {
    #[schema(required)]
    pub project_id: Option<String>,
    /// Always null: accounts have no users.
    #[schema(required)]
    pub user_id: Option<String>,
    #[schema(required)]
    pub api_key_id: Option<String>,
    #[schema(required)]
    pub model: Option<String>,
}

/// Usage of models that generate text. Corrections are counted when they come, so numbers may be negative.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct CompletionsUsage {
    /// `organization.usage.completions.result`.
    pub object: &'static str,
    /// Cached ones included.
    pub input_tokens: i64,
    /// Reasoning included.
    pub output_tokens: i64,
    pub input_cached_tokens: i64,
    pub input_uncached_tokens: i64,
    pub input_text_tokens: i64,
    pub output_text_tokens: i64,
    pub input_cached_text_tokens: i64,
    pub input_audio_tokens: i64,
    pub output_audio_tokens: i64,
    /// Ours: of the output.
    pub output_reasoning_tokens: i64,
    pub num_model_requests: i64,
    #[serde(flatten)]
    pub group: UsageGroup,
    /// `false` where the results are grouped by it.
    #[schema(required)]
    pub batch: Option<bool>,
    /// `default` where the results are grouped by it.
    #[schema(required)]
    pub service_tier: Option<&'static str>,
    /// `unlabeled` where the results are grouped by it.
    #[schema(required)]
    pub api_source: Option<&'static str>,
    /// Ours: what was paid, nanoTON, as a decimal string.
    #[schema(pattern = "^-?[0-9]+$")]
    pub cost: String,
}

/// Usage of embeddings.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct EmbeddingsUsage {
    /// `organization.usage.embeddings.result`.
    pub object: &'static str,
    pub input_tokens: i64,
    pub num_model_requests: i64,
    #[serde(flatten)]
    pub group: UsageGroup,
    /// Ours: what was paid, nanoTON, as a decimal string.
    #[schema(pattern = "^-?[0-9]+$")]
    pub cost: String,
}

/// What was paid.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct CostsResult {
    /// `organization.costs.result`.
    pub object: &'static str,
    pub amount: CostAmount,
    /// Name of a model, where the results are grouped by it.
    #[schema(required)]
    pub line_item: Option<String>,
    #[schema(required)]
    pub project_id: Option<String>,
    /// Always null: accounts have no users.
    #[schema(required)]
    pub user_id: Option<String>,
    #[schema(required)]
    pub api_key_id: Option<String>,
    /// `unlabeled` where the results are grouped by it.
    #[schema(required)]
    pub api_source: Option<&'static str>,
    /// Tokens, where the results are grouped by line item.
    #[schema(required)]
    pub quantity: Option<i64>,
    /// `tokens`, where there is a quantity.
    #[schema(required)]
    pub quantity_unit: Option<&'static str>,
}

/// An amount as OpenAI has it, and exactly.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct CostAmount {
    /// TON. A number that readers may round: to add up, take `nano`.
    pub value: f64,
    /// `ton`.
    pub currency: &'static str,
    /// Ours: nanoTON, as a decimal string.
    #[schema(pattern = "^-?[0-9]+$")]
    pub nano: String,
}
