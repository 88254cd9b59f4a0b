//! The real `cocoon-connect`.

use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, ensure};
use serde_json::Value;

use super::{Client, Process, Stack, environment};

/// Ends when dropped.
pub(crate) struct Sidecar {
    _process: Process,
    address: String,
}

impl Sidecar {
    /// Seals what it is asked for the backends that the gateway at `gateway` lists, under the stack's policy.
    pub(crate) async fn start(stack: &Stack, gateway: &str, more: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new(environment::path("COCOON_CONNECT_BIN")?);
        command.args(more);
        Self::run(command, stack, gateway)
    }

    /// The same on a machine that trusts the certificate in this file, and no other.
    pub(crate) async fn start_trusting(
        stack: &Stack,
        gateway: &str,
        certificate: &Path,
    ) -> anyhow::Result<Self> {
        let mut command = Command::new(environment::path("COCOON_CONNECT_BIN")?);
        command.env("SSL_CERT_FILE", certificate).env_remove("SSL_CERT_DIR");
        Self::run(command, stack, gateway)
    }

    fn run(mut command: Command, stack: &Stack, gateway: &str) -> anyhow::Result<Self> {
        common(&mut command, stack, gateway).args(["--listen", "127.0.0.1:0"]);
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

    /// A client with the test account's key.
    pub(crate) fn client(&self, stack: &Stack) -> Client {
        Client::new(self.base_url(), stack.key.clone())
    }

    /// A client with the local token, for a sidecar that pays by itself.
    pub(crate) fn local_client(&self, stack: &Stack) -> anyhow::Result<Client> {
        let token = std::fs::read_to_string(stack.path("connect").join("token"))?;
        Ok(Client::new(self.base_url(), token.trim().to_owned()))
    }

    /// `cocoon-connect channel …` against the chain at `chain`: what it prints.
    pub(crate) fn channel(
        stack: &Stack,
        gateway: &str,
        chain: &str,
        arguments: &[&str],
    ) -> anyhow::Result<Value> {
        let mut command = Command::new(environment::path("COCOON_CONNECT_BIN")?);
        command.arg("channel").args(arguments).args(["--json", "--network", "test:-3", "--wait-s", "60"]);
        command.args(["--gateway", gateway, "--chain-endpoint", chain, "--state-dir"]);
        let output = command.arg(stack.path("connect")).output()?;
        let text = String::from_utf8(output.stdout)?;
        ensure!(
            output.status.success(),
            "channel {arguments:?}: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_str(&text).with_context(|| format!("channel {arguments:?}: {text}"))
    }

    /// What `cocoon-connect verify` says of the stack's gateway.
    pub(crate) fn verify(stack: &Stack, more: &[&str]) -> anyhow::Result<Output> {
        let mut command = Command::new(environment::path("COCOON_CONNECT_BIN")?);
        Ok(common(command.arg("verify"), stack, &stack.origin()).args(more).output()?)
    }
}

fn common<'a>(command: &'a mut Command, stack: &Stack, gateway: &str) -> &'a mut Command {
    command
        .args(["--gateway", gateway, "--policy"])
        .arg(stack.path("policy.toml"))
        .arg("--state-dir")
        .arg(stack.path("connect"))
}
