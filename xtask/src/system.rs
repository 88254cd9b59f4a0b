//! Programs that the machine itself must have.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};

use crate::console::note;
use crate::run::run_quietly;

pub(crate) fn is_on_path(program: &str) -> bool {
    on_path(program).is_some()
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// Installs Debian packages when this user may; otherwise the error says what to install.
pub(crate) fn install(packages: &[&str], why: &str) -> anyhow::Result<()> {
    let names = packages.join(" ");
    if !rustix::process::geteuid().is_root() || !is_on_path("apt-get") {
        bail!(
            "{why}: install it with your system's package manager (Debian and Ubuntu: apt-get install {names})"
        );
    }
    note(&format!("{why}: installing {names}"));
    let apt = || {
        let mut apt = Command::new("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive").arg("-q");
        apt
    };
    run_quietly(apt().arg("update"), "apt-get update")?;
    let mut install = apt();
    install.args(["install", "-y", "--no-install-recommends"]).args(packages);
    run_quietly(&mut install, &format!("apt-get install {names}"))
}

/// The tests start their own server on a port of their own; they only need the program.
pub(crate) fn redis_server() -> anyhow::Result<()> {
    for_tests("redis-server")
}

pub(crate) fn curl() -> anyhow::Result<()> {
    for_tests("curl")
}

/// Shows what a process reads and writes.
pub(crate) fn strace() -> anyhow::Result<()> {
    for_tests("strace")
}

/// The browser that the dashboard is tested in.
pub(crate) fn chromium() -> anyhow::Result<PathBuf> {
    for_tests("chromium")?;
    on_path("chromium").context("chromium is installed, and not on PATH")
}

fn for_tests(program: &str) -> anyhow::Result<()> {
    if is_on_path(program) {
        return Ok(());
    }
    install(&[program], &format!("the tests need {program}"))
}
