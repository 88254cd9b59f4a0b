//! `cargo xtask guards`: takes each guard of `tests/guards.json` out in turn, in a copy of the tree, and runs the tests that
//! are to notice. Fails if one can go without a test that fails.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use clap::Args;
use serde::Deserialize;

use crate::fingerprint::files;
use crate::places::Places;
use crate::run::{capture, cargo, run_quietly};

const TABLE: &str = "tests/guards.json";

#[derive(Args, Default)]
pub(crate) struct Options {
    /// Only guards whose name contains this
    filter: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Guard {
    /// Number in `docs/PITFALLS.md`.
    pitfall: u32,
    guard: String,
    file: PathBuf,
    from: String,
    to: String,
    /// Arguments of `cargo test`.
    tests: Vec<String>,
}

pub(crate) fn guards(places: &Places, options: &Options) -> anyhow::Result<()> {
    let text = fs::read_to_string(places.root.join(TABLE)).context(TABLE)?;
    let all: Vec<Guard> = serde_json::from_str(&text).context(TABLE)?;
    let wanted = |guard: &&Guard| options.filter.as_ref().is_none_or(|word| guard.guard.contains(word));
    let chosen: Vec<&Guard> = all.iter().filter(wanted).collect();
    ensure!(!chosen.is_empty(), "no guard has that in its name");
    let copy = places.release.with_file_name("guards");
    copy_tree(&places.root, &copy)?;

    // With every guard in place all of them pass, or their failing would say nothing.
    let sets: BTreeSet<&Vec<String>> = chosen.iter().map(|guard| &guard.tests).collect();
    for tests in sets {
        build(&copy, tests)?;
        ensure!(failures(&copy, tests)?.is_none(), "with every guard in place {} fails", tests.join(" "));
    }
    let mut unnoticed = 0;
    for guard in &chosen {
        let seen = without(&copy, guard).with_context(|| format!("{TABLE}: {}", guard.guard))?;
        unnoticed += usize::from(seen.is_none());
        let word = if seen.is_some() { "noticed" } else { "NOT NOTICED" };
        let first = seen.unwrap_or_default();
        println!("{word}: {} {} ({first})", guard.pitfall, guard.guard);
    }
    println!("{} of {} guards are missed when they are gone", chosen.len() - unnoticed, chosen.len());
    ensure!(unnoticed == 0, "{unnoticed} guards can be taken out without a test that fails");
    Ok(())
}

/// The first test that fails without the guard, if one does.
fn without(copy: &Path, guard: &Guard) -> anyhow::Result<Option<String>> {
    let path = copy.join(&guard.file);
    let text = fs::read_to_string(&path).with_context(|| guard.file.display().to_string())?;
    let count = text.matches(&guard.from).count();
    ensure!(count == 1, "{} has {count} times: {}", guard.file.display(), guard.from);
    fs::write(&path, text.replace(&guard.from, &guard.to))?;
    let seen = build(copy, &guard.tests).and_then(|()| failures(copy, &guard.tests));
    fs::write(&path, text)?;
    seen
}

fn cargo_test(copy: &Path, tests: &[String]) -> Command {
    let mut command = cargo(copy);
    // Its own: what is built there has other sources.
    command.env_remove("CARGO_TARGET_DIR").arg("test").args(tests.split_last().map_or(tests, |(_, all)| all));
    command
}

/// What does not compile is not noticed by a test.
fn build(copy: &Path, tests: &[String]) -> anyhow::Result<()> {
    run_quietly(cargo_test(copy, tests).args(["--quiet", "--no-run"]), "the build without the guard")
}

fn failures(copy: &Path, tests: &[String]) -> anyhow::Result<Option<String>> {
    let filter = tests.last().context("no test is named")?;
    let output = cargo_test(copy, tests).arg(filter).stdin(Stdio::null()).output().context("cargo test")?;
    let said = String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        ensure!(!said.contains("running 0 tests"), "no test has {filter} in its name");
        return Ok(None);
    }
    let failed = said.lines().find_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"));
    match failed {
        Some(name) => Ok(Some(name.to_owned())),
        None => bail!("cargo test ended without a test that failed:\n{said}"),
    }
}

/// Makes `copy` what git would show of `root`; what is the same keeps its time, so that it is not built again.
fn copy_tree(root: &Path, copy: &Path) -> anyhow::Result<()> {
    let mut git = Command::new("git");
    git.current_dir(root).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let listed = capture(&mut git, "git ls-files")?;
    let listed: BTreeSet<PathBuf> =
        listed.split('\0').filter(|path| !path.is_empty()).map(PathBuf::from).collect();
    fs::create_dir_all(copy)?;
    for gone in files(copy)?.into_iter().filter(|path| !listed.contains(path)) {
        fs::remove_file(copy.join(gone))?;
    }
    for path in &listed {
        let content = match fs::read(root.join(path)) {
            Ok(content) => content,
            // Removed, and git has not been told.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        let to = copy.join(path);
        if fs::read(&to).is_ok_and(|there| there == content) {
            continue;
        }
        fs::create_dir_all(to.parent().context("a file without a folder")?)?;
        fs::write(&to, content).with_context(|| to.display().to_string())?;
    }
    Ok(())
}
