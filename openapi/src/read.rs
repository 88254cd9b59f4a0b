//! The few members of a request that routing and admission need, as gateway and sidecar read them. The body itself
//! stays the bytes the client sent.

use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::scan::{Object, scan};
use crate::{ApiError, Endpoint};

/// Longest model name that is looked at, bytes.
const MAX_MODEL: usize = 256;
/// OpenAI's own bound on `n`.
pub const MAX_CHOICES: u64 = 128;
/// Prompts of one completions request.
const MAX_PROMPTS: u64 = 2048;
/// Completion tokens of a completions request that says nothing, as at OpenAI.
const COMPLETIONS_DEFAULT: u64 = 16;

/// What a body asks for, as far as who sends it on is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// As the client wrote it; perhaps an alias.
    pub model: String,
    pub stream: bool,
    pub tokens: Tokens,
}

/// What bounds a request's tokens beside the bytes of its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tokens {
    /// `prompts` texts, each within the context; `choices` answers over all of them, each at most `ceiling` tokens.
    Generated { prompts: u64, choices: u64, ceiling: Option<u64> },
    /// Inputs only. Each may fill the context, so the context does not bound their sum.
    Embedded,
}

/// Reads `body` shallowly.
///
/// # Errors
/// 400 that names the member.
pub fn read(endpoint: Endpoint, body: &[u8]) -> Result<Wanted, ApiError> {
    let object = scan(body)?;
    if object.get("x_conf").is_some() {
        let message = "'x_conf' belongs to sealed requests and cannot be sent in a plain one.";
        return Err(ApiError::invalid(message).with_param("x_conf"));
    }
    let model: String = object
        .parse("model", "a string")?
        .ok_or_else(|| ApiError::invalid("You must provide a model parameter.").with_param("model"))?;
    if !is_model_name(&model) {
        return Err(ApiError::invalid("'model' is not the name of a model.").with_param("model"));
    }
    let stream = match endpoint {
        Endpoint::Embeddings => false,
        _ => object.parse("stream", "a boolean")?.unwrap_or(false),
    };
    let tokens = match endpoint {
        Endpoint::ChatCompletions => {
            // The newer name wins, as it does where the tokens are generated.
            let older = above_zero(&object, "max_tokens")?;
            let ceiling = above_zero(&object, "max_completion_tokens")?.or(older);
            Tokens::Generated { prompts: 1, choices: choices(&object, "n")?, ceiling }
        }
        Endpoint::Completions => {
            // 0 is allowed here: it asks for the prompt's own log probabilities.
            let ceiling = object.parse("max_tokens", "a whole number")?.or(Some(COMPLETIONS_DEFAULT));
            let prompts = prompts(&object)?;
            let generated = choices(&object, "n")?.max(choices(&object, "best_of")?);
            Tokens::Generated { prompts, choices: prompts.saturating_mul(generated), ceiling }
        }
        Endpoint::Responses => {
            Tokens::Generated { prompts: 1, choices: 1, ceiling: above_zero(&object, "max_output_tokens")? }
        }
        Endpoint::Embeddings => Tokens::Embedded,
    };
    Ok(Wanted { model, stream, tokens })
}

/// Whether `name` can be a model's, before it is looked up or repeated.
#[must_use]
pub fn is_model_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_MODEL && !name.chars().any(char::is_control)
}

fn above_zero(object: &Object<'_>, name: &'static str) -> Result<Option<u64>, ApiError> {
    let value: Option<u64> = object.parse(name, "a whole number above 0")?;
    if value == Some(0) {
        let message = format!("'{name}' must be a whole number above 0.");
        return Err(ApiError::invalid(message).with_param(name));
    }
    Ok(value)
}

fn choices(object: &Object<'_>, name: &'static str) -> Result<u64, ApiError> {
    let value = object.parse(name, "a whole number above 0")?.unwrap_or(1);
    if value == 0 || value > MAX_CHOICES {
        let message = format!("'{name}' must be between 1 and {MAX_CHOICES}.");
        return Err(ApiError::invalid(message).with_param(name));
    }
    Ok(value)
}

/// How many prompts `prompt` holds: one text, one list of tokens, or a list of either.
fn prompts(object: &Object<'_>) -> Result<u64, ApiError> {
    let Some(value) = object.get("prompt").filter(|value| value.get().starts_with('[')) else { return Ok(1) };
    let counted = serde_json::Deserializer::from_str(value.get()).deserialize_seq(Prompts);
    match counted {
        Ok(count) if count <= MAX_PROMPTS => Ok(count.max(1)),
        _ => {
            let message = format!("'prompt' must be at most {MAX_PROMPTS} prompts.");
            Err(ApiError::invalid(message).with_param("prompt"))
        }
    }
}

/// Counts the elements that are prompts themselves. A list of tokens has none, and is one prompt.
struct Prompts;

impl<'de> Visitor<'de> for Prompts {
    type Value = u64;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<u64, A::Error> {
        let mut count = 0;
        while let Some(element) = list.next_element::<&'de RawValue>()? {
            if element.get().starts_with(['"', '[']) {
                count += 1;
            }
            if count > MAX_PROMPTS {
                while list.next_element::<IgnoredAny>()?.is_some() {}
            }
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Endpoint::{ChatCompletions, Completions, Embeddings, Responses};

    fn param(endpoint: Endpoint, body: &str) -> Option<String> {
        let error = read(endpoint, body.as_bytes()).unwrap_err();
        assert_eq!(error.status, 400, "{body}");
        error.body.error.param
    }

    fn tokens(endpoint: Endpoint, members: &str) -> (u64, u64, Option<u64>) {
        let body = format!(r#"{{"model":"m"{members}}}"#);
        match read(endpoint, body.as_bytes()).unwrap().tokens {
            Tokens::Generated { prompts, choices, ceiling } => (prompts, choices, ceiling),
            Tokens::Embedded => panic!("{body}"),
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for endpoint in Endpoint::ALL {
            for (body, name) in [
                (r#"{"messages":[]}"#, Some("model")),
                (r#"{"model":null}"#, Some("model")),
                (r#"{"model":7}"#, Some("model")),
                (r#"{"model":""}"#, Some("model")),
                (r#"{"model":"a\nb"}"#, Some("model")),
                (r#"{"model":"m","model":"m"}"#, Some("model")),
                (r#"{"model":"m","x_conf":null}"#, Some("x_conf")),
                (r#"[]"#, None),
                (r#"{"model":"m""#, None),
            ] {
                assert_eq!(param(endpoint, body).as_deref(), name, "{endpoint:?} {body}");
            }
        }
        for (endpoint, body, name) in [
            (ChatCompletions, r#"{"model":"m","stream":1}"#, "stream"),
            (ChatCompletions, r#"{"model":"m","max_tokens":0}"#, "max_tokens"),
            (ChatCompletions, r#"{"model":"m","max_tokens":1.5}"#, "max_tokens"),
            (ChatCompletions, r#"{"model":"m","max_completion_tokens":-1}"#, "max_completion_tokens"),
            (ChatCompletions, r#"{"model":"m","n":129}"#, "n"),
            (Completions, r#"{"model":"m","max_tokens":"1"}"#, "max_tokens"),
            (Completions, r#"{"model":"m","best_of":0}"#, "best_of"),
            (Completions, r#"{"model":"m","prompt":"a","prompt":["a","b"]}"#, "prompt"),
            (Responses, r#"{"model":"m","stream":"yes"}"#, "stream"),
            (Responses, r#"{"model":"m","max_output_tokens":0}"#, "max_output_tokens"),
        ] {
            assert_eq!(param(endpoint, body).as_deref(), Some(name), "{endpoint:?} {body}");
        }
        let many = format!(r#"{{"model":"m","prompt":[{}""]}}"#, r#""","#.repeat(2048));
        assert_eq!(param(Completions, &many).as_deref(), Some("prompt"));
    }

    #[test]
    fn the_newer_ceiling_wins_and_counts_for_every_choice() {
        let members = r#","max_tokens":9,"max_completion_tokens":5,"n":3,"stream":null"#;
        assert_eq!(tokens(ChatCompletions, members), (1, 3, Some(5)));
        assert_eq!(tokens(ChatCompletions, r#","max_tokens":9"#), (1, 1, Some(9)));
        assert_eq!(tokens(ChatCompletions, ""), (1, 1, None));
        assert_eq!(tokens(Responses, r#","max_output_tokens":9,"max_tokens":0,"n":7"#), (1, 1, Some(9)));
    }

    #[test]
    fn completions_count_prompts_and_the_answers_that_are_drawn_for_each() {
        assert_eq!(tokens(Completions, ""), (1, 1, Some(16)));
        assert_eq!(tokens(Completions, r#","max_tokens":0"#), (1, 1, Some(0)));
        assert_eq!(tokens(Completions, r#","n":2,"best_of":5,"max_tokens":7"#), (1, 5, Some(7)));
        for (prompt, count) in
            [(r#""a""#, 1), (r#"["a","b"]"#, 2), ("[1, 2, 3]", 1), ("[[1,2],[3]]", 2), ("[]", 1), ("null", 1)]
        {
            let members = format!(r#","prompt":{prompt},"n":3"#);
            assert_eq!(tokens(Completions, &members), (count, 3 * count, Some(16)), "{prompt}");
        }
    }

    #[test]
    fn embeddings_generate_nothing() {
        let body = br#"{"model":"m","input":["a"],"max_tokens":"of no meaning here"}"#;
        assert_eq!(read(Embeddings, body).unwrap().tokens, Tokens::Embedded);
    }
}
