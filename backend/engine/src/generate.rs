//! One generation: what mistral.rs replies, as the protocol's events.

use cocoon_engine_api::{Event, FailureKind, Finish, Generate, Id, Usage};
use mistralrs::{ChatCompletionChunkResponse, Response};
use tokio::sync::{mpsc, oneshot};

use crate::engine::Engine;
use crate::stop::{Step, StopStrings};

/// Generates until the end, or until `cancelled` resolves. Returns early where nobody takes the events.
pub(crate) async fn generate(
    engine: &Engine,
    request: Generate,
    mut cancelled: oneshot::Receiver<()>,
    events: &mpsc::Sender<Event>,
) {
    let mut answer = Answer::new(&request, engine.context_length());
    let mut replies = match engine.generate(request).await {
        Ok(replies) => replies,
        Err(died) => return drop(events.send(answer.failed(FailureKind::Internal, &died.to_string())).await),
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
    /// Known from the first token count on, which comes once the prompt is processed.
    prompt_tokens: Option<u64>,
    /// Tokens generated so far, the end-of-text token among them, as in mistral.rs's own usage.
    completion_tokens: u64,
}

impl Answer {
    fn new(request: &Generate, context_length: u64) -> Self {
        Self {
            id: request.id,
            max_tokens: request.max_tokens,
            context_length,
            stop: StopStrings::new(&request.stop),
            prompt_tokens: None,
            completion_tokens: 0,
        }
    }

    fn take(&mut self, response: Response) -> Turn {
        match response {
            Response::Raw { tokens, .. } => self.count(tokens.first().copied().unwrap_or_default().into()),
            Response::Chunk(chunk) => self.chunk(chunk),
            Response::ValidationError(_) => {
                Turn::end(self.failed(FailureKind::InvalidRequest, "mistral.rs refused the request"))
            }
            // No word of these errors is passed on: they may quote prompt or answer. The log has the model's.
            Response::InternalError(_) | Response::ModelError(..) => {
                Turn::end(self.failed(FailureKind::Internal, "mistral.rs failed"))
            }
            _ => Turn::end(self.failed(FailureKind::Internal, "mistral.rs gave an unexpected reply")),
        }
    }

    /// The sequence has `tokens`, and its next one is about to be chosen.
    fn count(&mut self, tokens: u64) -> Turn {
        let prompt = *self.prompt_tokens.get_or_insert(tokens);
        if prompt.saturating_add(self.max_tokens) > self.context_length {
            // mistral.rs would go on beyond the context, and there fail every sequence of the batch.
            return Turn::end(
                self.failed(FailureKind::InvalidRequest, "prompt and ceiling exceed the context"),
            );
        }
        self.completion_tokens = tokens.saturating_sub(prompt) + 1;
        Turn::default()
    }

    fn chunk(&mut self, chunk: ChatCompletionChunkResponse) -> Turn {
        if let Some(usage) = &chunk.usage {
            self.agree(usage);
        }
        let Some(choice) = chunk.choices.into_iter().next() else { return Turn::default() };
        // A model that thinks aloud does so in another field: billed, not shown.
        let text = choice.delta.content.unwrap_or_default();
        match self.stop.push(&text) {
            Step::Stopped(text) => Turn { text: self.last_text(text), end: Some(self.done(Finish::Stop)) },
            Step::Text(text) => match choice.finish_reason.as_deref() {
                None => Turn { text: Some(self.text(text)), end: None },
                Some("length") => self.finished(text, Finish::Length),
                Some(_) => self.finished(text, Finish::Stop),
            },
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
    fn agree(&mut self, usage: &mistralrs::Usage) {
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

    fn text(&self, text: String) -> Event {
        Event::Text { id: self.id, text, completion_tokens: self.completion_tokens }
    }

    fn last_text(&self, text: String) -> Option<Event> {
        (!text.is_empty()).then(|| self.text(text))
    }

    fn usage(&self) -> Usage {
        Usage {
            prompt_tokens: self.prompt_tokens.unwrap_or_default(),
            completion_tokens: self.completion_tokens,
        }
    }
}

#[cfg(test)]
mod tests {
    use mistralrs::{ChunkChoice, Delta};

    use super::*;

    const ID: Id = 7;
    const PROMPT: u32 = 10;

    fn answer(max_tokens: u64, stop: &[&str]) -> Answer {
        let request = Generate {
            id: ID,
            messages: Vec::new(),
            max_tokens,
            temperature: 0.0,
            top_p: 1.0,
            stop: stop.iter().map(ToString::to_string).collect(),
        };
        Answer::new(&request, 100)
    }

    /// What mistral.rs sends before the `n`th token, counted from 1.
    fn count(n: u32) -> Response {
        Response::Raw { logits_chunks: Vec::new(), tokens: vec![PROMPT + n - 1] }
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
        Some(Event::Text { id: ID, text: text.to_owned(), completion_tokens })
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
}
