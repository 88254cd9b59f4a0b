//! The proof that a deployment works: a completion, asked of the gateway as a client would.

use std::time::Duration;

use anyhow::{Context, bail};

use crate::console::{Patience, seconds};
use crate::contract::Deployment;
use crate::loopback::Reply;
use crate::stack::Stack;
use crate::{interrupt, loopback};

/// For a slow machine with a large model.
const LIMIT: Duration = Duration::from_secs(180);
/// A gateway that goes on answering with errors has a backend that it will not use.
const REFUSAL_LIMIT: Duration = Duration::from_secs(30);

pub(crate) enum Answer {
    Text(String),
    /// 401 or 402: the key or its account is not good enough.
    Refused(Reply),
}

/// Asks until the model answers: the gateway may still be checking the backend's evidence.
pub(crate) fn first(deployment: &Deployment, api_key: &str, stack: &mut Stack) -> anyhow::Result<Answer> {
    let body = serde_json::json!({
        "model": deployment.model.name,
        "messages": [{ "role": "user", "content": "Say hello." }],
        "max_tokens": 16,
        "temperature": 0,
    });
    let body = body.to_string();
    let mut patience = Patience::new("waiting for an answer");
    let mut pause = Duration::from_millis(100);
    loop {
        let left = LIMIT.saturating_sub(patience.elapsed());
        let reply = loopback::post(deployment.port, "/v1/chat/completions", api_key, &body, left);
        interrupt::check()?;
        stack.check_running()?;
        match &reply {
            Ok(Reply { status: 200, body }) => return Ok(Answer::Text(text_of(body)?)),
            Ok(refused @ Reply { status: 401 | 402, .. }) => {
                return Ok(Answer::Refused(Reply { status: refused.status, body: refused.body.clone() }));
            }
            Ok(Reply { status, body }) if *status < 500 && *status != 429 => {
                bail!("the first completion failed: {status} {body}");
            }
            _ => {}
        }
        let limit = if reply.is_ok() { REFUSAL_LIMIT } else { LIMIT };
        if patience.elapsed() > limit {
            let last = match reply {
                Ok(reply) => format!("{} {}", reply.status, reply.body),
                Err(error) => format!("{error:#}"),
            };
            bail!(
                "no completion after {}; the last answer was: {last}\nthe gateway's log:\n{}\nthe backend's log:\n{}",
                seconds(patience.elapsed()),
                stack.tail("gateway"),
                stack.tail("backend"),
            );
        }
        patience.tick();
        // Longer and longer, so that the reason in the logs is not pushed out of sight by our own requests.
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_secs(2));
    }
}

fn text_of(completion: &str) -> anyhow::Result<String> {
    let parsed: serde_json::Value = serde_json::from_str(completion).context("the completion is not JSON")?;
    match parsed.pointer("/choices/0/message/content").and_then(serde_json::Value::as_str) {
        Some(text) if !text.trim().is_empty() => Ok(text.trim().to_owned()),
        _ => bail!("the completion has no text: {completion}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_with_text_counts_as_a_completion() {
        let with = |content: &str| format!(r#"{{"choices":[{{"message":{{"content":{content}}}}}]}}"#);
        assert_eq!(text_of(&with("\" Hello!\"")).unwrap(), "Hello!");
        assert!(text_of(&with("\"  \"")).is_err());
        assert!(text_of(&with("null")).is_err());
        assert!(text_of("{}").is_err());
        assert!(text_of("hello").is_err());
    }
}
