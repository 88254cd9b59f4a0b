//! The one thread that owns the connection: it takes operations from a bounded queue, runs what is waiting in one
//! transaction, and answers after the commit. So one disk flush pays for many callers.
//!
//! Operations whose loss nobody would notice (`docs/LEDGER.md`, "Durability") are answered once they are committed, and
//! are on disk half a second later: what kills the process takes nothing of them, what stops the machine the last of
//! them. A transaction with any other operation in it is on disk before it is answered, and so is all before it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use ::rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::LedgerError;
use crate::embedded::flusher::Flusher;
use crate::embedded::sqlite_error;

/// Callers beyond this many wait for a place.
const QUEUE: usize = 1024;

/// Operations of one transaction; more would make the first of them wait for no gain.
const BATCH: usize = 256;

/// When an operation's answer may be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    /// Once it is on disk.
    OnDisk,
    /// Once it is committed; on disk soon after.
    Soon,
}

trait Job: Send {
    fn durability(&self) -> Durability;
    fn run(&mut self, connection: &Connection) -> bool;
    /// Called once the transaction's fate is known; `lost` says why it was not committed.
    fn answer(self: Box<Self>, lost: Option<&str>);
}

struct Task<Work, Answer> {
    durability: Durability,
    work: Option<Work>,
    outcome: Option<Result<Answer, LedgerError>>,
    caller: oneshot::Sender<Result<Answer, LedgerError>>,
}

impl<Work, Answer> Job for Task<Work, Answer>
where
    Work: FnOnce(&Connection) -> Result<Answer, LedgerError> + Send,
    Answer: Send,
{
    fn durability(&self) -> Durability {
        self.durability
    }

    fn run(&mut self, connection: &Connection) -> bool {
        if let Some(work) = self.work.take() {
            self.outcome = Some(work(connection));
        }
        matches!(self.outcome, Some(Ok(_)))
    }

    fn answer(self: Box<Self>, lost: Option<&str>) {
        let outcome = match (self.outcome, lost) {
            (Some(Ok(_)) | None, Some(reason)) => Err(LedgerError::Unavailable(reason.to_owned())),
            (Some(outcome), _) => outcome,
            (None, None) => Err(LedgerError::Unavailable("the operation did not run".to_owned())),
        };
        // A caller who no longer waits repeats the call if it matters to him.
        let _ = self.caller.send(outcome);
    }
}

#[derive(Debug)]
pub(super) struct Writer {
    queue: Option<mpsc::Sender<Box<dyn Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    up: AtomicBool,
}

impl std::fmt::Debug for dyn Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Job")
    }
}

impl Writer {
    pub(super) fn start(connection: Connection, flusher: Flusher) -> Result<Self, LedgerError> {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("ledger-writer".to_owned())
            .spawn(move || serve(&connection, &flusher, jobs))
            .map_err(|error| LedgerError::Unavailable(error.to_string()))?;
        Ok(Self { queue: Some(queue), thread: Mutex::new(Some(thread)), up: AtomicBool::new(true) })
    }

    /// Runs `work` in a savepoint of its own: what it did is undone where it fails, and nothing else is. It is on disk
    /// when this returns.
    pub(super) async fn run<Work, Answer>(&self, work: Work) -> Result<Answer, LedgerError>
    where
        Work: FnOnce(&Connection) -> Result<Answer, LedgerError> + Send + 'static,
        Answer: Send + 'static,
    {
        self.enqueue(Durability::OnDisk, work).await
    }

    /// The same, but it may be on disk only soon after.
    pub(super) async fn run_soon<Work, Answer>(&self, work: Work) -> Result<Answer, LedgerError>
    where
        Work: FnOnce(&Connection) -> Result<Answer, LedgerError> + Send + 'static,
        Answer: Send + 'static,
    {
        self.enqueue(Durability::Soon, work).await
    }

    async fn enqueue<Work, Answer>(&self, durability: Durability, work: Work) -> Result<Answer, LedgerError>
    where
        Work: FnOnce(&Connection) -> Result<Answer, LedgerError> + Send + 'static,
        Answer: Send + 'static,
    {
        let ended = || LedgerError::Unavailable("the writer has ended".to_owned());
        let (caller, answer) = oneshot::channel();
        let task = Box::new(Task { durability, work: Some(work), outcome: None, caller });
        self.queue.as_ref().ok_or_else(ended)?.send(task).await.map_err(|_| ended())?;
        let answer = answer.await.map_err(|_| ended())?;
        self.up.store(!matches!(answer, Err(LedgerError::Unavailable(_))), Ordering::Relaxed);
        answer
    }

    /// Whether the last operation could be tried.
    pub(super) fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }
}

impl Drop for Writer {
    /// Closes the queue and waits until what was taken is committed and the file is closed.
    fn drop(&mut self) {
        self.queue = None;
        let thread = self.thread.get_mut().ok().and_then(Option::take);
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the ledger's writer panicked");
        }
    }
}

fn serve(connection: &Connection, flusher: &Flusher, mut jobs: mpsc::Receiver<Box<dyn Job>>) {
    let mut batch = Vec::with_capacity(BATCH);
    // As the file was opened.
    let mut current = Durability::OnDisk;
    while let Some(first) = jobs.blocking_recv() {
        batch.push(first);
        while batch.len() < BATCH
            && let Ok(next) = jobs.try_recv()
        {
            batch.push(next);
        }
        let strictest = batch.iter().any(|job| job.durability() == Durability::OnDisk) || flusher.failed();
        let wanted = if strictest { Durability::OnDisk } else { Durability::Soon };
        let lost = settle_on(connection, wanted, &mut current).and_then(|()| commit(connection, &mut batch));
        let lost = lost.err().map(|error| error.to_string());
        if let Some(reason) = &lost {
            tracing::error!(%reason, operations = batch.len(), "a ledger transaction was lost");
        } else if wanted == Durability::Soon {
            flusher.flush_soon();
        }
        for job in batch.drain(..) {
            job.answer(lost.as_deref());
        }
    }
}

/// What the next commit waits for; SQLite takes it between transactions only.
fn settle_on(
    connection: &Connection,
    wanted: Durability,
    current: &mut Durability,
) -> Result<(), LedgerError> {
    if wanted != *current {
        let synchronous = match wanted {
            Durability::OnDisk => "FULL",
            Durability::Soon => "NORMAL",
        };
        connection.pragma_update(None, "synchronous", synchronous).map_err(sqlite_error)?;
        *current = wanted;
    }
    Ok(())
}

fn commit(connection: &Connection, batch: &mut [Box<dyn Job>]) -> Result<(), LedgerError> {
    let execute = |sql: &str| {
        connection.prepare_cached(sql).and_then(|mut statement| statement.execute([])).map_err(sqlite_error)
    };
    execute("BEGIN IMMEDIATE")?;
    let run = || {
        for job in batch {
            execute("SAVEPOINT operation")?;
            let done = job.run(connection);
            // A full disk or an I/O error makes SQLite roll the whole transaction back by itself; to go on would
            // be to write outside any transaction.
            if connection.is_autocommit() {
                return Err(LedgerError::Unavailable("the store undid the transaction".to_owned()));
            }
            if !done {
                execute("ROLLBACK TO operation")?;
            }
            execute("RELEASE operation")?;
        }
        execute("COMMIT")
    };
    let committed = run();
    if committed.is_err() && !connection.is_autocommit() {
        execute("ROLLBACK")?;
    }
    committed.map(drop)
}
