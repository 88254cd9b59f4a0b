//! The generations of one request, as steps: with their meter, and everything that may end them early.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use cocoon_engine_api::{Event, FailureKind, Finish, Generate, TokenLogprob};
use cocoon_openapi::ApiError;
use cocoon_openapi::chat::FinishReason;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::engine::{Engine, EngineError, Exchange};
use crate::meter::Meter;
use crate::reply::Reply;

/// Choices of one request that the engine works on at a time: the rest wait, so that others' requests do not.
const PARALLEL: usize = 4;
/// How long a cancelled generation may take to say what it used; after that, the last count holds.
const LAST_WORD: Duration = Duration::from_secs(10);

/// Why there is no whole answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Nobody reads it.
    HungUp,
    Deadline,
    /// The backend ends, and its grace period is over.
    ShuttingDown,
    /// The engine cannot do what was asked; the member that asks for it, where that is known.
    Refused(Option<&'static str>),
    /// The engine died or failed.
    EngineFailed,
}

impl Stop {
    /// What the caller sees.
    pub(crate) fn to_error(self) -> ApiError {
        let server = |status, code, message: &str| ApiError::new(status, "server_error", Some(code), message);
        match self {
            Self::Deadline => server(504, "deadline_exceeded", "The request took longer than it may."),
            // Not 503: that says nothing was admitted, and the caller may send its request again.
            Self::ShuttingDown | Self::HungUp => {
                server(500, "backend_shutting_down", "The backend ended before the answer did.")
            }
            Self::Refused(None) => {
                ApiError::invalid("The model cannot answer this request.").with_code("engine_refused")
            }
            Self::Refused(Some(param)) => {
                let message = format!("Invalid schema in '{param}': the answer cannot be made to follow it.");
                ApiError::invalid(message).with_param(param).with_code("invalid_json_schema")
            }
            Self::EngineFailed => {
                server(500, "engine_failed", "The model's engine failed while it worked on the request.")
            }
        }
    }
}

impl From<EngineError> for Stop {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Refused => Self::Refused(None),
            EngineError::TooLong => Self::Deadline,
            error => {
                tracing::error!(%error, "the engine did not answer");
                Self::EngineFailed
            }
        }
    }
}

/// What ends a request whatever its state.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) deadline: Instant,
    /// The backend's grace period is over.
    pub(crate) cut: CancellationToken,
}

impl Limits {
    pub(crate) async fn reached(&self) -> Stop {
        tokio::select! {
            () = tokio::time::sleep_until(self.deadline) => Stop::Deadline,
            () = self.cut.cancelled() => Stop::ShuttingDown,
        }
    }
}

/// What happens next.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    /// More text of a choice; may be empty.
    Text {
        choice: usize,
        text: String,
        logprobs: Vec<TokenLogprob>,
    },
    /// The time that was asked for has come.
    Alarm,
    /// A choice ended; the whole has ended with the last of them.
    Finished {
        choice: usize,
        reason: FinishReason,
    },
    Stopped(Stop),
}

/// Generations that have begun, and those that wait for one of these to end.
#[derive(Debug)]
pub(crate) struct Generation {
    engine: Engine,
    waiting: VecDeque<(usize, Generate)>,
    running: Vec<(usize, Exchange)>,
    /// Which of the running is looked at first, so that none is heard before all others.
    turn: usize,
    meter: Meter,
    limits: Limits,
}

impl Generation {
    /// One command for each choice, in their order.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`], [`EngineError::Died`].
    pub(crate) fn begin(
        engine: Engine,
        commands: Vec<Generate>,
        meter: Meter,
        limits: Limits,
    ) -> Result<Self, EngineError> {
        let waiting = commands.into_iter().enumerate().collect();
        let mut generation = Self { engine, waiting, running: Vec::new(), turn: 0, meter, limits };
        generation.fill()?;
        Ok(generation)
    }

    fn fill(&mut self) -> Result<(), EngineError> {
        while self.running.len() < PARALLEL {
            let Some((choice, command)) = self.waiting.pop_front() else { break };
            self.running.push((choice, self.engine.generate(command)?));
            self.meter.started(choice);
        }
        Ok(())
    }

    /// What it has used so far.
    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Whether every choice has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty()
    }

    /// The next step; [`Step::Alarm`] at `alarm` at the latest. After [`Step::Stopped`] there is none.
    pub(crate) async fn next(&mut self, reply: &Reply, alarm: Instant) -> Step {
        let limits = self.limits.clone();
        let stop = tokio::select! {
            // In this order: a reader that is gone is noticed before more is made for it.
            biased;
            () = reply.closed() => Stop::HungUp,
            stop = limits.reached() => stop,
            (at, event) = self.event() => match self.take(at, event) {
                Step::Stopped(stop) => stop,
                step => return step,
            },
            () = tokio::time::sleep_until(alarm) => return Step::Alarm,
        };
        if stop == Stop::HungUp {
            self.meter.abandoned();
        }
        self.cancel().await;
        Step::Stopped(stop)
    }

    /// Ends every choice early and waits for its last word.
    pub(crate) async fn cancel(&mut self) {
        self.waiting.clear();
        for (_, exchange) in &self.running {
            exchange.cancel();
        }
        let last_words = async {
            while !self.running.is_empty() {
                let (at, event) = self.event().await;
                self.take(at, event);
            }
        };
        if tokio::time::timeout(LAST_WORD, last_words).await.is_err() {
            tracing::error!("the engine did not end a cancelled generation");
        }
    }

    /// The next event of any running choice, and which one it is of. Nothing is lost where the future is dropped.
    async fn event(&mut self) -> (usize, Option<Event>) {
        poll_fn(|context| {
            let count = self.running.len();
            for step in 0..count {
                let at = (self.turn + step) % count;
                if let Poll::Ready(event) = self.running[at].1.poll_next(context) {
                    self.turn = at + 1;
                    return Poll::Ready((at, event));
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Takes an event of the running choice at `at`; its last one makes room for another choice.
    fn take(&mut self, at: usize, event: Option<Event>) -> Step {
        let choice = self.running[at].0;
        if let Some(Event::Text { text, completion_tokens, logprobs, .. }) = event {
            return match self.meter.generated(choice, completion_tokens) {
                Ok(()) => Step::Text { choice, text, logprobs },
                Err(overrun) => self.failed(&overrun.to_string()),
            };
        }
        self.running.swap_remove(at);
        match event {
            Some(Event::Done { finish, usage, .. }) => match (self.meter.ended(choice, usage), finish) {
                (Ok(()), Finish::Stop) => self.finished(choice, FinishReason::Stop),
                (Ok(()), Finish::Length) => self.finished(choice, FinishReason::Length),
                // It was asked to, and then nobody asks how; or it did so by itself.
                (Ok(()), Finish::Cancelled) => Step::Stopped(Stop::EngineFailed),
                (Err(overrun), _) => self.failed(&overrun.to_string()),
            },
            Some(Event::Failed { kind, usage, .. }) => {
                // A prompt that led to no token is not charged.
                if usage.completion_tokens > 0
                    && let Err(overrun) = self.meter.ended(choice, usage)
                {
                    tracing::error!(%overrun, "the engine failed");
                }
                match kind {
                    FailureKind::InvalidRequest => Step::Stopped(Stop::Refused(None)),
                    FailureKind::Internal => self.failed("it said so"),
                }
            }
            Some(_) => self.failed("it answered another question"),
            None => self.failed("it died"),
        }
    }

    fn finished(&mut self, choice: usize, reason: FinishReason) -> Step {
        match self.fill() {
            Ok(()) => Step::Finished { choice, reason },
            Err(error) => self.failed(&error.to_string()),
        }
    }

    fn failed(&self, why: &str) -> Step {
        tracing::error!(why, "the engine failed in a generation");
        Step::Stopped(Stop::EngineFailed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards against a change that nobody meant: these are the bytes a caller gets.
    #[test]
    fn every_stop_is_told_in_these_words() {
        let cases = [
            (
                Stop::Deadline,
                504,
                r#"{"error":{"message":"The request took longer than it may.","type":"server_error","param":null,"code":"deadline_exceeded"}}"#,
            ),
            (
                Stop::ShuttingDown,
                500,
                r#"{"error":{"message":"The backend ended before the answer did.","type":"server_error","param":null,"code":"backend_shutting_down"}}"#,
            ),
            (
                Stop::EngineFailed,
                500,
                r#"{"error":{"message":"The model's engine failed while it worked on the request.","type":"server_error","param":null,"code":"engine_failed"}}"#,
            ),
            (
                Stop::Refused(None),
                400,
                r#"{"error":{"message":"The model cannot answer this request.","type":"invalid_request_error","param":null,"code":"engine_refused"}}"#,
            ),
            (
                Stop::Refused(Some("tools")),
                400,
                r#"{"error":{"message":"Invalid schema in 'tools': the answer cannot be made to follow it.","type":"invalid_request_error","param":"tools","code":"invalid_json_schema"}}"#,
            ),
        ];
        for (stop, status, json) in cases {
            let error = stop.to_error();
            assert_eq!((error.status, String::from_utf8(error.to_json()).unwrap().as_str()), (status, json));
        }
    }
}
