//! OpenAI's sampling parameters do what they say, on the real model. mistral.rs alone gets each of these wrong.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::harness::{Engine, MODEL, Settings, Stack, chat};

async fn stack() -> anyhow::Result<Stack> {
    Stack::start(Settings { engine: Engine::Real, ..Settings::default() }).await
}

async fn ask(stack: &Stack, prompt: &str, more: Value) -> anyhow::Result<Value> {
    let (status, _, answer) = stack.client().complete(&chat(prompt, more)).await?;
    ensure!(status == 200, "{answer}");
    Ok(answer)
}

fn text(answer: &Value) -> &str {
    answer["choices"][0]["message"]["content"].as_str().unwrap_or_default()
}

/// Guards against: a seed that is not used, one generator for all requests.
pub(crate) async fn a_seed_gives_the_same_text_again() -> anyhow::Result<()> {
    let stack = stack().await?;
    let twice = async |more: Value| {
        let (first, second) = tokio::try_join!(
            ask(&stack, "Tell me anything.", more.clone()),
            ask(&stack, "Tell me anything.", more)
        )?;
        anyhow::Ok((text(&first).to_owned(), text(&second).to_owned()))
    };
    let mut texts = BTreeSet::new();
    for seed in [1, 2, -3, i64::MAX] {
        let (first, second) = twice(json!({ "temperature": 1.3, "max_tokens": 24, "seed": seed })).await?;
        ensure!(first == second, "{first:?} {second:?}");
        texts.insert(first);
    }
    ensure!(texts.len() == 4, "another seed gives another text: {texts:?}");
    let (first, second) = twice(json!({ "temperature": 1.3, "max_tokens": 24 })).await?;
    ensure!(first != second, "without a seed nothing repeats: {first:?}");
    Ok(())
}

/// Guards against: a bias that is dropped, penalties that count the prompt.
pub(crate) async fn bias_and_penalties_move_the_text() -> anyhow::Result<()> {
    let stack = stack().await?;
    let prompt = "What is the capital of France?";
    let plain = ask(&stack, prompt, json!({ "max_tokens": 12, "logprobs": true, "top_logprobs": 2 })).await?;
    let first = &plain["choices"][0]["logprobs"]["content"][0]["top_logprobs"];
    ensure!(first[0]["token"] != first[1]["token"], "{plain}");

    // The same token again and again, for every id: its bias beats everything else.
    for token in [33, 500] {
        let bias = json!({ "max_tokens": 6, "logprobs": true, "logit_bias": { token.to_string(): 100 } });
        let biased = ask(&stack, prompt, bias).await?;
        let tokens = biased["choices"][0]["logprobs"]["content"].as_array().context("no logprobs")?;
        ensure!(tokens.len() == 6 && tokens.iter().all(|one| one["token"] == tokens[0]["token"]), "{biased}");
        let banned =
            ask(&stack, prompt, json!({ "max_tokens": 12, "logit_bias": { token.to_string(): -100 } }))
                .await?;
        ensure!(text(&banned) == text(&plain), "a token that would not be chosen can be banned: {banned}");
    }

    // Under a heavy penalty no token comes twice; what the prompt repeats does not count.
    let prompt = "Repeat after me, many times: la la la la la la la la la la";
    let greedy = ask(&stack, prompt, json!({ "max_tokens": 24, "logprobs": true })).await?;
    let heavy = json!({ "max_tokens": 24, "logprobs": true, "presence_penalty": 2, "frequency_penalty": 2 });
    let penalized = ask(&stack, prompt, heavy).await?;
    let repeats = |answer: &Value| {
        let tokens = answer["choices"][0]["logprobs"]["content"].as_array().cloned().unwrap_or_default();
        let names: BTreeSet<String> = tokens.iter().map(|one| one["bytes"].to_string()).collect();
        tokens.len() - names.len()
    };
    ensure!(
        repeats(&penalized) < repeats(&greedy),
        "{} then {}: {greedy} {penalized}",
        repeats(&greedy),
        repeats(&penalized)
    );

    // A prompt that goes on with a token it is full of: that is no repetition yet, the next one is.
    let go_on = async |penalty: i32| {
        let body = json!({
            "model": MODEL, "prompt": "cat dog cat dog cat dog cat dog cat", "temperature": 0, "max_tokens": 4,
            "logprobs": 1, "presence_penalty": penalty, "frequency_penalty": penalty,
        });
        let (status, _, answer) = stack.client().post_json("/completions", &body).await?;
        ensure!(status == 200, "{answer}");
        Ok(answer["choices"][0]["logprobs"]["tokens"].clone())
    };
    let (plain, penalized) = (go_on(0).await?, go_on(2).await?);
    ensure!(plain[0] == " dog" && plain[1] == " dog", "{plain}");
    ensure!(penalized[0] == " dog" && penalized[1] != " dog", "the prompt does not count: {penalized}");
    Ok(())
}

/// Guards against: base-10 logarithms, raw logits at temperature 0, probabilities that do not fit the text.
pub(crate) async fn logprobs_are_natural_logarithms() -> anyhow::Result<()> {
    let stack = stack().await?;
    for temperature in [0.0, 1.0] {
        let more = json!({
            "temperature": temperature, "max_tokens": 16, "logprobs": true, "top_logprobs": 20, "seed": 4,
        });
        let answer = ask(&stack, "Name a colour and a city.", more.clone()).await?;
        let tokens = answer["choices"][0]["logprobs"]["content"].as_array().context("no logprobs")?;
        let mut bytes = Vec::new();
        for token in tokens {
            let own = token["logprob"].as_f64().context("no logprob")?;
            let top: Vec<f64> = token["top_logprobs"]
                .as_array()
                .context("no alternatives")?
                .iter()
                .filter_map(|one| one["logprob"].as_f64())
                .collect();
            ensure!(top.len() == 20 && top.is_sorted_by(|a, b| a >= b), "{token}");
            ensure!(own <= 0.0 && own <= top[0], "{token}");
            // Twenty of 49,152 tokens are most of the probability, and never more than all of it.
            let sum: f64 = top.iter().map(|logprob| logprob.exp()).sum();
            ensure!((0.3..1.000_1).contains(&sum), "these are no probabilities: {sum} {token}");
            if temperature == 0.0 {
                ensure!(own == top[0], "greedy takes the likeliest: {token}");
            }
            bytes.extend(token["bytes"].as_array().context("no bytes")?.iter().filter_map(Value::as_u64));
        }
        let spelled: Vec<u8> = bytes.into_iter().filter_map(|byte| u8::try_from(byte).ok()).collect();
        ensure!(
            String::from_utf8(spelled)?.trim_start() == text(&answer),
            "the tokens are the text: {answer}"
        );

        // Streamed, the same tokens.
        let mut stream = stack.client().stream(&chat("Name a colour and a city.", more)).await?;
        let mut streamed = Vec::new();
        for event in stream.rest().await? {
            if let Ok(event) = serde_json::from_str::<Value>(&event) {
                let content = event["choices"][0]["logprobs"]["content"].as_array().cloned();
                streamed.extend(content.unwrap_or_default());
            }
        }
        ensure!(streamed == *tokens, "{streamed:?}");
    }
    Ok(())
}

/// Guards against: text behind a stop string, or the beginning of one, in a stream; a choice without its end, or the same
/// as another; a prompt that is charged for each choice.
pub(crate) async fn choices_and_stop_strings_end_as_they_must() -> anyhow::Result<()> {
    const CHOICES: usize = 6;
    let stack = stack().await?;
    let prompt = "Count from one to ten in words.";
    let more = json!({ "n": CHOICES, "max_tokens": 40, "seed": 9, "temperature": 1.2, "stop": [", ", "\n"] });
    let whole = ask(&stack, prompt, more.clone()).await?;
    let choices = whole["choices"].as_array().context("no choices")?;
    ensure!(choices.len() == CHOICES, "{whole}");
    let mut told: Vec<(String, Value)> = Vec::new();
    for (at, choice) in choices.iter().enumerate() {
        ensure!(choice["index"] == at, "{whole}");
        let text = choice["message"]["content"].as_str().context("no text")?;
        told.push((text.to_owned(), choice["finish_reason"].clone()));
    }
    ended(&told)?;

    let mut body = chat(prompt, more);
    body["stream_options"] = json!({ "include_usage": true });
    let mut stream = stack.client().stream(&body).await?;
    let events = stream.rest().await?;
    ensure!(events.last().map(String::as_str) == Some("[DONE]"), "{events:?}");
    let mut streamed = vec![(String::new(), Value::Null); CHOICES];
    let mut usage = Value::Null;
    for event in &events[..events.len() - 1] {
        let event: Value = serde_json::from_str(event)?;
        for choice in event["choices"].as_array().context("no choices")? {
            let (text, finish) = &mut streamed[choice["index"].as_u64().context("no index")? as usize];
            ensure!(finish.is_null(), "more of a choice that has ended: {event}");
            text.push_str(choice["delta"]["content"].as_str().unwrap_or_default());
            *finish = choice["finish_reason"].clone();
        }
        if !event["usage"].is_null() {
            usage = event["usage"].clone();
        }
    }
    ended(&streamed)?;
    let single = ask(&stack, prompt, json!({ "max_tokens": 1 })).await?;
    for usage in [&usage, &whole["usage"]] {
        ensure!(
            usage["prompt_tokens"] == single["usage"]["prompt_tokens"],
            "the prompt is counted once: {usage}"
        );
    }
    Ok(())
}

/// Each has ended, none has a stop string in it, and they differ.
fn ended(choices: &[(String, Value)]) -> anyhow::Result<()> {
    for (text, finish) in choices {
        ensure!(finish == "stop" || finish == "length", "{choices:?}");
        ensure!(!text.contains(", ") && !text.contains('\n'), "{choices:?}");
    }
    let texts: BTreeSet<&str> = choices.iter().map(|(text, _)| text.as_str()).collect();
    ensure!(texts.len() > 1, "every choice is drawn anew: {choices:?}");
    Ok(())
}

/// Guards against: JSON that runs on to the ceiling, calls that are text, a schema's order that is lost.
pub(crate) async fn constrained_output_ends_by_itself() -> anyhow::Result<()> {
    let stack = stack().await?;
    let schema = json!({
        "type": "object",
        "properties": {
            "zone": { "enum": ["north", "south"] },
            "level": { "type": "integer", "minimum": 0, "maximum": 9 },
            "kind": { "enum": ["a", "b"] },
        },
        "required": ["zone", "level", "kind"],
    });
    let times = if crate::harness::full() { 20 } else { 4 };
    for time in 0..times {
        let format = json!({ "type": "json_schema", "json_schema": { "name": "place", "strict": true, "schema": schema } });
        let more = json!({ "response_format": format, "max_tokens": 200, "temperature": 1.0, "seed": time });
        let answer = ask(&stack, "Pick a place.", more).await?;
        ensure!(answer["choices"][0]["finish_reason"] == "stop", "{answer}");
        let place: Value = serde_json::from_str(text(&answer))?;
        ensure!(
            place["level"].as_u64().is_some_and(|level| level < 10) && place["zone"].is_string(),
            "{place}"
        );
    }
    let parameters = json!({
        "type": "object",
        "properties": { "city": { "enum": ["Paris", "Rome"] } },
        "required": ["city"],
        "additionalProperties": false,
    });
    let tools = json!([
        { "type": "function", "function": { "name": "get_weather", "parameters": parameters } },
        { "type": "function", "function": { "name": "get_time" } },
    ]);
    for (choice, finish) in [
        (json!("required"), "tool_calls"),
        (json!({ "type": "function", "function": { "name": "get_weather" } }), "stop"),
    ] {
        let more = json!({ "tools": tools, "tool_choice": choice, "max_tokens": 100 });
        let answer = ask(&stack, "What is the weather in Rome?", more).await?;
        let call = &answer["choices"][0]["message"]["tool_calls"][0];
        ensure!(answer["choices"][0]["finish_reason"] == finish, "{answer}");
        ensure!(answer["choices"][0]["message"]["content"].is_null(), "{answer}");
        ensure!(
            call["type"] == "function" && call["id"].as_str().is_some_and(|id| id.starts_with("call_")),
            "{answer}"
        );
        let arguments: Value =
            serde_json::from_str(call["function"]["arguments"].as_str().context("no arguments")?)?;
        ensure!(call["function"]["name"] != "get_weather" || arguments["city"].is_string(), "{answer}");
    }
    let (status, _, error) = stack
        .client()
        .complete(&chat(
            "x",
            json!({ "response_format": { "type": "json_schema", "json_schema": { "name": "n", "schema": { "type": "nothing" } } } }),
        ))
        .await?;
    ensure!(status == 400 && error["error"]["param"] == "response_format", "{status} {error}");
    Ok(())
}
