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
            mistralrs::Constraint::JsonSchema(compact(json!({ "type": "object" })))
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
    serde_json::from_str(schema).map(compact).map_err(|_| BadSchema)
}

/// With white space left open a small model may write nothing else until its ceiling.
fn compact(mut schema: Value) -> Value {
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("x-guidance".to_owned(), json!({ "whitespace_flexible": false }));
    }
    schema
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
            r#"arguments_0: %json {"type":"object","properties":{"z":{},"y":{}},"x-guidance":{"whitespace_flexible":false}}"#,
            "\n",
            r#"call_1: "{\"name\": \"b\\\"\", \"arguments\": " arguments_1 "}""#,
            "\n",
            r##"arguments_1: %json {"$ref":"#","x-guidance":{"whitespace_flexible":false}}"##,
        );
        assert_eq!(grammar.unwrap(), expected);
        assert!(calls(&[function("a", "{")]).is_err());
    }
}
