//! Journals that go into an archive: that they are whole there, that nothing in it can be changed unnoticed, and that a ledger
//! goes on without what it dropped.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cocoon_ledger::{
    Archive, ArchiveError, Archived, Archiving, ChainHead, CheckError, MAX_TRIM, Pace, Replay, Shard,
    Verified, Watch, archive_shard, check_shard,
};
use cocoon_receipts::{Digest, NanoTon};

use crate::bench::*;

const SEGMENT: u64 = 4;

struct Archives {
    bench: Bench,
    folder: tempfile::TempDir,
    archive: Archive,
    shard: Shard,
}

impl Archives {
    fn of(bench: Bench) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (archive, shard) = (Archive::open(folder.path()).unwrap(), bench.shard("alice"));
        Self { bench, folder, archive, shard }
    }

    /// Three entries, of which two have receipts.
    async fn use_it(&self) {
        self.bench.fund("alice", 1000).await;
        for cost in [30, 40] {
            let request = self.bench.bound("alice", 100).await;
            self.bench.settle(&self.bench.settlement("alice", request, cost)).await;
        }
        self.bench.pass(Duration::from_secs(1)).await;
    }

    async fn pass(&self, keep: Duration) -> Archived {
        self.try_pass(keep).await.unwrap()
    }

    async fn try_pass(&self, keep: Duration) -> Result<Archived, ArchiveError> {
        let how = Archiving { keep, segment: SEGMENT, pace: Pace::FULL };
        archive_shard(self.bench.ledger.as_ref(), &self.archive, self.shard, how).await
    }

    async fn head(&self) -> Option<ChainHead> {
        self.bench.ledger.kept(self.shard).await.unwrap().head
    }

    async fn verify(&self) -> Result<Verified, ArchiveError> {
        self.archive.verify(self.shard, self.head().await.as_ref()).await
    }

    /// The files of the archive, by their names: a checkpoint and a segment by turns.
    fn files(&self) -> Vec<PathBuf> {
        let folder = self.folder.path().join(self.shard.to_string());
        let mut files: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort_by_key(|path| (number_of(path), !path.to_string_lossy().ends_with("checkpoint.json")));
        files
    }

    async fn account(&self) -> u64 {
        self.bench.account("alice").await.balance.0
    }
}

fn number_of(path: &Path) -> u64 {
    path.file_name().unwrap().to_str().unwrap()[..8].parse().unwrap()
}

async fn goes_on_without_what_it_dropped(bench: Bench) {
    let archives = Archives::of(bench);
    let (ledger, shard) = (archives.bench.ledger.as_ref(), archives.shard);
    let mut watch = Watch::default();
    archives.use_it().await;
    assert_eq!(watch.look(ledger).await.unwrap(), []);
    let first = archives.pass(Archiving::KEEP).await;
    assert_eq!(
        (first.entries, first.segments, first.receipts, first.without_receipt, first.trimmed),
        (3, 1, 2, 0, 0)
    );
    assert_eq!(archives.pass(Archiving::KEEP).await.segments, 0, "nothing new is no checkpoint");

    archives.use_it().await;
    archives.use_it().await;
    let second = archives.pass(Duration::ZERO).await;
    assert_eq!((second.entries, second.segments, second.trimmed), (6, 2, 8));
    assert_eq!(watch.look(ledger).await.unwrap(), [], "what was dropped is not lost");
    let zero = check_shard(ledger, shard, Replay::default(), Pace::FULL).await;
    assert!(matches!(zero, Err(CheckError::Trimmed(of)) if of == shard), "{zero:?}");

    archives.use_it().await;
    let replay = archives.archive.replayed(shard, archives.head().await.as_ref()).await.unwrap();
    assert_eq!(replay.entries, 9);
    let report = check_shard(ledger, shard, replay, Pace::FULL).await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.entries, 12);
    assert_eq!(archives.account().await, 4 * (1000 - 70));
    assert_eq!(archives.pass(Duration::ZERO).await.entries, 3);
    let verified = archives.verify().await.unwrap();
    assert_eq!((verified.checkpoints, verified.entries, verified.receipts), (4, 12, 8));
    assert_eq!((verified.without_receipt, verified.unnamed, verified.findings), (0, 0, Vec::new()));
}

#[tokio::test]
async fn an_embedded_ledger_goes_on_without_what_it_dropped() {
    goes_on_without_what_it_dropped(Bench::embedded().await).await;
}

#[tokio::test]
async fn a_redis_ledger_goes_on_without_what_it_dropped() {
    goes_on_without_what_it_dropped(Bench::redis().await).await;
}

#[tokio::test]
async fn a_receipt_that_was_not_archived_in_time_is_missed() {
    let archives = Archives::of(Bench::embedded().await);
    archives.use_it().await;
    archives.bench.pass(10 * DAY).await;
    archives.bench.ledger.expired(archives.shard, 1).await.unwrap();
    let archived = archives.pass(Archiving::KEEP).await;
    assert_eq!((archived.receipts, archived.without_receipt), (0, 2));
    assert_eq!(archives.verify().await.unwrap().without_receipt, 2);
}

#[tokio::test]
async fn a_pass_drops_more_than_one_call_of_the_store_does() {
    let archives = Archives::of(Bench::embedded().await);
    let entries = 2 * MAX_TRIM + 2;
    for _ in 0..entries {
        archives.bench.fund("alice", 1).await;
    }
    archives.bench.pass(Duration::from_secs(1)).await;
    let how = Archiving { keep: Duration::ZERO, segment: Archiving::SEGMENT, pace: Pace::FULL };
    let archived =
        archive_shard(archives.bench.ledger.as_ref(), &archives.archive, archives.shard, how).await.unwrap();
    assert_eq!((archived.segments, archived.trimmed), (1, u64::from(entries) - 1));
}

/// It is missed, and not put beside an entry that it did not make.
#[tokio::test]
async fn a_receipt_that_the_store_has_changed_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let archives = Archives::of(Bench::embedded_at(&path).await);
    archives.use_it().await;
    let file = rusqlite::Connection::open(&path).unwrap();
    file.execute("UPDATE kept_receipt SET jws = jws || 'x' WHERE charged = 30", []).unwrap();
    let archived = archives.pass(Duration::ZERO).await;
    assert_eq!((archived.receipts, archived.without_receipt, archived.trimmed), (1, 1, 0));
    assert_eq!(archived.report.found, 1, "{:?}", archived.report);
    let verified = archives.verify().await.unwrap();
    assert_eq!((verified.receipts, verified.without_receipt), (1, 1));
}

/// Two passes at once: one chain, whoever is slower.
#[tokio::test]
async fn of_two_that_archive_at_once_one_is_believed() {
    let archives = Archives::of(Bench::embedded().await);
    let mut raced = false;
    for _ in 0..20 {
        archives.use_it().await;
        let (one, other) = tokio::join!(archives.try_pass(Duration::ZERO), archives.try_pass(Duration::ZERO));
        for outcome in [&one, &other] {
            raced |= matches!(outcome, Err(ArchiveError::Raced(_)));
            assert!(matches!(outcome, Ok(_) | Err(ArchiveError::Raced(_))), "{outcome:?}");
        }
        assert!(one.is_ok() || other.is_ok());
    }
    archives.pass(Duration::ZERO).await;
    assert_eq!(archives.verify().await.unwrap().entries, 60);
    assert!(raced || archives.verify().await.unwrap().unnamed == 0);
}

#[tokio::test]
async fn books_that_are_wrong_keep_their_journal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let archives = Archives::of(Bench::embedded_at(&path).await);
    archives.use_it().await;
    let file = rusqlite::Connection::open(&path).unwrap();
    file.execute("UPDATE account SET balance = balance + 1", []).unwrap();
    let archived = archives.pass(Duration::ZERO).await;
    assert_eq!((archived.entries, archived.trimmed, archived.report.is_clean()), (3, 0, false));
    file.execute("UPDATE account SET balance = balance - 1", []).unwrap();
    assert_eq!(archives.pass(Duration::ZERO).await.trimmed, 2);
}

#[tokio::test]
async fn nothing_in_an_archive_is_changed_unnoticed() {
    let archives = Archives::of(Bench::embedded().await);
    for _ in 0..3 {
        archives.use_it().await;
    }
    archives.pass(Archiving::KEEP).await;
    let files = archives.files();
    assert_eq!(files.len(), 6);
    for path in &files {
        let whole = std::fs::read(path).unwrap();
        let mut damaged = vec![Vec::new(), whole[..whole.len() - 1].to_vec(), [&whole[..], b"\n"].concat()];
        for at in (0..whole.len()).step_by(whole.len() / 40) {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            damaged.push(flipped);
        }
        for bytes in damaged {
            std::fs::write(path, &bytes).unwrap();
            let outcome = archives.verify().await;
            let Err(ArchiveError::Damaged { path: named, .. }) = outcome else {
                panic!("{path:?}: {outcome:?}")
            };
            assert_eq!(&named, path);
        }
        std::fs::remove_file(path).unwrap();
        assert!(matches!(archives.verify().await, Err(ArchiveError::Io { .. })), "{path:?}");
        std::fs::write(path, &whole).unwrap();
    }
    archives.verify().await.unwrap();
    std::fs::write(files[0].with_file_name("00000009-left.checkpoint.json"), "{}").unwrap();
    assert_eq!(archives.verify().await.unwrap().unnamed, 1);
}

/// Writes a file as that of this text.
fn forged(path: &Path, text: &str) -> Digest {
    let digest = Digest::of(&[text.as_bytes()]);
    let name = path.file_name().unwrap().to_str().unwrap();
    std::fs::write(path.with_file_name(name.replace(&digest_in(path), &digest.to_string())), text).unwrap();
    digest
}

fn digest_in(path: &Path) -> String {
    let name = path.file_name().unwrap().to_str().unwrap();
    name.split_once('-').unwrap().1.split_once('.').unwrap().0.to_owned()
}

/// Although every digest is right.
#[tokio::test]
async fn what_is_of_another_place_or_another_format_is_refused() {
    let archives = Archives::of(Bench::embedded().await);
    archives.use_it().await;
    archives.pass(Archiving::KEEP).await;
    let head = archives.head().await.unwrap();
    let files = archives.files();
    let [checkpoint, segment] = &files[..] else { panic!("{files:?}") };
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    let (whole, entries, of) = (read(checkpoint), read(segment), archives.shard.0);
    let (shard, other) = (format!(r#""shard":{of}"#), format!(r#""shard":{}"#, of + 1));
    let (receipt, changed) = (r#"},"receipt":"0"#, r#"},"receipt":"1"#);
    let in_segment =
        [(shard.as_str(), other.as_str()), (r#""number":1"#, r#""number":2"#), ("journal/1", "journal/2")];
    let in_checkpoint = [
        (shard.as_str(), other.as_str()),
        (r#""number":1"#, r#""number":2"#),
        ("checkpoint/1", "checkpoint/2"),
    ];
    let refused = async |text: &str| {
        let named = ChainHead { digest: forged(checkpoint, text), ..head.clone() };
        let outcome = archives.archive.verify(archives.shard, Some(&named)).await;
        assert!(matches!(outcome, Err(ArchiveError::Damaged { .. })), "{text} {outcome:?}");
    };
    for (there, instead) in in_segment.into_iter().chain([(receipt, changed)]) {
        let other = entries.replacen(there, instead, 1);
        assert_ne!(other, entries, "{there}");
        refused(&whole.replace(&digest_in(segment), &forged(segment, &other).to_string())).await;
    }
    for (there, instead) in in_checkpoint {
        let other = whole.replacen(there, instead, 1);
        assert_ne!(other, whole, "{there}");
        refused(&other).await;
    }
}

/// Who can write the folder can make all digests right but the one that the ledger has.
#[tokio::test]
async fn a_history_that_was_written_anew_is_not_the_ledgers() {
    let archives = Archives::of(Bench::embedded().await);
    archives.use_it().await;
    archives.pass(Archiving::KEEP).await;
    let head = archives.head().await.unwrap();
    let files = archives.files();
    let [checkpoint, segment] = &files[..] else { panic!("{files:?}") };

    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    // The deposit is larger, in the journal and in what it makes.
    let entries = read(segment).replacen(r#""amount":"1000""#, r#""amount":"1001""#, 1);
    assert_ne!(entries, read(segment));
    let honest = read(checkpoint).replace(&digest_in(segment), &forged(segment, &entries).to_string());
    let richer = honest
        .replace(r#""balance":"930""#, r#""balance":"931""#)
        .replace(r#""deposited":"1000""#, r#""deposited":"1001""#);
    for (text, is_made) in [(honest, false), (richer, true)] {
        let digest = forged(checkpoint, &text);
        let named = ChainHead { digest, ..head.clone() };
        let outcome = archives.archive.verify(archives.shard, Some(&named)).await;
        assert_eq!(outcome.is_ok(), is_made, "{outcome:?}");
        if is_made {
            // It is whole in itself; but the ledger names another, and its accounts differ.
            let replay = outcome.unwrap().replay;
            let ledger = archives.bench.ledger.as_ref();
            let report = check_shard(ledger, archives.shard, replay, Pace::FULL).await.unwrap();
            assert_eq!((report.is_clean(), report.drift > 0), (false, true));
        }
    }
    assert_eq!(archives.verify().await.unwrap().unnamed, 3);
    let wrong = ChainHead { entries: head.entries + 1, ..head };
    assert!(archives.archive.verify(archives.shard, Some(&wrong)).await.is_err());
}

#[tokio::test]
async fn an_archive_that_is_not_there_is_an_error_and_not_empty() {
    let archives = Archives::of(Bench::embedded().await);
    archives.use_it().await;
    archives.pass(Duration::ZERO).await;
    assert!(matches!(Archive::open(archives.folder.path().join("no")), Err(ArchiveError::Io { .. })));
    let other = tempfile::tempdir().unwrap();
    let other = Archive::open(other.path()).unwrap();
    archives.use_it().await;
    let how = Archiving { keep: Duration::ZERO, segment: SEGMENT, pace: Pace::FULL };
    let outcome = archive_shard(archives.bench.ledger.as_ref(), &other, archives.shard, how).await;
    assert!(matches!(outcome, Err(ArchiveError::Io { .. })), "{outcome:?}");
    assert_eq!(archives.bench.account("alice").await.balance, NanoTon(2 * 930));
}
