//! Responses.

use std::collections::BTreeMap;

use cocoon_openapi::chat::FinishReason;
use cocoon_openapi::responses::{
    IncompleteDetails, InputTokensDetails, Item, Numbered, OutputTokensDetails, Part, Reasoning, Response,
    ResponseEvent, ResponseUsage, Status,
};
use cocoon_receipts::Usage as Used;
use serde_json::value::RawValue;

use super::chat::token_logprob;
use super::{Call, Choice, Piece, Render, Stamp, json};

/// What the request said of its answer; texts are JSON, as the caller wrote them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Echo {
    pub(crate) instructions: String,
    pub(crate) max_output_tokens: Option<u64>,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) parallel_tool_calls: bool,
    pub(crate) reasoning_effort: Option<String>,
    pub(crate) temperature: f64,
    pub(crate) text: String,
    pub(crate) tool_choice: String,
    pub(crate) tools: String,
    pub(crate) top_logprobs: u8,
    pub(crate) top_p: f64,
}

#[derive(Debug)]
pub(super) struct ResponseAnswer {
    stamp: Stamp,
    echo: Echo,
    /// Number of the next event.
    number: u64,
    /// The answer so far.
    choice: Choice,
    /// Items that are whole.
    done: Vec<Item>,
    /// The item that grows.
    open: Option<Open>,
}

/// Which item grows. Its content is the last of [`ResponseAnswer::choice`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Text,
    Call,
}

impl ResponseAnswer {
    pub(super) fn new(stamp: Stamp, echo: Echo) -> Self {
        Self { stamp, echo, number: 0, choice: Choice::default(), done: Vec::new(), open: None }
    }

    fn response(&self, status: Status, output: Vec<Item>, usage: Option<&Used>) -> Box<Response> {
        let echo = &self.echo;
        let incomplete = (status == Status::Incomplete)
            .then(|| IncompleteDetails { reason: "max_output_tokens".to_owned() });
        Box::new(Response {
            id: self.stamp.id("resp_"),
            object: "response".to_owned(),
            created_at: self.stamp.created,
            status,
            background: false,
            error: None,
            incomplete_details: incomplete,
            instructions: raw(&echo.instructions),
            max_output_tokens: echo.max_output_tokens,
            metadata: echo.metadata.clone(),
            model: self.stamp.model.clone(),
            output,
            parallel_tool_calls: echo.parallel_tool_calls,
            previous_response_id: None,
            reasoning: Reasoning { effort: echo.reasoning_effort.clone(), summary: None },
            service_tier: "default".to_owned(),
            store: false,
            temperature: echo.temperature,
            text: raw(&echo.text).unwrap_or_default(),
            tool_choice: raw(&echo.tool_choice).unwrap_or_default(),
            tools: raw(&echo.tools).unwrap_or_default(),
            top_logprobs: echo.top_logprobs,
            top_p: echo.top_p,
            truncation: "disabled".to_owned(),
            usage: usage.map(|usage| ResponseUsage {
                input_tokens: usage.prompt,
                input_tokens_details: InputTokensDetails::default(),
                output_tokens: usage.completion,
                output_tokens_details: OutputTokensDetails::default(),
                total_tokens: usage.prompt.saturating_add(usage.completion),
            }),
        })
    }

    fn event(&mut self, event: ResponseEvent) -> Vec<u8> {
        self.number += 1;
        written(self.number - 1, event)
    }

    fn item_id(&self, prefix: &str, at: usize) -> String {
        format!("{}{at:x}", self.stamp.id(prefix))
    }

    fn message(&self, at: usize, choice: &Choice, status: Status) -> Item {
        let part = text_part(choice);
        Item::Message {
            id: self.item_id("msg_", at),
            status,
            role: "assistant".to_owned(),
            content: vec![part],
        }
    }

    fn call(&self, at: usize, call: &Call, status: Status) -> Item {
        Item::FunctionCall {
            id: self.item_id("fc_", at),
            status,
            call_id: call.id.clone(),
            name: call.name.clone(),
            arguments: call.arguments.clone(),
        }
    }

    /// Ends the item that grows.
    fn close(&mut self, status: Status, events: &mut Vec<Vec<u8>>) {
        let Some(open) = self.open.take() else { return };
        let output_index = self.done.len();
        let item = match open {
            Open::Text => {
                let item_id = self.item_id("msg_", output_index);
                let part = text_part(&self.choice);
                let Part::OutputText { text, logprobs, .. } = part.clone();
                let done = ResponseEvent::TextDone {
                    item_id: item_id.clone(),
                    output_index,
                    content_index: 0,
                    text,
                    logprobs,
                };
                events.push(self.event(done));
                events.push(self.event(ResponseEvent::PartDone {
                    item_id,
                    output_index,
                    content_index: 0,
                    part,
                }));
                let item = self.message(output_index, &self.choice, status);
                // A text after a call would be another item.
                self.choice.text.clear();
                self.choice.logprobs.clear();
                item
            }
            Open::Call => {
                let Some(call) = self.choice.calls.last().cloned() else { return };
                let done = ResponseEvent::ArgumentsDone {
                    item_id: self.item_id("fc_", output_index),
                    output_index,
                    name: call.name.clone(),
                    arguments: call.arguments.clone(),
                };
                events.push(self.event(done));
                self.call(output_index, &call, status)
            }
        };
        events.push(self.event(ResponseEvent::ItemDone { output_index, item: item.clone() }));
        self.done.push(item);
    }

    fn open_text(&mut self, events: &mut Vec<Vec<u8>>) {
        if self.open == Some(Open::Text) {
            return;
        }
        self.close(Status::Completed, events);
        self.open = Some(Open::Text);
        let output_index = self.done.len();
        let item_id = self.item_id("msg_", output_index);
        let item = Item::Message {
            id: item_id.clone(),
            status: Status::InProgress,
            role: "assistant".to_owned(),
            content: Vec::new(),
        };
        events.push(self.event(ResponseEvent::ItemAdded { output_index, item }));
        let part = text_part(&Choice::default());
        events.push(self.event(ResponseEvent::PartAdded { item_id, output_index, content_index: 0, part }));
    }
}

impl Render for ResponseAnswer {
    fn begin(&mut self) -> Vec<Vec<u8>> {
        let response = self.response(Status::InProgress, Vec::new(), None);
        let created = self.event(ResponseEvent::Created { response: response.clone() });
        vec![created, self.event(ResponseEvent::InProgress { response })]
    }

    fn piece(&mut self, _choice: usize, piece: Piece) -> Vec<Vec<u8>> {
        let mut events = Vec::new();
        match &piece {
            Piece::Text { text, .. } if text.is_empty() => return events,
            Piece::Text { text, logprobs } => {
                self.open_text(&mut events);
                let output_index = self.done.len();
                let delta = ResponseEvent::TextDelta {
                    item_id: self.item_id("msg_", output_index),
                    output_index,
                    content_index: 0,
                    delta: text.clone(),
                    logprobs: logprobs.iter().map(token_logprob).collect(),
                };
                events.push(self.event(delta));
            }
            Piece::Call { id, name } => {
                self.close(Status::Completed, &mut events);
                self.open = Some(Open::Call);
                let output_index = self.done.len();
                let call = Call { id: id.clone(), name: name.clone(), arguments: String::new() };
                let item = self.call(output_index, &call, Status::InProgress);
                events.push(self.event(ResponseEvent::ItemAdded { output_index, item }));
            }
            Piece::Arguments(delta) => {
                let output_index = self.done.len();
                let delta = ResponseEvent::ArgumentsDelta {
                    item_id: self.item_id("fc_", output_index),
                    output_index,
                    delta: delta.clone(),
                };
                events.push(self.event(delta));
            }
        }
        self.choice.take(piece);
        events
    }

    fn finish(&mut self, _choice: usize, reason: FinishReason) -> Vec<Vec<u8>> {
        let mut events = Vec::new();
        if self.done.is_empty() && self.open.is_none() {
            // An answer without a word is an empty message.
            self.open_text(&mut events);
        }
        self.choice.finish = Some(reason);
        self.close(status(Some(reason)), &mut events);
        events
    }

    fn envelope(&self) -> usize {
        let output_index = self.done.len();
        let delta = ResponseEvent::TextDelta {
            item_id: self.item_id("msg_", output_index),
            output_index,
            content_index: 0,
            delta: String::new(),
            logprobs: Vec::new(),
        };
        // That of the event before, whose number may have fewer digits than the next.
        written(self.number.saturating_sub(1), delta).len()
    }

    fn end(&mut self, usage: &Used) -> Vec<Vec<u8>> {
        let status = status(self.choice.finish);
        let response = self.response(status, self.done.clone(), Some(usage));
        vec![match status {
            Status::Incomplete => self.event(ResponseEvent::Incomplete { response }),
            Status::Completed | Status::InProgress => self.event(ResponseEvent::Completed { response }),
        }]
    }

    /// OpenAI's streams of responses end with their last event.
    fn terminator(&self) -> &'static str {
        ""
    }

    fn whole(&mut self, choices: Vec<Choice>, usage: &Used) -> Vec<u8> {
        let choice = choices.into_iter().next().unwrap_or_default();
        let status = status(choice.finish);
        let mut output = Vec::new();
        if !choice.text.is_empty() || choice.calls.is_empty() {
            output.push(self.message(
                0,
                &choice,
                if choice.calls.is_empty() { status } else { Status::Completed },
            ));
        }
        for call in &choice.calls {
            output.push(self.call(output.len(), call, status));
        }
        json(&*self.response(status, output, Some(usage)))
    }
}

fn written(sequence_number: u64, event: ResponseEvent) -> Vec<u8> {
    let name = event.name();
    let numbered = Numbered { sequence_number, event };
    [b"event: ".as_slice(), name.as_bytes(), b"\ndata: ", &json(&numbered), b"\n\n"].concat()
}

fn status(reason: Option<FinishReason>) -> Status {
    if reason == Some(FinishReason::Length) { Status::Incomplete } else { Status::Completed }
}

fn text_part(choice: &Choice) -> Part {
    Part::OutputText {
        text: choice.text.clone(),
        annotations: Vec::new(),
        logprobs: choice.logprobs.iter().map(token_logprob).collect(),
    }
}

/// It was read from a request, so it is JSON.
fn raw(json: &str) -> Option<Box<RawValue>> {
    RawValue::from_string(json.to_owned()).ok().filter(|value| value.get() != "null")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::answer::tests::{echo, stamp};

    fn answer() -> ResponseAnswer {
        ResponseAnswer::new(stamp(), echo())
    }

    fn text(text: &str) -> Piece {
        Piece::Text { text: text.into(), logprobs: Vec::new() }
    }

    /// Names and data of events; each data's type is its name, and its number is its place.
    fn read(events: Vec<Vec<u8>>) -> Vec<(String, Value)> {
        let read = |event: Vec<u8>| {
            let event = String::from_utf8(event).unwrap();
            let (name, data) = event.strip_prefix("event: ").unwrap().split_once("\ndata: ").unwrap();
            let data: Value = serde_json::from_str(data.strip_suffix("\n\n").unwrap()).unwrap();
            assert_eq!(data["type"], name);
            (name.to_owned(), data)
        };
        let events: Vec<_> = events.into_iter().map(read).collect();
        for (at, (_, data)) in events.iter().enumerate() {
            assert_eq!(data["sequence_number"], at);
        }
        events
    }

    #[test]
    fn a_text_and_a_call_are_two_items_streamed_and_whole_alike() {
        let mut streamed = answer();
        let usage = Used { prompt: 3, completion: 4, ..Used::default() };
        let mut events = streamed.begin();
        let pieces = [
            text("Hel"),
            text("lo"),
            Piece::Call { id: "call_1".into(), name: "f".into() },
            Piece::Arguments("{\"x\"".into()),
            Piece::Arguments(":1}".into()),
        ];
        let mut choice = Choice { finish: Some(FinishReason::ToolCalls), ..Choice::default() };
        for piece in pieces {
            choice.take(piece.clone());
            events.extend(streamed.piece(0, piece));
        }
        events.extend(streamed.finish(0, FinishReason::ToolCalls));
        events.extend(streamed.end(&usage));
        let events = read(events);
        let names: Vec<&str> =
            events.iter().map(|(name, _)| name.strip_prefix("response.").unwrap()).collect();
        let expected = [
            "created",
            "in_progress",
            "output_item.added",
            "content_part.added",
            "output_text.delta",
            "output_text.delta",
            "output_text.done",
            "content_part.done",
            "output_item.done",
            "output_item.added",
            "function_call_arguments.delta",
            "function_call_arguments.delta",
            "function_call_arguments.done",
            "output_item.done",
            "completed",
        ];
        assert_eq!(names, expected);
        assert_eq!(events[6].1["text"], "Hello");
        assert_eq!(events[12].1["arguments"], "{\"x\":1}");
        let whole: Value = serde_json::from_slice(&answer().whole(vec![choice], &usage)).unwrap();
        assert_eq!(events[14].1["response"], whole);
        assert_eq!((&whole["status"], &whole["usage"]["total_tokens"]), (&"completed".into(), &7.into()));
        assert_eq!(whole["output"][1]["call_id"], "call_1");
    }

    #[test]
    fn an_answer_that_was_cut_is_incomplete() {
        let mut streamed = answer();
        let mut events = streamed.begin();
        events.extend(streamed.piece(0, text("cut")));
        events.extend(streamed.finish(0, FinishReason::Length));
        events.extend(streamed.end(&Used::default()));
        let events = read(events);
        let (name, last) = events.last().unwrap();
        assert_eq!(name, "response.incomplete");
        assert_eq!(last["response"]["incomplete_details"]["reason"], "max_output_tokens");
        assert_eq!(last["response"]["output"][0]["status"], "incomplete");
    }

    #[test]
    fn an_answer_without_a_word_is_an_empty_message() {
        let mut streamed = answer();
        let mut events = streamed.begin();
        events.extend(streamed.finish(0, FinishReason::Stop));
        events.extend(streamed.end(&Used::default()));
        let events = read(events);
        assert_eq!(events.last().unwrap().1["response"]["output"][0]["content"][0]["text"], "");
    }
}
