//! One admitted request, from its body to its receipt. Its task goes on whatever becomes of the connection: what was
//! generated is billed, and what is billed has a receipt.

use std::sync::Arc;
use std::time::Duration;

use cocoon_engine_api::{Generate, Message};
use cocoon_openapi::chat::FinishReason;
use cocoon_openapi::{ApiError, Delivery, chat};
use cocoon_receipts::{Digest, NanoTon, Usage};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::admission::Place;
use crate::ceiling::Bounds;
use crate::chat_answer::ChatAnswer;
use crate::chat_request::{self, ChatRequest};
use crate::clock::now_ms;
use crate::engine::Engine;
use crate::generation::{Generation, Limits, Step, Stop};
use crate::identity::Identity;
use crate::meter::Meter;
use crate::receipts::{CheckpointDraft, Checkpoints, Draft, SignError, Signer};
use crate::reply::{Head, HungUp, Reply};
use crate::unseal::Opened;

const JSON: &str = "application/json";
const EVENT_STREAM: &str = "text/event-stream";
const KEEP_ALIVE: &[u8] = b": keep-alive\n\n";
/// Status of an answer that nobody waited for; it never left.
const CLIENT_CLOSED_REQUEST: u16 = 499;
/// How long the last frames may wait for a slow reader once the request's own time is over.
const LAST_FRAMES: Duration = Duration::from_secs(2);

/// What every completion works with.
#[derive(Debug)]
pub(crate) struct Services {
    pub(crate) identity: Arc<Identity>,
    pub(crate) engine: Engine,
    pub(crate) signer: Signer,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) keepalive: Duration,
    pub(crate) checkpoint_every: Duration,
    pub(crate) deadline: Duration,
    /// Cancelled once the grace period of a shutdown is over.
    pub(crate) cut: CancellationToken,
}

/// How an answer came out.
enum Outcome {
    /// An unstreamed answer, still to be sent.
    Whole(Vec<u8>, FinishReason),
    /// All events but the last are sent.
    Streamed(FinishReason),
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
        let request = match body.and_then(|body| chat_request::parse(&body)) {
            Ok(request) => request,
            Err(error) => return Outcome::Failed(error),
        };
        let prompt = match self.count(request.messages.clone()).await {
            Ok(prompt) => prompt,
            Err(stop) => return failed(stop),
        };
        let bounds = Bounds {
            context: self.services.identity.keyset().model.context_length,
            asked: request.max_tokens,
            price: self.opened.ticket.price,
            max_cost: self.opened.max_cost,
        };
        let ceiling = match bounds.ceiling(prompt) {
            Ok(ceiling) => ceiling,
            Err(error) => return Outcome::Failed(error),
        };
        self.meter = Meter::new(prompt, ceiling);
        // Before anything is generated that nobody would read.
        if self.reply.is_closed() {
            return Outcome::HungUp;
        }
        let answer = self.chat_answer(&request);
        let stream = request.stream;
        let exchange = match self.services.engine.generate(command(request, ceiling)).await {
            Ok(exchange) => exchange,
            Err(error) => return failed(error.into()),
        };
        let mut generation = Generation::new(exchange, self.meter, self.limits.clone());
        let outcome = if stream {
            self.begin(Head { status: 200, content_type: EVENT_STREAM });
            self.stream(&mut generation, &answer).await
        } else {
            self.whole(&mut generation, answer).await
        };
        self.meter = generation.meter();
        if matches!(outcome, Outcome::Failed(ref error) if error.status == 500) {
            // The fault is ours, and the caller gets none of what was generated.
            self.meter.waive();
        }
        outcome
    }

    async fn count(&self, messages: Vec<Message>) -> Result<u64, Stop> {
        tokio::select! {
            biased;
            () = self.reply.closed() => Err(Stop::HungUp),
            stop = self.limits.reached() => Err(stop),
            tokens = self.services.engine.tokenize(messages) => Ok(tokens?),
        }
    }

    fn chat_answer(&self, request: &ChatRequest) -> ChatAnswer {
        let identity = &self.services.identity;
        let (model, fingerprint) = (identity.model().to_owned(), identity.fingerprint());
        let created = self.started / 1000;
        ChatAnswer::new(self.opened.ticket.req, created, model, fingerprint, request.include_usage)
    }

    async fn whole(&mut self, generation: &mut Generation, answer: ChatAnswer) -> Outcome {
        let mut text = String::new();
        loop {
            match generation.next(&self.reply, self.checkpoint_due()).await {
                Step::Text(more) => text += &more,
                Step::Alarm => self.checkpoint(generation.meter()).await,
                Step::Finished(reason) => {
                    let usage = openai_usage(&generation.meter().usage());
                    return Outcome::Whole(answer.whole(text, reason, usage), reason);
                }
                Step::Stopped(stop) => return failed(stop),
            }
        }
    }

    async fn stream(&mut self, generation: &mut Generation, answer: &ChatAnswer) -> Outcome {
        let mut events = Vec::with_capacity(3);
        let mut begun = false;
        loop {
            let alarm = self.checkpoint_due().min(self.keep_alive_due());
            let mut end = None;
            match generation.next(&self.reply, alarm).await {
                Step::Text(text) => {
                    events.extend((!begun).then(|| answer.role()));
                    events.extend((!text.is_empty()).then(|| answer.text(text)));
                    begun = true;
                }
                Step::Alarm => {
                    if Instant::now() >= self.keep_alive_due() {
                        events.push(KEEP_ALIVE.to_vec());
                    }
                    if Instant::now() >= self.checkpoint_due() {
                        self.checkpoint(generation.meter()).await;
                    }
                }
                Step::Finished(reason) => {
                    events.extend((!begun).then(|| answer.role()));
                    events.push(answer.finish(reason));
                    events.extend(answer.usage(openai_usage(&generation.meter().usage())));
                    end = Some(reason);
                }
                Step::Stopped(stop) => return broken_off(stop),
            }
            for event in events.drain(..) {
                if let Err(stop) = self.send(&event).await {
                    generation.cancel().await;
                    return broken_off(stop);
                }
            }
            if let Some(reason) = end {
                return Outcome::Streamed(reason);
            }
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
    async fn checkpoint(&mut self, meter: Meter) {
        self.last_checkpoint = Instant::now();
        let Some((usage, cost)) = self.cost(meter) else { return };
        let draft = CheckpointDraft { ticket: self.ticket, usage, cost };
        if let Ok(token) = self.services.signer.checkpoint(draft).await {
            let ticket = self.opened.ticket_token.clone();
            self.services.checkpoints.put(self.opened.ticket.req, Delivery { token, ticket });
        }
    }

    /// Usage and its cost; none where that is above the hold, which the ceiling rules out.
    fn cost(&self, meter: Meter) -> Option<(Usage, NanoTon)> {
        let usage = meter.usage();
        let cost = self.opened.ticket.price.cost(&usage).ok()?;
        (cost <= self.opened.max_cost).then_some((usage, cost))
    }

    async fn finish(mut self, outcome: Outcome) -> Result<(), SignError> {
        self.services.checkpoints.forget(self.opened.ticket.req);
        match outcome {
            Outcome::Whole(json, reason) => self.finish_json(200, &json, reason.as_str(), true).await,
            Outcome::Failed(error) => {
                let complete = error.status < 500;
                self.finish_json(error.status, &error.to_json(), "error", complete).await
            }
            Outcome::Streamed(reason) => {
                let receipt = self.sign(reason.as_str(), true).await?;
                self.end(format!(": receipt {receipt}\n\ndata: [DONE]\n\n"), &receipt).await;
                Ok(())
            }
            Outcome::BrokenOff(error) => {
                // Whether it gets there or not, the receipt is the same.
                let _ = self.send_last(&error.to_event()).await;
                let receipt = self.sign("error", false).await?;
                self.end(format!(": receipt {receipt}\n\n"), &receipt).await;
                Ok(())
            }
            Outcome::HungUp => self.sign("cancelled", false).await.map(drop),
        }
    }

    async fn finish_json(
        mut self,
        status: u16,
        json: &[u8],
        finish: &'static str,
        complete: bool,
    ) -> Result<(), SignError> {
        self.begin(Head { status, content_type: JSON });
        let open = json.strip_suffix(b"}").unwrap_or(json);
        if self.send_last(open).await.is_err() {
            return self.sign("cancelled", false).await.map(drop);
        }
        let receipt = self.sign(finish, complete).await?;
        self.end(format!(",\"x_receipt\":\"{receipt}\"}}"), &receipt).await;
        Ok(())
    }

    async fn end(self, last: String, receipt: &str) {
        let patience = patience(self.limits);
        tokio::select! {
            // It has been signed: what the reader misses here, the outbox brings to the gateway.
            _sent = self.reply.end(last.as_bytes(), receipt) => {}
            () = patience => {}
        }
    }

    async fn sign(&self, finish: &'static str, complete: bool) -> Result<String, SignError> {
        let ticket = &self.opened.ticket;
        let (usage, cost) = self.cost(self.meter).unwrap_or_else(|| {
            tracing::error!(request = %ticket.req, "the cost passed the hold: nothing is charged");
            (Usage::default(), NanoTon::ZERO)
        });
        let head = self.head.unwrap_or(Head { status: CLIENT_CLOSED_REQUEST, content_type: JSON });
        let (resp_hash, resp_frames) = self.reply.sent();
        let draft = Draft {
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

fn command(request: ChatRequest, ceiling: u64) -> Generate {
    Generate {
        id: 0,
        messages: request.messages,
        max_tokens: ceiling,
        temperature: request.temperature,
        top_p: request.top_p,
        stop: request.stop,
    }
}

fn openai_usage(usage: &Usage) -> chat::Usage {
    chat::Usage::new(usage.prompt, usage.completion)
}
