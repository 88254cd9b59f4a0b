//! Real third-party clients: scripts under `tests/clients`, each with the packages it needs and no others.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tempfile::TempDir;
use tokio::process::Command;

use super::environment;

/// What runs a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Runtime {
    Python,
    /// Python with the packages that instructor wants.
    PythonForInstructor,
    /// Python with the packages that tonutils wants.
    PythonForTon,
    Node,
    /// Node.js with the packages of the contracts, among them TON's own.
    NodeForTon,
}

/// Against a script that hangs. How long one works is for the machine to say: a busy one takes minutes for a browser.
const LIMIT: Duration = Duration::from_secs(1800);

/// [`run_script`] with Python.
pub(crate) async fn run_python(
    script: &str,
    variables: &[(&str, &str)],
) -> anyhow::Result<serde_json::Value> {
    run_script(Runtime::Python, script, variables).await
}

/// Runs `tests/clients/SCRIPT` with these variables; what it prints on its last line is JSON.
pub(crate) async fn run_script(
    runtime: Runtime,
    script: &str,
    variables: &[(&str, &str)],
) -> anyhow::Result<serde_json::Value> {
    // Lives as long as the script runs.
    let (mut command, _folder) = match runtime {
        Runtime::Python => (python("COCOON_TEST_PYTHON", script)?, None),
        Runtime::PythonForInstructor => (python("COCOON_TEST_PYTHON_INSTRUCTOR", script)?, None),
        Runtime::PythonForTon => (python("COCOON_TEST_PYTHON_TON", script)?, None),
        Runtime::Node => node("COCOON_TEST_NODE_MODULES", script)?,
        Runtime::NodeForTon => node("COCOON_TEST_CONTRACTS_MODULES", script)?,
    };
    command.stdin(Stdio::null()).kill_on_drop(true).envs(variables.iter().copied());
    let output = tokio::time::timeout(LIMIT, command.output())
        .await
        .with_context(|| format!("{script} did not end in {LIMIT:?}"))??;
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        bail!("{script} failed:\n{stdout}\n{stderr}");
    }
    let last = stdout.lines().last().unwrap_or_default();
    serde_json::from_str(last).with_context(|| format!("{script} printed:\n{stdout}\n{stderr}"))
}

/// A Python script with the packages of the environment that `variable` names.
pub(super) fn python(variable: &str, script: &str) -> anyhow::Result<Command> {
    let mut command = Command::new(environment::path(variable)?);
    // The checkout is no place for compiled scripts.
    command.arg(scripts().join(script)).env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(command)
}

/// A Node.js script with the packages that `variable` names. They are looked for beside the script alone: it is
/// run in a folder with copies of the scripts and a link to the packages.
fn node(variable: &str, script: &str) -> anyhow::Result<(Command, Option<TempDir>)> {
    let folder = tempfile::tempdir()?;
    for entry in std::fs::read_dir(scripts())? {
        let path = entry?.path();
        if let Some(name) = path.file_name().filter(|_| path.extension().is_some_and(|kind| kind == "mjs")) {
            std::fs::copy(&path, folder.path().join(name))?;
        }
    }
    std::os::unix::fs::symlink(environment::path(variable)?, folder.path().join("node_modules"))?;
    let mut command = Command::new("node");
    command.arg(folder.path().join(script));
    Ok((command, Some(folder)))
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}
