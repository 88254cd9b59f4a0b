//! One generation: what mistral.rs replies, as the protocol's events.

use cocoon_engine_api::{Alternative, Event, FailureKind, Finish, Generate, Id, Prompt, TokenLogprob, Usage};
use mistralrs::Response;
use tokio::sync::{mpsc, oneshot};

use crate::engine::{Engine, Refusal};
use crate::sampler::Chosen;
use crate::serve::refused;
use crate::stop::{Step, StopStrings};
use crate::vocabulary::Vocabulary;

/// Generates until the end, or until `cancelled` resolves. Returns early where nobody takes the events.
pub(crate) async fn generate(
    engine: &Engine,
    request: Generate,
    mut cancelled: oneshot::Receiver<()>,
    events: &mpsc::Sender<Event>,
) {
    let id = request.id;
    let mut answer = Answer::new(&request, engine.ready().context_length, engine.vocabulary().clone());
    let begun = tokio::select! {
        biased;
        // While it waits for its turn.
        _ = &mut cancelled => return drop(events.send(answer.cancelled()).await),
        begun = engine.generate(request) => begun,
    };
    let mut replies = match begun {
        Ok(replies) => replies,
        Err(Refusal::Died(died)) => {
            return drop(events.send(answer.failed(FailureKind::Internal, &died.to_string())).await);
        }
        Err(refusal) => return drop(events.send(refused(id, &refusal)).await),
    };
    loop {
        let turn = tokio::select! {
            biased;
            // The receiver goes with this function, and mistral.rs ends the sequence at its next chunk.
            _ = &mut cancelled => Turn::end(answer.cancelled()),
            reply = replies.recv() => match reply {
                Some(response) => answer.take(response),
                None => answer.closed(engine.has_died()),
            },
        };
        let ended = turn.end.is_some();
        for event in [turn.text, turn.end].into_iter().flatten() {
            if events.send(event).await.is_err() {
                return;
            }
        }
        if ended {
            return;
        }
    }
}

/// The events that one reply makes.
#[derive(Debug, Default, PartialEq)]
struct Turn {
    text: Option<Event>,
    end: Option<Event>,
}

impl Turn {
    fn end(event: Event) -> Self {
        Self { text: None, end: Some(event) }
    }
}

/// An answer as far as it has come.
struct Answer {
    id: Id,
    max_tokens: u64,
    context_length: u64,
    stop: StopStrings,
    vocabulary: Vocabulary,
    /// mistral.rs cuts white space off the front of a text. A chat's answer is better without it; what
    /// continues a text is not the same without it.
    continues_text: bool,
    begun: bool,
    /// Known from the first token on, which comes once the prompt is processed.
    prompt_tokens: Option<u64>,
    /// Tokens generated so far, the end-of-text token among them, as in mistral.rs's own usage.
    completion_tokens: u64,
    /// Tokens that no chunk has come for yet: they end inside a character.
    tokens: Vec<Chosen>,
    logprobs: Option<Logprobs>,
}

impl Answer {
    fn new(request: &Generate, context_length: u64, vocabulary: Vocabulary) -> Self {
        Self {
            id: request.id,
            max_tokens: request.max_tokens,
            context_length,
            stop: StopStrings::new(&request.stop),
            vocabulary,
            continues_text: !matches!(request.prompt, Prompt::Chat(_)),
            begun: false,
            prompt_tokens: None,
            completion_tokens: 0,
            tokens: Vec::new(),
            logprobs: request.logprobs.map(|_| Logprobs::default()),
        }
    }

    fn take(&mut self, response: Response) -> Turn {
        match response {
            Response::Raw { tokens, .. } => match Chosen::from_words(&tokens) {
                Some(chosen) => self.chosen(chosen),
                None => Turn::end(self.failed(FailureKind::Internal, "the sampler made no sense")),
            },
            Response::Chunk(chunk) => {
                self.agree(chunk.usage.as_ref());
                let Some(choice) = chunk.choices.into_iter().next() else { return Turn::default() };
                // A model that thinks aloud does so in another field: billed, not shown.
                self.chunk(choice.delta.content.unwrap_or_default(), choice.finish_reason.as_deref())
            }
            Response::CompletionChunk(chunk) => {
                let Some(choice) = chunk.choices.into_iter().next() else { return Turn::default() };
                self.chunk(choice.text, choice.finish_reason.as_deref())
            }
            Response::ValidationError(_) => {
                Turn::end(self.failed(FailureKind::InvalidRequest, "mistral.rs refused the request"))
            }
            // No word of these errors is passed on: they may quote prompt or answer. The log has the model's.
            Response::InternalError(_) | Response::ModelError(..) | Response::CompletionModelError(..) => {
                Turn::end(self.failed(FailureKind::Internal, "mistral.rs failed"))
            }
            _ => Turn::end(self.failed(FailureKind::Internal, "mistral.rs gave an unexpected reply")),
        }
    }

    fn chosen(&mut self, chosen: Chosen) -> Turn {
        let before = u64::from(chosen.position);
        let prompt = *self.prompt_tokens.get_or_insert(before);
        if prompt.saturating_add(self.max_tokens) > self.context_length {
            // mistral.rs would go on beyond the context, and there fail every sequence of the batch.
            return Turn::end(
                self.failed(FailureKind::InvalidRequest, "prompt and ceiling exceed the context"),
            );
        }
        self.completion_tokens = before.saturating_sub(prompt) + 1;
        // A constraint forbade the choice before this one.
        self.tokens.retain(|other| other.position != chosen.position);
        self.tokens.push(chosen);
        Turn::default()
    }

    fn chunk(&mut self, text: String, finish_reason: Option<&str>) -> Turn {
        let tokens = std::mem::take(&mut self.tokens);
        let text = self.restored(text, &tokens);
        if let Some(logprobs) = &mut self.logprobs {
            logprobs.push(&tokens, text.len(), &self.vocabulary);
        }
        match self.stop.push(&text) {
            Step::Stopped(text) => {
                let text = self.last_text(text);
                Turn { text, end: Some(self.done(Finish::Stop)) }
            }
            Step::Text(text) => match finish_reason {
                None => Turn { text: Some(self.text(text)), end: None },
                Some("length") => self.finished(text, Finish::Length),
                Some(_) => self.finished(text, Finish::Stop),
            },
        }
    }

    /// The first piece of a text with the white space it begins with.
    fn restored(&mut self, text: String, tokens: &[Chosen]) -> String {
        let first = !std::mem::replace(&mut self.begun, true);
        if !first || !self.continues_text {
            return text;
        }
        let bytes: Vec<u8> = tokens.iter().flat_map(|chosen| self.vocabulary.text(chosen.token)).collect();
        match String::from_utf8(bytes) {
            Ok(whole) if whole.trim_start() == text => whole,
            _ => text,
        }
    }

    /// The reply ended without a finish reason.
    fn closed(&mut self, engine_died: bool) -> Turn {
        if engine_died {
            return Turn::end(self.failed(FailureKind::Internal, "mistral.rs ended"));
        }
        // The last token ended inside a character, and so made no chunk to carry a reason.
        let finish = if self.completion_tokens >= self.max_tokens { Finish::Length } else { Finish::Stop };
        self.finished(String::new(), finish)
    }

    fn finished(&mut self, mut text: String, finish: Finish) -> Turn {
        text += &self.stop.finish();
        Turn { text: self.last_text(text), end: Some(self.done(finish)) }
    }

    /// The engine's usage counts, should it ever differ from what was counted token by token.
    fn agree(&mut self, usage: Option<&mistralrs::Usage>) {
        let Some(usage) = usage else { return };
        let engine = Usage {
            prompt_tokens: usage.prompt_tokens as u64,
            completion_tokens: usage.completion_tokens as u64,
        };
        if engine != self.usage() {
            tracing::warn!(id = self.id, counted = ?self.usage(), ?engine, "token counts differ");
            self.prompt_tokens = Some(engine.prompt_tokens);
            self.completion_tokens = engine.completion_tokens;
        }
    }

    fn cancelled(&self) -> Event {
        self.done(Finish::Cancelled)
    }

    fn failed(&self, kind: FailureKind, message: &str) -> Event {
        Event::Failed { id: self.id, kind, message: message.to_owned(), usage: self.usage() }
    }

    fn done(&self, finish: Finish) -> Event {
        Event::Done { id: self.id, finish, usage: self.usage() }
    }

    fn text(&mut self, text: String) -> Event {
        let logprobs = self.logprobs.as_mut().map(|logprobs| logprobs.shown(text.len())).unwrap_or_default();
        Event::Text { id: self.id, text, completion_tokens: self.completion_tokens, logprobs }
    }

    fn last_text(&mut self, text: String) -> Option<Event> {
        (!text.is_empty()).then(|| self.text(text))
    }

    fn usage(&self) -> Usage {
        Usage {
            prompt_tokens: self.prompt_tokens.unwrap_or_default(),
            completion_tokens: self.completion_tokens,
        }
    }
}

/// The log probabilities of tokens whose text is not shown yet.
#[derive(Default)]
struct Logprobs {
    /// With the place in the text at which each token begins.
    waiting: std::collections::VecDeque<(usize, TokenLogprob)>,
    /// Bytes of text so far, and of that what is shown.
    length: usize,
    shown: usize,
}

impl Logprobs {
    /// `tokens` make `length` more bytes of text. Those that make none (the end of the text) are left out.
    fn push(&mut self, tokens: &[Chosen], length: usize, vocabulary: &Vocabulary) {
        let alternative =
            |token, logprob: f32| Alternative { bytes: vocabulary.name(token), logprob: f64::from(logprob) };
        for chosen in tokens.iter().filter(|_| length > 0) {
            let token = TokenLogprob {
                token: alternative(chosen.token, chosen.logprob),
                top: chosen.top.iter().map(|(token, logprob)| alternative(*token, *logprob)).collect(),
            };
            self.waiting.push_back((self.length, token));
        }
        self.length += length;
    }

    /// `length` more bytes are shown: the tokens that begin in them.
    fn shown(&mut self, length: usize) -> Vec<TokenLogprob> {
        self.shown += length;
        let mut tokens = Vec::new();
        while self.waiting.front().is_some_and(|(start, _)| *start < self.shown) {
            tokens.extend(self.waiting.pop_front().map(|(_, token)| token));
        }
        tokens
    }
}

#[cfg(test)]
mod tests {
    use cocoon_engine_api::{Chat, Sampling};
    use mistralrs::{ChatCompletionChunkResponse, ChunkChoice, Delta};

    use super::*;

    const ID: Id = 7;
    const PROMPT: u32 = 10;

    fn answer(max_tokens: u64, stop: &[&str]) -> Answer {
        let request = Generate {
            id: ID,
            prompt: Prompt::Chat(Chat::default()),
            max_tokens,
            sampling: Sampling::default(),
            stop: stop.iter().map(ToString::to_string).collect(),
            logprobs: Some(1),
            constraint: None,
        };
        Answer { logprobs: None, ..Answer::new(&request, 100, Vocabulary::none()) }
    }

    /// What the sampler sends before the `n`th token, counted from 1.
    fn count(n: u32) -> Response {
        Chosen { position: PROMPT + n - 1, token: n, logprob: 0.0, top: Vec::new() }.into_response()
    }

    fn chunk(text: &str, finish: Option<(&str, usize)>) -> Response {
        let delta = Delta {
            content: Some(text.to_owned()),
            role: "assistant".to_owned(),
            tool_calls: None,
            reasoning_content: None,
        };
        let finish_reason = finish.map(|(reason, _)| reason.to_owned());
        let usage = finish.map(|(_, completion_tokens)| mistralrs::Usage {
            completion_tokens,
            prompt_tokens: PROMPT as usize,
            total_tokens: PROMPT as usize + completion_tokens,
            avg_tok_per_sec: 0.0,
            avg_prompt_tok_per_sec: 0.0,
            avg_compl_tok_per_sec: 0.0,
            total_time_sec: 0.0,
            total_prompt_time_sec: 0.0,
            total_completion_time_sec: 0.0,
        });
        Response::Chunk(ChatCompletionChunkResponse {
            id: String::new(),
            choices: vec![ChunkChoice { finish_reason, index: 0, delta, logprobs: None }],
            created: 0,
            model: String::new(),
            system_fingerprint: String::new(),
            object: String::new(),
            usage,
        })
    }

    fn text(text: &str, completion_tokens: u64) -> Option<Event> {
        Some(Event::Text { id: ID, text: text.to_owned(), completion_tokens, logprobs: Vec::new() })
    }

    fn done(finish: Finish, completion_tokens: u64) -> Option<Event> {
        let usage = Usage { prompt_tokens: PROMPT.into(), completion_tokens };
        Some(Event::Done { id: ID, finish, usage })
    }

    #[test]
    fn a_token_without_a_chunk_is_counted_with_the_next_one() {
        let mut answer = answer(8, &[]);
        assert_eq!(answer.take(count(1)), Turn::default());
        assert_eq!(answer.take(count(2)), Turn::default());
        assert_eq!(answer.take(chunk("é", None)), Turn { text: text("é", 2), end: None });
        answer.take(count(3));
        assert_eq!(
            answer.take(chunk("", Some(("stop", 3)))),
            Turn { text: None, end: done(Finish::Stop, 3) }
        );
    }

    #[test]
    fn a_reply_that_closes_inside_a_character_still_ends() {
        let mut at_ceiling = answer(2, &["b"]);
        at_ceiling.take(count(1));
        at_ceiling.take(chunk("a", None));
        at_ceiling.take(count(2));
        assert_eq!(at_ceiling.closed(false), Turn { text: None, end: done(Finish::Length, 2) });

        let mut at_end_of_text = answer(8, &["ab"]);
        at_end_of_text.take(count(1));
        assert_eq!(at_end_of_text.take(chunk("xa", None)), Turn { text: text("x", 1), end: None });
        at_end_of_text.take(count(2));
        assert_eq!(
            at_end_of_text.closed(false),
            Turn { text: text("a", 2), end: done(Finish::Stop, 2) },
            "text held back for a stop string is text once nothing follows"
        );
    }

    #[test]
    fn a_reply_that_closes_because_the_engine_died_is_a_failure() {
        let mut answer = answer(8, &[]);
        answer.take(count(1));
        let usage = Usage { prompt_tokens: PROMPT.into(), completion_tokens: 1 };
        let message = "mistral.rs ended".to_owned();
        let failed = Event::Failed { id: ID, kind: FailureKind::Internal, message, usage };
        assert_eq!(answer.closed(true), Turn::end(failed));
    }

    #[test]
    fn a_stop_string_ends_the_answer_even_in_the_chunk_that_ends_it_anyway() {
        let mut answer = answer(2, &["stop"]);
        answer.take(count(1));
        assert_eq!(answer.take(chunk("one st", None)), Turn { text: text("one ", 1), end: None });
        answer.take(count(2));
        let last = answer.take(chunk("op two", Some(("length", 2))));
        assert_eq!(last, Turn { text: None, end: done(Finish::Stop, 2) });
    }

    #[test]
    fn an_answer_at_its_ceiling_shows_what_was_held_back() {
        let mut answer = answer(1, &["stop"]);
        answer.take(count(1));
        let last = answer.take(chunk("one st", Some(("length", 1))));
        assert_eq!(last, Turn { text: text("one st", 1), end: done(Finish::Length, 1) });
    }

    #[test]
    fn a_ceiling_beyond_the_context_is_refused_at_the_first_token() {
        assert_eq!(answer(90, &[]).take(count(1)), Turn::default());
        let refused = answer(91, &[]).take(count(1)).end;
        assert!(matches!(refused, Some(Event::Failed { kind: FailureKind::InvalidRequest, .. })));
    }

    #[test]
    fn what_mistral_rs_says_of_an_error_stays_inside() {
        let mut answer = answer(8, &[]);
        for response in [Response::InternalError("marker".into()), Response::ValidationError("marker".into())]
        {
            let Some(Event::Failed { message, .. }) = answer.take(response).end else { panic!("no failure") };
            assert!(!message.contains("marker"));
        }
    }

    /// Guards against: probabilities of text that a stop string cut, one for each of two calls of the sampler.
    #[test]
    fn logprobs_come_with_the_text_they_are_of() {
        let mut answer = answer(8, &["st"]);
        answer.logprobs = Some(Logprobs::default());
        let shown = |turn: Turn| match turn.text {
            Some(Event::Text { text, logprobs, .. }) => {
                (text, logprobs.iter().map(|token| token.token.logprob).collect::<Vec<_>>())
            }
            _ => (String::new(), Vec::new()),
        };
        let chosen = |n: u32, logprob| {
            Chosen { position: PROMPT + n - 1, token: n, logprob, top: Vec::new() }.into_response()
        };
        answer.take(chosen(1, -9.0));
        answer.take(chosen(1, -1.0));
        assert_eq!(shown(answer.take(chunk("one ", None))), ("one ".to_owned(), vec![-1.0]));
        answer.take(chosen(2, -2.0));
        assert_eq!(shown(answer.take(chunk("s", None))), (String::new(), vec![]));
        answer.take(chosen(3, -3.0));
        assert_eq!(shown(answer.take(chunk("o", None))), ("so".to_owned(), vec![-2.0, -3.0]));
        answer.take(chosen(4, -4.0));
        assert_eq!(shown(answer.take(chunk("st", None))), (String::new(), vec![]));
    }
}
