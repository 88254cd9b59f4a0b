//! OpenAI's own OpenAPI document as the judge of what clients got.

use std::collections::BTreeMap;
use std::io::Write as _;

use anyhow::ensure;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::harness::{Exchange, MODEL, Recorder, Settings, Stack, chat, run_python};

#[derive(Debug, Deserialize)]
pub(crate) struct Verdict {
    /// Answers of each operation, status and content type.
    pub(crate) judged: BTreeMap<String, u64>,
    pub(crate) violations: Vec<Value>,
}

/// Judges every answer.
pub(crate) async fn judge(exchanges: &[Exchange]) -> anyhow::Result<Verdict> {
    let mut file = tempfile::NamedTempFile::new()?;
    for exchange in exchanges {
        writeln!(file, "{}", serde_json::to_string(exchange)?)?;
    }
    let path = file.path().display().to_string();
    let verdict: Verdict =
        serde_json::from_value(run_python("judge.py", &[("COCOON_EXCHANGES", &path)]).await?)?;
    ensure!(verdict.judged.values().sum::<u64>() == exchanges.len() as u64, "{:?}", verdict.judged);
    Ok(verdict)
}

/// Guards against a judge that lets everything pass: each of these answers was right before one thing was changed.
pub(crate) async fn it_finds_what_is_wrong() -> anyhow::Result<()> {
    let stack = Stack::start(Settings::default()).await?;
    let recorder = Recorder::start(&stack.origin()).await?;
    let client = crate::harness::Client::new(recorder.base_url(), stack.key.clone());
    client.complete(&chat("one two", json!({}))).await?;
    client
        .stream(&chat("one two", json!({ "stream_options": { "include_usage": true } })))
        .await?
        .rest()
        .await?;
    client.complete(&json!({ "model": MODEL })).await?;
    let right = recorder.exchanges();
    ensure!(right.len() == 3 && right.iter().all(|exchange| exchange.whole), "{right:#?}");
    let verdict = judge(&right).await?;
    ensure!(verdict.violations.is_empty(), "{:#?}", verdict.violations);

    let (whole, stream, error) = (0, 1, 2);
    let schemas = "#/components/schemas";
    let chunk = format!("{schemas}/CreateChatCompletionStreamResponse");
    let choice = format!("{schemas}/CreateChatCompletionResponse/properties/choices/items");
    let answer = format!("{schemas}/CreateChatCompletionResponse/properties");
    // What to change in which answer, and the rule that is then broken.
    let changes = [
        (whole, r#""object":"chat.completion""#, r#""object":"chat""#, format!("{answer}/object/enum")),
        (whole, r#""created":"#, r#""created":"now","x":"#, format!("{answer}/created/type")),
        (
            whole,
            r#""finish_reason":"stop""#,
            r#""finish_reason":null"#,
            format!("{choice}/properties/finish_reason/type"),
        ),
        (
            whole,
            r#""finish_reason":"stop""#,
            r#""finish_reason":"eos""#,
            format!("{choice}/properties/finish_reason/enum"),
        ),
        (whole, r#""logprobs""#, r#""x""#, format!("{choice}/required")),
        (
            whole,
            r#""prompt_tokens":"#,
            r#""prompt_tokens":0.5,"x":"#,
            format!("{schemas}/CompletionUsage/properties/prompt_tokens/type"),
        ),
        (stream, r#""delta""#, r#""x""#, format!("{chunk}/properties/choices/items/required")),
        (
            stream,
            r#""object":"chat.completion.chunk""#,
            r#""object":"chat.completion""#,
            format!("{chunk}/properties/object/enum"),
        ),
        (stream, r#""choices":[],"#, "", format!("{chunk}/required")),
        (stream, "data: [DONE]\n\n", "", String::new()),
        (stream, "data: [DONE]\n\n", "data: [DONE]\n\ndata: {}\n\n", String::new()),
        (error, r#""param":"#, r#""x":"#, format!("{schemas}/Error/required")),
        (error, r#""code":"#, r#""code":7,"x":"#, format!("{schemas}/Error/properties/code/anyOf")),
    ];
    let mut wrong = Vec::new();
    for (number, from, to, _) in &changes {
        let mut exchange = right[*number].clone();
        ensure!(exchange.body.contains(from), "{from} is not in {}", exchange.body);
        exchange.body = exchange.body.replacen(from, to, 1);
        wrong.push(exchange);
    }
    wrong.push(Exchange { content_type: Some("text/plain".into()), ..right[whole].clone() });
    wrong.push(Exchange { path: "/v1/chat/complete".into(), ..right[whole].clone() });
    let verdict = judge(&wrong).await?;
    for (number, wrong) in wrong.iter().enumerate() {
        let mut rules = verdict
            .violations
            .iter()
            .filter(|violation| violation["exchange"] == number)
            .map(|violation| violation["rule"].as_str().unwrap_or_default());
        // A rule of our own, like that of [DONE], has no place in the document.
        let expected = changes.get(number).map(|(_, _, _, rule)| rule.as_str());
        let named = match expected {
            Some(rule) => rules.any(|found| found == rule),
            None => rules.next().is_some(),
        };
        ensure!(named, "{wrong:?} should break {expected:?}: {:#?}", verdict.violations);
    }
    Ok(())
}
