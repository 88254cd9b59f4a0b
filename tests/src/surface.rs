//! What every answer of the public listener has, errors and preflights included.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use cocoon_receipts::Usage;
use http::{HeaderMap, Method};
use serde_json::{Value, json};

use crate::harness::{Liar, Scripted, Settings, Stack, chat, eventually};

/// Guards against: an error that an SDK cannot parse, or would retry into a second bill.
pub(crate) async fn errors_say_what_openais_say_and_whether_to_retry() -> anyhow::Result<()> {
    let stack = Stack::start(Settings::default()).await?;
    let root = stack.base_url().trim_end_matches("/v1").to_owned();
    let http = reqwest::Client::new();
    let cases = [
        (Method::GET, "/v1/foo?key=secret", 404, "Invalid URL (GET /v1/foo)", None),
        (Method::POST, "/", 404, "Invalid URL (POST /)", None),
        (
            Method::GET,
            "/v1/chat/completions",
            405,
            "Not allowed to GET on /v1/chat/completions",
            Some("POST"),
        ),
        (Method::GET, "/v1/embeddings", 405, "Not allowed to GET on /v1/embeddings", Some("POST")),
        (Method::DELETE, "/v1/models/m", 405, "Not allowed to DELETE on /v1/models/m", Some("GET,HEAD")),
        (Method::POST, "/v1/completions", 400, "We could not parse the JSON body of your request.", None),
        (Method::POST, "/v1/responses", 400, "We could not parse the JSON body of your request.", None),
    ];
    for (method, path, status, message, allow) in cases {
        let request = http.request(method.clone(), format!("{root}{path}")).bearer_auth(&stack.key).body("{");
        let response = request.send().await?;
        let what = format!("{method} {path}");
        ensure!(response.status() == status, "{what}: {}", response.status());
        let headers = response.headers().clone();
        ensure!(headers["content-type"] == "application/json", "{what}: {headers:?}");
        ensure!(headers.contains_key("x-request-id"), "{what}: {headers:?}");
        let took: u64 = headers["openai-processing-ms"].to_str()?.parse()?;
        ensure!(took < 60_000, "{what}: {headers:?}");
        ensure!(
            headers.get("allow").map(|value| value.to_str().unwrap_or("?")) == allow,
            "{what}: {headers:?}"
        );
        let body: Value = response.json().await?;
        let error = body["error"].as_object().with_context(|| format!("{what}: {body}"))?;
        let mut members: Vec<&str> = error.keys().map(String::as_str).collect();
        members.sort_unstable();
        ensure!(members == ["code", "message", "param", "type"], "{what}: {body}");
        ensure!(error["message"].as_str().is_some_and(|text| text.starts_with(message)), "{what}: {body}");
        ensure!(error["type"] == "invalid_request_error", "{what}: {body}");
        ensure!(!body.to_string().contains("secret"), "{what}: {body}");
    }
    Ok(())
}

/// A generation that fails half-way is billed for its half, so an SDK must not begin it again by itself.
pub(crate) async fn an_answer_that_failed_and_cost_is_not_retried() -> anyhow::Result<()> {
    const MODEL: &str = "liar-model";
    let mut liar = Liar::new(MODEL).await?;
    liar.lie = Some(Arc::new(|_, _| {}));
    liar.script = Some(Arc::new(|seen| {
        let usage = if seen.body.ends_with(b" ") { Usage::default() } else { Scripted::default().usage };
        Scripted { status: 500, usage, ..Scripted::default() }
    }));
    let settings =
        Settings { second_backend: Some(liar.url()), gateway: liar.prices(), ..Settings::default() };
    let stack = Stack::start(settings).await?;
    liar.join(&stack).await?;
    let authorization = format!("Bearer {}", stack.key);
    let headers = [("authorization", authorization.as_str())];
    for (space, cost, retry) in [("", "500", Some("false")), (" ", "0", None)] {
        let body = format!("{{\"model\":\"{MODEL}\"}}{space}");
        let response = stack.client().post_raw("/chat/completions", &headers, body).await?;
        let headers = response.headers();
        ensure!(response.status() == 500 && headers["cocoon-cost"] == cost, "{headers:?}");
        ensure!(
            headers.get("x-should-retry").map(|value| value.as_bytes()) == retry.map(str::as_bytes),
            "{headers:?}"
        );
    }
    Ok(())
}

/// Guards against: headers that say nothing of what is left, a full gateway that says there is room.
pub(crate) async fn answers_say_how_many_more_may_be_sent() -> anyhow::Result<()> {
    let settings = Settings { gateway: "max_in_flight = 2".into(), ..Settings::default() };
    let stack = Stack::start(settings).await?;
    let said = |headers: &HeaderMap| {
        let value = |name: &str| headers[format!("x-ratelimit-{name}-requests")].to_str().map(str::to_owned);
        anyhow::Ok([value("limit")?, value("remaining")?, value("reset")?])
    };
    let (status, headers, _) = stack.client().complete(&chat("hi", json!({}))).await?;
    ensure!(
        status == 200 && said(&headers)? == ["2", "2", "0s"],
        "an answer that is whole is in flight no more: {headers:?}"
    );
    let slow = chat(&json!({ "tokens": 10_000, "delay_ms": 10 }).to_string(), json!({}));
    let (mut one, mut two) = (stack.client().stream(&slow).await?, stack.client().stream(&slow).await?);
    one.content(1).await?;
    ensure!(said(&two.headers)? == ["2", "0", "1s"], "both are in flight: {:?}", two.headers);
    two.content(1).await?;
    let (status, headers, _) = stack.client().complete(&chat("hi", json!({}))).await?;
    ensure!(status == 503 && said(&headers)? == ["2", "0", "1s"], "{status} {headers:?}");
    drop((one, two));
    eventually("both places are free again", Duration::from_secs(10), || async {
        let (status, _, _) = stack.client().complete(&chat("hi", json!({}))).await?;
        Ok((status == 200).then_some(()))
    })
    .await
}

/// Guards against: a preflight that needs a key, headers that a page's script cannot see.
pub(crate) async fn any_page_may_ask() -> anyhow::Result<()> {
    let stack = Stack::start(Settings::default()).await?;
    let http = reqwest::Client::new();
    let wanted = "authorization, content-type, cocoon-client-nonce, ehbp-encapsulated-key, idempotency-key";
    for path in ["/chat/completions", "/responses", "/models", "/nothing/here"] {
        let preflight = http
            .request(Method::OPTIONS, format!("{}{path}", stack.base_url()))
            .header("origin", "https://page.example")
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", wanted)
            .send()
            .await?;
        ensure!(preflight.status().is_success(), "{path}: {}", preflight.status());
        let headers = preflight.headers();
        ensure!(headers["access-control-allow-origin"] == "*", "{path}: {headers:?}");
        ensure!(headers["access-control-allow-headers"] == wanted, "{path}: {headers:?}");
        let methods = headers["access-control-allow-methods"].to_str()?;
        ensure!(methods.contains("GET") && methods.contains("POST"), "{path}: {headers:?}");
        ensure!(headers.contains_key("x-request-id"), "{path}: {headers:?}");
    }
    let bare = http.request(Method::OPTIONS, format!("{}/models", stack.base_url())).send().await?;
    ensure!(bare.status().is_success(), "{}", bare.status());

    let refused = http.get(format!("{}/models", stack.base_url())).header("origin", "https://page.example");
    let refused = refused.send().await?;
    ensure!(refused.status() == 401, "{}", refused.status());
    let exposed = refused.headers()["access-control-expose-headers"].to_str()?.to_owned();
    for name in [
        "x-request-id",
        "cocoon-receipt",
        "cocoon-cost",
        "cocoon-client-nonce",
        "cocoon-privacy",
        "ehbp-response-nonce",
        "retry-after",
        "retry-after-ms",
        "x-should-retry",
        "openai-processing-ms",
    ] {
        ensure!(exposed.split(',').any(|one| one.trim() == name), "{name} in {exposed}");
    }
    Ok(())
}
