//! One admitted request, from its body to its receipt. Its task goes on whatever becomes of the connection: what was
//! generated is billed, and what is billed has a receipt.

use std::sync::Arc;
use std::time::Duration;

use cocoon_openapi::{ApiError, Delivery};
use cocoon_receipts::{Digest, NanoTon, Usage};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::admission::Place;
use crate::answer::Stamp;
use crate::clock::now_ms;
use crate::engine::Engine;
use crate::generation::{Limits, Stop};
use crate::identity::Identity;
use crate::meter::Meter;
use crate::receipts::{CheckpointDraft, Checkpoints, Draft, SignError, Signer};
use crate::reply::{Head, HungUp, Reply};
use crate::request::{self, Work};
use crate::unseal::Opened;

mod embed;
mod frames;
mod text;

const JSON: &str = "application/json";
const EVENT_STREAM: &str = "text/event-stream";
const KEEP_ALIVE: &[u8] = b": keep-alive\n\n";
/// Status of an answer that nobody waited for; it never left.
const CLIENT_CLOSED_REQUEST: u16 = 499;
/// How long the last frames may wait for a slow reader once the request's own time is over.
const LAST_FRAMES: Duration = Duration::from_secs(2);
/// How a request ended whose answer is no text.
const FINISH_STOP: &str = "stop";

/// What every completion works with.
#[derive(Debug)]
pub(crate) struct Services {
    pub(crate) identity: Arc<Identity>,
    pub(crate) engine: Engine,
    pub(crate) signer: Signer,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) keepalive: Duration,
    pub(crate) coalesce: Duration,
    pub(crate) checkpoint_every: Duration,
    pub(crate) deadline: Duration,
    /// Cancelled once the grace period of a shutdown is over.
    pub(crate) cut: CancellationToken,
}

/// How an answer came out.
enum Outcome {
    /// An unstreamed answer, still to be sent, and how it finished.
    Whole(Vec<u8>, &'static str),
    /// All events but the last are sent: that ends the stream, behind the receipt.
    Streamed { finish: &'static str, terminator: &'static str },
    /// Nothing was sent yet.
    Failed(ApiError),
    /// Events were sent.
    BrokenOff(ApiError),
    /// Nobody is there to be told.
    HungUp,
}

/// A request at work.
pub(crate) struct Completion {
    services: Arc<Services>,
    opened: Opened,
    ticket: Digest,
    reply: Reply,
    limits: Limits,
    meter: Meter,
    head: Option<Head>,
    /// Milliseconds since 1970.
    started: u64,
    last_frame: Instant,
    last_checkpoint: Instant,
}

impl Completion {
    pub(crate) fn new(services: Arc<Services>, opened: Opened, reply: Reply) -> Self {
        let now = Instant::now();
        let limits = Limits { deadline: now + services.deadline, cut: services.cut.clone() };
        Self {
            ticket: Digest::of(&[opened.ticket_token.as_bytes()]),
            services,
            opened,
            reply,
            limits,
            meter: Meter::default(),
            head: None,
            started: now_ms(),
            last_frame: now,
            last_checkpoint: now,
        }
    }

    /// Answers, signs, and sends the end.
    pub(crate) async fn run(mut self, place: Place) {
        let outcome = self.answer().await;
        // The engine is through; a slow reader holds nobody up.
        drop(place);
        let request = self.opened.ticket.req;
        if self.finish(outcome).await.is_err() {
            tracing::error!(%request, "the answer was broken off: it has no receipt");
        }
    }

    async fn answer(&mut self) -> Outcome {
        let body = std::mem::replace(&mut self.opened.body, Ok(Vec::new()));
        let ready = self.services.identity.engine();
        let work = body.and_then(|body| request::parse(&self.opened.ticket.path, &body, ready));
        let outcome = match work {
            Ok(Work::Text(request)) => self.text(*request).await,
            Ok(Work::Embed(request)) => self.embed(request).await,
            Err(error) => Outcome::Failed(error),
        };
        if matches!(outcome, Outcome::Failed(ref error) if error.status == 500) {
            // The fault is ours, and the caller gets none of what was generated.
            self.meter.waive();
        }
        outcome
    }

    /// Tokens of each prompt.
    async fn count(&self, prompts: Vec<cocoon_engine_api::Prompt>) -> Result<Vec<u64>, Stop> {
        tokio::select! {
            biased;
            () = self.reply.closed() => Err(Stop::HungUp),
            stop = self.limits.reached() => Err(stop),
            tokens = self.services.engine.tokenize(prompts) => Ok(tokens?),
        }
    }

    fn stamp(&self) -> Stamp {
        let identity = &self.services.identity;
        Stamp {
            request: self.opened.ticket.req,
            created: self.started / 1000,
            model: identity.model().to_owned(),
            fingerprint: identity.fingerprint().to_owned(),
        }
    }

    fn begin(&mut self, head: Head) {
        self.head = Some(head);
        self.reply.begin(head);
        self.last_frame = Instant::now();
    }

    /// Sends a frame, for as long as the request may take.
    async fn send(&mut self, plaintext: &[u8]) -> Result<(), Stop> {
        tokio::select! {
            // In this order: a reader that takes it gets it.
            biased;
            sent = self.reply.frame(plaintext) => sent.map_err(|HungUp| Stop::HungUp)?,
            stop = self.limits.reached() => return Err(stop),
        }
        self.last_frame = Instant::now();
        Ok(())
    }

    /// Sends one of the last frames, whose time is not the request's any more.
    async fn send_last(&mut self, plaintext: &[u8]) -> Result<(), HungUp> {
        let patience = patience(self.limits.clone());
        tokio::select! {
            sent = self.reply.frame(plaintext) => sent,
            () = patience => Err(HungUp),
        }
    }

    fn keep_alive_due(&self) -> Instant {
        self.last_frame + self.services.keepalive
    }

    fn checkpoint_due(&self) -> Instant {
        self.last_checkpoint + self.services.checkpoint_every
    }

    /// Says what was used so far, should this backend not live to sign the receipt.
    async fn checkpoint(&mut self, usage: Usage) {
        self.last_checkpoint = Instant::now();
        let Some((usage, cost)) = self.cost(usage) else { return };
        let draft = CheckpointDraft { keyset: self.opened.ticket.keyset, ticket: self.ticket, usage, cost };
        if let Ok(token) = self.services.signer.checkpoint(draft).await {
            let ticket = self.opened.ticket_token.clone();
            self.services.checkpoints.put(self.opened.ticket.req, Delivery { token, ticket });
        }
    }

    /// Usage and its cost; none where that is above the hold, which the ceiling rules out.
    fn cost(&self, usage: Usage) -> Option<(Usage, NanoTon)> {
        let cost = self.opened.ticket.price.cost(&usage).ok()?;
        (cost <= self.opened.max_cost).then_some((usage, cost))
    }

    async fn finish(mut self, outcome: Outcome) -> Result<(), SignError> {
        self.services.checkpoints.forget(self.opened.ticket.req);
        match outcome {
            Outcome::Whole(json, finish) => self.finish_json(200, json, finish, true).await,
            Outcome::Failed(error) => {
                let complete = error.status < 500;
                self.finish_json(error.status, error.to_json(), "error", complete).await
            }
            Outcome::Streamed { finish, terminator } => {
                let receipt = self.sign(finish, true).await?;
                self.end_stream(&receipt, terminator).await;
                Ok(())
            }
            Outcome::BrokenOff(error) => {
                // Whether it gets there or not, the receipt is the same.
                let mut event = error.to_event();
                if self.opened.pad {
                    frames::pad_last_events(&mut event);
                }
                let _ = self.send_last(&event).await;
                let receipt = self.sign("error", false).await?;
                self.end_stream(&receipt, "").await;
                Ok(())
            }
            Outcome::HungUp => self.sign("cancelled", false).await.map(drop),
        }
    }

    async fn finish_json(
        mut self,
        status: u16,
        mut json: Vec<u8>,
        finish: &'static str,
        complete: bool,
    ) -> Result<(), SignError> {
        self.begin(Head { status, content_type: JSON });
        json.pop_if(|last| *last == b'}');
        if self.opened.pad {
            frames::pad_open_json(&mut json);
        }
        if self.send_last(&json).await.is_err() {
            return self.sign("cancelled", false).await.map(drop);
        }
        let receipt = self.sign(finish, complete).await?;
        let mut last = format!(",\"x_receipt\":\"{receipt}\"}}").into_bytes();
        if self.opened.pad {
            frames::pad_last_json(&mut last);
        }
        self.end(&last, &receipt).await;
        Ok(())
    }

    async fn end_stream(self, receipt: &str, terminator: &str) {
        let mut last = format!(": receipt {receipt}\n\n{terminator}").into_bytes();
        if self.opened.pad {
            frames::pad_last_events(&mut last);
        }
        self.end(&last, receipt).await;
    }

    async fn end(self, last: &[u8], receipt: &str) {
        let patience = patience(self.limits);
        tokio::select! {
            // It has been signed: what the reader misses here, the outbox brings to the gateway.
            _sent = self.reply.end(last, receipt) => {}
            () = patience => {}
        }
    }

    async fn sign(&self, finish: &'static str, complete: bool) -> Result<String, SignError> {
        let ticket = &self.opened.ticket;
        let (usage, cost) = self.cost(self.meter.usage()).unwrap_or_else(|| {
            tracing::error!(request = %ticket.req, "the cost passed the hold: nothing is charged");
            (Usage::default(), NanoTon::ZERO)
        });
        let head = self.head.unwrap_or(Head { status: CLIENT_CLOSED_REQUEST, content_type: JSON });
        let (resp_hash, resp_frames) = self.reply.sent();
        let draft = Draft {
            keyset: ticket.keyset,
            ticket: self.ticket,
            cn: self.opened.cn,
            req_hash: self.opened.req_hash,
            resp_hash,
            resp_frames,
            status: head.status,
            ctype: head.content_type,
            usage,
            price: ticket.price,
            cost,
            finish,
            complete,
            started: self.started,
            body: self.opened.body_digest,
        };
        let receipt = self.services.signer.receipt(draft, self.opened.ticket_token.clone()).await?;
        tracing::info!(
            request = %ticket.req,
            attempt = ticket.attempt,
            status = head.status,
            finish,
            prompt_tokens = usage.prompt,
            completion_tokens = usage.completion,
            milliseconds = now_ms().saturating_sub(self.started),
            "request finished"
        );
        Ok(receipt)
    }
}

/// Nothing was sent yet.
fn failed(stop: Stop) -> Outcome {
    if stop == Stop::HungUp { Outcome::HungUp } else { Outcome::Failed(stop.to_error()) }
}

fn broken_off(stop: Stop) -> Outcome {
    if stop == Stop::HungUp { Outcome::HungUp } else { Outcome::BrokenOff(stop.to_error()) }
}

async fn patience(limits: Limits) {
    limits.reached().await;
    tokio::time::sleep(LAST_FRAMES).await;
}
