//! Entries of a journal as a file of JSON lines, with the receipts that made them.

use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};

use cocoon_receipts::Digest;
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use super::{Archive, ArchiveError, Part, keep};
use crate::{ChainHead, JournalEntry, Shard};

const FORMAT: &str = "cocoon-ledger-journal/1";

/// An entry has a few names and numbers, a receipt a few kilobytes.
const MAX_LINE_BYTES: u64 = 1 << 20;

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: String,
    shard: Shard,
    number: u64,
    /// SHA-256 of the checkpoint that these entries come after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<Digest>,
}

impl Header {
    fn new(shard: Shard, number: u64, previous: Option<Digest>) -> Self {
        Self { format: FORMAT.to_owned(), shard, number, previous }
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line {
    pub(super) entry: JournalEntry,
    /// The receipt as it was sent; absent where there is none, or it was not kept any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) receipt: Option<String>,
}

pub(super) struct SegmentWriter {
    file: BufWriter<tempfile::NamedTempFile>,
    folder: PathBuf,
    hash: sha2::Sha256,
    shard: Shard,
    number: u64,
}

impl SegmentWriter {
    pub(super) fn create(
        archive: &Archive,
        shard: Shard,
        before: Option<&ChainHead>,
    ) -> Result<Self, ArchiveError> {
        let folder = archive.shard_folder(shard);
        let io = |source| ArchiveError::io(&folder, source);
        std::fs::create_dir_all(&folder).map_err(io)?;
        let file = BufWriter::new(tempfile::NamedTempFile::new_in(&folder).map_err(io)?);
        let number = before.map_or(0, |before| before.number) + 1;
        let mut writer = Self { file, folder, hash: sha2::Sha256::new(), shard, number };
        writer.line(&Header::new(shard, number, before.map(|before| before.digest)))?;
        Ok(writer)
    }

    pub(super) fn add(&mut self, line: &Line) -> Result<(), ArchiveError> {
        self.line(line)
    }

    /// Closes the file and gives it its name; answers its digest.
    pub(super) fn finish(self, archive: &Archive) -> Result<Digest, ArchiveError> {
        let digest = Digest(self.hash.finalize().into());
        let path = archive.path(self.shard, self.number, digest, Part::Segment);
        let file = self.file.into_inner().map_err(|error| ArchiveError::io(&path, error.into_error()))?;
        keep(file, &path)?;
        Ok(digest)
    }

    fn line<T: Serialize>(&mut self, line: &T) -> Result<(), ArchiveError> {
        let mut bytes = serde_json::to_vec(line)
            .map_err(|error| ArchiveError::damaged(&self.folder, format!("a journal entry: {error}")))?;
        bytes.push(b'\n');
        self.hash.update(&bytes);
        self.file.write_all(&bytes).map_err(|source| ArchiveError::io(&self.folder, source))
    }
}

pub(super) struct SegmentReader {
    file: BufReader<File>,
    path: PathBuf,
    hash: sha2::Sha256,
    bytes: Vec<u8>,
}

impl SegmentReader {
    /// Opens it, and reads that it is the one which comes after `previous`.
    pub(super) fn open(
        path: &Path,
        shard: Shard,
        number: u64,
        previous: Option<Digest>,
    ) -> Result<Self, ArchiveError> {
        let file = File::open(path).map_err(|source| ArchiveError::io(path, source))?;
        let mut reader = Self {
            file: BufReader::new(file),
            path: path.to_owned(),
            hash: sha2::Sha256::new(),
            bytes: Vec::new(),
        };
        let header: Option<Header> = reader.line()?;
        if header != Some(Header::new(shard, number, previous)) {
            return Err(ArchiveError::damaged(path, "it is of another place in the archive"));
        }
        Ok(reader)
    }

    pub(super) fn next(&mut self) -> Result<Option<Line>, ArchiveError> {
        self.line()
    }

    /// Of all that was read.
    pub(super) fn digest(self) -> Digest {
        Digest(self.hash.finalize().into())
    }

    fn line<T: serde::de::DeserializeOwned>(&mut self) -> Result<Option<T>, ArchiveError> {
        self.bytes.clear();
        let mut bounded = (&mut self.file).take(MAX_LINE_BYTES);
        bounded.read_until(b'\n', &mut self.bytes).map_err(|source| ArchiveError::io(&self.path, source))?;
        self.hash.update(&self.bytes);
        if self.bytes.is_empty() {
            return Ok(None);
        }
        if self.bytes.last() != Some(&b'\n') {
            return Err(ArchiveError::damaged(&self.path, "a line is cut off, or too long"));
        }
        serde_json::from_slice(&self.bytes)
            .map(Some)
            .map_err(|error| ArchiveError::damaged(&self.path, error.to_string()))
    }
}
