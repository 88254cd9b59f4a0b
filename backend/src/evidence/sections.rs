//! Files that become sections of a document.

use std::io;
use std::path::{Path, PathBuf};

use cocoon_attestation::{Document, Section};
use tokio::io::AsyncReadExt as _;

/// Why a file gives no section.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{} has more than {limit} bytes", path.display())]
    TooLarge { path: PathBuf, limit: usize },
}

/// A file that may be configured.
#[derive(Debug)]
pub(super) struct Optional {
    path: Option<PathBuf>,
    limit: usize,
}

impl Optional {
    pub(super) fn new(path: Option<PathBuf>, limit: usize) -> Self {
        Self { path, limit }
    }

    /// Its bytes as they are now; none where it is not configured.
    pub(super) async fn read(&self) -> Result<Vec<u8>, ReadError> {
        match &self.path {
            Some(path) => read_bounded(path, self.limit).await,
            None => Ok(Vec::new()),
        }
    }
}

/// The bytes of a file, `limit` at most.
///
/// # Errors
/// [`ReadError`].
pub(super) async fn read_bounded(path: &Path, limit: usize) -> Result<Vec<u8>, ReadError> {
    let failed = |source| ReadError::File { path: path.to_owned(), source };
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut bytes).await.map_err(failed)?;
    if bytes.len() > limit {
        return Err(ReadError::TooLarge { path: path.to_owned(), limit });
    }
    Ok(bytes)
}

/// Bytes that a document takes on its way, but for its member names.
pub(super) fn encoded_len(document: &Document) -> usize {
    let Document { tee: _, keyset, devices, quote, nonce_path, collateral, event_log, release_bundle } =
        document;
    let sections = [keyset, devices, quote, nonce_path, collateral, event_log, release_bundle];
    sections.iter().map(|Section(bytes)| bytes.len().div_ceil(3) * 4).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_read_anew_and_never_beyond_its_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let section = Optional::new(Some(path.clone()), 4);
        assert!(matches!(section.read().await, Err(ReadError::File { .. })));
        for bytes in [&b"1234"[..], b"12"] {
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(section.read().await.unwrap(), bytes);
        }
        std::fs::write(&path, b"12345").unwrap();
        assert!(matches!(section.read().await, Err(ReadError::TooLarge { limit: 4, .. })));
        assert!(Optional::new(None, 4).read().await.unwrap().is_empty());
    }
}
