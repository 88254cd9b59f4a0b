//! A second backend of a stack's gateway, with a development root of its own.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;
use toml::Value;

use super::stack::{dev_root_in, outbox_of};
use super::{Process, Stack, environment};

/// Ends when dropped.
pub(crate) struct SecondBackend {
    /// What its evidence is signed by, as a policy names it.
    pub(crate) root: String,
    folder: PathBuf,
    _process: Process,
}

impl SecondBackend {
    /// Configured as the stack's own, but for `port`, its folder and its root. The stack's gateway knows it where
    /// [`Settings::second_backend`](super::Settings::second_backend) said so.
    pub(crate) fn start(stack: &Stack, port: u16) -> anyhow::Result<Self> {
        let (folder, keys) = (stack.path("second-backend"), stack.path("second-keys"));
        std::fs::create_dir_all(&folder)?;
        std::fs::create_dir_all(&keys)?;
        let root = dev_root_in(&keys)?;
        let mut config: toml::Table = std::fs::read_to_string(stack.path("backend.toml"))?.parse()?;
        let text = |path: PathBuf| path.to_str().map(Value::from).context("not UTF-8");
        config.insert("listen".into(), Value::from(format!("127.0.0.1:{port}")));
        config.insert("state_dir".into(), text(folder.clone())?);
        let evidence = config.get_mut("evidence").and_then(Value::as_table_mut).context("no evidence")?;
        evidence.insert("dev_root".into(), text(keys.join("dev-root.pem"))?);
        let file = stack.path("second-backend.toml");
        std::fs::write(&file, toml::to_string(&config)?)?;
        let mut command = Command::new(environment::path("COCOON_BACKEND_BIN")?);
        command.args(["serve", "--config"]).arg(&file);
        let process = Process::start(&mut command, &stack.path("second-backend.log"))?.0;
        Ok(Self { root, folder, _process: process })
    }

    /// Receipts in its outbox file, oldest first: (receipt, ticket).
    pub(crate) fn outbox(&self) -> anyhow::Result<Vec<(String, String)>> {
        outbox_of(&self.folder)
    }
}
