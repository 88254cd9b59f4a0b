//! What a request that is wrong gets, in OpenAI's words.

use anyhow::{Context, ensure};
use http::Method;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::harness::{Engine, MODEL, Settings, Stack, chat};

/// (what is wrong, body, status, `code`, `param`)
type Case = (&'static str, String, u16, Option<&'static str>, Option<&'static str>);

fn cases() -> Vec<Case> {
    let with = |more: Value| chat("hi", more).to_string();
    let image = |url: &str| {
        let content = json!([{ "type": "text", "text": "what is it" }, { "type": "image_url", "image_url": { "url": url } }]);
        json!({ "model": MODEL, "messages": [{ "role": "user", "content": content }] }).to_string()
    };
    let long = "word ".repeat(20_000);
    vec![
        ("not JSON", "{".into(), 400, None, None),
        ("nothing", String::new(), 400, None, None),
        ("an array", "[]".into(), 400, None, None),
        ("no model", json!({ "messages": [] }).to_string(), 400, None, Some("model")),
        ("no messages", json!({ "model": MODEL }).to_string(), 400, None, Some("messages")),
        (
            "empty messages",
            json!({ "model": MODEL, "messages": [] }).to_string(),
            400,
            None,
            Some("messages"),
        ),
        (
            "messages of another type",
            json!({ "model": MODEL, "messages": "hi" }).to_string(),
            400,
            None,
            Some("messages"),
        ),
        (
            "an unknown model",
            json!({ "model": "gpt-9", "messages": [] }).to_string(),
            404,
            Some("model_not_found"),
            Some("model"),
        ),
        (
            "temperature of another type",
            with(json!({ "temperature": "hot" })),
            400,
            None,
            Some("temperature"),
        ),
        ("temperature out of range", with(json!({ "temperature": 3 })), 400, None, Some("temperature")),
        ("a ceiling of 0", with(json!({ "max_tokens": 0 })), 400, None, Some("max_tokens")),
        ("stream of another type", with(json!({ "stream": "yes" })), 400, None, Some("stream")),
        ("stop of another type", with(json!({ "stop": 5 })), 400, None, Some("stop")),
        ("an x_conf of its own", with(json!({ "x_conf": {} })), 400, None, Some("x_conf")),
        (
            "two models",
            format!(r#"{{"model":"{MODEL}","model":"{MODEL}","messages":[]}}"#),
            400,
            None,
            Some("model"),
        ),
        (
            "two models, one escaped",
            format!(r#"{{"model":"{MODEL}","\u006dodel":"x","messages":[]}}"#),
            400,
            None,
            Some("model"),
        ),
        (
            "an image to be fetched",
            image("http://127.0.0.1:1/secret.png"),
            400,
            None,
            Some("messages[0].content[1].image_url.url"),
        ),
        (
            "an image that is a file",
            image("file:///etc/passwd"),
            400,
            None,
            Some("messages[0].content[1].image_url.url"),
        ),
        (
            "an image that is a path",
            image("/etc/passwd"),
            400,
            None,
            Some("messages[0].content[1].image_url.url"),
        ),
        (
            "a prompt over the context",
            chat(&long, json!({})).to_string(),
            400,
            Some("context_length_exceeded"),
            Some("messages"),
        ),
    ]
}

/// On the real model: an image URL must not be fetched or opened by it, and the context is the model's own.
pub(crate) async fn each_gets_its_error() -> anyhow::Result<()> {
    let stack = Stack::start(Settings {
        engine: Engine::Real,
        gateway: "body_limit = 300000".into(),
        ..Settings::default()
    })
    .await?;
    let authorization = format!("Bearer {}", stack.key);
    let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
    for (what, body, status, code, param) in cases() {
        let response = stack.client().post_raw("/chat/completions", &headers, body).await?;
        let (got, error) = read_error(what, response).await?;
        ensure!(got == status, "{what}: {got} {error}");
        ensure!(error["param"] == json!(param), "{what}: {error}");
        if let Some(code) = code {
            ensure!(error["code"] == code, "{what}: {error}");
        }
        ensure!(error["type"] == "invalid_request_error", "{what}: {error}");
    }
    let response = stack.client().post_raw("/chat/completions", &headers, vec![b' '; 300_001]).await?;
    let (status, error) = read_error("a body over the limit", response).await?;
    ensure!(status == 413, "{status} {error}");
    for (encoding, expected) in [("gzip", 400), ("deflate", 415)] {
        let packed = [headers[0], headers[1], ("content-encoding", encoding)];
        let response = stack.client().post_raw("/chat/completions", &packed, "x").await?;
        let (status, error) = read_error(encoding, response).await?;
        ensure!(status == expected, "{encoding}: {status} {error}");
    }

    for (method, path, status) in [
        (Method::GET, "/v1/chat/completions", 405),
        (Method::DELETE, "/v1/models", 405),
        (Method::GET, "/v1/nothing/here", 404),
        (Method::POST, "/", 404),
        (Method::GET, "/internal/receipts", 404),
    ] {
        let url = format!("{}{path}", stack.base_url().trim_end_matches("/v1"));
        let response = reqwest::Client::new().request(method.clone(), url).send().await?;
        ensure!(response.headers().contains_key("x-request-id"), "{method} {path}");
        ensure!(response.status().as_u16() == status, "{method} {path}: {}", response.status());
        let body: Value =
            response.json().await.with_context(|| format!("{method} {path} in OpenAI's shape"))?;
        ensure!(body["error"]["message"].is_string(), "{method} {path}: {body}");
    }
    let account = stack.settled_account().await?;
    ensure!(
        account.charged.0 == 0 && account.held.0 == 0,
        "nothing was generated, nothing is owed: {account:?}"
    );
    for process in [&stack.gateway, &stack.backend] {
        let log = process.as_ref().map(crate::harness::Process::log).unwrap_or_default();
        ensure!(!log.contains("word word") && !log.contains("/etc/passwd"), "a log must not quote content");
    }
    Ok(())
}

async fn read_error(
    what: &str,
    response: http::Response<hyper::body::Incoming>,
) -> anyhow::Result<(u16, Value)> {
    ensure!(response.headers().contains_key("x-request-id"), "{what}: no x-request-id");
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await?.to_bytes();
    let body: Value = serde_json::from_slice(&bytes)
        .with_context(|| format!("{what}: not JSON: {}", String::from_utf8_lossy(&bytes)))?;
    let error = body["error"].clone();
    for member in ["message", "type", "param", "code"] {
        ensure!(error.get(member).is_some(), "{what}: no '{member}' in {body}");
    }
    Ok((status, error))
}

/// 401 for each, and never a word of the key.
pub(crate) async fn keys_that_are_not_good_are_401() -> anyhow::Result<()> {
    let stack = Stack::start(Settings::default()).await?;
    let expired = stack.make_key(&["--account", "late", "--expires-days", "0"])?;
    let mut forged = stack.key.clone();
    let last = forged.pop().context("empty key")?;
    forged.insert(forged.len() - 40, if last == 'A' { 'B' } else { 'A' });
    for (what, value) in [
        ("no key", None),
        ("malformed", Some("Bearer sk-cocoon-nonsense".to_owned())),
        ("another scheme", Some("Basic abc".to_owned())),
        ("forged signature", Some(format!("Bearer {forged}"))),
        ("expired", Some(format!("Bearer {expired}"))),
        ("empty", Some("Bearer ".to_owned())),
    ] {
        let mut headers = vec![("content-type", "application/json")];
        if let Some(value) = &value {
            headers.push(("authorization", value));
        }
        for path in ["/chat/completions", "/models"] {
            let body = chat("hi", json!({})).to_string();
            let response = if path == "/models" {
                let mut request = reqwest::Client::new().get(format!("{}/models", stack.base_url()));
                for (name, value) in &headers {
                    request = request.header(*name, *value);
                }
                let response = request.send().await?;
                (response.status().as_u16(), response.json::<Value>().await?["error"].clone())
            } else {
                read_error(what, stack.client().post_raw(path, &headers, body).await?).await?
            };
            let (status, error) = response;
            ensure!(status == 401, "{what} at {path}: {status} {error}");
            ensure!(!error.to_string().contains("eyJ"), "{what}: the key is quoted: {error}");
        }
    }
    // An admin key is good, but not for this.
    let client = crate::harness::Client::new(stack.base_url(), stack.admin_key.clone());
    let (status, _, answer) = client.complete(&chat("hi", json!({}))).await?;
    ensure!(status == 403, "{status} {answer}");
    let url = format!("{}/internal/accounts/tester", stack.ops_url());
    let status = reqwest::Client::new().get(url).bearer_auth(&stack.key).send().await?.status();
    ensure!(status == 403, "a client's key reads no accounts: {status}");
    Ok(())
}
