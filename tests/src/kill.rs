//! kill -9 in the middle of a stream: the bill comes, once.

use std::time::Duration;

use anyhow::{Context, ensure};
use cocoon_receipts::NanoTon;
use serde_json::json;

use crate::bill::claims;
use crate::harness::{Engine, GRANT, Settings, Stack, Store, chat, eventually, signal};

pub(crate) async fn the_gateway_on_sqlite() -> anyhow::Result<()> {
    the_gateway(Store::Sqlite).await
}

pub(crate) async fn the_gateway_on_redis() -> anyhow::Result<()> {
    the_gateway(Store::Redis).await
}

pub(crate) async fn the_engine_on_sqlite() -> anyhow::Result<()> {
    the_engine(Store::Sqlite).await
}

pub(crate) async fn the_engine_on_redis() -> anyhow::Result<()> {
    the_engine(Store::Redis).await
}

fn long_story() -> serde_json::Value {
    chat("Write a long story about a lighthouse keeper.", json!({ "max_tokens": 400 }))
}

/// Guards against: a bill kept in the gateway's memory, a receipt lost because nobody took it, a hold that stays, a
/// second charge by the second delivery.
async fn the_gateway(store: Store) -> anyhow::Result<()> {
    let settings = Settings {
        store,
        engine: Engine::Real,
        // The second acknowledgement soon, so that the test sees it.
        backend: "receipt_confirm_ms = 500".into(),
        ..Settings::default()
    };
    let mut stack = Stack::start(settings).await?;
    let mut stream = stack.client().stream(&long_story()).await?;
    let text = stream.content(10).await?;
    ensure!(!text.is_empty());
    stack.kill_gateway()?;
    ensure!(stream.rest().await.is_err(), "the client sees the stream break off");

    // The backend notices, ends the generation and signs what was generated.
    let (receipt, _) = eventually("the cut request has a receipt", Duration::from_secs(20), || async {
        Ok(stack.outbox().unwrap_or_default().pop())
    })
    .await?;
    let claims = claims(&receipt)?;
    ensure!(claims["complete"] == false && claims["finish"] == "cancelled", "{claims:#}");
    let tokens = claims["usage"]["completion"].as_u64().unwrap_or_default();
    ensure!((10..400).contains(&tokens), "paid for what was generated: {claims:#}");
    let cost: NanoTon = claims["cost"].as_str().context("no cost")?.parse()?;

    stack.start_gateway()?;
    stack.wait_ready().await?;
    let account = stack.settled_account().await?;
    ensure!(account.charged == cost && account.balance.0 == GRANT - cost.0, "{account:?} {cost}");
    ensure!(account.held == NanoTon::ZERO && account.shortfall == NanoTon::ZERO, "{account:?}");

    // Its outbox delivers a second time; the account does not change.
    eventually("the second acknowledgement", Duration::from_secs(20), || async {
        let log = std::fs::read_to_string(stack.path("backend").join("outbox.jsonl"))?;
        Ok((log.matches("\"ack\"").count() >= 2).then_some(()))
    })
    .await?;
    ensure!(stack.account().await? == account);

    // And it serves on.
    let (status, _, answer) =
        stack.client().complete(&chat("Say hello.", json!({ "max_tokens": 8 }))).await?;
    ensure!(status == 200, "{answer}");
    println!("{store:?}: cut after {tokens} tokens, charged {cost} nanoTON once");
    Ok(())
}

/// Guards against: a backend that goes down with its engine, a cut request without a receipt, keys that change with the
/// engine.
async fn the_engine(store: Store) -> anyhow::Result<()> {
    let settings = Settings { store, engine: Engine::Real, ..Settings::default() };
    let stack = Stack::start(settings).await?;
    let mut stream = stack.client().stream(&long_story()).await?;
    stream.content(10).await?;
    signal(stack.engine_pid()?, "KILL")?;
    let begun = std::time::Instant::now();
    let rest = stream.rest().await?;
    let last: serde_json::Value = serde_json::from_str(rest.last().context("no error event")?)?;
    ensure!(last["error"]["code"] == "engine_failed", "the client is told, in the stream: {rest:?}");
    ensure!(!rest.iter().any(|event| event == "[DONE]"), "and not that it is whole: {rest:?}");

    let (status, _, answer) = eventually("the backend answers again", Duration::from_secs(30), || async {
        let (status, headers, answer) =
            stack.client().complete(&chat("Say hello.", json!({ "max_tokens": 8 }))).await?;
        Ok((status == 200).then_some((status, headers, answer)))
    })
    .await?;
    ensure!(status == 200, "{answer}");
    let recovery = begun.elapsed();

    let (receipt, _) = stack.outbox()?.into_iter().next().context("the cut request has a receipt")?;
    let claims = claims(&receipt)?;
    ensure!(claims["complete"] == false && claims["finish"] == "error", "{claims:#}");
    ensure!(claims["usage"]["completion"].as_u64().is_some_and(|tokens| tokens >= 10), "{claims:#}");
    let charged: u64 = stack.outbox()?.iter().try_fold(0, |sum, (receipt, _)| {
        let cost: NanoTon = self::claims(receipt)?["cost"].as_str().context("no cost")?.parse()?;
        anyhow::Ok(sum + cost.0)
    })?;
    let account = stack.settled_account().await?;
    ensure!(account.charged.0 == charged && account.balance.0 == GRANT - charged, "{account:?} {charged}");
    println!("{store:?}: answered again {recovery:.1?} after the engine was killed");
    Ok(())
}
