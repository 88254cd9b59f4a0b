//! The real `cocoon-connect` in front of a test's gateway.

use std::process::{Command, Output};

use anyhow::Context;

use super::{Client, Process, Stack, environment};

/// Ends when dropped.
pub(crate) struct Sidecar {
    _process: Process,
    origin: String,
    key: String,
}

impl Sidecar {
    /// Between clients and the gateway of `stack`, under the policy that the gateway has.
    pub(crate) fn start(stack: &Stack) -> anyhow::Result<Self> {
        Self::with_gateway(stack, &stack.origin())
    }

    /// The same, with something of the test's in the gateway's place.
    pub(crate) fn with_gateway(stack: &Stack, gateway: &str) -> anyhow::Result<Self> {
        let mut command = command(stack, gateway)?;
        command.args(["--listen", "127.0.0.1:0"]);
        let (process, ready) = Process::start(&mut command, &stack.path("connect.log"))?;
        let listen = ready["listen"].as_str().context("the ready line has no address")?;
        Ok(Self { _process: process, origin: format!("http://{listen}"), key: stack.key.clone() })
    }

    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    /// A client with the test account's key.
    pub(crate) fn client(&self) -> Client {
        Client::new(format!("{}/v1", self.origin), self.key.clone())
    }

    /// What `cocoon-connect verify` says of the gateway.
    pub(crate) fn verify(stack: &Stack, arguments: &[&str]) -> anyhow::Result<Output> {
        let mut command = Command::new(environment::path("COCOON_CONNECT_BIN")?);
        command.arg("verify").args(common(stack, &stack.origin())?).args(arguments);
        Ok(command.output()?)
    }
}

fn command(stack: &Stack, gateway: &str) -> anyhow::Result<Command> {
    let mut command = Command::new(environment::path("COCOON_CONNECT_BIN")?);
    command.args(common(stack, gateway)?);
    Ok(command)
}

fn common(stack: &Stack, gateway: &str) -> anyhow::Result<[String; 6]> {
    let text = |name: &str| {
        let path = stack.path(name);
        path.to_str().map(str::to_owned).with_context(|| format!("{} is not UTF-8", path.display()))
    };
    Ok([
        "--gateway".to_owned(),
        gateway.to_owned(),
        "--policy".to_owned(),
        text("policy.toml")?,
        "--state-dir".to_owned(),
        text("connect")?,
    ])
}
