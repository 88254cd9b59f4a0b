//! The receipts that are not acknowledged yet, and a tally of those that were: one append-only file of JSON lines.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cocoon_receipts::{NanoTon, ReceiptId};

use super::books::{Books, FILE, Kept, Line, Pending, differ, whole_lines};
use crate::Error;

const NEW_FILE: &str = "outbox.jsonl.new";
const DAMAGED_FILE: &str = "outbox.damaged.jsonl";
const REFUSED_FILE: &str = "refused.jsonl";
const LOCK_FILE: &str = "lock";
/// A file of fewer lines is never worth writing anew.
const FEW_LINES: usize = 1024;

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mark {
    /// When, in milliseconds since 1970, and what the gateway said that the operator earns by it.
    First(ReceiptId, u64, Option<NanoTon>),
    Second(ReceiptId, u64, Option<NanoTon>),
    /// By a gateway, for ever; with its reason.
    Refused(ReceiptId, String),
    /// Nobody took it for so long that nobody will.
    Expired(ReceiptId),
}

/// The file and the receipts in it. One thread owns it.
#[derive(Debug)]
pub(crate) struct Outbox {
    dir: PathBuf,
    file: File,
    /// Bytes that are whole lines.
    length: u64,
    lines: usize,
    books: Books,
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
        let length = whole_lines(&bytes);
        if length < bytes.len() {
            tracing::warn!(
                bytes = bytes.len() - length,
                "the outbox ended in a torn line, which is cut away"
            );
            file.set_len(length as u64)?;
            file.sync_all()?;
        }
        let (books, lines, damaged) = Books::of(&bytes[..length]);
        let mut outbox = Self { dir: dir.to_owned(), file, length: length as u64, lines, books, _lock: lock };
        outbox.file.seek(SeekFrom::End(0))?;
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
        self.books.pending.values()
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
            self.books.wait(Arc::clone(kept));
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
                Mark::First(ack, at, earned) => Line::Acknowledged { ack, n: 1, at, earned },
                Mark::Second(ack, at, earned) => {
                    self.compare(ack, earned);
                    Line::Acknowledged { ack, n: 2, at, earned }
                }
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
            self.books.apply(line);
        }
        self.tidy()
    }

    /// A gateway that changes its word has lost what it had booked, or does not say what it books.
    fn compare(&self, id: ReceiptId, second: Option<NanoTon>) {
        let first = self.books.pending.get(&id).and_then(|pending| pending.earned);
        if differ(first, second) {
            tracing::warn!(receipt = %id, ?first, ?second, "a receipt was acknowledged with two amounts");
        }
    }

    /// A refused receipt is a defect or a fraud: whoever looks into it needs it.
    fn set_aside(&self, id: ReceiptId, code: &str) -> io::Result<()> {
        let Some(pending) = self.books.pending.get(&id) else { return Ok(()) };
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
        if self.lines > FEW_LINES && self.lines / 4 > self.books.pending.len() {
            self.rewrite()?;
        }
        Ok(())
    }

    /// Writes the tally and what is pending to a new file and puts that in place of the old one.
    fn rewrite(&mut self) -> io::Result<()> {
        let mut text = Vec::new();
        let mut lines = 1;
        write_line(&mut text, &Line::Tally { tally: self.books.tally })?;
        for Pending { kept, acknowledged_at, earned } in self.books.pending.values() {
            let (receipt, ticket) = (kept.receipt.clone(), kept.ticket.clone());
            write_line(&mut text, &Line::Receipt { id: kept.id, receipt, ticket })?;
            lines += 1;
            if let Some(at) = *acknowledged_at {
                write_line(&mut text, &Line::Acknowledged { ack: kept.id, n: 1, at, earned: *earned })?;
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
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::super::books::{Sum, Tally};
    use super::*;

    const COST: NanoTon = NanoTon(10);

    /// Costs 10 nanoTON; nobody has signed it.
    pub(crate) fn kept(text: &str) -> Arc<Kept> {
        let part = |json: &str| URL_SAFE_NO_PAD.encode(json);
        let receipt = format!("{}.{}.{text}", part("{\"alg\":\"EdDSA\"}"), part("{\"cost\":\"10\"}"));
        Arc::new(Kept { id: ReceiptId::generate(), receipt, ticket: format!("t.{text}"), cost: COST })
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
            .record(vec![
                Mark::First(one.id, 7, Some(NanoTon(9))),
                Mark::First(two.id, 7, None),
                Mark::Second(two.id, 70, None),
            ])
            .unwrap();
        drop(outbox);
        let expected = [
            Pending { kept: one, acknowledged_at: Some(7), earned: Some(NanoTon(9)) },
            Pending { kept: three, acknowledged_at: None, earned: None },
        ];
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
        let receipt = &one.receipt;
        assert_eq!(
            aside,
            format!("{{\"code\":\"price_mismatch\",\"receipt\":\"{receipt}\",\"ticket\":\"t.1\"}}\n")
        );
    }

    /// Guards against a rewrite that loses what is pending, or goes on writing to the file it replaced.
    #[test]
    fn a_file_of_finished_receipts_is_written_anew() {
        let dir = tempfile::tempdir().unwrap();
        let mut outbox = Outbox::open(dir.path()).unwrap();
        let (stays, confirmed) = (kept("stays"), kept("confirmed"));
        outbox.append(&[Arc::clone(&stays), Arc::clone(&confirmed)]).unwrap();
        outbox.record(vec![Mark::First(confirmed.id, 9, None)]).unwrap();
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

    fn sum(receipts: usize) -> Sum {
        Sum { receipts: receipts as u64, cost: NanoTon(receipts as u64 * COST.0) }
    }

    fn look(dir: &Path) -> Tally {
        *Books::look(dir).unwrap().tally()
    }

    /// Of every five receipts three are booked, each otherwise acknowledged, one is refused and one expires.
    fn marks(kept: &[Arc<Kept>]) -> Vec<Vec<Mark>> {
        let earned = Some(NanoTon(9));
        let all = kept.iter().map(|kept| kept.id).enumerate();
        let of = |(at, id): (usize, ReceiptId)| match at % 5 {
            0 => vec![Mark::First(id, 1, earned), Mark::Second(id, 2, earned)],
            1 => vec![Mark::First(id, 1, None), Mark::Second(id, 2, None)],
            2 => vec![Mark::First(id, 1, earned), Mark::Second(id, 2, Some(NanoTon(8)))],
            3 => vec![Mark::First(id, 1, earned), Mark::Refused(id, "x".into())],
            _ => vec![Mark::Expired(id)],
        };
        all.map(of).collect()
    }

    fn tally_of(kept: &[Arc<Kept>]) -> Tally {
        let every = |rest: usize| (0..kept.len()).filter(|at| at % 5 == rest).count();
        Tally {
            booked: sum(every(0) + every(1) + every(2)),
            earned: NanoTon((9 * every(0) + 8 * every(2)) as u64),
            unsaid: sum(every(1)),
            differing: every(2) as u64,
            refused: sum(every(3)),
            expired: sum(every(4)),
            since: kept.first().map(|first| first.id.made_at_ms()),
            ..Tally::default()
        }
    }

    #[test]
    fn the_tally_outlives_the_lines_that_it_counts() {
        let dir = tempfile::tempdir().unwrap();
        let kept: Vec<_> = (0..2 * FEW_LINES).map(|n| kept(&n.to_string())).collect();
        let mut outbox = Outbox::open(dir.path()).unwrap();
        for (receipts, marks) in kept.chunks(7).zip(marks(&kept).chunks(7)) {
            outbox.append(receipts).unwrap();
            outbox.record(marks.concat()).unwrap();
        }
        assert_eq!(outbox.books.tally, tally_of(&kept));
        drop(outbox);
        let text = fs::read_to_string(dir.path().join(FILE)).unwrap();
        assert!(text.starts_with("{\"tally\":") && text.lines().count() < 2 * FEW_LINES, "not written anew");
        assert_eq!(look(dir.path()), tally_of(&kept));
        for _ in 0..2 {
            Outbox::open(dir.path()).unwrap().rewrite().unwrap();
            assert_eq!(look(dir.path()), tally_of(&kept));
        }
    }

    /// Killed after any byte that was written, with the file written anew at any time since: each receipt that is in the
    /// file is counted once, whatever is said of it again.
    #[test]
    fn a_kill_at_any_byte_neither_loses_nor_doubles_a_receipt() {
        for written_anew in [false, true] {
            kill_at_any_byte(written_anew);
        }
    }

    fn kill_at_any_byte(written_anew: bool) {
        let dir = tempfile::tempdir().unwrap();
        let kept: Vec<_> = (0..10).map(|n| kept(&n.to_string())).collect();
        let marks = marks(&kept);
        let mut outbox = Outbox::open(dir.path()).unwrap();
        for (two, of_two) in kept.chunks(2).zip(marks.chunks(2)) {
            outbox.append(two).unwrap();
            // All first words, then all later ones, as they come in batches.
            let (first, then): (Vec<_>, Vec<_>) =
                of_two.concat().into_iter().partition(|mark| matches!(mark, Mark::First(..)));
            outbox.record(first).unwrap();
            outbox.record(then).unwrap();
            if written_anew && two[0].id == kept[4].id {
                outbox.rewrite().unwrap();
            }
        }
        drop(outbox);
        let whole = fs::read(dir.path().join(FILE)).unwrap();
        assert_eq!(look(dir.path()), tally_of(&kept));
        // A tally came with the rename, whole.
        let head = if written_anew { whole.iter().position(|byte| *byte == b'\n').unwrap() + 1 } else { 0 };
        for length in head..=whole.len() {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join(FILE), &whole[..length]).unwrap();
            // What a kill before the rename leaves behind.
            fs::write(dir.path().join(NEW_FILE), &whole[..length / 2]).unwrap();
            let seen = Books::look(dir.path()).unwrap();
            let mut outbox = Outbox::open(dir.path()).unwrap();
            assert_eq!(outbox.books.tally, seen.tally, "what is read beside is what is read");
            if length % 2 == 0 {
                outbox.rewrite().unwrap();
                assert_eq!(look(dir.path()), seen.tally);
            }
            let Tally { booked, refused, expired, .. } = seen.tally;
            let known =
                (booked.receipts + refused.receipts + expired.receipts + seen.waiting().receipts) as usize;
            // From here on everything is told again, also of what is finished with.
            outbox.record(marks[..known].concat()).unwrap();
            assert_eq!(outbox.pending().count(), 0);
            assert_eq!(outbox.books.tally, tally_of(&kept[..known]), "{length} bytes");
            drop(outbox);
            assert_eq!(look(dir.path()), tally_of(&kept[..known]), "{length} bytes");
        }
    }

    #[test]
    fn a_file_without_a_tally_is_read_and_one_that_is_not_at_the_head_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (kept("1"), kept("2"));
        let receipt = |kept: &Kept| {
            let Kept { id, receipt, ticket, .. } = kept;
            serde_json::json!({ "id": id, "receipt": receipt, "ticket": ticket })
        };
        let acknowledged = |n: u8| serde_json::json!({ "ack": one.id, "n": n, "at": 5 });
        let old = format!("{}\n{}\n{}\n{}\n", receipt(&one), receipt(&two), acknowledged(1), acknowledged(2));
        fs::write(dir.path().join(FILE), &old).unwrap();
        let books = Books::look(dir.path()).unwrap();
        assert_eq!((books.tally.booked, books.tally.unsaid, books.waiting()), (sum(1), sum(1), sum(1)));
        fs::write(dir.path().join(FILE), format!("{old}{{\"tally\":{{}}}}\n")).unwrap();
        let books = Books::look(dir.path()).unwrap();
        assert_eq!((books.tally.booked, books.tally.damaged), (sum(1), 1));
    }

    #[test]
    fn lines_that_cannot_be_read_are_counted_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut outbox = Outbox::open(dir.path()).unwrap();
        outbox.append(&[kept("1")]).unwrap();
        drop(outbox);
        let path = dir.path().join(FILE);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{text}{{\"receipt\":\n")).unwrap();
        assert_eq!(look(dir.path()).damaged, 1);
        for _ in 0..2 {
            assert_eq!(Outbox::open(dir.path()).unwrap().books.tally.damaged, 1);
        }
    }

    /// Guards against: a first word that is forgotten when the file is written anew before the second comes.
    #[test]
    fn what_the_first_acknowledgement_said_outlives_a_new_file() {
        let dir = tempfile::tempdir().unwrap();
        let (silent, other) = (kept("1"), kept("2"));
        let mut outbox = Outbox::open(dir.path()).unwrap();
        outbox.append(&[Arc::clone(&silent), Arc::clone(&other)]).unwrap();
        let first = |kept: &Kept| Mark::First(kept.id, 1, Some(NanoTon(9)));
        outbox.record(vec![first(&silent), first(&other)]).unwrap();
        outbox.rewrite().unwrap();
        drop(outbox);
        let mut outbox = Outbox::open(dir.path()).unwrap();
        let second = [Mark::Second(silent.id, 2, None), Mark::Second(other.id, 2, Some(NanoTon(7)))];
        outbox.record(second.to_vec()).unwrap();
        let Tally { booked, earned, unsaid, differing, .. } = outbox.books.tally;
        assert_eq!((booked, earned, unsaid, differing), (sum(2), NanoTon(16), Sum::default(), 1));
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
