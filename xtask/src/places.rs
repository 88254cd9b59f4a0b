//! Where things are: the checkout, its build output, the cache that all checkouts share.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

pub(crate) struct Places {
    /// The root of this checkout.
    pub(crate) root: PathBuf,
    /// `target/release` of the root workspace.
    pub(crate) release: PathBuf,
    /// `$COCOON_CACHE` or `$HOME/.cache/cocoon`.
    pub(crate) cache: PathBuf,
}

impl Places {
    pub(crate) fn find() -> anyhow::Result<Self> {
        Ok(Self { root: root()?, release: release()?, cache: cache()? })
    }

    /// The folder of one deployment: `--dir`, or `.cocoon` in the checkout.
    pub(crate) fn deployment(&self, given: Option<&Path>) -> anyhow::Result<PathBuf> {
        match given {
            Some(dir) => std::path::absolute(dir).with_context(|| format!("--dir {}", dir.display())),
            None => Ok(self.root.join(".cocoon")),
        }
    }
}

/// Taken from cargo at run time, never from the build: two checkouts may share a target folder.
fn root() -> anyhow::Result<PathBuf> {
    if let Some(manifest) = env::var_os("CARGO_MANIFEST_DIR")
        && let Some(root) = Path::new(&manifest).parent()
        && is_root(root)
    {
        return Ok(root.to_path_buf());
    }
    let here = env::current_dir().context("the current folder cannot be read")?;
    match here.ancestors().find(|dir| is_root(dir)) {
        Some(root) => Ok(root.to_path_buf()),
        None => bail!("{} is not inside a checkout of Cocoon Gateway", here.display()),
    }
}

fn is_root(dir: &Path) -> bool {
    dir.join("Cargo.toml").is_file() && dir.join("xtask/Cargo.toml").is_file()
}

/// This program lies in `<target>/<profile>/`, wherever the user's settings put `<target>`.
fn release() -> anyhow::Result<PathBuf> {
    let program = env::current_exe().context("this program's own path cannot be read")?;
    let target = program.parent().and_then(Path::parent).context("this program lies in no target folder")?;
    Ok(target.join("release"))
}

fn cache() -> anyhow::Result<PathBuf> {
    if let Some(cache) = env::var_os("COCOON_CACHE").filter(|cache| !cache.is_empty()) {
        return std::path::absolute(cache).context("COCOON_CACHE");
    }
    match env::var_os("HOME").filter(|home| !home.is_empty()) {
        Some(home) => Ok(PathBuf::from(home).join(".cache/cocoon")),
        None => {
            bail!("neither COCOON_CACHE nor HOME is set: set COCOON_CACHE to a folder for builds and models")
        }
    }
}
