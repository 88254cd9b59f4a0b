//! The body of an embedding.

use cocoon_engine_api::Ready;
use cocoon_openapi::ApiError;
use cocoon_openapi::scan;

use super::completions::prompts;
use super::fields::{integer, missing, optional, present, required_text, wrong_value};
use super::sampling::ignored;
use super::{EmbeddingRequest, Encoding};

/// Most inputs of a request, as at OpenAI.
const MAX_INPUTS: usize = 2048;
/// Most numbers of a vector that can be asked for.
const MAX_DIMENSIONS: u64 = 1 << 16;

/// Reads a body.
///
/// # Errors
/// 400, naming the `param`.
pub(super) fn parse(body: &[u8], engine: &Ready) -> Result<EmbeddingRequest, ApiError> {
    let object = scan::scan(body)?;
    required_text(&object, "model")?;
    ignored(&object)?;
    let value = present(&object, "input").ok_or_else(|| missing("input"))?;
    let encoding: Option<String> = optional(&object, "encoding_format", "a string")?;
    Ok(EmbeddingRequest {
        inputs: prompts(value, "input", MAX_INPUTS, engine)?,
        encoding: match encoding.as_deref() {
            None | Some("float") => Encoding::Float,
            Some("base64") => Encoding::Base64,
            Some(_) => return Err(wrong_value("encoding_format", "'float' or 'base64'")),
        },
        dimensions: integer(&object, "dimensions", (1, MAX_DIMENSIONS))?.map(|count| count as usize),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::chat::tests::engine;

    #[test]
    fn inputs_encoding_and_dimensions_are_read() {
        let body = br#"{"model":"m","input":["a","b"],"encoding_format":"base64","dimensions":8,"user":"u"}"#;
        let request = parse(body, &engine()).unwrap();
        assert_eq!(
            (request.inputs.len(), request.encoding, request.dimensions),
            (2, Encoding::Base64, Some(8))
        );
        for (members, param) in [
            ("", "input"),
            (r#","input":"""#, "input"),
            (r#","input":"a","encoding_format":"hex""#, "encoding_format"),
            (r#","input":"a","dimensions":0"#, "dimensions"),
        ] {
            let body = format!(r#"{{"model":"m"{members}}}"#);
            let error = parse(body.as_bytes(), &engine()).unwrap_err();
            assert_eq!(error.body.error.param.as_deref(), Some(param), "{members}");
        }
    }
}
