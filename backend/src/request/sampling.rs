//! How tokens are chosen and when the text ends: members that chat, completions and responses share.

use cocoon_engine_api::{Effort, Ready, Sampling};
use cocoon_openapi::ApiError;
use cocoon_openapi::scan::Object;

use super::fields::{
    elements, nested, number, optional, present, read, unsupported, wrong_type, wrong_value,
};

/// Most stop strings, as at OpenAI.
const MAX_STOPS: usize = 4;
/// Longest stop string, bytes: the engine holds back as much of every answer.
const MAX_STOP_LENGTH: usize = 1024;

/// Temperature and `top_p` alone, as the responses API has them.
pub(super) fn temperature_and_top_p(object: &Object<'_>) -> Result<Sampling, ApiError> {
    let top_p = number(object, "top_p", 1.0, (0.0, 1.0))?;
    Ok(Sampling {
        temperature: number(object, "temperature", 1.0, (0.0, 2.0))?,
        // 0 is the smallest nucleus there is: the likeliest token.
        top_p: top_p.max(f64::MIN_POSITIVE),
        ..Sampling::default()
    })
}

/// All of them, as chat and completions have them.
pub(super) fn sampling(object: &Object<'_>, engine: &Ready) -> Result<Sampling, ApiError> {
    Ok(Sampling {
        seed: optional(object, "seed", "an integer")?,
        presence_penalty: number(object, "presence_penalty", 0.0, (-2.0, 2.0))?,
        frequency_penalty: number(object, "frequency_penalty", 0.0, (-2.0, 2.0))?,
        logit_bias: logit_bias(object, engine.vocabulary)?,
        ..temperature_and_top_p(object)?
    })
}

fn logit_bias(object: &Object<'_>, vocabulary: u32) -> Result<Vec<(u32, f64)>, ApiError> {
    const NAME: &str = "logit_bias";
    /// Most entries, as at OpenAI.
    const MOST: usize = 1024;
    let Some(value) = present(object, NAME) else { return Ok(Vec::new()) };
    let biases: std::collections::BTreeMap<String, f64> = read(value, NAME, "an object of numbers")?;
    if biases.len() > MOST {
        return Err(wrong_value(NAME, &format!("at most {MOST} tokens")));
    }
    let entry = |(token, bias): (String, f64)| match token.parse::<u32>() {
        Ok(token) if token < vocabulary && (-100.0..=100.0).contains(&bias) => Ok((token, bias)),
        _ => Err(wrong_value(
            NAME,
            &format!("token ids below {vocabulary}, each with a number from -100 to 100"),
        )),
    };
    biases.into_iter().map(entry).collect()
}

/// `stop`: a string, or up to four of them.
pub(super) fn stop(object: &Object<'_>) -> Result<Vec<String>, ApiError> {
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

/// `stream`, and whether `stream_options` asks for usage.
pub(super) fn stream(object: &Object<'_>) -> Result<(bool, bool), ApiError> {
    const NAME: &str = "stream_options";
    let stream = optional(object, "stream", "a boolean")?.unwrap_or(false);
    let Some(value) = present(object, NAME) else { return Ok((stream, false)) };
    if !stream {
        return Err(ApiError::invalid(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
        )
        .with_param(NAME)
        .with_code("invalid_value"));
    }
    let options = nested(value, NAME)?;
    let Some(value) = present(&options, "include_usage") else { return Ok((stream, false)) };
    Ok((stream, read(value, "stream_options.include_usage", "a boolean")?))
}

/// How much to think; a model that cannot be told is not asked to.
pub(super) fn effort(text: Option<String>, param: &str, engine: &Ready) -> Result<Option<Effort>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    let effort = match text.as_str() {
        "none" => Effort::None,
        "minimal" => Effort::Minimal,
        "low" => Effort::Low,
        "medium" => Effort::Medium,
        "high" | "xhigh" => Effort::High,
        _ => return Err(wrong_value(param, "'none', 'minimal', 'low', 'medium', 'high' or 'xhigh'")),
    };
    if engine.reasons { Ok(Some(effort)) } else { Err(unsupported(param)) }
}

/// `metadata`: an object of short texts, which say nothing to the model.
pub(super) fn metadata(object: &Object<'_>) -> Result<std::collections::BTreeMap<String, String>, ApiError> {
    const NAME: &str = "metadata";
    let Some(value) = present(object, NAME) else { return Ok(Default::default()) };
    let metadata: std::collections::BTreeMap<String, String> =
        serde_json::from_str(value.get()).map_err(|_| wrong_type(NAME, "an object of strings"))?;
    if metadata.len() > 16 || metadata.iter().any(|(name, text)| name.len() > 64 || text.len() > 2048) {
        return Err(wrong_value(NAME, "at most 16 names of 64 and texts of 512 characters"));
    }
    Ok(metadata)
}

/// Members that name the caller's end user or help a cache: nothing to the answer.
pub(super) fn ignored(object: &Object<'_>) -> Result<(), ApiError> {
    for name in ["user", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"] {
        optional::<String>(object, name, "a string")?;
    }
    Ok(())
}

/// A server that keeps nothing cannot be asked to keep.
pub(super) fn not_stored(object: &Object<'_>) -> Result<(), ApiError> {
    if optional(object, "store", "a boolean")?.unwrap_or(false) {
        return Err(super::fields::unsupported_value(
            "store",
            "nothing is kept here; leave it out or send false",
        ));
    }
    Ok(())
}
