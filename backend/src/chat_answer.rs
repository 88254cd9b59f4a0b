//! OpenAI's JSON for what the engine generated.

use cocoon_openapi::chat::{ChatCompletion, Choice, Chunk, ChunkChoice, Delta, FinishReason, Message, Usage};
use cocoon_receipts::RequestId;

/// What is the same in every part of one answer.
#[derive(Debug, Clone)]
pub(crate) struct ChatAnswer {
    id: String,
    /// Seconds since 1970.
    created: u64,
    model: String,
    fingerprint: String,
    include_usage: bool,
}

impl ChatAnswer {
    pub(crate) fn new(
        request: RequestId,
        created: u64,
        model: String,
        fingerprint: String,
        include_usage: bool,
    ) -> Self {
        let id = format!("chatcmpl-{}", request.to_string().replace('-', ""));
        Self { id, created, model, fingerprint, include_usage }
    }

    /// The unstreamed answer.
    pub(crate) fn whole(self, content: String, finish_reason: FinishReason, usage: Usage) -> Vec<u8> {
        let message = Message { role: "assistant".to_owned(), content, refusal: None };
        json(&ChatCompletion {
            id: self.id,
            object: "chat.completion".to_owned(),
            created: self.created,
            model: self.model,
            choices: vec![Choice { index: 0, message, logprobs: None, finish_reason }],
            usage,
            system_fingerprint: self.fingerprint,
        })
    }

    /// The first event: a role, and no text yet.
    pub(crate) fn role(&self) -> Vec<u8> {
        let delta =
            Delta { role: Some("assistant".to_owned()), content: Some(String::new()), refusal: Some(None) };
        self.choice(delta, None)
    }

    pub(crate) fn text(&self, text: String) -> Vec<u8> {
        self.choice(Delta { content: Some(text), ..Delta::default() }, None)
    }

    pub(crate) fn finish(&self, reason: FinishReason) -> Vec<u8> {
        self.choice(Delta::default(), Some(reason))
    }

    /// The event after the last choice; none where it was not asked for.
    pub(crate) fn usage(&self, usage: Usage) -> Option<Vec<u8>> {
        self.include_usage.then(|| self.event(Vec::new(), Some(usage)))
    }

    fn choice(&self, delta: Delta, finish_reason: Option<FinishReason>) -> Vec<u8> {
        self.event(vec![ChunkChoice { index: 0, delta, logprobs: None, finish_reason }], None)
    }

    fn event(&self, choices: Vec<ChunkChoice>, usage: Option<Usage>) -> Vec<u8> {
        let chunk = Chunk {
            id: self.id.clone(),
            object: "chat.completion.chunk".to_owned(),
            created: self.created,
            model: self.model.clone(),
            system_fingerprint: self.fingerprint.clone(),
            choices,
            usage: self.include_usage.then_some(usage),
        };
        [b"data: ".as_slice(), &json(&chunk), b"\n\n"].concat()
    }
}

/// Structs of strings and numbers always serialise.
fn json<T: serde::Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    fn answer(include_usage: bool) -> ChatAnswer {
        ChatAnswer::new(ID.parse().unwrap(), 5, "m".into(), "fp_0102030405".into(), include_usage)
    }

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    const START: &str = r#"data: {"id":"chatcmpl-01890a5dac96774bbcceb302099a8057","object":"chat.completion.chunk","created":5,"model":"m","system_fingerprint":"fp_0102030405","choices":"#;

    #[test]
    fn a_stream_is_openais_events() {
        let answer = answer(false);
        let role = r#"[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}]}"#;
        assert_eq!(text(answer.role()), format!("{START}{role}\n\n"));
        let delta = r#"[{"index":0,"delta":{"content":"a\n"},"logprobs":null,"finish_reason":null}]}"#;
        assert_eq!(text(answer.text("a\n".into())), format!("{START}{delta}\n\n"));
        let last = r#"[{"index":0,"delta":{},"logprobs":null,"finish_reason":"length"}]}"#;
        assert_eq!(text(answer.finish(FinishReason::Length)), format!("{START}{last}\n\n"));
        assert_eq!(answer.usage(Usage::new(1, 2)), None);
    }

    #[test]
    fn usage_is_null_until_the_last_event_where_it_was_asked_for() {
        let answer = answer(true);
        assert!(text(answer.text("a".into())).ends_with(",\"usage\":null}\n\n"));
        let usage = text(answer.usage(Usage::new(3, 4)).unwrap());
        assert!(
            usage.contains(
                r#""choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7,"#
            )
        );
    }

    #[test]
    fn an_unstreamed_answer_is_one_object() {
        let json = text(answer(false).whole("hi".into(), FinishReason::Stop, Usage::new(3, 4)));
        let start = r#"{"id":"chatcmpl-01890a5dac96774bbcceb302099a8057","object":"chat.completion","created":5,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"#;
        assert!(json.starts_with(start), "{json}");
        assert!(json.ends_with(r#""system_fingerprint":"fp_0102030405"}"#), "{json}");
    }
}
