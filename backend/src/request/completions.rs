//! The body of a completion of plain text.

use cocoon_engine_api::{Prompt, Ready};
use cocoon_openapi::ApiError;
use cocoon_openapi::scan::{self, Object};
use serde_json::value::RawValue;

use super::TextRequest;
use super::chat::MAX_CHOICES;
use super::fields::{
    ceiling, elements, integer, missing, optional, present, read, required_text, unsupported_value,
    wrong_type, wrong_value,
};
use super::sampling::{ignored, sampling, stop, stream};
use crate::answer::Form;

/// Most texts of a request, as at OpenAI.
const MAX_PROMPTS: usize = 2048;
/// Most tokens of a prompt that is given as tokens.
const MAX_TOKENS: usize = 1 << 20;
/// Most alternatives to a token, as at OpenAI.
const MAX_LOGPROBS: u64 = 5;
/// OpenAI's default.
const DEFAULT_MAX_TOKENS: u64 = 16;

/// Reads a body.
///
/// # Errors
/// 400, naming the `param`.
pub(super) fn parse(body: &[u8], engine: &Ready) -> Result<TextRequest, ApiError> {
    let object = scan::scan(body)?;
    required_text(&object, "model")?;
    ignored(&object)?;
    if let Some(suffix) = optional::<String>(&object, "suffix", "a string")?
        && !suffix.is_empty()
    {
        return Err(unsupported_value("suffix", "this model does not fill in"));
    }
    let value = present(&object, "prompt").ok_or_else(|| missing("prompt"))?;
    let prompts = prompts(value, "prompt", MAX_PROMPTS, engine)?;
    let choices = integer(&object, "n", (1, MAX_CHOICES))?.unwrap_or(1);
    best_of(&object, choices)?;
    if prompts.len() as u64 * choices > MAX_CHOICES {
        return Err(wrong_value("n", &format!("at most {MAX_CHOICES} choices for all prompts together")));
    }
    let echo =
        match optional(&object, "echo", "a boolean")?.unwrap_or(false) {
            false => None,
            true => Some(texts(&prompts).ok_or_else(|| {
                unsupported_value("echo", "a prompt that is given as tokens cannot be echoed")
            })?),
        };
    let logprobs = integer(&object, "logprobs", (0, MAX_LOGPROBS))?.map(|top| top as u8);
    if echo.is_some() && logprobs.is_some() {
        return Err(unsupported_value("logprobs", "those of an echoed prompt are not known"));
    }
    let (stream, include_usage) = stream(&object)?;
    Ok(TextRequest {
        prompts,
        prompt_param: "prompt",
        choices: choices as usize,
        max_tokens: Some(ceiling(&object, "max_tokens")?.unwrap_or(DEFAULT_MAX_TOKENS)),
        sampling: sampling(&object, engine)?,
        stop: stop(&object)?,
        logprobs,
        constraint: None,
        constraint_param: "prompt",
        calls: None,
        stream,
        form: Form::Completion { include_usage, echo, choices: choices as usize },
    })
}

/// Only as many as are shown can be generated: the best of more is not chosen here.
fn best_of(object: &Object<'_>, choices: u64) -> Result<(), ApiError> {
    match integer(object, "best_of", (1, MAX_CHOICES))? {
        Some(best) if best != choices => Err(unsupported_value("best_of", "only the same as 'n' here")),
        _ => Ok(()),
    }
}

fn texts(prompts: &[Prompt]) -> Option<Vec<String>> {
    let text = |prompt: &Prompt| match prompt {
        Prompt::Text { text } => Some(text.clone()),
        Prompt::Chat(_) | Prompt::Tokens { .. } => None,
    };
    prompts.iter().map(text).collect()
}

/// A text, texts, tokens, or lists of tokens; none of them empty.
pub(super) fn prompts(
    value: &RawValue,
    param: &str,
    most: usize,
    engine: &Ready,
) -> Result<Vec<Prompt>, ApiError> {
    const EXPECTED: &str = "a string, an array of strings, of tokens, or of arrays of tokens";
    let text = |text: String, param: &str| match text.is_empty() {
        true => Err(wrong_value(param, "a text that is not empty")),
        false => Ok(Prompt::Text { text }),
    };
    let tokens = |value: &RawValue, param: &str| {
        elements(value, MAX_TOKENS, param, EXPECTED)?;
        let tokens: Vec<u32> = read(value, param, EXPECTED)?;
        match tokens.iter().all(|token| *token < engine.vocabulary) && !tokens.is_empty() {
            true => Ok(Prompt::Tokens { tokens }),
            false => {
                Err(wrong_value(param, &format!("at least one token, each below {}", engine.vocabulary)))
            }
        }
    };
    if value.get().starts_with('"') {
        return Ok(vec![text(read(value, param, EXPECTED)?, param)?]);
    }
    let inner = value.get().strip_prefix('[').map(str::trim_start).unwrap_or_default();
    match inner.bytes().next() {
        Some(b'0'..=b'9' | b'-') => Ok(vec![tokens(value, param)?]),
        Some(b'"' | b'[') => {
            let one = |(at, value): (usize, &&RawValue)| {
                let param = format!("{param}[{at}]");
                if value.get().starts_with('"') {
                    text(read(value, &param, EXPECTED)?, &param)
                } else {
                    tokens(value, &param)
                }
            };
            elements(value, most, param, EXPECTED)?.iter().enumerate().map(one).collect()
        }
        Some(b']') => Err(wrong_value(param, "at least one text")),
        _ => Err(wrong_type(param, EXPECTED)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::chat::tests::engine;

    fn with(members: &str) -> String {
        format!(r#"{{"model":"m"{members}}}"#)
    }

    fn refused(body: &str) -> Option<String> {
        let error = parse(body.as_bytes(), &engine()).expect_err(body);
        assert_eq!(error.status, 400, "{body}");
        error.body.error.param
    }

    fn text(text: &str) -> Prompt {
        Prompt::Text { text: text.into() }
    }

    #[test]
    fn a_prompt_is_a_text_texts_tokens_or_lists_of_tokens() {
        let tokens = |tokens: &[u32]| Prompt::Tokens { tokens: tokens.to_vec() };
        for (json, expected) in [
            (r#""a""#, vec![text("a")]),
            (r#"["a", "b"]"#, vec![text("a"), text("b")]),
            ("[ 1, 2]", vec![tokens(&[1, 2])]),
            ("[[1],[2,3]]", vec![tokens(&[1]), tokens(&[2, 3])]),
        ] {
            let request = parse(with(&format!(r#","prompt":{json}"#)).as_bytes(), &engine()).unwrap();
            assert_eq!(request.prompts, expected, "{json}");
            assert_eq!((request.max_tokens, request.choices), (Some(16), 1));
        }
        for json in ["1", "{}", "[]", r#""""#, "[true]", "[[]]", "[1000]", "[-1]", "[1.5]", r#"["a",1]"#] {
            let param = refused(&with(&format!(r#","prompt":{json}"#)));
            assert!(param.is_some_and(|param| param.starts_with("prompt")), "{json}");
        }
        assert_eq!(refused(&with("")).as_deref(), Some("prompt"));
    }

    #[test]
    fn what_is_not_honoured_is_refused_by_name() {
        for (members, param) in [
            (r#","suffix":"x""#, "suffix"),
            (r#","best_of":2"#, "best_of"),
            (r#","n":129"#, "n"),
            (r#","logprobs":6"#, "logprobs"),
            (r#","logprobs":true"#, "logprobs"),
            (r#","echo":true,"logprobs":1"#, "logprobs"),
        ] {
            assert_eq!(
                refused(&with(&format!(r#","prompt":"a"{members}"#))).as_deref(),
                Some(param),
                "{members}"
            );
        }
        assert_eq!(refused(&with(r#","prompt":["a","b"],"n":65"#)).as_deref(), Some("n"));
        assert_eq!(refused(&with(r#","prompt":[1],"echo":true"#)).as_deref(), Some("echo"));
        assert!(
            parse(with(r#","prompt":"a","n":2,"best_of":2,"echo":true,"suffix":"""#).as_bytes(), &engine())
                .is_ok()
        );
    }
}
