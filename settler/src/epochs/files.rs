//! The receipts of every epoch, in files: what `prove` needs long after the journal has let go of them.

use std::fs::File;
use std::io::{BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};

use cocoon_receipts::Digest;
use serde::{Deserialize, Serialize};

use super::commitment::{Cuts, cuts_digest};
use super::error::EpochError;
use super::gather::MOST_RECEIPTS;
use super::log::Sealed;
use super::record::Cut;
use super::tree;

const FORMAT: &str = "cocoon-epoch/1";

/// A digest has 67 bytes of text, and cuts a few kilobytes.
const MAX_FILE_BYTES: u64 = 67 * MOST_RECEIPTS as u64 + (64 << 10);

/// One epoch's.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    format: String,
    epoch: u32,
    root: Digest,
    /// Up to where each shard is in this epoch or an earlier one.
    cuts: Vec<Cut>,
    /// SHA-256 of every receipt's JWS, in the order of the tree.
    receipts: Vec<Digest>,
}

/// A folder with a file for each epoch.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

impl Folder {
    /// # Errors
    /// [`EpochError::Io`] where `folder` is none: what looks like an empty one may be a disk that is not mounted.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, EpochError> {
        let folder = folder.into();
        std::fs::read_dir(&folder).map_err(|source| EpochError::io(&folder, source))?;
        Ok(Self(folder))
    }

    fn path(&self, epoch: u32) -> PathBuf {
        self.0.join(format!("{epoch:08}.json"))
    }

    /// # Errors
    /// [`EpochError::Io`].
    pub fn has(&self, epoch: u32) -> Result<bool, EpochError> {
        let path = self.path(epoch);
        path.try_exists().map_err(|source| EpochError::io(&path, source))
    }

    /// Writes an epoch's receipts; on disk when it is back.
    ///
    /// # Errors
    /// [`EpochError::Io`], [`EpochError::Differs`] for what is not the epoch's.
    pub async fn keep(&self, sealed: Sealed, cuts: Cuts, receipts: Vec<Digest>) -> Result<(), EpochError> {
        let folder = self.clone();
        blocking(move || folder.write(&sealed, cuts, receipts)).await
    }

    fn write(&self, sealed: &Sealed, cuts: Cuts, receipts: Vec<Digest>) -> Result<(), EpochError> {
        let epoch = sealed.commitment.epoch;
        let cuts = cuts.into_iter().map(|(shard, at)| Cut { shard, at }).collect();
        let root = sealed.commitment.root();
        let content = Content { format: FORMAT.to_owned(), epoch, root, cuts, receipts };
        if check(&content, sealed).is_err() {
            return Err(EpochError::Differs(epoch));
        }
        let path = self.path(epoch);
        let io = |source| EpochError::io(&path, source);
        let mut file = BufWriter::new(tempfile::NamedTempFile::new_in(&self.0).map_err(io)?);
        serde_json::to_writer(&mut file, &content).map_err(|error| io(error.into()))?;
        file.write_all(b"\n").map_err(io)?;
        let file = file.into_inner().map_err(|error| io(error.into_error()))?;
        file.as_file().sync_all().map_err(io)?;
        file.persist(&path).map_err(|error| io(error.error))?;
        File::open(&self.0).and_then(|folder| folder.sync_all()).map_err(io)
    }

    /// An epoch's receipts, found to be those of its root; none where there is no file.
    ///
    /// # Errors
    /// [`EpochError::Io`], [`EpochError::File`].
    pub async fn receipts(&self, sealed: Sealed) -> Result<Option<Vec<Digest>>, EpochError> {
        let path = self.path(sealed.commitment.epoch);
        blocking(move || read(&path, &sealed)).await
    }
}

fn read(path: &Path, sealed: &Sealed) -> Result<Option<Vec<Digest>>, EpochError> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(MAX_FILE_BYTES).read_to_end(&mut bytes),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => Err(error),
    }
    .map_err(|source| EpochError::io(path, source))?;
    let wrong = |why: String| EpochError::File { path: path.to_owned(), why };
    let content: Content = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
    check(&content, sealed).map_err(|why| wrong(why.to_owned()))?;
    Ok(Some(content.receipts))
}

fn check(content: &Content, sealed: &Sealed) -> Result<(), &'static str> {
    let commitment = &sealed.commitment;
    let cuts: Cuts = content.cuts.iter().map(|cut| (cut.shard, cut.at.clone())).collect();
    if content.format != FORMAT || content.epoch != commitment.epoch || content.root != commitment.root() {
        return Err("it is of another epoch");
    }
    if content.receipts.len() as u64 != commitment.count || tree::root(&content.receipts) != commitment.tree {
        return Err("other receipts");
    }
    if cuts_digest(&cuts) == commitment.cuts { Ok(()) } else { Err("other cuts") }
}

/// Runs what waits for a disk where nothing else waits for it.
async fn blocking<T, F>(work: F) -> Result<T, EpochError>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, EpochError> + Send + 'static,
{
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

#[cfg(test)]
mod tests {
    use cocoon_ledger::{JournalId, Shard};

    use super::*;
    use crate::epochs::Commitment;

    fn epoch() -> (Sealed, Cuts, Vec<Digest>) {
        let receipts = vec![Digest([1; 32]), Digest([2; 32])];
        let cuts = Cuts::from([(Shard(3), JournalId("7".to_owned()))]);
        let tree = tree::root(&receipts);
        let commitment = Commitment { epoch: 2, count: 2, cuts: cuts_digest(&cuts), tree };
        (Sealed { commitment, at: 5 }, cuts, receipts)
    }

    #[tokio::test]
    async fn what_is_kept_is_read_and_what_was_changed_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        let (sealed, cuts, receipts) = epoch();
        assert_eq!(folder.receipts(sealed).await.unwrap(), None);
        assert!(!folder.has(2).unwrap());
        folder.keep(sealed, cuts, receipts.clone()).await.unwrap();
        assert!(folder.has(2).unwrap());
        assert_eq!(folder.receipts(sealed).await.unwrap(), Some(receipts));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "something else was left there");
        let path = dir.path().join("00000002.json");
        let text = std::fs::read_to_string(&path).unwrap();
        for (from, to) in [
            ("\"epoch\":2", "\"epoch\":3"),
            ("0202", "0203"),
            ("\"at\":\"7\"", "\"at\":\"8\""),
            (FORMAT, "cocoon-epoch/2"),
            ("]}", "]"),
        ] {
            std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
            let error = folder.receipts(sealed).await.unwrap_err();
            assert!(matches!(error, EpochError::File { .. }), "{from}: {error}");
        }
    }

    #[tokio::test]
    async fn what_is_not_the_epochs_is_not_kept() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        let (sealed, cuts, mut receipts) = epoch();
        receipts.swap(0, 1);
        let error = folder.keep(sealed, cuts, receipts).await.unwrap_err();
        assert!(matches!(error, EpochError::Differs(2)), "{error}");
        assert!(!folder.has(2).unwrap());
        assert!(matches!(Folder::open(dir.path().join("none")), Err(EpochError::Io { .. })));
    }
}
