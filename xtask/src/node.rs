//! Node.js: some of the clients that the tests drive the gateway with are written for it, and the dashboard's library
//! comes as one of its packages. The contracts' compiler and the official TVM come as packages too.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::console::note;
use crate::fingerprint::Fingerprint;
use crate::places::Places;
use crate::run::{run_quietly, succeeds};
use crate::{files, lock, system};

const NODE: &str = "node";
const NPM: &str = "npm";
/// The oldest that the clients work on.
const OLDEST: u32 = 20;
const LISTS: [&str; 2] = ["package.json", "package-lock.json"];

/// The `node_modules` with what `tests/clients/package-lock.json` names.
pub(crate) fn for_tests(places: &Places) -> anyhow::Result<PathBuf> {
    packages(places, &places.root.join("tests/clients"), "node-tests")
}

/// The `node_modules` with what the dashboard takes from others.
pub(crate) fn for_dashboard(places: &Places) -> anyhow::Result<PathBuf> {
    packages(places, &places.root.join("gateway/dashboard/vendor"), "node-dashboard")
}

/// The `node_modules` with what compiles the contracts and runs them.
pub(crate) fn for_contracts(places: &Places) -> anyhow::Result<PathBuf> {
    packages(places, &places.root.join("contracts"), "node-contracts")
}

/// The `node_modules` with what the lists in `lists` name, by the hashes there; made once and kept under `kept_as`.
fn packages(places: &Places, lists: &Path, kept_as: &str) -> anyhow::Result<PathBuf> {
    ensure()?;
    let mut fingerprint = Fingerprint::new();
    for list in LISTS {
        let path = lists.join(list);
        let content = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        fingerprint.field(list, &content);
    }
    let key = fingerprint.hex();
    let folder = places.cache.join(format!("{kept_as}-{}", key.get(..16).unwrap_or_default()));

    let _single_flight =
        lock::wait(&folder.with_extension("lock"), "another run is installing the same packages")?;
    let (modules, complete) = (folder.join("node_modules"), folder.join("complete"));
    if !complete.is_file() {
        install(lists, &folder)?;
        fs::write(&complete, "").with_context(|| format!("cannot write {}", complete.display()))?;
    }
    Ok(modules)
}

fn install(lists: &Path, folder: &Path) -> anyhow::Result<()> {
    note("installing Node.js packages");
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    files::create_dir(folder)?;
    for list in LISTS {
        let copy = folder.join(list);
        fs::copy(lists.join(list), &copy).with_context(|| format!("cannot write {}", copy.display()))?;
    }
    let mut npm = Command::new(NPM);
    // The packages' own scripts are not needed, and need not be trusted.
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(folder);
    run_quietly(&mut npm, "npm ci")
}

fn ensure() -> anyhow::Result<()> {
    if !system::is_on_path(NODE) || !system::is_on_path(NPM) {
        system::install(&["nodejs", NPM], &format!("the tests need Node.js {OLDEST} or newer, with npm"))?;
    }
    let new_enough = format!("process.exit(parseInt(process.versions.node) >= {OLDEST} ? 0 : 1)");
    if !succeeds(Command::new(NODE).args(["--eval", &new_enough])) {
        bail!("the node found first on PATH is older than {OLDEST}: install Node.js {OLDEST} or newer");
    }
    Ok(())
}
