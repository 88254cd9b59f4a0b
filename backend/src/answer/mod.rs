//! What leaves an endpoint, in OpenAI's JSON: whole, or as the events of a stream.

pub(crate) mod chat;
mod completions;
pub(crate) mod embeddings;
pub(crate) mod responses;

use cocoon_engine_api::TokenLogprob;
use cocoon_openapi::chat::FinishReason;
use cocoon_receipts::{RequestId, Usage};
use serde::Serialize;

use chat::{Calls, ChatAnswer};
use completions::CompletionAnswer;
use responses::{Echo, ResponseAnswer};

/// How an answer is written, as the request wants it.
#[derive(Debug)]
pub(crate) enum Form {
    Chat {
        include_usage: bool,
        calls: Calls,
    },
    Completion {
        include_usage: bool,
        /// The prompts, where they are to be repeated before their continuations.
        echo: Option<Vec<String>>,
        /// For each prompt.
        choices: usize,
    },
    Response(Box<Echo>),
}

/// What is the same in every part of one answer.
#[derive(Debug, Clone)]
pub(crate) struct Stamp {
    pub(crate) request: RequestId,
    /// Seconds since 1970.
    pub(crate) created: u64,
    pub(crate) model: String,
    pub(crate) fingerprint: String,
}

impl Stamp {
    /// OpenAI's ids are a prefix and letters and digits.
    fn id(&self, prefix: &str) -> String {
        format!("{prefix}{}", self.request.to_string().replace('-', ""))
    }
}

/// More of a choice.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Piece {
    Text {
        text: String,
        logprobs: Vec<TokenLogprob>,
    },
    /// A call begins.
    Call {
        id: String,
        name: String,
    },
    /// More of the arguments of the call that began last.
    Arguments(String),
}

/// A choice from its beginning to its end.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Choice {
    pub(crate) text: String,
    pub(crate) logprobs: Vec<TokenLogprob>,
    pub(crate) calls: Vec<Call>,
    pub(crate) finish: Option<FinishReason>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) id: String,
    pub(crate) name: String,
    /// JSON text.
    pub(crate) arguments: String,
}

impl Choice {
    pub(crate) fn take(&mut self, piece: Piece) {
        match piece {
            Piece::Text { text, logprobs } => {
                self.text += &text;
                self.logprobs.extend(logprobs);
            }
            Piece::Call { id, name } => self.calls.push(Call { id, name, arguments: String::new() }),
            Piece::Arguments(more) => {
                if let Some(call) = self.calls.last_mut() {
                    call.arguments += &more;
                }
            }
        }
    }
}

/// Writes one answer. Events are server-sent events with their blank lines.
pub(crate) trait Render: Send {
    /// Events before the first piece of any choice.
    fn begin(&mut self) -> Vec<Vec<u8>>;

    fn piece(&mut self, choice: usize, piece: Piece) -> Vec<Vec<u8>>;

    /// A choice ended.
    fn finish(&mut self, choice: usize, reason: FinishReason) -> Vec<Vec<u8>>;

    /// Length of an event with a text that is empty: what is longer in another is its text's.
    fn envelope(&self) -> usize;

    /// Events after the last choice.
    fn end(&mut self, usage: &Usage) -> Vec<Vec<u8>>;

    /// What ends the stream, behind the receipt.
    fn terminator(&self) -> &'static str {
        "data: [DONE]\n\n"
    }

    /// The unstreamed answer.
    fn whole(&mut self, choices: Vec<Choice>, usage: &Usage) -> Vec<u8>;
}

/// The renderer of a form, for so many choices in all.
pub(crate) fn renderer(form: Form, stamp: Stamp, choices: usize) -> Box<dyn Render> {
    match form {
        Form::Chat { include_usage, calls } => {
            Box::new(ChatAnswer::new(stamp, choices, include_usage, calls))
        }
        Form::Completion { include_usage, echo, choices } => {
            Box::new(CompletionAnswer::new(stamp, include_usage, echo, choices))
        }
        Form::Response(echo) => Box::new(ResponseAnswer::new(stamp, *echo)),
    }
}

/// Structs of strings, numbers and JSON always serialise.
fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// One server-sent event without a name.
fn event<T: Serialize>(value: &T) -> Vec<u8> {
    [b"data: ".as_slice(), &json(value), b"\n\n"].concat()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use super::*;

    pub(crate) fn stamp() -> Stamp {
        Stamp {
            request: "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap(),
            created: 5,
            model: "m".into(),
            fingerprint: "fp_0102030405".into(),
        }
    }

    /// What a request for a response without any options is answered with.
    pub(crate) fn echo() -> Echo {
        Echo {
            instructions: "null".into(),
            max_output_tokens: None,
            metadata: BTreeMap::new(),
            parallel_tool_calls: true,
            reasoning_effort: None,
            temperature: 1.0,
            text: r#"{"format":{"type":"text"}}"#.into(),
            tool_choice: r#""auto""#.into(),
            tools: "[]".into(),
            top_logprobs: 0,
            top_p: 1.0,
        }
    }

    /// One of every form.
    pub(crate) fn forms() -> Vec<Form> {
        vec![
            Form::Chat { include_usage: true, calls: Calls::Tools },
            Form::Completion { include_usage: false, echo: None, choices: 1 },
            Form::Response(Box::new(echo())),
        ]
    }
}
