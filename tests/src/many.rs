//! Twenty at once on the real model, and what is left after half of them hung up.

use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::json;
use tokio::task::JoinSet;

use crate::harness::{Engine, Settings, Stack, chat, eventually};

const STREAMS: usize = 20;
const CUT: usize = 10;
const TOKENS: u64 = 40;

/// Guards against: an engine that a hang-up kills, sequences that run on for nobody, streams that suffer from others'
/// hang-ups, holds that stay.
pub(crate) async fn twenty_streams_finish_and_cut_ones_end() -> anyhow::Result<()> {
    let stack = Stack::start(Settings { engine: Engine::Real, ..Settings::default() }).await?;
    let begun = Instant::now();
    let mut streams = JoinSet::new();
    for number in 0..STREAMS {
        let client = stack.client();
        streams.spawn(async move { finish(&client, number).await });
    }
    let mut tokens = 0;
    while let Some(finished) = streams.join_next().await {
        tokens += finished??;
    }
    let all = begun.elapsed();
    println!(
        "{STREAMS} streams, {tokens} tokens in {all:.1?}: {:.0} tokens/s",
        tokens as f64 / all.as_secs_f64()
    );

    // Ten streams and ten unstreamed requests are cut off while ten more run on.
    let mut running = JoinSet::new();
    for number in 0..CUT {
        let client = stack.client();
        running.spawn(async move { finish(&client, number).await });
    }
    let mut cut = JoinSet::new();
    for number in 0..CUT {
        let client = stack.client();
        cut.spawn(async move {
            let long =
                chat(&format!("Write a long poem about the number {number}."), json!({ "max_tokens": 2000 }));
            let mut stream = client.stream(&long).await?;
            stream.content(2).await?;
            anyhow::Ok(())
        });
    }
    while let Some(ended) = cut.join_next().await {
        ended??;
    }
    // The backend admits twenty at once: the ten that were cut must have made room.
    eventually("cut streams make room", Duration::from_secs(30), || async {
        Ok((stack.backend_running().await? <= CUT as u64).then_some(()))
    })
    .await?;
    for number in 0..CUT {
        let client = stack.client();
        cut.spawn(async move {
            let long =
                chat(&format!("Write an essay about the number {number}."), json!({ "max_tokens": 2000 }));
            let answer = tokio::time::timeout(Duration::from_secs(5), client.complete(&long)).await;
            ensure!(answer.is_err(), "it was answered before it could be cut: {answer:?}");
            anyhow::Ok(())
        });
    }
    while let Some(ended) = cut.join_next().await {
        ended??;
    }
    let mut unharmed = 0;
    while let Some(finished) = running.join_next().await {
        ensure!(finished?? > 0);
        unharmed += 1;
    }
    ensure!(unharmed == CUT);
    eventually("the engine runs nothing any more", Duration::from_secs(30), || async {
        Ok((stack.engine_running().await? == 0).then_some(()))
    })
    .await?;
    let account = stack.settled_account().await?;
    ensure!(account.held.0 == 0, "{account:?}");
    // Cut requests are billed too: a receipt for each.
    let receipts = stack.outbox()?.len();
    ensure!(receipts == STREAMS + 3 * CUT, "{receipts} receipts");
    Ok(())
}

/// One stream to its end; its completion tokens.
async fn finish(client: &crate::harness::Client, number: usize) -> anyhow::Result<u64> {
    let more = json!({ "max_tokens": TOKENS, "stream_options": { "include_usage": true } });
    let mut stream =
        client.stream(&chat(&format!("Tell me a story about a dragon with {number} heads."), more)).await?;
    let events = stream.rest().await?;
    ensure!(events.last().map(String::as_str) == Some("[DONE]"), "stream {number}: {events:?}");
    let usage: serde_json::Value = serde_json::from_str(&events[events.len() - 2])?;
    let tokens = usage["usage"]["completion_tokens"].as_u64().unwrap_or_default();
    ensure!((1..=TOKENS).contains(&tokens), "stream {number}: {usage}");
    Ok(tokens)
}
