//! The messages of a chat, reduced to text.

use cocoon_openapi::ApiError;
use cocoon_openapi::scan::Object;
use serde_json::value::RawValue;

use super::fields::{
    elements, member, member_text, missing, nested, present, quoted, read, unsupported, wrong_value,
};
use crate::calls::{Past, Turn};

/// Most messages of a request, as at OpenAI.
const MAX_MESSAGES: usize = 2048;
/// Most parts of a message.
const MAX_PARTS: usize = 2048;
/// Most calls of a message, as at OpenAI.
const MAX_CALLS: usize = 128;

/// `messages`, in order.
pub(super) fn messages(object: &Object<'_>) -> Result<Vec<Turn>, ApiError> {
    const EXPECTED: &str = "an array of objects";
    let value = present(object, "messages").ok_or_else(|| missing("messages"))?;
    let values = elements(value, MAX_MESSAGES, "messages", EXPECTED)?;
    if values.is_empty() {
        return Err(wrong_value("messages", "at least one message"));
    }
    values.iter().enumerate().map(|(at, value)| message(value, &format!("messages[{at}]"))).collect()
}

fn message(value: &RawValue, param: &str) -> Result<Turn, ApiError> {
    const ROLES: [&str; 6] = ["system", "developer", "user", "assistant", "tool", "function"];
    let object = nested(value, param)?;
    let (role, role_param) = member(&object, param, "role")?;
    let role: String = read(role, &role_param, "a string")?;
    let content_param = format!("{param}.content");
    let content = present(&object, "content").map(|value| text(value, &content_param)).transpose()?;
    let required = || content.clone().ok_or_else(|| missing(&content_param));
    Ok(match role.as_str() {
        "system" | "developer" => Turn::System(required()?),
        "user" => Turn::User(required()?),
        "assistant" => {
            if present(&object, "audio").is_some() {
                return Err(unsupported(&format!("{param}.audio")));
            }
            let calls = calls(&object, param)?;
            if calls.is_empty() && content.is_none() && present(&object, "refusal").is_none() {
                return Err(missing(&content_param));
            }
            Turn::Assistant { text: content.unwrap_or_default(), calls }
        }
        "tool" => {
            member_text(&object, param, "tool_call_id")?;
            Turn::Result(required()?)
        }
        // The older way to say the same.
        "function" => {
            member_text(&object, param, "name")?;
            Turn::Result(content.unwrap_or_default())
        }
        _ => return Err(wrong_value(&role_param, &format!("one of {}", quoted(&ROLES)))),
    })
}

/// `tool_calls`, or the older `function_call`.
fn calls(object: &Object<'_>, param: &str) -> Result<Vec<Past>, ApiError> {
    let function = |value: &RawValue, param: &str| {
        let object = nested(value, param)?;
        let name = member_text(&object, param, "name")?;
        Ok::<_, ApiError>(Past { name, arguments: member_text(&object, param, "arguments")? })
    };
    if let Some(value) = present(object, "function_call") {
        return Ok(vec![function(value, &format!("{param}.function_call"))?]);
    }
    let Some(value) = present(object, "tool_calls") else { return Ok(Vec::new()) };
    let param = format!("{param}.tool_calls");
    let call = |(at, value): (usize, &&RawValue)| {
        let param = format!("{param}[{at}]");
        let object = nested(value, &param)?;
        if member_text(&object, &param, "type")? != "function" {
            return Err(unsupported(&format!("{param}.type")));
        }
        let (value, param) = member(&object, &param, "function")?;
        function(value, &param)
    };
    elements(value, MAX_CALLS, &param, "an array of objects")?.iter().enumerate().map(call).collect()
}

/// Content that is text: a string, or parts.
pub(super) fn text(value: &RawValue, param: &str) -> Result<String, ApiError> {
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
    let (kind, kind_param) = member(&object, param, "type")?;
    match read::<String>(kind, &kind_param, "a string")?.as_str() {
        // Chat's own, and what the responses API calls the same.
        "text" | "input_text" | "output_text" => member_text(&object, param, "text"),
        "refusal" => member_text(&object, param, "refusal"),
        "image_url" => {
            let (image, param) = member(&object, param, "image_url")?;
            Err(image_refusal(image, &param, format!("{param}.url")))
        }
        "input_image" => {
            let (image, param) = member(&object, param, "image_url")?;
            Err(image_refusal(image, &param, param.clone()))
        }
        "input_audio" | "file" | "input_file" => Err(unsupported(&kind_param)),
        _ => Err(wrong_value(&kind_param, "'text'")),
    }
}

/// Nothing here ever fetches a URL or opens a file: what is not `data:` says so, before the model's abilities do.
fn image_refusal(value: &RawValue, param: &str, url_param: String) -> ApiError {
    let url = if value.get().starts_with('"') {
        read::<String>(value, param, "a string")
    } else {
        nested(value, param).and_then(|image| member_text(&image, param, "url"))
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
