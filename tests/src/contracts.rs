//! `contracts/`: compiled anew, and run on the official TVM by tests of their own under Node.js; and what
//! `crates/ton` is held against, made anew.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;
use tokio::process::Command;

use crate::harness::{full, path};

/// As many as there are, but for a few: none would be found where a folder has another name.
const FEWEST_TESTS: u32 = 190;

/// Rows of `docs/PITFALLS.md`.
const PITFALLS: u32 = 18;

/// Guards against: code that is not what its source says.
pub(crate) async fn their_code_is_what_their_sources_compile_to() -> anyhow::Result<()> {
    let folder = folder_with_packages()?;
    node(folder.path(), ["build.mjs", "--check"], Duration::from_secs(120)).await?;
    Ok(())
}

/// Guards against: what the tests of `contracts/tests` say, each of them.
pub(crate) async fn they_do_what_their_tests_say() -> anyhow::Result<()> {
    let folder = folder_with_packages()?;
    let mut arguments: Vec<PathBuf> = vec!["--test".into(), "--test-reporter=tap".into()];
    for entry in std::fs::read_dir(folder.path().join("tests"))? {
        let file = entry?.path();
        if file.to_string_lossy().ends_with(".test.mjs") {
            arguments.push(file);
        }
    }
    let begun = Instant::now();
    let output = node(folder.path(), arguments, Duration::from_secs(600)).await?;
    let count = output.lines().rev().find_map(|line| line.strip_prefix("# pass "));
    let passed: u32 = count.context("the tests end without a count")?.parse()?;
    ensure!(passed >= FEWEST_TESTS, "only {passed} tests ran");
    let costs = std::fs::read_to_string(folder.path().join("fees.txt"))?;
    println!("{passed} tests of the contracts in {:.0} s\n{costs}", begun.elapsed().as_secs_f64());
    Ok(())
}

/// Guards against: a guard of the contracts that no test needs, so that it could go without anybody noticing.
pub(crate) async fn each_guard_is_missed_when_it_is_gone() -> anyhow::Result<()> {
    let folder = folder_with_packages()?;
    let chosen = if full() { "" } else { "voucher" };
    let output = node(folder.path(), ["guards.mjs", chosen], Duration::from_secs(1800)).await?;
    println!("{output}");
    Ok(())
}

/// Guards against: a pitfall of `docs/PITFALLS.md` whose test was renamed or removed.
pub(crate) async fn each_pitfall_names_tests_that_are_there() -> anyhow::Result<()> {
    let table = std::fs::read_to_string(root().join("docs/PITFALLS.md"))?;
    let mut count = 0;
    for number in 1..=PITFALLS {
        let row = table.lines().find(|line| line.starts_with(&format!("| {number} | ")));
        let tests = row.and_then(|row| row.trim_end_matches(" |").rsplit(" | ").next());
        for file in tests.with_context(|| format!("no pitfall {number}"))?.split("; ") {
            let (file, names) = file.split_once(": ").context("a file without tests")?;
            let source = std::fs::read_to_string(root().join(file.trim_matches('`')))?;
            for name in names.split(" · ") {
                ensure!(source.contains(name), "pitfall {number}: {file} has no test `{name}`");
                count += 1;
            }
        }
    }
    println!("{PITFALLS} pitfalls, {count} tests");
    Ok(())
}

/// Guards against: goldens of `crates/ton` that are not what the other implementations make of today's contracts.
pub(crate) async fn the_goldens_are_what_others_make_anew() -> anyhow::Result<()> {
    const GOLDENS: &str = "crates/ton/goldens";
    let committed = root().join(GOLDENS);
    // The script finds the contracts from where it is.
    let folder = tempfile::tempdir()?;
    std::fs::create_dir(folder.path().join("contracts"))?;
    contracts_with_packages(&folder.path().join("contracts"))?;
    let made = folder.path().join(GOLDENS);
    std::fs::create_dir_all(&made)?;
    std::fs::copy(committed.join("make.mjs"), made.join("make.mjs"))?;
    node(&made, ["make.mjs"], Duration::from_secs(120)).await?;

    let (expected, found) = (names(&committed)?, names(&made)?);
    ensure!(expected == found, "committed are {expected:?}, made were {found:?}");
    for name in expected {
        let same = std::fs::read(committed.join(&name))? == std::fs::read(made.join(&name))?;
        ensure!(same, "{GOLDENS}/{name} is not what make.mjs makes");
    }
    Ok(())
}

fn names(folder: &Path) -> anyhow::Result<BTreeSet<String>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn folder_with_packages() -> anyhow::Result<TempDir> {
    let folder = tempfile::tempdir()?;
    contracts_with_packages(folder.path())?;
    Ok(folder)
}

/// Node.js looks for packages beside a module alone: a copy of `contracts/`, with a link to the packages.
fn contracts_with_packages(folder: &Path) -> anyhow::Result<()> {
    copy(&root().join("contracts"), folder)?;
    std::os::unix::fs::symlink(path("COCOON_TEST_CONTRACTS_MODULES")?, folder.join("node_modules"))?;
    Ok(())
}

/// Copies what is in a folder, but for packages that somebody installed there.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let copied = to.join(entry.file_name());
        if entry.file_name() == "node_modules" {
            continue;
        }
        if entry.file_type()?.is_dir() {
            std::fs::create_dir(&copied)?;
            copy(&entry.path(), &copied)?;
        } else {
            std::fs::copy(entry.path(), &copied)?;
        }
    }
    Ok(())
}

/// Runs Node.js in `folder` and gives what it printed.
async fn node(
    folder: &Path,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    limit: Duration,
) -> anyhow::Result<String> {
    let mut command = Command::new("node");
    command.args(arguments).current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(limit, command.output())
        .await
        .with_context(|| format!("the contracts' tests did not end in {limit:?}"))??;
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        bail!("{}\n{stdout}\n{stderr}", output.status);
    }
    Ok(stdout.into_owned())
}
