//! The engine as requests see it: exchanges with a child process that may die and come back.

mod environment;
mod exchange;
mod process;
mod supervisor;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cocoon_engine_api::{Command, Event, FailureKind, FrameError, Generate, PROTOCOL, Prompt, Ready};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use exchange::Exchange;
use exchange::Link;
use process::Process;

/// How long a request waits for an engine that is starting again.
const RETURN_WAIT: Duration = Duration::from_secs(2);
/// Longest time for counting the tokens of a prompt.
const TOKENIZE_LIMIT: Duration = Duration::from_secs(30);
/// Longest time for an answer on how much runs.
const STATUS_LIMIT: Duration = Duration::from_secs(1);

/// Why the engine gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("the engine {} cannot be started", program.display())]
    Spawn { program: PathBuf, source: std::io::Error },
    #[error("the engine ended before it was ready ({0})")]
    EndedEarly(String),
    #[error("the engine was not ready after {} s", .0.as_secs())]
    NotReady(Duration),
    #[error("the engine speaks protocol {0}, not {PROTOCOL}")]
    Protocol(u32),
    #[error("the engine's first message is not `ready`")]
    Unexpected,
    #[error("the engine cannot be understood")]
    Frame(#[from] FrameError),
    #[error("the pipe to the engine broke")]
    Pipe(#[source] std::io::Error),
    /// The keyset that gateways verified says otherwise.
    #[error("the engine came back as another: it was {before:?} and is {now:?}")]
    Changed { before: Box<Ready>, now: Box<Ready> },
    #[error("the engine is not running")]
    Unavailable,
    #[error("the engine died")]
    Died,
    #[error("the engine took too long")]
    TooLong,
    #[error("the engine refused the request")]
    Refused,
    #[error("the engine failed")]
    Failed,
}

/// How to start the engine.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) model: PathBuf,
    pub(crate) max_sequences: u32,
    pub(crate) arguments: Vec<String>,
    pub(crate) ready_within: Duration,
}

/// A handle on the engine, whichever process that is at the time.
#[derive(Debug, Clone)]
pub(crate) struct Engine {
    link: watch::Receiver<Option<Arc<Link>>>,
    next_id: Arc<AtomicU64>,
}

impl Engine {
    /// Starts the engine, waits until it is ready, and keeps it running until `stop`. An end that restarting does
    /// not mend goes to `fatal`.
    ///
    /// # Errors
    /// Where this first start fails: a wrong path or a broken model does not get better by trying again.
    pub(crate) async fn start(
        launch: Launch,
        tasks: &TaskTracker,
        stop: CancellationToken,
        fatal: mpsc::Sender<crate::Error>,
    ) -> Result<(Self, Ready), EngineError> {
        let (process, ready) = Process::start(&launch).await?;
        let (link_sender, link) = watch::channel(None);
        let supervisor = supervisor::Supervisor::new(launch, ready.clone(), link_sender, stop, fatal);
        tasks.spawn(supervisor.run(process));
        Ok((Self { link, next_id: Arc::default() }, ready))
    }

    /// Whether a process runs and is ready.
    pub(crate) fn is_up(&self) -> bool {
        self.link.borrow().is_some()
    }

    /// Waits a little for an engine that is down.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`].
    pub(crate) async fn available(&self) -> Result<(), EngineError> {
        self.current().await.map(drop)
    }

    /// Tokens of each of `prompts`, with all that is put around it.
    ///
    /// # Errors
    /// [`EngineError`].
    pub(crate) async fn tokenize(&self, prompts: Vec<Prompt>) -> Result<Vec<u64>, EngineError> {
        let asked = prompts.len();
        let answer = self.ask(|id| Command::Tokenize { id, prompts }, TOKENIZE_LIMIT).await?;
        match answer {
            Event::Tokenized { tokens, .. } if tokens.len() == asked => Ok(tokens),
            _ => Err(EngineError::Failed),
        }
    }

    /// Sequences that run, in the engine's own word.
    ///
    /// # Errors
    /// [`EngineError`].
    pub(crate) async fn running(&self) -> Result<u64, EngineError> {
        if !self.is_up() {
            return Err(EngineError::Unavailable);
        }
        match self.ask(|id| Command::Status { id }, STATUS_LIMIT).await? {
            Event::Status { running, .. } => Ok(running),
            _ => Err(EngineError::Failed),
        }
    }

    /// Begins a generation; the id in `request` is set here. An engine that is down is not waited for.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`], [`EngineError::Died`].
    pub(crate) fn generate(&self, mut request: Generate) -> Result<Exchange, EngineError> {
        request.id = self.fresh_id();
        self.begin(request.id, Command::Generate(request))
    }

    /// Begins to embed `inputs`.
    ///
    /// # Errors
    /// As [`Engine::generate`].
    pub(crate) fn embed(&self, inputs: Vec<Prompt>) -> Result<Exchange, EngineError> {
        let id = self.fresh_id();
        self.begin(id, Command::Embed { id, inputs })
    }

    fn begin(&self, id: u64, command: Command) -> Result<Exchange, EngineError> {
        let link = self.link.borrow().clone().ok_or(EngineError::Unavailable)?;
        Exchange::begin(link, id, command)
    }

    async fn ask(&self, command: impl FnOnce(u64) -> Command, limit: Duration) -> Result<Event, EngineError> {
        let link = self.current().await?;
        let id = self.fresh_id();
        let mut exchange = Exchange::begin(link, id, command(id))?;
        match tokio::time::timeout(limit, exchange.next()).await {
            Err(_) => Err(EngineError::TooLong),
            Ok(None) => Err(EngineError::Died),
            Ok(Some(Event::Failed { kind: FailureKind::InvalidRequest, .. })) => Err(EngineError::Refused),
            Ok(Some(Event::Failed { kind: FailureKind::Internal, .. })) => Err(EngineError::Failed),
            Ok(Some(event)) => Ok(event),
        }
    }

    async fn current(&self) -> Result<Arc<Link>, EngineError> {
        let mut link = self.link.clone();
        let current = tokio::time::timeout(RETURN_WAIT, link.wait_for(Option::is_some)).await;
        let current = current.map_err(|_| EngineError::Unavailable)?.map_err(|_| EngineError::Unavailable)?;
        current.clone().ok_or(EngineError::Unavailable)
    }

    fn fresh_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }
}
