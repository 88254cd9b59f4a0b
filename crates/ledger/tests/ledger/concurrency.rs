//! Many callers at once, through one handle and through several.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use cocoon_ledger::embedded::Embedded;
use cocoon_ledger::redis::RedisLedger;
use cocoon_ledger::{
    Appending, Bound, Budget, ChannelOpened, Ledger, Limits, Options, Period, Raised, Reserve, Reserved,
    Settled, ShardCount, Whose,
};
use cocoon_receipts::{AccountId, Digest, KeyId, NanoTon, ReceiptId, RequestId};
use tokio::task::JoinSet;

use crate::bench::*;
use crate::invariants;
use crate::redis_server::RedisServer;

/// Real time: the callers race with it too.
fn racing() -> Options {
    Options { shards: ShardCount::new(3).unwrap(), ..Options::default() }
}

struct Handles {
    all: Vec<Arc<dyn Ledger>>,
    _store: Box<dyn std::any::Any>,
}

async fn embedded() -> Handles {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let open = || -> Arc<dyn Ledger> { Arc::new(Embedded::open(&path, racing()).unwrap()) };
    Handles { all: vec![open(), open()], _store: Box::new(folder) }
}

async fn redis() -> Handles {
    let server = RedisServer::start();
    let mut all: Vec<Arc<dyn Ledger>> = Vec::new();
    for _ in 0..2 {
        all.push(Arc::new(RedisLedger::connect(&server.url(), racing()).await.unwrap()));
    }
    Handles { all, _store: Box::new(server) }
}

async fn reserves_at_once_never_hold_more_than_there_is(handles: Handles) {
    let deposit = cocoon_ledger::Credit {
        account: name("alice"),
        amount: NanoTon(1000),
        lt: 1,
        tx_hash: Digest::of(&[]),
    };
    handles.all[0].credit(&deposit).await.unwrap();
    let mut callers = JoinSet::new();
    for caller in 0..60 {
        let ledger = Arc::clone(&handles.all[caller % handles.all.len()]);
        callers.spawn(
            async move { ledger.reserve(&reserve("alice", RequestId::generate(), 90)).await.unwrap() },
        );
    }
    let answers = callers.join_all().await;
    let held = answers.iter().filter(|answer| matches!(answer, Reserved::Held { .. })).count();
    assert_eq!(held, 11);
    let account = handles.all[1].account(&name("alice")).await.unwrap();
    assert_eq!((account.balance.0, account.held.0, account.open_holds), (1000, 990, 11));
}

/// Guards against: two callers that both find the last place, or the rest of a budget.
async fn limits_hold_against_many_at_once(handles: Handles) {
    let deposit = cocoon_ledger::Credit {
        account: name("alice"),
        amount: NanoTon(100_000),
        lt: 1,
        tx_hash: Digest::of(&[]),
    };
    handles.all[0].credit(&deposit).await.unwrap();
    let budget = Some(Budget { amount: NanoTon(500), period: Period::Total });
    let limited = [
        (7, Limits { concurrency: Some(7), ..Limits::default() }),
        (1, Limits { rpm: Some(1), ..Limits::default() }),
        (5, Limits { budget, ..Limits::default() }),
    ];
    for (index, (fit, limits)) in limited.into_iter().enumerate() {
        let key: KeyId = name(&format!("key-{index}"));
        let mut callers = JoinSet::new();
        for caller in 0..40 {
            let ledger = Arc::clone(&handles.all[caller % handles.all.len()]);
            let asked = Reserve { limits, key: key.clone(), ..reserve("alice", RequestId::generate(), 90) };
            callers.spawn(async move { ledger.reserve(&asked).await.unwrap() });
        }
        let answers = callers.join_all().await;
        let held = answers.iter().filter(|answer| matches!(answer, Reserved::Held { .. })).count();
        assert_eq!(held, fit, "{limits:?}");
        let standing = handles.all[1].standing(&name("alice"), &Whose::Key(key)).await.unwrap();
        assert_eq!((standing.running, standing.held.total.0), (fit as u64, fit as u64 * 90), "{limits:?}");
    }
}

async fn one_receipt_from_many_sides_is_charged_once(handles: Handles) {
    let ledger = &handles.all[0];
    let funded = cocoon_ledger::Credit {
        account: name("alice"),
        amount: NanoTon(1000),
        lt: 1,
        tx_hash: Digest::of(&[]),
    };
    // The deposit, too, is reported by more than one.
    let mut callers = JoinSet::new();
    for caller in 0..8 {
        let (ledger, funded) = (Arc::clone(&handles.all[caller % handles.all.len()]), funded.clone());
        callers.spawn(async move { ledger.credit(&funded).await.unwrap() });
    }
    callers.join_all().await;
    let request = RequestId::generate();
    ledger.reserve(&reserve("alice", request, 500)).await.unwrap();
    ledger.bind(&bind("alice", request, 1, keyset("a"))).await.unwrap();
    let settlement = settlement(request, 400);
    let mut callers = JoinSet::new();
    for caller in 0..20 {
        let (ledger, settlement) = (Arc::clone(&handles.all[caller % handles.all.len()]), settlement.clone());
        callers.spawn(async move { ledger.settle(&settlement).await.unwrap() });
    }
    let answers = callers.join_all().await;
    assert_eq!(answers.iter().filter(|answer| **answer == charged(400)).count(), 1);
    let again = Settled::Already { charged: NanoTon(400) };
    assert_eq!(answers.iter().filter(|answer| **answer == again).count(), 19);
    assert_eq!(ledger.account(&name("alice")).await.unwrap().balance, NanoTon(600));
}

pub(crate) fn settlement(request: RequestId, cost: u64) -> cocoon_ledger::Settlement {
    let receipt = ReceiptId::generate();
    cocoon_ledger::Settlement {
        account: name("alice"),
        key: name("key"),
        project: None,
        request,
        attempt: 1,
        keyset: keyset("a"),
        operator: name("operator-a"),
        operator_share: cocoon_receipts::BasisPoints::new(9000).unwrap(),
        receipt,
        receipt_digest: Digest::of(&[receipt.to_string().as_bytes()]),
        receipt_jws: receipt.to_string(),
        model: "model".to_owned(),
        work: cocoon_ledger::Work::Completions,
        usage: usage(cost),
        cost: NanoTon(cost),
        max_cost: NanoTon(cost),
    }
}

/// Whole lives of requests, in any order and more than once, while somebody looks at the books all the time.
async fn whole_lives_at_once_keep_the_invariants(handles: Handles) {
    let full = std::env::var_os("COCOON_TEST_FULL").is_some();
    let lives = if full { 400 } else { 25 };
    let (done, receipts) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut watchers = JoinSet::new();
    for ledger in handles.all.clone() {
        let done = Arc::clone(&done);
        watchers.spawn(async move {
            while !done.load(Ordering::SeqCst) {
                for shard in ledger.shards().all() {
                    invariants::books_balance(&ledger.totals(shard).await.unwrap());
                }
                for account in accounts() {
                    let state = ledger.account(&account).await.unwrap();
                    assert!(state.held <= state.balance, "{state:?}");
                }
            }
        });
    }
    let mut callers = JoinSet::new();
    for caller in 0..16_u64 {
        let ledger = Arc::clone(&handles.all[usize::try_from(caller).unwrap() % handles.all.len()]);
        let receipts = Arc::clone(&receipts);
        callers.spawn(async move {
            let mut random = fastrand::Rng::with_seed(caller);
            for _ in 0..lives {
                let settled = live(ledger.as_ref(), &mut random).await;
                receipts.fetch_add(settled, Ordering::SeqCst);
            }
        });
    }
    callers.join_all().await;
    done.store(true, Ordering::SeqCst);
    watchers.join_all().await;
    let everyone: Vec<AccountId> = accounts().collect();
    let journaled = invariants::check(handles.all[0].as_ref(), &everyone, START_MS).await;
    assert_eq!(journaled.len() as u64, receipts.load(Ordering::SeqCst));
}

/// One request; answers how many receipts were accepted.
async fn live(ledger: &dyn Ledger, random: &mut fastrand::Rng) -> u64 {
    let account = ACCOUNTS[random.usize(..3)];
    let request = RequestId::generate();
    if random.u8(..3) == 0 {
        let grant =
            cocoon_ledger::Grant { id: RequestId::generate(), account: name(account), amount: NanoTon(300) };
        ledger.grant(&grant).await.unwrap();
    }
    let mut asked = reserve(account, request, 50 + random.u64(..100));
    if random.u8(..4) == 0 {
        asked.lease = std::time::Duration::ZERO;
    }
    let Reserved::Held { .. } = ledger.reserve(&asked).await.unwrap() else { return 0 };
    match random.u8(..5) {
        0 => {
            ledger.release(&release(account, request)).await.unwrap();
            0
        }
        1 => {
            let shard = ledger.shards().of(&name(account));
            for over in ledger.expired(shard, 5).await.unwrap() {
                ledger.expire(shard, over).await.unwrap();
            }
            0
        }
        _ => {
            let bound = ledger.bind(&bind(account, request, 1, keyset("a"))).await.unwrap();
            assert!(matches!(bound, Bound::Bound | Bound::Gone));
            let receipt =
                cocoon_ledger::Settlement { account: name(account), ..settlement(request, random.u64(..50)) };
            let (first, second) = tokio::join!(ledger.settle(&receipt), ledger.settle(&receipt));
            let answers = [first.unwrap(), second.unwrap()];
            assert_eq!(answers.iter().filter(|answer| matches!(answer, Settled::Already { .. })).count(), 1);
            1
        }
    }
}

/// Operations that share a transaction do not share their fate.
async fn one_that_fails_undoes_no_other(handles: Handles) {
    const CALLERS: u64 = 40;
    let credit = |amount, lt| cocoon_ledger::Credit {
        account: name("alice"),
        amount: NanoTon(amount),
        lt,
        tx_hash: Digest::of(&[]),
    };
    handles.all[0].credit(&credit(10, 0)).await.unwrap();
    let mut callers = JoinSet::new();
    for caller in 1..=CALLERS {
        let ledger = Arc::clone(&handles.all[0]);
        let too_large = caller % 4 == 0;
        let credit = credit(if too_large { (1 << 53) - 1 } else { 10 }, caller);
        callers.spawn(async move { (too_large, ledger.credit(&credit).await.is_ok()) });
    }
    for (too_large, booked) in callers.join_all().await {
        assert_ne!(too_large, booked);
    }
    let small = 1 + CALLERS - CALLERS / 4;
    let account = handles.all[1].account(&name("alice")).await.unwrap();
    assert_eq!(account.balance, NanoTon(10 * small));
    let journal =
        handles.all[1].journal(handles.all[1].shards().of(&name("alice")), None, 100).await.unwrap();
    assert_eq!(journal.len() as u64, small);
    assert!(journal.iter().all(|entry| entry.amount == 10));
}

async fn of_many_that_append_at_once_each_place_has_one_winner(handles: Handles) {
    const CALLERS: usize = 8;
    const EACH: usize = 20;

    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let ledger = Arc::clone(&handles.all[caller % handles.all.len()]);
        callers.spawn(async move {
            let (mut known, mut won) = (0, Vec::new());
            for number in 0..EACH {
                let records: Vec<String> =
                    (0..=number % 3).map(|part| format!("{part} of {number} of {caller}")).collect();
                loop {
                    match ledger.append_decisions(known, &records).await.unwrap() {
                        Appending::Appended { count } => {
                            assert_eq!(count, known + records.len() as u64);
                            won.extend((known..).zip(records));
                            known = count;
                            break;
                        }
                        Appending::Moved { count } => {
                            assert!(count > known, "{count} after {known}");
                            known = count;
                        }
                    }
                }
            }
            won
        });
    }
    let won: Vec<(u64, String)> = callers.join_all().await.into_iter().flatten().collect();
    let places: BTreeMap<u64, String> = won.iter().cloned().collect();
    assert_eq!(places.len(), won.len(), "two were told that a place is theirs");
    let all = handles.all[1].decisions(0, 1000).await.unwrap();
    assert_eq!(all, places.into_values().collect::<Vec<_>>());
    assert_eq!(all.len(), CALLERS * (EACH * 2 - 1), "7, 7 and 6 of one, two and three");
}

async fn of_many_that_ask_for_the_lease_one_has_it(handles: Handles) {
    for _ in 0..5 {
        let mut callers = JoinSet::new();
        for caller in 0..8 {
            let ledger = Arc::clone(&handles.all[caller % handles.all.len()]);
            let hour = std::time::Duration::from_secs(3600);
            callers.spawn(async move { ledger.hold_lease(&format!("caller-{caller}"), hour).await.unwrap() });
        }
        let holders: BTreeSet<String> =
            callers.join_all().await.into_iter().map(|lease| lease.holder).collect();
        assert_eq!(holders.len(), 1, "{holders:?}");
        handles.all[0].give_up_lease(holders.first().unwrap()).await.unwrap();
    }
}

/// Vouchers in any order and more than once, beside what spends them: exactly the highest one counts.
async fn vouchers_at_once_credit_the_highest_and_no_more(handles: Handles) {
    const BASE: u64 = 100;
    const DEPOSITED: u64 = 5_000;

    let ledger = &handles.all[0];
    let channel = CHANNELS[0];
    let mut callers = JoinSet::new();
    // Whoever sees the channel opens it, with whatever of its deposit he saw.
    for caller in 0..8_usize {
        let ledger = Arc::clone(&handles.all[caller % handles.all.len()]);
        let deposited = DEPOSITED - 10 * caller as u64;
        callers.spawn(async move {
            let opened = ledger.open_channel(&opening(channel, deposited, BASE)).await.unwrap();
            assert_eq!(opened, ChannelOpened::Open);
        });
    }
    callers.join_all().await;
    let mut callers = JoinSet::new();
    for caller in 0..16_u64 {
        let ledger = Arc::clone(&handles.all[usize::try_from(caller).unwrap() % handles.all.len()]);
        callers.spawn(async move {
            let (mut random, mut raised, mut highest) = (fastrand::Rng::with_seed(caller), 0, BASE);
            for _ in 0..30 {
                let cumulative = random.u64(..DEPOSITED + 200);
                match ledger.raise_ceiling(&name(channel), &voucher(cumulative)).await.unwrap() {
                    Raised::Raised { by } => (raised, highest) = (raised + by.0, highest.max(cumulative)),
                    Raised::Known => {}
                    Raised::AboveDeposit { deposited } => {
                        assert!(deposited.0 == DEPOSITED && cumulative > DEPOSITED, "{cumulative}");
                    }
                    other => panic!("{other:?}"),
                }
                let request = RequestId::generate();
                let reserved = ledger.reserve(&reserve(channel, request, random.u64(..100))).await.unwrap();
                if matches!(reserved, Reserved::Held { .. }) && random.bool() {
                    ledger.release(&release(channel, request)).await.unwrap();
                }
            }
            (raised, highest)
        });
    }
    let outcomes = callers.join_all().await;
    let raised: u64 = outcomes.iter().map(|(raised, _)| raised).sum();
    let highest = outcomes.iter().map(|(_, highest)| *highest).max().unwrap();
    assert_eq!(raised, highest - BASE);
    let known = handles.all[1].channel(&name(channel)).await.unwrap().unwrap();
    assert_eq!(known.voucher, Some(voucher(highest)), "with the signature that belongs to it");
    let account = ledger.account(&name(channel)).await.unwrap();
    assert_eq!((account.deposited, account.balance), (NanoTon(raised), NanoTon(raised)));
    invariants::check(ledger.as_ref(), &[name(channel)], START_MS).await;
}

/// What was raised before it closed counts, and nothing after.
async fn a_channel_that_closes_amid_vouchers_is_raised_by_those_before(handles: Handles) {
    for channel in CHANNELS {
        handles.all[0].open_channel(&opening(channel, 1000, 0)).await.unwrap();
        let mut callers = JoinSet::new();
        for caller in 0..40_u64 {
            let ledger = Arc::clone(&handles.all[usize::try_from(caller).unwrap() % handles.all.len()]);
            callers.spawn(async move {
                if caller == 20 {
                    assert!(ledger.close_channel(&name(channel)).await.unwrap());
                    let late = ledger.raise_ceiling(&name(channel), &voucher(1000)).await.unwrap();
                    assert_eq!(late, Raised::Closed);
                    return 0;
                }
                match ledger.raise_ceiling(&name(channel), &voucher(caller + 1)).await.unwrap() {
                    Raised::Raised { by } => by.0,
                    Raised::Known | Raised::Closed => 0,
                    other => panic!("{other:?}"),
                }
            });
        }
        let raised: u64 = callers.join_all().await.into_iter().sum();
        let known = handles.all[1].channel(&name(channel)).await.unwrap().unwrap();
        assert_eq!((known.ceiling(), known.closed), (NanoTon(raised), true));
        assert_eq!(handles.all[0].account(&name(channel)).await.unwrap().deposited, NanoTon(raised));
    }
}

macro_rules! on_both_stores {
    ($($behaviour:ident)*) => {
        mod on_embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $behaviour() {
                super::$behaviour(super::embedded().await).await;
            })*
        }
        mod on_redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $behaviour() {
                super::$behaviour(super::redis().await).await;
            })*
        }
    };
}

on_both_stores! {
    reserves_at_once_never_hold_more_than_there_is
    limits_hold_against_many_at_once
    one_receipt_from_many_sides_is_charged_once
    whole_lives_at_once_keep_the_invariants
    one_that_fails_undoes_no_other
    of_many_that_append_at_once_each_place_has_one_winner
    of_many_that_ask_for_the_lease_one_has_it
    vouchers_at_once_credit_the_highest_and_no_more
    a_channel_that_closes_amid_vouchers_is_raised_by_those_before
}
