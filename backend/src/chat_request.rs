//! The body of a chat completion: what is honoured, and a 400 for what would be silently left out.

use cocoon_engine_api::Message;
use cocoon_openapi::ApiError;
use cocoon_openapi::scan::{self, Object};
use serde::de::{DeserializeOwned, Deserializer as _, SeqAccess, Visitor};
use serde_json::value::RawValue;

#[cfg(test)]
mod tests;

/// Most messages of a request, as at OpenAI.
const MAX_MESSAGES: usize = 2048;
/// Most parts of a message.
const MAX_PARTS: usize = 2048;
/// Most stop strings, as at OpenAI.
const MAX_STOPS: usize = 4;
/// Longest stop string, bytes: the engine holds back as much of every answer.
const MAX_STOP_LENGTH: usize = 1024;

/// A request that can be answered as it was meant.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ChatRequest {
    pub(crate) messages: Vec<Message>,
    /// The caller's ceiling of completion tokens.
    pub(crate) max_tokens: Option<u64>,
    pub(crate) temperature: f64,
    pub(crate) top_p: f64,
    pub(crate) stop: Vec<String>,
    pub(crate) stream: bool,
    pub(crate) include_usage: bool,
}

/// Reads a body.
///
/// # Errors
/// 400, naming the `param`.
pub(crate) fn parse(body: &[u8]) -> Result<ChatRequest, ApiError> {
    let object = scan::scan(body)?;
    required_text(&object, "model")?;
    refuse_unsupported(&object)?;
    ignored(&object)?;
    let stream = optional(&object, "stream", "a boolean")?.unwrap_or(false);
    Ok(ChatRequest {
        messages: messages(&object)?,
        max_tokens: max_tokens(&object)?,
        temperature: number(&object, "temperature", |value| (0.0..=2.0).contains(&value), "between 0 and 2")?,
        top_p: number(&object, "top_p", |value| value > 0.0 && value <= 1.0, "above 0 and at most 1")?,
        stop: stop(&object)?,
        stream,
        include_usage: include_usage(&object, stream)?,
    })
}

fn wrong_type(param: &str, expected: &str) -> ApiError {
    ApiError::invalid(format!("Invalid type for '{param}': expected {expected}."))
        .with_param(param)
        .with_code("invalid_type")
}

fn wrong_value(param: &str, expected: &str) -> ApiError {
    ApiError::invalid(format!("Invalid value for '{param}': expected {expected}."))
        .with_param(param)
        .with_code("invalid_value")
}

fn missing(param: &str) -> ApiError {
    ApiError::invalid(format!("Missing required parameter: '{param}'."))
        .with_param(param)
        .with_code("missing_required_parameter")
}

fn unsupported(param: &str) -> ApiError {
    ApiError::invalid(format!("Unsupported parameter: '{param}' is not supported with this model."))
        .with_param(param)
        .with_code("unsupported_parameter")
}

/// A member that is there and not null.
fn present<'a>(object: &Object<'a>, name: &str) -> Option<&'a RawValue> {
    object.get(name).filter(|value| value.get() != "null")
}

fn read<T: DeserializeOwned>(value: &RawValue, param: &str, expected: &str) -> Result<T, ApiError> {
    serde_json::from_str(value.get()).map_err(|_| wrong_type(param, expected))
}

fn optional<T: DeserializeOwned>(
    object: &Object<'_>,
    name: &str,
    expected: &str,
) -> Result<Option<T>, ApiError> {
    present(object, name).map(|value| read(value, name, expected)).transpose()
}

fn required_text(object: &Object<'_>, name: &str) -> Result<String, ApiError> {
    optional(object, name, "a string")?.ok_or_else(|| missing(name))
}

fn number(
    object: &Object<'_>,
    name: &str,
    allowed: impl Fn(f64) -> bool,
    range: &str,
) -> Result<f64, ApiError> {
    let value = optional(object, name, "a number")?.unwrap_or(1.0);
    if allowed(value) { Ok(value) } else { Err(wrong_value(name, &format!("a number {range}"))) }
}

fn max_tokens(object: &Object<'_>) -> Result<Option<u64>, ApiError> {
    let read = |name: &'static str| match optional(object, name, "a positive integer")? {
        Some(0_u64) => Err(wrong_value(name, "an integer of at least 1")),
        tokens => Ok(tokens),
    };
    let old_name = read("max_tokens")?;
    Ok(read("max_completion_tokens")?.or(old_name))
}

fn stop(object: &Object<'_>) -> Result<Vec<String>, ApiError> {
    const EXPECTED: &str = "a string or an array of strings";
    let Some(value) = present(object, "stop") else { return Ok(Vec::new()) };
    let stops = if value.get().starts_with('[') {
        let values = elements(value, MAX_STOPS, "stop", EXPECTED)?;
        values.iter().map(|value| read(value, "stop", EXPECTED)).collect::<Result<Vec<String>, _>>()?
    } else {
        vec![read(value, "stop", EXPECTED)?]
    };
    if stops.iter().any(|stop| stop.is_empty() || stop.len() > MAX_STOP_LENGTH) {
        return Err(wrong_value("stop", &format!("strings of 1 to {MAX_STOP_LENGTH} bytes")));
    }
    Ok(stops)
}

fn include_usage(object: &Object<'_>, stream: bool) -> Result<bool, ApiError> {
    const NAME: &str = "stream_options";
    let Some(value) = present(object, NAME) else { return Ok(false) };
    if !stream {
        return Err(ApiError::invalid(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
        )
        .with_param(NAME)
        .with_code("invalid_value"));
    }
    let options = nested(value, NAME)?;
    let Some(value) = present(&options, "include_usage") else { return Ok(false) };
    read(value, "stream_options.include_usage", "a boolean")
}

/// Parameters that say nothing about the answer: their types are checked, their values are not used.
fn ignored(object: &Object<'_>) -> Result<(), ApiError> {
    optional::<String>(object, "user", "a string")?;
    optional::<bool>(object, "parallel_tool_calls", "a boolean")?;
    if let Some(metadata) = present(object, "metadata") {
        nested(metadata, "metadata")?;
    }
    Ok(())
}

/// Parameters that are not honoured yet and whose silent loss would change the answer.
fn refuse_unsupported(object: &Object<'_>) -> Result<(), ApiError> {
    let text_is = |name: &'static str, plain: &[&str]| {
        let Some(value) = present(object, name) else { return Ok(()) };
        let text: Option<String> = serde_json::from_str(value.get()).ok();
        if text.is_some_and(|text| plain.contains(&text.as_str())) { Ok(()) } else { Err(unsupported(name)) }
    };
    let is_empty = |name: &'static str, empty: fn(&serde_json::Value) -> bool| {
        let Some(value) = present(object, name) else { return Ok(()) };
        // What is long is not empty, and is not worth reading.
        let value = Some(value.get()).filter(|json| json.len() < 64).map(serde_json::from_str);
        match value {
            Some(Ok(ref value)) if empty(value) => Ok(()),
            _ => Err(unsupported(name)),
        }
    };
    for name in ["tools", "functions"] {
        is_empty(name, |value| value.as_array().is_some_and(Vec::is_empty))?;
    }
    is_empty("logit_bias", |value| value.as_object().is_some_and(serde_json::Map::is_empty))?;
    is_empty("response_format", |value| *value == serde_json::json!({ "type": "text" }))?;
    is_empty("modalities", |value| *value == serde_json::json!(["text"]))?;
    text_is("tool_choice", &["none"])?;
    text_is("function_call", &["none"])?;
    text_is("service_tier", &["auto", "default"])?;
    for name in ["logprobs", "store"] {
        if optional(object, name, "a boolean")?.unwrap_or(false) {
            return Err(unsupported(name));
        }
    }
    for name in ["presence_penalty", "frequency_penalty", "top_logprobs"] {
        if optional(object, name, "a number")?.unwrap_or(0.0) != 0.0 {
            return Err(unsupported(name));
        }
    }
    match optional(object, "n", "a positive integer")? {
        None | Some(1_u64) => {}
        Some(0) => return Err(wrong_value("n", "an integer of at least 1")),
        Some(_) => return Err(unsupported("n")),
    }
    for name in ["seed", "audio", "prediction", "web_search_options", "reasoning_effort", "verbosity"] {
        if present(object, name).is_some() {
            return Err(unsupported(name));
        }
    }
    Ok(())
}

fn messages(object: &Object<'_>) -> Result<Vec<Message>, ApiError> {
    const EXPECTED: &str = "an array of objects";
    let value = present(object, "messages").ok_or_else(|| missing("messages"))?;
    let values = elements(value, MAX_MESSAGES, "messages", EXPECTED)?;
    if values.is_empty() {
        return Err(wrong_value("messages", "at least one message"));
    }
    values.iter().enumerate().map(|(at, value)| message(value, &format!("messages[{at}]"))).collect()
}

fn message(value: &RawValue, param: &str) -> Result<Message, ApiError> {
    let object = nested(value, param)?;
    let role_param = format!("{param}.role");
    let role = present(&object, "role").ok_or_else(|| missing(&role_param))?;
    let role: String = read(role, &role_param, "a string")?;
    let role = match role.as_str() {
        "system" | "developer" => "system",
        "user" => "user",
        "assistant" => "assistant",
        "tool" | "function" => return Err(unsupported(&role_param)),
        _ => return Err(wrong_value(&role_param, "one of 'system', 'developer', 'user' and 'assistant'")),
    };
    for name in ["tool_calls", "function_call", "audio"] {
        if present(&object, name).is_some() {
            return Err(unsupported(&format!("{param}.{name}")));
        }
    }
    let content_param = format!("{param}.content");
    let content = present(&object, "content").ok_or_else(|| missing(&content_param))?;
    Ok(Message { role: role.to_owned(), content: self::content(content, &content_param)? })
}

fn content(value: &RawValue, param: &str) -> Result<String, ApiError> {
    const EXPECTED: &str = "a string or an array of content parts";
    if !value.get().starts_with('[') {
        return read(value, param, EXPECTED);
    }
    let parts = elements(value, MAX_PARTS, param, EXPECTED)?;
    if parts.is_empty() {
        return Err(wrong_value(param, "at least one content part"));
    }
    let text = |(at, value): (usize, &&RawValue)| part(value, &format!("{param}[{at}]"));
    parts.iter().enumerate().map(text).collect()
}

fn part(value: &RawValue, param: &str) -> Result<String, ApiError> {
    let object = nested(value, param)?;
    let member = |name: &str| {
        let param = format!("{param}.{name}");
        let value = present(&object, name).ok_or_else(|| missing(&param))?;
        Ok::<_, ApiError>((value, param))
    };
    let (kind, kind_param) = member("type")?;
    match read::<String>(kind, &kind_param, "a string")?.as_str() {
        "text" => {
            let (text, param) = member("text")?;
            read(text, &param, "a string")
        }
        "image_url" => {
            let (image, param) = member("image_url")?;
            Err(image_refusal(image, &param))
        }
        "input_audio" | "file" | "refusal" => Err(unsupported(&kind_param)),
        _ => Err(wrong_value(&kind_param, "'text'")),
    }
}

/// Nothing here ever fetches a URL or opens a file: what is not `data:` says so, before the model's abilities do.
fn image_refusal(value: &RawValue, param: &str) -> ApiError {
    let url_param = format!("{param}.url");
    let url = if value.get().starts_with('"') {
        read::<String>(value, param, "a string")
    } else {
        nested(value, param).and_then(|image| {
            let url = present(&image, "url").ok_or_else(|| missing(&url_param))?;
            read(url, &url_param, "a string")
        })
    };
    let url = match url {
        Ok(url) => url,
        Err(error) => return error,
    };
    let is_data = url.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:"));
    let message = if is_data {
        "This model does not take images."
    } else {
        "Images must be in the request itself: only data: URLs are accepted."
    };
    ApiError::invalid(message).with_param(url_param).with_code("invalid_image_url")
}

/// A nested object.
fn nested<'a>(value: &'a RawValue, param: &str) -> Result<Object<'a>, ApiError> {
    scan::scan(value.get().as_bytes()).map_err(|_| wrong_type(param, "an object"))
}

/// The elements of an array, unread. Never more than `most`: a body of millions of small elements would otherwise take
/// many times its own size.
fn elements<'a>(
    value: &'a RawValue,
    most: usize,
    param: &str,
    expected: &str,
) -> Result<Vec<&'a RawValue>, ApiError> {
    struct Elements(usize);
    impl<'de> Visitor<'de> for Elements {
        type Value = Option<Vec<&'de RawValue>>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
            let mut elements = Vec::new();
            while elements.len() < self.0 {
                match array.next_element()? {
                    Some(element) => elements.push(element),
                    None => return Ok(Some(elements)),
                }
            }
            let mut more = false;
            while array.next_element::<serde::de::IgnoredAny>()?.is_some() {
                more = true;
            }
            Ok((!more).then_some(elements))
        }
    }
    let mut json = serde_json::Deserializer::from_str(value.get());
    let read = json.deserialize_seq(Elements(most)).map_err(|_| wrong_type(param, expected))?;
    read.ok_or_else(|| wrong_value(param, &format!("at most {most} elements")))
}
