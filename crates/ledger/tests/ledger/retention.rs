//! How far a journal is archived, who reads it, and what may leave it.

use std::time::Duration;

use cocoon_ledger::{ChainHead, CursorName, JournalId, Kept, LedgerError, MAX_CURSORS, MAX_TRIM, Shard};
use cocoon_receipts::Digest;

use crate::bench::*;

const TICK: Duration = Duration::from_millis(1);

macro_rules! on_both_stores {
    ($($behaviour:ident)*) => {
        mod embedded {
            $(#[tokio::test]
            async fn $behaviour() {
                super::$behaviour(&super::Bench::embedded().await).await;
            })*
        }
        mod redis {
            $(#[tokio::test]
            async fn $behaviour() {
                super::$behaviour(&super::Bench::redis().await).await;
            })*
        }
    };
}

on_both_stores! {
    nothing_leaves_a_journal_before_it_is_archived_and_read
    a_journals_newest_entry_stays
    a_young_entry_stays_however_well_archived
    a_long_journal_leaves_in_pieces
    a_checkpoint_follows_the_newest_one
    a_cursor_never_goes_back
    receipts_are_read_as_they_were_sent
}

async fn ids(bench: &Bench, shard: Shard) -> Vec<JournalId> {
    let entries = bench.ledger.journal(shard, None, 10_000).await.unwrap();
    entries.into_iter().map(|entry| entry.id).collect()
}

/// A shard with so many entries, each a millisecond after the other, and their ids.
async fn deposits(bench: &Bench, number: u64) -> (Shard, Vec<JournalId>) {
    for _ in 0..number {
        bench.fund("alice", 10).await;
        bench.pass(TICK).await;
    }
    let shard = bench.shard("alice");
    (shard, ids(bench, shard).await)
}

fn head(number: u64, at: &JournalId) -> ChainHead {
    ChainHead { number, digest: digest(number), at: at.clone(), entries: number }
}

fn digest(number: u64) -> Digest {
    Digest::of(&[&number.to_be_bytes()])
}

async fn trim(bench: &Bench, shard: Shard) -> u32 {
    bench.ledger.trim(shard, Duration::ZERO).await.unwrap()
}

async fn nothing_leaves_a_journal_before_it_is_archived_and_read(bench: &Bench) {
    let (shard, all) = deposits(bench, 6).await;
    let (slow, fast): (CursorName, CursorName) = (name("slow"), name("fast"));
    assert_eq!(trim(bench, shard).await, 0, "not archived");
    assert!(bench.ledger.put_head(shard, None, &head(1, &all[3])).await.unwrap());
    bench.ledger.put_cursor(shard, &slow, None).await.unwrap();
    bench.ledger.put_cursor(shard, &fast, Some(&all[5])).await.unwrap();
    assert_eq!(trim(bench, shard).await, 0, "one reader has read nothing");
    bench.ledger.put_cursor(shard, &slow, Some(&all[1])).await.unwrap();
    assert_eq!(trim(bench, shard).await, 2);
    assert_eq!(ids(bench, shard).await, all[2..]);
    assert_eq!(bench.ledger.kept(shard).await.unwrap().trimmed, Some(all[1].clone()));
    bench.ledger.drop_cursor(shard, &slow).await.unwrap();
    assert_eq!(trim(bench, shard).await, 2, "up to where it is archived");
    assert_eq!(ids(bench, shard).await, all[4..]);
    assert_eq!(bench.ledger.entry(shard, &all[3]).await.unwrap(), None);
    assert_eq!(bench.balance("alice").await, (60, 0), "balances stay");
    assert_eq!(trim(bench, shard).await, 0);
    let other = bench.ledger.shards().all().find(|other| *other != shard).unwrap();
    assert_eq!(bench.ledger.kept(other).await.unwrap(), Kept::default());
}

async fn a_journals_newest_entry_stays(bench: &Bench) {
    let (shard, all) = deposits(bench, 3).await;
    assert!(bench.ledger.put_head(shard, None, &head(1, &all[2])).await.unwrap());
    assert_eq!(trim(bench, shard).await, 2);
    assert_eq!(ids(bench, shard).await, all[2..]);
    assert_eq!(bench.ledger.last_entry(shard).await.unwrap().unwrap().id, all[2]);
    assert_eq!(bench.ledger.totals_at(shard).await.unwrap().at.as_ref(), Some(&all[2]));
}

async fn a_young_entry_stays_however_well_archived(bench: &Bench) {
    let (shard, all) = deposits(bench, 5).await;
    assert!(bench.ledger.put_head(shard, None, &head(1, &all[4])).await.unwrap());
    // They are 5, 4, 3, 2 and 1 milliseconds old.
    let older_than = |ms| bench.ledger.trim(shard, Duration::from_millis(ms));
    assert_eq!(older_than(5).await.unwrap(), 0);
    assert_eq!(older_than(3).await.unwrap(), 2);
    assert_eq!(ids(bench, shard).await, all[2..]);
}

async fn a_long_journal_leaves_in_pieces(bench: &Bench) {
    let (shard, all) = deposits(bench, u64::from(MAX_TRIM) + 2).await;
    assert!(bench.ledger.put_head(shard, None, &head(1, all.last().unwrap())).await.unwrap());
    assert_eq!(trim(bench, shard).await, MAX_TRIM);
    assert_eq!(trim(bench, shard).await, 1);
    assert_eq!(ids(bench, shard).await, all[all.len() - 1..]);
}

async fn a_checkpoint_follows_the_newest_one(bench: &Bench) {
    let (shard, all) = deposits(bench, 2).await;
    let put = |before, head| async move { bench.ledger.put_head(shard, before, &head).await.unwrap() };
    assert!(!put(Some(digest(7)), head(1, &all[0])).await, "there is none before it");
    assert!(put(None, head(1, &all[0])).await);
    assert!(put(None, head(1, &all[0])).await, "the same once more");
    assert!(!put(None, head(2, &all[1])).await);
    assert_eq!(bench.ledger.kept(shard).await.unwrap().head, Some(head(1, &all[0])));
    assert!(put(Some(digest(1)), head(2, &all[1])).await);
    let newest = Kept { head: Some(head(2, &all[1])), ..Kept::default() };
    assert_eq!(bench.ledger.kept(shard).await.unwrap(), newest);
}

async fn a_cursor_never_goes_back(bench: &Bench) {
    let (shard, all) = deposits(bench, 2).await;
    let cursor: CursorName = name("settler");
    let put = |at: Option<&JournalId>| {
        let (ledger, cursor, at) = (&bench.ledger, &cursor, at.cloned());
        async move {
            ledger.put_cursor(shard, cursor, at.as_ref()).await.unwrap();
            ledger.kept(shard).await.unwrap().cursors[cursor].clone()
        }
    };
    assert_eq!(put(None).await, None);
    assert_eq!(put(Some(&all[1])).await, Some(all[1].clone()));
    assert_eq!(put(Some(&all[0])).await, Some(all[1].clone()));
    assert_eq!(put(None).await, Some(all[1].clone()));
    for n in 1..MAX_CURSORS {
        bench.ledger.put_cursor(shard, &name(&format!("reader-{n}")), None).await.unwrap();
    }
    let one_more = bench.ledger.put_cursor(shard, &name("one-more"), None).await;
    assert!(matches!(one_more, Err(LedgerError::Overflow)), "{one_more:?}");
    assert_eq!(bench.ledger.kept(shard).await.unwrap().cursors.len(), MAX_CURSORS);
    assert_eq!(put(Some(&all[1])).await, Some(all[1].clone()), "those that are there go on");
}

async fn receipts_are_read_as_they_were_sent(bench: &Bench) {
    bench.fund("alice", 100).await;
    let request = bench.bound("alice", 50).await;
    let settlement = bench.settlement("alice", request, 20);
    bench.settle(&settlement).await;
    let unknown = bench.receipt();
    let (shard, sent) = (bench.shard("alice"), Some(settlement.receipt_jws.clone()));
    let read = bench.ledger.sent_receipts(shard, &[unknown, settlement.receipt]).await.unwrap();
    assert_eq!(read, [None, sent]);
    assert_eq!(bench.ledger.sent_receipts(shard, &[]).await.unwrap(), []);
    let other = bench.ledger.shards().all().find(|other| *other != shard).unwrap();
    assert_eq!(bench.ledger.sent_receipts(other, &[settlement.receipt]).await.unwrap(), [None]);
}
