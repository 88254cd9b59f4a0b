//! `Idempotency-Key`: a request that is sent again is answered, not run and charged, again.

use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::HeaderMap;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::harness::{Settings, Stack, Store, chat, eventually};

const PROMPT: &str = "a prompt that no store may hold";
const KEY: &str = "a-key-that-no-store-may-hold";

pub(crate) async fn a_repetition_is_not_run_or_charged_on_sqlite() -> anyhow::Result<()> {
    a_repetition_is_not_run_or_charged(Store::Sqlite).await
}

pub(crate) async fn a_repetition_is_not_run_or_charged_on_redis() -> anyhow::Result<()> {
    a_repetition_is_not_run_or_charged(Store::Redis).await
}

pub(crate) async fn a_killed_gateway_frees_its_keys_on_sqlite() -> anyhow::Result<()> {
    a_killed_gateway_frees_its_keys(Store::Sqlite).await
}

pub(crate) async fn a_killed_gateway_frees_its_keys_on_redis() -> anyhow::Result<()> {
    a_killed_gateway_frees_its_keys(Store::Redis).await
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    trailers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn is_replayed(&self) -> bool {
        self.headers.get("idempotent-replayed").is_some_and(|value| value == "true")
    }

    fn code(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
}

async fn begin(stack: &Stack, key: &str, body: &Value) -> anyhow::Result<http::Response<Incoming>> {
    begin_as(&stack.key, stack, key, body).await
}

async fn begin_as(
    token: &str,
    stack: &Stack,
    key: &str,
    body: &Value,
) -> anyhow::Result<http::Response<Incoming>> {
    let authorization = format!("Bearer {token}");
    let headers = [("authorization", authorization.as_str()), ("te", "trailers"), ("idempotency-key", key)];
    stack.client().post_raw("/chat/completions", &headers, serde_json::to_vec(body)?).await
}

async fn finish(response: http::Response<Incoming>) -> anyhow::Result<Answer> {
    let (parts, body) = response.into_parts();
    let collected = body.collect().await?;
    let trailers = collected.trailers().cloned().unwrap_or_default();
    let status = parts.status.as_u16();
    Ok(Answer { status, headers: parts.headers, trailers, body: collected.to_bytes() })
}

async fn ask(stack: &Stack, key: &str, body: &Value) -> anyhow::Result<Answer> {
    finish(begin(stack, key, body).await?).await
}

/// Guards against: a second generation, a second charge, an answer that looks different the second time, a store that
/// could read any of it, a key that answers for another request or another caller.
async fn a_repetition_is_not_run_or_charged(store: Store) -> anyhow::Result<()> {
    let mut stack = Stack::start(Settings { store, ..Settings::default() }).await?;
    for streamed in [false, true] {
        let (key, body) = (format!("{KEY}-{streamed}"), chat(PROMPT, json!({ "stream": streamed })));
        let first = ask(&stack, &key, &body).await?;
        ensure!(first.status == 200 && !first.is_replayed(), "{} {:?}", first.status, first.headers);
        let charged = stack.settled_account().await?.charged;
        // Any gateway may be asked, and one that was away.
        stack.kill_gateway()?;
        stack.start_gateway()?;
        stack.wait_ready().await?;
        for _ in 0..2 {
            let again = ask(&stack, &key, &body).await?;
            ensure!(again.status == 200 && again.is_replayed(), "{} {:?}", again.status, again.headers);
            ensure!(again.body == first.body, "{:?} {:?}", first.body, again.body);
            for name in
                ["content-type", "cocoon-receipt", "cocoon-cost", "cocoon-client-nonce", "cocoon-privacy"]
            {
                ensure!(again.headers.get(name) == first.headers.get(name), "{name}: {:?}", again.headers);
            }
            ensure!(again.trailers == first.trailers, "{:?}", again.trailers);
            let receipts = if streamed { &again.trailers } else { &again.headers };
            ensure!(receipts.contains_key("cocoon-receipt"), "{receipts:?}");
            ensure!(again.headers["x-request-id"] != first.headers["x-request-id"]);
        }
        ensure!(stack.settled_account().await?.charged == charged, "charged once");
        ensure!(stack.outbox()?.len() == 1 + usize::from(streamed), "generated once");

        let other = ask(&stack, &key, &chat("another prompt", json!({ "stream": streamed }))).await?;
        ensure!(other.status == 409 && other.code() == "idempotency_key_reuse", "{:?}", other.body);
        ensure!(other.headers["x-should-retry"] == "false", "{:?}", other.headers);
    }
    // Another API key of the same account has keys of its own, and so has everybody's lack of one.
    let charged = stack.settled_account().await?.charged;
    let token = stack.make_key(&["--account", crate::harness::ACCOUNT])?;
    let body = chat(PROMPT, json!({ "stream": false }));
    let own = finish(begin_as(&token, &stack, &format!("{KEY}-false"), &body).await?).await?;
    ensure!(own.status == 200 && !own.is_replayed(), "{} {:?}", own.status, own.headers);
    ensure!(stack.settled_account().await?.charged > charged);
    for key in ["", "a b", &"x".repeat(256)] {
        let answer = ask(&stack, key, &body).await?;
        ensure!(answer.status == 400, "{key:?}: {} {:?}", answer.status, answer.body);
    }

    let mut looked_at = 0;
    for entry in stored_files(&stack)? {
        let bytes = std::fs::read(&entry)?;
        looked_at += bytes.len();
        for secret in [KEY, PROMPT, "echo: ", &stack.key, token.as_str()] {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            ensure!(!found, "{} holds {secret:?}", entry.display());
        }
    }
    ensure!(looked_at > 1000, "the store was looked into: {looked_at} bytes");
    Ok(())
}

/// What the store wrote: SQLite's file and log, Redis' append-only folder.
fn stored_files(stack: &Stack) -> anyhow::Result<Vec<std::path::PathBuf>> {
    let mut files = Vec::new();
    for folder in [stack.path("."), stack.path("appendonlydir")] {
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with("ledger.db") || name.starts_with("appendonly.aof") {
                files.push(path);
            }
        }
    }
    Ok(files)
}

/// Guards against: two generations at once under one key, a client that is told nothing, an answer that is not waited
/// for.
pub(crate) async fn a_repetition_waits_for_the_first_and_is_told_to_come_again() -> anyhow::Result<()> {
    // A lease that outlives the test: a key that is free was freed.
    let settings = Settings { gateway: "idempotency_lease_ms = 600000".into(), ..Settings::default() };
    let stack = Stack::start(settings).await?;
    let script = json!({ "tokens": 10, "delay_ms": 150 }).to_string();
    let body = chat(&script, json!({ "max_tokens": 100 }));
    let (first, second) = tokio::join!(ask(&stack, "slow", &body), async {
        // It has begun once it holds something.
        eventually("the first runs", Duration::from_secs(20), || async {
            Ok((stack.account().await?.open_holds > 0).then_some(()))
        })
        .await?;
        ask(&stack, "slow", &body).await
    });
    let (first, second) = (first?, second?);
    ensure!(first.status == 200 && !first.is_replayed(), "{:?}", first.body);
    ensure!(second.is_replayed() && second.body == first.body, "{} {:?}", second.status, second.body);
    ensure!(stack.outbox()?.len() == 1, "generated once");

    let hanging = chat(&json!({ "hang_after": 2 }).to_string(), json!({ "stream": true }));
    let mut running = begin(&stack, "hanging", &hanging).await?;
    running.body_mut().frame().await.context("no first frame")??;
    let told = ask(&stack, "hanging", &hanging).await?;
    ensure!(
        told.status == 409 && told.code() == "idempotency_in_progress",
        "{} {:?}",
        told.status,
        told.body
    );
    ensure!(told.headers["x-should-retry"] == "true" && told.headers.contains_key("retry-after"));
    // The client of the first hangs up: its key is free, and the next one runs.
    drop(running);
    let next = eventually("the key is free", Duration::from_secs(20), || async {
        let response = begin(&stack, "hanging", &hanging).await?;
        Ok((response.status() == 200).then_some(response))
    })
    .await?;
    ensure!(!next.headers().contains_key("idempotent-replayed"));
    Ok(())
}

/// Guards against: a failure that is kept as the answer, or that keeps its key; an answer without bound.
pub(crate) async fn failures_free_their_key_and_large_answers_are_not_kept() -> anyhow::Result<()> {
    let mut stack = Stack::start(Settings::default()).await?;
    let body = chat("hello", json!({}));
    stack.kill_backend()?;
    let refused = ask(&stack, "early", &body).await?;
    ensure!(refused.status == 503 || refused.status == 502, "{} {:?}", refused.status, refused.body);
    ensure!(
        refused.headers.get("x-should-retry").is_none_or(|value| value == "true"),
        "{:?}",
        refused.headers
    );
    stack.start_backend()?;
    stack.wait_ready().await?;
    let answer = ask(&stack, "early", &body).await?;
    ensure!(answer.status == 200 && !answer.is_replayed(), "{} {:?}", answer.status, answer.body);
    ensure!(ask(&stack, "early", &body).await?.is_replayed());

    let invalid = chat("hello", json!({ "temperature": 7 }));
    ensure!(ask(&stack, "invalid", &invalid).await?.status == 400);
    let answer = ask(&stack, "invalid", &body).await?;
    ensure!(answer.status == 200, "what was refused holds no key: {:?}", answer.body);

    // The same for a stream that breaks: it is not kept as it is.
    let failing = chat(&json!({ "fail_after": 3 }).to_string(), json!({ "stream": true }));
    for _ in 0..2 {
        let broken = ask(&stack, "failing", &failing).await?;
        ensure!(broken.status == 200 && !broken.is_replayed(), "{} {:?}", broken.status, broken.body);
        ensure!(String::from_utf8_lossy(&broken.body).contains("engine_failed"), "{:?}", broken.body);
    }

    for streamed in [false, true] {
        let script = json!({ "tokens": 300, "text": "x".repeat(5000) }).to_string();
        let large = chat(&script, json!({ "max_tokens": 400, "stream": streamed }));
        let key = format!("large-{streamed}");
        let whole = ask(&stack, &key, &large).await?;
        ensure!(whole.status == 200 && whole.body.len() > 1 << 20, "{} {}", whole.status, whole.body.len());
        let charged = stack.settled_account().await?.charged;
        let again = ask(&stack, &key, &large).await?;
        ensure!(again.status == 409 && again.code() == "idempotency_answer_too_large", "{:?}", again.body);
        ensure!(again.headers["x-should-retry"] == "false", "{:?}", again.headers);
        ensure!(stack.settled_account().await?.charged == charged, "not generated again");
    }
    Ok(())
}

/// kill -9 in the middle: the key is taken until its lease lapses, then the request runs, and each generation is paid
/// for what it was.
async fn a_killed_gateway_frees_its_keys(store: Store) -> anyhow::Result<()> {
    let settings = Settings { store, gateway: "idempotency_lease_ms = 6000".into(), ..Settings::default() };
    let mut stack = Stack::start(settings).await?;
    let script = json!({ "tokens": 40, "delay_ms": 25 }).to_string();
    let body = chat(&script, json!({ "max_tokens": 100, "stream": true }));
    let mut running = begin(&stack, "cut", &body).await?;
    running.body_mut().frame().await.context("no first frame")??;
    stack.kill_gateway()?;
    stack.start_gateway()?;
    stack.wait_ready().await?;
    let told = ask(&stack, "cut", &body).await?;
    ensure!(
        told.status == 409 && told.code() == "idempotency_in_progress",
        "{} {:?}",
        told.status,
        told.body
    );
    let answer = eventually("the lease lapses", Duration::from_secs(30), || async {
        let answer = ask(&stack, "cut", &body).await?;
        Ok((answer.status != 409).then_some(answer))
    })
    .await?;
    ensure!(answer.status == 200 && !answer.is_replayed(), "{} {:?}", answer.status, answer.body);
    let again = ask(&stack, "cut", &body).await?;
    ensure!(again.is_replayed() && again.body == answer.body, "{} {:?}", again.status, again.body);

    let mut costs = 0;
    let account = stack.settled_account().await?;
    for (receipt, _) in stack.outbox()? {
        let cost: cocoon_receipts::NanoTon =
            crate::bill::claims(&receipt)?["cost"].as_str().context("no cost")?.parse()?;
        costs += cost.0;
    }
    ensure!(stack.outbox()?.len() == 2 && account.charged.0 == costs, "{account:?} {costs}");
    Ok(())
}
