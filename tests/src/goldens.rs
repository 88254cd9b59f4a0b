//! The bytes that clients get, as they are checked in under `tests/goldens/`: one file for each answer and each error.
//! What differs from run to run (ids, times, signatures) is masked. After a change that is meant:
//! `COCOON_UPDATE_GOLDENS=1 cargo xtask test goldens`, and read the difference.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use http::{HeaderMap, Method};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::harness::{Client, MODEL, Settings, Stack};

/// Values of these differ from run to run; that they are there does not.
const MASKED_HEADERS: [&str; 8] = [
    "content-length",
    "cocoon-client-nonce",
    "cocoon-receipt",
    "date",
    "openai-processing-ms",
    "x-ratelimit-remaining-requests",
    "x-request-id",
    "idempotency-key",
];

struct Golden {
    name: &'static str,
    method: Method,
    path: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

fn post(name: &'static str, path: &'static str, body: &Value) -> Golden {
    Golden { name, method: Method::POST, path, headers: Vec::new(), body: body.to_string().into_bytes() }
}

fn get(name: &'static str, path: &'static str) -> Golden {
    Golden { name, method: Method::GET, path, headers: Vec::new(), body: Vec::new() }
}

/// A chat whose answer the scripted engine is told.
fn chat(script: &str, more: Value) -> Value {
    laid_over(json!({ "model": MODEL, "messages": [{ "role": "user", "content": script }] }), more)
}

fn laid_over(mut base: Value, more: Value) -> Value {
    if let (Value::Object(base), Value::Object(more)) = (&mut base, more) {
        base.extend(more);
    }
    base
}

fn answers() -> Vec<Golden> {
    let usage = json!({ "stream": true, "stream_options": { "include_usage": true } });
    let tools =
        json!([{ "type": "function", "function": { "name": "f", "parameters": { "type": "object" } } }]);
    let call = r#"{"tokens":1,"text":"Let me see. <tool_call>{\"name\":\"f\",\"arguments\":{\"x\":1}}</tool_call>"}"#;
    let (text, response) = ("/completions", "/responses");
    let two = json!({ "model": MODEL, "prompt": ["one", "two words"], "n": 2, "max_tokens": 9 });
    let flat = json!([{ "type": "function", "name": "f", "parameters": { "type": "object" } }]);
    vec![
        post("chat", "/chat/completions", &chat("hello there", json!({}))),
        post("chat_stream", "/chat/completions", &chat("hello there", json!({ "stream": true }))),
        post("chat_stream_usage", "/chat/completions", &chat("hello there", usage.clone())),
        post("chat_length", "/chat/completions", &chat("hello there", json!({ "max_tokens": 1 }))),
        post("chat_two_choices", "/chat/completions", &chat("hi", json!({ "n": 2 }))),
        post("chat_tool_call", "/chat/completions", &chat(call, json!({ "tools": tools }))),
        post(
            "chat_tool_call_stream",
            "/chat/completions",
            &chat(call, json!({ "tools": tools, "stream": true })),
        ),
        post(
            "chat_function_call",
            "/chat/completions",
            &chat(call, json!({ "functions": [{ "name": "f", "parameters": { "type": "object" } }] })),
        ),
        post(
            "chat_stream_that_fails",
            "/chat/completions",
            &chat(r#"{"fail_after":2,"text":"tick "}"#, json!({ "stream": true })),
        ),
        post("completion", text, &json!({ "model": MODEL, "prompt": "hello there" })),
        post(
            "completion_stream",
            text,
            &laid_over(json!({ "model": MODEL, "prompt": "hello there" }), usage),
        ),
        post("completion_of_two_prompts", text, &two),
        post("response", response, &json!({ "model": MODEL, "input": "hello there" })),
        post("response_stream", response, &json!({ "model": MODEL, "input": "hello there", "stream": true })),
        post(
            "response_call_stream",
            response,
            &json!({ "model": MODEL, "input": call, "tools": flat, "stream": true }),
        ),
        get("models", "/models"),
        get("model", "/models/smollm2-135m-instruct"),
    ]
}

fn errors() -> Vec<Golden> {
    let path = "/chat/completions";
    let with = |name, headers, body: Vec<u8>| Golden { name, method: Method::POST, path, headers, body };
    let authorization = |value: &str| vec![("authorization", value.to_owned())];
    let hello = chat("hi", json!({}));
    vec![
        with("error_no_key", authorization(""), hello.to_string().into_bytes()),
        with("error_wrong_key", authorization("Bearer sk-cocoon-nothing"), hello.to_string().into_bytes()),
        with("error_not_json", Vec::new(), b"{".to_vec()),
        with("error_not_an_object", Vec::new(), b"[]".to_vec()),
        with("error_too_large", Vec::new(), vec![b' '; 300_001]),
        with("error_encoding", vec![("content-encoding", "compress".into())], b"x".to_vec()),
        post("error_no_model", path, &json!({ "messages": [] })),
        post("error_no_messages", path, &json!({ "model": MODEL })),
        post("error_wrong_type", path, &chat("hi", json!({ "temperature": "hot" }))),
        post("error_out_of_range", path, &chat("hi", json!({ "top_p": 2 }))),
        post("error_unsupported", path, &chat("hi", json!({ "audio": {} }))),
        post("error_unsupported_value", path, &chat("hi", json!({ "store": true }))),
        post("error_unknown_model", path, &json!({ "model": "gpt-9", "messages": [] })),
        post("error_context", path, &chat(&"w ".repeat(140_000), json!({}))),
        post("error_wrong_kind", "/embeddings", &json!({ "model": MODEL, "input": "hi" })),
        post("error_engine", path, &chat(r#"{"fail_after":0}"#, json!({}))),
        get("error_unknown_url", "/nothing/here"),
        get("error_method", path),
    ]
}

/// Guards against any change of what clients see that nobody meant: a member, its order, a header, an event.
pub(crate) async fn every_answer_and_error_is_as_checked_in() -> anyhow::Result<()> {
    let settings = Settings { gateway: "body_limit = 300000".into(), ..Settings::default() };
    let stack = Stack::start(settings).await?;
    let mut changed = Vec::new();
    for golden in answers().into_iter().chain(errors()) {
        changed.extend(compare(&stack.client(), &stack.key, golden).await?);
    }
    let poor = stack.make_key(&["--account", "poor", "--grant", "1000"])?;
    let dear = post("error_balance", "/chat/completions", &chat("hi", json!({ "max_tokens": 1000 })));
    changed.extend(compare(&stack.client(), &poor, dear).await?);

    let settings =
        Settings { backend: "engine_args = [\"--kind\", \"embedding\"]".into(), ..Settings::default() };
    let mut embedding = Stack::start(settings).await?;
    for (name, format) in [("embeddings", "float"), ("embeddings_base64", "base64")] {
        let body = json!({ "model": MODEL, "input": ["one", "two words"], "encoding_format": format });
        changed.extend(compare(&embedding.client(), &embedding.key, post(name, "/embeddings", &body)).await?);
    }
    embedding.kill_backend()?;
    let body = json!({ "model": MODEL, "input": "one" });
    let golden = post("error_no_backend", "/embeddings", &body);
    changed.extend(compare(&embedding.client(), &embedding.key, golden).await?);
    ensure!(changed.is_empty(), "answers are not as checked in:\n{}", changed.join("\n"));
    Ok(())
}

/// What is different, if anything is.
async fn compare(client: &Client, key: &str, golden: Golden) -> anyhow::Result<Option<String>> {
    let Golden { name, method, path, headers, body } = golden;
    let authorization = format!("Bearer {key}");
    let mut sent: Vec<(&str, &str)> = vec![("content-type", "application/json"), ("te", "trailers")];
    if headers.iter().all(|(name, _)| *name != "authorization") {
        sent.push(("authorization", &authorization));
    }
    sent.extend(
        headers.iter().map(|(name, value)| (*name, value.as_str())).filter(|(_, value)| !value.is_empty()),
    );
    let response = client.send(method, path, &sent, body).await?;
    let (parts, body) = response.into_parts();
    let collected = body.collect().await?;
    let trailers = collected.trailers().map(|trailers| listed("\ntrailers:\n", trailers)).unwrap_or_default();
    let body = String::from_utf8(collected.to_bytes().to_vec())?;
    let request = parts.headers["x-request-id"].to_str()?.replace('-', "");
    let body = masked(&body.replace(&request, "…"));
    let got = format!("{}\n{}\n{body}{trailers}", parts.status.as_u16(), listed("", &parts.headers));

    let file = folder().join(format!("{name}.txt"));
    if std::env::var_os("COCOON_UPDATE_GOLDENS").is_some() {
        std::fs::write(&file, &got)?;
        return Ok(None);
    }
    let expected = std::fs::read_to_string(&file).with_context(|| format!("no {}", file.display()))?;
    let same = expected == got;
    Ok((!same).then(|| format!("--- {name}, checked in:\n{expected}\n--- {name}, now:\n{got}\n")))
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("goldens")
}

fn listed(title: &str, headers: &HeaderMap) -> String {
    let mut lines: Vec<String> = headers
        .iter()
        .map(|(name, value)| {
            let masked = MASKED_HEADERS.contains(&name.as_str());
            let value = if masked { "…" } else { value.to_str().unwrap_or("?") };
            format!("{name}: {value}\n")
        })
        .collect();
    lines.sort();
    format!("{title}{}", lines.concat())
}

/// Hides what differs from run to run: the letters and digits behind each of these.
fn masked(text: &str) -> String {
    const BEFORE: [&str; 8] = [
        "\"created\":",
        "\"created_at\":",
        "\"not_after\":",
        "\"verified_at\":",
        "\"valid_until\":",
        "\"keyset\":\"",
        "\"fp_",
        "\"call_",
    ];
    let mut text = text.to_owned();
    for before in BEFORE {
        let parts: Vec<&str> = text.split(before).collect();
        let rest = parts[1..].iter().map(|part| part.trim_start_matches(|c: char| c.is_ascii_alphanumeric()));
        text = [parts[0]].into_iter().chain(rest).collect::<Vec<_>>().join(&format!("{before}…"));
    }
    text
}
