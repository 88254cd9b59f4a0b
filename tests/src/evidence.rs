//! A backend is used only on evidence that the policy accepts.

use anyhow::{Context, ensure};
use cocoon_attestation::{Document, Nonce, Policy};
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

/// What the gateway believed when it began to use a keyset can be had, and judged again as of then, by anyone and after
/// the backend is gone.
pub(crate) async fn what_was_believed_can_be_verified_later() -> anyhow::Result<()> {
    let mut stack = Stack::start(Settings::default()).await?;
    let (_, keyset) = Sealed::keyset(&stack).await?;
    let url = format!("{}/v1/attestation/{keyset}", stack.origin());
    let kept = reqwest::get(&url).await?.error_for_status()?;
    let header = |name: &str| anyhow::Ok(kept.headers()[name].to_str()?.to_owned());
    let nonce: Nonce = header("cocoon-attestation-nonce")?.parse()?;
    let verified_at: u64 = header("cocoon-verified-at")?.parse()?;
    ensure!(header("content-type")? == "application/json", "{kept:?}");
    let bytes = kept.bytes().await?;
    let document: Document = serde_json::from_slice(&bytes)?;
    let policy = Policy::from_toml(&std::fs::read_to_string(stack.path("policy.toml"))?)?;
    let verdict = policy.verify(&document, nonce, verified_at, true).context("as of then")?;
    ensure!(verdict.digest == keyset, "of that keyset");
    let refusal = policy.verify(&document, Nonce([1; 32]), verified_at, true).err();
    ensure!(refusal.is_some_and(|refusal| refusal.check().as_str() == "report_data"), "for that nonce alone");

    stack.kill_backend()?;
    stack.kill_gateway()?;
    stack.start_gateway()?;
    let later = reqwest::get(&url).await?.error_for_status()?.bytes().await?;
    ensure!(later == bytes, "it is in the ledger's store");
    let unknown = reqwest::get(format!("{}/v1/attestation/{}", stack.origin(), "ab".repeat(32))).await?;
    ensure!(unknown.status() == 404, "{unknown:?}");
    let unknown: Value = unknown.json().await?;
    ensure!(unknown["error"]["code"] == "keyset_not_found", "{unknown}");
    Ok(())
}
