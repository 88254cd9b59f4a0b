//! Embeddings: from the request to its answer.

use cocoon_engine_api::{Event, FailureKind};

use super::{Completion, FINISH_STOP, Outcome, failed};
use crate::answer::embeddings::embeddings;
use crate::ceiling::Bounds;
use crate::engine::Exchange;
use crate::generation::Stop;
use crate::meter::Meter;
use crate::request::EmbeddingRequest;

impl Completion {
    pub(super) async fn embed(&mut self, request: EmbeddingRequest) -> Outcome {
        let counts = match self.count(request.inputs.clone()).await {
            Ok(counts) => counts,
            Err(stop) => return failed(stop),
        };
        let bounds = Bounds {
            context: self.services.identity.engine().context_length,
            asked: None,
            price: self.opened.ticket.price,
            max_cost: self.opened.max_cost,
            param: "input",
        };
        if let Err(error) = bounds.inputs(&counts) {
            return Outcome::Failed(error);
        }
        self.meter = Meter::new(counts.iter().map(|count| (*count, 0)), 1);
        if self.reply.is_closed() {
            return Outcome::HungUp;
        }
        let wanted = request.inputs.len();
        let mut exchange = match self.services.engine.embed(request.inputs) {
            Ok(exchange) => exchange,
            Err(error) => return failed(error.into()),
        };
        let vectors = tokio::select! {
            biased;
            () = self.reply.closed() => Err(Stop::HungUp),
            stop = self.limits.reached() => Err(stop),
            vectors = vectors(&mut exchange, &mut self.meter) => vectors,
        };
        // Where there are none, what was embedded until then is counted, and the exchange cancels the rest when it is
        // dropped.
        let vectors = match vectors {
            Ok(vectors) => vectors,
            Err(stop) => return failed(stop),
        };
        if vectors.len() != wanted {
            tracing::error!(wanted, got = vectors.len(), "the engine made another number of embeddings");
            return failed(Stop::EngineFailed);
        }
        let prompt_tokens = self.meter.usage().prompt;
        let json = embeddings(self.stamp(), vectors, request.encoding, request.dimensions, prompt_tokens);
        Outcome::Whole(json, FINISH_STOP)
    }
}

/// Every vector, in order. Each input is charged as its vector comes.
async fn vectors(exchange: &mut Exchange, meter: &mut Meter) -> Result<Vec<Vec<f32>>, Stop> {
    let mut vectors = Vec::new();
    loop {
        match exchange.next().await {
            Some(Event::Embedding { vector, .. }) => {
                meter.generated(vectors.len(), 0).map_err(|_| Stop::EngineFailed)?;
                vectors.push(vector);
            }
            Some(Event::Done { .. }) => return Ok(vectors),
            Some(Event::Failed { kind: FailureKind::InvalidRequest, .. }) => return Err(Stop::Refused(None)),
            Some(_) | None => return Err(Stop::EngineFailed),
        }
    }
}
