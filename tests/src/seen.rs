//! What a client's script says it saw, and what it must have seen: the same of every client that can do it.

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::harness::MODEL;

/// Checks what `mode` of a script printed.
pub(crate) fn check(mode: &str, seen: &Value) -> anyhow::Result<()> {
    if let Some(error) = seen["error"].as_str() {
        bail!("{error}");
    }
    match mode {
        "chat" => chat(seen),
        "stream" => stream(seen),
        "usage" => usage(seen),
        "tools" => tools(seen),
        "structured" => structured(seen),
        "completions" => completions(seen),
        "embeddings" => embeddings(seen),
        "responses" => responses(seen),
        "models" => models(seen),
        "errors" => errors(seen),
        other => bail!("nobody knows what {other} must show"),
    }
}

/// The member `name`, where a client shows it.
fn shown<'a>(seen: &'a Value, name: &str) -> Option<&'a Value> {
    seen.get(name).filter(|value| !value.is_null())
}

fn text<'a>(seen: &'a Value, name: &str) -> anyhow::Result<&'a str> {
    let text = seen[name].as_str().with_context(|| format!("no {name}"))?;
    ensure!(!text.trim().is_empty(), "{name} is empty");
    Ok(text)
}

fn is_one_of(value: &Value, known: &[&str]) -> bool {
    value.as_str().is_some_and(|value| known.contains(&value))
}

/// Some clients have names of their own for it.
const STOP_OR_LENGTH: [&str; 2] = ["stop", "length"];
const TOOL_CALLS: [&str; 3] = ["tool_calls", "tool_call", "tool-calls"];

fn chat(seen: &Value) -> anyhow::Result<()> {
    ensure!(text(seen, "text")?.contains('4'), "the model can add");
    for (name, expected) in [("object", "chat.completion"), ("model", MODEL), ("role", "assistant")] {
        ensure!(shown(seen, name).is_none_or(|value| value == expected), "{name}");
    }
    ensure!(
        shown(seen, "id").is_none_or(|id| id.as_str().is_some_and(|id| id.starts_with("chatcmpl-"))),
        "id"
    );
    ensure!(shown(seen, "finish").is_none_or(|finish| is_one_of(finish, &STOP_OR_LENGTH)), "finish");
    ensure!(shown(seen, "refusal").is_none() && shown(seen, "tool_calls").is_none(), "refusal, tool_calls");
    Ok(())
}

fn stream(seen: &Value) -> anyhow::Result<()> {
    ensure!(text(seen, "text")?.contains('4'), "the model can add");
    // Buffered into one piece, it would be no stream.
    ensure!(shown(seen, "pieces").is_none_or(|pieces| pieces.as_u64() > Some(1)), "pieces");
    ensure!(shown(seen, "assembled").is_none_or(|text| *text == seen["text"]), "assembled");
    ensure!(shown(seen, "role").is_none_or(|role| role == "assistant"), "role");
    ensure!(shown(seen, "ids").is_none_or(|ids| ids == 1), "ids");
    ensure!(shown(seen, "usage_chunks").is_none_or(|chunks| chunks == 0), "usage that nobody asked for");
    ensure!(shown(seen, "end").is_none_or(|end| end == "[DONE]"), "end");
    if let Some(finish) = shown(seen, "finish") {
        let finish = finish.as_array().context("finish")?;
        ensure!(finish.len() == 1 && is_one_of(&finish[0], &STOP_OR_LENGTH), "one final chunk");
    }
    Ok(())
}

fn usage(seen: &Value) -> anyhow::Result<()> {
    let whole = &seen["whole"];
    let tokens = |name: &str| whole[name].as_u64().unwrap_or_default();
    ensure!(tokens("prompt") > 10 && tokens("completion") > 1, "no tokens");
    ensure!(tokens("total") == tokens("prompt") + tokens("completion"), "the total");
    if let Some(streamed) = shown(seen, "streamed") {
        ensure!(*streamed == Value::from(vec![whole.clone()]), "one usage chunk, the same usage");
    }
    ensure!(shown(seen, "last_choices").is_none_or(|choices| choices == 0), "the usage chunk has no choices");
    Ok(())
}

fn tools(seen: &Value) -> anyhow::Result<()> {
    for choice in ["required", "named", "streamed"] {
        let Some(forced) = shown(seen, choice) else { continue };
        let calls = forced["calls"].as_array().context("calls")?;
        ensure!(!calls.is_empty(), "{choice}: no call");
        ensure!(
            choice == "required" || calls.iter().all(|call| call["name"] == "get_forecast"),
            "{choice}: name"
        );
        calls.iter().try_for_each(call).with_context(|| choice.to_owned())?;
        ensure!(
            shown(forced, "content").is_none_or(|content| content == ""),
            "{choice}: text beside the call"
        );
        // OpenAI says `stop` where the caller named the function.
        let named = choice != "required" && forced["finish"] == "stop";
        ensure!(named || is_one_of(&forced["finish"], &TOOL_CALLS), "{choice}: finish");
    }
    if seen.get("answer").is_some() {
        text(seen, "answer")?;
    }
    if let Some(parsed) = shown(seen, "parsed") {
        review(parsed)?;
    }
    if let Some(auto) = shown(seen, "auto") {
        let calls = auto["calls"].as_array().context("calls")?;
        let finish: &[&str] = if calls.is_empty() { &STOP_OR_LENGTH } else { &TOOL_CALLS };
        ensure!(is_one_of(&auto["finish"], finish), "auto: finish");
        ensure!(!calls.is_empty() || auto["content"].is_string(), "auto: neither call nor text");
    }
    Ok(())
}

fn call(call: &Value) -> anyhow::Result<()> {
    ensure!(call["id"].as_str().is_some_and(|id| !id.is_empty()), "a call without an id");
    let arguments = call["arguments"].as_object().context("arguments")?;
    ensure!(is_one_of(&call["arguments"]["city"], &["Oslo", "Paris", "Rome"]), "city");
    match call["name"].as_str() {
        Some("get_forecast") => {
            ensure!(
                arguments.len() == 3 && is_one_of(&arguments["unit"], &["celsius", "fahrenheit"]),
                "unit"
            );
            ensure!(arguments["days"].as_u64().is_some_and(|days| (1..=7).contains(&days)), "days");
        }
        Some("get_time") => ensure!(arguments.len() == 1, "more arguments than there are"),
        other => bail!("a tool that nobody offered: {other:?}"),
    }
    Ok(())
}

fn structured(seen: &Value) -> anyhow::Result<()> {
    let answers = seen["answers"].as_array().context("answers")?;
    ensure!(!answers.is_empty(), "no answers");
    answers.iter().try_for_each(review)?;
    if let Some(finish) = shown(seen, "finish") {
        let finish = finish.as_array().context("finish")?;
        ensure!(finish.len() == answers.len() && finish.iter().all(|finish| finish == "stop"), "finish");
    }
    Ok(())
}

/// The schema of `asked.py` and `asked.mjs`, read here by hand.
fn review(answer: &Value) -> anyhow::Result<()> {
    ensure!(answer.as_object().is_some_and(|members| members.len() == 4), "members: {answer}");
    ensure!(is_one_of(&answer["mood"], &["happy", "sad", "angry"]), "mood: {answer}");
    ensure!(answer["stars"].as_u64().is_some_and(|stars| (1..=5).contains(&stars)), "stars: {answer}");
    let topics = answer["topics"].as_array().context("topics")?;
    let known = topics.iter().all(|topic| is_one_of(topic, &["food", "service", "price"]));
    ensure!(topics.len() <= 2 && known, "topics: {answer}");
    ensure!(answer["word"].as_str().is_some_and(|word| word.chars().count() <= 12), "word: {answer}");
    Ok(())
}

fn completions(seen: &Value) -> anyhow::Result<()> {
    let whole = text(seen, "text")?;
    ensure!(shown(seen, "object").is_none_or(|object| object == "text_completion"), "object");
    ensure!(shown(seen, "streamed").is_none_or(|streamed| streamed == whole), "streamed");
    ensure!(shown(seen, "finish").is_none_or(|finish| is_one_of(finish, &STOP_OR_LENGTH)), "finish");
    ensure!(
        shown(seen, "completion").is_none_or(|tokens| (1..=8).contains(&tokens.as_u64().unwrap_or(0))),
        "tokens"
    );
    ensure!(shown(seen, "end").is_none_or(|end| end == "[DONE]"), "end");
    Ok(())
}

fn embeddings(seen: &Value) -> anyhow::Result<()> {
    let dimensions = seen["dimensions"].as_array().context("dimensions")?;
    ensure!(dimensions.len() == 1 && dimensions[0].as_u64() > Some(1), "one length of all vectors");
    if let Some(indexes) = shown(seen, "indexes") {
        ensure!(*indexes == Value::from(vec![0, 1, 2]), "in the order of the texts");
        ensure!(seen["difference"].as_f64().is_some_and(|difference| difference < 1e-6), "base64 and floats");
        ensure!(seen["length"].as_f64().is_some_and(|length| (length - 1.0).abs() < 1e-3), "of length 1");
        ensure!(seen["prompt"].as_u64() > Some(2) && seen["prompt"] == seen["total"], "usage");
    }
    Ok(())
}

fn responses(seen: &Value) -> anyhow::Result<()> {
    let whole = text(seen, "text")?;
    ensure!(whole.contains('4') && seen["streamed"] == whole, "both ways the same");
    let Some(events) = shown(seen, "events").and_then(Value::as_array) else { return Ok(()) };
    ensure!(
        seen["object"] == "response" && is_one_of(&seen["status"], &["completed", "incomplete"]),
        "status"
    );
    ensure!(seen["assembled"] == whole && seen["in_order"] == true, "events in order");
    ensure!(seen["streamed_usage"] == seen["usage"] && seen["usage"][0].as_u64() > Some(10), "usage");
    ensure!(events.first().is_some_and(|event| event == "response.created"), "the first event");
    let ends = ["response.completed", "response.incomplete"];
    ensure!(events.last().is_some_and(|event| is_one_of(event, &ends)), "the last event");
    // Nothing is kept: there is no earlier response to go on from.
    let stored = &seen["stored"];
    ensure!(stored["status"] == 400 && stored["param"] == "previous_response_id", "stored: {stored}");
    Ok(())
}

fn models(seen: &Value) -> anyhow::Result<()> {
    ensure!(seen["list"].as_array().is_some_and(|list| list.contains(&MODEL.into())), "list");
    ensure!(shown(seen, "one").is_none_or(|one| one == MODEL), "one");
    Ok(())
}

fn errors(seen: &Value) -> anyhow::Result<()> {
    let expected = [
        ("key", "AuthenticationError", 401, Some("invalid_api_key"), None),
        ("model", "NotFoundError", 404, Some("model_not_found"), None),
        ("retrieve", "NotFoundError", 404, Some("model_not_found"), None),
        ("value", "BadRequestError", 400, None, Some("temperature")),
        ("type", "BadRequestError", 400, None, Some("max_tokens")),
        ("path", "NotFoundError", 404, Some("unknown_url"), None),
        ("balance", "", 402, Some("insufficient_balance"), None),
    ];
    for (name, class, status, code, param) in expected {
        let error = &seen[name];
        ensure!(error["status"] == status, "{name}: status");
        ensure!(class.is_empty() || error["class"] == class, "{name}: class");
        ensure!(code.is_none_or(|code| error["code"] == code), "{name}: code");
        ensure!(param.is_none_or(|param| error["param"] == param), "{name}: param");
        ensure!(error["type"].is_string() && error["request_id"].is_string(), "{name}: type, request_id");
        ensure!(error["requests"] == 1, "{name}: was sent again");
    }
    ensure!(shown(seen, "retries_taken").is_none_or(|retries| retries == 0), "retries");
    let headers = seen["headers"].as_object().context("headers")?;
    ensure!(headers.values().all(Value::is_string), "headers");
    Ok(())
}
