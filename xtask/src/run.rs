//! Runs the commands that a task is made of, and ends them when the user asks to stop.

use std::env;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::interrupt;

/// Runs a command with its output passed through. `what` names it in errors.
pub(crate) fn run(command: &mut Command, what: &str) -> anyhow::Result<()> {
    let mut child = command.stdin(Stdio::null()).spawn().with_context(|| cannot_start(command, what))?;
    let status = wait(&mut child)?;
    if !status.success() {
        bail!("{what} failed ({status}); the reason is above");
    }
    Ok(())
}

/// Runs a command whose own output is progress: all of it goes to stderr, so that stdout keeps the result alone.
pub(crate) fn run_quietly(command: &mut Command, what: &str) -> anyhow::Result<()> {
    run(command.stdout(std::io::stderr()), what)
}

/// Runs a short command and gives what it printed on stdout, trimmed.
pub(crate) fn capture(command: &mut Command, what: &str) -> anyhow::Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| cannot_start(command, what))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{what} failed ({}): {}", output.status, said.trim());
    }
    let text = String::from_utf8(output.stdout).with_context(|| format!("{what} printed no text"))?;
    Ok(text.trim().to_owned())
}

/// Whether a command can be started and says yes; its output is dropped.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// Cargo in `dir`, with the variables that `cargo run` set for this program taken out again:
/// build scripts that watch them would run anew.
pub(crate) fn cargo(dir: &Path) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(dir);
    for (name, _) in env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("CARGO_PKG_")
            || ["CARGO", "CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH"].contains(&name_text.as_ref())
        {
            cargo.env_remove(&name);
        }
    }
    cargo
}

fn cannot_start(command: &Command, what: &str) -> String {
    format!("{what}: cannot start {}", command.get_program().to_string_lossy())
}

fn wait(child: &mut Child) -> anyhow::Result<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait()? {
            // A child that Ctrl-C reached first is no failure of its own.
            interrupt::check()?;
            return Ok(status);
        }
        if interrupt::count() > 0 {
            end(child)?;
            return Err(interrupt::Interrupted.into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn end(child: &mut Child) -> anyhow::Result<()> {
    if let Some(pid) = Pid::from_raw(child.id().cast_signed()) {
        // Not yet waited for, so the pid is still this child's; it may have ended, which is as good.
        let _ended_already = kill_process(pid, Signal::TERM);
    }
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(5) {
        if child.try_wait()?.is_some() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill()?;
    child.wait()?;
    Ok(())
}
