//! Text: from the request to the last event but the receipt's.

use cocoon_engine_api::Generate;
use cocoon_openapi::chat::FinishReason;
use cocoon_receipts::{Digest, RequestId};
use tokio::time::Instant;

use super::frames::Frames;
use super::{Completion, EVENT_STREAM, KEEP_ALIVE, Outcome, broken_off, failed};
use crate::answer::{self, Choice, Piece, Render};
use crate::calls::{CallFinder, CallRule, Found};
use crate::ceiling::Bounds;
use crate::generation::{Generation, Step, Stop};
use crate::meter::Meter;
use crate::reply::Head;
use crate::request::TextRequest;

impl Completion {
    pub(super) async fn text(&mut self, request: TextRequest) -> Outcome {
        let prompts = match self.count(request.prompts.clone()).await {
            Ok(prompts) => prompts,
            Err(stop) => return failed(stop),
        };
        let bounds = Bounds {
            context: self.services.identity.engine().context_length,
            asked: request.max_tokens,
            price: self.opened.ticket.price,
            max_cost: self.opened.max_cost,
            param: request.prompt_param,
        };
        let ceilings = match bounds.ceilings(&prompts, request.choices) {
            Ok(ceilings) => ceilings,
            Err(error) => return Outcome::Failed(error),
        };
        self.meter = Meter::new(prompts.into_iter().zip(ceilings.iter().copied()), request.choices);
        // Before anything is generated that nobody would read.
        if self.reply.is_closed() {
            return Outcome::HungUp;
        }
        let commands = commands(&request, &ceilings);
        let choices: Vec<Reading> = (0..commands.len())
            .map(|at| Reading::new(self.opened.ticket.req, at, request.calls.as_ref()))
            .collect();
        let refused = request.constraint.is_some().then_some(request.constraint_param);
        let (engine, meter) = (self.services.engine.clone(), self.meter.clone());
        let generation = Generation::begin(engine, commands, meter, self.limits.clone());
        let mut generation = match generation {
            Ok(generation) => generation,
            Err(error) => return failed(error.into()),
        };
        let mut answer = answer::renderer(request.form, self.stamp(), choices.len());
        let outcome = if request.stream {
            self.stream(&mut generation, choices, &mut *answer, refused).await
        } else {
            self.whole(&mut generation, choices, &mut *answer, refused).await
        };
        self.meter = generation.meter().clone();
        outcome
    }

    async fn whole(
        &mut self,
        generation: &mut Generation,
        mut choices: Vec<Reading>,
        answer: &mut dyn Render,
        refused: Option<&'static str>,
    ) -> Outcome {
        let mut whole = vec![Choice::default(); choices.len()];
        while !generation.is_over() {
            match generation.next(&self.reply, self.checkpoint_due()).await {
                Step::Text { choice, text, logprobs } => {
                    for piece in choices[choice].text(text, logprobs) {
                        whole[choice].take(piece);
                    }
                }
                Step::Alarm => self.checkpoint(generation.meter().usage()).await,
                Step::Finished { choice, reason } => {
                    let (pieces, reason) = choices[choice].finish(reason);
                    for piece in pieces {
                        whole[choice].take(piece);
                    }
                    whole[choice].finish = Some(reason);
                }
                Step::Stopped(stop) => return failed(named(stop, refused)),
            }
        }
        let finish = whole.first().and_then(|choice| choice.finish).unwrap_or(FinishReason::Stop);
        Outcome::Whole(answer.whole(whole, &generation.meter().usage()), finish.as_str())
    }

    async fn stream(
        &mut self,
        generation: &mut Generation,
        mut choices: Vec<Reading>,
        answer: &mut dyn Render,
        refused: Option<&'static str>,
    ) -> Outcome {
        let mut finish = FinishReason::Stop;
        let mut begun = false;
        let pace = self.opened.pad.then_some(self.services.coalesce);
        let mut frames = Frames::new(pace, Instant::now());
        while !generation.is_over() {
            let mut events = Vec::new();
            // What waits will leave soon, and is better than a comment.
            let quiet = frames.due().is_none();
            let alarm = self.checkpoint_due().min(frames.due().unwrap_or_else(|| self.keep_alive_due()));
            match generation.next(&self.reply, alarm).await {
                Step::Text { choice, text, logprobs } => {
                    self.open(&mut begun, answer, &mut events);
                    for piece in choices[choice].text(text, logprobs) {
                        events.extend(answer.piece(choice, piece));
                    }
                }
                Step::Alarm => {
                    if quiet && Instant::now() >= self.keep_alive_due() {
                        self.head_sent();
                        events.push(KEEP_ALIVE.to_vec());
                    }
                    if Instant::now() >= self.checkpoint_due() {
                        self.checkpoint(generation.meter().usage()).await;
                    }
                }
                Step::Finished { choice, reason } => {
                    self.open(&mut begun, answer, &mut events);
                    let (pieces, reason) = choices[choice].finish(reason);
                    for piece in pieces {
                        events.extend(answer.piece(choice, piece));
                    }
                    events.extend(answer.finish(choice, reason));
                    if choice == 0 {
                        finish = reason;
                    }
                    if generation.is_over() {
                        events.extend(answer.end(&generation.meter().usage()));
                    }
                }
                // As long as nothing was sent the status can still say what went wrong.
                Step::Stopped(stop) if self.head.is_none() => return failed(named(stop, refused)),
                Step::Stopped(stop) => {
                    while let Some(frame) = frames.rest(Instant::now()) {
                        if self.send_last(&frame).await.is_err() {
                            break;
                        }
                    }
                    return broken_off(stop);
                }
            }
            frames.push(events, answer.envelope());
            let over = generation.is_over();
            let mut next = || if over { frames.rest(Instant::now()) } else { frames.next(Instant::now()) };
            while let Some(frame) = next() {
                if let Err(stop) = self.send(&frame).await {
                    generation.cancel().await;
                    return broken_off(stop);
                }
            }
        }
        Outcome::Streamed { finish: finish.as_str(), terminator: answer.terminator() }
    }

    /// The head, and the events before all others, once.
    fn open(&mut self, begun: &mut bool, answer: &mut dyn Render, events: &mut Vec<Vec<u8>>) {
        self.head_sent();
        if !std::mem::replace(begun, true) {
            events.extend(answer.begin());
        }
    }

    fn head_sent(&mut self) {
        if self.head.is_none() {
            self.begin(Head { status: 200, content_type: EVENT_STREAM });
        }
    }
}

/// A refusal by name, where it is known what was refused.
fn named(stop: Stop, refused: Option<&'static str>) -> Stop {
    match stop {
        Stop::Refused(None) => Stop::Refused(refused),
        stop => stop,
    }
}

/// One command for each choice of each prompt, in this order.
fn commands(request: &TextRequest, ceilings: &[u64]) -> Vec<Generate> {
    let mut commands = Vec::with_capacity(request.prompts.len() * request.choices);
    for (prompt, ceiling) in request.prompts.iter().zip(ceilings) {
        for _ in 0..request.choices {
            let mut sampling = request.sampling.clone();
            // The choices of one request differ, and are the same again under the same seed.
            sampling.seed = sampling.seed.map(|seed| seed.wrapping_add(commands.len() as i64));
            commands.push(Generate {
                id: 0,
                prompt: prompt.clone(),
                max_tokens: *ceiling,
                sampling,
                stop: request.stop.clone(),
                logprobs: request.logprobs,
                constraint: request.constraint.clone(),
            });
        }
    }
    commands
}

/// One choice as its text comes: calls are found in it.
struct Reading {
    request: RequestId,
    choice: usize,
    calls: Option<(CallFinder, CallRule)>,
    begun: usize,
}

impl Reading {
    fn new(request: RequestId, choice: usize, calls: Option<&CallRule>) -> Self {
        let calls = calls.map(|rule| (CallFinder::new(rule.clone()), rule.clone()));
        Self { request, choice, calls, begun: 0 }
    }

    fn text(&mut self, text: String, logprobs: Vec<cocoon_engine_api::TokenLogprob>) -> Vec<Piece> {
        match &mut self.calls {
            None => vec![Piece::Text { text, logprobs }],
            Some((finder, _)) => {
                let found = finder.push(&text);
                let mut pieces = self.pieces(found);
                // The probabilities of what was held back, or is a call, go with the next text there is.
                match pieces.iter_mut().find_map(|piece| match piece {
                    Piece::Text { logprobs, .. } => Some(logprobs),
                    Piece::Call { .. } | Piece::Arguments(_) => None,
                }) {
                    Some(first) => *first = logprobs,
                    None if logprobs.is_empty() => {}
                    None => pieces.insert(0, Piece::Text { text: String::new(), logprobs }),
                }
                pieces
            }
        }
    }

    fn finish(&mut self, reason: FinishReason) -> (Vec<Piece>, FinishReason) {
        let Some((finder, _)) = &mut self.calls else { return (Vec::new(), reason) };
        let found = finder.finish();
        let pieces = self.pieces(found);
        let called = self.calls.as_ref().is_some_and(|(finder, _)| finder.calls() > 0);
        let reason = match (reason, &self.calls) {
            // OpenAI's own rule: a caller that named the function knows that it is called.
            (FinishReason::Stop, Some((_, CallRule::Forced { named: true }))) => FinishReason::Stop,
            (FinishReason::Stop, _) if called => FinishReason::ToolCalls,
            (reason, _) => reason,
        };
        (pieces, reason)
    }

    fn pieces(&mut self, found: Vec<Found>) -> Vec<Piece> {
        let piece = |found| match found {
            Found::Text(text) => Piece::Text { text, logprobs: Vec::new() },
            Found::Arguments(text) => Piece::Arguments(text),
            Found::Call { name } => {
                self.begun += 1;
                Piece::Call { id: self.call_id(), name }
            }
        };
        found.into_iter().map(piece).collect()
    }

    /// The same again for the same request, and no two alike.
    fn call_id(&self) -> String {
        let name = format!("{}/{}/{}", self.request, self.choice, self.begun);
        let digest = Digest::of(&[b"cocoon/call/v1", name.as_bytes()]).to_string();
        format!("call_{}", &digest[..24])
    }
}
