//! Answers commands until the input ends.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use cocoon_engine_api::{Command, Event, FailureKind, FrameError, Id, Usage};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::embed::embed;
use crate::engine::{Died, Engine, Refusal};
use crate::generate::generate;
use crate::model;
use crate::pipe::{self, Pipe};

/// How long the last events may take to be written once mistral.rs has died.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Loads the model, says [`Event::Ready`], and answers commands. Returns at the end of input, at once and
/// with nothing finished: whoever would read it is gone.
///
/// # Errors
/// Where the model does not load, the output cannot be written, the input is not frames, or mistral.rs dies:
/// every generation is told so first, and the backend starts another engine.
pub(crate) fn serve(source: String, max_sequences: NonZeroUsize) -> anyhow::Result<()> {
    let pipe = pipe::open()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(run(pipe, source, max_sequences));
    // Not waited for: a model that is still loading, or a thread that still reads.
    runtime.shutdown_background();
    result
}

async fn run(mut pipe: Pipe, source: String, max_sequences: NonZeroUsize) -> anyhow::Result<()> {
    let mut loading = JoinSet::new();
    loading.spawn(async move {
        let loaded = model::load(&source, max_sequences).await.context("cannot load the model")?;
        Engine::new(loaded, max_sequences).await
    });
    let engine = tokio::select! {
        loaded = loading.join_next() => loaded.context("nothing was loaded")??,
        Ok(()) = &mut pipe.input_ended => return Ok(()),
    };
    let engine = Arc::new(engine?);
    let ready = engine.ready();
    tracing::info!(
        version = ready.engine_version,
        quantization = ready.quantization,
        context_length = ready.context_length,
        "ready"
    );
    pipe.events.send(Event::Ready(ready.clone())).await?;

    let mut exchanges = Exchanges::new(engine, pipe.events);
    let result = exchanges.answer(&mut pipe.commands).await;
    if result.is_err() {
        exchanges.finish().await;
        drop(exchanges);
        let _ = tokio::time::timeout(LAST_WORDS, pipe.written).await;
    }
    result
}

/// What is being answered.
struct Exchanges {
    engine: Arc<Engine>,
    events: mpsc::Sender<Event>,
    /// Each gives back the id of the generation or embedding it was, if it was one.
    tasks: JoinSet<Option<Id>>,
    generations: HashMap<Id, oneshot::Sender<()>>,
}

impl Exchanges {
    fn new(engine: Arc<Engine>, events: mpsc::Sender<Event>) -> Self {
        Self { engine, events, tasks: JoinSet::new(), generations: HashMap::new() }
    }

    /// Answers until the commands end, or something breaks.
    async fn answer(
        &mut self,
        commands: &mut mpsc::Receiver<Result<Command, FrameError>>,
    ) -> anyhow::Result<()> {
        let engine = Arc::clone(&self.engine);
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Ok(command)) => self.start(command),
                    // Without its cause, which may quote the frame.
                    Some(Err(error)) => anyhow::bail!("{error}"),
                    None => return Ok(()),
                },
                Some(ended) = self.tasks.join_next() => {
                    if let Some(id) = ended.context("an exchange broke off")? {
                        self.generations.remove(&id);
                    }
                }
                () = engine.died() => return Err(Died.into()),
                () = self.events.closed() => anyhow::bail!("nobody reads the events"),
            }
        }
    }

    fn start(&mut self, command: Command) {
        let engine = Arc::clone(&self.engine);
        let events = self.events.clone();
        match command {
            Command::Tokenize { id, prompts } => {
                self.tasks.spawn(async move {
                    let event = match engine.count_tokens(prompts).await {
                        Ok(tokens) => Event::Tokenized { id, tokens },
                        Err(error) => refused(id, &error),
                    };
                    drop(events.send(event).await);
                    None
                });
            }
            Command::Generate(request) => {
                let id = request.id;
                let (cancel, cancelled) = oneshot::channel();
                self.generations.insert(id, cancel);
                self.tasks.spawn(async move {
                    generate(&engine, request, cancelled, &events).await;
                    Some(id)
                });
            }
            Command::Embed { id, inputs } => {
                let (cancel, cancelled) = oneshot::channel();
                self.generations.insert(id, cancel);
                self.tasks.spawn(async move {
                    embed(&engine, id, inputs, cancelled, &events).await;
                    Some(id)
                });
            }
            Command::Cancel { id } => {
                if let Some(cancel) = self.generations.remove(&id) {
                    // A generation that has just ended by itself no longer listens.
                    let _ = cancel.send(());
                }
            }
            Command::Status { id } => {
                self.tasks.spawn(async move {
                    let running = engine.running();
                    drop(events.send(Event::Status { id, running }).await);
                    None
                });
            }
        }
    }

    /// Lets every exchange say its last word: with mistral.rs gone each of them ends in a failure.
    async fn finish(&mut self) {
        let last_words = async { while self.tasks.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(LAST_WORDS, last_words).await;
        self.tasks.shutdown().await;
    }
}

/// The event that nothing was begun.
pub(crate) fn refused(id: Id, refusal: &Refusal) -> Event {
    let kind = match refusal {
        Refusal::Prompt | Refusal::Token | Refusal::Kind | Refusal::Schema(_) => FailureKind::InvalidRequest,
        Refusal::Died(_) => FailureKind::Internal,
    };
    Event::Failed { id, kind, message: refusal.to_string(), usage: Usage::default() }
}
