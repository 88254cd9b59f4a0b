//! Embeddings, from the request through the sealed hop to mistral.rs and back, on a tiny model of random weights.

use anyhow::{Context, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::bill::claims;
use crate::harness::{DIMENSIONS, EMBEDDING_CONTEXT, Engine, GRANT, MODEL, Settings, Stack, chat};

async fn ask(stack: &Stack, body: Value) -> anyhow::Result<(u16, http::HeaderMap, Value)> {
    let mut body = body;
    body["model"] = MODEL.into();
    stack.client().post_json("/embeddings", &body).await
}

fn vector(answer: &Value, at: usize) -> anyhow::Result<Vec<f64>> {
    let numbers =
        answer["data"][at]["embedding"].as_array().with_context(|| format!("no vector: {answer}"))?;
    numbers.iter().map(|number| number.as_f64().context("not a number")).collect()
}

fn product(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Guards against: inputs out of order, another pooling for one than for many, tokens that nobody pays.
pub(crate) async fn inputs_become_vectors_and_are_charged() -> anyhow::Result<()> {
    let stack = Stack::start(Settings { engine: Engine::Embedding, ..Settings::default() }).await?;
    let (status, headers, many) =
        ask(&stack, json!({ "input": ["a cat", "a dog", "a cat", "zebra crossing"] })).await?;
    ensure!(status == 200 && many["object"] == "list" && many["model"] == MODEL, "{many}");
    let vectors: Vec<Vec<f64>> = (0..4).map(|at| vector(&many, at)).collect::<anyhow::Result<_>>()?;
    for (at, one) in vectors.iter().enumerate() {
        ensure!(many["data"][at]["index"] == at && many["data"][at]["object"] == "embedding", "{many}");
        ensure!(one.len() == DIMENSIONS && (product(one, one) - 1.0).abs() < 1e-4, "of unit length: {one:?}");
    }
    ensure!(product(&vectors[0], &vectors[2]) > 0.999_9, "the same text has the same vector");
    ensure!(product(&vectors[0], &vectors[1]) < 0.999, "another text has another");
    // A token for each byte, and one for the end of each text.
    let tokens = 6 + 6 + 6 + 15;
    ensure!(many["usage"] == json!({ "prompt_tokens": tokens, "total_tokens": tokens }), "{many}");
    let claims = claims(headers["cocoon-receipt"].to_str()?)?;
    ensure!(claims["usage"]["prompt"] == tokens && claims["usage"]["completion"] == 0, "{claims}");
    let account = stack.settled_account().await?;
    ensure!(account.balance.0 == GRANT - tokens * 20, "{account:?}");

    let (_, _, single) = ask(&stack, json!({ "input": "a dog" })).await?;
    ensure!(product(&vector(&single, 0)?, &vectors[1]) > 0.999_9, "{single}");
    // The bytes of "a dog", and the end, as tokens of this vocabulary.
    let (_, _, tokens) = ask(&stack, json!({ "input": [97, 32, 100, 111, 103, 256] })).await?;
    ensure!(product(&vector(&tokens, 0)?, &vectors[1]) > 0.999_9, "{tokens}");

    let (_, _, packed) = ask(&stack, json!({ "input": "a dog", "encoding_format": "base64" })).await?;
    let bytes = STANDARD.decode(packed["data"][0]["embedding"].as_str().context("not base64")?)?;
    let unpacked: Vec<f64> = bytes
        .chunks_exact(4)
        .filter_map(|four| Some(f64::from(f32::from_le_bytes(four.try_into().ok()?))))
        .collect();
    ensure!(unpacked.len() == DIMENSIONS && product(&unpacked, &vectors[1]) > 0.999_9, "{packed}");

    let (_, _, short) = ask(&stack, json!({ "input": "a dog", "dimensions": 8 })).await?;
    let short = vector(&short, 0)?;
    ensure!(short.len() == 8 && (product(&short, &short) - 1.0).abs() < 1e-4, "{short:?}");
    Ok(())
}

pub(crate) async fn what_cannot_be_embedded_is_refused_by_name() -> anyhow::Result<()> {
    let stack = Stack::start(Settings { engine: Engine::Embedding, ..Settings::default() }).await?;
    for (body, code, param) in [
        (json!({}), "missing_required_parameter", "input"),
        (json!({ "input": "" }), "invalid_value", "input"),
        (json!({ "input": [] }), "invalid_value", "input"),
        (json!({ "input": ["a", ""] }), "invalid_value", "input[1]"),
        (json!({ "input": [257] }), "invalid_value", "input"),
        (json!({ "input": "a", "encoding_format": "hex" }), "invalid_value", "encoding_format"),
        (json!({ "input": "x".repeat(EMBEDDING_CONTEXT) }), "context_length_exceeded", "input"),
    ] {
        let (status, _, answer) = ask(&stack, body.clone()).await?;
        ensure!(status == 400 && answer["error"]["param"] == param, "{body}: {status} {answer}");
        ensure!(answer["error"]["code"] == code, "{body}: {answer}");
    }
    // The longest that fits, with its end.
    let (status, _, answer) = ask(&stack, json!({ "input": "x".repeat(EMBEDDING_CONTEXT - 1) })).await?;
    ensure!(status == 200, "{answer}");
    let before = stack.settled_account().await?;
    let (status, _, answer) = stack.client().complete(&chat("hi", json!({}))).await?;
    ensure!(status == 400 && answer["error"]["param"] == "model", "it does not chat: {status} {answer}");
    ensure!(stack.settled_account().await?.charged == before.charged, "a refusal costs nothing");
    Ok(())
}
