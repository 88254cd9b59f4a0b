//! OpenAI's responses: the object, and the events of a stream, each of which has its name and a number.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::chat::TokenLogprob;

/// A response as far as it has come. What the request said of it is repeated, in the request's own bytes.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Response {
    /// `resp_…`. Nothing is kept under it.
    pub id: String,
    /// `response`.
    pub object: String,
    /// Seconds since 1970.
    pub created_at: u64,
    pub status: Status,
    /// Always false.
    pub background: bool,
    /// Always null: what fails ends the stream, or is an error of its own.
    #[schema(value_type = Option<Object>)]
    pub error: Option<serde_json::Value>,
    /// Why it is `incomplete`.
    pub incomplete_details: Option<IncompleteDetails>,
    #[schema(value_type = Option<String>)]
    pub instructions: Option<Box<RawValue>>,
    pub max_output_tokens: Option<u64>,
    pub metadata: BTreeMap<String, String>,
    pub model: String,
    pub output: Vec<Item>,
    pub parallel_tool_calls: bool,
    /// Always null: nothing is kept that could be continued.
    pub previous_response_id: Option<String>,
    pub reasoning: Reasoning,
    /// `default`.
    pub service_tier: String,
    /// Always false.
    pub store: bool,
    pub temperature: f64,
    #[schema(value_type = Object)]
    pub text: Box<RawValue>,
    #[schema(value_type = serde_json::Value)]
    pub tool_choice: Box<RawValue>,
    #[schema(value_type = Vec<Object>)]
    pub tools: Box<RawValue>,
    pub top_logprobs: u8,
    pub top_p: f64,
    /// `disabled`.
    pub truncation: String,
    /// Null until it has ended.
    pub usage: Option<ResponseUsage>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    InProgress,
    Completed,
    /// Cut at the ceiling of tokens.
    Incomplete,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IncompleteDetails {
    /// `max_output_tokens`.
    pub reason: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reasoning {
    pub effort: Option<String>,
    pub summary: Option<String>,
}

/// One thing that the model did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Item {
    Message {
        id: String,
        status: Status,
        /// `assistant`.
        role: String,
        content: Vec<Part>,
    },
    FunctionCall {
        id: String,
        status: Status,
        /// What the result is to name.
        call_id: String,
        name: String,
        /// JSON text.
        arguments: String,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Part {
    OutputText {
        text: String,
        /// Always empty.
        #[schema(value_type = Vec<Object>)]
        annotations: Vec<serde_json::Value>,
        /// Empty unless asked for.
        logprobs: Vec<TokenLogprob>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ResponseUsage {
    pub input_tokens: u64,
    pub input_tokens_details: InputTokensDetails,
    pub output_tokens: u64,
    pub output_tokens_details: OutputTokensDetails,
    pub total_tokens: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InputTokensDetails {
    pub cached_tokens: u64,
    pub cache_write_tokens: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OutputTokensDetails {
    pub reasoning_tokens: u64,
}

/// An event of a stream, without its number.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(tag = "type")]
pub enum ResponseEvent {
    #[serde(rename = "response.created")]
    Created { response: Box<Response> },
    #[serde(rename = "response.in_progress")]
    InProgress { response: Box<Response> },
    #[serde(rename = "response.output_item.added")]
    ItemAdded { output_index: usize, item: Item },
    #[serde(rename = "response.content_part.added")]
    PartAdded { item_id: String, output_index: usize, content_index: usize, part: Part },
    #[serde(rename = "response.output_text.delta")]
    TextDelta {
        item_id: String,
        output_index: usize,
        content_index: usize,
        delta: String,
        logprobs: Vec<TokenLogprob>,
    },
    #[serde(rename = "response.output_text.done")]
    TextDone {
        item_id: String,
        output_index: usize,
        content_index: usize,
        text: String,
        logprobs: Vec<TokenLogprob>,
    },
    #[serde(rename = "response.content_part.done")]
    PartDone { item_id: String, output_index: usize, content_index: usize, part: Part },
    #[serde(rename = "response.function_call_arguments.delta")]
    ArgumentsDelta { item_id: String, output_index: usize, delta: String },
    #[serde(rename = "response.function_call_arguments.done")]
    ArgumentsDone { item_id: String, output_index: usize, name: String, arguments: String },
    #[serde(rename = "response.output_item.done")]
    ItemDone { output_index: usize, item: Item },
    #[serde(rename = "response.completed")]
    Completed { response: Box<Response> },
    #[serde(rename = "response.incomplete")]
    Incomplete { response: Box<Response> },
}

impl ResponseEvent {
    /// The event's name, as its `type` says it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Created { .. } => "response.created",
            Self::InProgress { .. } => "response.in_progress",
            Self::ItemAdded { .. } => "response.output_item.added",
            Self::PartAdded { .. } => "response.content_part.added",
            Self::TextDelta { .. } => "response.output_text.delta",
            Self::TextDone { .. } => "response.output_text.done",
            Self::PartDone { .. } => "response.content_part.done",
            Self::ArgumentsDelta { .. } => "response.function_call_arguments.delta",
            Self::ArgumentsDone { .. } => "response.function_call_arguments.done",
            Self::ItemDone { .. } => "response.output_item.done",
            Self::Completed { .. } => "response.completed",
            Self::Incomplete { .. } => "response.incomplete",
        }
    }
}

/// An event with its number, counted from 0.
#[derive(Debug, Clone, Serialize)]
pub struct Numbered {
    pub sequence_number: u64,
    #[serde(flatten)]
    pub event: ResponseEvent,
}
