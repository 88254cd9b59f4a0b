//! Request bodies: what each endpoint asks for, as work that the engine can do. Every member of OpenAI's is honoured,
//! or says nothing about the answer, or is refused by name; members that OpenAI does not have are passed over.

mod chat;
mod completions;
mod embeddings;
mod fields;
mod format;
mod messages;
mod responses;
mod sampling;
mod tools;

use cocoon_engine_api::{Constraint, ModelKind, Prompt, Ready, Sampling};
use cocoon_openapi::{ApiError, CHAT_COMPLETIONS_PATH, COMPLETIONS_PATH, EMBEDDINGS_PATH, RESPONSES_PATH};

use crate::answer::Form;
use crate::calls::CallRule;

/// What a request is, to whoever does it.
#[derive(Debug)]
pub(crate) enum Work {
    Text(Box<TextRequest>),
    Embed(EmbeddingRequest),
}

/// Text to be generated.
#[derive(Debug)]
pub(crate) struct TextRequest {
    /// One, but for completions of several texts.
    pub(crate) prompts: Vec<Prompt>,
    /// The member that the prompts are from: what an error about their length names.
    pub(crate) prompt_param: &'static str,
    /// Choices for each prompt, at least 1.
    pub(crate) choices: usize,
    /// The caller's ceiling of completion tokens for each choice.
    pub(crate) max_tokens: Option<u64>,
    pub(crate) sampling: Sampling,
    pub(crate) stop: Vec<String>,
    /// Alternatives to each token's log probability, where those are wanted.
    pub(crate) logprobs: Option<u8>,
    pub(crate) constraint: Option<Constraint>,
    /// The member that the constraint is from.
    pub(crate) constraint_param: &'static str,
    /// Calls to look for in the text.
    pub(crate) calls: Option<CallRule>,
    pub(crate) stream: bool,
    /// How the answer is written.
    pub(crate) form: Form,
}

/// Vectors to be made.
#[derive(Debug)]
pub(crate) struct EmbeddingRequest {
    pub(crate) inputs: Vec<Prompt>,
    pub(crate) encoding: Encoding,
    /// Leading numbers of each vector to keep.
    pub(crate) dimensions: Option<usize>,
}

/// How a vector is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Float,
    /// Little-endian 32-bit floats.
    Base64,
}

/// Reads the body of a request to `path`.
///
/// # Errors
/// 400, naming the `param`.
pub(crate) fn parse(path: &str, body: &[u8], engine: &Ready) -> Result<Work, ApiError> {
    let wanted = if path == EMBEDDINGS_PATH { ModelKind::Embedding } else { ModelKind::Text };
    if wanted != engine.kind {
        let does = match engine.kind {
            ModelKind::Text => "generates text: ask /v1/chat/completions, /v1/completions or /v1/responses",
            ModelKind::Embedding => "makes embeddings: ask /v1/embeddings",
        };
        return Err(ApiError::invalid(format!("This model {does}.")).with_param("model"));
    }
    match path {
        CHAT_COMPLETIONS_PATH => chat::parse(body, engine).map(text),
        COMPLETIONS_PATH => completions::parse(body, engine).map(text),
        RESPONSES_PATH => responses::parse(body, engine).map(text),
        EMBEDDINGS_PATH => embeddings::parse(body, engine).map(Work::Embed),
        // The router knows no other.
        _ => Err(ApiError::new(
            404,
            "invalid_request_error",
            Some("unknown_url"),
            "There is nothing at this path.",
        )),
    }
}

fn text(request: TextRequest) -> Work {
    Work::Text(Box::new(request))
}
