//! What the text must be: `response_format` of chat, `text.format` of responses.

use cocoon_engine_api::Constraint;
use cocoon_openapi::ApiError;
use cocoon_openapi::scan::Object;
use serde_json::value::RawValue;

use super::fields::{member, member_text, nested, present, unsupported_value, wrong_value};
use super::tools::Place;

/// Longest schema, bytes: its grammar is made while others wait.
const MAX_SCHEMA: usize = 64 << 10;

/// The constraint that a format is; none for plain text. In chat a schema is nested under `json_schema`, in responses
/// it stands beside the type.
pub(super) fn format(value: &RawValue, param: &str, place: Place) -> Result<Option<Constraint>, ApiError> {
    let object = nested(value, param)?;
    match member_text(&object, param, "type")?.as_str() {
        "text" => Ok(None),
        "json_object" => Ok(Some(Constraint::JsonObject)),
        "json_schema" => match place {
            Place::Flat => schema(&object, param),
            Place::Nested => {
                let (value, param) = member(&object, param, "json_schema")?;
                schema(&nested(value, &param)?, &param)
            }
        },
        _ => Err(unsupported_value(
            &format!("{param}.type"),
            "only 'text', 'json_object' and 'json_schema' here",
        )),
    }
}

fn schema(object: &Object<'_>, param: &str) -> Result<Option<Constraint>, ApiError> {
    member_text(object, param, "name")?;
    let param = format!("{param}.schema");
    let Some(value) = present(object, "schema") else { return Ok(Some(Constraint::JsonObject)) };
    nested(value, &param)?;
    if value.get().len() > MAX_SCHEMA {
        return Err(wrong_value(&param, &format!("a schema of at most {MAX_SCHEMA} bytes")));
    }
    Ok(Some(Constraint::JsonSchema { schema: value.get().to_owned() }))
}
