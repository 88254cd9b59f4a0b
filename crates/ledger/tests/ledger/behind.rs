//! A store that lost what it had is noticed.

use cocoon_ledger::embedded::Embedded;
use cocoon_ledger::redis::RedisLedger;
use cocoon_ledger::{Behind, Books, Credit, Ledger, Watch};
use cocoon_receipts::{Digest, NanoTon};

use crate::bench::*;
use crate::redis_server::RedisServer;

fn deposit(lt: u64) -> Credit {
    Credit { account: name("alice"), amount: NanoTon(5), lt, tx_hash: Digest::of(&[b"deposit"]) }
}

async fn look(watch: &mut Watch, ledger: &dyn Ledger) -> Vec<Behind> {
    watch.look(ledger).await.unwrap()
}

#[tokio::test]
async fn a_redis_whose_append_only_file_was_cut_back_is_behind() {
    let mut server = RedisServer::start();
    let ledger = RedisLedger::connect(&server.url(), options()).await.unwrap();
    let shard = ledger.shards().of(&name("alice"));
    let mut watch = Watch::default();
    assert_eq!(look(&mut watch, &ledger).await, []);
    ledger.credit(&deposit(1)).await.unwrap();
    assert_eq!(look(&mut watch, &ledger).await, [], "an entry more is no loss");
    let length = server.append_only_bytes();
    ledger.credit(&deposit(2)).await.unwrap();
    ledger.credit(&deposit(3)).await.unwrap();
    assert_eq!(look(&mut watch, &ledger).await, []);
    let lost = ledger.last_entry(shard).await.unwrap().unwrap();

    server.kill();
    server.cut_back_to(length);
    server.restart();
    // Others write before anybody looks: the newest id is above the one that was seen.
    ledger.credit(&deposit(4)).await.unwrap();
    let last = ledger.last_entry(shard).await.unwrap();
    assert!(last.as_ref().unwrap().id.place().unwrap() > lost.id.place().unwrap());
    assert_eq!(look(&mut watch, &ledger).await, [Behind { shard, seen: lost, last }]);
    assert_eq!(look(&mut watch, &ledger).await, [], "told once");
    assert_eq!(ledger.account(&name("alice")).await.unwrap().balance, NanoTon(10));
}

#[tokio::test]
async fn a_redis_that_lost_everything_is_behind() {
    let mut server = RedisServer::start();
    let ledger = RedisLedger::connect(&server.url(), options()).await.unwrap();
    let length = server.append_only_bytes();
    ledger.credit(&deposit(1)).await.unwrap();
    let mut watch = Watch::default();
    assert_eq!(look(&mut watch, &ledger).await, []);
    server.kill();
    server.cut_back_to(length);
    server.restart();
    let behind = look(&mut watch, &ledger).await;
    assert_eq!(behind.len(), 1);
    assert_eq!(behind[0].last, None);
    assert_eq!(look(&mut watch, &ledger).await, [], "told once");
}

#[tokio::test]
async fn a_file_that_was_restored_is_behind_although_its_ids_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("ledger.db"), folder.path().join("copy.db"));
    let mut watch = Watch::default();
    let ledger = Embedded::open(&path, options()).unwrap();
    ledger.credit(&deposit(1)).await.unwrap();
    drop(ledger);
    std::fs::copy(&path, &copy).unwrap();
    let ledger = Embedded::open(&path, options()).unwrap();
    ledger.credit(&deposit(2)).await.unwrap();
    assert_eq!(look(&mut watch, &ledger).await, []);
    drop(ledger);

    std::fs::copy(&copy, &path).unwrap();
    let ledger = Embedded::open(&path, options()).unwrap();
    ledger.credit(&deposit(3)).await.unwrap();
    let behind = look(&mut watch, &ledger).await;
    let [Behind { seen, last: Some(last), .. }] = &behind[..] else { panic!("{behind:?}") };
    assert_eq!((&seen.id, seen.cause == last.cause), (&last.id, false), "another entry under the same id");
    assert_eq!(look(&mut watch, &ledger).await, []);
}
