//! Constraints, as mistral.rs takes them.

use cocoon_engine_api::{Constraint, Function};
use serde_json::{Value, json};

/// A schema that cannot be followed. Without the schema, which is the caller's.
#[derive(Debug, thiserror::Error)]
#[error("the schema cannot be followed")]
pub(crate) struct BadSchema;

/// # Errors
/// [`BadSchema`] where a schema is not JSON; what else is wrong with it mistral.rs says at its first use.
pub(crate) fn constraint(constraint: Option<&Constraint>) -> Result<mistralrs::Constraint, BadSchema> {
    Ok(match constraint {
        None => mistralrs::Constraint::None,
        Some(Constraint::JsonObject) => {
            mistralrs::Constraint::JsonSchema(ending(json!({ "type": "object" })))
        }
        Some(Constraint::JsonSchema { schema }) => mistralrs::Constraint::JsonSchema(parse(schema)?),
        Some(Constraint::Call { functions }) => mistralrs::Constraint::Lark(calls(functions)?),
    })
}

/// One alternative per function: its name is given, its arguments are JSON under its own schema, so that a
/// schema's references stay within it.
fn calls(functions: &[Function]) -> Result<String, BadSchema> {
    let mut grammar = String::from("start: ");
    let names: Vec<String> = (0..functions.len()).map(|at| format!("call_{at}")).collect();
    grammar += &names.join(" | ");
    for (at, function) in functions.iter().enumerate() {
        let name = Value::from(function.name.as_str());
        let before = Value::from(format!("{{\"name\": {name}, \"arguments\": "));
        let arguments = parse(&function.parameters)?;
        grammar += &format!("\ncall_{at}: {before} arguments_{at} \"}}\"\narguments_{at}: %json {arguments}");
    }
    Ok(grammar)
}

fn parse(schema: &str) -> Result<Value, BadSchema> {
    serde_json::from_str(schema).map(ending).map_err(|_| BadSchema)
}

/// The schema, so that a text under it ends: a small model that may write white space, or members that nobody
/// named, writes nothing else until its ceiling.
fn ending(mut schema: Value) -> Value {
    if !combines(&schema) {
        close(&mut schema);
    }
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("x-guidance".to_owned(), json!({ "whitespace_flexible": false }));
    }
    schema
}

/// Whether an object may have to satisfy several schemas at once: closing each would leave nothing that does.
fn combines(schema: &Value) -> bool {
    match schema {
        Value::Object(members) => members.iter().any(|(name, value)| match name.as_str() {
            "allOf" => value.as_array().is_some_and(|all| all.len() > 1) || combines(value),
            "if" | "then" | "else" | "dependentSchemas" | "unevaluatedProperties" => true,
            _ => combines(value),
        }),
        Value::Array(elements) => elements.iter().any(combines),
        _ => false,
    }
}

/// Objects whose members are named have no others, as with OpenAI's own structured output.
fn close(schema: &mut Value) {
    let Some(members) = schema.as_object_mut() else { return };
    for (name, value) in members.iter_mut() {
        match name.as_str() {
            "properties" | "patternProperties" | "$defs" | "definitions" => {
                value.as_object_mut().into_iter().flat_map(|schemas| schemas.values_mut()).for_each(close);
            }
            "anyOf" | "oneOf" | "allOf" | "prefixItems" => {
                value.as_array_mut().into_iter().flatten().for_each(close);
            }
            "items" | "additionalProperties" => close(value),
            _ => {}
        }
    }
    if members.contains_key("properties") && !members.contains_key("patternProperties") {
        members.entry("additionalProperties").or_insert(Value::Bool(false));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_is_an_alternative_with_its_own_schema() {
        let function =
            |name: &str, parameters: &str| Function { name: name.into(), parameters: parameters.into() };
        let grammar = calls(&[
            function("a", r#"{"type":"object","properties":{"z":{},"y":{}}}"#),
            function("b\"", r##"{"$ref":"#"}"##),
        ]);
        let expected = concat!(
            "start: call_0 | call_1\n",
            r#"call_0: "{\"name\": \"a\", \"arguments\": " arguments_0 "}""#,
            "\n",
            r#"arguments_0: %json {"type":"object","properties":{"z":{},"y":{}},"additionalProperties":false,"x-guidance":{"whitespace_flexible":false}}"#,
            "\n",
            r#"call_1: "{\"name\": \"b\\\"\", \"arguments\": " arguments_1 "}""#,
            "\n",
            r##"arguments_1: %json {"$ref":"#","x-guidance":{"whitespace_flexible":false}}"##,
        );
        assert_eq!(grammar.unwrap(), expected);
        assert!(calls(&[function("a", "{")]).is_err());
    }

    #[test]
    fn objects_with_named_members_are_closed_unless_they_combine() {
        let open = json!({
            "type": "object",
            "properties": {
                "properties": { "type": "array", "items": { "$ref": "#/$defs/A" } },
                "free": { "type": "object" },
                "map": { "properties": {}, "additionalProperties": { "properties": {} } },
            },
            "$defs": { "A": { "anyOf": [{ "properties": { "x": {} } }] } },
        });
        let mut closed = open.clone();
        close(&mut closed);
        let mut expected = open;
        expected["additionalProperties"] = json!(false);
        expected["properties"]["map"]["additionalProperties"]["additionalProperties"] = json!(false);
        expected["$defs"]["A"]["anyOf"][0]["additionalProperties"] = json!(false);
        assert_eq!(closed, expected);

        let combined = json!({ "allOf": [{ "properties": { "x": {} } }, { "properties": { "y": {} } }] });
        let mut expected = combined.clone();
        expected["x-guidance"] = json!({ "whitespace_flexible": false });
        assert_eq!(ending(combined), expected);
    }
}
