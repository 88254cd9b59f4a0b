//! A real Redis of one test, configured as a ledger needs it.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

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
        self.begin(&[])?;
        // While it reads its file it listens, and answers `-LOADING`.
        self.until_it_answers("+PONG").await
    }

    /// The same with a server that takes `pause` for every command in its file; ready when it says that it reads it.
    pub(crate) async fn restart_slowly(&mut self, pause: Duration) -> anyhow::Result<()> {
        self.begin(&["--key-load-delay", &pause.as_micros().to_string()])?;
        self.until_it_answers("-LOADING").await
    }

    fn begin(&mut self, more: &[&str]) -> anyhow::Result<()> {
        self.kill()?;
        let mut command = Command::new("redis-server");
        command
            .args(["--bind", "127.0.0.1", "--port", &self.port.to_string(), "--save", ""])
            .args(["--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"])
            // The file stays one, in the order of the commands, for tests that read it or cut it back.
            .args(["--auto-aof-rewrite-percentage", "0"])
            .args(more)
            .arg("--dir")
            .arg(&self.dir);
        self.process = Some(Process::start_silent(&mut command, &self.dir.join("redis.log"))?);
        Ok(())
    }

    async fn until_it_answers(&self, expected: &str) -> anyhow::Result<()> {
        let port = self.port;
        eventually(&format!("redis-server answers {expected}"), Duration::from_secs(20), || async move {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
            stream.write_all(b"PING\r\n").await?;
            let mut answer = vec![0; expected.len()];
            stream.read_exact(&mut answer).await?;
            Ok((answer == expected.as_bytes()).then_some(()))
        })
        .await
    }
}
