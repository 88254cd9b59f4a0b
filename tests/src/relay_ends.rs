//! How a sealed answer ends whose end the gateway cannot see: its client, its backend or its time is gone.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use cocoon_receipts::NanoTon;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use serde_json::json;

use crate::bill::claims;
use crate::harness::{Connection, Ehbp, GRANT, Protocol, Settings, Stack, eventually};
use crate::relay::{nonce, streamed};

/// Reads `bytes` of an answer at least.
async fn read(answer: &mut Incoming, bytes: usize) -> anyhow::Result<Vec<u8>> {
    let mut got = Vec::new();
    while got.len() < bytes {
        let frame = answer.frame().await.context("the answer has ended")??;
        got.extend_from_slice(&frame.into_data().unwrap_or_default());
    }
    Ok(got)
}

/// Nothing is delivered by the outbox here, so the trailer that the gateway reads after its client has gone is the only
/// way to be paid.
pub(crate) async fn a_client_that_closes_at_done_is_charged_once() -> anyhow::Result<()> {
    let backend = "receipt_urls = [\"http://127.0.0.1:9/internal/receipts\"]";
    let stack = Stack::start(Settings { backend: backend.into(), ..Settings::default() }).await?;
    let body = streamed(&json!({ "tokens": 20, "text": "tick " }));
    for round in 1..=5 {
        let before = stack.account().await?.charged;
        let request = Ehbp::plain(&stack.origin(), &body).await?;
        let response = request.begin(&stack.origin(), &stack.key).await?;
        let nonce = nonce(&response)?;
        let mut answer = response.into_body();
        let mut got = Vec::new();
        // Up to `[DONE]`, which is in the last frame, and not a byte more.
        loop {
            let frame = answer.frame().await.context("no [DONE]")??;
            got.extend_from_slice(&frame.into_data().unwrap_or_default());
            let frames = request.open(&nonce, &got.clone().into()).unwrap_or_default();
            if frames.last().is_some_and(|last| last.windows(6).any(|window| window == b"[DONE]")) {
                break;
            }
        }
        drop(answer);
        let account = stack.settled_account().await?;
        let (receipt, _) = stack.outbox()?.pop().context("no receipt")?;
        let receipt = claims(&receipt)?;
        ensure!(receipt["complete"] == true && receipt["finish"] == "stop", "{receipt:#}");
        let cost: NanoTon = receipt["cost"].as_str().context("no cost")?.parse()?;
        ensure!(account.charged.0 == before.0 + cost.0, "{round}: {account:?} {cost}");
    }
    ensure!(stack.outbox()?.len() == 5, "a receipt each");
    Ok(())
}

pub(crate) async fn a_client_that_hangs_up_pays_for_what_was_generated() -> anyhow::Result<()> {
    let stack = Stack::start(Settings::default()).await?;
    let mut body = streamed(&json!({ "tokens": 100_000, "text": "tick ", "delay_ms": 10 }));
    body["max_tokens"] = 100_000.into();
    let request = Ehbp::plain(&stack.origin(), &body).await?;
    let response = request.begin(&stack.origin(), &stack.key).await?;
    nonce(&response)?;
    let mut answer = response.into_body();
    read(&mut answer, 3000).await?;
    drop(answer);
    let account = stack.settled_account().await?;
    let (receipt, _) = stack.outbox()?.pop().context("no receipt")?;
    let receipt = claims(&receipt)?;
    ensure!(receipt["finish"] == "cancelled" && receipt["complete"] == false, "{receipt:#}");
    let tokens = receipt["usage"]["completion"].as_u64().unwrap_or_default();
    ensure!((1..2000).contains(&tokens), "about what was generated until then: {receipt:#}");
    ensure!(receipt["cost"] == account.charged.0.to_string(), "{account:?} {receipt:#}");
    ensure!(account.balance.0 == GRANT - account.charged.0 && account.held.0 == 0, "{account:?}");
    eventually("the engine runs nothing", Duration::from_secs(10), || async {
        Ok((stack.engine_running().await? == 0).then_some(()))
    })
    .await
}

/// Over HTTP/1.1 the last chunk is missing, over HTTP/2 the stream is reset: no client takes the answer for whole.
pub(crate) async fn a_backend_that_dies_ends_the_answer_without_an_end() -> anyhow::Result<()> {
    let settings = Settings {
        gateway: "lease_ms = 2000\nsweep_ms = 100\nledger.grace_ms = 500".into(),
        backend: "checkpoint_ms = 300".into(),
        ..Settings::default()
    };
    let mut stack = Stack::start(settings).await?;
    let body = streamed(&json!({ "tokens": 1000, "text": "tick ", "delay_ms": 20 }));
    let address = SocketAddr::from(([127, 0, 0, 1], stack.gateway_port()));
    let mut answers = Vec::new();
    let mut connections = Vec::new();
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let request = Ehbp::plain(&stack.origin(), &body).await?;
        let mut http = http::Request::post(format!("http://{address}{}", request.path))
            .header("host", address.to_string())
            .header("authorization", format!("Bearer {}", stack.key));
        for (name, value) in &request.headers {
            http = http.header(name, value);
        }
        let mut connection = Connection::plain(address, protocol).await?;
        let response = connection.send(http.body(Full::new(request.frames.concat().into()))?).await?;
        let nonce = nonce(&response)?;
        let mut answer = response.into_body();
        let got = read(&mut answer, 20_000).await?;
        connections.push(connection);
        answers.push((protocol, request, nonce, answer, got));
    }
    let running = stack.account().await?;
    ensure!(running.open_holds == 2 && running.charged.0 == 0, "{running:?}");
    stack.kill_backend()?;
    for (protocol, _, _, mut answer, _) in answers {
        let end = loop {
            match answer.frame().await {
                Some(Ok(_)) => {}
                end => break end,
            }
        };
        ensure!(matches!(end, Some(Err(_))), "{protocol:?} ended as if it were whole: {end:?}");
    }
    let account = stack.settled_account().await?;
    ensure!(account.charged.0 > 0, "charged to the last checkpoints: {account:?}");
    ensure!(account.balance.0 == GRANT - account.charged.0 && account.held.0 == 0, "{account:?}");
    Ok(())
}

/// Nothing can be said inside the seal, so nothing is.
pub(crate) async fn an_answer_over_the_deadline_has_no_end() -> anyhow::Result<()> {
    let settings = Settings { gateway: "request_deadline_ms = 1500".into(), ..Settings::default() };
    let stack = Stack::start(settings).await?;
    let request = Ehbp::plain(&stack.origin(), &streamed(&json!({ "tokens": 1000, "delay_ms": 20 }))).await?;
    let response = request.begin(&stack.origin(), &stack.key).await?;
    let nonce = nonce(&response)?;
    let mut answer = response.into_body();
    let mut got = Vec::new();
    let end = loop {
        match answer.frame().await {
            Some(Ok(frame)) => got.extend_from_slice(&frame.into_data().unwrap_or_default()),
            end => break end,
        }
    };
    ensure!(matches!(end, Some(Err(_))), "it ended as if it were whole: {end:?}");
    let text = String::from_utf8(request.open(&nonce, &got.into())?.concat())?;
    ensure!(!text.contains("error") && !text.contains("[DONE]"), "only what the backend said: {text}");
    let (receipt, _) = eventually("the cut request has a receipt", Duration::from_secs(10), || async {
        Ok(stack.outbox().unwrap_or_default().pop())
    })
    .await?;
    ensure!(claims(&receipt)?["finish"] == "cancelled");
    Ok(())
}
