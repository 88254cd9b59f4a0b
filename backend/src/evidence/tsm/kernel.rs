//! The kernel's part of configfs-tsm as far as a reader can tell, with the faults that a test asks for.

use std::collections::BTreeMap;
use std::io::{self, Cursor, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::io::Errno;

use super::TsmFs;

/// What `outblob` shows for an `inblob`.
pub(in crate::evidence) type Quoting = Box<dyn Fn(&[u8]) -> Vec<u8> + Send + Sync>;
/// Is told of each write and each reading, before it happens, with the attribute's path.
type Watch = Box<dyn Fn(&Kernel, &Path) + Send + Sync>;

pub(in crate::evidence) struct Kernel {
    pub(in crate::evidence) dir: PathBuf,
    pub(in crate::evidence) provider: &'static str,
    pub(in crate::evidence) floor: &'static str,
    pub(in crate::evidence) auxblob: Option<Vec<u8>>,
    pub(in crate::evidence) quoting: Quoting,
    /// Longest piece that one read gives.
    pub(in crate::evidence) piece: usize,
    pub(in crate::evidence) watch: Watch,
    /// Times that reading `outblob` still says it is busy.
    pub(in crate::evidence) busy: AtomicU32,
    /// Written values that the kernel drops without a word, as it does when a file is closed.
    pub(in crate::evidence) lost: AtomicU32,
    pub(in crate::evidence) entries: Mutex<BTreeMap<PathBuf, Entry>>,
    pub(in crate::evidence) pauses: AtomicUsize,
    pub(in crate::evidence) made: AtomicUsize,
}

#[derive(Debug, Default)]
pub(in crate::evidence) struct Entry {
    inblob: Option<Vec<u8>>,
    written: u64,
    /// The report, and the generation that it is of.
    report: Option<(u64, Vec<u8>)>,
}

pub(in crate::evidence) const DIR: &str = "/config/tsm/report";

impl Kernel {
    pub(in crate::evidence) fn new(provider: &'static str) -> Self {
        Self {
            dir: DIR.into(),
            provider,
            floor: "0",
            auxblob: None,
            quoting: Box::new(|data| [b"quote of ", data].concat()),
            piece: 7,
            watch: Box::new(|_, _| ()),
            busy: AtomicU32::new(0),
            lost: AtomicU32::new(0),
            entries: Mutex::default(),
            pauses: AtomicUsize::new(0),
            made: AtomicUsize::new(0),
        }
    }

    /// Another process's write of an attribute.
    pub(in crate::evidence) fn foreign_write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let (entry, attribute) = split(path);
        let mut entries = self.entries.lock().unwrap();
        let entry = entries.get_mut(entry).ok_or(ErrorKind::NotFound)?;
        match attribute {
            // The length is fixed, for TDX and SEV-SNP alike.
            "inblob" if bytes.len() != 64 => return Err(Errno::INVAL.into()),
            "inblob" => entry.inblob = Some(bytes.to_vec()),
            "privlevel" if self.provider == "sev_guest" && bytes == b"0" => {}
            "privlevel" if self.provider == "sev_guest" => return Err(Errno::INVAL.into()),
            _ => return Err(ErrorKind::NotFound.into()),
        }
        entry.written += 1;
        Ok(())
    }

    /// A reading that nobody is told of.
    pub(in crate::evidence) fn open_unwatched(&self, path: &Path) -> io::Result<Pieces> {
        Ok(Pieces { bytes: Cursor::new(self.content(path)?), piece: self.piece, interrupted: false })
    }

    fn content(&self, path: &Path) -> io::Result<Vec<u8>> {
        let (entry, attribute) = split(path);
        let mut entries = self.entries.lock().unwrap();
        let entry = entries.get_mut(entry).ok_or(ErrorKind::NotFound)?;
        let line = |text: &str| format!("{text}\n").into_bytes();
        match attribute {
            "provider" => Ok(line(self.provider)),
            "generation" => Ok(line(&entry.written.to_string())),
            "privlevel_floor" if self.provider == "sev_guest" => Ok(line(self.floor)),
            "outblob" | "auxblob" => {
                let inblob = entry.inblob.as_ref().ok_or(Errno::INVAL)?;
                if self.busy.load(Ordering::Relaxed) > 0 {
                    self.busy.fetch_sub(1, Ordering::Relaxed);
                    return Err(Errno::BUSY.into());
                }
                if entry.report.as_ref().is_none_or(|(of, _)| *of != entry.written) {
                    entry.report = Some((entry.written, (self.quoting)(inblob)));
                }
                match (attribute, &entry.report, &self.auxblob) {
                    ("outblob", Some((_, report)), _) => Ok(report.clone()),
                    ("auxblob", _, Some(table)) => Ok(table.clone()),
                    _ => Err(ErrorKind::NotFound.into()),
                }
            }
            _ => Err(ErrorKind::NotFound.into()),
        }
    }
}

fn split(path: &Path) -> (&Path, &str) {
    (path.parent().unwrap(), path.file_name().unwrap().to_str().unwrap())
}

impl TsmFs for Kernel {
    type Reader = Pieces;

    fn mkdir(&self, path: &Path) -> io::Result<()> {
        if path.parent() != Some(&self.dir) {
            return Err(ErrorKind::NotFound.into());
        }
        if self.provider.is_empty() {
            return Err(Errno::NXIO.into());
        }
        self.made.fetch_add(1, Ordering::Relaxed);
        match self.entries.lock().unwrap().insert(path.to_owned(), Entry::default()) {
            None => Ok(()),
            Some(_) => Err(ErrorKind::AlreadyExists.into()),
        }
    }

    fn rmdir(&self, path: &Path) -> io::Result<()> {
        self.entries.lock().unwrap().remove(path).map(drop).ok_or(ErrorKind::NotFound.into())
    }

    fn open(&self, path: &Path) -> io::Result<Pieces> {
        (self.watch)(self, path);
        self.open_unwatched(path)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        (self.watch)(self, path);
        if self.lost.load(Ordering::Relaxed) > 0 {
            self.lost.fetch_sub(1, Ordering::Relaxed);
            return Ok(());
        }
        self.foreign_write(path, bytes)
    }

    fn pause(&self, _: Duration) {
        self.pauses.fetch_add(1, Ordering::Relaxed);
    }
}

/// Gives what is read in pieces, with a signal before each.
pub(in crate::evidence) struct Pieces {
    bytes: Cursor<Vec<u8>>,
    piece: usize,
    interrupted: bool,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.interrupted = !self.interrupted;
        if self.interrupted {
            return Err(ErrorKind::Interrupted.into());
        }
        let end = buffer.len().min(self.piece);
        self.bytes.read(&mut buffer[..end])
    }
}
