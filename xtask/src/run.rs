//! Runs the commands that a task is made of, and ends them when the user asks to stop.

use std::env;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::interrupt;

/// Runs a command with its output passed through. `what` names it in errors.
///
/// It gets a process group of its own, so that all it started can be ended with it: cargo, told to
/// stop, leaves its compilers running, and they would write into the next build.
pub(crate) fn run(command: &mut Command, what: &str) -> anyhow::Result<()> {
    let mut child =
        command.stdin(Stdio::null()).process_group(0).spawn().with_context(|| cannot_start(command, what))?;
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
        let said = said.trim().lines().map(crate::contract::readable).collect::<Vec<_>>().join("\n");
        bail!("{what} failed ({}): {said}", output.status);
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
    let since = Instant::now();
    signal_group(child, Signal::TERM);
    while since.elapsed() < Duration::from_secs(5) {
        if child.try_wait()?.is_some() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    signal_group(child, Signal::KILL);
    child.wait()?;
    Ok(())
}

/// To be called while the child is not waited for: until then its number belongs to nobody else.
fn signal_group(child: &Child, signal: Signal) {
    if let Some(group) = Pid::from_raw(child.id().cast_signed()) {
        // An error means that it has ended, which is what is wanted.
        let _ended_already = kill_process_group(group, signal);
    }
}
