//! Functions a caller offers, and which of them must be called.

use cocoon_engine_api::{Constraint, Function};
use cocoon_openapi::ApiError;
use cocoon_openapi::scan::Object;
use serde_json::value::RawValue;

use super::fields::{
    elements, member, member_text, nested, optional, present, read, unsupported_value, wrong_type,
    wrong_value,
};
use crate::calls::{CallRule, Offered};

/// Most functions of a request, as at OpenAI.
const MAX_TOOLS: usize = 128;
/// Longest name of a function, as at OpenAI.
const MAX_NAME: usize = 64;
/// A function without parameters takes none.
const NO_PARAMETERS: &str = r#"{"type":"object","properties":{},"additionalProperties":false}"#;

/// What may and what must be called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tools {
    pub(super) offered: Vec<Offered>,
    pub(super) choice: Choice,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Choice {
    /// Nothing is called, and the model is told of nothing it could call.
    #[default]
    None,
    Auto,
    Required,
    Named(String),
}

/// Where an endpoint keeps a function's description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// `{"type": "function", "function": {…}}`.
    Nested,
    /// `{"type": "function", "name": …, …}`, as in the responses API.
    Flat,
}

/// `tools` and `tool_choice`.
pub(super) fn tools(object: &Object<'_>, place: Place) -> Result<Tools, ApiError> {
    let offered = match present(object, "tools") {
        None => Vec::new(),
        Some(value) => {
            let tool = |(at, value): (usize, &&RawValue)| tool(value, &format!("tools[{at}]"), place);
            let values = elements(value, MAX_TOOLS, "tools", "an array of objects")?;
            values.iter().enumerate().map(tool).collect::<Result<_, _>>()?
        }
    };
    with_choice(object, "tool_choice", offered, place)
}

/// The older `functions` and `function_call`.
pub(super) fn functions(object: &Object<'_>) -> Result<Tools, ApiError> {
    let offered = match present(object, "functions") {
        None => Vec::new(),
        Some(value) => {
            let read = |(at, value): (usize, &&RawValue)| {
                let param = format!("functions[{at}]");
                function(&nested(value, &param)?, &param)
            };
            let values = elements(value, MAX_TOOLS, "functions", "an array of objects")?;
            values.iter().enumerate().map(read).collect::<Result<_, _>>()?
        }
    };
    with_choice(object, "function_call", offered, Place::Flat)
}

fn with_choice(
    object: &Object<'_>,
    param: &str,
    offered: Vec<Offered>,
    place: Place,
) -> Result<Tools, ApiError> {
    for (at, one) in offered.iter().enumerate() {
        if offered[..at].iter().any(|other| other.name == one.name) {
            return Err(wrong_value("tools", "each name once"));
        }
    }
    let choice = match present(object, param) {
        None if offered.is_empty() => Choice::None,
        None => Choice::Auto,
        Some(value) => choice(value, param, place)?,
    };
    match &choice {
        Choice::None => Ok(Tools::default()),
        _ if offered.is_empty() => {
            let message = format!("'{param}' is only allowed when tools are specified.");
            Err(ApiError::invalid(message).with_param(param).with_code("invalid_value"))
        }
        Choice::Named(name) if offered.iter().all(|one| one.name != *name) => {
            Err(wrong_value(param, "the name of a function that is offered"))
        }
        _ => Ok(Tools { offered, choice }),
    }
}

fn tool(value: &RawValue, param: &str, place: Place) -> Result<Offered, ApiError> {
    let object = nested(value, param)?;
    let kind = member_text(&object, param, "type")?;
    if kind != "function" {
        return Err(unsupported_value(&format!("{param}.type"), "only 'function' here"));
    }
    match place {
        Place::Flat => function(&object, param),
        Place::Nested => {
            let (value, param) = member(&object, param, "function")?;
            function(&nested(value, &param)?, &param)
        }
    }
}

fn function(object: &Object<'_>, param: &str) -> Result<Offered, ApiError> {
    let name = member_text(object, param, "name")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(plain) {
        let expected = format!("1 to {MAX_NAME} letters, digits, '_' and '-'");
        return Err(wrong_value(&format!("{param}.name"), &expected));
    }
    let description = optional(object, "description", "a string")
        .map_err(|_| wrong_type(&format!("{param}.description"), "a string"))?;
    let parameters = match present(object, "parameters") {
        None => None,
        Some(value) => {
            nested(value, &format!("{param}.parameters"))?;
            Some(value.get().to_owned())
        }
    };
    Ok(Offered { name, description, parameters })
}

fn choice(value: &RawValue, param: &str, place: Place) -> Result<Choice, ApiError> {
    const WORDS: &str = "'none', 'auto', 'required' or a function's name";
    if value.get().starts_with('"') {
        return match read::<String>(value, param, "a string or an object")?.as_str() {
            "none" => Ok(Choice::None),
            "auto" => Ok(Choice::Auto),
            "required" => Ok(Choice::Required),
            _ => Err(wrong_value(param, WORDS)),
        };
    }
    let object = nested(value, param).map_err(|_| wrong_type(param, "a string or an object"))?;
    if place == Place::Nested || present(&object, "type").is_some() {
        match member_text(&object, param, "type")?.as_str() {
            "function" => {}
            _ => return Err(unsupported_value(param, "only functions can be chosen here")),
        }
    }
    match place {
        Place::Flat => member_text(&object, param, "name").map(Choice::Named),
        Place::Nested => {
            let (value, param) = member(&object, param, "function")?;
            member_text(&nested(value, &param)?, &param, "name").map(Choice::Named)
        }
    }
}

impl Tools {
    /// The grammar of a call that must be made.
    pub(super) fn constraint(&self) -> Option<Constraint> {
        let wanted: Vec<&Offered> = match &self.choice {
            Choice::None | Choice::Auto => return None,
            Choice::Required => self.offered.iter().collect(),
            Choice::Named(name) => self.offered.iter().filter(|one| one.name == *name).collect(),
        };
        let functions = wanted.into_iter().map(|one| Function {
            name: one.name.clone(),
            parameters: one.parameters.clone().unwrap_or_else(|| NO_PARAMETERS.to_owned()),
        });
        Some(Constraint::Call { functions: functions.collect() })
    }

    /// How calls are found in the text. `parallel` is whether there may be several.
    pub(super) fn rule(&self, parallel: bool) -> Option<CallRule> {
        match &self.choice {
            Choice::None => None,
            Choice::Auto => {
                let names = self.offered.iter().map(|one| one.name.clone()).collect();
                Some(CallRule::Auto { names, parallel })
            }
            Choice::Required => Some(CallRule::Forced { named: false }),
            Choice::Named(_) => Some(CallRule::Forced { named: true }),
        }
    }
}
