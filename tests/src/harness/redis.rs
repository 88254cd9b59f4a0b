//! A real Redis of one test, configured as a ledger needs it.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{AppendOnlyFile, Process, eventually, free_port};

/// Survives [`RedisServer::kill`]: started again, it has the same port and the same files.
#[derive(Debug)]
pub(crate) struct RedisServer {
    dir: PathBuf,
    port: u16,
    process: Option<Process>,
}

impl RedisServer {
    pub(crate) async fn start(dir: PathBuf) -> anyhow::Result<Self> {
        let mut server = Self { dir, port: free_port()?, process: None };
        server.restart().await?;
        Ok(server)
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The append-only file to which commands are added.
    pub(crate) fn append_only_file(&self) -> AppendOnlyFile {
        AppendOnlyFile::at(self.dir.join("appendonlydir").join("appendonly.aof.1.incr.aof"))
    }

    pub(crate) fn process(&self) -> Option<&Process> {
        self.process.as_ref()
    }

    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        match self.process.take() {
            Some(process) => process.kill(),
            None => Ok(()),
        }
    }

    pub(crate) async fn restart(&mut self) -> anyhow::Result<()> {
        self.kill()?;
        let mut command = Command::new("redis-server");
        command
            .args(["--bind", "127.0.0.1", "--port", &self.port.to_string(), "--save", ""])
            .args(["--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"])
            // The file stays one, in the order of the commands, for tests that read it or cut it back.
            .args(["--auto-aof-rewrite-percentage", "0"])
            .arg("--dir")
            .arg(&self.dir);
        self.process = Some(Process::start_silent(&mut command, &self.dir.join("redis.log"))?);
        let port = self.port;
        // While it reads its file it listens, and answers `-LOADING`.
        eventually("redis-server serves", Duration::from_secs(20), || async move {
            let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
            stream.write_all(b"PING\r\n").await?;
            let mut answer = [0; 7];
            stream.read_exact(&mut answer).await?;
            Ok((&answer == b"+PONG\r\n").then_some(()))
        })
        .await
    }
}
