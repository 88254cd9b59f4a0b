//! How long frames are, and when they come.

use std::time::{Duration, Instant};

use cocoon_openapi::padding::json_target;

use super::*;

fn events(answer: &harness::Answer) -> String {
    String::from_utf8(answer.stripped().concat()).unwrap()
}

/// Everything that was said, whatever frames it came in.
fn text(answer: &harness::Answer) -> String {
    let events = events(answer);
    let data = events.split("\n\n").filter_map(|event| event.strip_prefix("data: {"));
    let json = data.map(|rest| serde_json::from_str::<Value>(&format!("{{{rest}")).unwrap());
    json.filter_map(|event| event["choices"][0]["delta"]["content"].as_str().map(str::to_owned)).collect()
}

fn lengths(answer: &harness::Answer) -> Vec<usize> {
    answer.raw.iter().map(Vec::len).collect()
}

#[tokio::test]
async fn frames_do_not_tell_short_tokens_from_long_ones() {
    let harness = harness("coalesce_ms = 0").await;
    let (short, long) = (say("a b c", true), say("abcdefghijkl mnopqrstuvwx y", true));
    let (short, long) = (harness.seal(&short), harness.seal(&long));
    let (short, long) = (harness.send(&short).await, harness.send(&long).await);
    assert_eq!(
        (text(&short), text(&long)),
        ("echo: a b c".into(), "echo: abcdefghijkl mnopqrstuvwx y".into())
    );
    assert_eq!(lengths(&short), lengths(&long));
    let tokens = &lengths(&short)[1..4];
    assert!(tokens.iter().all(|length| *length == tokens[0]), "{tokens:?}");
    assert_eq!(short.frames.last().unwrap().len() % 256, 0);
    harness.stop().await;
}

#[tokio::test]
async fn json_answers_have_few_lengths_and_errors_are_sealed_the_same_way() {
    let harness = harness("").await;
    let mut sizes = Vec::new();
    for (body, status) in [
        (say("a", false), 200),
        (say(&"word ".repeat(300), false), 200),
        (json!({ "model": "m" }), 400),
        (json!({ "model": "m", "messages": [] }), 400),
    ] {
        let answer = harness.send(&harness.seal(&body)).await;
        let json: Value = serde_json::from_slice(&answer.frames.concat()).unwrap();
        assert!(json["x_receipt"].is_string());
        let (open, end) = (&answer.frames[0], &answer.frames[1]);
        assert_eq!((answer.status, open.len()), (status, json_target(answer.stripped()[0].len())));
        assert_eq!(end.len() % 256, 0);
        sizes.push(open.len());
    }
    assert_eq!(sizes[2..], [json_target(0); 2], "errors look alike");
    harness.stop().await;
}

#[tokio::test]
async fn a_keep_alive_is_as_long_as_a_token() {
    let harness = harness("keepalive_ms = 50\ncoalesce_ms = 0").await;
    let script = json!({ "tokens": 3, "delay_ms": 300, "text": "a" });
    let answer = harness.send(&harness.seal(&chat(&script, true))).await;
    let stripped = answer.stripped();
    let of = |comment: bool| -> Vec<usize> {
        // Not the first, which also has the role, nor the last two.
        let inner = (1..stripped.len() - 2).filter(|at| stripped[*at].starts_with(b":") == comment);
        inner.map(|at| answer.frames[at].len()).collect()
    };
    assert!(of(true).len() > 2 && of(false).len() > 1, "{stripped:?}");
    let length = of(true)[0];
    let with_role = answer.frames.iter().max_by_key(|frame| frame.len()).unwrap().len();
    for at in of(true).into_iter().chain(of(false)) {
        assert!(at == length || at == with_role, "{at} {length}");
    }
    harness.stop().await;
}

#[tokio::test]
async fn tokens_that_come_fast_share_frames_unless_the_client_wants_none_of_it() {
    let harness = harness("coalesce_ms = 100").await;
    let script = chat(&json!({ "tokens": 60, "delay_ms": 5 }), true);
    let began = Instant::now();
    let answer = harness.send(&harness.seal(&script)).await;
    let most = 4 + began.elapsed().as_millis() / 100;
    assert!((answer.frames.len() as u128) <= most, "{} of {most}", answer.frames.len());
    let bare = harness.send(&harness.seal_with(&script, |x_conf| x_conf.pad = Some(0))).await;
    // The role, the tokens, the reason, the receipt.
    assert_eq!(bare.frames.len(), 1 + 60 + 1 + 1);
    assert_eq!(bare.stripped(), bare.frames, "nothing is padded");
    assert_eq!((text(&answer), text(&bare)), ("token ".repeat(60), "token ".repeat(60)));
    let whole = say("a", false);
    let whole = harness.send(&harness.seal_with(&whole, |x_conf| x_conf.pad = Some(0))).await;
    assert_eq!(whole.stripped(), whole.frames);
    harness.stop().await;
}

/// Guards against text that is charged and lost: it waits for its frame when the stream ends, in whatever way.
#[tokio::test]
async fn what_waits_for_its_frame_is_sent_before_a_stream_ends_or_breaks_off() {
    let harness = harness("coalesce_ms = 1000\nrequest_deadline_ms = 800").await;
    for (script, said, last) in [
        (json!({ "tokens": 5 }), "token ".repeat(5), "data: [DONE]"),
        (json!({ "fail_after": 4, "delay_ms": 1 }), "token ".repeat(4), "engine_failed"),
        (json!({ "hang_after": 3, "delay_ms": 1 }), "token ".repeat(3), "deadline_exceeded"),
    ] {
        let sealed = harness.seal(&chat(&script, true));
        let answer = harness.send(&sealed).await;
        assert_eq!(text(&answer), said);
        assert!(events(&answer).contains(last), "{last}");
        assert!(answer.frames.len() <= 4, "{}", answer.frames.len());
        let tokens = harness.receipt_of(&sealed).await.usage.completion;
        assert_eq!(tokens, said.split_whitespace().count() as u64);
    }
    harness.stop().await;
}

#[tokio::test]
async fn a_client_that_hangs_up_while_text_waits_is_noticed() {
    let harness = harness("coalesce_ms = 1000").await;
    let sealed = harness.seal(&chat(&json!({ "tokens": 100_000, "delay_ms": 20 }), true));
    harness.send_and_hang_up(&sealed, Duration::from_millis(300)).await;
    let receipt = harness.receipt_of(&sealed).await;
    assert_eq!(receipt.finish, "cancelled");
    assert!(receipt.usage.completion < 100, "{:?}", receipt.usage);
    assert_eq!(harness.engine_running().await, 0);
    harness.stop().await;
}
