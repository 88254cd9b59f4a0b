//! A file that is carried away as it is at one moment, and one that is being filled.

mod read;
mod write;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ::rusqlite::Connection;
use async_trait::async_trait;

use crate::embedded::schema::{self, For};
use crate::embedded::{Embedded, sqlite_error};
use crate::transfer::record::Record;
use crate::transfer::{Pages, Part, Source, Target};
use crate::{Ledger, LedgerError, Options, Shard};

/// A read transaction, which sees the file as it was when it began; who writes meanwhile is not kept waiting.
#[derive(Debug)]
pub(crate) struct Snapshot(Arc<Mutex<Connection>>);

impl Snapshot {
    pub(crate) async fn of(path: &Path, options: Options) -> Result<Self, LedgerError> {
        let path = path.to_owned();
        blocking(move || Self::begin(schema::open(&path, &options, For::Use)?)).await
    }

    fn begin(connection: Connection) -> Result<Self, LedgerError> {
        // Without a reading it would begin with the next one.
        connection.execute_batch("BEGIN; SELECT count(*) FROM meta").map_err(sqlite_error)?;
        Ok(Self(Arc::new(Mutex::new(connection))))
    }
}

#[async_trait]
impl Source for Snapshot {
    fn store(&self) -> &'static str {
        "sqlite"
    }

    async fn read(&self, part: Part, pages: Pages) -> Result<(), LedgerError> {
        let connection = Arc::clone(&self.0);
        blocking(move || {
            let connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            read::part(&connection, part, pages)
        })
        .await
    }

    async fn state(&self, _: Shard) -> Result<Option<String>, LedgerError> {
        Ok(None)
    }
}

/// A ledger that nothing else opens before it is filled.
#[derive(Debug)]
pub(crate) struct Filling {
    ledger: Embedded,
    path: PathBuf,
}

impl Embedded {
    /// Makes or takes an empty file, and marks it.
    pub(crate) async fn fill(path: &str, options: Options) -> Result<Filling, LedgerError> {
        let path = PathBuf::from(path);
        blocking(move || Ok(Filling { ledger: Self::open_for(For::Filling, &path, &options)?, path })).await
    }
}

#[async_trait]
impl Source for Filling {
    fn store(&self) -> &'static str {
        "sqlite"
    }

    async fn read(&self, part: Part, pages: Pages) -> Result<(), LedgerError> {
        let path = self.path.clone();
        let now = blocking(move || Snapshot::begin(Connection::open(path).map_err(sqlite_error)?)).await?;
        now.read(part, pages).await
    }

    async fn state(&self, _: Shard) -> Result<Option<String>, LedgerError> {
        Ok(None)
    }
}

#[async_trait]
impl Target for Filling {
    fn ledger(&self) -> &dyn Ledger {
        &self.ledger
    }

    async fn write(&self, part: Part, records: Vec<Record>) -> Result<(), LedgerError> {
        self.ledger.writer.run_soon(move |connection| write::all(connection, part, &records)).await
    }

    async fn complete(&self) -> Result<(), LedgerError> {
        // On disk, and with it all that came before.
        self.ledger.writer.run(schema::set_filled).await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LedgerError> + Send + 'static,
) -> Result<T, LedgerError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| LedgerError::Unavailable(error.to_string()))?
}
