//! Carries a ledger away and back: into one file, and from it into an empty ledger of either store, which then does what
//! the first one would have done.
//!
//! The file (`file.rs`) is JSON Lines: a header, records (`record.rs`), a trailer with their number and the SHA-256 of all
//! bytes before it. First come keysets and documents, then every shard from the first to the last. Answers kept for
//! repeated requests are not carried: they are over after a day.
//!
//! Journal ids are kept where they can be. SQLite counts and Redis has `ms-seq`: a count `n` becomes `0-n`, and `ms-seq`
//! the next count. Either way the order stays, and what is appended later comes after all of it.

mod count;
mod export;
mod file;
mod forms;
mod import;
mod progress;
pub(crate) mod record;

pub use export::export;
pub use file::{FORMAT_VERSION, MAX_LINE_BYTES};
pub use import::import;
pub use progress::{Progress, Step};

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;

use crate::redis::{Access, Timeouts};
use crate::{ArchiveError, CheckError, Ledger, LedgerError, Options, Shard, ShardCount};
use record::Record;

/// Records that are handed over at once, and about how many bytes of what may be long.
const PAGE: usize = 500;
const PAGE_BYTES: usize = 4 << 20;

/// How long a Redis may take for one page at least.
const PATIENCE: Duration = Duration::from_secs(30);

/// Pages that wait for whoever writes them.
const PAGES_AHEAD: usize = 4;

/// A ledger that is to be read or filled. Its URL may have a password.
#[derive(Clone)]
pub struct Place {
    /// As [`crate::open`] takes it.
    pub url: String,
    pub options: Options,
    pub access: Access,
}

impl Place {
    /// Nobody waits for one of its calls alone: a server that is busy is given time.
    fn patient_access(&self) -> Access {
        let Timeouts { connect, response } = self.access.timeouts;
        Access { timeouts: Timeouts { connect, response: response.max(PATIENCE) }, ..self.access.clone() }
    }
}

/// What came of an export or an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transferred {
    pub records: u64,
    /// Of them, journal entries.
    pub entries: u64,
}

/// An export or an import that came to no end.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("{path}: {source}")]
    File { path: PathBuf, source: std::io::Error },
    #[error("{0} exists already and is left as it is")]
    Exists(PathBuf),
    #[error("{0}: there is no ledger")]
    NoLedger(PathBuf),
    /// Nothing was written into the ledger.
    #[error("line {line} of the file cannot be used: {reason}")]
    Damaged { line: u64, reason: String },
    #[error("the file is of a ledger with {option} = {found}, this one is to have {wanted}")]
    OtherOptions { option: &'static str, found: String, wanted: String },
    #[error("{0} was in use while it was read: stop the gateways and export again")]
    InUse(Shard),
    #[error(
        "the ledger is not as the file: {found} of its {kind} records are there or differ, not {expected}"
    )]
    Differs { kind: &'static str, expected: u64, found: u64 },
    /// The journal of the file begins after entries that only its archive has.
    #[error("old entries of this ledger are in its archive only, which is needed to check what is imported")]
    NeedsArchive,
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error("the books of {shard} are not what its journal makes them: {findings} differences")]
    Books { shard: Shard, findings: u64 },
    #[error(transparent)]
    Check(#[from] CheckError),
    /// The ledger stays marked, and nothing else opens it.
    #[error("the import is not complete, delete what is in the ledger and begin again: {0}")]
    Incomplete(Box<Self>),
}

/// What is read or written by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Keysets and documents.
    Shared,
    Shard(Shard),
}

impl Part {
    /// All of a ledger, in the order of a file.
    fn all(shards: ShardCount) -> impl Iterator<Item = Self> {
        std::iter::once(Self::Shared).chain(shards.all().map(Self::Shard))
    }
}

/// A ledger that is read. Its records come in any order within a kind, a shard's state before all else of it.
#[async_trait]
pub(crate) trait Source: Send + Sync {
    /// Which store it is.
    fn store(&self) -> &'static str;

    async fn read(&self, part: Part, pages: Pages) -> Result<(), LedgerError>;

    /// Differs after whatever changed in the shard. None where all that is read is of one moment anyway.
    async fn state(&self, shard: Shard) -> Result<Option<String>, LedgerError>;
}

/// A ledger that is being filled: it is marked, so that nothing else opens it. Reading it shows what was written.
#[async_trait]
pub(crate) trait Target: Source {
    fn ledger(&self) -> &dyn Ledger;

    async fn write(&self, part: Part, records: Vec<Record>) -> Result<(), LedgerError>;

    /// Brings all of it to disk and takes the mark away.
    async fn complete(&self) -> Result<(), LedgerError>;
}

/// Where a source puts its records; the reader takes them a page at a time and is waited for.
#[derive(Debug)]
pub(crate) struct Pages {
    reader: mpsc::Sender<Vec<Record>>,
    page: Page,
}

impl Pages {
    fn new() -> (Self, mpsc::Receiver<Vec<Record>>) {
        let (reader, pages) = mpsc::channel(PAGES_AHEAD);
        (Self { reader, page: Page::default() }, pages)
    }

    pub(crate) async fn put(&mut self, record: Record) -> Result<(), LedgerError> {
        if self.page.add(record) { self.flush().await } else { Ok(()) }
    }

    /// Hands over what is there: a source ends with it.
    pub(crate) async fn flush(&mut self) -> Result<(), LedgerError> {
        self.reader.send(self.page.take()).await.map_err(|_| not_read())
    }

    /// The same, on a thread that may wait.
    pub(crate) fn put_blocking(&mut self, record: Record) -> Result<(), LedgerError> {
        if self.page.add(record) { self.flush_blocking() } else { Ok(()) }
    }

    pub(crate) fn flush_blocking(&mut self) -> Result<(), LedgerError> {
        self.reader.blocking_send(self.page.take()).map_err(|_| not_read())
    }
}

/// Records that go on together.
#[derive(Debug, Default)]
struct Page {
    records: Vec<Record>,
    bytes: usize,
}

impl Page {
    /// Whether it is full with it.
    fn add(&mut self, record: Record) -> bool {
        self.bytes += record.long_bytes();
        self.records.push(record);
        self.records.len() >= PAGE || self.bytes >= PAGE_BYTES
    }

    fn take(&mut self) -> Vec<Record> {
        std::mem::take(self).records
    }
}

fn not_read() -> LedgerError {
    LedgerError::Unavailable("nobody takes the records any more".to_owned())
}

/// Reads one part, and gives `take` each of its pages.
async fn read_part(
    source: &dyn Source,
    part: Part,
    mut take: impl FnMut(Vec<Record>) -> Result<(), TransferError> + Send,
) -> Result<(), TransferError> {
    let (pages, mut read) = Pages::new();
    // It owns the receiver: where a page cannot be taken, the source ends too.
    let taking = async move {
        while let Some(page) = read.recv().await {
            take(page)?;
        }
        Ok::<(), TransferError>(())
    };
    let (sent, taken) = tokio::join!(source.read(part, pages), taking);
    taken?;
    Ok(sent?)
}
