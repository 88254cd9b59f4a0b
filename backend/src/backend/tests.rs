//! The whole backend over HTTP, with the scripted engine as its child.

mod harness;
mod keys;
mod padding;

use std::time::Duration;

use cocoon_openapi::RECEIPT_HEADER;
use cocoon_receipts::{Digest, NanoTon, Receipt, body_digest};
use cocoon_sealing::ENCAPSULATED_KEY_HEADER;
use serde_json::{Value, json};

use harness::{Harness, NONCE, PRICE, Sealed, harness, harness_around};

fn chat(script: &Value, stream: bool) -> Value {
    let messages = json!([{ "role": "user", "content": script.to_string() }]);
    json!({ "model": "m", "messages": messages, "stream": stream })
}

fn say(text: &str, stream: bool) -> Value {
    json!({ "model": "m", "messages": [{ "role": "user", "content": text }], "stream": stream })
}

#[tokio::test]
async fn an_answer_comes_sealed_and_ends_with_its_receipt() {
    let harness = harness("").await;
    let body = say("one two", false);
    let sealed = harness.seal(&body);
    let answer = harness.send(&sealed).await;
    assert_eq!((answer.status, answer.content_type.as_str()), (200, "application/json"));
    assert_eq!(answer.frames.len(), 2);
    let json: Value = serde_json::from_slice(&answer.frames.concat()).unwrap();
    assert_eq!(json["choices"][0]["message"]["content"], "echo: one two");
    assert_eq!(json["model"], "m");
    assert_eq!(json["usage"]["total_tokens"], 6 + 3);
    let token = json["x_receipt"].as_str().unwrap();
    assert_eq!(answer.trailer.as_deref(), Some(token));

    let receipt = Receipt::verify(token, &harness.receipt_key()).unwrap();
    cocoon_receipts::check_against_ticket(&receipt, &sealed.ticket, &sealed.token).unwrap();
    assert_eq!(
        (receipt.usage.prompt, receipt.usage.completion, receipt.cost),
        (6, 3, NanoTon(6 * 2 + 3 * 5))
    );
    assert_eq!((receipt.seq, receipt.finish.as_str(), receipt.complete), (1, "stop", true));
    assert_eq!(receipt.req_hash, Digest::of(&[&sealed.body]));
    assert_eq!((receipt.resp_hash, receipt.resp_frames), (Digest::of(&[&answer.raw[0]]), 1));
    assert_eq!(receipt.body, Some(body_digest(&NONCE, &serde_json::to_vec(&body).unwrap())));
    assert_eq!(receipt.cn, Digest::of(&[&NONCE]));
    assert_eq!(harness.receipt_of(&sealed).await, receipt);
    harness.stop().await;
}

#[tokio::test]
async fn a_stream_is_openais_events_and_ends_with_its_receipt() {
    let harness = harness("").await;
    let mut body = say("one two", true);
    body["stream_options"] = json!({ "include_usage": true });
    let sealed = harness.seal_with(&body, |x_conf| x_conf.pad = Some(0));
    let answer = harness.send(&sealed).await;
    assert_eq!((answer.status, answer.content_type.as_str()), (200, "text/event-stream"));
    let (last, events) = answer.frames.split_last().unwrap();
    let token = answer.trailer.unwrap();
    assert_eq!(String::from_utf8_lossy(last), format!(": receipt {token}\n\ndata: [DONE]\n\n"));
    let events: Vec<Value> = events.iter().map(|event| event_json(event)).collect();
    assert_eq!(
        events[0]["choices"][0]["delta"],
        json!({ "role": "assistant", "content": "", "refusal": null })
    );
    let text: String =
        events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(text, "echo: one two");
    assert_eq!(events[events.len() - 2]["choices"][0]["finish_reason"], "stop");
    assert_eq!(events.last().unwrap()["usage"]["completion_tokens"], 3);
    let receipt = Receipt::verify(&token, &harness.receipt_key()).unwrap();
    assert_eq!(
        receipt.resp_hash,
        Digest::of(&answer.raw.split_last().unwrap().1.iter().map(|r| &r[..]).collect::<Vec<_>>())
    );
    assert_eq!(receipt.resp_frames, events.len() as u64);
    harness.stop().await;
}

fn event_json(event: &[u8]) -> Value {
    let json = event.strip_prefix(b"data: ").and_then(|event| event.strip_suffix(b"\n\n"));
    serde_json::from_slice(json.expect("an event")).unwrap()
}

#[tokio::test]
async fn what_is_not_as_it_must_be_is_refused_before_anything_happens() {
    let harness = harness("max_body = 1024").await;
    let good = || harness.seal(&say("hi", false));
    let mut replayed = good();
    assert_eq!(harness.send(&replayed).await.status, 200);
    let refused = harness.send(&replayed).await;
    assert_eq!(refused.status, 400);
    let identical = refused.plain;
    assert!(identical.contains("sealed_request_refused"), "{identical}");
    replayed.encapsulated_key = replayed.encapsulated_key.to_uppercase();
    assert_eq!(harness.send(&replayed).await.plain, identical, "another spelling is the same key");

    let mut cases: Vec<(&str, Sealed)> = vec![
        ("another request's ticket", Sealed { token: good().token, ..good() }),
        ("no ticket", Sealed { token: String::new(), ..good() }),
        ("not sealed", Sealed { encapsulated_key: String::new(), ..good() }),
        ("a short key", Sealed { encapsulated_key: "ab".into(), ..good() }),
        ("no body", Sealed { body: Vec::new(), ..good() }),
        ("only empty frames", Sealed { body: vec![0; 8], ..good() }),
    ];
    let mut cut = good();
    cut.body.truncate(cut.body.len() - 1);
    cases.push(("cut off", cut));
    let mut more = good();
    more.body.extend_from_slice(&[0, 0, 0, 16, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
    cases.push(("a second frame that does not open", more));
    cases.push((
        "another x_conf",
        harness.seal_with(&say("hi", false), |x_conf| x_conf.path = "/v1/models".into()),
    ));
    for (case, sealed) in &cases {
        let answer = harness.send(sealed).await;
        assert_eq!((answer.status, answer.plain.as_str()), (400, identical.as_str()), "{case}");
        assert!(answer.trailer.is_none(), "{case}");
    }

    let mut tampered = good();
    *tampered.body.last_mut().unwrap() ^= 1;
    let answer = harness.send(&tampered).await;
    assert_eq!((answer.status, answer.content_type.as_str()), (422, "application/problem+json"));
    tampered = good();
    tampered.extra = Some(("cocoon-key-digest", "0".repeat(64)));
    assert_eq!(harness.send(&tampered).await.status, 422);
    tampered = good();
    tampered.extra = Some(("content-encoding", "gzip".into()));
    assert_eq!(harness.send(&tampered).await.status, 415);
    let large = harness.seal(&say(&"x".repeat(80 << 10), false));
    assert_eq!(harness.send(&large).await.status, 413);
    harness.stop().await;
}

#[tokio::test]
async fn other_paths_and_methods_are_refused_in_openais_shape() {
    let harness = harness("").await;
    for (method, path, status) in [
        ("GET", "/nothing", 404),
        ("POST", "/v1/audio/speech", 404),
        ("GET", "/v1/chat/completions", 405),
        ("GET", "/.well-known/cocoon-attestation", 400),
        ("GET", "/.well-known/cocoon-attestation?nonce=AB", 400),
    ] {
        let (got, body) = harness.plain(method, path, None).await;
        assert_eq!(got, status, "{path}");
        assert!(serde_json::from_str::<cocoon_openapi::ErrorBody>(&body).is_ok(), "{body}");
    }
    let header = (ENCAPSULATED_KEY_HEADER, "ab");
    assert_eq!(harness.plain("GET", "/.well-known/hpke-keys", Some(header)).await.0, 400);
    harness.stop().await;
}

#[tokio::test]
async fn a_body_that_cannot_be_answered_gets_a_sealed_error_and_a_receipt_for_nothing() {
    let harness = harness("engine_args = [\"--context\", \"20\"]").await;
    let image = json!([{ "type": "image_url", "image_url": { "url": "https://example.com/x.png" } }]);
    let long = "word ".repeat(30);
    for (body, code, param) in [
        (json!({ "model": "m" }), "missing_required_parameter", Some("messages")),
        (
            json!({ "model": "m", "messages": [{ "role": "user", "content": image }] }),
            "invalid_image_url",
            Some("messages[0].content[0].image_url.url"),
        ),
        (say(&long, true), "context_length_exceeded", Some("messages")),
    ] {
        let sealed = harness.seal(&body);
        let answer = harness.send(&sealed).await;
        assert_eq!((answer.status, answer.content_type.as_str()), (400, "application/json"));
        let json: Value = serde_json::from_slice(&answer.frames.concat()).unwrap();
        assert_eq!((json["error"]["code"].as_str(), json["error"]["param"].as_str()), (Some(code), param));
        let receipt = Receipt::verify(json["x_receipt"].as_str().unwrap(), &harness.receipt_key()).unwrap();
        assert_eq!((receipt.usage.total(), receipt.cost, receipt.status), (0, NanoTon(0), 400));
    }
    let poor = harness.seal_for(&say("hi", false), |ticket| ticket.max_cost = NanoTon(3));
    let answer = harness.send(&poor).await;
    assert!(String::from_utf8_lossy(&answer.frames[0]).contains("max_cost_too_low"));
    harness.stop().await;
}

#[tokio::test]
async fn a_generation_ends_before_it_costs_more_than_the_hold() {
    let harness = harness("").await;
    let body = chat(&json!({ "tokens": 1000 }), false);
    let prompt = harness.prompt_tokens(&body);
    let most = prompt * 2 + 7 * 5 + 4;
    let sealed = harness.seal_for(&body, |ticket| ticket.max_cost = NanoTon(most));
    let answer = harness.send(&sealed).await;
    let json: Value = serde_json::from_slice(&answer.frames.concat()).unwrap();
    assert_eq!(json["choices"][0]["finish_reason"], "length");
    let receipt = harness.receipt_of(&sealed).await;
    assert_eq!((receipt.usage.completion, receipt.finish.as_str()), (7, "length"));
    assert_eq!(receipt.cost, PRICE.cost(&receipt.usage).unwrap());
    assert!(receipt.cost <= NanoTon(most));
    harness.stop().await;
}

#[tokio::test]
async fn a_client_that_hangs_up_ends_the_generation_and_pays_for_what_there_was() {
    let harness = harness("keepalive_ms = 50").await;
    let script = json!({ "tokens": 100_000, "delay_ms": 20 });
    for stream in [true, false] {
        let sealed = harness.seal(&chat(&script, stream));
        harness.send_and_hang_up(&sealed, Duration::from_millis(400)).await;
        let receipt = harness.receipt_of(&sealed).await;
        assert_eq!((receipt.finish.as_str(), receipt.complete), ("cancelled", false), "stream: {stream}");
        assert!((1..100).contains(&receipt.usage.completion), "{:?}", receipt.usage);
        assert_eq!(receipt.cost, PRICE.cost(&receipt.usage).unwrap());
        assert_eq!(harness.engine_running().await, 0);
    }
    harness.stop().await;
}

#[tokio::test]
async fn a_silent_engine_leaves_no_silent_stream() {
    let harness = harness("keepalive_ms = 50\ncheckpoint_ms = 60").await;
    let sealed = harness.seal(&chat(&json!({ "tokens": 2, "start_delay_ms": 300, "delay_ms": 200 }), true));
    let answer = harness.send(&sealed).await;
    assert!(answer.frames[0].starts_with(b": keep-alive"), "before the first token");
    let comments = answer.stripped().iter().filter(|frame| **frame == b": keep-alive\n\n").count();
    assert!((4..=10).contains(&comments), "{comments}");
    assert_eq!(answer.frames.len() as u64, 1 + harness.receipt_of(&sealed).await.resp_frames);
    assert!(harness.checkpoints(&sealed) > 0);
    harness.stop().await;
}

#[tokio::test]
async fn an_engine_that_dies_in_a_stream_leaves_an_error_and_a_receipt_and_comes_back() {
    let harness = harness("").await;
    for (script, tokens) in
        [(json!({ "crash_after": 3 }), 3), (json!({ "fail_after": 2 }), 2), (json!({ "crash_after": 0 }), 0)]
    {
        let sealed = harness.seal(&chat(&script, true));
        let answer = harness.send(&sealed).await;
        let frames = answer.stripped();
        let frames: Vec<_> = frames.iter().map(|frame| String::from_utf8_lossy(frame)).collect();
        assert!(frames[frames.len() - 2].contains("\"code\":\"engine_failed\""), "{frames:?}");
        let token = answer.trailer.unwrap();
        // Before the first token the status can still say it.
        let (status, end) = match tokens {
            0 => (500, format!(",\"x_receipt\":\"{token}\"}}")),
            _ => (200, format!(": receipt {token}\n\n")),
        };
        assert_eq!((answer.status, &*frames[frames.len() - 1]), (status, &*end), "no [DONE]");
        let receipt = Receipt::verify(&token, &harness.receipt_key()).unwrap();
        assert_eq!((receipt.finish.as_str(), receipt.complete), ("error", false));
        assert_eq!(receipt.usage.completion, tokens);
        assert_eq!(receipt.usage.prompt > 0, tokens > 0, "without a token the prompt is free");
    }
    let sealed = harness.seal(&chat(&json!({ "crash_after": 3 }), false));
    let answer = harness.send(&sealed).await;
    assert_eq!(answer.status, 500);
    assert_eq!(harness.receipt_of(&sealed).await.cost, NanoTon(0), "nothing was delivered");
    assert_eq!(harness.send(&harness.seal(&say("back", false))).await.status, 200);
    harness.stop().await;
}

/// Its keyset, which gateways have verified, would be a lie.
#[tokio::test]
async fn a_backend_does_not_go_on_with_an_engine_that_comes_back_as_another() {
    use std::os::unix::fs::PermissionsExt as _;

    let changing = |dir: &std::path::Path, engine: std::path::PathBuf| {
        let (wrapper, started) = (dir.join("engine.sh"), dir.join("started"));
        let script = format!(
            "#!/bin/sh\n[ -e '{started}' ] && exec '{engine}' \"$@\" --context 7\n: > '{started}'\nexec '{engine}' \"$@\"\n",
            started = started.display(),
            engine = engine.display()
        );
        std::fs::write(&wrapper, script).unwrap();
        std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o700)).unwrap();
        wrapper
    };
    let mut harness = harness_around("", changing).await;
    let sealed = harness.seal(&chat(&json!({ "crash_after": 1 }), true));
    harness.send(&sealed).await;
    let failure = harness.failed().await;
    assert!(matches!(failure, crate::Error::Engine(crate::EngineError::Changed { .. })), "{failure}");
    harness.stop().await;
}

#[tokio::test]
async fn one_request_too_many_may_be_sent_again() {
    let harness = harness("max_running = 1").await;
    let slow = harness.seal(&chat(&json!({ "tokens": 1, "start_delay_ms": 600 }), false));
    let next = harness.seal(&say("next", false));
    let (first, second) = tokio::join!(harness.send(&slow), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        harness.send(&next).await
    });
    assert_eq!((first.status, second.status), (200, 503));
    assert!(second.plain.contains("backend_busy"));
    assert_eq!(harness.send(&next).await.status, 200, "its key was not admitted");
    harness.stop().await;
}

#[tokio::test]
async fn a_deadline_and_a_shutdown_end_streams_with_their_receipts() {
    let harness = harness("request_deadline_ms = 400\nshutdown_grace_ms = 100").await;
    let endless = || harness.seal(&chat(&json!({ "tokens": 100_000, "delay_ms": 10 }), true));
    let late = endless();
    let answer = harness.send(&late).await;
    assert!(String::from_utf8_lossy(&answer.frames.concat()).contains("deadline_exceeded"));
    assert_eq!(harness.receipt_of(&late).await.finish, "error");

    let cut = endless();
    let receipts = harness.receipts.clone();
    let key = harness.receipt_key();
    let token = Harness::digest(&cut);
    let sending = harness.sending(&cut);
    let (answer, ()) = tokio::join!(sending, async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        harness.stop().await;
    });
    assert!(String::from_utf8_lossy(&answer.frames.concat()).contains("backend_shutting_down"));
    let receipt = receipts.of(token, &key).expect("delivered before the end");
    assert!(receipt.usage.completion > 0);
}

#[tokio::test]
async fn receipts_that_no_gateway_took_are_delivered_by_the_next_backend_of_the_folder() {
    let harness = harness("receipt_confirm_ms = 50").await;
    harness.receipts.refuse_all(true);
    let sealed = harness.seal(&say("hi", false));
    assert_eq!(harness.send(&sealed).await.status, 200);
    let key = harness.receipt_key();
    let (receipts, digest) = (harness.receipts.clone(), Harness::digest(&sealed));
    let again = harness.restart().await;
    assert!(receipts.of(digest, &key).is_none());
    receipts.refuse_all(false);
    for _ in 0..200 {
        if receipts.times(digest) >= 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(receipts.of(digest, &key).is_some());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(receipts.times(digest), 2, "and never again");
    again.stop().await;
}
