//! Real third-party clients: scripts under `tests/clients`, in an environment of their own.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};

use super::environment;

const LIMIT: Duration = Duration::from_secs(300);

/// Runs `tests/clients/SCRIPT` with these variables; what it prints on its last line is JSON.
pub(crate) async fn run_python(
    script: &str,
    variables: &[(&str, &str)],
) -> anyhow::Result<serde_json::Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(script);
    let mut command = tokio::process::Command::new(environment::path("COCOON_TEST_PYTHON")?);
    command.arg(path).stdin(Stdio::null()).kill_on_drop(true).envs(variables.iter().copied());
    let output = tokio::time::timeout(LIMIT, command.output()).await.context("the client did not end")??;
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        bail!("{script} failed:\n{stdout}\n{stderr}");
    }
    let last = stdout.lines().last().unwrap_or_default();
    serde_json::from_str(last).with_context(|| format!("{script} printed:\n{stdout}"))
}
