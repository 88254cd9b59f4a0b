//! Completions of plain text.

use std::collections::BTreeMap;

use cocoon_engine_api::{Alternative, TokenLogprob};
use cocoon_openapi::chat::{FinishReason, Usage};
use cocoon_openapi::completion::{Completion, CompletionChoice, CompletionLogprobs};
use cocoon_receipts::Usage as Used;

use super::{Choice, Piece, Render, Stamp, event, json};

#[derive(Debug)]
pub(super) struct CompletionAnswer {
    id: String,
    stamp: Stamp,
    include_usage: bool,
    echo: Option<Vec<String>>,
    /// Choices for each prompt.
    per_prompt: usize,
    /// Characters of each choice's text so far: offsets of tokens are counted from its beginning.
    lengths: BTreeMap<usize, usize>,
}

impl CompletionAnswer {
    pub(super) fn new(
        stamp: Stamp,
        include_usage: bool,
        echo: Option<Vec<String>>,
        per_prompt: usize,
    ) -> Self {
        let id = stamp.id("cmpl-");
        Self { id, stamp, include_usage, echo, per_prompt: per_prompt.max(1), lengths: BTreeMap::new() }
    }

    /// The prompt that is to be repeated before a choice.
    fn echoed(&self, choice: usize) -> Option<&str> {
        self.echo.as_ref()?.get(choice / self.per_prompt).map(String::as_str)
    }

    fn choice(
        &mut self,
        choice: usize,
        text: String,
        tokens: &[TokenLogprob],
        finish_reason: Option<FinishReason>,
    ) -> CompletionChoice {
        let length = self.lengths.entry(choice).or_default();
        let logprobs = logprobs(tokens, *length);
        *length += text.chars().count();
        CompletionChoice { text, index: choice as u32, logprobs, finish_reason }
    }

    fn object(&self, choices: Vec<CompletionChoice>, usage: Option<Option<Usage>>) -> Completion {
        Completion {
            id: self.id.clone(),
            object: "text_completion".to_owned(),
            created: self.stamp.created,
            model: self.stamp.model.clone(),
            choices,
            system_fingerprint: self.stamp.fingerprint.clone(),
            usage,
        }
    }

    fn event(&self, choices: Vec<CompletionChoice>, usage: Option<Usage>) -> Vec<u8> {
        event(&self.object(choices, self.include_usage.then_some(usage)))
    }
}

impl Render for CompletionAnswer {
    fn begin(&mut self) -> Vec<Vec<u8>> {
        let prompts = self.echo.clone().unwrap_or_default();
        let choices = prompts.len() * self.per_prompt;
        let mut events = Vec::new();
        for choice in 0..choices {
            let text = self.echoed(choice).unwrap_or_default().to_owned();
            let choice = self.choice(choice, text, &[], None);
            events.push(self.event(vec![choice], None));
        }
        events
    }

    fn piece(&mut self, choice: usize, piece: Piece) -> Vec<Vec<u8>> {
        let Piece::Text { text, logprobs } = piece else { return Vec::new() };
        if text.is_empty() {
            return Vec::new();
        }
        let choice = self.choice(choice, text, &logprobs, None);
        vec![self.event(vec![choice], None)]
    }

    fn finish(&mut self, choice: usize, reason: FinishReason) -> Vec<Vec<u8>> {
        let choice = self.choice(choice, String::new(), &[], Some(reason));
        vec![self.event(vec![choice], None)]
    }

    fn envelope(&self) -> usize {
        let choice = CompletionChoice { text: String::new(), index: 0, logprobs: None, finish_reason: None };
        self.event(vec![choice], None).len()
    }

    fn end(&mut self, usage: &Used) -> Vec<Vec<u8>> {
        let usage = Usage::new(usage.prompt, usage.completion);
        self.include_usage.then(|| self.event(Vec::new(), Some(usage))).into_iter().collect()
    }

    fn whole(&mut self, choices: Vec<Choice>, usage: &Used) -> Vec<u8> {
        let mut written = Vec::with_capacity(choices.len());
        for (at, choice) in choices.into_iter().enumerate() {
            let text = format!("{}{}", self.echoed(at).unwrap_or_default(), choice.text);
            written.push(self.choice(at, text, &choice.logprobs, choice.finish.or(Some(FinishReason::Stop))));
        }
        json(&self.object(written, Some(Some(Usage::new(usage.prompt, usage.completion)))))
    }
}

/// Parallel lists, as this older endpoint has them; the first token begins `offset` characters into the text.
fn logprobs(tokens: &[TokenLogprob], mut offset: usize) -> Option<CompletionLogprobs> {
    let text = |one: &Alternative| String::from_utf8_lossy(&one.bytes).into_owned();
    let mut lists = CompletionLogprobs::default();
    for token in tokens {
        lists.text_offset.push(offset);
        offset += text(&token.token).chars().count();
        lists.tokens.push(text(&token.token));
        lists.token_logprobs.push(token.token.logprob);
        let mut top: BTreeMap<String, f64> = BTreeMap::new();
        // Two tokens may look the same; the likelier comes first.
        for one in token.top.iter().rev() {
            top.insert(text(one), one.logprob);
        }
        lists.top_logprobs.push(top);
    }
    (!tokens.is_empty()).then_some(lists)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::tests::stamp;

    fn answer(echo: Option<Vec<String>>) -> CompletionAnswer {
        CompletionAnswer::new(stamp(), false, echo, 2)
    }

    fn text(events: Vec<Vec<u8>>) -> String {
        String::from_utf8(events.concat()).unwrap()
    }

    #[test]
    fn a_stream_is_openais_events() {
        let start = r#"data: {"id":"cmpl-01890a5dac96774bbcceb302099a8057","object":"text_completion","created":5,"model":"m","choices":[{"text":"#;
        let rest = r#""system_fingerprint":"fp_0102030405"}"#;
        let mut answer = answer(None);
        assert_eq!(text(answer.begin()), "");
        let sent = text(answer.piece(1, Piece::Text { text: " a".into(), logprobs: Vec::new() }));
        assert_eq!(
            sent,
            format!("{start}\" a\",\"index\":1,\"logprobs\":null,\"finish_reason\":null}}],{rest}\n\n")
        );
        let sent = text(answer.finish(1, FinishReason::Length));
        assert_eq!(
            sent,
            format!("{start}\"\",\"index\":1,\"logprobs\":null,\"finish_reason\":\"length\"}}],{rest}\n\n")
        );
    }

    #[test]
    fn each_choice_repeats_its_own_prompt() {
        let mut answer = answer(Some(vec!["one".into(), "two".into()]));
        let choice = |text: &str| Choice { text: text.into(), ..Choice::default() };
        let whole = answer.whole(vec![choice("a"), choice("b"), choice("c"), choice("d")], &Used::default());
        let whole: serde_json::Value = serde_json::from_slice(&whole).unwrap();
        let texts: Vec<&str> = (0..4).map(|at| whole["choices"][at]["text"].as_str().unwrap()).collect();
        assert_eq!(texts, ["onea", "oneb", "twoc", "twod"]);
    }

    #[test]
    fn logprobs_are_lists_with_offsets_into_the_text() {
        let one = |text: &str| Alternative { bytes: text.as_bytes().to_vec(), logprob: -1.0 };
        let token = |text: &str| TokenLogprob { token: one(text), top: vec![one(text)] };
        let mut answer = answer(None);
        answer.piece(0, Piece::Text { text: "é".into(), logprobs: vec![token("é")] });
        let sent =
            text(answer.piece(0, Piece::Text { text: "ab".into(), logprobs: vec![token("a"), token("b")] }));
        let expected = r#""logprobs":{"tokens":["a","b"],"token_logprobs":[-1.0,-1.0],"top_logprobs":[{"a":-1.0},{"b":-1.0}],"text_offset":[1,2]}"#;
        assert!(sent.contains(expected), "{sent}");
    }
}
