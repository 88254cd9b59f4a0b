//! The receipts that are not acknowledged yet: one append-only file of JSON lines, and what it says.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cocoon_receipts::ReceiptId;
use serde::{Deserialize, Serialize};

use crate::Error;

const FILE: &str = "outbox.jsonl";
const NEW_FILE: &str = "outbox.jsonl.new";
const DAMAGED_FILE: &str = "outbox.damaged.jsonl";
const REFUSED_FILE: &str = "refused.jsonl";
const LOCK_FILE: &str = "lock";
/// A file of fewer lines is never worth writing anew.
const FEW_LINES: usize = 1024;

/// A signed receipt with its ticket.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) id: ReceiptId,
    pub(crate) receipt: String,
    pub(crate) ticket: String,
}

/// A receipt that is still to be delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) kept: Arc<Kept>,
    /// When a gateway acknowledged it for the first time, milliseconds since 1970.
    pub(crate) acknowledged_at: Option<u64>,
}

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mark {
    First(ReceiptId, u64),
    Second(ReceiptId, u64),
    /// By a gateway, for ever; with its reason.
    Refused(ReceiptId, String),
    /// Nobody took it for so long that nobody will.
    Expired(ReceiptId),
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Line {
    Receipt { id: ReceiptId, receipt: String, ticket: String },
    Acknowledged { ack: ReceiptId, n: u8, at: u64 },
    Refused { refused: ReceiptId, code: String },
    Expired { expired: ReceiptId },
}

/// The file and the receipts in it. One thread owns it.
#[derive(Debug)]
pub(crate) struct Outbox {
    dir: PathBuf,
    file: File,
    /// Bytes that are whole lines.
    length: u64,
    lines: usize,
    pending: BTreeMap<ReceiptId, Pending>,
    /// Held as long as the outbox: two writers would tear each other's lines.
    _lock: File,
}

impl Outbox {
    /// Opens the outbox in `dir` and reads what an earlier process left. A last line that was cut off is cut away.
    ///
    /// # Errors
    /// Where the folder cannot be used, or another process uses it.
    pub(crate) fn open(dir: &Path) -> Result<Self, Error> {
        fs::create_dir_all(dir).map_err(Error::file("cannot make", dir))?;
        let lock = private(dir.join(LOCK_FILE)).map_err(Error::file("cannot open the lock in", dir))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(Error::StateInUse(dir.to_owned())),
            Err(fs::TryLockError::Error(error)) => return Err(Error::Outbox(error)),
        }
        Self::read(dir, lock).map_err(Error::Outbox)
    }

    fn read(dir: &Path, lock: File) -> io::Result<Self> {
        let path = dir.join(FILE);
        let file = private(path.clone())?;
        let bytes = fs::read(&path)?;
        let length = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        if length < bytes.len() {
            tracing::warn!(
                bytes = bytes.len() - length,
                "the outbox ended in a torn line, which is cut away"
            );
            file.set_len(length as u64)?;
            file.sync_all()?;
        }
        let mut outbox = Self {
            dir: dir.to_owned(),
            file,
            length: length as u64,
            lines: 0,
            pending: BTreeMap::new(),
            _lock: lock,
        };
        outbox.file.seek(SeekFrom::End(0))?;
        let mut damaged = 0_usize;
        for line in bytes[..length].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            outbox.lines += 1;
            match serde_json::from_slice(line) {
                Ok(line) => outbox.apply(line),
                Err(_) => damaged += 1,
            }
        }
        if damaged > 0 {
            // Money may be in them: kept for whoever looks, and not carried along.
            tracing::error!(damaged, copy = DAMAGED_FILE, "lines of the outbox cannot be read");
            fs::copy(&path, dir.join(DAMAGED_FILE))?;
            outbox.rewrite()?;
        }
        outbox.tidy()?;
        Ok(outbox)
    }

    /// What is still to be delivered, the oldest first.
    pub(crate) fn pending(&self) -> impl Iterator<Item = &Pending> {
        self.pending.values()
    }

    /// Keeps receipts; when this returns they are on the disk.
    ///
    /// # Errors
    /// None of them is kept then.
    pub(crate) fn append(&mut self, receipts: &[Arc<Kept>]) -> io::Result<()> {
        let mut text = Vec::new();
        for kept in receipts {
            let (receipt, ticket) = (kept.receipt.clone(), kept.ticket.clone());
            write_line(&mut text, &Line::Receipt { id: kept.id, receipt, ticket })?;
        }
        self.write(&text, receipts.len())?;
        for kept in receipts {
            let pending = Pending { kept: Arc::clone(kept), acknowledged_at: None };
            self.pending.insert(kept.id, pending);
        }
        Ok(())
    }

    /// Keeps what became of deliveries. A mark that is lost costs one more delivery.
    ///
    /// # Errors
    /// Where the disk fails.
    pub(crate) fn record(&mut self, marks: Vec<Mark>) -> io::Result<()> {
        let mut text = Vec::new();
        let mut lines = Vec::new();
        for mark in marks {
            let line = match mark {
                Mark::First(ack, at) => Line::Acknowledged { ack, n: 1, at },
                Mark::Second(ack, at) => Line::Acknowledged { ack, n: 2, at },
                Mark::Refused(refused, code) => {
                    self.set_aside(refused, &code)?;
                    Line::Refused { refused, code }
                }
                Mark::Expired(expired) => Line::Expired { expired },
            };
            write_line(&mut text, &line)?;
            lines.push(line);
        }
        self.write(&text, lines.len())?;
        for line in lines {
            self.apply(line);
        }
        self.tidy()
    }

    fn apply(&mut self, line: Line) {
        match line {
            Line::Receipt { id, receipt, ticket } => {
                let kept = Arc::new(Kept { id, receipt, ticket });
                self.pending.insert(id, Pending { kept, acknowledged_at: None });
            }
            Line::Acknowledged { ack, n: 1, at } => {
                if let Some(pending) = self.pending.get_mut(&ack) {
                    pending.acknowledged_at = Some(at);
                }
            }
            Line::Acknowledged { ack: id, .. }
            | Line::Refused { refused: id, .. }
            | Line::Expired { expired: id } => {
                self.pending.remove(&id);
            }
        }
    }

    /// A refused receipt is a defect or a fraud: whoever looks into it needs it.
    fn set_aside(&self, id: ReceiptId, code: &str) -> io::Result<()> {
        let Some(pending) = self.pending.get(&id) else { return Ok(()) };
        let Kept { receipt, ticket, .. } = pending.kept.as_ref();
        let line = serde_json::json!({ "code": code, "receipt": receipt, "ticket": ticket });
        let mut file = private_append(self.dir.join(REFUSED_FILE))?;
        file.write_all(format!("{line}\n").as_bytes())?;
        file.sync_data()
    }

    fn write(&mut self, text: &[u8], lines: usize) -> io::Result<()> {
        if let Err(error) = self.file.write_all(text).and_then(|()| self.file.sync_data()) {
            // Half a line would swallow the next one.
            drop(self.file.set_len(self.length).and_then(|()| self.file.seek(SeekFrom::End(0))));
            return Err(error);
        }
        self.length += text.len() as u64;
        self.lines += lines;
        Ok(())
    }

    fn tidy(&mut self) -> io::Result<()> {
        if self.lines > FEW_LINES && self.lines / 4 > self.pending.len() {
            self.rewrite()?;
        }
        Ok(())
    }

    /// Writes what is pending to a new file and puts that in place of the old one.
    fn rewrite(&mut self) -> io::Result<()> {
        let mut text = Vec::new();
        let mut lines = 0;
        for Pending { kept, acknowledged_at } in self.pending.values() {
            let (receipt, ticket) = (kept.receipt.clone(), kept.ticket.clone());
            write_line(&mut text, &Line::Receipt { id: kept.id, receipt, ticket })?;
            lines += 1;
            if let Some(at) = *acknowledged_at {
                write_line(&mut text, &Line::Acknowledged { ack: kept.id, n: 1, at })?;
                lines += 1;
            }
        }
        let new = self.dir.join(NEW_FILE);
        let mut file = private(new.clone())?;
        file.set_len(0)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&new, self.dir.join(FILE))?;
        File::open(&self.dir)?.sync_all()?;
        (self.file, self.length, self.lines) = (file, text.len() as u64, lines);
        Ok(())
    }
}

fn write_line(text: &mut Vec<u8>, line: &Line) -> io::Result<()> {
    serde_json::to_writer(&mut *text, line)?;
    text.push(b'\n');
    Ok(())
}

fn private(path: PathBuf) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn private_append(path: PathBuf) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn kept(text: &str) -> Arc<Kept> {
        Arc::new(Kept {
            id: ReceiptId::generate(),
            receipt: format!("r.{text}"),
            ticket: format!("t.{text}"),
        })
    }

    fn left(dir: &Path) -> Vec<Pending> {
        Outbox::open(dir).unwrap().pending().cloned().collect()
    }

    #[test]
    fn what_was_kept_is_there_after_a_crash() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two, three) = (kept("1"), kept("2"), kept("3"));
        let mut outbox = Outbox::open(dir.path()).unwrap();
        outbox.append(&[Arc::clone(&one), Arc::clone(&two)]).unwrap();
        outbox.append(&[Arc::clone(&three)]).unwrap();
        outbox
            .record(vec![Mark::First(one.id, 7), Mark::First(two.id, 7), Mark::Second(two.id, 70)])
            .unwrap();
        drop(outbox);
        let expected =
            [Pending { kept: one, acknowledged_at: Some(7) }, Pending { kept: three, acknowledged_at: None }];
        assert_eq!(left(dir.path()), expected);
    }

    #[test]
    fn a_torn_last_line_is_cut_away_and_the_next_receipt_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let (one, torn, next) = (kept("1"), kept("torn"), kept("2"));
        let mut outbox = Outbox::open(dir.path()).unwrap();
        outbox.append(&[Arc::clone(&one)]).unwrap();
        outbox.append(&[torn]).unwrap();
        drop(outbox);
        let path = dir.path().join(FILE);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 5]).unwrap();

        let mut outbox = Outbox::open(dir.path()).unwrap();
        outbox.append(&[Arc::clone(&next)]).unwrap();
        drop(outbox);
        let ids: Vec<_> = left(dir.path()).iter().map(|pending| pending.kept.id).collect();
        assert_eq!(ids, [one.id, next.id]);
        assert!(!dir.path().join(DAMAGED_FILE).exists());
    }

    #[test]
    fn a_damaged_line_is_kept_aside_and_hides_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (kept("1"), kept("2"));
        let mut outbox = Outbox::open(dir.path()).unwrap();
        outbox.append(&[Arc::clone(&one), Arc::clone(&two)]).unwrap();
        drop(outbox);
        let path = dir.path().join(FILE);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replacen('\n', "\n{\"receipt\":\n", 1)).unwrap();
        assert_eq!(left(dir.path()).len(), 2);
        assert!(fs::read_to_string(dir.path().join(DAMAGED_FILE)).unwrap().contains("{\"receipt\":\n"));
    }

    #[test]
    fn a_refused_receipt_is_set_aside_whole() {
        let dir = tempfile::tempdir().unwrap();
        let one = kept("1");
        let mut outbox = Outbox::open(dir.path()).unwrap();
        outbox.append(&[Arc::clone(&one)]).unwrap();
        outbox.record(vec![Mark::Refused(one.id, "price_mismatch".into())]).unwrap();
        drop(outbox);
        assert_eq!(left(dir.path()), []);
        let aside = fs::read_to_string(dir.path().join(REFUSED_FILE)).unwrap();
        assert_eq!(aside, "{\"code\":\"price_mismatch\",\"receipt\":\"r.1\",\"ticket\":\"t.1\"}\n");
    }

    /// Guards against a rewrite that loses what is pending, or goes on writing to the file it replaced.
    #[test]
    fn a_file_of_finished_receipts_is_written_anew() {
        let dir = tempfile::tempdir().unwrap();
        let mut outbox = Outbox::open(dir.path()).unwrap();
        let (stays, confirmed) = (kept("stays"), kept("confirmed"));
        outbox.append(&[Arc::clone(&stays), Arc::clone(&confirmed)]).unwrap();
        outbox.record(vec![Mark::First(confirmed.id, 9)]).unwrap();
        let finished: Vec<_> = (0..FEW_LINES).map(|n| kept(&n.to_string())).collect();
        outbox.append(&finished).unwrap();
        let before = fs::metadata(dir.path().join(FILE)).unwrap().len();
        outbox.record(finished.iter().map(|kept| Mark::Expired(kept.id)).collect()).unwrap();
        let last = kept("last");
        outbox.append(&[Arc::clone(&last)]).unwrap();
        drop(outbox);
        assert!(fs::metadata(dir.path().join(FILE)).unwrap().len() < before / 100);
        let left: Vec<_> = left(dir.path()).into_iter().map(|p| (p.kept.id, p.acknowledged_at)).collect();
        assert_eq!(left, [(stays.id, None), (confirmed.id, Some(9)), (last.id, None)]);
    }

    #[test]
    fn two_backends_cannot_share_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        let first = Outbox::open(dir.path()).unwrap();
        assert!(matches!(Outbox::open(dir.path()), Err(Error::StateInUse(_))));
        drop(first);
        assert!(Outbox::open(dir.path()).is_ok());
    }
}
