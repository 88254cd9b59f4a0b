//! A client that stays: it can be searched for what it asked and got.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

use super::script::python;
use super::stack::MODEL;

const LIMIT: Duration = Duration::from_secs(120);

/// What the client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// OpenAI's API, as it is.
    Plain,
    /// The same, sealed by a third party's EHBP.
    Ehbp,
}

/// `tests/clients/held.py`. Ends when dropped.
pub(crate) struct Held {
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Held {
    pub(crate) fn start(
        transport: Transport,
        base_url: &str,
        key: &str,
        marker: &str,
    ) -> anyhow::Result<Self> {
        let mut child = python("COCOON_TEST_PYTHON", "held.py")?
            .env("OPENAI_BASE_URL", base_url)
            .env("OPENAI_API_KEY", key)
            .env("COCOON_MODEL", MODEL)
            .env("COCOON_MARKER", marker)
            .env("COCOON_TRANSPORT", if transport == Transport::Plain { "plain" } else { "ehbp" })
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdin = child.stdin.take().context("no standard input")?;
        let lines = BufReader::new(child.stdout.take().context("no standard output")?).lines();
        Ok(Self { child, stdin, lines })
    }

    pub(crate) fn pid(&self) -> anyhow::Result<u32> {
        self.child.id().context("the client has ended")
    }

    /// The text that the client has at its next stop, which must be `stop`.
    pub(crate) async fn next(&mut self, stop: &str) -> anyhow::Result<String> {
        let line = tokio::time::timeout(LIMIT, self.lines.next_line()).await.context(stop.to_owned())??;
        let said: serde_json::Value = serde_json::from_str(&line.context("the client has ended")?)?;
        Ok(said[stop].as_str().with_context(|| format!("not {stop}: {said}"))?.to_owned())
    }

    /// Lets a client that stopped in the middle read on.
    pub(crate) async fn go_on(&mut self) -> anyhow::Result<()> {
        Ok(self.stdin.write_all(b"\n").await?)
    }

    pub(crate) async fn end(self) -> anyhow::Result<()> {
        let Self { mut child, stdin, .. } = self;
        drop(stdin);
        let status = tokio::time::timeout(LIMIT, child.wait()).await.context("the client does not end")??;
        ensure!(status.success(), "{status}");
        Ok(())
    }
}
