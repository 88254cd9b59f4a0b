//! What an answer cost is what its receipt says, and the account pays it once.

use anyhow::{Context, ensure};
use cocoon_openapi::{Deliveries, Delivery, Outcome, Outcomes, RECEIPTS_PATH};
use cocoon_receipts::NanoTon;
use serde_json::{Value, json};

use crate::harness::{Engine, GRANT, Settings, Stack, chat, run_python};

/// Delivers to the ops listener as an outbox would.
pub(crate) async fn deliver(stack: &Stack, deliveries: Vec<Delivery>) -> anyhow::Result<Vec<Outcome>> {
    deliver_to(&stack.ops_url(), deliveries).await
}

/// The same, to any gateway's ops listener.
pub(crate) async fn deliver_to(ops_url: &str, deliveries: Vec<Delivery>) -> anyhow::Result<Vec<Outcome>> {
    let url = format!("{ops_url}{RECEIPTS_PATH}");
    let response = reqwest::Client::new().post(url).json(&Deliveries { deliveries }).send().await?;
    Ok(response.error_for_status()?.json::<Outcomes>().await?.outcomes)
}

/// Guards against: a receipt that only our own code can check, a charge that is not the receipt's, a second charge.
pub(crate) async fn a_receipt_verifies_and_is_charged_once() -> anyhow::Result<()> {
    let stack = Stack::start(Settings { engine: Engine::Real, ..Settings::default() }).await?;
    let before = stack.account().await?;
    ensure!(before.balance == NanoTon(GRANT), "{before:?}");
    let body = chat("Name three colours.", json!({ "max_tokens": 32 }));
    let (status, headers, answer) = stack.client().complete(&body).await?;
    ensure!(status == 200, "{answer}");
    let receipt = headers["cocoon-receipt"].to_str()?;

    let backend = stack.backend_url();
    let seen =
        run_python("verify_receipt.py", &[("COCOON_BACKEND_URL", &backend), ("COCOON_RECEIPT", receipt)])
            .await?;
    let claims = &seen["claims"];
    ensure!(seen["forged_refused"] == true, "a forged receipt must not verify");
    ensure!(seen["header"]["alg"] == "EdDSA" && seen["header"]["typ"] == "cocoon-receipt+jwt", "{seen:#}");
    ensure!(claims["final"] == true && claims["complete"] == true && claims["status"] == 200, "{claims:#}");
    ensure!(claims["usage"]["prompt"] == answer["usage"]["prompt_tokens"], "{claims:#} {answer:#}");
    ensure!(claims["usage"]["completion"] == answer["usage"]["completion_tokens"], "{claims:#} {answer:#}");
    ensure!(claims["finish"] == answer["choices"][0]["finish_reason"], "{claims:#}");
    ensure!(headers["cocoon-cost"].to_str()? == claims["cost"].as_str().context("no cost")?, "{claims:#}");

    let cost: NanoTon = claims["cost"].as_str().context("no cost")?.parse()?;
    let tokens = |name: &str| claims["usage"][name].as_u64().unwrap_or_default();
    ensure!(
        cost.0 == (tokens("prompt") * 20_000_000 + tokens("completion") * 60_000_000) / 1_000_000,
        "{claims:#}"
    );
    let after = stack.settled_account().await?;
    ensure!(before.balance.0 - after.balance.0 == cost.0 && cost.0 > 0, "{before:?} {after:?} {cost}");

    // A second delivery, as the outbox makes one, changes nothing.
    let (_, ticket) = stack
        .outbox()?
        .into_iter()
        .find(|(kept, _)| kept == receipt)
        .context("the receipt is in the outbox")?;
    for _ in 0..3 {
        let again = Delivery { token: receipt.to_owned(), ticket: ticket.clone() };
        // Nine tenths of the cost are the operator's.
        let earned = Some(NanoTon(cost.0 * 9 / 10));
        ensure!(deliver(&stack, vec![again]).await? == [Outcome::Acknowledged { earned }]);
        ensure!(stack.account().await? == after);
    }
    Ok(())
}

/// The trailer carries the same receipt that the outbox keeps, and its digests are those of the bytes.
pub(crate) async fn a_stream_ends_with_its_receipt() -> anyhow::Result<()> {
    let stack = Stack::start(Settings::default()).await?;
    let nonce = "5a".repeat(32);
    let body = json!({
        "model": crate::harness::MODEL, "stream": true, "messages": [{ "role": "user", "content": "one two three" }],
    });
    let sent = serde_json::to_vec(&body)?;
    let authorization = format!("Bearer {}", stack.key);
    let headers = [
        ("authorization", authorization.as_str()),
        ("te", "trailers"),
        ("cocoon-client-nonce", nonce.as_str()),
        ("content-type", "application/json"),
    ];
    let response = stack.client().post_raw("/chat/completions", &headers, sent.clone()).await?;
    ensure!(response.headers()["cocoon-client-nonce"] == nonce.as_str());
    ensure!(response.headers()["cocoon-privacy"] == "gateway");
    let collected = http_body_util::BodyExt::collect(response.into_body()).await?;
    let trailers = collected.trailers().context("no trailers")?.clone();
    let text = String::from_utf8(collected.to_bytes().to_vec())?;
    ensure!(text.ends_with("data: [DONE]\n\n") && !text.contains("receipt"), "{text}");
    let receipt = trailers["cocoon-receipt"].to_str()?.to_owned();
    ensure!(stack.outbox()?.iter().any(|(kept, _)| *kept == receipt), "all copies are the same bytes");
    let claims = claims(&receipt)?;
    let digest = cocoon_receipts::body_digest(&[0x5a; 32], &sent).to_string();
    ensure!(claims["body"] == digest, "the receipt is for exactly the bytes the client sent: {claims:#}");
    ensure!(trailers["cocoon-cost"].to_str()? == claims["cost"].as_str().context("no cost")?);
    ensure!(
        claims["cost"] == serde_json::to_value(stack.account().await?.charged)?,
        "charged before the end was shown"
    );
    Ok(())
}

/// Claims of a JWS, unchecked.
pub(crate) fn claims(token: &str) -> anyhow::Result<Value> {
    use base64::Engine as _;
    let part = token.split('.').nth(1).context("not a JWS")?;
    Ok(serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part)?)?)
}

/// Nothing has moved when it refuses; a retry by the SDK would not help, and it is told so.
pub(crate) async fn a_balance_too_low_is_402() -> anyhow::Result<()> {
    let gateway = "billing.topup_url = \"https://pay.test/in\"".to_owned();
    let stack = Stack::start(Settings { gateway, ..Settings::default() }).await?;
    let key = stack.make_key(&["--account", "poor", "--grant", "1000"])?;
    let client = crate::harness::Client::new(stack.base_url(), key.clone());
    let body = chat("hello", json!({ "max_tokens": 1000 }));
    let (status, headers, answer) = client.complete(&body).await?;
    ensure!(stack.outbox().unwrap_or_default().is_empty(), "no backend was asked");
    ensure!(status == 402 && answer["error"]["code"] == "insufficient_balance", "{status} {answer}");
    ensure!(headers["x-should-retry"] == "false", "{headers:?}");
    let topup = &answer["error"]["topup"];
    ensure!(topup["url"] == "https://pay.test/in", "{answer}");
    let credits =
        reqwest::Client::new().get(format!("{}/credits", stack.base_url())).bearer_auth(&key).send().await?;
    let credits: Value = credits.json().await?;
    ensure!(credits["data"]["topup"] == json!({ "url": "https://pay.test/in" }), "{credits}");
    ensure!(topup.get("address").is_none(), "there is no treasury to send to: {topup}");
    // Exactly what is missing: with it the request runs.
    let missing = topup["amount"].as_str().context("no amount")?;
    stack.keys_command("grant", &["--account", "poor", "--amount", missing])?;
    ensure!(client.complete(&body).await?.0 == 200, "{missing} nanoTON were missing");
    Ok(())
}

/// Guards against: a transfer that goes to nobody's balance, a link that pays too little to be credited.
pub(crate) async fn who_cannot_pay_is_told_where_to_send_ton() -> anyhow::Result<()> {
    // The all-zero address, as explorers show it.
    const TREASURY: &str = "EQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAM9c";
    let gateway = format!("billing.treasury = \"{TREASURY}\"");
    let stack = Stack::start(Settings { gateway, ..Settings::default() }).await?;
    let key = stack.make_key(&["--account", "poor", "--grant", "1000"])?;
    let client = crate::harness::Client::new(stack.base_url(), key.clone());
    let (status, _, answer) = client.complete(&chat("hello", json!({ "max_tokens": 1000 }))).await?;
    let topup = &answer["error"]["topup"];
    // SHA-256("cocoon deposit comment\0poor") begins with it.
    let comment = "cocoon:poor:22d663fe";
    ensure!(status == 402 && topup["address"] == TREASURY && topup["comment"] == comment, "{answer}");
    let missing: u64 = topup["amount"].as_str().context("no amount")?.parse()?;
    let least: u64 = topup["minimum"].as_str().context("no minimum")?.parse()?;
    let link = format!("ton://transfer/{TREASURY}?amount={}&text={comment}", missing.max(least));
    ensure!(topup["link"] == link.as_str(), "{topup}");
    let credits =
        reqwest::Client::new().get(format!("{}/credits", stack.base_url())).bearer_auth(&key).send().await?;
    let credits: Value = credits.json().await?;
    let link = format!("ton://transfer/{TREASURY}?text={comment}");
    let expected = json!({ "address": TREASURY, "comment": comment, "minimum": "10000000", "link": link });
    ensure!(credits["data"]["topup"] == expected, "{credits}");
    Ok(())
}
