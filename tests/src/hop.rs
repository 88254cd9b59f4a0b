//! Between gateway and backend nobody reads a word.

use anyhow::ensure;
use serde_json::json;

use crate::harness::{Direction, Engine, Settings, Stack, chat};

/// Every byte between gateway and backend is recorded. Guards against: a body sealed on one path and plain on another,
/// content in a header, credentials on the hop. The same search over the client's side finds both, so it can find them.
pub(crate) async fn nothing_readable_crosses_it() -> anyhow::Result<()> {
    let stack = Stack::start(Settings { engine: Engine::Real, proxy: true, ..Settings::default() }).await?;
    let proxy = stack.proxy.as_ref().ok_or_else(|| anyhow::anyhow!("no proxy"))?;
    let marker = "zanzibar-7f3a9c51";
    let mut found_by_client = 0;
    for streamed in [false, true] {
        let body = chat(&format!("Write about a ship named {marker}."), json!({ "max_tokens": 40 }));
        let sent = body.to_string();
        ensure!(contains(sent.as_bytes(), marker.as_bytes()), "the client did send the marker");
        let text = if streamed {
            let mut stream = stack.client().stream(&body).await?;
            let mut text = String::new();
            for event in stream.rest().await? {
                if let Ok(event) = serde_json::from_str::<serde_json::Value>(&event) {
                    text.push_str(event["choices"][0]["delta"]["content"].as_str().unwrap_or_default());
                }
            }
            text
        } else {
            let (status, _, answer) = stack.client().complete(&body).await?;
            ensure!(status == 200, "{answer}");
            answer["choices"][0]["message"]["content"].as_str().unwrap_or_default().to_owned()
        };
        // Words of the answer, long enough not to occur by chance.
        let words: Vec<&str> = text.split_whitespace().filter(|word| word.len() >= 6).collect();
        ensure!(words.len() >= 3, "the model wrote something to look for: {text}");
        for direction in [Direction::ToBackend, Direction::ToGateway] {
            let recorded = proxy.recorded(direction);
            ensure!(recorded.len() > 1000, "{direction:?} was recorded");
            ensure!(!contains(&recorded, marker.as_bytes()), "the prompt is on the wire, {direction:?}");
            for word in &words {
                ensure!(
                    !contains(&recorded, word.as_bytes()),
                    "'{word}' of the answer is on the wire, {direction:?}"
                );
            }
            for secret in ["\"messages\"", "\"choices\"", "authorization", stack.key.as_str()] {
                ensure!(!contains(&recorded, secret.as_bytes()), "'{secret}' is on the wire, {direction:?}");
            }
        }
        found_by_client += words.len();
    }
    // What may be there, and shows that the recording is of this hop: ticket and encapsulated key.
    let recorded = proxy.recorded(Direction::ToBackend);
    ensure!(contains(&recorded, b"cocoon-ticket") && contains(&recorded, b"ehbp-encapsulated-key"));
    println!("looked for {found_by_client} words of two answers in {} bytes", recorded.len());
    Ok(())
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window.eq_ignore_ascii_case(needle))
}
