//! A ledger whose journal goes into an archive is carried away: the chain goes on where it came to.

use std::time::Duration;

use cocoon_ledger::transfer::{self, TransferError, Transferred};
use cocoon_ledger::{
    Archive, Archived, Archiving, CursorName, LedgerError, Pace, archive_shard, check_shard, replayed,
    verify_shard,
};

use super::{To, empty, export, place};
use crate::bench::*;
use crate::redis_server::RedisServer;

const SEGMENT: u64 = 2;

/// What has been archived stays in the store for this long, in [`Case`].
const FOR_EVER: Duration = Duration::from_secs(1_000_000);

struct Case {
    bench: Bench,
    folder: tempfile::TempDir,
    archive: Archive,
}

impl Case {
    /// Seven entries, of which the last is not archived.
    async fn of(bench: Bench, keep: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let case = Self { archive: Archive::open(folder.path()).unwrap(), bench, folder };
        for _ in 0..6 {
            case.entry().await;
        }
        assert_eq!(case.pass(keep).await.segments, 3);
        case.entry().await;
        case
    }

    async fn entry(&self) {
        self.bench.fund("alice", 10).await;
        self.bench.pass(Duration::from_secs(1)).await;
    }

    async fn pass(&self, keep: Duration) -> Archived {
        let how = Archiving { keep, segment: SEGMENT, pace: Pace::FULL };
        archive_shard(self.bench.ledger.as_ref(), &self.archive, self.bench.shard("alice"), how)
            .await
            .unwrap()
    }

    /// The same in another store.
    async fn moved(self, to: To<'_>) -> Self {
        let (url, store) = empty(to);
        self.import(&url, Some(&self.archive)).await.unwrap();
        let bench = Bench::at(url, store, self.bench.now_ms(), 100).await;
        Self { bench, ..self }
    }

    async fn import(&self, url: &str, archive: Option<&Archive>) -> Result<Transferred, TransferError> {
        let files = tempfile::tempdir().unwrap();
        let file = files.path().join("ledger");
        export(&self.bench.url, &file).await.unwrap();
        transfer::import(&place(url), &file, archive, &mut |_| ()).await
    }

    /// It is checked, archived and verified as if it had always been here.
    async fn goes_on(&self, trimmed: u64) {
        let (ledger, shard) = (self.bench.ledger.as_ref(), self.bench.shard("alice"));
        let begin = replayed(ledger, Some(&self.archive), shard).await.unwrap();
        assert_eq!(begin.entries, 6);
        let report = check_shard(ledger, shard, begin, Pace::FULL).await.unwrap();
        assert!(report.is_clean() && report.entries == 7, "{report:?}");
        for _ in 0..2 {
            self.entry().await;
        }
        let archived = self.pass(Duration::ZERO).await;
        assert_eq!((archived.entries, archived.segments, archived.trimmed), (3, 2, trimmed));
        let (verified, report) = verify_shard(ledger, &self.archive, shard, Pace::FULL).await.unwrap();
        assert!(report.is_clean(), "{report:?}");
        assert_eq!((verified.checkpoints, verified.entries, verified.unnamed), (5, 9, 0));
        assert_eq!(self.bench.balance("alice").await, (90, 0));
        assert!(self.folder.path().exists());
    }
}

async fn reads_up_to(bench: &Bench, name_of: &str, entry: usize) {
    let shard = bench.shard("alice");
    let entries = bench.ledger.journal(shard, None, 100).await.unwrap();
    bench.ledger.put_cursor(shard, &name(name_of), Some(&entries[entry].id)).await.unwrap();
}

#[tokio::test]
async fn a_trimmed_journal_goes_on_in_a_store_of_its_kind() {
    Case::of(Bench::embedded().await, Duration::ZERO).await.moved(To::Embedded).await.goes_on(3).await;
    let (from, to) = (RedisServer::start(), RedisServer::start());
    let case = Case::of(Bench::redis_on(&from).await, Duration::ZERO).await;
    case.moved(To::Redis(&to)).await.goes_on(3).await;
}

#[tokio::test]
async fn a_trimmed_and_read_journal_goes_on_in_a_redis() {
    let case = Case::of(Bench::embedded().await, Duration::ZERO).await;
    // Of those that are left, the sixth and the seventh.
    reads_up_to(&case.bench, "settler", 0).await;
    let server = RedisServer::start();
    let case = case.moved(To::Redis(&server)).await;
    let kept = case.bench.ledger.kept(case.bench.shard("alice")).await.unwrap();
    let at = kept.cursors[&name::<CursorName>("settler")].clone().unwrap();
    assert_eq!((at.0.as_str(), kept.trimmed.unwrap().0.as_str()), ("0-6", "0-5"));
    case.goes_on(1).await;
}

#[tokio::test]
async fn a_whole_journal_of_a_redis_goes_on_in_a_file() {
    let case = Case::of(Bench::redis().await, FOR_EVER).await;
    case.moved(To::Embedded).await.goes_on(8).await;
}

#[tokio::test]
async fn what_a_file_cannot_number_is_refused() {
    let case = Case::of(Bench::redis().await, Duration::ZERO).await;
    let (url, _folder) = empty(To::Embedded);
    let refused = case.import(&url, Some(&case.archive)).await;
    let Err(TransferError::Incomplete(why)) = refused else { panic!("{refused:?}") };
    assert!(matches!(*why, TransferError::Ledger(LedgerError::Configuration(_))), "{why}");
}

#[tokio::test]
async fn a_trimmed_journal_is_not_imported_without_its_archive() {
    let case = Case::of(Bench::embedded().await, Duration::ZERO).await;
    let (url, _folder) = empty(To::Embedded);
    let refused = case.import(&url, None).await;
    assert!(matches!(refused, Err(TransferError::NeedsArchive)), "{refused:?}");
    // Before anything was written.
    case.import(&url, Some(&case.archive)).await.unwrap();
}
