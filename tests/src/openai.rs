//! The official client, pointed at a new base URL, gets what a real model generated.

use anyhow::ensure;
use async_openai::types::chat::{CreateChatCompletionResponse, CreateChatCompletionStreamResponse};
use serde_json::json;

use crate::harness::{Engine, MODEL, Settings, Stack, chat, run_python};

/// Guards against: typed parsing that the SDK trips over, a usage chunk nobody asked for, ids that are not OpenAI's, an
/// answer that a stub made up.
pub(crate) async fn the_official_client_gets_a_real_answer() -> anyhow::Result<()> {
    let stack = Stack::start(Settings { engine: Engine::Real, ..Settings::default() }).await?;
    let variables = [
        ("OPENAI_BASE_URL", stack.base_url()),
        ("OPENAI_API_KEY", stack.key.clone()),
        ("COCOON_MODEL", MODEL.to_owned()),
    ];
    let variables: Vec<(&str, &str)> =
        variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let seen = run_python("chat_basic.py", &variables).await?;

    let text = seen["text"].as_str().unwrap_or_default();
    ensure!(text.contains('4'), "the model can add: {text}");
    ensure!(seen["stream_text"] == seen["text"], "at temperature 0 both are the same: {seen:#}");
    ensure!(seen["id"].as_str().is_some_and(|id| id.starts_with("chatcmpl-")), "{seen:#}");
    ensure!(seen["object"] == "chat.completion" && seen["role"] == "assistant", "{seen:#}");
    ensure!(
        seen["model"] == MODEL && seen["models"] == json!([MODEL]) && seen["retrieved"] == MODEL,
        "{seen:#}"
    );
    ensure!(
        seen["stream_ids"].as_array().is_some_and(|ids| ids.len() == 1),
        "one id for all chunks: {seen:#}"
    );
    ensure!(seen["stream_first_role"] == "assistant", "{seen:#}");
    ensure!(seen["stream_finish"] == json!([seen["finish"]]), "one final chunk: {seen:#}");
    ensure!(seen["stream_usage"] == json!([seen["usage"]]), "one usage chunk, the same usage: {seen:#}");
    ensure!(seen["stream_usage_choices"] == json!([0]), "the usage chunk has no choices: {seen:#}");
    let usage = |name: &str| seen["usage"][name].as_u64().unwrap_or_default();
    ensure!(usage("prompt_tokens") > 10 && usage("completion_tokens") > 1, "{seen:#}");
    ensure!(usage("total_tokens") == usage("prompt_tokens") + usage("completion_tokens"), "{seen:#}");
    ensure!(seen["receipt"].as_str().is_some_and(|receipt| receipt.split('.').count() == 3), "{seen:#}");
    ensure!(seen["request_id"].is_string(), "{seen:#}");
    Ok(())
}

/// The same through raw HTTP: what the SDK might paper over. A ceiling of tokens ends both with `length`, and stop
/// strings leak into neither.
pub(crate) async fn streamed_and_unstreamed_agree_byte_for_byte() -> anyhow::Result<()> {
    let stack = Stack::start(Settings { engine: Engine::Real, ..Settings::default() }).await?;
    let client = stack.client();
    for more in [json!({ "max_tokens": 24 }), json!({ "max_tokens": 64, "stop": [" of", "zebra"] })] {
        let body = chat("Tell me about the city of London.", more);
        let (status, headers, whole) = client.complete(&body).await?;
        ensure!(status == 200, "{whole}");
        ensure!(headers["content-type"] == "application/json", "{headers:?}");
        // An independent reading of OpenAI's schema.
        let typed: CreateChatCompletionResponse = serde_json::from_value(whole.clone())?;
        ensure!(typed.choices.len() == 1 && typed.usage.is_some(), "{typed:?}");
        ensure!(whole.get("x_receipt").is_none(), "the sealed hop's own member stays inside: {whole}");
        let mut stream = client.stream(&body).await?;
        ensure!(stream.headers["content-type"].to_str()?.starts_with("text/event-stream"));
        let events = stream.rest().await?;
        ensure!(events.last().map(String::as_str) == Some("[DONE]"), "{events:?}");
        let mut text = String::new();
        let mut finish = Vec::new();
        for event in &events[..events.len() - 1] {
            let event: serde_json::Value = serde_json::from_str(event)?;
            serde_json::from_value::<CreateChatCompletionStreamResponse>(event.clone())?;
            ensure!(event.get("usage").is_none(), "nobody asked for usage: {event}");
            ensure!(event["object"] == "chat.completion.chunk", "{event}");
            let choice = &event["choices"][0];
            text.push_str(choice["delta"]["content"].as_str().unwrap_or_default());
            if choice["finish_reason"].is_string() {
                finish.push(choice["finish_reason"].clone());
            }
        }
        ensure!(whole["choices"][0]["message"]["content"] == text, "{whole} {text}");
        ensure!(finish == [whole["choices"][0]["finish_reason"].clone()], "{finish:?} {whole}");
        if body.get("stop").is_some() {
            ensure!(!text.contains(" of") && finish == ["stop"], "{text:?} {finish:?}");
        } else {
            ensure!(finish == ["length"] && whole["usage"]["completion_tokens"] == 24, "{whole}");
        }
    }
    Ok(())
}
