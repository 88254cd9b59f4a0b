//! A backend is used only on evidence that the policy accepts.

use anyhow::{Context, ensure};
use cocoon_attestation::Nonce;
use cocoon_receipts::SigningKey;
use serde_json::{Value, json};

use crate::harness::{Liar, Process, Sealed, Settings, Stack, chat, eventually};

/// A second backend signs its evidence with a root of its own. It is never sent a request, and the log says why.
pub(crate) async fn a_backend_that_the_policy_refuses_is_never_used() -> anyhow::Result<()> {
    let mut liar = Liar::new(crate::harness::MODEL).await?;
    liar.serve(SigningKey::generate()?);
    let settings = Settings { second_backend: Some(liar.url()), ..Settings::default() };
    let stack = Stack::start(settings).await?;
    eventually("the reason is in the log", std::time::Duration::from_secs(20), || async {
        let log = stack.gateway.as_ref().map(Process::log).unwrap_or_default();
        Ok(log.contains("not signed by a trusted root").then_some(()))
    })
    .await?;
    // It would be asked about every second time, and it answers no request.
    for _ in 0..20 {
        let (status, _, answer) = stack.client().complete(&chat("hi", json!({}))).await?;
        ensure!(status == 200, "{answer}");
    }
    let models: Value = reqwest::Client::new()
        .get(format!("{}/models", stack.base_url()))
        .bearer_auth(&stack.key)
        .send()
        .await?
        .json()
        .await?;
    let evidence = models["data"][0]["attestation"].as_array().context("no attestation")?;
    ensure!(evidence.len() == 1 && evidence[0]["tee"] == "dev", "development evidence says so: {models:#}");
    ensure!(evidence[0]["keyset"] == Sealed::keyset(&stack).await?.1.to_string(), "{models:#}");
    Ok(())
}

/// A true document of a trusted root, recorded and played again: it is for another nonce, so it proves nothing now.
pub(crate) async fn a_recorded_document_is_refused() -> anyhow::Result<()> {
    let mut liar = Liar::new(crate::harness::MODEL).await?;
    let settings = Settings { second_backend: Some(liar.url()), ..Settings::default() };
    let stack = Stack::start(settings).await?;
    let root = SigningKey::from_pem(&std::fs::read_to_string(stack.path("keys/dev-root.pem"))?)?;
    liar.replay(root, Nonce([1; 32]));
    eventually("the reason is in the log", std::time::Duration::from_secs(20), || async {
        let log = stack.gateway.as_ref().map(Process::log).unwrap_or_default();
        Ok(log.contains("the quote is for another nonce, keyset or devices").then_some(()))
    })
    .await?;
    let ready: Value = reqwest::get(format!("{}/readyz", stack.ops_url())).await?.json().await?;
    ensure!(ready["attested_backends"] == 1 && ready["backends"] == 2, "{ready}");
    Ok(())
}

/// A restart means new keys: the gateway notices by itself, and no request is lost for it.
pub(crate) async fn a_restarted_backend_is_verified_again() -> anyhow::Result<()> {
    let mut stack = Stack::start(Settings::default()).await?;
    let (_, before) = Sealed::keyset(&stack).await?;
    stack.kill_backend()?;
    stack.start_backend()?;
    let (_, after) = Sealed::keyset(&stack).await?;
    ensure!(before != after, "private keys live in memory only");
    // Sealed to keys that are gone at first: sent again under the new ones.
    let (status, headers, answer) = stack.client().complete(&chat("hi", json!({}))).await?;
    ensure!(status == 200, "{answer}");
    let claims = crate::bill::claims(headers["cocoon-receipt"].to_str()?)?;
    ensure!(claims["iss"] == after.to_string(), "{claims:#}");
    Ok(())
}
