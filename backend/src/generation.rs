//! One generation of the engine, as steps: with its meter, and everything that may end it early.

use std::time::Duration;

use cocoon_engine_api::{Event, FailureKind, Finish};
use cocoon_openapi::ApiError;
use cocoon_openapi::chat::FinishReason;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::engine::{EngineError, Exchange};
use crate::meter::Meter;
use crate::reply::Reply;

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
    /// The engine cannot do what was asked.
    Refused,
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
            Self::Refused => {
                ApiError::invalid("The model cannot answer this request.").with_code("engine_refused")
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
            EngineError::Refused => Self::Refused,
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
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// More text; may be empty.
    Text(String),
    /// The time that was asked for has come.
    Alarm,
    Finished(FinishReason),
    Stopped(Stop),
}

/// A generation that has begun.
#[derive(Debug)]
pub(crate) struct Generation {
    exchange: Exchange,
    meter: Meter,
    limits: Limits,
}

impl Generation {
    pub(crate) fn new(exchange: Exchange, meter: Meter, limits: Limits) -> Self {
        Self { exchange, meter, limits }
    }

    /// What it has used so far.
    pub(crate) fn meter(&self) -> Meter {
        self.meter
    }

    /// The next step; [`Step::Alarm`] at `alarm` at the latest. After [`Step::Finished`] and [`Step::Stopped`]
    /// there is none.
    pub(crate) async fn next(&mut self, reply: &Reply, alarm: Instant) -> Step {
        let stop = tokio::select! {
            // In this order: a reader that is gone is noticed before more is made for it.
            biased;
            () = reply.closed() => Stop::HungUp,
            stop = self.limits.reached() => stop,
            event = self.exchange.next() => return self.take(event),
            () = tokio::time::sleep_until(alarm) => return Step::Alarm,
        };
        if stop == Stop::HungUp {
            self.meter.abandoned();
        }
        self.cancel().await;
        Step::Stopped(stop)
    }

    /// Ends the generation early and waits for its last word.
    pub(crate) async fn cancel(&mut self) {
        self.exchange.cancel();
        let last_word = async {
            while let Some(event) = self.exchange.next().await {
                match self.take(Some(event)) {
                    Step::Text(_) | Step::Alarm => {}
                    Step::Finished(_) | Step::Stopped(_) => return,
                }
            }
        };
        if tokio::time::timeout(LAST_WORD, last_word).await.is_err() {
            tracing::error!("the engine did not end a cancelled generation");
        }
    }

    fn take(&mut self, event: Option<Event>) -> Step {
        match event {
            Some(Event::Text { text, completion_tokens, .. }) => {
                match self.meter.generated(completion_tokens) {
                    Ok(()) => Step::Text(text),
                    Err(overrun) => self.failed(&overrun.to_string()),
                }
            }
            Some(Event::Done { finish, usage, .. }) => match (self.meter.ended(usage), finish) {
                (Ok(()), Finish::Stop) => Step::Finished(FinishReason::Stop),
                (Ok(()), Finish::Length) => Step::Finished(FinishReason::Length),
                (Ok(()), Finish::Cancelled) => Step::Stopped(Stop::EngineFailed),
                (Err(overrun), _) => self.failed(&overrun.to_string()),
            },
            Some(Event::Failed { kind, usage, .. }) => {
                // A prompt that led to no token is not charged.
                if usage.completion_tokens > 0
                    && let Err(overrun) = self.meter.ended(usage)
                {
                    tracing::error!(%overrun, "the engine failed");
                }
                match kind {
                    FailureKind::InvalidRequest => Step::Stopped(Stop::Refused),
                    FailureKind::Internal => self.failed("it said so"),
                }
            }
            Some(Event::Ready(_) | Event::Tokenized { .. } | Event::Status { .. }) => {
                self.failed("it answered another question")
            }
            None => self.failed("it died"),
        }
    }

    fn failed(&self, why: &str) -> Step {
        tracing::error!(why, "the engine failed in a generation");
        Step::Stopped(Stop::EngineFailed)
    }
}
