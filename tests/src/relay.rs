//! Sealed requests: the gateway sees their headers and hands on the rest.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use cocoon_attestation::{Document, Nonce};
use cocoon_openapi::{KEY_CONFIG_PATH, KEY_DIGEST_HEADER, MAX_TOKENS_HEADER, MODEL_HEADER};
use cocoon_receipts::{Digest, NanoTon};
use cocoon_sealing::{ENCAPSULATED_KEY_HEADER, KEY_CONFIG_MEDIA_TYPE, KEY_CONFIG_PROBLEM, Kem};
use futures_util::{StreamExt as _, stream};
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::bill::claims;
use crate::harness::{
    Connection, Direction, Ehbp, Liar, MODEL, Protocol, Recipient, Settings, Stack, chat, eventually,
};

/// What the tests' engine says fits a prompt and its answer.
const CONTEXT: u64 = 131_072;

pub(crate) fn streamed(script: &Value) -> Value {
    chat(&script.to_string(), json!({ "stream": true, "max_tokens": 1000 }))
}

/// The head of a sealed answer that was opened.
pub(crate) fn nonce(response: &Response<Incoming>) -> anyhow::Result<String> {
    let headers = response.headers();
    let nonce = headers.get("ehbp-response-nonce").with_context(|| format!("not sealed: {response:?}"))?;
    ensure!(headers["cocoon-privacy"] == "sealed", "{headers:?}");
    Ok(nonce.to_str()?.to_owned())
}

/// The receipt in the last frame.
fn sealed_receipt(last: &[u8]) -> anyhow::Result<&str> {
    let text = std::str::from_utf8(last)?;
    let after =
        text.split_once("receipt\":\"").or_else(|| text.split_once(": receipt ")).context("no receipt")?.1;
    after.split(['"', '\n']).next().context("no receipt")
}

/// SHA-256 over whole frames, and over all but the last.
fn hash_of_all_but_the_last(body: &[u8]) -> anyhow::Result<Digest> {
    let (mut at, mut last) = (0, 0);
    while at < body.len() {
        last = at;
        let length = u32::from_be_bytes(body.get(at..at + 4).context("a cut length")?.try_into()?);
        at += 4 + length as usize;
    }
    Ok(Digest::of(&[&body[..last]]))
}

/// The receipt signs every byte of request and answer, as the backend saw them. What else is on the hop is in the
/// allow-list. Guards against: a gateway that frames anew, adds a comment, or passes a header on.
pub(crate) async fn bytes_pass_untouched_both_ways() -> anyhow::Result<()> {
    let stack = Stack::start(Settings { proxy: true, ..Settings::default() }).await?;
    let proxy = stack.proxy.as_ref().context("no proxy")?;
    for streamed in [false, true] {
        for names_keyset in [false, true] {
            let body = chat("one two three", json!({ "stream": streamed, "max_tokens": 50 }));
            let mut request = if names_keyset {
                let to = Recipient::of_backend(&stack.backend_url(), Kem::X25519).await?;
                Ehbp::bound(&to, &stack.key, &serde_json::to_vec(&body)?, |_| ())?
            } else {
                Ehbp::plain(&stack.origin(), &body).await?
            };
            for (name, value) in
                [("cookie", "c-5e11"), ("idempotency-key", "i-5e12"), ("x-forwarded-for", "f-5e13")]
            {
                request.header(name, Some(value));
            }
            let before = (stack.account().await?.charged, proxy.recorded(Direction::ToBackend).len());
            let response = request.begin(&stack.origin(), &stack.key).await?;
            let (status, nonce) = (response.status(), nonce(&response)?);
            let headers = response.headers().clone();
            let collected = response.into_body().collect().await?;
            let trailers = collected.trailers().context("no trailers")?.clone();
            let answer = collected.to_bytes();
            let frames = request.open(&nonce, &answer)?;
            ensure!(status == 200, "{status}");
            let text = String::from_utf8(frames.concat())?;
            ensure!(text.contains("two"), "{text}");
            let content_type = headers["content-type"].to_str()?;
            ensure!(content_type.starts_with("text/event-stream") == streamed, "{content_type}");

            let receipt = sealed_receipt(frames.last().context("no frame")?)?;
            ensure!(trailers["cocoon-receipt"] == receipt, "the trailer is the same receipt");
            let claims = claims(receipt)?;
            let sent = Digest::of(&[&request.frames.concat()]).to_string();
            ensure!(claims["req_hash"] == sent, "the request arrived as it was sent: {claims:#}");
            let got = hash_of_all_but_the_last(&answer)?.to_string();
            ensure!(claims["resp_hash"] == got, "the answer arrived as it was sent: {claims:#}");
            ensure!(trailers["cocoon-cost"].to_str()? == claims["cost"].as_str().context("no cost")?);
            let cost: NanoTon = claims["cost"].as_str().context("no cost")?.parse()?;
            let account = stack.account().await?;
            ensure!(
                account.charged.0 == before.0.0 + cost.0,
                "charged before the end was shown: {account:?}"
            );

            let hop = proxy.recorded(Direction::ToBackend).split_off(before.1);
            let hop = String::from_utf8_lossy(&hop).to_lowercase();
            for secret in ["c-5e11", "i-5e12", "f-5e13", "authorization", &stack.key.to_lowercase()] {
                ensure!(!hop.contains(secret), "'{secret}' is on the hop");
            }
            ensure!(hop.contains(KEY_DIGEST_HEADER) == names_keyset, "{names_keyset}: {hop}");
        }
    }
    ensure!(stack.settled_account().await?.held.0 == 0);
    Ok(())
}

/// The second half of the request is sent only once the first has arrived at the backend; the first token is read while
/// the generation goes on. Guards against: a request or an answer that is held whole.
pub(crate) async fn chunks_are_handed_on_as_they_come() -> anyhow::Result<()> {
    let stack = Stack::start(Settings { proxy: true, ..Settings::default() }).await?;
    let proxy = stack.proxy.as_ref().context("no proxy")?;
    let body = streamed(&json!({ "tokens": 200, "text": "tick ", "delay_ms": 20 }));
    let request = Ehbp::plain(&stack.origin(), &body).await?;
    let whole = request.frames.concat();
    let (first, second) = whole.split_at(whole.len() / 2);
    let (first, second) = (Bytes::copy_from_slice(first), Bytes::copy_from_slice(second));
    let (gate, opened) = tokio::sync::oneshot::channel::<()>();
    let later = stream::once(async move {
        // Dropped, it is the test that failed.
        let _ = opened.await;
        Ok(second)
    });
    let chunks = stream::iter([Ok(first.clone())]).chain(later);
    let (origin, key) = (stack.origin(), stack.key.clone());
    let sending = request.begin_in_chunks(&origin, &key, chunks);
    let watching = async {
        eventually("the first half is at the backend", Duration::from_secs(10), || async {
            let hop = proxy.recorded(Direction::ToBackend);
            Ok(hop.windows(first.len()).any(|window| window == first).then_some(()))
        })
        .await?;
        drop(gate);
        anyhow::Ok(())
    };
    let (response, watched) = tokio::join!(sending, watching);
    watched?;
    let response = response?;
    nonce(&response)?;
    let mut answer = response.into_body();
    answer.frame().await.context("no frame")??;
    ensure!(stack.engine_running().await? == 1, "the first token is here before the last is made");
    answer.collect().await?;
    Ok(())
}

fn header(name: &'static str, value: &str) -> impl Fn(&mut Ehbp) + use<> {
    let value = value.to_owned();
    move |request| request.header(name, Some(&value))
}

/// What makes a sealed request wrong.
type Change = Box<dyn Fn(&mut Ehbp)>;

/// What is refused by headers alone, and what only the backend can refuse.
pub(crate) async fn what_is_not_right_is_refused() -> anyhow::Result<()> {
    let settings = Settings { gateway: "body_limit = 100000".into(), ..Settings::default() };
    let stack = Stack::start(settings).await?;
    let plain = async || Ehbp::plain(&stack.origin(), &chat("hi", json!({ "max_tokens": 5 }))).await;
    let answer = async |what: &str, key: &str, change: &dyn Fn(&mut Ehbp)| {
        let mut request = plain().await?;
        change(&mut request);
        let reply = request.send_to(&stack.origin(), key).await?;
        ensure!(reply.frames.is_none(), "{what} was opened");
        let answer: Value =
            serde_json::from_slice(&reply.body).with_context(|| format!("{what}: {reply:?}"))?;
        anyhow::Ok((reply, answer))
    };
    let key = stack.key.as_str();
    let twice = |name: &'static str| {
        move |request: &mut Ehbp| {
            let value = request.get(name).unwrap_or_default().to_owned();
            request.headers.push((name.to_owned(), value));
        }
    };
    let named: [(&str, Change, u16, Option<&str>); 11] = [
        ("an encoding", Box::new(header("content-encoding", "gzip")), 415, None),
        ("no encoding", Box::new(header("content-encoding", "identity")), 415, None),
        ("no key", Box::new(header(ENCAPSULATED_KEY_HEADER, "xyz")), 400, Some(ENCAPSULATED_KEY_HEADER)),
        ("two keys", Box::new(twice(ENCAPSULATED_KEY_HEADER)), 400, Some(ENCAPSULATED_KEY_HEADER)),
        ("two models", Box::new(twice(MODEL_HEADER)), 400, Some(MODEL_HEADER)),
        ("no model", Box::new(|request| request.header(MODEL_HEADER, None)), 400, Some(MODEL_HEADER)),
        ("no body", Box::new(|request| request.frames.clear()), 400, Some(ENCAPSULATED_KEY_HEADER)),
        ("no digest", Box::new(header(KEY_DIGEST_HEADER, "abc")), 400, Some(KEY_DIGEST_HEADER)),
        ("no tokens", Box::new(header(MAX_TOKENS_HEADER, "0")), 400, Some(MAX_TOKENS_HEADER)),
        ("another model", Box::new(header(MODEL_HEADER, "unknown")), 404, Some("model")),
        ("too much", Box::new(|request| request.frames = vec![vec![0; 100_001].into()]), 413, None),
    ];
    for (what, change, status, param) in &named {
        let (reply, answer) = answer(what, key, change).await?;
        ensure!(reply.status == *status, "{what}: {reply:?}");
        ensure!(answer["error"]["param"].as_str() == *param, "{what}: {answer}");
        ensure!(reply.headers.contains_key("x-request-id"), "{what}: {reply:?}");
    }
    let admin = stack.admin_key.clone();
    let (reply, _) = answer("an admin's key", &admin, &|_| ()).await?;
    ensure!(reply.status == 403, "{reply:?}");
    let other = stack.make_key(&["--account", "other", "--grant", "1000000000", "--model", "another"])?;
    let (reply, _) = answer("a key for another model", &other, &|_| ()).await?;
    ensure!(reply.status == 404, "{reply:?}");
    let (reply, _) = answer("no key of ours", "sk-cocoon-none", &|_| ()).await?;
    ensure!(reply.status == 401, "{reply:?}");

    // A body in chunks is over the limit only once that much of it has come.
    let request = plain().await?;
    // One frame that is longer than the limit, so that nobody can refuse it before.
    let mut begun = 200_000_u32.to_be_bytes().to_vec();
    begun.resize(60_000, 7);
    let chunks = stream::iter([Ok(Bytes::from(begun)), Ok(Bytes::from(vec![7; 60_000]))]);
    let response = request.begin_in_chunks(&stack.origin(), key, chunks).await?;
    ensure!(response.status() == 413, "{response:?}");

    let gone = header(KEY_DIGEST_HEADER, &"ab".repeat(32));
    for (what, change) in [
        ("a keyset that is gone", &gone as &dyn Fn(&mut Ehbp)),
        ("another's key", &|request| {
            request.header(ENCAPSULATED_KEY_HEADER, Some(&"09".repeat(32)));
        }),
    ] {
        let (reply, problem) = answer(what, key, change).await?;
        ensure!(reply.status == 422, "{what}: {reply:?}");
        ensure!(reply.headers["content-type"] == "application/problem+json", "{what}: {reply:?}");
        ensure!(problem["type"] == KEY_CONFIG_PROBLEM, "{what}: {problem}");
    }
    let to = Recipient::of_backend(&stack.backend_url(), Kem::X25519).await?;
    let body = serde_json::to_vec(&chat("hi", json!({})))?;
    let moved = Ehbp::bound(&to, key, &body, |context| context.path = "/v1/completions".into())?;
    let reply = moved.send(&stack).await?;
    let answer: Value = serde_json::from_slice(&reply.body)?;
    ensure!(reply.status == 400 && answer["error"]["code"] == "sealed_request_refused", "{reply:?}");

    let response =
        stack.client().send(Method::GET, "/models", &[(ENCAPSULATED_KEY_HEADER, "00")], Bytes::new()).await?;
    ensure!(response.status() == 400, "a GET has nothing to seal: {response:?}");
    let account = stack.settled_account().await?;
    ensure!(account.held.0 == 0 && account.charged.0 == 0, "nothing was held or charged for: {account:?}");
    Ok(())
}

pub(crate) async fn a_key_for_sealed_requests_only_is_good_for_them() -> anyhow::Result<()> {
    let stack = Stack::start(Settings::default()).await?;
    let key = stack.make_key(&["--account", "private", "--grant", "1000000000", "--sealed-only"])?;
    let body = chat("hi", json!({ "max_tokens": 5 }));
    let reply = Ehbp::plain(&stack.origin(), &body).await?.send_to(&stack.origin(), &key).await?;
    ensure!(reply.status == 200 && reply.frames.is_some(), "{reply:?}");
    let (status, _, answer) =
        crate::harness::Client::new(stack.base_url(), key.clone()).complete(&body).await?;
    ensure!(
        status == 403 && answer["error"]["message"].as_str().is_some_and(|m| m.contains("sealed")),
        "{answer}"
    );
    Ok(())
}

pub(crate) async fn keys_and_evidence_need_no_api_key() -> anyhow::Result<()> {
    let settings = Settings { gateway: format!("aliases.\"gpt-4o\" = \"{MODEL}\""), ..Settings::default() };
    let mut stack = Stack::start(settings).await?;
    let origin = stack.origin();
    let to = Recipient::of_backend(&stack.backend_url(), Kem::X25519).await?;
    for model in [MODEL, "gpt-4o"] {
        let response = reqwest::get(format!("{origin}{KEY_CONFIG_PATH}?model={model}")).await?;
        ensure!(response.headers()["content-type"] == KEY_CONFIG_MEDIA_TYPE, "{response:?}");
        ensure!(response.headers()["cache-control"] == "no-store", "{response:?}");
        ensure!(response.headers()[KEY_DIGEST_HEADER] == to.keyset.to_string(), "{response:?}");
        let configs = response.bytes().await?;
        let keys = cocoon_sealing::decode_key_configs(&configs)?;
        ensure!(keys[0].key_id == 0 && keys[0].public_key.as_bytes() == to.key.as_bytes(), "{configs:?}");
    }
    for (query, status) in [("?model=unknown", 404), ("", 400), ("?model=a&model=b", 400)] {
        let response = reqwest::get(format!("{origin}{KEY_CONFIG_PATH}{query}")).await?;
        ensure!(response.status().as_u16() == status, "{query}: {response:?}");
    }

    let list: Value = reqwest::get(format!("{origin}/v1/attestation?model=gpt-4o")).await?.json().await?;
    ensure!(
        list["object"] == "list" && list["data"].as_array().is_some_and(|all| all.len() == 1),
        "{list:#}"
    );
    let one = &list["data"][0];
    ensure!(
        one["keyset"] == to.keyset.to_string() && one["tee"] == "dev" && one["model"] == MODEL,
        "{list:#}"
    );
    ensure!(one["not_after"].is_u64(), "{list:#}");
    let all: Value = reqwest::get(format!("{origin}/v1/attestation")).await?.json().await?;
    ensure!(all == list, "{all:#}");
    ensure!(reqwest::get(format!("{origin}/v1/attestation?model=unknown")).await?.status() == 404);

    let asked = Nonce([0x5a; 32]);
    let of = |digest: &str| format!("{origin}/v1/attestation/{digest}?nonce={asked}");
    let through =
        reqwest::get(of(&to.keyset.to_string())).await?.error_for_status()?.json::<Document>().await?;
    ensure!(Digest::of(&[&through.keyset.0]) == to.keyset, "the document of that keyset");
    let backend = format!("{}/.well-known/cocoon-attestation?nonce={asked}", stack.backend_url());
    let direct = reqwest::get(backend).await?.json::<Document>().await?;
    ensure!(through == direct, "for the caller's nonce: a development quote is always the same");
    for (url, status) in [
        (of(&"ab".repeat(32)), 404),
        (of("xyz"), 404),
        (format!("{origin}/v1/attestation/{}?nonce=", to.keyset), 400),
        (format!("{origin}/v1/attestation/{}?nonce={}", to.keyset, "AB".repeat(32)), 400),
    ] {
        let response = reqwest::get(&url).await?;
        ensure!(response.status().as_u16() == status, "{url}: {response:?}");
    }
    stack.kill_backend()?;
    // It is noticed by whoever asks first.
    eventually("the keys are those of nobody", Duration::from_secs(20), || async {
        reqwest::get(of(&to.keyset.to_string())).await?;
        let request = Ehbp::sealed(&to.key, &[b"{}"])?;
        request.send(&stack).await?;
        let response = reqwest::get(format!("{origin}{KEY_CONFIG_PATH}?model={MODEL}")).await?;
        Ok((response.status() == 503).then_some(()))
    })
    .await
}

/// A stack with a second backend of the same model, and a request that is sealed to the one that is not designated.
async fn sealed_to_the_other() -> anyhow::Result<(Stack, Liar, Recipient)> {
    let mut liar = Liar::new(MODEL).await?;
    liar.lie = Some(Arc::new(|_, _| {}));
    let settings = Settings { second_backend: Some(liar.url()), ..Settings::default() };
    let stack = Stack::start(settings).await?;
    liar.join(&stack).await?;
    let real = Recipient::of_backend(&stack.backend_url(), Kem::X25519).await?;
    let second = Recipient::of_backend(&liar.url(), Kem::X25519).await?;
    eventually("both are known", Duration::from_secs(20), || async {
        let all: Value = reqwest::get(format!("{}/v1/attestation", stack.origin())).await?.json().await?;
        Ok(all["data"].as_array().is_some_and(|all| all.len() == 2).then_some(()))
    })
    .await?;
    let keys = reqwest::get(format!("{}{KEY_CONFIG_PATH}?model={MODEL}", stack.origin())).await?;
    let designated = keys.headers()[KEY_DIGEST_HEADER].to_str()?.to_owned();
    let other = if designated == real.keyset.to_string() { second } else { real };
    Ok((stack, liar, other))
}

/// Without a digest the designated backend is asked first, says that it has no such key, and the other is asked.
pub(crate) async fn another_backend_is_tried_where_the_key_is_not_known() -> anyhow::Result<()> {
    let (stack, _liar, other) = sealed_to_the_other().await?;
    let body = serde_json::to_vec(&chat("hi", json!({ "max_tokens": 5 })))?;
    for names_keyset in [false, true] {
        let mut request = Ehbp::bound(&other, &stack.key, &body, |_| ())?;
        if !names_keyset {
            request.header(KEY_DIGEST_HEADER, None);
        }
        let reply = request.send(&stack).await?;
        ensure!(reply.status == 200 && reply.frames.is_some(), "{names_keyset}: {reply:?}");
        let receipt = reply.json()?["x_receipt"].as_str().context("no receipt")?.to_owned();
        ensure!(claims(&receipt)?["iss"] == other.keyset.to_string(), "{names_keyset}");
    }
    // Everyone may be asked, and nobody has it.
    let mut request = Ehbp::bound(&other, &stack.key, &body, |_| ())?;
    request.header(KEY_DIGEST_HEADER, None);
    request.header(ENCAPSULATED_KEY_HEADER, Some(&"09".repeat(32)));
    let reply = request.send(&stack).await?;
    ensure!(reply.status == 422, "{reply:?}");
    let all: Value = reqwest::get(format!("{}/v1/attestation", stack.origin())).await?.json().await?;
    ensure!(
        all["data"].as_array().is_some_and(|all| all.len() == 2),
        "a client's mistake costs no backend: {all}"
    );
    Ok(())
}

/// What is no longer kept is not sent again, and the client is told that its key is not known.
pub(crate) async fn a_request_that_was_not_kept_is_sent_once() -> anyhow::Result<()> {
    let (stack, liar, other) = sealed_to_the_other().await?;
    let prompt = "word ".repeat(80_000);
    let body = serde_json::to_vec(&chat(&prompt, json!({ "max_tokens": 5 })))?;
    let mut request = Ehbp::bound(&other, &stack.key, &body, |_| ())?;
    request.header(KEY_DIGEST_HEADER, None);
    let reply = request.send(&stack).await?;
    ensure!(reply.status == 422, "{reply:?}");
    ensure!(liar.seen.lock().unwrap_or_else(PoisonError::into_inner).is_empty(), "it was sent again");
    ensure!(stack.outbox().unwrap_or_default().is_empty(), "it was sent again");
    Ok(())
}

/// The first frame does not open, and most of the body is still to come. Guards against: a connection that is closed
/// with bytes unread, which makes the kernel take the answer back.
pub(crate) async fn a_refusal_is_heard_by_who_still_sends() -> anyhow::Result<()> {
    let stack = Stack::start(Settings::default()).await?;
    for round in 0..10 {
        let mut request = Ehbp::plain(&stack.origin(), &chat("hi", json!({}))).await?;
        request.frames = vec![[&[0, 0, 0, 32][..], &[7; 4 << 20]].concat().into()];
        let reply = request.send(&stack).await.with_context(|| format!("round {round}"))?;
        ensure!(reply.status == 422, "round {round}: {reply:?}");
    }
    Ok(())
}

/// The hold is the ticket's `max_cost`, so the test reads it there.
pub(crate) async fn what_is_held_follows_from_the_headers() -> anyhow::Result<()> {
    let stack = Stack::start(Settings::default()).await?;
    // 10 GTON are there, so nothing is held for less than the worst case.
    let (prompt, completion) = (20, 60);
    for (in_chunks, ceiling) in [(false, None), (false, Some(7)), (true, None), (true, Some(7))] {
        let mut request = Ehbp::plain(&stack.origin(), &chat("hi", json!({ "max_tokens": 5 }))).await?;
        request.header(MAX_TOKENS_HEADER, ceiling.map(|ceiling: u64| ceiling.to_string()).as_deref());
        let body = Bytes::from(request.frames.concat());
        let length = body.len() as u64;
        let response = if in_chunks {
            request.begin_in_chunks(&stack.origin(), &stack.key, stream::iter([Ok(body)])).await?
        } else {
            request.begin(&stack.origin(), &stack.key).await?
        };
        nonce(&response)?;
        response.into_body().collect().await?;
        let (_, ticket) = stack.outbox()?.pop().context("no receipt")?;
        let bound = if in_chunks { CONTEXT } else { length + 512 };
        let expected = bound * prompt + ceiling.unwrap_or(CONTEXT) * completion;
        let held = claims(&ticket)?["max_cost"].clone();
        let expected = expected.to_string();
        ensure!(held == expected.as_str(), "in chunks {in_chunks}, {ceiling:?}: {held} {expected}");
    }
    // Below what was asked for inside: the answer ends there.
    let mut request =
        Ehbp::plain(&stack.origin(), &chat("a b c d e f g", json!({ "max_tokens": 50 }))).await?;
    request.header(MAX_TOKENS_HEADER, Some("2"));
    let body = request.frames.concat().len() as u64;
    let reply = request.send(&stack).await?;
    let (receipt, _) = stack.outbox()?.pop().context("no receipt")?;
    let cost: u64 = claims(&receipt)?["cost"].as_str().context("no cost")?.parse()?;
    ensure!(reply.status == 200 && cost <= (body + 512) * prompt + 2 * completion, "{cost} {reply:?}");
    Ok(())
}

/// A client that is gone before its body is whole: nothing ran, and nothing stays held until a lease is over.
pub(crate) async fn a_body_that_breaks_off_holds_nothing() -> anyhow::Result<()> {
    let stack = Stack::start(Settings::default()).await?;
    let request = Ehbp::plain(&stack.origin(), &chat("hi", json!({ "max_tokens": 5 }))).await?;
    let whole = request.frames.concat();
    let half = Bytes::copy_from_slice(&whole[..whole.len() / 2]);
    let chunks = stream::iter([Ok(half)]).chain(stream::once(async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        Err(std::io::ErrorKind::BrokenPipe.into())
    }));
    let (origin, key) = (stack.origin(), stack.key.clone());
    let sending = request.begin_in_chunks(&origin, &key, chunks);
    let held = async {
        eventually("something is held meanwhile", Duration::from_secs(5), || async {
            Ok((stack.account().await?.open_holds == 1).then_some(()))
        })
        .await
    };
    let (sent, held) = tokio::join!(sending, held);
    held?;
    ensure!(sent.is_err(), "its client broke off: {sent:?}");
    let freed = eventually("nothing is held", Duration::from_secs(5), || async {
        Ok(Some(stack.account().await?).filter(|account| account.open_holds == 0))
    });
    ensure!(freed.await?.charged.0 == 0);
    eventually("the backend has no place taken", Duration::from_secs(15), || async {
        Ok((stack.backend_running().await? == 0).then_some(()))
    })
    .await?;
    let chat = chat("hi", json!({ "max_tokens": 5 }));
    let reply = Ehbp::plain(&stack.origin(), &chat).await?.send(&stack).await?;
    ensure!(reply.status == 200, "and all goes on: {reply:?}");
    Ok(())
}

/// An API key, a post-quantum key in hexadecimal and a ticket come to 8 KiB and more.
pub(crate) async fn heads_of_32_kib_arrive_over_both_versions() -> anyhow::Result<()> {
    let stack = Stack::start(Settings::default()).await?;
    let large = "a".repeat(32 << 10);
    for port in [stack.gateway_port(), stack.backend_url().rsplit(':').next().context("no port")?.parse()?] {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        for protocol in [Protocol::Http1, Protocol::Http2] {
            let mut connection = Connection::plain(address, protocol).await?;
            let request = Request::get(format!("http://{address}/none"))
                .header("host", address.to_string())
                .header("x-large", &large)
                .body(Full::default())?;
            let response = connection.send(request).await?;
            ensure!(response.status() == 404, "{port} {protocol:?}: {response:?}");
        }
    }
    Ok(())
}

/// A keyset with both keys: the one that is safe from a later quantum computer is used.
pub(crate) async fn the_hop_is_sealed_with_x_wing_where_there_is_one() -> anyhow::Result<()> {
    let mut liar = Liar::new("both-keys").await?;
    liar.lie = Some(Arc::new(|_, _| {}));
    let settings =
        Settings { second_backend: Some(liar.url()), gateway: liar.prices(), ..Settings::default() };
    let stack = Stack::start(settings).await?;
    liar.join(&stack).await?;
    let mut body = chat("hello", json!({ "max_tokens": 20 }));
    body["model"] = "both-keys".into();
    let (status, _, answer) = stack.client().complete(&body).await?;
    ensure!(status == 200, "{answer}");
    let seen = liar.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
    ensure!(seen.len() == 1 && seen[0].kem == Kem::XWing, "{seen:?}");

    let keys = reqwest::get(format!("{}{KEY_CONFIG_PATH}?model=both-keys", stack.origin())).await?;
    let keys = cocoon_sealing::decode_key_configs(&keys.bytes().await?)?;
    let found: Vec<_> = keys.iter().map(|key| (key.key_id, key.public_key.kem())).collect();
    ensure!(found == [(0, Kem::X25519), (1, Kem::XWing)], "{found:?}");
    Ok(())
}
