//! What must be durable is answered once a replica has it, and is an error while none does.

use std::time::{Duration, Instant};

use cocoon_ledger::redis::{RedisLedger, Timeouts};
use cocoon_ledger::{Booked, Channels, Grant, Ledger, LedgerError, Raised};
use cocoon_receipts::{NanoTon, RequestId};

use crate::bench::*;
use crate::redis_server::{DURABLE, RedisServer, has_good_replica, until};

const CONNECT: Duration = Duration::from_millis(500);
/// Long enough for a server that flushes every second, and a replica that says so every second.
const RESPONSE: Duration = Duration::from_millis(1500);
/// What a call that waits may take: connecting, and twice the response timeout; and what a loaded machine adds.
const SOON: Duration = Duration::from_millis(5500);

fn some_grant() -> Grant {
    Grant { id: RequestId::generate(), account: name("alice"), amount: NanoTon(500) }
}

async fn is_unavailable_soon(ledger: &RedisLedger, grant: &Grant) -> String {
    let asked = Instant::now();
    let Err(LedgerError::Unavailable(reason)) = ledger.grant(grant).await else { panic!("it was answered") };
    assert!(asked.elapsed() < SOON, "{:?}", asked.elapsed());
    reason
}

async fn is_granted(ledger: &RedisLedger, grant: &Grant, expected: Booked) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match ledger.grant(grant).await {
            Ok(booked) => return assert_eq!(booked, expected),
            Err(LedgerError::Unavailable(reason)) => assert!(Instant::now() < deadline, "{reason}"),
            Err(error) => panic!("{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Guards against: a grant that is answered before, or without, its replica; one that is booked twice because it had to be
/// asked for again.
async fn a_grant_waits_for_its_replica(primary: RedisServer, replica: RedisServer) {
    replica.follow(&primary).await;
    let timeouts = Timeouts { connect: CONNECT, response: RESPONSE };
    let ledger = RedisLedger::connect_within(&primary.url_of_user(), options(), timeouts).await.unwrap();
    is_granted(&ledger, &some_grant(), Booked::Booked { balance: NanoTon(500) }).await;

    let [open, late, ..] = CHANNELS;
    ledger.open_channel(&opening(open, 100, 0)).await.unwrap();
    replica.signal("STOP");
    let grant = some_grant();
    let reason = is_unavailable_soon(&ledger, &grant).await;
    assert!(reason.contains("0 of 1 replicas"), "{reason}");
    // It is done, and so the second time it is no less waited for.
    is_unavailable_soon(&ledger, &grant).await;
    // What requests do waits for no replica, as long as the primary counts on one.
    let request = RequestId::generate();
    assert_eq!(ledger.reserve(&reserve("alice", request, 100)).await.unwrap(), held(100));
    let raised = ledger.raise_ceiling(&name(open), &voucher(60)).await.unwrap();
    assert_eq!(raised, Raised::Raised { by: NanoTon(60) });
    // What is known of a channel does.
    let late = opening(late, 100, 0);
    let closed = name(open);
    let (opened, closed) = tokio::join!(ledger.open_channel(&late), ledger.close_channel(&closed));
    let reasons = [opened.map(drop), closed.map(drop)].map(|answer| match answer {
        Err(LedgerError::Unavailable(reason)) => reason,
        answer => panic!("{answer:?}"),
    });
    // One waits behind the other, and perhaps for longer than it may.
    assert!(reasons.iter().any(|reason| reason.contains("0 of 1 replicas")), "{reasons:?}");
    replica.signal("CONT");
    is_granted(&ledger, &grant, Booked::Already).await;

    // A primary whose replica is gone takes nothing at all.
    replica.signal("STOP");
    redis::cmd("CLIENT").arg(&["KILL", "TYPE", "replica"]).exec(&mut primary.client()).unwrap();
    until("the primary misses its replica", || !has_good_replica(&primary)).await;
    let grant = some_grant();
    let reason = is_unavailable_soon(&ledger, &grant).await;
    assert!(reason.contains("NOREPLICAS"), "{reason}");
    let refused = ledger.release(&release("alice", request)).await;
    assert!(matches!(refused, Err(LedgerError::Unavailable(_))), "{refused:?}");
    assert_eq!(ledger.account(&name("alice")).await.unwrap().balance.0, 1000, "reading goes on");
    replica.signal("CONT");
    is_granted(&ledger, &grant, Booked::Booked { balance: NanoTon(1500) }).await;
    drop(replica);
}

const ONE_REPLICA: [&str; 4] = ["--min-replicas-to-write", "1", "--repl-diskless-sync-delay", "0"];

#[tokio::test]
async fn a_grant_on_redis_waits_for_its_replica() {
    let settings = [&DURABLE[..], &ONE_REPLICA].concat();
    a_grant_waits_for_its_replica(RedisServer::with(&settings), RedisServer::with(&settings)).await;
}

/// With WAITAOF, for the replica's disk.
#[tokio::test]
async fn a_grant_on_valkey_waits_for_its_replica() {
    let settings = [&crate::valkey::EVERY_SECOND[..], &ONE_REPLICA].concat();
    a_grant_waits_for_its_replica(RedisServer::valkey(&settings), RedisServer::valkey(&settings)).await;
}
