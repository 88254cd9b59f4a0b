//! The body of a response. Nothing is kept between requests, so whatever would need that is refused by name.

use cocoon_engine_api::{Prompt, Ready};
use cocoon_openapi::ApiError;
use cocoon_openapi::scan::{self, Object};
use serde_json::value::RawValue;

use super::TextRequest;
use super::fields::{
    ceiling, elements, integer, member, member_text, missing, nested, only, optional, present, quoted, read,
    required_text, unsupported, unsupported_value, wrong_value,
};
use super::format::format;
use super::messages::text;
use super::sampling::{effort, ignored, metadata, not_stored, stream, temperature_and_top_p};
use super::tools::{Choice, Place, tools};
use crate::answer::Form;
use crate::answer::responses::Echo;
use crate::calls::{self, Past, Turn};

/// Most items of an input.
const MAX_ITEMS: usize = 2048;
const MAX_INCLUDES: usize = 16;
/// Most alternatives to a token, as at OpenAI.
const MAX_TOP_LOGPROBS: u64 = 20;

/// Reads a body.
///
/// # Errors
/// 400, naming the `param`.
pub(super) fn parse(body: &[u8], engine: &Ready) -> Result<TextRequest, ApiError> {
    let object = scan::scan(body)?;
    required_text(&object, "model")?;
    stateless(&object)?;
    let tools = tools(&object, Place::Flat)?;
    let parallel = optional(&object, "parallel_tool_calls", "a boolean")?.unwrap_or(true);
    let wanted = text_format(&object)?;
    if wanted.is_some() && tools.choice == Choice::Auto {
        return Err(unsupported_value(
            "text.format",
            "JSON cannot be combined with tools that the model may or may not call",
        ));
    }
    let forced = tools.constraint();
    let reasoning = reasoning_effort(&object)?;
    let effort = effort(reasoning.clone(), "reasoning.effort", engine)?;
    let mut turns = Vec::new();
    let instructions: Option<String> = optional(&object, "instructions", "a string")?;
    turns.extend(instructions.map(Turn::System));
    input(&object, &mut turns)?;
    let (logprobs, top_logprobs) = logprobs(&object)?;
    let (stream, _) = stream(&object)?;
    let sampling = temperature_and_top_p(&object)?;
    let max_tokens = ceiling(&object, "max_output_tokens")?;
    let raw = |name, default: &str| {
        present(&object, name).map_or_else(|| default.to_owned(), |value| value.get().to_owned())
    };
    let echo = Echo {
        instructions: raw("instructions", "null"),
        max_output_tokens: max_tokens,
        metadata: metadata(&object)?,
        parallel_tool_calls: parallel,
        reasoning_effort: reasoning,
        temperature: sampling.temperature,
        text: with_format(&raw("text", r#"{"format":{"type":"text"}}"#)),
        tool_choice: raw("tool_choice", r#""auto""#),
        tools: raw("tools", "[]"),
        top_logprobs,
        top_p: optional(&object, "top_p", "a number")?.unwrap_or(1.0),
    };
    Ok(TextRequest {
        prompts: vec![Prompt::Chat(calls::chat(turns, &tools.offered, effort))],
        prompt_param: "input",
        choices: 1,
        max_tokens,
        sampling,
        stop: Vec::new(),
        logprobs,
        constraint_param: if forced.is_some() { "tools" } else { "text.format" },
        constraint: forced.or(wanted),
        calls: tools.rule(parallel),
        stream,
        form: Form::Response(Box::new(echo)),
    })
}

/// What a server without a memory cannot do, and what says nothing to the answer.
fn stateless(object: &Object<'_>) -> Result<(), ApiError> {
    const WHY: &str = "nothing is kept here: send the whole conversation in 'input'";
    for name in ["previous_response_id", "conversation"] {
        if present(object, name).is_some() {
            return Err(unsupported_value(name, WHY));
        }
    }
    if optional(object, "background", "a boolean")?.unwrap_or(false) {
        return Err(unsupported_value("background", "nothing is kept here to be fetched later"));
    }
    not_stored(object)?;
    if present(object, "prompt").is_some() {
        return Err(unsupported("prompt"));
    }
    ignored(object)?;
    only(object, "service_tier", &["auto", "default"])?;
    only(object, "truncation", &["disabled"])?;
    // It bounds built-in tools, of which there are none.
    optional::<u64>(object, "max_tool_calls", "an integer")?;
    Ok(())
}

fn text_format(object: &Object<'_>) -> Result<Option<cocoon_engine_api::Constraint>, ApiError> {
    let Some(value) = present(object, "text") else { return Ok(None) };
    let text = nested(value, "text")?;
    if let Some(value) = present(&text, "verbosity")
        && read::<String>(value, "text.verbosity", "a string")? != "medium"
    {
        return Err(unsupported_value("text.verbosity", "only 'medium' here"));
    }
    match present(&text, "format") {
        Some(value) => format(value, "text.format", Place::Flat),
        None => Ok(None),
    }
}

/// `text` with the format that holds where it names none.
fn with_format(text: &str) -> String {
    match scan::scan(text.as_bytes()) {
        Ok(object) if present(&object, "format").is_none() => {
            let rest = text.trim_start().trim_start_matches('{').trim_start();
            let comma = if rest.starts_with('}') { "" } else { "," };
            format!(r#"{{"format":{{"type":"text"}}{comma}{rest}"#)
        }
        _ => text.to_owned(),
    }
}

fn reasoning_effort(object: &Object<'_>) -> Result<Option<String>, ApiError> {
    let Some(value) = present(object, "reasoning") else { return Ok(None) };
    let reasoning = nested(value, "reasoning")?;
    for name in ["summary", "generate_summary"] {
        if present(&reasoning, name).is_some() {
            return Err(unsupported(&format!("reasoning.{name}")));
        }
    }
    present(&reasoning, "effort").map(|value| read(value, "reasoning.effort", "a string")).transpose()
}

/// Whether log probabilities are wanted, and of how many alternatives.
fn logprobs(object: &Object<'_>) -> Result<(Option<u8>, u8), ApiError> {
    const LOGPROBS: &str = "message.output_text.logprobs";
    /// There is no reasoning to show, encrypted or not.
    const NOTHING: &str = "reasoning.encrypted_content";
    let top = integer(object, "top_logprobs", (0, MAX_TOP_LOGPROBS))?;
    let mut wanted = top.is_some_and(|top| top > 0);
    if let Some(value) = present(object, "include") {
        for value in elements(value, MAX_INCLUDES, "include", "an array of strings")? {
            match read::<String>(value, "include", "an array of strings")?.as_str() {
                LOGPROBS => wanted = true,
                NOTHING => {}
                _ => {
                    return Err(unsupported_value(
                        "include",
                        &format!("only {} here", quoted(&[LOGPROBS, NOTHING])),
                    ));
                }
            }
        }
    }
    let top = top.unwrap_or(0) as u8;
    Ok((wanted.then_some(top), top))
}

/// A text, or a conversation in items.
fn input(object: &Object<'_>, turns: &mut Vec<Turn>) -> Result<(), ApiError> {
    const EXPECTED: &str = "a string or an array of items";
    let value = present(object, "input").ok_or_else(|| missing("input"))?;
    if value.get().starts_with('"') {
        turns.push(Turn::User(read(value, "input", EXPECTED)?));
        return Ok(());
    }
    let items = elements(value, MAX_ITEMS, "input", EXPECTED)?;
    if items.is_empty() {
        return Err(wrong_value("input", "at least one item"));
    }
    for (at, value) in items.iter().enumerate() {
        item(value, &format!("input[{at}]"), turns)?;
    }
    Ok(())
}

fn item(value: &RawValue, param: &str, turns: &mut Vec<Turn>) -> Result<(), ApiError> {
    let object = nested(value, param)?;
    let kind = match present(&object, "type") {
        Some(value) => read::<String>(value, &format!("{param}.type"), "a string")?,
        None => "message".to_owned(),
    };
    match kind.as_str() {
        "message" => turns.push(message(&object, param)?),
        "function_call" => {
            let call = Past {
                name: member_text(&object, param, "name")?,
                arguments: member_text(&object, param, "arguments")?,
            };
            // What an assistant said and called in one turn is one message.
            match turns.last_mut() {
                Some(Turn::Assistant { calls, .. }) => calls.push(call),
                _ => turns.push(Turn::Assistant { text: String::new(), calls: vec![call] }),
            }
        }
        "function_call_output" => {
            member_text(&object, param, "call_id")?;
            let (output, param) = member(&object, param, "output")?;
            turns.push(Turn::Result(text(output, &param)?));
        }
        // No model here makes one that it could read again.
        "reasoning" => {}
        "item_reference" => {
            return Err(unsupported_value(&format!("{param}.type"), "nothing is kept here to refer to"));
        }
        _ => return Err(unsupported_value(&format!("{param}.type"), "only messages and functions here")),
    }
    Ok(())
}

fn message(object: &Object<'_>, param: &str) -> Result<Turn, ApiError> {
    const ROLES: [&str; 4] = ["system", "developer", "user", "assistant"];
    let role = member_text(object, param, "role")?;
    let (content, content_param) = member(object, param, "content")?;
    let content = text(content, &content_param)?;
    Ok(match role.as_str() {
        "system" | "developer" => Turn::System(content),
        "user" => Turn::User(content),
        "assistant" => Turn::Assistant { text: content, calls: Vec::new() },
        _ => return Err(wrong_value(&format!("{param}.role"), &format!("one of {}", quoted(&ROLES)))),
    })
}

#[cfg(test)]
mod tests {
    use cocoon_engine_api::Constraint;

    use super::*;
    use crate::request::chat::tests::engine;

    fn with(members: &str) -> Result<TextRequest, ApiError> {
        parse(format!(r#"{{"model":"m"{members}}}"#).as_bytes(), &engine())
    }

    fn told(request: &TextRequest) -> Vec<(String, String)> {
        let [Prompt::Chat(chat)] = request.prompts.as_slice() else { panic!("{request:?}") };
        chat.messages.iter().map(|message| (message.role.clone(), message.content.clone())).collect()
    }

    fn pair(role: &str, content: &str) -> (String, String) {
        (role.into(), content.into())
    }

    #[test]
    fn an_input_is_a_text_or_a_conversation() {
        let request = with(r#","input":"hi","instructions":"be brief""#).unwrap();
        assert_eq!(told(&request), [pair("system", "be brief"), pair("user", "hi")]);
        let request = with(
            r#","input":[{"role":"user","content":[{"type":"input_text","text":"weather?"}]},
                {"type":"message","role":"assistant","content":[{"type":"output_text","text":"let me see"}]},
                {"type":"reasoning","summary":[]},
                {"type":"function_call","call_id":"c","name":"f","arguments":"{}"},
                {"type":"function_call_output","call_id":"c","output":"sunny"}]"#,
        );
        let told = told(&request.unwrap());
        assert_eq!((told.len(), told[0].1.as_str()), (3, "weather?"));
        assert!(told[1].1.starts_with("let me see\n<tool_call>") && told[2].1.contains("sunny"), "{told:?}");
    }

    #[test]
    fn format_tools_and_logprobs_are_read() {
        let request = with(
            r#","input":"hi","text":{"format":{"type":"json_schema","name":"n","schema":{"b":1}}},
               "include":["message.output_text.logprobs"],"max_output_tokens":7"#,
        );
        let request = request.unwrap();
        assert_eq!(request.constraint, Some(Constraint::JsonSchema { schema: r#"{"b":1}"#.into() }));
        assert_eq!((request.logprobs, request.max_tokens), (Some(0), Some(7)));
        let request = with(
            r#","input":"hi","tools":[{"type":"function","name":"f","parameters":null,"strict":true}],
               "tool_choice":{"type":"function","name":"f"}"#,
        );
        assert!(matches!(request.unwrap().constraint, Some(Constraint::Call { .. })));
        assert_eq!(with_format("{}"), r#"{"format":{"type":"text"}}"#);
        assert_eq!(
            with_format(r#"{ "verbosity":"medium"}"#),
            r#"{"format":{"type":"text"},"verbosity":"medium"}"#
        );
    }

    #[test]
    fn what_needs_a_memory_is_refused_by_name() {
        for (members, param) in [
            ("", "input"),
            (r#","input":[]"#, "input"),
            (r#","input":7"#, "input"),
            (r#","input":"hi","previous_response_id":"resp_1""#, "previous_response_id"),
            (r#","input":"hi","conversation":"conv_1""#, "conversation"),
            (r#","input":"hi","background":true"#, "background"),
            (r#","input":"hi","store":true"#, "store"),
            (r#","input":"hi","prompt":{"id":"p"}"#, "prompt"),
            (r#","input":"hi","truncation":"auto""#, "truncation"),
            (r#","input":"hi","include":["file_search_call.results"]"#, "include"),
            (r#","input":"hi","reasoning":{"effort":"low"}"#, "reasoning.effort"),
            (r#","input":"hi","reasoning":{"summary":"auto"}"#, "reasoning.summary"),
            (r#","input":"hi","tools":[{"type":"web_search"}]"#, "tools[0].type"),
            (r#","input":[{"type":"item_reference","id":"x"}]"#, "input[0].type"),
            (r#","input":[{"type":"function_call_output","output":"x"}]"#, "input[0].call_id"),
            (
                r#","input":[{"role":"user","content":[{"type":"input_image","image_url":"file:///etc/passwd"}]}]"#,
                "input[0].content[0].image_url",
            ),
        ] {
            let error = with(members).expect_err(members);
            assert_eq!((error.status, error.body.error.param.as_deref()), (400, Some(param)), "{members}");
        }
        assert!(with(r#","input":"hi","store":false,"background":false,"truncation":"disabled""#).is_ok());
    }
}
