//! Limits, budgets and revocation, as a client meets them.

use std::time::Duration;

use anyhow::{Context, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cocoon_ledger::{KeyRecord, KeyScope, Limits, Options};
use cocoon_receipts::{API_KEY_PREFIX, KeyId, SigningKey, jws};
use http::{HeaderMap, Method};
use serde_json::{Value, json};

use crate::harness::{ACCOUNT, Client, MODEL, Settings, Stack, Store, chat, eventually};

/// A key of the test account as the deployment signs it, under this id and with these claims beside its own.
fn key_with(stack: &Stack, id: &str, more: &Value) -> anyhow::Result<String> {
    let token = stack.key.strip_prefix(API_KEY_PREFIX).context("no prefix")?;
    let payload = token.split('.').nth(1).context("not a JWS")?;
    let mut claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload)?)?;
    claims["jti"] = id.into();
    if let (Some(claims), Some(more)) = (claims.as_object_mut(), more.as_object()) {
        claims.extend(more.clone());
    }
    let signer = SigningKey::from_pem(&std::fs::read_to_string(stack.path("keys/api-keys.pem"))?)?;
    Ok(format!("{API_KEY_PREFIX}{}", jws::sign("cocoon-key+jwt", &signer, &claims)?))
}

fn said<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("-")
}

/// Guards against: a limit that does not hold, headers that say something else, a client that waits as told and is
/// refused again.
pub(crate) async fn a_limit_per_minute_is_told_and_over_when_told() -> anyhow::Result<()> {
    let stack = Stack::start(Settings::default()).await?;
    let client =
        Client::new(stack.base_url(), key_with(&stack, "three", &json!({ "rpm": 3, "tpm": 50_000 }))?);
    let body = chat("hi", json!({ "max_tokens": 5 }));
    for left in ["2", "1", "0"] {
        let (status, headers, answer) = client.complete(&body).await?;
        ensure!(status == 200 && said(&headers, "x-ratelimit-limit-requests") == "3", "{answer} {headers:?}");
        ensure!(said(&headers, "x-ratelimit-remaining-requests") == left, "{headers:?}");
        ensure!(said(&headers, "x-ratelimit-limit-tokens") == "50000", "{headers:?}");
    }
    let before = stack.settled_account().await?;
    let (status, headers, answer) = client.complete(&body).await?;
    ensure!(status == 429 && answer["error"]["code"] == "rate_limit_exceeded", "{status} {answer}");
    ensure!(answer["error"]["type"] == "requests", "{answer}");
    ensure!(said(&headers, "x-ratelimit-remaining-requests") == "0", "{headers:?}");
    ensure!(!headers.contains_key("x-should-retry"), "{headers:?}");
    let wait: u64 = said(&headers, "retry-after-ms").parse()?;
    let seconds: u64 = said(&headers, "retry-after").parse()?;
    ensure!((1..=20_000).contains(&wait) && seconds == wait.div_ceil(1000), "{headers:?}");
    ensure!(stack.account().await? == before, "a refusal moves nothing");
    // As a client does that believes what it is told.
    tokio::time::sleep(Duration::from_millis(wait)).await;
    let (status, headers, answer) = client.complete(&body).await?;
    ensure!(status == 200, "{answer} {headers:?}");
    // Who has no limit is told of requests in flight, as ever.
    let (status, headers, _) = stack.client().complete(&body).await?;
    ensure!(status == 200 && said(&headers, "x-ratelimit-limit-requests") != "3", "{headers:?}");
    ensure!(!headers.contains_key("x-ratelimit-limit-tokens"), "{headers:?}");
    Ok(())
}

/// Guards against: a budget that is overspent, a refusal that SDKs repeat for the rest of the day.
pub(crate) async fn a_budget_is_not_overspent() -> anyhow::Result<()> {
    let stack = Stack::start(Settings::default()).await?;
    // Prompts are bounded by 512 tokens and their bytes, at 20 nanoTON each: one request fits, and what it costs is less.
    let budget = json!({ "budget": { "amount": "20000", "period": "total" } });
    let client = Client::new(stack.base_url(), key_with(&stack, "budgeted", &budget)?);
    let body = chat("hi", json!({ "max_tokens": 5 }));
    let (status, _, answer) = client.complete(&body).await?;
    ensure!(status == 200, "{answer}");
    let mut refused = None;
    for _ in 0..200 {
        let (status, headers, answer) = client.complete(&body).await?;
        if status != 200 {
            refused = Some((status, headers, answer));
            break;
        }
    }
    let (status, headers, answer) = refused.context("200 requests within the budget")?;
    ensure!(status == 429 && answer["error"]["code"] == "budget_exceeded", "{status} {answer}");
    ensure!(answer["error"]["type"] == "insufficient_quota", "{answer}");
    ensure!(
        said(&headers, "x-should-retry") == "false" && !headers.contains_key("retry-after"),
        "{headers:?}"
    );
    let charged = stack.settled_account().await?.charged.0;
    ensure!(charged <= 20_000, "{charged}");
    Ok(())
}

/// Guards against: a place that is counted after its request ended, or never.
pub(crate) async fn requests_at_once_are_limited() -> anyhow::Result<()> {
    let stack = Stack::start(Settings::default()).await?;
    let client = Client::new(stack.base_url(), key_with(&stack, "one", &json!({ "concurrency": 1 }))?);
    let slow = chat(&json!({ "tokens": 10_000, "delay_ms": 10 }).to_string(), json!({}));
    let mut first = client.stream(&slow).await?;
    first.content(1).await?;
    let body = chat("hi", json!({ "max_tokens": 5 }));
    let (status, headers, answer) = client.complete(&body).await?;
    ensure!(status == 429 && answer["error"]["code"] == "rate_limit_exceeded", "{status} {answer}");
    ensure!(said(&headers, "retry-after") == "1", "{headers:?}");
    drop(first);
    eventually("the place is free again", Duration::from_secs(30), || async {
        Ok((client.complete(&body).await?.0 == 200).then_some(()))
    })
    .await
}

pub(crate) async fn a_revoked_key_is_refused_everywhere_on_sqlite() -> anyhow::Result<()> {
    a_revoked_key_is_refused_everywhere(Store::Sqlite).await
}

pub(crate) async fn a_revoked_key_is_refused_everywhere_on_redis() -> anyhow::Result<()> {
    a_revoked_key_is_refused_everywhere(Store::Redis).await
}

/// Guards against: a gateway that believes a key longer than the ledger does, an answer that is still replayed to it.
async fn a_revoked_key_is_refused_everywhere(store: Store) -> anyhow::Result<()> {
    let stack = Stack::start(Settings { store, ..Settings::default() }).await?;
    let second = stack.second_gateway().await?;
    let token = key_with(&stack, "revoked", &json!({}))?;
    let gateways =
        [stack.base_url(), format!("{}/v1", second.origin)].map(|url| Client::new(url, token.clone()));
    let body = chat("hi", json!({ "max_tokens": 5 }));
    let authorization = format!("Bearer {token}");
    let keyed = [("authorization", authorization.as_str()), ("idempotency-key", "an-answer-that-is-kept")];
    let bytes = serde_json::to_vec(&body)?;
    for client in &gateways {
        ensure!(client.complete(&body).await?.0 == 200);
        let answer = client.post_raw("/chat/completions", &keyed, bytes.clone()).await?;
        ensure!(answer.status() == 200, "{answer:?}");
    }
    let url = match &stack.redis {
        Some(redis) => redis.url(),
        None => format!("sqlite:{}", stack.path("ledger.db").display()),
    };
    let ledger = cocoon_ledger::open(&url, Options::default()).await?;
    let record = KeyRecord {
        id: "revoked".parse::<KeyId>()?,
        account: ACCOUNT.parse()?,
        project: None,
        name: "to be revoked".to_owned(),
        hint: String::new(),
        created: 0,
        expires: None,
        scope: KeyScope::Inference,
        models: None,
        limits: Limits::default(),
        sealed_only: false,
        revoked_at_ms: None,
    };
    ledger.put_key(&record).await?;
    ledger.revoke_key(&record.account, &record.id, Duration::ZERO).await?.context("no such key")?;
    for client in &gateways {
        for path in ["/models", &format!("/models/{MODEL}"), "/key", "/credits", "/requests", "/receipts/x"] {
            let answer = client.send(Method::GET, path, &keyed[..1], "").await?;
            ensure!(answer.status() == 401, "{path}: {answer:?}");
        }
        let (status, _, answer) = client.complete(&body).await?;
        ensure!(status == 401 && answer["error"]["code"] == "invalid_api_key", "{status} {answer}");
        let answer = client.post_raw("/chat/completions", &keyed, bytes.clone()).await?;
        ensure!(answer.status() == 401, "its own answer is not repeated to it: {answer:?}");
    }
    ensure!(stack.client().complete(&body).await?.0 == 200, "another key is none the worse");
    Ok(())
}
