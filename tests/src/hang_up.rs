//! A client that hangs up ends the generation, and pays for what was generated.

use std::time::Duration;

use anyhow::ensure;
use serde_json::json;

use crate::bill::claims;
use crate::harness::{GRANT, Settings, Stack, chat, eventually};

pub(crate) async fn a_client_that_hangs_up_pays_for_what_was_generated() -> anyhow::Result<()> {
    let stack = Stack::start(Settings::default()).await?;
    let script = json!({ "tokens": 100_000, "text": "tick ", "delay_ms": 10 }).to_string();

    let mut stream = stack.client().stream(&chat(&script, json!({}))).await?;
    stream.content(20).await?;
    drop(stream);
    let streamed = bill(&stack, 1).await?;
    ensure!((20..2_000).contains(&streamed), "about what was generated until then: {streamed} tokens");

    let whole = chat(&script, json!({}));
    let client = stack.client();
    let unstreamed = tokio::time::timeout(Duration::from_millis(500), client.complete(&whole)).await;
    ensure!(unstreamed.is_err(), "it goes on for a quarter of an hour");
    let unstreamed = bill(&stack, 2).await?;
    ensure!(unstreamed < 2_000, "{unstreamed} tokens");
    eventually("the engine runs nothing", Duration::from_secs(10), || async {
        Ok((stack.engine_running().await? == 0).then_some(()))
    })
    .await?;
    Ok(())
}

/// Waits for the `nth` receipt and checks that all of them are what the account paid; completion tokens of the last.
async fn bill(stack: &Stack, nth: usize) -> anyhow::Result<u64> {
    let outbox = eventually("the cut request has a receipt", Duration::from_secs(10), || async {
        Ok(Some(stack.outbox().unwrap_or_default()).filter(|outbox| outbox.len() == nth))
    })
    .await?;
    let mut sum = 0;
    let mut tokens = 0;
    for (receipt, _) in &outbox {
        let claims = claims(receipt)?;
        ensure!(claims["finish"] == "cancelled" && claims["complete"] == false, "{claims:#}");
        sum += claims["cost"].as_str().unwrap_or_default().parse::<u64>()?;
        tokens = claims["usage"]["completion"].as_u64().unwrap_or_default();
    }
    let account = stack.settled_account().await?;
    ensure!(account.charged.0 == sum && account.balance.0 == GRANT - sum, "{account:?} {sum}");
    Ok(tokens)
}
