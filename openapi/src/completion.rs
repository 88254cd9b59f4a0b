//! OpenAI's completions of plain text, whole and as the events of a stream, which have the same shape.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::chat::{FinishReason, Usage};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Completion {
    /// `cmpl-…`.
    pub id: String,
    /// `text_completion`.
    pub object: String,
    /// Seconds since 1970.
    pub created: u64,
    pub model: String,
    /// Empty in the usage event of a stream.
    pub choices: Vec<CompletionChoice>,
    pub system_fingerprint: String,
    /// As in [`crate::chat::Chunk`] where it is an event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Usage>)]
    pub usage: Option<Option<Usage>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CompletionChoice {
    pub text: String,
    /// Prompt by prompt, and of each the choices.
    pub index: u32,
    /// Null unless asked for.
    pub logprobs: Option<CompletionLogprobs>,
    /// Null but in the last event of a choice.
    pub finish_reason: Option<FinishReason>,
}

/// Lists of the same length, one entry for each token.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CompletionLogprobs {
    pub tokens: Vec<String>,
    /// Natural logarithms.
    pub token_logprobs: Vec<f64>,
    pub top_logprobs: Vec<BTreeMap<String, f64>>,
    /// Characters of the choice's text before each token.
    pub text_offset: Vec<usize>,
}
