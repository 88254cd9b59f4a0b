//! The body of a chat completion.

use cocoon_engine_api::{Prompt, Ready};
use cocoon_openapi::ApiError;
use cocoon_openapi::scan::{self, Object};

use super::TextRequest;
use super::fields::{
    ceiling, integer, only, optional, present, required_text, unsupported, unsupported_value, wrong_value,
};
use super::format::format;
use super::messages::messages;
use super::sampling::{effort, ignored, metadata, not_stored, sampling, stop, stream};
use super::tools::{Choice, Place, Tools, functions, tools};
use crate::answer::{Form, chat::Calls};
use crate::calls;

#[cfg(test)]
pub(super) mod tests;

/// Most choices, as at OpenAI.
pub(super) const MAX_CHOICES: u64 = 128;
/// Most alternatives to a token, as at OpenAI.
const MAX_TOP_LOGPROBS: u64 = 20;

/// Reads a body.
///
/// # Errors
/// 400, naming the `param`.
pub(super) fn parse(body: &[u8], engine: &Ready) -> Result<TextRequest, ApiError> {
    let object = scan::scan(body)?;
    required_text(&object, "model")?;
    without_effect(&object)?;
    let (stream, include_usage) = stream(&object)?;
    let (tools, calls) = called(&object)?;
    let parallel = optional(&object, "parallel_tool_calls", "a boolean")?.unwrap_or(true);
    let wanted = match present(&object, "response_format") {
        Some(value) => format(value, "response_format", Place::Nested)?,
        None => None,
    };
    if wanted.is_some() && tools.choice == Choice::Auto {
        return Err(unsupported_value(
            "response_format",
            "JSON cannot be combined with tools that the model may or may not call",
        ));
    }
    let forced = tools.constraint();
    let effort = effort(optional(&object, "reasoning_effort", "a string")?, "reasoning_effort", engine)?;
    let chat = calls::chat(messages(&object)?, &tools.offered, effort);
    Ok(TextRequest {
        prompts: vec![Prompt::Chat(chat)],
        prompt_param: "messages",
        choices: integer(&object, "n", (1, MAX_CHOICES))?.unwrap_or(1) as usize,
        max_tokens: max_tokens(&object)?,
        sampling: sampling(&object, engine)?,
        stop: stop(&object)?,
        logprobs: logprobs(&object)?,
        constraint_param: if forced.is_some() { "tools" } else { "response_format" },
        constraint: forced.or(wanted),
        calls: tools.rule(parallel && calls == Calls::Tools),
        stream,
        form: Form::Chat { include_usage, calls },
    })
}

/// `tools`, or the older `functions`, which the answer is then written for.
fn called(object: &Object<'_>) -> Result<(Tools, Calls), ApiError> {
    let (tools, functions) = (tools(object, Place::Nested)?, functions(object)?);
    match (tools.offered.is_empty(), functions.offered.is_empty()) {
        (false, false) => Err(wrong_value("functions", "not both tools and functions")),
        (true, false) => Ok((functions, Calls::Function)),
        (_, true) => Ok((tools, Calls::Tools)),
    }
}

fn max_tokens(object: &Object<'_>) -> Result<Option<u64>, ApiError> {
    let old_name = ceiling(object, "max_tokens")?;
    Ok(ceiling(object, "max_completion_tokens")?.or(old_name))
}

fn logprobs(object: &Object<'_>) -> Result<Option<u8>, ApiError> {
    let wanted = optional(object, "logprobs", "a boolean")?.unwrap_or(false);
    let top = integer(object, "top_logprobs", (0, MAX_TOP_LOGPROBS))?;
    match top {
        Some(_) if !wanted => Err(wrong_value("top_logprobs", "'logprobs' to be true with it")),
        top => Ok(wanted.then_some(top.unwrap_or(0) as u8)),
    }
}

/// Members that change nothing, in the values that change nothing; in any other they are refused.
fn without_effect(object: &Object<'_>) -> Result<(), ApiError> {
    ignored(object)?;
    metadata(object)?;
    not_stored(object)?;
    only(object, "service_tier", &["auto", "default"])?;
    only(object, "verbosity", &["medium"])?;
    if let Some(value) = present(object, "modalities")
        && super::fields::read::<Vec<String>>(value, "modalities", "an array of strings")? != ["text"]
    {
        return Err(unsupported_value("modalities", "only [\"text\"] here"));
    }
    // A guess at the answer could only make it faster.
    if let Some(value) = present(object, "prediction") {
        super::fields::nested(value, "prediction")?;
    }
    for name in ["audio", "web_search_options"] {
        if present(object, name).is_some() {
            return Err(unsupported(name));
        }
    }
    Ok(())
}
