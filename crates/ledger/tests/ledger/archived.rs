//! Invariant 4 where old entries are gone: what the archive has and the journal's rest give the accounts.

use std::time::Duration;

use cocoon_ledger::{Archive, Archiving, Ledger, Pace, Replay, check_shard};

/// Some segments for the longest journals.
const SEGMENT: u64 = 20;

/// Archives the whole of a ledger at rest, drops what may go, and verifies it from zero and from the last checkpoint.
pub(crate) async fn check(ledger: &dyn Ledger) {
    let folder = tempfile::tempdir().unwrap();
    let archive = Archive::open(folder.path()).unwrap();
    let how = Archiving { keep: Duration::ZERO, segment: SEGMENT, pace: Pace { page: 7, ..Pace::FULL } };
    for shard in ledger.shards().all() {
        let whole = check_shard(ledger, shard, Replay::default(), Pace::FULL).await.unwrap();
        let archived = cocoon_ledger::archive_shard(ledger, &archive, shard, how).await.unwrap();
        assert!(archived.report.is_clean(), "{:?}", archived.report);
        assert_eq!((archived.entries, archived.segments), (whole.entries, whole.entries.div_ceil(SEGMENT)));

        let head = ledger.kept(shard).await.unwrap().head;
        let verified = archive.verify(shard, head.as_ref()).await.unwrap();
        assert_eq!((verified.entries, verified.checkpoints), (whole.entries, archived.segments));
        assert_eq!((verified.findings.as_slice(), verified.unnamed), (&[][..], 0));

        let replay = archive.replayed(shard, head.as_ref()).await.unwrap();
        assert_eq!(replay.accounts, verified.replay.accounts);
        let rest = check_shard(ledger, shard, replay, Pace::FULL).await.unwrap();
        assert_eq!(rest, whole, "from the last checkpoint as from zero");
    }
}
