//! Chat completions.

use cocoon_engine_api::{Alternative, TokenLogprob};
use cocoon_openapi::chat::{
    ChatCompletion, Choice as ChatChoice, Chunk, ChunkChoice, Delta, FinishReason, FunctionCall, Logprobs,
    Message, TokenLogprob as ChatTokenLogprob, ToolCall, ToolCallDelta, TopLogprob, Usage,
};
use cocoon_receipts::Usage as Used;

use super::{Call, Choice, Piece, Render, Stamp, event, json};

/// Under which name calls are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Calls {
    /// `tool_calls`.
    Tools,
    /// The older `function_call`.
    Function,
}

#[derive(Debug)]
pub(super) struct ChatAnswer {
    id: String,
    stamp: Stamp,
    include_usage: bool,
    calls: Calls,
    /// Calls that each choice has begun.
    begun: Vec<usize>,
}

impl ChatAnswer {
    pub(super) fn new(stamp: Stamp, choices: usize, include_usage: bool, calls: Calls) -> Self {
        Self { id: stamp.id("chatcmpl-"), stamp, include_usage, calls, begun: vec![0; choices] }
    }

    fn choice(&self, choice: usize, delta: Delta, logprobs: Option<Logprobs>) -> Vec<u8> {
        self.chunk(vec![ChunkChoice { index: choice as u32, delta, logprobs, finish_reason: None }], None)
    }

    fn chunk(&self, choices: Vec<ChunkChoice>, usage: Option<Usage>) -> Vec<u8> {
        event(&Chunk {
            id: self.id.clone(),
            object: "chat.completion.chunk".to_owned(),
            created: self.stamp.created,
            model: self.stamp.model.clone(),
            system_fingerprint: self.stamp.fingerprint.clone(),
            choices,
            usage: self.include_usage.then_some(usage),
        })
    }

    fn message(&self, choice: Choice) -> ChatChoice {
        let finish_reason = self.reason(choice.finish.unwrap_or(FinishReason::Stop));
        let logprobs = logprobs(&choice.logprobs);
        let function = |call: Call| FunctionCall { name: Some(call.name), arguments: call.arguments };
        let has_calls = !choice.calls.is_empty();
        let (mut tool_calls, mut function_call) = (None, None);
        match self.calls {
            _ if !has_calls => {}
            Calls::Function => function_call = choice.calls.into_iter().next().map(function),
            Calls::Tools => {
                let call = |call: Call| ToolCall {
                    id: call.id.clone(),
                    kind: "function".to_owned(),
                    function: function(call),
                };
                tool_calls = Some(choice.calls.into_iter().map(call).collect());
            }
        }
        let message = Message {
            role: "assistant".to_owned(),
            content: (!has_calls || !choice.text.is_empty()).then_some(choice.text),
            refusal: None,
            tool_calls,
            function_call,
        };
        ChatChoice { index: 0, message, logprobs, finish_reason }
    }

    fn reason(&self, reason: FinishReason) -> FinishReason {
        match (reason, self.calls) {
            (FinishReason::ToolCalls, Calls::Function) => FinishReason::FunctionCall,
            (reason, _) => reason,
        }
    }
}

impl Render for ChatAnswer {
    /// A role for every choice, and no text yet.
    fn begin(&mut self) -> Vec<Vec<u8>> {
        let role = |choice| {
            let role = Some("assistant".to_owned());
            let delta = Delta { role, content: Some(String::new()), refusal: Some(None), ..Delta::default() };
            self.choice(choice, delta, None)
        };
        (0..self.begun.len()).map(role).collect()
    }

    fn piece(&mut self, choice: usize, piece: Piece) -> Vec<Vec<u8>> {
        let (mut delta, mut probabilities) = (Delta::default(), None);
        match piece {
            Piece::Text { text, logprobs: tokens } => {
                if text.is_empty() && tokens.is_empty() {
                    return Vec::new();
                }
                delta.content = Some(text);
                probabilities = logprobs(&tokens);
            }
            Piece::Call { id, name } => {
                if let Some(begun) = self.begun.get_mut(choice) {
                    *begun += 1;
                }
                let function = FunctionCall { name: Some(name), arguments: String::new() };
                self.called(choice, &mut delta, Some(id), function);
            }
            Piece::Arguments(arguments) => {
                self.called(choice, &mut delta, None, FunctionCall { name: None, arguments });
            }
        }
        vec![self.choice(choice, delta, probabilities)]
    }

    fn finish(&mut self, choice: usize, reason: FinishReason) -> Vec<Vec<u8>> {
        let last = ChunkChoice {
            index: choice as u32,
            delta: Delta::default(),
            logprobs: None,
            finish_reason: Some(self.reason(reason)),
        };
        vec![self.chunk(vec![last], None)]
    }

    fn envelope(&self) -> usize {
        self.choice(0, Delta { content: Some(String::new()), ..Delta::default() }, None).len()
    }

    /// The event with the usage, where it was asked for.
    fn end(&mut self, usage: &Used) -> Vec<Vec<u8>> {
        let usage = Usage::new(usage.prompt, usage.completion);
        self.include_usage.then(|| self.chunk(Vec::new(), Some(usage))).into_iter().collect()
    }

    fn whole(&mut self, choices: Vec<Choice>, usage: &Used) -> Vec<u8> {
        let choice = |(at, choice)| ChatChoice { index: at as u32, ..self.message(choice) };
        json(&ChatCompletion {
            id: self.id.clone(),
            object: "chat.completion".to_owned(),
            created: self.stamp.created,
            model: self.stamp.model.clone(),
            choices: choices.into_iter().enumerate().map(choice).collect(),
            usage: Usage::new(usage.prompt, usage.completion),
            system_fingerprint: self.stamp.fingerprint.clone(),
        })
    }
}

impl ChatAnswer {
    fn called(&self, choice: usize, delta: &mut Delta, id: Option<String>, function: FunctionCall) {
        match self.calls {
            Calls::Function => delta.function_call = Some(function),
            Calls::Tools => {
                let index = self.begun.get(choice).copied().unwrap_or(1).saturating_sub(1) as u32;
                let kind = id.is_some().then(|| "function".to_owned());
                delta.tool_calls = Some(vec![ToolCallDelta { index, id, kind, function }]);
            }
        }
    }
}

/// None where there are none: they were not asked for, or the text has no token of its own.
pub(super) fn logprobs(tokens: &[TokenLogprob]) -> Option<Logprobs> {
    let content: Vec<ChatTokenLogprob> = tokens.iter().map(token_logprob).collect();
    (!content.is_empty()).then_some(Logprobs { content, refusal: None })
}

/// OpenAI's shape of a token's probability, the same in chat and responses.
pub(super) fn token_logprob(token: &TokenLogprob) -> ChatTokenLogprob {
    let text = |one: &Alternative| String::from_utf8_lossy(&one.bytes).into_owned();
    let top =
        |one: &Alternative| TopLogprob { token: text(one), logprob: one.logprob, bytes: one.bytes.clone() };
    ChatTokenLogprob {
        token: text(&token.token),
        logprob: token.token.logprob,
        bytes: token.token.bytes.clone(),
        top_logprobs: token.top.iter().map(top).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::tests::stamp;

    fn answer(include_usage: bool, calls: Calls) -> ChatAnswer {
        ChatAnswer::new(stamp(), 1, include_usage, calls)
    }

    fn text(events: Vec<Vec<u8>>) -> String {
        String::from_utf8(events.concat()).unwrap()
    }

    fn plain(text: &str) -> Piece {
        Piece::Text { text: text.into(), logprobs: Vec::new() }
    }

    const START: &str = r#"data: {"id":"chatcmpl-01890a5dac96774bbcceb302099a8057","object":"chat.completion.chunk","created":5,"model":"m","system_fingerprint":"fp_0102030405","choices":"#;

    #[test]
    fn a_stream_is_openais_events() {
        let mut answer = answer(false, Calls::Tools);
        let role = r#"[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}]}"#;
        assert_eq!(text(answer.begin()), format!("{START}{role}\n\n"));
        let delta = r#"[{"index":0,"delta":{"content":"a\n"},"logprobs":null,"finish_reason":null}]}"#;
        assert_eq!(text(answer.piece(0, plain("a\n"))), format!("{START}{delta}\n\n"));
        assert_eq!(text(answer.piece(0, plain(""))), "");
        let last = r#"[{"index":0,"delta":{},"logprobs":null,"finish_reason":"length"}]}"#;
        assert_eq!(text(answer.finish(0, FinishReason::Length)), format!("{START}{last}\n\n"));
        assert_eq!(text(answer.end(&Used::default())), "");
    }

    #[test]
    fn calls_are_deltas_with_their_index() {
        let mut answer = answer(false, Calls::Tools);
        let mut sent = answer.piece(0, Piece::Call { id: "call_1".into(), name: "f".into() });
        sent.extend(answer.piece(0, Piece::Arguments("{}".into())));
        sent.extend(answer.piece(0, Piece::Call { id: "call_2".into(), name: "g".into() }));
        let expected = [
            r#"[{"index":0,"id":"call_1","type":"function","function":{"name":"f","arguments":""}}]"#,
            r#"[{"index":0,"function":{"arguments":"{}"}}]"#,
            r#"[{"index":1,"id":"call_2","type":"function","function":{"name":"g","arguments":""}}]"#,
        ];
        for (event, calls) in sent.into_iter().zip(expected) {
            let event = text(vec![event]);
            assert!(event.contains(&format!(r#""delta":{{"tool_calls":{calls}}}"#)), "{event}");
        }
    }

    #[test]
    fn the_older_function_call_is_told_by_its_older_name() {
        let mut answer = answer(false, Calls::Function);
        let event = text(answer.piece(0, Piece::Call { id: "call_1".into(), name: "f".into() }));
        assert!(event.contains(r#""delta":{"function_call":{"name":"f","arguments":""}}"#), "{event}");
        assert!(
            text(answer.finish(0, FinishReason::ToolCalls)).contains(r#""finish_reason":"function_call""#)
        );
        let call = Call { id: "call_1".into(), name: "f".into(), arguments: "{}".into() };
        let choice = Choice { calls: vec![call], finish: Some(FinishReason::ToolCalls), ..Choice::default() };
        let whole = text(vec![answer.whole(vec![choice], &Used::default())]);
        let message = r#""message":{"role":"assistant","content":null,"refusal":null,"function_call":{"name":"f","arguments":"{}"}},"logprobs":null,"finish_reason":"function_call""#;
        assert!(whole.contains(message), "{whole}");
    }

    #[test]
    fn usage_is_null_until_the_last_event_where_it_was_asked_for() {
        let mut answer = answer(true, Calls::Tools);
        assert!(text(answer.piece(0, plain("a"))).ends_with(",\"usage\":null}\n\n"));
        let usage = text(answer.end(&Used { prompt: 3, completion: 4, ..Used::default() }));
        assert!(
            usage.contains(
                r#""choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7,"#
            )
        );
    }

    #[test]
    fn an_unstreamed_answer_is_one_object() {
        let choice = Choice { text: "hi".into(), finish: Some(FinishReason::Stop), ..Choice::default() };
        let usage = Used { prompt: 3, completion: 4, ..Used::default() };
        let json = text(vec![answer(false, Calls::Tools).whole(vec![choice], &usage)]);
        let start = r#"{"id":"chatcmpl-01890a5dac96774bbcceb302099a8057","object":"chat.completion","created":5,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"#;
        assert!(json.starts_with(start), "{json}");
        assert!(json.ends_with(r#""system_fingerprint":"fp_0102030405"}"#), "{json}");
    }

    #[test]
    fn logprobs_are_tokens_with_their_bytes() {
        let token = Alternative { bytes: vec![0xc3], logprob: -0.5 };
        let logprobs = vec![TokenLogprob { token: token.clone(), top: vec![token] }];
        let event = text(answer(false, Calls::Tools).piece(0, Piece::Text { text: "é".into(), logprobs }));
        let expected = r#""logprobs":{"content":[{"token":"�","logprob":-0.5,"bytes":[195],"top_logprobs":[{"token":"�","logprob":-0.5,"bytes":[195]}]}],"refusal":null}"#;
        assert!(event.contains(expected), "{event}");
    }
}
