//! Which model this is: the digest that the keyset and every receipt state.
//!
//! In a TEE the bytes that were hashed are those that are loaded, because they lie where nobody but the measured guest
//! can change them: see [`guest`].

mod cache;
mod copy;
mod error;
mod guest;
mod hash;
mod manifest;
mod progress;

use std::path::{Path, PathBuf};

use cocoon_receipts::Digest;

pub use error::WeightsError;

use cache::Cache;
use guest::Guest;
use manifest::Manifest;

/// What is to be measured, and how.
#[derive(Debug, Clone)]
pub(crate) struct Measuring {
    /// A model file, or a folder with one.
    pub(crate) path: PathBuf,
    /// The digest that it must have.
    pub(crate) expected: Option<Digest>,
    /// Whether the files must lie where nobody outside the guest can change them. Nothing is cached then.
    pub(crate) in_tee: bool,
    /// Where digests are kept from one start to the next, outside a TEE.
    pub(crate) cache: PathBuf,
}

/// The path to load a model from, or its copy in `copies`. It begins at the root, so that an engine never takes it for
/// a name on a hub, and no folder on its way is a link, which could lead elsewhere the next time. Blocks.
///
/// # Errors
/// [`WeightsError`].
pub(crate) fn place(path: &Path, copies: Option<&Path>) -> Result<PathBuf, WeightsError> {
    let real = |path: &Path| path.canonicalize().map_err(WeightsError::read(path));
    let path = match (path.is_dir(), path.parent(), path.file_name()) {
        // Not what a file is linked to: it may have another name, and others beside it.
        (false, Some(folder), Some(name)) if folder.as_os_str().is_empty() => {
            real(Path::new("."))?.join(name)
        }
        (false, Some(folder), Some(name)) => real(folder)?.join(name),
        _ => real(path)?,
    };
    match copies {
        None => Ok(path),
        Some(copies) => copy::copy(&Manifest::of(&path)?, copies),
    }
}

/// The digest of the model, which is the expected one where there is one. Blocks.
///
/// # Errors
/// [`WeightsError`].
pub(crate) fn measure(measuring: &Measuring) -> Result<Digest, WeightsError> {
    let manifest = Manifest::of(&measuring.path)?;
    let mut cache = if measuring.in_tee {
        let guest = Guest::default();
        manifest.files.iter().try_for_each(|file| guest.check(&file.path))?;
        None
    } else {
        Some(Cache::load(&measuring.cache))
    };
    let digests = hash::files(&manifest, cache.as_ref())?;
    if let Some(cache) = &mut cache {
        cache.keep(&manifest, &digests);
    }
    let digests: Vec<Digest> = digests.into_iter().map(|hashed| hashed.digest).collect();
    let digest = manifest.digest(&digests);
    match measuring.expected {
        Some(expected) if expected != digest => Err(WeightsError::Differs { expected, actual: digest }),
        _ => Ok(digest),
    }
}

#[cfg(test)]
mod tests;
