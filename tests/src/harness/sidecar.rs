//! The real `cocoon-connect`.

use std::process::Command;

use anyhow::Context;

use super::{Process, Stack, environment};

/// Ends when dropped.
pub(crate) struct Sidecar {
    _process: Process,
    address: String,
}

impl Sidecar {
    /// Seals what it is asked for the backends that the gateway at `gateway` lists, under the stack's policy.
    pub(crate) async fn start(stack: &Stack, gateway: &str, more: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new(environment::path("COCOON_CONNECT_BIN")?);
        command
            .args(["--gateway", gateway, "--listen", "127.0.0.1:0", "--policy"])
            .arg(stack.path("policy.toml"))
            .arg("--state-dir")
            .arg(stack.path("connect"))
            .args(more);
        let (process, ready) = Process::start(&mut command, &stack.path("connect.log"))?;
        let address = ready["listen"].as_str().context("no address")?.to_owned();
        Ok(Self { _process: process, address })
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn base_url(&self) -> String {
        format!("{}/v1", self.origin())
    }
}
