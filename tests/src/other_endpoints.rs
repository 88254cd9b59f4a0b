//! Completions and responses on the real model: the same text as a chat where it is the same prompt, whole and streamed
//! alike.

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::harness::{Engine, MODEL, Settings, Stack, chat};

/// Guards against: a leading space that is lost, an end that a stream lacks, usage nobody asked for.
pub(crate) async fn a_text_is_continued() -> anyhow::Result<()> {
    let stack = Stack::start(Settings { engine: Engine::Real, ..Settings::default() }).await?;
    let ask = async |more: Value| {
        let mut body = json!({ "model": MODEL, "prompt": "The sky is", "temperature": 0, "max_tokens": 12 });
        if let (Some(body), Some(more)) = (body.as_object_mut(), more.as_object()) {
            body.extend(more.clone());
        }
        stack.client().post_json("/completions", &body).await
    };
    let (status, _, whole) = ask(json!({ "logprobs": 2 })).await?;
    ensure!(status == 200 && whole["object"] == "text_completion", "{whole}");
    ensure!(whole["id"].as_str().is_some_and(|id| id.starts_with("cmpl-")), "{whole}");
    let choice = &whole["choices"][0];
    let text = choice["text"].as_str().context("no text")?;
    ensure!(text.starts_with(' '), "it goes on where the prompt ends: {text:?}");
    ensure!(choice["finish_reason"] == "length" && whole["usage"]["completion_tokens"] == 12, "{whole}");
    let tokens = choice["logprobs"]["tokens"].as_array().context("no tokens")?;
    let spelled: String = tokens.iter().filter_map(Value::as_str).collect();
    ensure!(
        spelled == text && choice["logprobs"]["token_logprobs"].as_array().map(Vec::len) == Some(12),
        "{choice}"
    );

    let body = json!({ "model": MODEL, "prompt": "The sky is", "temperature": 0, "max_tokens": 12,
                       "stream_options": { "include_usage": true } });
    let mut stream = stack.client().stream_from("/completions", &body).await?;
    let events = stream.rest().await?;
    ensure!(events.last().map(String::as_str) == Some("[DONE]"), "{events:?}");
    let events: Vec<Value> = events[..events.len() - 1]
        .iter()
        .map(|event| serde_json::from_str(event))
        .collect::<Result<_, _>>()?;
    let streamed: String = events.iter().filter_map(|event| event["choices"][0]["text"].as_str()).collect();
    ensure!(streamed == text, "{streamed:?} {text:?}");
    ensure!(events.last().is_some_and(|event| event["usage"] == whole["usage"]), "{events:?}");

    let (_, _, two) =
        ask(json!({ "prompt": ["The sky is", "Once upon a time"], "n": 2, "echo": true })).await?;
    let choices = two["choices"].as_array().context("no choices")?;
    ensure!(choices.len() == 4 && choices[0]["text"] == format!("The sky is{text}"), "{two}");
    ensure!(choices[3]["text"].as_str().is_some_and(|text| text.starts_with("Once upon a time")), "{two}");
    let (_, _, short) = ask(json!({ "max_tokens": null })).await?;
    ensure!(short["usage"]["completion_tokens"] == 16, "OpenAI's default: {short}");
    let (status, _, error) = ask(json!({ "prompt": "word ".repeat(20_000) })).await?;
    ensure!(status == 400 && error["error"]["code"] == "context_length_exceeded", "{status} {error}");
    ensure!(error["error"]["param"] == "prompt", "{error}");
    Ok(())
}

/// Guards against: events out of order, a stream and a whole answer that differ, state that is promised.
pub(crate) async fn a_response_is_answered_and_not_kept() -> anyhow::Result<()> {
    let stack = Stack::start(Settings { engine: Engine::Real, ..Settings::default() }).await?;
    let prompt = "What is the capital of France?";
    let body = json!({ "model": MODEL, "input": prompt, "temperature": 0, "max_output_tokens": 24 });
    let (status, headers, whole) = stack.client().post_json("/responses", &body).await?;
    ensure!(
        status == 200 && whole["object"] == "response" && headers.contains_key("cocoon-receipt"),
        "{whole}"
    );
    ensure!(whole["store"] == false && whole["previous_response_id"].is_null(), "{whole}");
    let text = &whole["output"][0]["content"][0]["text"];
    let (_, _, same) = stack.client().complete(&chat(prompt, json!({ "max_tokens": 24 }))).await?;
    ensure!(same["choices"][0]["message"]["content"] == *text, "the same conversation: {same} {whole}");
    ensure!(whole["usage"]["input_tokens"] == same["usage"]["prompt_tokens"], "{whole}");

    let mut stream = stack.client().stream_from("/responses", &body).await?;
    let events: Vec<Value> =
        stream.rest().await?.iter().map(|event| serde_json::from_str(event)).collect::<Result<_, _>>()?;
    for (at, event) in events.iter().enumerate() {
        ensure!(event["sequence_number"] == at, "{event}");
    }
    let deltas: String = events.iter().filter_map(|event| event["delta"].as_str()).collect();
    ensure!(*text == deltas, "{deltas:?} {text}");
    let last = &events.last().context("no events")?;
    let ended = if whole["status"] == "incomplete" { "response.incomplete" } else { "response.completed" };
    ensure!(last["type"] == ended, "{last}");
    let without_ids = |response: &Value| {
        let mut response = response.clone();
        for name in ["id", "created_at"] {
            response[name] = Value::Null;
        }
        response["output"][0]["id"] = Value::Null;
        response
    };
    ensure!(without_ids(&last["response"]) == without_ids(&whole), "{last} {whole}");
    ensure!(stream.trailers.as_ref().is_some_and(|trailers| trailers.contains_key("cocoon-receipt")));

    let tools = json!([{
        "type": "function", "name": "get_weather", "strict": true, "parameters": {
            "type": "object", "properties": { "city": { "enum": ["Paris", "Rome"] } }, "required": ["city"],
            "additionalProperties": false,
        },
    }]);
    let body =
        json!({ "model": MODEL, "input": "Weather in Rome?", "tools": tools, "tool_choice": "required" });
    let (status, _, called) = stack.client().post_json("/responses", &body).await?;
    let call = &called["output"][0];
    ensure!(status == 200 && call["type"] == "function_call" && call["name"] == "get_weather", "{called}");
    let arguments: Value = serde_json::from_str(call["arguments"].as_str().context("no arguments")?)?;
    ensure!(arguments["city"].is_string() && called["tools"] == tools, "{called}");
    let history = json!([
        { "role": "user", "content": "Weather in Rome?" },
        call,
        { "type": "function_call_output", "call_id": call["call_id"], "output": "sunny" },
    ]);
    let body = json!({ "model": MODEL, "input": history, "max_output_tokens": 16, "temperature": 0 });
    let (status, _, answer) = stack.client().post_json("/responses", &body).await?;
    ensure!(status == 200 && answer["output"][0]["type"] == "message", "{answer}");

    for (name, value) in [
        ("previous_response_id", json!("resp_1")),
        ("conversation", json!("conv_1")),
        ("background", json!(true)),
        ("store", json!(true)),
    ] {
        let mut body = json!({ "model": MODEL, "input": "hi" });
        body[name] = value;
        let (status, _, error) = stack.client().post_json("/responses", &body).await?;
        ensure!(status == 400 && error["error"]["param"] == name, "{name}: {status} {error}");
    }
    Ok(())
}
