//! What is handed on, and what is not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::BodyExt;

use crate::stand::{Stand, read};
use crate::vm::{PRICE, Script, USAGE, Vm};

/// Says what became of an answer that must not be taken for a whole one.
fn must_be_broken(stream: bool, got: &crate::stand::Got, what: &str) {
    if stream {
        assert!(!got.whole, "{what}: the stream ends as if it were whole: {got:?}");
        assert!(!got.body.contains("[DONE]"), "{what}: {got:?}");
        assert!(got.body.contains("answer_not_verified"), "{what}: {got:?}");
        assert!(got.trailers.is_empty(), "{what}");
    } else {
        assert_eq!((got.status, got.code().as_str()), (502, "answer_not_verified"), "{what}: {got:?}");
        assert_eq!(got.headers["x-should-retry"], "false", "{what}");
        assert!(!got.body.contains("the answer\""), "{what}: content of a broken answer is handed on");
    }
}

fn scripts() -> [(bool, Script); 2] {
    [(false, Script::whole()), (true, Script::stream())]
}

#[tokio::test]
async fn a_whole_answer_comes_without_its_seal_padding_and_receipt() {
    let stand = Stand::new().await;
    let got = stand.chat().await;
    assert_eq!((got.status, got.body.as_str()), (200, r#"{"id":"x","text":"the answer"}"#));
    assert_eq!(got.headers["content-length"], got.body.len().to_string());
    assert_eq!(got.headers["content-type"], "application/json");
    assert_eq!(got.headers["cocoon-privacy"], "sealed");
    assert_eq!(got.headers["cocoon-cost"], PRICE.cost(&USAGE).unwrap().to_string());
    assert_eq!(got.headers["cocoon-receipt"].to_str().unwrap().split('.').count(), 3);
    assert_eq!(got.headers["cocoon-client-nonce"].len(), 64);
    let digest = stand.fake.behave().vms[0].digest().to_string();
    assert_eq!(got.headers["cocoon-verified-keyset"], digest);
    assert_eq!(got.headers["x-request-id"], "r-1");
    assert!(!got.headers.contains_key("set-cookie"));
    assert!(!got.headers.contains_key("ehbp-response-nonce"));
}

#[tokio::test]
async fn a_stream_ends_with_done_and_its_receipt_as_trailer() {
    let stand = Stand::new().await;
    stand.fake.behave().script = Script::stream();
    let got = stand.chat().await;
    assert!(got.whole);
    assert_eq!(got.body, "data: {\"n\":1}\n\ndata: {\"n\":2}\n\ndata: {\"n\":3}\n\ndata: [DONE]\n\n");
    assert_eq!(got.headers["content-type"], "text/event-stream; charset=utf-8");
    assert_eq!(got.trailers["cocoon-cost"], PRICE.cost(&USAGE).unwrap().to_string());
    assert_eq!(got.trailers["cocoon-receipt"].to_str().unwrap().split('.').count(), 3);
}

/// Who calls an answer a stream has its pieces handed on before the receipt could say that it is none.
#[tokio::test]
async fn a_stream_that_was_not_asked_for_is_not_handed_on() {
    let stand = Stand::new().await;
    stand.fake.behave().outer = Some((200, "text/event-stream; charset=utf-8"));
    let got = read(stand.post(r#"{"model":"m"}"#).await).await;
    must_be_broken(false, &got, "JSON that is called a stream");
}

#[tokio::test]
async fn pieces_are_handed_on_as_they_come() {
    let stand = Stand::new().await;
    {
        let mut behaviour = stand.fake.behave();
        behaviour.script = Script::stream();
        behaviour.pause = Duration::from_millis(300);
    }
    let begun = Instant::now();
    let mut body = stand.post(r#"{"model":"m","stream":true}"#).await.into_body();
    let mut arrivals = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.unwrap().into_data() {
            arrivals.push((begun.elapsed(), data));
        }
    }
    assert_eq!(arrivals.len(), 4, "one frame is one piece");
    for pair in arrivals.windows(2) {
        let gap = pair[1].0 - pair[0].0;
        assert!(gap > Duration::from_millis(150), "{gap:?}");
    }
}

#[tokio::test]
async fn a_failure_of_the_backend_is_its_own_and_keeps_its_status() {
    let stand = Stand::new().await;
    stand.fake.behave().script =
        Script { status: 400, frames: vec![r#"{"error":{"message":"too long"}"#], ..Script::whole() };
    let got = stand.chat().await;
    assert_eq!((got.status, got.body.as_str()), (400, r#"{"error":{"message":"too long"}}"#));
    assert!(!got.headers.contains_key("cocoon-unauthenticated"), "the attested machine said so");
    assert_eq!(got.headers["x-should-retry"], "false", "it cost");
}

#[tokio::test]
async fn an_answer_that_is_cut_anywhere_is_an_error() {
    let stand = Stand::new().await;
    for (stream, script) in scripts() {
        stand.fake.behave().script = script.clone();
        let frames = script.frames.len() + 1;
        for kept in 0..frames {
            stand.fake.behave().wire = Arc::new(move |reply| reply.frames[..kept].to_vec());
            must_be_broken(stream, &stand.chat().await, &format!("{kept} frames of {frames}"));
            // And inside the frame after them.
            for bytes in [1, 4, 5, 30] {
                stand.fake.behave().wire = Arc::new(move |reply| {
                    vec![reply.frames[..kept].concat(), reply.frames[kept][..bytes].to_vec()]
                });
                must_be_broken(stream, &stand.chat().await, &format!("{kept} frames and {bytes} bytes"));
            }
        }
    }
}

#[tokio::test]
async fn a_flipped_bit_in_any_frame_is_an_error() {
    let stand = Stand::new().await;
    for (stream, script) in scripts() {
        stand.fake.behave().script = script.clone();
        for frame in 0..=script.frames.len() {
            stand.fake.behave().wire = Arc::new(move |mut reply| {
                let last = reply.frames[frame].len() - 1;
                reply.frames[frame][last / 2] ^= 1;
                reply.frames
            });
            must_be_broken(stream, &stand.chat().await, &format!("frame {frame}"));
        }
    }
}

#[tokio::test]
async fn frames_that_are_moved_dropped_or_added_are_an_error() {
    let stand = Stand::new().await;
    stand.fake.behave().script = Script::stream();
    type Change = fn(&mut Vec<Vec<u8>>);
    let changes: [(&str, Change); 5] = [
        ("swapped", |frames| frames.swap(0, 1)),
        ("dropped", |frames| drop(frames.remove(1))),
        ("twice", |frames| frames.insert(1, frames[0].clone())),
        ("more after the end", |frames| frames.push(vec![0, 0, 0, 20, 1, 2, 3])),
        ("the end twice", |frames| frames.push(frames[3].clone())),
    ];
    for (what, change) in changes {
        stand.fake.behave().wire = Arc::new(move |mut reply| {
            change(&mut reply.frames);
            reply.frames
        });
        must_be_broken(true, &stand.chat().await, what);
    }
}

#[tokio::test]
async fn a_receipt_that_does_not_fit_is_an_error() {
    let stand = Stand::new().await;
    type Lie = fn(&mut cocoon_receipts::Receipt);
    let lies: [(&str, Lie); 6] = [
        ("status", |receipt| receipt.status = 201),
        ("ctype", |receipt| receipt.ctype = "text/plain".into()),
        ("model", |receipt| receipt.model = "cheaper".into()),
        ("usage", |receipt| receipt.usage.completion += 1),
        ("body", |receipt| receipt.body = None),
        ("nonce", |receipt| receipt.cn.0[0] ^= 1),
    ];
    for (stream, script) in scripts() {
        stand.fake.behave().script = script;
        for (what, lie) in lies {
            stand.fake.behave().lie = Arc::new(lie);
            must_be_broken(stream, &stand.chat().await, what);
        }
    }
}

#[tokio::test]
async fn an_outer_status_or_type_that_is_not_the_signed_one_is_an_error() {
    let stand = Stand::new().await;
    for (stream, script) in scripts() {
        let other = if stream { "text/event-stream" } else { "text/html" };
        let own = script.content_type;
        stand.fake.behave().script = script;
        for outer in [(503, own), (402, own), (201, own), (200, other)] {
            stand.fake.behave().outer = Some(outer);
            // A status that no stream has is seen before anything is handed on.
            let begun = stream && outer.0 == 200;
            must_be_broken(begun, &stand.chat().await, &format!("{outer:?}"));
        }
    }
}

#[tokio::test]
async fn a_price_above_the_list_is_an_error() {
    let stand = Stand::new().await;
    for (stream, script) in scripts() {
        stand.fake.behave().script = script;
        stand.fake.behave().lie = Arc::new(|receipt| {
            receipt.price.completion.0 += 1_000_000;
            receipt.cost = receipt.price.cost(&receipt.usage).unwrap();
        });
        must_be_broken(stream, &stand.chat().await, "dearer");
        stand.fake.behave().lie = Arc::new(|receipt| {
            receipt.price.completion.0 -= 1_000_000;
            receipt.cost = receipt.price.cost(&receipt.usage).unwrap();
        });
        assert_eq!(stand.chat().await.status, 200, "cheaper is well");
    }
}

#[tokio::test]
async fn a_backend_whose_receipts_are_anothers_is_an_error() {
    let (one, other) = (Vm::new(crate::stand::BOTH, 7, u64::MAX), Vm::new(crate::stand::BOTH, 7, u64::MAX));
    let issuer = other.digest();
    let stand = Stand::with(vec![one], crate::stand::Options::default()).await;
    stand.fake.behave().lie = Arc::new(move |receipt| receipt.iss = issuer);
    must_be_broken(false, &stand.chat().await, "iss");
}

#[tokio::test]
async fn a_success_in_the_clear_is_an_error() {
    let stand = Stand::new().await;
    for status in [200, 204] {
        stand.fake.next_plain(status, &[("content-type", "application/json")], r#"{"forged":true}"#);
        let got = stand.chat().await;
        assert_eq!((got.status, got.code().as_str()), (502, "answer_not_sealed"));
        assert!(!got.body.contains("forged"));
    }
    assert_eq!(stand.fake.behave().seen.len(), 2, "neither is sent again");
}

#[tokio::test]
async fn a_redirect_is_never_followed() {
    let stand = Stand::new().await;
    for status in [301, 302, 307, 308] {
        stand.fake.next_plain(status, &[("location", "https://evil.example/")], "");
        let got = stand.chat().await;
        assert_eq!((got.status, got.code().as_str()), (502, "gateway_redirect"));
    }
    assert_eq!(stand.fake.behave().seen.len(), 4);
    assert_eq!(stand.get("/v1/redirected", &[]).await.code(), "gateway_redirect");
}

#[tokio::test]
async fn a_response_nonce_that_is_none_is_an_error() {
    let stand = Stand::new().await;
    stand.fake.next_plain(200, &[("ehbp-response-nonce", "zz")], "");
    let got = stand.chat().await;
    assert_eq!((got.status, got.code().as_str()), (502, "answer_not_verified"));
}

#[tokio::test]
async fn errors_in_the_clear_are_passed_on_and_marked() {
    let stand = Stand::new().await;
    let body =
        r#"{"error":{"message":"m","type":"insufficient_quota","param":null,"code":"insufficient_balance"}}"#;
    for status in [400, 401, 402, 404, 429, 500, 502, 504] {
        stand.fake.next_plain(status, &[("retry-after", "7"), ("set-cookie", "a=b")], body);
        let got = stand.chat().await;
        assert_eq!((got.status, got.code().as_str()), (status, "insufficient_balance"));
        assert_eq!(got.json()["error"]["unauthenticated"], true);
        assert_eq!(got.headers["cocoon-unauthenticated"], "true");
        assert_eq!(got.headers["retry-after"], "7");
        assert!(!got.headers.contains_key("set-cookie"));
    }
}

#[tokio::test]
async fn a_caller_that_hangs_up_ends_the_request() {
    let stand = Stand::new().await;
    {
        let mut behaviour = stand.fake.behave();
        behaviour.script = Script::stream();
        behaviour.wire = Arc::new(|reply| reply.frames[..1].to_vec());
        behaviour.hangs = true;
    }
    let mut body = stand.post(r#"{"model":"m","stream":true}"#).await.into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
    tokio::time::timeout(Duration::from_secs(5), stand.fake.dropped.notified()).await.unwrap();
}

#[tokio::test]
async fn a_caller_that_hangs_up_before_the_first_byte_ends_the_request_too() {
    let stand = Stand::new().await;
    {
        let mut behaviour = stand.fake.behave();
        behaviour.wire = Arc::new(|_| Vec::new());
        behaviour.hangs = true;
    }
    let asking = stand.post(r#"{"model":"m"}"#);
    assert!(tokio::time::timeout(Duration::from_millis(500), asking).await.is_err());
    tokio::time::timeout(Duration::from_secs(5), stand.fake.dropped.notified()).await.unwrap();
}

#[tokio::test]
async fn a_stream_that_does_not_ask_for_trailers_gets_none() {
    let stand = Stand::new().await;
    stand.fake.behave().script = Script::stream();
    let authorization = format!("Bearer {}", crate::stand::KEY);
    let headers = [("authorization", authorization.as_str())];
    let response = stand
        .send(axum::http::Method::POST, "/v1/chat/completions", &headers, r#"{"model":"m","stream":true}"#)
        .await;
    let got = read(response).await;
    assert!(got.whole && got.body.ends_with("data: [DONE]\n\n"));
    assert!(got.trailers.is_empty());
}
