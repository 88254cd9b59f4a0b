//! Python, for two things: the default model comes in a Python package, and the tests drive the gateway with clients
//! that are written in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::console::note;
use crate::fingerprint::Fingerprint;
use crate::places::Places;
use crate::run::{run_quietly, succeeds};
use crate::{files, lock, system};

const PYTHON: &str = "python3";

/// A `python3` whose `pip` works.
pub(crate) fn with_pip() -> anyhow::Result<Command> {
    ensure("pip", &["-m", "pip", "--version"], "python3-pip")?;
    Ok(Command::new(PYTHON))
}

/// The interpreter of a virtual environment with what `tests/clients/FILE` names.
pub(crate) fn for_tests(places: &Places, file: &str) -> anyhow::Result<PathBuf> {
    let requirements = places.root.join("tests/clients").join(file);
    let wanted = fs::read_to_string(&requirements)
        .with_context(|| format!("cannot read {}", requirements.display()))?;
    environment(places, "tests", &wanted)
}

/// The interpreter of a virtual environment with `requirements`, in pip's own format; made once and kept.
pub(crate) fn environment(places: &Places, label: &str, requirements: &str) -> anyhow::Result<PathBuf> {
    let mut fingerprint = Fingerprint::new();
    fingerprint.field("requirements", requirements.as_bytes());
    let key = fingerprint.hex();
    let folder = places.cache.join(format!("venv-{label}-{}", key.get(..16).unwrap_or_default()));

    let lock_file = folder.with_extension("lock");
    let _single_flight = lock::wait(&lock_file, "another run is installing the same packages")?;
    let python = folder.join("bin/python");
    let complete = folder.join("complete");
    // An interpreter that was upgraded away leaves a dead link behind.
    if complete.is_file() && succeeds(Command::new(&python).arg("--version")) {
        return Ok(python);
    }
    create(&folder, &python, requirements)?;
    fs::write(&complete, "").with_context(|| format!("cannot write {}", complete.display()))?;
    Ok(python)
}

fn create(folder: &Path, python: &Path, requirements: &str) -> anyhow::Result<()> {
    note("installing Python packages");
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    if let Some(parent) = folder.parent() {
        files::create_dir(parent)?;
    }
    ensure("venv", &["-c", "import ensurepip, venv"], "python3-venv")?;
    run_quietly(Command::new(PYTHON).args(["-m", "venv"]).arg(folder), "python3 -m venv")?;
    let list = folder.join("requirements.txt");
    fs::write(&list, requirements).with_context(|| format!("cannot write {}", list.display()))?;
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]).arg(&list);
    run_quietly(&mut pip, "pip install")
}

fn ensure(module: &str, probe: &[&str], package: &str) -> anyhow::Result<()> {
    if !succeeds(Command::new(PYTHON).args(probe)) {
        system::install(&["python3", package], &format!("python3 with {module} is needed"))?;
        if !succeeds(Command::new(PYTHON).args(probe)) {
            bail!(
                "the python3 found first on PATH has no working {module}: add it, or put another one first"
            );
        }
    }
    Ok(())
}
