//! The four endpoints that run a model: what the backend gets, what the client gets, and what is held meanwhile.

use std::sync::{Arc, PoisonError};

use anyhow::{Context, ensure};
use cocoon_receipts::Usage;
use http_body_util::BodyExt;

use crate::harness::{Liar, Scripted, Seen, Settings, Stack};

const MODEL: &str = "liar-model";
/// nanoTON per token at the harness' prices: prompt and completion.
const PROMPT: u64 = 20;
const COMPLETION: u64 = 60;
const TEMPLATE: u64 = 512;
/// The context of the liar's model.
const CONTEXT: u64 = 1000;
const STREAM: &str = "text/event-stream; charset=utf-8";

struct Case {
    path: &'static str,
    body: String,
    answer: Scripted,
    /// As the client sees it.
    expected: &'static str,
    max_cost: u64,
}

fn case(
    path: &'static str,
    members: &str,
    answer: Scripted,
    expected: &'static str,
    bound: impl Fn(u64) -> u64,
) -> Case {
    let body = format!("{{ \"model\":\"{MODEL}\",{members} }}");
    let max_cost = bound(body.len() as u64 + TEMPLATE);
    Case { path, body, answer, expected, max_cost }
}

fn json(text: &str) -> Scripted {
    Scripted { frames: vec![text.into()], ..Scripted::default() }
}

fn stream(rest: &'static str) -> Scripted {
    let frames = vec!["data: {\"a\":1}\n\n".into(), "event: b\ndata: {\"b\":2}\n\n".into()];
    Scripted { content_type: STREAM, frames, rest, ..Scripted::default() }
}

const STREAMED: &str = "data: {\"a\":1}\n\nevent: b\ndata: {\"b\":2}\n\n";
const STREAMED_AND_DONE: &str = "data: {\"a\":1}\n\nevent: b\ndata: {\"b\":2}\n\ndata: [DONE]\n\n";
const DONE: &str = "data: [DONE]\n\n";

fn cases() -> Vec<Case> {
    let embedded = Usage { prompt: 12, ..Usage::default() };
    vec![
        case(
            "/chat/completions",
            r#""messages":[],"max_tokens":9,"n":2"#,
            json(r#"{"c":1"#),
            r#"{"c":1}"#,
            |sent| sent * PROMPT + 2 * 9 * COMPLETION,
        ),
        case(
            "/chat/completions",
            r#""messages":[],"max_completion_tokens":9,"stream":true"#,
            stream(DONE),
            STREAMED_AND_DONE,
            |sent| sent * PROMPT + 9 * COMPLETION,
        ),
        case("/completions", r#""prompt":"hi""#, json(r#"{"t":1"#), r#"{"t":1}"#, |sent| {
            sent * PROMPT + 16 * COMPLETION
        }),
        case(
            "/completions",
            r#""prompt":[[1,2],[3]],"max_tokens":5,"n":2,"best_of":3,"stream":true"#,
            stream(DONE),
            STREAMED_AND_DONE,
            |sent| sent * PROMPT + 2 * 3 * 5 * COMPLETION,
        ),
        // More bytes than the context has tokens: each input may fill it.
        case(
            "/embeddings",
            &format!(r#""input":["{}","b"],"stream":"not read here""#, "a ".repeat(2000)),
            Scripted { usage: embedded, ..json(r#"{"e":1"#) },
            r#"{"e":1}"#,
            |sent| sent * PROMPT,
        ),
        case(
            "/responses",
            r#""input":"hi","max_output_tokens":7"#,
            json(r#"{"r":1"#),
            r#"{"r":1}"#,
            |sent| sent * PROMPT + 7 * COMPLETION,
        ),
        case(
            "/responses",
            r#""input":"hi","max_output_tokens":7,"stream":true"#,
            stream(""),
            STREAMED,
            |sent| sent * PROMPT + 7 * COMPLETION,
        ),
    ]
}

/// Guards against: a body that is written anew, a request sealed to another endpoint, a hold that is too small for the
/// answer, an end that only chat completions have.
pub(crate) async fn each_is_served_under_its_own_path_and_bound() -> anyhow::Result<()> {
    let mut liar = Liar::new(MODEL).await?;
    liar.lie = Some(Arc::new(|_, _| {}));
    liar.script = Some(Arc::new(|seen: &Seen| {
        let found = cases().into_iter().find(|case| case.body.as_bytes() == seen.body);
        found.map_or_else(Scripted::default, |case| case.answer)
    }));
    let settings =
        Settings { second_backend: Some(liar.url()), gateway: liar.prices(), ..Settings::default() };
    let stack = Stack::start(settings).await?;
    liar.join(&stack).await?;

    let authorization = format!("Bearer {}", stack.key);
    let headers = [("authorization", authorization.as_str()), ("te", "trailers")];
    let mut charged = 0;
    for case in cases() {
        let what = format!("{} {}", case.path, &case.body[..case.body.len().min(120)]);
        let response = stack.client().post_raw(case.path, &headers, case.body.clone()).await?;
        let (parts, body) = response.into_parts();
        let collected = body.collect().await?;
        let trailers = collected.trailers().cloned().unwrap_or_default();
        let bytes = collected.to_bytes();
        ensure!(parts.status == 200, "{what}: {} {bytes:?}", parts.status);
        ensure!(bytes == case.expected, "{what}: {bytes:?}");
        ensure!(parts.headers["content-type"] == case.answer.content_type, "{what}: {:?}", parts.headers);
        let receipt_in = if case.answer.content_type == STREAM { &trailers } else { &parts.headers };
        ensure!(receipt_in.contains_key("cocoon-receipt"), "{what}: {receipt_in:?}");

        let seen = liar.seen.lock().unwrap_or_else(PoisonError::into_inner).pop().context("not seen")?;
        ensure!(seen.body == case.body.as_bytes(), "{what}: {seen:?}");
        let path = format!("/v1{}", case.path);
        ensure!(
            seen.path == path && seen.sealed_path == path && seen.ticket.path == path,
            "{what}: {seen:?}"
        );
        ensure!(
            seen.ticket.max_cost.0 == case.max_cost,
            "{what}: {} {}",
            seen.ticket.max_cost,
            case.max_cost
        );
        charged += case.answer.usage.prompt * PROMPT + case.answer.usage.completion * COMPLETION;
        ensure!(stack.account().await?.charged.0 == charged, "{what}");
    }
    // The bound of a prompt where the context is smaller than the body; `x_conf` is a client's nowhere.
    let long = format!(r#"{{"model":"{MODEL}","input":"{}","max_output_tokens":1}}"#, "a".repeat(2000));
    stack.client().post_raw("/responses", &headers, long).await?.into_body().collect().await?;
    let seen = liar.seen.lock().unwrap_or_else(PoisonError::into_inner).pop().context("not seen")?;
    ensure!(seen.ticket.max_cost.0 == CONTEXT * PROMPT + COMPLETION, "{}", seen.ticket.max_cost);
    for path in ["/chat/completions", "/completions", "/embeddings", "/responses"] {
        let body = format!(r#"{{"model":"{MODEL}","x_conf":{{}}}}"#);
        let response = stack.client().post_raw(path, &headers, body).await?;
        ensure!(response.status() == 400, "{path}: {}", response.status());
    }
    Ok(())
}
