//! Why a model is not measured, or not served.

use std::io;
use std::path::{Path, PathBuf};

use cocoon_receipts::Digest;

/// Why there is no digest, or not the right one.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    #[error("cannot read the model at {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot copy the model to {}: {source}", path.display())]
    Copy { path: PathBuf, source: io::Error },
    #[error("the model's folder {} has no files", .0.display())]
    Empty(PathBuf),
    #[error("the model's folder has a file whose name is not UTF-8: {}", .0.display())]
    Name(PathBuf),
    #[error("the model's folder {} has more than {limit} files, or folders that are nested too deep", path.display())]
    TooMany { path: PathBuf, limit: usize },
    #[error("the model at {} changed while it was read", .0.display())]
    Changing(PathBuf),
    #[error("the model is another: model_sha256 is {expected}, and the files have {actual}")]
    Differs { expected: Digest, actual: Digest },
    #[error(
        "{} is {problem}: in a TEE the model must lie on a read-only dm-verity device, or in memory (tmpfs); \
         model_copy_dir can name a folder on a tmpfs that it is copied into",
        path.display()
    )]
    Unmeasured { path: PathBuf, problem: &'static str },
    #[error("the guest has swap ({0}), by which files in memory leave it: turn it off")]
    Swap(String),
    #[error("a thread that read the model ended")]
    Thread,
}

impl WeightsError {
    /// For `map_err`.
    pub(super) fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Read { path, source }
    }
}
