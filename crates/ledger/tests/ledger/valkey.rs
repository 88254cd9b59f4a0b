//! A server that flushes its file once a second and has WAITAOF: what must be durable is answered once it is on disk.

use std::sync::Arc;
use std::time::Duration;

use cocoon_ledger::redis::{RedisLedger, Timeouts};
use cocoon_ledger::{
    Appending, Booked, ChannelOpened, Channels, Grant, Ledger, LedgerError, Raised, Treasury,
};
use cocoon_receipts::{NanoTon, RequestId};
use redis::cmd;
use tokio::task::JoinSet;

use crate::bench::*;
use crate::redis_server::RedisServer;

pub(crate) const EVERY_SECOND: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "everysec"];

fn flush(server: &RedisServer, when: &str) {
    cmd("CONFIG").arg(&["SET", "appendfsync", when]).exec(&mut server.client()).unwrap();
}

/// Guards against: an answer before the write is on disk, also to a repetition.
#[tokio::test]
async fn a_grant_is_answered_once_it_is_on_disk() {
    let server = RedisServer::valkey(&EVERY_SECOND);
    let timeouts = Timeouts { response: Duration::from_millis(1500), ..Timeouts::default() };
    let ledger = RedisLedger::connect_within(&server.url_of_user(), options(), timeouts).await.unwrap();
    let grant = || Grant { id: RequestId::generate(), account: name("alice"), amount: NanoTon(5) };
    assert_eq!(ledger.grant(&grant()).await.unwrap(), Booked::Booked { balance: NanoTon(5) });
    let known = grant();
    flush(&server, "no");
    for _ in 0..2 {
        let answer = ledger.grant(&known).await;
        let Err(LedgerError::Unavailable(reason)) = answer else { panic!("{answer:?}") };
        assert!(reason.contains("not on disk"), "{reason}");
    }
    flush(&server, "everysec");
    assert_eq!(ledger.grant(&known).await.unwrap(), Booked::Already);
    assert_eq!(ledger.account(&name("alice")).await.unwrap().balance, NanoTon(10));
}

/// Guards against: a settler that pays for what is not on disk yet, whether he decided it or read it.
#[tokio::test]
async fn what_is_decided_and_what_is_read_of_it_is_on_disk() {
    let server = RedisServer::valkey(&EVERY_SECOND);
    let timeouts = Timeouts { response: Duration::from_millis(1500), ..Timeouts::default() };
    let ledger = RedisLedger::connect_within(&server.url_of_user(), options(), timeouts).await.unwrap();
    // Who have written nothing themselves.
    let mut readers = Vec::new();
    for _ in 0..2 {
        readers.push(RedisLedger::connect_within(&server.url_of_user(), options(), timeouts).await.unwrap());
    }
    let record = ["first".to_owned()];
    let shard = ledger.shards().of(&name("alice"));
    flush(&server, "no");
    let is_waited_for = |told: Result<(), LedgerError>, call: &str| {
        let Err(LedgerError::Unavailable(reason)) = told else { panic!("{call}: {told:?}") };
        assert!(reason.contains("not on disk"), "{call}: {reason}");
    };
    for call in ["append", "append again"] {
        is_waited_for(ledger.append_decisions(0, &record).await.map(drop), call);
    }
    is_waited_for(ledger.append_decisions(0, &["other".to_owned()]).await.map(drop), "append where it moved");
    is_waited_for(readers[0].decisions(0, 10).await.map(drop), "decisions");
    is_waited_for(ledger.hold_lease("settler", LEASE).await.map(drop), "hold lease");
    is_waited_for(ledger.give_up_lease("settler").await, "give up lease");
    is_waited_for(readers[1].open_withdrawals(shard, None, 10).await.map(drop), "open withdrawals");
    flush(&server, "everysec");
    let appended = ledger.append_decisions(0, &record).await.unwrap();
    assert_eq!(appended, Appending::Appended { count: 1 });
    assert_eq!(ledger.decisions(0, 10).await.unwrap(), record);
    assert_eq!(ledger.open_withdrawals(shard, None, 10).await.unwrap(), []);
}

/// Guards against: a channel that is taken for open, or closed, and is not on disk; a request that waits for its voucher's
/// flush.
#[tokio::test]
async fn a_channel_opens_and_closes_on_disk_and_a_voucher_waits_for_none() {
    let server = RedisServer::valkey(&EVERY_SECOND);
    let timeouts = Timeouts { response: Duration::from_millis(1500), ..Timeouts::default() };
    let ledger = RedisLedger::connect_within(&server.url_of_user(), options(), timeouts).await.unwrap();
    let [open, late, ..] = CHANNELS;
    let opened = ledger.open_channel(&opening(open, 100, 0)).await.unwrap();
    assert_eq!(opened, ChannelOpened::Open);
    flush(&server, "no");
    let raised = ledger.raise_ceiling(&name(open), &voucher(60)).await.unwrap();
    assert_eq!(raised, Raised::Raised { by: NanoTon(60) });
    let request = RequestId::generate();
    assert_eq!(ledger.reserve(&reserve(open, request, 60)).await.unwrap(), held(60));
    for _ in 0..2 {
        let answers = [
            ledger.open_channel(&opening(late, 100, 0)).await.map(drop),
            ledger.close_channel(&name(open)).await.map(drop),
        ];
        for answer in answers {
            let Err(LedgerError::Unavailable(reason)) = answer else { panic!("{answer:?}") };
            assert!(reason.contains("not on disk"), "{reason}");
        }
    }
    flush(&server, "everysec");
    assert!(ledger.close_channel(&name(open)).await.unwrap());
}

/// Guards against: calls that wait for a flush each, one after the other; calls of requests that wait behind them.
#[tokio::test]
async fn many_that_must_be_durable_wait_for_one_flush_and_requests_for_none() {
    const GRANTS: u64 = 300;

    let server = RedisServer::valkey(&EVERY_SECOND);
    let ledger = Arc::new(RedisLedger::connect(&server.url_of_user(), options()).await.unwrap());
    let mut grants = JoinSet::new();
    for _ in 0..GRANTS {
        let ledger = Arc::clone(&ledger);
        let grant = Grant { id: RequestId::generate(), account: name("alice"), amount: NanoTon(5) };
        grants.spawn(async move { ledger.grant(&grant).await.unwrap() });
    }
    let mut lives = 0;
    while !grants.is_empty() {
        let request = RequestId::generate();
        ledger.reserve(&reserve("alice", request, 0)).await.unwrap();
        ledger.release(&release("alice", request)).await.unwrap();
        lives += 1;
        while let Some(granted) = grants.try_join_next() {
            granted.unwrap();
        }
    }
    assert!(lives > 20, "{lives} requests while {GRANTS} grants waited for a flush");
    assert_eq!(ledger.account(&name("alice")).await.unwrap().balance, NanoTon(5 * GRANTS));
}

/// Guards against: a call that fails because one that was sent along does.
#[tokio::test]
async fn one_that_fails_fails_no_other() {
    let server = RedisServer::valkey(&EVERY_SECOND);
    let ledger = Arc::new(RedisLedger::connect(&server.url_of_user(), options()).await.unwrap());
    let shard = ledger.shards().of(&name("broken"));
    let key = format!("cocoon:{{{shard}}}:account:broken");
    cmd("SET").arg(key).arg("no account").exec(&mut server.client()).unwrap();
    let mut grants = JoinSet::new();
    for number in 0..20 {
        let (ledger, broken) = (Arc::clone(&ledger), number % 4 == 0);
        let account = name(if broken { "broken" } else { "alice" });
        let grant = Grant { id: RequestId::generate(), account, amount: NanoTon(5) };
        grants.spawn(async move { (broken, ledger.grant(&grant).await) });
    }
    for (broken, granted) in grants.join_all().await {
        match broken {
            true => assert!(matches!(granted, Err(LedgerError::Corrupt(_))), "{granted:?}"),
            // Asked for again by itself, it may find that it is booked.
            false => assert!(matches!(granted, Ok(Booked::Booked { .. } | Booked::Already)), "{granted:?}"),
        }
    }
    assert_eq!(ledger.account(&name("alice")).await.unwrap().balance, NanoTon(75));
}
