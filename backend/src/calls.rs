//! Functions a model may call, as text: how they are described to it, and how its calls are found in what it writes.
//!
//! Calls stand between `<tool_call>` and `</tool_call>`, results between `<tool_response>` and `</tool_response>`, as the
//! Hermes and Qwen families were trained on. Every model gets them so, because few chat templates know tools at all.

use cocoon_engine_api::{Chat, Effort, Message};
use serde::Deserialize;
use serde_json::value::RawValue;

const OPEN: &str = "<tool_call>";
const CLOSE: &str = "</tool_call>";

/// A function that is offered to the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offered {
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    /// JSON Schema, as the caller wrote it.
    pub(crate) parameters: Option<String>,
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Turn {
    System(String),
    User(String),
    Assistant {
        text: String,
        calls: Vec<Past>,
    },
    /// What a function gave back.
    Result(String),
}

/// A call of an earlier turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Past {
    pub(crate) name: String,
    /// JSON text, as the model wrote it.
    pub(crate) arguments: String,
}

/// The conversation as the model reads it.
pub(crate) fn chat(turns: Vec<Turn>, offered: &[Offered], effort: Option<Effort>) -> Chat {
    let message = |role: &str, content: String| Message { role: role.to_owned(), content };
    let mut messages: Vec<Message> = Vec::with_capacity(turns.len() + 1);
    let mut after_result = false;
    for turn in turns {
        let result = matches!(turn, Turn::Result(_));
        match turn {
            Turn::System(text) => messages.push(message("system", text)),
            Turn::User(text) => messages.push(message("user", text)),
            Turn::Assistant { text, calls } => messages.push(message("assistant", assistant(text, &calls))),
            Turn::Result(text) => {
                let text = format!("<tool_response>\n{text}\n</tool_response>");
                // Results of one turn are one message.
                match messages.last_mut().filter(|_| after_result) {
                    Some(last) => last.content = format!("{}\n{text}", last.content),
                    None => messages.push(message("user", text)),
                }
            }
        }
        after_result = result;
    }
    if !offered.is_empty() {
        let description = describe(offered);
        match messages.first_mut().filter(|first| first.role == "system") {
            Some(first) => first.content = format!("{}\n\n{description}", first.content),
            None => messages.insert(0, message("system", description)),
        }
    }
    Chat { messages, effort }
}

fn assistant(mut text: String, calls: &[Past]) -> String {
    for Past { name, arguments } in calls {
        if !text.is_empty() {
            text.push('\n');
        }
        text += &format!("{OPEN}\n{{\"name\": {}, \"arguments\": {arguments}}}\n{CLOSE}", json(name));
    }
    text
}

fn describe(offered: &[Offered]) -> String {
    let mut text = String::from("You can call these functions, one JSON description per line:\n<tools>\n");
    for Offered { name, description, parameters } in offered {
        text += &format!("{{\"type\": \"function\", \"function\": {{\"name\": {}", json(name));
        if let Some(description) = description {
            text += &format!(", \"description\": {}", json(description));
        }
        if let Some(parameters) = parameters {
            text += &format!(", \"parameters\": {parameters}");
        }
        text += "}}\n";
    }
    text += "</tools>\nTo call one, write its name and arguments as JSON:\n";
    text += &format!("{OPEN}\n{{\"name\": \"…\", \"arguments\": {{…}}}}\n{CLOSE}");
    text
}

fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// How calls are found in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CallRule {
    /// The text may have calls of these functions in it, several of them or one.
    Auto { names: Vec<String>, parallel: bool },
    /// By its grammar the text is one call. `named` is whether the caller said of what.
    Forced { named: bool },
}

/// What a text turns out to be, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    Text(String),
    /// A call begins.
    Call {
        name: String,
    },
    /// More of the arguments of the call that began last.
    Arguments(String),
}

/// Finds the calls in a text that comes in pieces.
#[derive(Debug)]
pub(crate) struct CallFinder {
    rule: CallRule,
    /// What cannot be told yet.
    held: String,
    state: State,
    calls: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing but white space so far.
    Start,
    Text,
    /// Between the tags.
    Call,
    /// The whole text may be a call without tags.
    Bare,
    /// Of a forced call.
    Arguments,
}

impl CallFinder {
    pub(crate) fn new(rule: CallRule) -> Self {
        Self { rule, held: String::new(), state: State::Start, calls: 0 }
    }

    /// Calls found so far.
    pub(crate) fn calls(&self) -> usize {
        self.calls
    }

    pub(crate) fn push(&mut self, text: &str) -> Vec<Found> {
        self.held += text;
        let mut found = Vec::new();
        match self.rule {
            CallRule::Forced { .. } => self.forced(&mut found),
            CallRule::Auto { .. } => while self.step(&mut found) {},
        }
        found
    }

    /// What was held back, now that nothing follows.
    pub(crate) fn finish(&mut self) -> Vec<Found> {
        let mut found = Vec::new();
        let held = std::mem::take(&mut self.held);
        match self.state {
            // The brace that closes the call, if the text came that far.
            State::Arguments => push_arguments(&mut found, held.strip_suffix('}').unwrap_or(&held)),
            State::Call | State::Bare => self.call(&held, &mut found),
            State::Start | State::Text => push_text(&mut found, &held),
        }
        found
    }

    /// `{"name": "…", "arguments": …}`, exactly so by the grammar: the arguments are handed on as they come.
    fn forced(&mut self, found: &mut Vec<Found>) {
        const BEFORE: &str = "{\"name\": ";
        const BETWEEN: &str = ", \"arguments\": ";
        if self.state != State::Arguments {
            let Some((name, arguments)) = self.held.split_once(BETWEEN) else { return };
            let Some(name) = name.strip_prefix(BEFORE).and_then(|name| serde_json::from_str(name).ok())
            else {
                return;
            };
            found.push(Found::Call { name });
            self.calls += 1;
            self.held = arguments.to_owned();
            self.state = State::Arguments;
        }
        // The last brace may be the call's own.
        let ready = self.held.strip_suffix('}').unwrap_or(&self.held).len();
        let held = self.held.split_off(ready);
        push_arguments(found, &std::mem::replace(&mut self.held, held));
    }

    /// Whether there may be more to find in what is held.
    fn step(&mut self, found: &mut Vec<Found>) -> bool {
        match self.state {
            State::Start => {
                self.state = match self.held.trim_start().bytes().next() {
                    None => return false,
                    Some(b'{') => State::Bare,
                    Some(_) => State::Text,
                };
                true
            }
            State::Text => match self.held.find(OPEN) {
                Some(at) => {
                    let after = self.held.split_off(at + OPEN.len());
                    push_text(found, self.held[..at].trim_end());
                    self.held = after;
                    self.state = State::Call;
                    true
                }
                None => {
                    let sure = self.held.len() - partial(&self.held, OPEN);
                    // White space before a tag is part of neither.
                    let sure = self.held[..sure].trim_end().len();
                    let held = self.held.split_off(sure);
                    push_text(found, &std::mem::replace(&mut self.held, held));
                    false
                }
            },
            State::Call => match self.held.find(CLOSE) {
                Some(at) => {
                    let after = self.held.split_off(at + CLOSE.len());
                    let inside = self.held[..at].to_owned();
                    self.call(&inside, found);
                    self.held = after;
                    self.state = State::Text;
                    true
                }
                None => false,
            },
            State::Bare | State::Arguments => false,
        }
    }

    /// `text` as a call, or as the text it then is.
    fn call(&mut self, text: &str, found: &mut Vec<Found>) {
        #[derive(Deserialize)]
        struct Call<'a> {
            name: String,
            #[serde(borrow, alias = "parameters")]
            arguments: Option<&'a RawValue>,
        }
        let CallRule::Auto { names, parallel } = &self.rule else { return };
        let call: Option<Call<'_>> = serde_json::from_str(text.trim()).ok();
        match call.filter(|call| names.contains(&call.name)) {
            // Only one was wanted.
            Some(_) if !parallel && self.calls > 0 => {}
            Some(call) => {
                let arguments = call.arguments.map_or("{}", RawValue::get);
                // Some models write them as a text of JSON.
                let arguments =
                    serde_json::from_str::<String>(arguments).unwrap_or_else(|_| arguments.to_owned());
                found.push(Found::Call { name: call.name });
                push_arguments(found, &arguments);
                self.calls += 1;
            }
            None if self.state == State::Call => push_text(found, &format!("{OPEN}{text}")),
            None => push_text(found, text),
        }
    }
}

fn push_text(found: &mut Vec<Found>, text: &str) {
    if !text.is_empty() {
        found.push(Found::Text(text.to_owned()));
    }
}

fn push_arguments(found: &mut Vec<Found>, text: &str) {
    if !text.is_empty() {
        found.push(Found::Arguments(text.to_owned()));
    }
}

/// Length of the longest end of `text` that `pattern` begins with.
fn partial(text: &str, pattern: &str) -> usize {
    let longest = pattern.len().min(text.len());
    (1..=longest).rev().find(|length| text.as_bytes().ends_with(&pattern.as_bytes()[..*length])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auto(parallel: bool) -> CallRule {
        CallRule::Auto { names: vec!["f".into(), "g".into()], parallel }
    }

    /// Texts and calls of `text`, cut into pieces of `size` characters, neighbours put together.
    fn found(rule: &CallRule, text: &str, size: usize) -> Vec<Found> {
        let mut finder = CallFinder::new(rule.clone());
        let characters: Vec<char> = text.chars().collect();
        let mut all: Vec<Found> = characters
            .chunks(size)
            .flat_map(|piece| finder.push(&piece.iter().collect::<String>()))
            .collect();
        all.extend(finder.finish());
        let mut joined: Vec<Found> = Vec::new();
        for one in all {
            match (joined.last_mut(), one) {
                (Some(Found::Text(text)), Found::Text(more)) => *text += &more,
                (Some(Found::Arguments(text)), Found::Arguments(more)) => *text += &more,
                (_, one) => joined.push(one),
            }
        }
        joined
    }

    fn text(text: &str) -> Found {
        Found::Text(text.to_owned())
    }

    fn call(name: &str, arguments: &str) -> [Found; 2] {
        [Found::Call { name: name.to_owned() }, Found::Arguments(arguments.to_owned())]
    }

    #[test]
    fn calls_are_found_however_the_text_is_cut() {
        let [f, a] = call("f", r#"{"x": 1}"#);
        let [g, b] = call("g", "{}");
        let cases = [
            ("no call at all", vec![text("no call at all")]),
            ("a < b <tool> é", vec![text("a < b <tool> é")]),
            (
                "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": 1}}\n</tool_call>",
                vec![f.clone(), a.clone()],
            ),
            (
                "Let me see.\n<tool_call>{\"name\":\"f\",\"arguments\":{\"x\": 1}}</tool_call>\n<tool_call>{\"name\":\"g\"}</tool_call>",
                vec![text("Let me see."), f.clone(), a.clone(), g.clone(), b.clone()],
            ),
            ("<tool_call>{\"name\":\"f\",\"parameters\":{\"x\": 1}}", vec![f.clone(), a.clone()]),
            (" {\"name\": \"f\", \"arguments\": \"{\\\"x\\\": 1}\"}", vec![f, a]),
            (
                "{\"name\": \"unknown\", \"arguments\": {}}",
                vec![text("{\"name\": \"unknown\", \"arguments\": {}}")],
            ),
            ("<tool_call>not json</tool_call>", vec![text("<tool_call>not json")]),
            ("ends with <tool_c", vec![text("ends with <tool_c")]),
        ];
        for (whole, expected) in cases {
            for size in 1..=whole.chars().count() {
                assert_eq!(found(&auto(true), whole, size), expected, "{whole} in pieces of {size}");
            }
        }
    }

    #[test]
    fn only_the_first_call_counts_where_one_is_wanted() {
        let whole = "<tool_call>{\"name\":\"f\"}</tool_call><tool_call>{\"name\":\"g\"}</tool_call>";
        assert_eq!(found(&auto(false), whole, 4), call("f", "{}"));
    }

    #[test]
    fn text_is_not_held_back_for_longer_than_it_must() {
        let mut finder = CallFinder::new(auto(true));
        assert_eq!(finder.push("Hello <"), [text("Hello")]);
        assert_eq!(finder.push("b"), [text(" <b")]);
    }

    #[test]
    fn a_forced_call_is_handed_on_as_it_comes_and_cut_where_the_model_was() {
        let rule = CallRule::Forced { named: true };
        let whole = r#"{"name": "f", "arguments": {"x": {"y": "}"}}}"#;
        for size in 1..whole.len() {
            assert_eq!(found(&rule, whole, size), call("f", r#"{"x": {"y": "}"}}"#), "{size}");
        }
        let cut = r#"{"name": "f", "arguments": {"x": {"y": "#;
        assert_eq!(found(&rule, cut, 3), call("f", r#"{"x": {"y": "#));
        assert_eq!(found(&rule, r#"{"na"#, 2), [text(r#"{"na"#)]);
    }

    #[test]
    fn a_conversation_with_calls_is_told_in_text() {
        let turns = vec![
            Turn::User("weather?".into()),
            Turn::Assistant {
                text: String::new(),
                calls: vec![Past { name: "f".into(), arguments: "{\"x\":1}".into() }],
            },
            Turn::Result("sunny".into()),
            Turn::Result("warm".into()),
            Turn::User("thanks".into()),
        ];
        let offered = [Offered { name: "f".into(), description: None, parameters: Some("{ }".into()) }];
        let chat = chat(turns, &offered, None);
        let roles: Vec<&str> = chat.messages.iter().map(|message| message.role.as_str()).collect();
        assert_eq!(roles, ["system", "user", "assistant", "user", "user"]);
        assert!(chat.messages[0].content.contains(r#"{"name": "f", "parameters": { }}"#));
        assert_eq!(
            chat.messages[2].content,
            "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\":1}}\n</tool_call>"
        );
        assert_eq!(
            chat.messages[3].content,
            "<tool_response>\nsunny\n</tool_response>\n<tool_response>\nwarm\n</tool_response>"
        );
    }
}
