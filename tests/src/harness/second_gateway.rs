//! Another gateway of a stack's deployment, on ports of its own.

use std::path::PathBuf;

use anyhow::Context;

use super::stack::gateway_binary;
use super::{Process, Stack, free_port};

/// Ends when dropped.
#[derive(Debug)]
pub(crate) struct SecondGateway {
    pub(crate) origin: String,
    pub(crate) ops_url: String,
    listen: [String; 2],
    config: PathBuf,
    log: PathBuf,
    process: Option<Process>,
}

impl SecondGateway {
    pub(super) fn new(stack: &Stack) -> anyhow::Result<Self> {
        let listen = [format!("127.0.0.1:{}", free_port()?), format!("127.0.0.1:{}", free_port()?)];
        Ok(Self {
            origin: format!("http://{}", listen[0]),
            ops_url: format!("http://{}", listen[1]),
            listen,
            config: stack.path("gateway.toml"),
            log: stack.path("second-gateway.log"),
            process: None,
        })
    }

    pub(crate) fn start(&mut self) -> anyhow::Result<()> {
        let [listen, ops_listen] = &self.listen;
        let mut command = gateway_binary()?;
        command
            .args(["serve", "--config"])
            .arg(&self.config)
            .env("COCOON_GATEWAY__LISTEN", listen)
            .env("COCOON_GATEWAY__OPS_LISTEN", ops_listen);
        self.process = Some(Process::start(&mut command, &self.log)?.0);
        Ok(())
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        self.process.take().context("no second gateway runs")?.kill()
    }
}
