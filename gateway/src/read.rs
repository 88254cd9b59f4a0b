//! Step 3: the few members that routing and admission need. The body itself stays the bytes the client sent.

use cocoon_openapi::ApiError;
use cocoon_openapi::scan::scan;

use crate::error::Failure;

/// Longest model name that is looked at, bytes.
const MAX_MODEL: usize = 256;
/// OpenAI's own bound on `n`.
const MAX_CHOICES: u64 = 128;

/// What a body asks for, as far as the gateway is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// As the client wrote it; perhaps an alias.
    pub model: String,
    /// The client's own ceiling of completion tokens, all choices together.
    pub ceiling: Option<u64>,
}

/// Reads `body` shallowly.
///
/// # Errors
/// 400 that names the member.
pub fn read(body: &[u8]) -> Result<Wanted, Failure> {
    let object = scan(body).map_err(ApiError::from)?;
    if object.get("x_conf").is_some() {
        let message = "'x_conf' belongs to sealed requests and cannot be sent in a plain one.";
        return Err(ApiError::invalid(message).with_param("x_conf").into());
    }
    let model: String = object
        .parse("model", "a string")
        .map_err(ApiError::from)?
        .ok_or_else(|| ApiError::invalid("You must provide a model parameter.").with_param("model"))?;
    if model.is_empty() || model.len() > MAX_MODEL || model.chars().any(char::is_control) {
        return Err(ApiError::invalid("'model' is not the name of a model.").with_param("model").into());
    }
    object.parse::<bool>("stream", "a boolean").map_err(ApiError::from)?;
    let mut ceiling = None;
    for name in ["max_tokens", "max_completion_tokens"] {
        let value: Option<u64> = object.parse(name, "a whole number above 0").map_err(ApiError::from)?;
        if value == Some(0) {
            return Err(ApiError::invalid(format!("'{name}' must be a whole number above 0."))
                .with_param(name)
                .into());
        }
        // The newer name wins, as it does where the tokens are generated.
        ceiling = value.or(ceiling);
    }
    let choices: Option<u64> = object.parse("n", "a whole number above 0").map_err(ApiError::from)?;
    if choices.is_some_and(|n| n == 0 || n > MAX_CHOICES) {
        return Err(ApiError::invalid(format!("'n' must be between 1 and {MAX_CHOICES}."))
            .with_param("n")
            .into());
    }
    Ok(Wanted { model, ceiling: ceiling.map(|tokens| tokens.saturating_mul(choices.unwrap_or(1))) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn param(body: &str) -> Option<String> {
        let failure = read(body.as_bytes()).unwrap_err();
        assert_eq!(failure.api.status, 400, "{body}");
        failure.api.body.error.param
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (body, name) in [
            (r#"{"messages":[]}"#, Some("model")),
            (r#"{"model":null}"#, Some("model")),
            (r#"{"model":7}"#, Some("model")),
            (r#"{"model":""}"#, Some("model")),
            (r#"{"model":"a\nb"}"#, Some("model")),
            (r#"{"model":"m","model":"m"}"#, Some("model")),
            (r#"{"model":"m","stream":1}"#, Some("stream")),
            (r#"{"model":"m","max_tokens":0}"#, Some("max_tokens")),
            (r#"{"model":"m","max_tokens":1.5}"#, Some("max_tokens")),
            (r#"{"model":"m","max_completion_tokens":-1}"#, Some("max_completion_tokens")),
            (r#"{"model":"m","n":129}"#, Some("n")),
            (r#"{"model":"m","x_conf":null}"#, Some("x_conf")),
            (r#"[]"#, None),
            (r#"{"model":"m""#, None),
        ] {
            assert_eq!(param(body).as_deref(), name, "{body}");
        }
    }

    #[test]
    fn the_newer_ceiling_wins_and_counts_for_every_choice() {
        let body = br#"{"model":"m","max_tokens":9,"max_completion_tokens":5,"n":3,"stream":null}"#;
        assert_eq!(read(body).unwrap(), Wanted { model: "m".into(), ceiling: Some(15) });
        assert_eq!(read(br#"{"model":"m","max_tokens":9}"#).unwrap().ceiling, Some(9));
        assert_eq!(read(br#"{"model":"m"}"#).unwrap().ceiling, None);
    }
}
