//! The file: written under another name and put in its place whole, read a bounded line at a time.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use cocoon_receipts::Digest;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use super::count::unwritable;
use super::record::{Decision, Record};
use super::{Part, TransferError};
use crate::treasury::{TREASURY, check_record};
use crate::{LedgerError, Shard};

/// What its first line calls it.
const FORMAT: &str = "cocoon-ledger";

/// Of what its lines are; another one is refused.
pub const FORMAT_VERSION: u32 = 1;

/// Longest line, bytes: a kept document is a mebibyte, in base64.
pub const MAX_LINE_BYTES: u64 = 4 << 20;

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    format: String,
    version: u32,
    /// The kind of store it is from.
    pub(super) store: String,
    pub(super) shards: u16,
    pub(super) test_clock: bool,
    /// Milliseconds since 1970.
    exported_at_ms: u64,
}

/// The last line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Trailer {
    /// Lines between the first and this one.
    records: u64,
    /// Of all bytes before this line.
    sha256: Digest,
}

/// What may stand in a line after the first.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    End { end: Trailer },
    Record(Record),
}

impl Header {
    pub(super) fn new(store: &str, shards: u16, test_clock: bool, exported_at_ms: u64) -> Self {
        let (format, store) = (FORMAT.to_owned(), store.to_owned());
        Self { format, version: FORMAT_VERSION, store, shards, test_clock, exported_at_ms }
    }
}

/// A file that is being written.
pub(super) struct Writing {
    path: PathBuf,
    file: BufWriter<NamedTempFile>,
    so_far: SoFar,
}

/// How far it is written.
#[derive(Clone)]
pub(super) struct SoFar {
    bytes: u64,
    hash: Sha256,
    records: u64,
}

impl Writing {
    /// Beside `path`, readable by its owner alone; gone again where it is dropped before it is whole.
    pub(super) fn begin(path: &Path, header: &Header) -> Result<Self, TransferError> {
        if path.symlink_metadata().is_ok() {
            return Err(TransferError::Exists(path.to_owned()));
        }
        let file = tempfile::Builder::new()
            .prefix(".ledger-export-")
            .tempfile_in(folder_of(path))
            .map_err(|source| TransferError::File { path: path.to_owned(), source })?;
        let so_far = SoFar { bytes: 0, hash: Sha256::new(), records: 0 };
        let mut writing = Self { path: path.to_owned(), file: BufWriter::new(file), so_far };
        writing.line(header)?;
        Ok(writing)
    }

    pub(super) fn record(&mut self, record: &Record) -> Result<(), TransferError> {
        self.so_far.records += 1;
        self.line(record)
    }

    pub(super) fn so_far(&self) -> SoFar {
        self.so_far.clone()
    }

    /// Takes back what was written since.
    pub(super) fn back_to(&mut self, earlier: SoFar) -> Result<(), TransferError> {
        let back = |file: &mut BufWriter<NamedTempFile>| {
            file.flush()?;
            file.get_ref().as_file().set_len(earlier.bytes)?;
            file.seek(SeekFrom::Start(earlier.bytes))
        };
        back(&mut self.file).map_err(|source| TransferError::File { path: self.path.clone(), source })?;
        self.so_far = earlier;
        Ok(())
    }

    /// Ends it, and puts it in its place once it is on disk.
    pub(super) fn finish(mut self) -> Result<(), TransferError> {
        let SoFar { hash, records, .. } = self.so_far.clone();
        let end = Trailer { records, sha256: Digest(hash.finalize().into()) };
        self.line(&serde_json::json!({ "end": end }))?;
        let path = self.path;
        let failed = |source| TransferError::File { path: path.clone(), source };
        let file = self.file.into_inner().map_err(|error| failed(error.into_error()))?;
        file.as_file().sync_all().map_err(failed)?;
        file.persist_noclobber(&path).map_err(|error| match error.error.kind() {
            std::io::ErrorKind::AlreadyExists => TransferError::Exists(path.clone()),
            _ => failed(error.error),
        })?;
        File::open(folder_of(&path)).and_then(|folder| folder.sync_all()).map_err(failed)
    }

    fn line(&mut self, of: &impl Serialize) -> Result<(), TransferError> {
        let mut line = serde_json::to_vec(of).map_err(unwritable)?;
        line.push(b'\n');
        if line.len() as u64 > MAX_LINE_BYTES {
            return Err(LedgerError::Corrupt("a record is longer than a line may be".to_owned()).into());
        }
        self.so_far.hash.update(&line);
        self.so_far.bytes += line.len() as u64;
        self.file.write_all(&line).map_err(|source| TransferError::File { path: self.path.clone(), source })
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// A file that is read from its first line to its last, which must be there and right.
pub(super) struct Reading {
    path: PathBuf,
    file: BufReader<File>,
    hash: Sha256,
    line: u64,
    records: u64,
    part: Part,
    /// Decisions so far.
    decisions: u64,
    header: Header,
}

impl Reading {
    pub(super) fn open(path: &Path) -> Result<Self, TransferError> {
        let file =
            File::open(path).map_err(|source| TransferError::File { path: path.to_owned(), source })?;
        Self::begin(path.to_owned(), file)
    }

    /// The same file once more from its first line.
    pub(super) fn again(self) -> Result<Self, TransferError> {
        let mut file = self.file.into_inner();
        match file.rewind() {
            Ok(()) => Self::begin(self.path, file),
            Err(source) => Err(TransferError::File { path: self.path, source }),
        }
    }

    fn begin(path: PathBuf, file: File) -> Result<Self, TransferError> {
        let header = Header::new("", 0, false, 0);
        let (hash, part) = (Sha256::new(), Part::Shared);
        let file = BufReader::new(file);
        let mut reading = Self { path, file, hash, line: 0, records: 0, part, decisions: 0, header };
        let first = reading.read_line()?;
        let header: Header = serde_json::from_slice(&first)
            .map_err(|error| reading.damaged(format!("it is no export of a ledger: {error}")))?;
        if header.format != FORMAT || header.version != FORMAT_VERSION {
            let Header { format, version, .. } = header;
            return Err(
                reading.damaged(format!("{format} {version}, where {FORMAT} {FORMAT_VERSION} is read"))
            );
        }
        reading.hash.update(&first);
        Ok(Self { header, ..reading })
    }

    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    /// The next record and what it belongs to. None: that was the last one, and the file is whole.
    pub(super) fn next(&mut self) -> Result<Option<(Part, Record)>, TransferError> {
        let line = self.read_line()?;
        let parsed: Line = serde_json::from_slice(&line)
            .map_err(|_| self.damaged("it is neither a record of a ledger nor the file's end".to_owned()))?;
        match parsed {
            Line::Record(record) => {
                self.hash.update(&line);
                self.records += 1;
                self.enter(&record)?;
                Ok(Some((self.part, record)))
            }
            Line::End { end } => self.end(&end).map(|()| None),
        }
    }

    fn end(&mut self, end: &Trailer) -> Result<(), TransferError> {
        if end.records != self.records {
            return Err(self.damaged(format!("{} records are said to be before it", end.records)));
        }
        if end.sha256 != Digest(self.hash.clone().finalize().into()) {
            return Err(self.damaged("the digest of what is before it is another one".to_owned()));
        }
        if self.next_shard() != self.header.shards {
            return Err(self.damaged("shards are missing before it".to_owned()));
        }
        match self.file.fill_buf() {
            Ok([]) => Ok(()),
            Ok(_) => Err(self.damaged("something follows the file's end".to_owned())),
            Err(source) => Err(TransferError::File { path: self.path.clone(), source }),
        }
    }

    fn next_shard(&self) -> u16 {
        match self.part {
            Part::Shared => 0,
            Part::Shard(Shard(shard)) => shard + 1,
        }
    }

    /// Which part a record belongs to.
    fn enter(&mut self, record: &Record) -> Result<(), TransferError> {
        let next = self.next_shard();
        let fits = match (record, self.part) {
            (Record::Shard(state), _) => state.shard.0 == next && next < self.header.shards,
            (Record::Keyset(_) | Record::Document(_), part) => part == Part::Shared,
            (Record::Decision(_), part) => part == Part::Shard(TREASURY),
            (_, part) => part != Part::Shared,
        };
        if !fits {
            return Err(self.damaged(record.misplaced().to_string()));
        }
        match record {
            Record::Shard(state) => self.part = Part::Shard(state.shard),
            Record::Decision(of) => self.enter_decision(of)?,
            Record::Channel(channel) => channel.check().map_err(|error| self.damaged(error.to_string()))?,
            Record::Cap(cap) => cap.check().map_err(|error| self.damaged(error.to_string()))?,
            _ => {}
        }
        Ok(())
    }

    /// A log that is not whole is none.
    fn enter_decision(&mut self, of: &Decision) -> Result<(), TransferError> {
        self.decisions += 1;
        if of.number != self.decisions {
            return Err(self.damaged(format!("it is decision {}, not {}", of.number, self.decisions)));
        }
        check_record(&of.text).map_err(|error| self.damaged(error.to_string()))
    }

    fn read_line(&mut self) -> Result<Vec<u8>, TransferError> {
        self.line += 1;
        let mut line = Vec::new();
        (&mut self.file)
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut line)
            .map_err(|source| TransferError::File { path: self.path.clone(), source })?;
        match line.last() {
            Some(b'\n') => Ok(line),
            None => Err(self.damaged("the file ends before its end".to_owned())),
            Some(_) => Err(self.damaged("the line is cut short or too long".to_owned())),
        }
    }

    fn damaged(&self, reason: String) -> TransferError {
        TransferError::Damaged { line: self.line, reason }
    }
}
