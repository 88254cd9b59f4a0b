//! Embedding: each input is one sequence of mistral.rs, and one event.

use cocoon_engine_api::{Event, FailureKind, Finish, Id, Prompt, Usage};
use mistralrs::Response;
use tokio::sync::{mpsc, oneshot};

use crate::engine::Engine;
use crate::serve::refused;

/// Embeds one input after the other, until the end or until `cancelled` resolves. An input that was begun is
/// finished: mistral.rs does not stand a reply that nobody takes.
pub(crate) async fn embed(
    engine: &Engine,
    id: Id,
    inputs: Vec<Prompt>,
    mut cancelled: oneshot::Receiver<()>,
    events: &mpsc::Sender<Event>,
) {
    let mut usage = Usage::default();
    for input in inputs {
        if cancelled.try_recv().is_ok() {
            return drop(events.send(Event::Done { id, finish: Finish::Cancelled, usage }).await);
        }
        let event = match engine.embed(id, input).await {
            Ok(Response::Embeddings { embeddings, prompt_tokens, .. }) => {
                usage.prompt_tokens += prompt_tokens as u64;
                Event::Embedding { id, vector: embeddings }
            }
            // No word of mistral.rs's own is passed on: it may quote the input.
            Ok(Response::ValidationError(_)) => failed(id, FailureKind::InvalidRequest, usage),
            Ok(_) => failed(id, FailureKind::Internal, usage),
            Err(refusal) => refused(id, &refusal),
        };
        let failed = matches!(event, Event::Failed { .. });
        if events.send(event).await.is_err() || failed {
            return;
        }
    }
    drop(events.send(Event::Done { id, finish: Finish::Stop, usage }).await);
}

fn failed(id: Id, kind: FailureKind, usage: Usage) -> Event {
    Event::Failed { id, kind, message: "mistral.rs gave no embedding".to_owned(), usage }
}
