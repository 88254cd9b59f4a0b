//! Members of a request body, and the 400 for each that is not what it must be.

use cocoon_openapi::ApiError;
use cocoon_openapi::scan::{self, Object};
use serde::de::{DeserializeOwned, Deserializer as _, SeqAccess, Visitor};
use serde_json::value::RawValue;

pub(super) fn wrong_type(param: &str, expected: &str) -> ApiError {
    ApiError::invalid(format!("Invalid type for '{param}': expected {expected}."))
        .with_param(param)
        .with_code("invalid_type")
}

pub(super) fn wrong_value(param: &str, expected: &str) -> ApiError {
    ApiError::invalid(format!("Invalid value for '{param}': expected {expected}."))
        .with_param(param)
        .with_code("invalid_value")
}

pub(super) fn missing(param: &str) -> ApiError {
    ApiError::invalid(format!("Missing required parameter: '{param}'."))
        .with_param(param)
        .with_code("missing_required_parameter")
}

pub(super) fn unsupported(param: &str) -> ApiError {
    ApiError::invalid(format!("Unsupported parameter: '{param}' is not supported with this model."))
        .with_param(param)
        .with_code("unsupported_parameter")
}

/// A value of a known parameter that this server cannot honour.
pub(super) fn unsupported_value(param: &str, why: &str) -> ApiError {
    ApiError::invalid(format!("Unsupported value for '{param}': {why}."))
        .with_param(param)
        .with_code("unsupported_value")
}

/// A member that is there and not null.
pub(super) fn present<'a>(object: &Object<'a>, name: &str) -> Option<&'a RawValue> {
    object.get(name).filter(|value| value.get() != "null")
}

/// A value as `T`; `param` is what the error names.
pub(super) fn read<T: DeserializeOwned>(
    value: &RawValue,
    param: &str,
    expected: &str,
) -> Result<T, ApiError> {
    serde_json::from_str(value.get()).map_err(|_| wrong_type(param, expected))
}

pub(super) fn optional<T: DeserializeOwned>(
    object: &Object<'_>,
    name: &str,
    expected: &str,
) -> Result<Option<T>, ApiError> {
    present(object, name).map(|value| read(value, name, expected)).transpose()
}

pub(super) fn required_text(object: &Object<'_>, name: &str) -> Result<String, ApiError> {
    optional(object, name, "a string")?.ok_or_else(|| missing(name))
}

/// A number within `low` to `high`, both included; `default` where there is none.
pub(super) fn number(
    object: &Object<'_>,
    name: &str,
    default: f64,
    (low, high): (f64, f64),
) -> Result<f64, ApiError> {
    let value = optional(object, name, "a number")?.unwrap_or(default);
    if (low..=high).contains(&value) {
        Ok(value)
    } else {
        Err(wrong_value(name, &format!("a number between {low} and {high}")))
    }
}

/// A whole number within `low` to `high`, both included.
pub(super) fn integer(
    object: &Object<'_>,
    name: &str,
    (low, high): (u64, u64),
) -> Result<Option<u64>, ApiError> {
    let value: Option<u64> = optional(object, name, "an integer")?;
    match value {
        Some(value) if !(low..=high).contains(&value) => {
            Err(wrong_value(name, &format!("an integer between {low} and {high}")))
        }
        value => Ok(value),
    }
}

/// A ceiling of tokens: at least 1.
pub(super) fn ceiling(object: &Object<'_>, name: &str) -> Result<Option<u64>, ApiError> {
    match optional(object, name, "a positive integer")? {
        Some(0_u64) => Err(wrong_value(name, "an integer of at least 1")),
        tokens => Ok(tokens),
    }
}

/// Refuses a member whose text is not one of `allowed`, all of which mean what is done anyway.
pub(super) fn only(object: &Object<'_>, name: &str, allowed: &[&str]) -> Result<(), ApiError> {
    let text: Option<String> = optional(object, name, "a string")?;
    match text {
        Some(text) if !allowed.contains(&text.as_str()) => {
            Err(unsupported_value(name, &format!("only {} here", quoted(allowed))))
        }
        _ => Ok(()),
    }
}

pub(super) fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ")
}

/// A nested object.
pub(super) fn nested<'a>(value: &'a RawValue, param: &str) -> Result<Object<'a>, ApiError> {
    scan::scan(value.get().as_bytes()).map_err(|_| wrong_type(param, "an object"))
}

/// A required member of a nested object, and its full name.
pub(super) fn member<'a>(
    object: &Object<'a>,
    param: &str,
    name: &str,
) -> Result<(&'a RawValue, String), ApiError> {
    let param = format!("{param}.{name}");
    let value = present(object, name).ok_or_else(|| missing(&param))?;
    Ok((value, param))
}

/// A required text of a nested object.
pub(super) fn member_text(object: &Object<'_>, param: &str, name: &str) -> Result<String, ApiError> {
    let (value, param) = member(object, param, name)?;
    read(value, &param, "a string")
}

/// The elements of an array, unread. Never more than `most`: a body of millions of small elements would otherwise take
/// many times its own size.
pub(super) fn elements<'a>(
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
