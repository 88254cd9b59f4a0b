//! The stores that are measured, each new and in a folder of its own.

use std::fmt;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use cocoon_ledger::redis::{Access, Timeouts};
use cocoon_ledger::{Ledger, LedgerError, Options};
use tempfile::TempDir;

use crate::fill;

/// How long a server may take for anything.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Embedded,
    RedisEverySecond,
    RedisAlways,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Embedded, Self::RedisEverySecond, Self::RedisAlways];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Embedded => "embedded",
            Self::RedisEverySecond => "Redis, `everysec`",
            Self::RedisAlways => "Redis, `always`",
        })
    }
}

/// Its fields end in this order.
pub(crate) struct Store {
    ledger: Arc<dyn Ledger>,
    at: At,
    folder: TempDir,
}

enum At {
    File(PathBuf),
    Server(Server),
}

/// How large a store is, for people.
pub(crate) struct Size {
    pub(crate) disk: String,
    /// Of Redis alone.
    pub(crate) memory: String,
}

impl Store {
    pub(crate) async fn new(kind: Kind) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        if kind == Kind::Embedded {
            let file = folder.path().join("ledger.db");
            let ledger =
                cocoon_ledger::open(&format!("sqlite:{}", file.display()), Options::default()).await?;
            return Ok(Self { ledger, at: At::File(file), folder });
        }
        let (server, ledger) = Server::start(folder.path()).await?;
        if kind == Kind::RedisEverySecond {
            // A server before 7.2 cannot be asked to wait for its disk, and a ledger is not opened on it with this
            // setting. What requests do waits for the disk of no server that has it.
            let mut set = redis::cmd("CONFIG");
            set.arg("SET").arg("appendfsync").arg("everysec").exec(&mut server.connection()?)?;
        }
        Ok(Self { ledger, at: At::Server(server), folder })
    }

    pub(crate) fn ledger(&self) -> &Arc<dyn Ledger> {
        &self.ledger
    }

    /// Makes the journal longer by so many entries, all of which are copies.
    pub(crate) fn lengthen_journal(&self, entries: u64) -> anyhow::Result<()> {
        let shards = self.ledger.shards().get();
        match &self.at {
            At::File(file) => fill::sqlite_journal(file, shards, entries),
            At::Server(server) => fill::redis_journal(&mut server.connection()?, shards, entries),
        }
    }

    pub(crate) fn size(&self) -> anyhow::Result<Size> {
        let memory = match &self.at {
            At::File(_) => "–".to_owned(),
            At::Server(server) => megabytes(server.memory()?),
        };
        Ok(Size { disk: megabytes(disk(self.folder.path())?), memory })
    }
}

/// A Redis server, ended with this.
struct Server {
    process: Child,
    url: String,
}

impl Server {
    /// And the ledger in it.
    async fn start(folder: &Path) -> anyhow::Result<(Self, Arc<dyn Ledger>)> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let process = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"])
            .arg(folder)
            .args(["--appendonly", "yes", "--appendfsync", "always"])
            // Writing the file anew is a cost of its own, at times of its own.
            .args(["--auto-aof-rewrite-percentage", "0"])
            .stdout(Stdio::null())
            .spawn()
            .context("redis-server")?;
        let mut server = Self { process, url: format!("redis://127.0.0.1:{port}") };
        // On a machine that is busy, answers are late and not missing.
        let timeouts = Timeouts { connect: PATIENCE, response: PATIENCE };
        let access = Access { timeouts, ..Access::default() };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let opened = cocoon_ledger::open_with(&server.url, Options::default(), &access).await;
            // Where it has ended, whoever answers is another.
            if let Some(status) = server.process.try_wait()? {
                bail!("redis-server ended ({status})");
            }
            match opened {
                Ok(ledger) => return Ok((server, ledger)),
                Err(LedgerError::Unavailable(_)) if Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn connection(&self) -> anyhow::Result<redis::Connection> {
        Ok(redis::Client::open(self.url.as_str())?.get_connection()?)
    }

    /// Bytes.
    fn memory(&self) -> anyhow::Result<u64> {
        let info: String = redis::cmd("INFO").arg("memory").query(&mut self.connection()?)?;
        let used = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
        Ok(used.context("no used_memory")?.trim().parse()?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // An error means that it has ended, which is what is wanted.
        let _ended_already = self.process.kill();
        let _ended_already = self.process.wait();
    }
}

/// Bytes of all files in a folder.
fn disk(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { disk(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes / 1_000_000)
}
