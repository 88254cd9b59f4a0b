//! The model in the guest's memory.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::WeightsError;
use super::manifest::Manifest;

/// The folder below the configured one that holds the copy, and nothing else.
const FOLDER: &str = "cocoon-model";

/// Copies the files of `manifest` below `copies`, in place of an earlier copy, and says what to load.
pub(super) fn copy(manifest: &Manifest, copies: &Path) -> Result<PathBuf, WeightsError> {
    let copies = std::path::absolute(copies).map_err(WeightsError::read(copies))?;
    let folder = copies.join(FOLDER);
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| WeightsError::Copy { path, source }
    };
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(&folder)(error)),
        _ => fs::create_dir(&folder).map_err(failed(&folder))?,
    }
    for file in &manifest.files {
        let to = folder.join(&file.name);
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).map_err(failed(parent))?;
        }
        fs::copy(&file.path, &to).map_err(failed(&to))?;
    }
    tracing::info!(folder = %folder.display(), files = manifest.files.len(), "the model is copied");
    Ok(manifest.file.as_ref().map_or(folder.clone(), |name| folder.join(name)))
}
