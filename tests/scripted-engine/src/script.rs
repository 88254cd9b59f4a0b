//! What an answer shall be, as the prompt says it.

use std::time::Duration;

use cocoon_engine_api::{Message, Prompt};
use serde::Deserialize;

/// The rule: a last user message that is a JSON object with nothing but these keys, each of them optional,
/// is the script of its answer. Any other is echoed, `echo: ` before it, a token for each word.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Rule {
    /// Tokens in the whole answer, none if left out; it ends with `length` if the ceiling is below that, else with `stop`.
    tokens: u64,
    /// The text of each token; `token ` if left out.
    text: Option<String>,
    /// Before each token but the first.
    delay_ms: u64,
    /// Before the first token.
    start_delay_ms: u64,
    /// The process ends without a word after so many tokens.
    crash_after: Option<u64>,
    /// The generation fails after so many tokens.
    fail_after: Option<u64>,
    /// Nothing comes after so many tokens, until the generation is cancelled.
    hang_after: Option<u64>,
}

/// One answer, token by token.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Script {
    text: Text,
    pub(crate) delay: Duration,
    pub(crate) start_delay: Duration,
    fault: Option<(u64, Fault)>,
}

#[derive(Debug, PartialEq, Eq)]
enum Text {
    Repeated { piece: String, tokens: u64 },
    Words(Vec<String>),
}

/// What goes wrong on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Crash,
    Fail,
    Hang,
}

impl Script {
    /// The script that the last user message is, or the whole of a plain text; an echo of nothing where there is
    /// neither.
    pub(crate) fn of(prompt: &Prompt) -> Self {
        match prompt {
            Prompt::Chat(chat) => Self::read(&chat.messages),
            Prompt::Text { text } => Self::from_text(text),
            Prompt::Tokens { .. } => Self::from_text(""),
        }
    }

    fn read(messages: &[Message]) -> Self {
        let last = messages.iter().rfind(|message| message.role == "user");
        Self::from_text(last.map_or("", |message| &message.content))
    }

    fn from_text(content: &str) -> Self {
        // Only an object: serde would also take an array for the fields in their order.
        let rule = content.trim_start().starts_with('{').then(|| serde_json::from_str(content));
        match rule {
            Some(Ok(rule)) => Self::from_rule(rule),
            _ => Self::echo(content),
        }
    }

    /// The text of token `index`, if the answer has that many.
    pub(crate) fn token(&self, index: u64) -> Option<&str> {
        match &self.text {
            Text::Repeated { piece, tokens } => (index < *tokens).then_some(piece),
            Text::Words(words) => words.get(usize::try_from(index).ok()?).map(String::as_str),
        }
    }

    /// What goes wrong after so many tokens.
    pub(crate) fn fault(&self, tokens: u64) -> Option<Fault> {
        self.fault.filter(|(after, _)| *after == tokens).map(|(_, fault)| fault)
    }

    fn from_rule(rule: Rule) -> Self {
        let faults = [
            (rule.crash_after, Fault::Crash),
            (rule.fail_after, Fault::Fail),
            (rule.hang_after, Fault::Hang),
        ];
        let first = faults
            .into_iter()
            .filter_map(|(after, fault)| Some((after?, fault)))
            .min_by_key(|(after, _)| *after);
        // A fault after K tokens needs K tokens.
        let tokens = rule.tokens.max(first.map_or(0, |(after, _)| after));
        Self {
            text: Text::Repeated { piece: rule.text.unwrap_or_else(|| "token ".to_owned()), tokens },
            delay: Duration::from_millis(rule.delay_ms),
            start_delay: Duration::from_millis(rule.start_delay_ms),
            fault: first,
        }
    }

    fn echo(content: &str) -> Self {
        let words =
            format!("echo: {content}").split_inclusive(char::is_whitespace).map(str::to_owned).collect();
        Self { text: Text::Words(words), delay: Duration::ZERO, start_delay: Duration::ZERO, fault: None }
    }
}

/// The rule for prompts: a token for each word between white space, and four for each message.
pub(crate) fn prompt_tokens(prompt: &Prompt) -> u64 {
    let words = |text: &str| text.split_whitespace().count() as u64;
    match prompt {
        Prompt::Chat(chat) => chat.messages.iter().map(|message| words(&message.content) + 4).sum(),
        Prompt::Text { text } => words(text),
        Prompt::Tokens { tokens } => tokens.len() as u64,
    }
}

#[cfg(test)]
mod tests {
    use cocoon_engine_api::Chat;

    use super::*;

    fn message(role: &str, content: &str) -> Message {
        Message { role: role.to_owned(), content: content.to_owned() }
    }

    fn script(content: &str) -> Script {
        Script::read(&[message("user", content)])
    }

    fn text(script: &Script) -> Vec<&str> {
        (0..).map_while(|index| script.token(index)).collect()
    }

    #[test]
    fn a_message_that_is_no_script_is_echoed_word_by_word() {
        assert_eq!(text(&script("two words")), ["echo: ", "two ", "words"]);
        assert_eq!(text(&script("")), ["echo: "]);
        for other in ["{", "[3]", "7", r#"{"token":3}"#, r#"{"tokens":-1}"#] {
            assert_eq!(text(&script(other)).concat(), format!("echo: {other}"));
        }
    }

    #[test]
    fn a_script_repeats_its_text() {
        let script = script(r#"{"tokens":3,"text":"a ","delay_ms":5,"start_delay_ms":7}"#);
        assert_eq!(text(&script), ["a ", "a ", "a "]);
        assert_eq!((script.delay.as_millis(), script.start_delay.as_millis()), (5, 7));
        assert!((0..=3).all(|tokens| script.fault(tokens).is_none()));
    }

    #[test]
    fn the_first_fault_happens_and_has_its_tokens() {
        let script = script(r#"{"tokens":1,"fail_after":4,"hang_after":2,"crash_after":9}"#);
        assert_eq!(text(&script).len(), 2);
        assert_eq!((script.fault(1), script.fault(2)), (None, Some(Fault::Hang)));
    }

    #[test]
    fn the_last_user_message_counts() {
        let messages =
            [message("user", r#"{"tokens":1}"#), message("user", "last"), message("assistant", "{}")];
        assert_eq!(text(&Script::read(&messages)).concat(), "echo: last");
        assert_eq!(text(&Script::read(&[message("system", "x")])).concat(), "echo: ");
        assert!(text(&script("{}")).is_empty());
    }

    #[test]
    fn a_prompt_is_its_words_and_four_for_each_message() {
        let messages = vec![message("system", "be  brief\n"), message("user", "")];
        assert_eq!(prompt_tokens(&Prompt::Chat(Chat { messages, effort: None })), 2 + 4 + 4);
        assert_eq!(prompt_tokens(&Prompt::Text { text: "two words".into() }), 2);
        assert_eq!(prompt_tokens(&Prompt::Tokens { tokens: vec![1, 2, 3] }), 3);
    }
}
