//! What the sizes of sealed frames say of the text in them: with padding, nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, ensure};
use http_body_util::BodyExt as _;
use serde_json::json;
use tokio::time::Instant;

use crate::harness::{Engine, Sealed, SealedReply, Settings, Stack, Twist, chat, full};

const TOKENS: u64 = 60;

/// Sealed frames of one stream by what is in them, never by how long that is.
type Sizes = BTreeMap<Kind, BTreeSet<usize>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// So many events of content and no others.
    Content(usize),
    /// With the event that begins a stream among them.
    Begin(usize),
    /// With those that end it.
    End(usize),
    Receipt,
}

/// Two streams that differ in the length of their tokens alone. Guards against: padding to the text itself, to too fine
/// a bucket, on some frames only; a bucket's edge that a token or two can cross.
pub(crate) async fn tokens_of_one_and_of_twelve_letters_look_alike() -> anyhow::Result<()> {
    let stack = Stack::start(Settings::default()).await?;
    // Slower than frames are put together, as a model's own tokens are; and faster, so that they are.
    for delay_ms in [30, 3] {
        let short = sizes(&ask(&stack, "a", delay_ms, None).await?)?;
        let long = sizes(&ask(&stack, "abcdefghijkl", delay_ms, None).await?)?;
        println!("a token every {delay_ms} ms: {short:?}");
        for (kind, sizes) in &short {
            ensure!(*kind == Kind::Receipt || sizes.len() == 1, "{kind:?} has sizes {sizes:?}");
            let Some(other) = long.get(kind) else { continue };
            ensure!(sizes == other, "{kind:?}: {sizes:?} with one letter, {other:?} with twelve");
        }
        let common = short.keys().filter(|kind| long.contains_key(kind)).count();
        ensure!(common >= 3, "too little to compare: {short:?} {long:?}");
    }
    // The same comparison finds the difference where there is no padding, so it can find one.
    let short = sizes(&ask(&stack, "a", 30, Some(0)).await?)?;
    let long = sizes(&ask(&stack, "abcdefghijkl", 30, Some(0)).await?)?;
    let one = Kind::Content(1);
    ensure!(short[&one] != long[&one], "without padding the lengths show");
    ensure!(short.keys().all(|kind| *kind != Kind::Content(2)), "without padding nothing is put together");
    Ok(())
}

/// Answers whose texts differ in length by less than what JSON of this size grows by.
pub(crate) async fn whole_answers_have_few_lengths() -> anyhow::Result<()> {
    let stack = Stack::start(Settings::default()).await?;
    let mut lengths = BTreeSet::new();
    for tokens in [1, 3, 5] {
        let body = chat(&json!({ "tokens": tokens, "text": "abc " }).to_string(), json!({}));
        let reply = Sealed::honest(&stack, &body).await?.send(&stack).await?;
        ensure!(reply.status == 200 && reply.frames.len() == 2, "{reply:?}");
        lengths.insert(reply.frames.iter().map(Vec::len).collect::<Vec<_>>());
    }
    ensure!(lengths.len() == 1, "{lengths:?}");
    Ok(())
}

/// What padding costs: bytes on the wire, and how much later a token is there. Prints a table.
pub(crate) async fn the_cost_of_padding() -> anyhow::Result<()> {
    println!("{:44} {:>10} {:>8} {:>14} {:>14}", "stream", "bytes", "frames", "first byte ms", "whole ms");
    let scripted = Stack::start(Settings::default()).await?;
    let (rounds, tokens) = if full() { (20, 200) } else { (3, 100) };
    for delay_ms in [0, 5, 20, 40] {
        let script = json!({ "tokens": tokens, "text": "word ", "delay_ms": delay_ms }).to_string();
        let body = chat(&script, json!({ "stream": true }));
        let name = format!("{tokens} tokens, one every {delay_ms} ms");
        compare(&scripted, &name, &body, if delay_ms > 5 { 2 } else { rounds }).await?;
    }
    drop(scripted);
    let real = Stack::start(Settings { engine: Engine::Real, ..Settings::default() }).await?;
    let body = chat("Tell me a story about a ship.", json!({ "stream": true, "max_tokens": 64 }));
    compare(&real, "mistral.rs, 64 tokens", &body, if full() { 10 } else { 2 }).await
}

async fn compare(stack: &Stack, name: &str, body: &serde_json::Value, rounds: u32) -> anyhow::Result<()> {
    let mut sums = [Cost::default(); 2];
    for _ in 0..rounds {
        for (sum, pad) in sums.iter_mut().zip([Some(0), None]) {
            let cost = measure(stack, body, pad).await?;
            sum.bytes += cost.bytes;
            sum.frames += cost.frames;
            sum.first += cost.first;
            sum.whole += cost.whole;
        }
    }
    for (sum, padding) in sums.iter().zip(["bare", "padded"]) {
        let milliseconds = |sum: Duration| sum.as_secs_f64() * 1000.0 / f64::from(rounds);
        println!(
            "{:44} {:10} {:8} {:14.2} {:14.1}",
            format!("{name}, {padding}"),
            sum.bytes / rounds as usize,
            sum.frames / rounds as usize,
            milliseconds(sum.first),
            milliseconds(sum.whole)
        );
    }
    let [bare, padded] = sums;
    ensure!(padded.bytes < 4 * bare.bytes, "padding costs more than what it pads: {padded:?} {bare:?}");
    Ok(())
}

#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    bytes: usize,
    frames: usize,
    first: Duration,
    whole: Duration,
}

async fn measure(stack: &Stack, body: &serde_json::Value, pad: Option<u8>) -> anyhow::Result<Cost> {
    let sealed = with_padding(stack, body, pad).await?;
    let begun = Instant::now();
    let response = sealed.begin(stack).await?;
    ensure!(response.status() == 200, "{}", response.status());
    let mut answer = response.into_body();
    let mut cost = Cost::default();
    while let Some(frame) = answer.frame().await {
        if let Some(data) = frame?.data_ref() {
            if cost.bytes == 0 {
                cost.first = begun.elapsed();
            }
            cost.bytes += data.len();
            cost.frames += 1;
        }
    }
    cost.whole = begun.elapsed();
    Ok(cost)
}

async fn ask(stack: &Stack, text: &str, delay_ms: u64, pad: Option<u8>) -> anyhow::Result<SealedReply> {
    let script = json!({ "tokens": TOKENS, "text": text, "delay_ms": delay_ms }).to_string();
    let body = chat(&script, json!({ "stream": true, "stream_options": { "include_usage": true } }));
    let reply = with_padding(stack, &body, pad).await?.send(stack).await?;
    ensure!(reply.status == 200 && reply.sealed, "{reply:?}");
    Ok(reply)
}

async fn with_padding(stack: &Stack, body: &serde_json::Value, pad: Option<u8>) -> anyhow::Result<Sealed> {
    let signer = Sealed::ticket_key(stack)?;
    Sealed::new(stack, body, Twist { signer: &signer, ticket: &|_| (), x_conf: &|context| context.pad = pad })
        .await
}

fn sizes(reply: &SealedReply) -> anyhow::Result<Sizes> {
    let mut sizes = Sizes::new();
    for frame in &reply.frames {
        let text = std::str::from_utf8(frame).context("not text")?;
        let events = text.matches("data: ").count();
        let content = text.matches("\"delta\":{\"content\":").count();
        let kind = if text.starts_with(": receipt ") {
            Kind::Receipt
        } else if text.contains("\"role\":") {
            Kind::Begin(events)
        } else if events == content {
            Kind::Content(events)
        } else {
            Kind::End(events)
        };
        sizes.entry(kind).or_default().insert(frame.len());
    }
    Ok(sizes)
}
