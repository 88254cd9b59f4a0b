//! Where journals go to be kept: a folder of segments, each closed by a checkpoint of what the shard's journal has made of
//! its accounts up to there. A checkpoint names the digests of its segment and of the checkpoint before it, and the ledger
//! keeps that of the newest one, so that nothing in the folder can be changed, left out or put in unnoticed.
//!
//! A file's name ends with its digest. Of two that archive at once, the slower leaves files that no chain names.

mod checkpoint;
mod error;
mod segment;
mod verify;
mod write;

use std::path::{Path, PathBuf};

use cocoon_receipts::Digest;

use crate::{ChainHead, Ledger, Replay, Shard};
use checkpoint::ShardCheckpoint;
pub use error::ArchiveError;
pub use verify::{Verified, verify_shard};
pub use write::{Archived, Archiving, archive_shard};

/// A folder of segments and checkpoints.
#[derive(Debug, Clone)]
pub struct Archive {
    folder: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Segment,
    Checkpoint,
}

impl Archive {
    /// # Errors
    /// [`ArchiveError::Io`] where `folder` is none: what looks like an empty archive may be a disk that is not mounted.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, ArchiveError> {
        let folder = folder.into();
        std::fs::read_dir(&folder).map_err(|source| ArchiveError::io(&folder, source))?;
        Ok(Self { folder })
    }

    /// What the journal of `shard` has made of its accounts up to `head`; empty where there is none.
    ///
    /// # Errors
    /// [`ArchiveError`] where that checkpoint is not here, or is not what it was.
    pub async fn replayed(&self, shard: Shard, head: Option<&ChainHead>) -> Result<Replay, ArchiveError> {
        let Some(head) = head.cloned() else { return Ok(Replay::default()) };
        let archive = self.clone();
        // Where the ledger has it: it may have moved to a store that counts differently.
        blocking(move || Ok(archive.checkpoint(shard, head.number, head.digest)?.into_replay(head.at))).await
    }

    fn checkpoint(&self, shard: Shard, number: u64, digest: Digest) -> Result<ShardCheckpoint, ArchiveError> {
        ShardCheckpoint::read(&self.path(shard, number, digest, Part::Checkpoint), shard, number, digest)
    }

    fn shard_folder(&self, shard: Shard) -> PathBuf {
        self.folder.join(shard.to_string())
    }

    fn path(&self, shard: Shard, number: u64, digest: Digest, part: Part) -> PathBuf {
        let ending = match part {
            Part::Segment => "journal.jsonl",
            Part::Checkpoint => "checkpoint.json",
        };
        self.shard_folder(shard).join(format!("{number:08}-{digest}.{ending}"))
    }
}

/// What a check of `shard` begins with: its newest checkpoint, and nothing where there is no archive.
///
/// # Errors
/// [`ArchiveError`].
pub async fn replayed(
    ledger: &dyn Ledger,
    archive: Option<&Archive>,
    shard: Shard,
) -> Result<Replay, ArchiveError> {
    match archive {
        Some(archive) => archive.replayed(shard, ledger.kept(shard).await?.head.as_ref()).await,
        None => Ok(Replay::default()),
    }
}

/// Runs what waits for a disk where nothing else waits for it.
async fn blocking<T, F>(work: F) -> Result<T, ArchiveError>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, ArchiveError> + Send + 'static,
{
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// Gives a finished file its name; on disk when it is back.
fn keep(file: tempfile::NamedTempFile, path: &Path) -> Result<(), ArchiveError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    file.as_file().sync_all().map_err(|source| ArchiveError::io(path, source))?;
    file.persist(path).map_err(|error| ArchiveError::io(path, error.error))?;
    std::fs::File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|source| ArchiveError::io(folder, source))
}
