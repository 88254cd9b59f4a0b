//! What a client sees, and pays, when something behind the gateway breaks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use cocoon_openapi::OPERATORS_PATH;
use serde_json::{Value, json};

use crate::bill::claims;
use crate::harness::{Direction, GRANT, OPERATOR, Settings, Stack, Store, chat, eventually};

/// A scripted answer of many tokens.
fn script(more: Value) -> Value {
    let mut script = json!({ "tokens": 100_000, "text": "tick ", "delay_ms": 20 });
    if let (Some(script), Some(more)) = (script.as_object_mut(), more.as_object()) {
        script.extend(more.clone());
    }
    chat(&script.to_string(), json!({}))
}

pub(crate) async fn no_backend_is_503() -> anyhow::Result<()> {
    let mut stack = Stack::start(Settings::default()).await?;
    stack.kill_backend()?;
    let (status, headers, answer) = stack.client().complete(&chat("hi", json!({}))).await?;
    ensure!(status == 503 && answer["error"]["code"] == "backend_unavailable", "{status} {answer}");
    ensure!(headers.contains_key("retry-after") && headers.contains_key("retry-after-ms"), "{headers:?}");
    let account = stack.settled_account().await?;
    ensure!(account.balance.0 == GRANT, "the hold was given back: {account:?}");
    stack.start_backend()?;
    stack.wait_ready().await?;
    let (status, _, answer) = stack.client().complete(&chat("hi", json!({}))).await?;
    ensure!(status == 200, "{answer}");
    Ok(())
}

pub(crate) async fn an_engine_that_dies_ends_the_stream_with_an_error() -> anyhow::Result<()> {
    let stack = Stack::start(Settings::default()).await?;
    for (what, body, code) in [
        ("crash", script(json!({ "crash_after": 5, "delay_ms": 1 })), "engine_failed"),
        ("failure", script(json!({ "fail_after": 5, "delay_ms": 1 })), "engine_failed"),
    ] {
        let before = stack.settled_account().await?;
        let receipts = stack.outbox()?.len();
        let mut stream = stack.client().stream(&body).await?;
        let events = stream.rest().await?;
        let last: Value = serde_json::from_str(events.last().context("no events")?)?;
        ensure!(last["error"]["code"] == code, "{what}: {events:?}");
        ensure!(!events.iter().any(|event| event == "[DONE]"), "{what}: {events:?}");
        let after = stack.settled_account().await?;
        let outbox = stack.outbox()?;
        ensure!(outbox.len() == receipts + 1, "{what}: one receipt");
        let claims = claims(&outbox[receipts].0)?;
        ensure!(claims["usage"]["completion"] == 5 && claims["complete"] == false, "{what}: {claims:#}");
        let charged = (before.balance.0 - after.balance.0).to_string();
        ensure!(claims["cost"] == charged, "{what}: {claims:#} {charged}");
    }
    Ok(())
}

/// The backend is gone for good, so no receipt will ever come: the last signed checkpoint is charged.
pub(crate) async fn a_backend_that_dies_is_paid_to_its_last_checkpoint() -> anyhow::Result<()> {
    let settings = Settings {
        gateway: "lease_ms = 2000\nsweep_ms = 100\nledger.grace_ms = 500".into(),
        backend: "checkpoint_ms = 300".into(),
        ..Settings::default()
    };
    let mut stack = Stack::start(settings).await?;
    let mut stream = stack.client().stream(&script(json!({}))).await?;
    // Long enough that the lease has been renewed by checkpoints more than once.
    stream.content(150).await?;
    let running = stack.account().await?;
    ensure!(running.open_holds == 1 && running.charged.0 == 0, "{running:?}");
    stack.kill_backend()?;
    let rest = stream.rest().await?;
    let last: Value = serde_json::from_str(rest.last().context("no error event")?)?;
    ensure!(last["error"]["code"] == "backend_failed", "{rest:?}");
    ensure!(!rest.iter().any(|event| event == "[DONE]"), "{rest:?}");
    let account = stack.settled_account().await?;
    // 150 tokens were seen; a checkpoint is at most 300 ms, or about fifteen tokens, old, and the machine may be slow.
    let floor = 75 * 60_000_000 / 1_000_000;
    ensure!(account.charged.0 >= floor, "charged to the last checkpoint: {account:?}");
    ensure!(account.balance.0 == GRANT - account.charged.0 && account.held.0 == 0, "{account:?}");
    Ok(())
}

/// One flipped bit in a frame on its way back. Nothing of the changed frame reaches the client.
pub(crate) async fn a_tampered_answer_is_not_handed_on() -> anyhow::Result<()> {
    let stack = Stack::start(Settings { proxy: true, ..Settings::default() }).await?;
    let proxy = stack.proxy.as_ref().context("no proxy")?;
    let armed = Arc::new(AtomicBool::new(false));
    let trigger = Arc::clone(&armed);
    proxy.change(move |direction, bytes| {
        if direction == Direction::ToGateway && trigger.load(Ordering::SeqCst) && bytes.len() > 40 {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            trigger.store(false, Ordering::SeqCst);
        }
    });
    let mut stream = stack.client().stream(&script(json!({}))).await?;
    stream.content(5).await?;
    armed.store(true, Ordering::SeqCst);
    let rest = stream.rest().await?;
    let last: Value = serde_json::from_str(rest.last().context("no error event")?)?;
    ensure!(last["error"]["code"] == "backend_failed", "{rest:?}");
    for event in &rest[..rest.len() - 1] {
        let event: Value = serde_json::from_str(event)?;
        let content = &event["choices"][0]["delta"]["content"];
        ensure!(content.is_null() || content == "tick ", "a changed frame was handed on: {event}");
    }
    let log = stack.gateway.as_ref().map(crate::harness::Process::log).unwrap_or_default();
    ensure!(log.contains("does not open") || log.contains("malformed"), "the reason is in the log:\n{log}");
    // The gateway let go, so the generation was cancelled and billed.
    let account = stack.settled_account().await?;
    ensure!(account.charged.0 > 0, "{account:?}");
    Ok(())
}

/// A response nonce that is not the backend's derives other keys: no frame opens, and nothing is handed on.
pub(crate) async fn an_answer_under_another_nonce_is_not_handed_on() -> anyhow::Result<()> {
    let stack = Stack::start(Settings { proxy: true, ..Settings::default() }).await?;
    let proxy = stack.proxy.as_ref().context("no proxy")?;
    proxy.change(|direction, bytes| {
        let name = b"ehbp-response-nonce: ";
        let found = bytes.windows(name.len()).position(|window| window == name);
        if let (Direction::ToGateway, Some(at)) = (direction, found) {
            let digit = &mut bytes[at + name.len()];
            *digit = if *digit == b'0' { b'1' } else { b'0' };
        }
    });
    let (status, _, answer) = stack.client().complete(&chat("hi", json!({}))).await?;
    ensure!(status == 502 && answer["error"]["code"] == "backend_failed", "{status} {answer}");
    ensure!(!answer.to_string().contains("echo"), "{answer}");
    Ok(())
}

/// Redis gone: 503 at once and never 401; back: it serves again.
pub(crate) async fn a_store_that_is_down_is_503() -> anyhow::Result<()> {
    let mut stack = Stack::start(Settings { store: Store::Redis, ..Settings::default() }).await?;
    let (status, _, answer) = stack.client().complete(&chat("hi", json!({}))).await?;
    ensure!(status == 200, "{answer}");
    let before = stack.settled_account().await?;
    stack.redis.as_mut().context("no redis")?.kill()?;
    let asked = std::time::Instant::now();
    let (status, headers, answer) = stack.client().complete(&chat("hi", json!({}))).await?;
    ensure!(status == 503 && answer["error"]["code"] == "store_unavailable", "{status} {answer}");
    ensure!(headers.contains_key("retry-after"), "{headers:?}");
    ensure!(asked.elapsed() < Duration::from_secs(15), "it must not hang: {:?}", asked.elapsed());
    let of_operator = format!("{}{OPERATORS_PATH}/{OPERATOR}", stack.ops_url());
    ensure!(reqwest::get(&of_operator).await?.status() == 503, "what is earned cannot be known now");
    stack.redis.as_mut().context("no redis")?.restart().await?;
    eventually("requests are admitted again", Duration::from_secs(30), || async {
        let (status, _, _) = stack.client().complete(&chat("hi", json!({}))).await?;
        Ok((status == 200).then_some(()))
    })
    .await?;
    let account = stack.settled_account().await?;
    ensure!(account.balance < before.balance && account.shortfall.0 == 0, "{account:?}");
    Ok(())
}
