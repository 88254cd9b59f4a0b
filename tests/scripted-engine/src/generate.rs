//! One answer, by its script.

use std::time::Duration;

use cocoon_engine_api::{Event, FailureKind, Finish, Generate, Usage};
use tokio::sync::{mpsc, oneshot};

use crate::pipe::Output;
use crate::script::{Fault, Script, prompt_tokens};

/// Says the answer to `request`, and returns what was said. Returns early where nobody takes the events.
pub(crate) async fn generate(
    request: Generate,
    context: u64,
    mut cancelled: oneshot::Receiver<()>,
    outputs: &mpsc::Sender<Output>,
) -> Usage {
    let Generate { id, max_tokens, .. } = request;
    let script = Script::of(&request.prompt);
    let prompt_tokens = prompt_tokens(&request.prompt);
    let usage = |completion_tokens| Usage { prompt_tokens, completion_tokens };
    let failed = |kind, message: &str, tokens| {
        Output::Event(Event::Failed { id, kind, message: message.to_owned(), usage: usage(tokens) })
    };
    if prompt_tokens.saturating_add(max_tokens) > context {
        let message = "prompt and ceiling exceed the context";
        drop(outputs.send(failed(FailureKind::InvalidRequest, message, 0)).await);
        return usage(0);
    }

    let mut tokens = 0;
    let last = loop {
        let pause = if tokens == 0 { script.start_delay } else { script.delay };
        let step = async {
            match script.fault(tokens) {
                Some(Fault::Crash) => return Some(Output::Crash),
                Some(Fault::Fail) => return Some(failed(FailureKind::Internal, "scripted failure", tokens)),
                Some(Fault::Hang) => std::future::pending().await,
                None => {}
            }
            let Some(text) = script.token(tokens) else {
                return Some(Output::Event(Event::Done { id, finish: Finish::Stop, usage: usage(tokens) }));
            };
            if tokens == max_tokens {
                return Some(Output::Event(Event::Done { id, finish: Finish::Length, usage: usage(tokens) }));
            }
            if pause > Duration::ZERO {
                tokio::time::sleep(pause).await;
            }
            let text = text.to_owned();
            let event = Event::Text { id, text, completion_tokens: tokens + 1, logprobs: Vec::new() };
            // Nothing is lost where a cancel comes here: the token was not said, and is not counted.
            outputs.send(Output::Event(event)).await.err().map(|lost| lost.0)
        };
        let ended = tokio::select! {
            biased;
            _ = &mut cancelled => {
                Some(Output::Event(Event::Done { id, finish: Finish::Cancelled, usage: usage(tokens) }))
            }
            ended = step => ended,
        };
        match ended {
            Some(last) => break last,
            None => tokens += 1,
        }
    };
    drop(outputs.send(last).await);
    usage(tokens)
}
