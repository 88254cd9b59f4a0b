//! What can be read: accounts, journal, keysets, time.

use cocoon_ledger::{Grant, JournalKind, KeptDocument, LedgerError, MAX_DOCUMENT_BYTES, Refusal, Reserved};
use cocoon_receipts::{Digest, NanoTon};

use crate::bench::*;

pub(super) async fn an_account_never_seen_is_all_zero(bench: &Bench) {
    assert_eq!(bench.account("alice").await, cocoon_ledger::Account::default());
    bench.ledger.ping().await.unwrap();
}

pub(super) async fn what_was_seen_is_forgotten_after_eight_days(bench: &Bench) {
    // Visible only by its age: nothing that could ask for it is let through any more.
    bench.fund("alice", 1000).await;
    let request = bench.bound("alice", 100).await;
    let settlement = bench.settlement("alice", request, 10);
    bench.settle(&settlement).await;
    for _ in 0..12 {
        bench.pass(DAY).await;
        bench.ledger.expired(bench.shard("alice"), 10).await.unwrap();
        let again = bench.ledger.reserve(&reserve("alice", request, 100)).await.unwrap();
        assert_eq!(again, Reserved::Refused(Refusal::Finished));
        assert_ne!(bench.settle(&settlement).await, charged(10));
    }
    assert_eq!(bench.balance("alice").await, (990, 0));
}

pub(super) async fn a_shards_time_never_goes_back(bench: &Bench) {
    bench.fund("alice", 1000).await;
    let request = bench.hold("alice", 100).await;
    bench.pass(LEASE).await;
    assert_eq!(bench.ledger.expired(bench.shard("alice"), 10).await.unwrap(), [request]);
    bench.ledger.set_test_time(START_MS - 1_000_000).await.unwrap();
    assert_eq!(bench.ledger.expired(bench.shard("alice"), 10).await.unwrap(), [request]);
    bench.fund("alice", 1).await;
    let times: Vec<u64> = bench.journal("alice").await.iter().map(|entry| entry.at_ms).collect();
    assert_eq!(times, [START_MS, bench.now_ms()]);
}

pub(super) async fn the_journal_says_what_happened(bench: &Bench) {
    let deposit = bench.deposit("alice", 500);
    bench.ledger.credit(&deposit).await.unwrap();
    let grant = Grant { id: bench.request(), account: name("alice"), amount: NanoTon(70) };
    bench.ledger.grant(&grant).await.unwrap();
    let request = bench.bound("alice", 400).await;
    let settlement = bench.settlement("alice", request, 333);
    bench.settle(&settlement).await;
    let entries = bench.journal("alice").await;
    let [deposited, granted, charge] = &entries[..] else { panic!("{entries:?}") };
    assert_eq!((deposited.kind, deposited.amount), (JournalKind::Deposit, 500));
    assert_eq!(deposited.cause, format!("{}:{}", deposit.lt, deposit.tx_hash));
    assert_eq!((granted.kind, granted.amount), (JournalKind::Grant, 70));
    assert_eq!(granted.cause, grant.id.to_string());
    assert_eq!((granted.receipt, granted.usage, &granted.operator, &granted.key), (None, None, &None, &None));
    assert_eq!((charge.kind, charge.amount, charge.at_ms), (JournalKind::Charge, -333, START_MS));
    assert_eq!(charge.cause, request.to_string());
    assert_eq!((charge.key.clone(), charge.project.clone()), (Some(settlement.key), settlement.project));
    assert_eq!(
        (charge.model.clone(), charge.operator.clone()),
        (Some(settlement.model), Some(settlement.operator))
    );
    assert_eq!(
        (charge.receipt, charge.receipt_digest),
        (Some(settlement.receipt), Some(settlement.receipt_digest))
    );
    assert_eq!((charge.usage, charge.shortfall.0), (Some(settlement.usage), 0));
    assert_eq!((charge.operator_amount, charge.platform_amount), (299, 34));
}

pub(super) async fn the_journal_is_read_in_pages(bench: &Bench) {
    for _ in 0..7 {
        bench.fund("alice", 1).await;
    }
    let shard = bench.shard("alice");
    let all = bench.ledger.journal(shard, None, 100).await.unwrap();
    assert_eq!(all.len(), 7);
    let first = bench.ledger.journal(shard, None, 3).await.unwrap();
    let rest = bench.ledger.journal(shard, Some(&first[2].id), 100).await.unwrap();
    assert_eq!([first, rest].concat(), all);
    assert_eq!(bench.ledger.journal(shard, Some(&all[6].id), 100).await.unwrap(), []);
    let nonsense = cocoon_ledger::JournalId("+".to_owned());
    let refused = bench.ledger.journal(shard, Some(&nonsense), 100).await;
    assert!(matches!(refused, Err(LedgerError::Configuration(_))));
}

pub(super) async fn a_keyset_is_kept_under_its_digest(bench: &Bench) {
    let bytes = b"{\"any\": \0 bytes \xff}";
    let digest = bench.ledger.put_keyset(bytes).await.unwrap();
    assert_eq!(digest, Digest::of(&[bytes]));
    assert_eq!(bench.ledger.put_keyset(bytes).await.unwrap(), digest);
    assert_eq!(bench.ledger.keyset(digest).await.unwrap().as_deref(), Some(&bytes[..]));
    assert_eq!(bench.ledger.keyset(Digest::of(&[b"other"])).await.unwrap(), None);
}

pub(super) async fn the_first_document_of_a_keyset_is_kept(bench: &Bench) {
    let keyset = Digest::of(&[b"a keyset"]);
    assert_eq!(bench.ledger.document(keyset).await.unwrap(), None);
    let first = KeptDocument { nonce: [1; 32], verified_at: START_MS, bytes: b"\0 first \xff".to_vec() };
    let later = KeptDocument { nonce: [2; 32], verified_at: START_MS + 1, bytes: b"later".to_vec() };
    for document in [&first, &first, &later] {
        bench.ledger.put_document(keyset, document).await.unwrap();
    }
    assert_eq!(bench.ledger.document(keyset).await.unwrap(), Some(first));
    assert_eq!(bench.ledger.document(Digest::of(&[b"another"])).await.unwrap(), None);
}

pub(super) async fn a_document_too_long_is_not_kept(bench: &Bench) {
    let keyset = Digest::of(&[b"a keyset"]);
    let mut document =
        KeptDocument { nonce: [1; 32], verified_at: 1, bytes: vec![0; MAX_DOCUMENT_BYTES + 1] };
    let refused = bench.ledger.put_document(keyset, &document).await;
    assert!(matches!(refused, Err(LedgerError::Overflow)), "{refused:?}");
    assert_eq!(bench.ledger.document(keyset).await.unwrap(), None);
    document.bytes.pop();
    bench.ledger.put_document(keyset, &document).await.unwrap();
    assert_eq!(bench.ledger.document(keyset).await.unwrap(), Some(document));
}
