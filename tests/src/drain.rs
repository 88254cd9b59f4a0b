//! SIGTERM: no new requests, running ones finish and are billed.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::json;

use crate::harness::{Settings, Stack, chat, eventually};

pub(crate) async fn running_streams_finish_after_sigterm() -> anyhow::Result<()> {
    let mut stack = Stack::start(Settings::default()).await?;
    let script = json!({ "tokens": 150, "text": "tick ", "delay_ms": 20 }).to_string();
    let mut stream = stack.client().stream(&chat(&script, json!({}))).await?;
    stream.content(5).await?;
    stack.gateway.as_ref().context("no gateway")?.terminate()?;
    eventually("no new requests are taken", Duration::from_secs(5), || async {
        Ok(stack.client().complete(&chat("hi", json!({}))).await.is_err().then_some(()))
    })
    .await?;
    let rest = stream.rest().await?;
    ensure!(rest.last().map(String::as_str) == Some("[DONE]"), "the stream was cut: {:?}", rest.last());
    ensure!(rest.len() > 145, "{} events", rest.len());
    let gateway = stack.gateway.as_mut().context("no gateway")?;
    let status = eventually("the gateway ends", Duration::from_secs(20), || {
        let exited = gateway.exited();
        async move { exited }
    })
    .await?;
    ensure!(status.success(), "{status}");
    stack.start_gateway()?;
    stack.wait_ready().await?;
    let account = stack.account().await?;
    ensure!(account.open_holds == 0 && account.charged.0 > 0, "billed before it ended: {account:?}");
    Ok(())
}
