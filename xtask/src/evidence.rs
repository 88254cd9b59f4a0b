//! Attestation evidence that hardware made, for the tests: NVIDIA's tokens of eight H100 with the keys that signed them, and
//! a TDX quote of an H200 machine. They are fixtures in the source package of `voltage-verify`, a verifier in Python, which
//! is under the MIT licence; they are fetched, and not part of this repository.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::console::note;
use crate::places::Places;
use crate::run::run_quietly;
use crate::{files, fingerprint, lock, python};

const PACKAGE: &str = "voltage-verify";
const VERSION: &str = "0.2.3";
const FOLDER: &str = "voltage_verify-0.2.3";
/// Of the source package.
const SHA256: &str = "2eeb8bfa260977ba14a97a0eb07aa1a10c5ce307870577ce1c7c549f80bd8599";

/// The unpacked source package, which is fetched once and kept.
pub(crate) fn for_tests(places: &Places) -> anyhow::Result<PathBuf> {
    let folder = places.cache.join(format!("evidence-{}", SHA256.get(..16).unwrap_or_default()));
    let _single_flight =
        lock::wait(&folder.with_extension("lock"), "another run is fetching the same evidence")?;
    let (unpacked, complete) = (folder.join(FOLDER), folder.join("complete"));
    if !complete.is_file() {
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        }
        files::create_dir(&folder)?;
        unpack(&download(&folder)?, &folder)?;
        if !unpacked.is_dir() {
            bail!("the source package of {PACKAGE} has no folder {FOLDER}");
        }
        fs::write(&complete, "").with_context(|| format!("cannot write {}", complete.display()))?;
    }
    Ok(unpacked)
}

/// Through pip, which knows the index that this machine is to use.
fn download(folder: &Path) -> anyhow::Result<PathBuf> {
    note("downloading attestation evidence, 0.1 MB");
    let list = folder.join("requirements.txt");
    fs::write(&list, format!("{PACKAGE}=={VERSION} --hash=sha256:{SHA256}\n"))
        .with_context(|| format!("cannot write {}", list.display()))?;
    let mut pip = python::with_pip()?;
    pip.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--require-hashes"]);
    pip.args(["--no-deps", "--no-binary", PACKAGE, "--requirement"]).arg(&list).arg("--dest").arg(folder);
    run_quietly(&mut pip, "pip download")?;
    let archive = folder.join(format!("{FOLDER}.tar.gz"));
    let digest = fingerprint::of_file(&archive)?;
    if digest != SHA256 {
        bail!("{} has SHA-256 {digest} instead of {SHA256}", archive.display());
    }
    Ok(archive)
}

/// With the system's `tar`, which writes nothing outside of `folder`: it refuses names with `..` and makes absolute ones
/// relative.
fn unpack(archive: &Path, folder: &Path) -> anyhow::Result<()> {
    let mut tar = Command::new("tar");
    tar.arg("--extract").arg("--gzip").arg("--file").arg(archive).arg("--directory").arg(folder);
    run_quietly(tar.args(["--no-same-owner", FOLDER]), "unpacking the evidence's package")
}
