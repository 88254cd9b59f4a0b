//! What a check finds in books that somebody changed behind the ledger's back, and that it finds nothing in books that
//! are in use.

use std::sync::Arc;

use cocoon_ledger::embedded::Embedded;
use cocoon_ledger::redis::RedisLedger;
use cocoon_ledger::{
    Books, Channels, CheckError, Grant, JournalId, Ledger, Pace, Replay, Shard, ShardReport, check_shard,
    survey_shard,
};
use cocoon_receipts::NanoTon;
use tokio::task::JoinSet;

use crate::bench::*;
use crate::concurrency::settlement;
use crate::redis_server::RedisServer;

async fn used(ledger: &dyn Ledger) {
    ledger.set_test_time(START_MS).await.unwrap();
    for n in 0..3 {
        let request = request_made_at(START_MS, n);
        let grant = Grant { id: request, account: name("alice"), amount: NanoTon(100) };
        ledger.grant(&grant).await.unwrap();
        ledger.reserve(&reserve("alice", request, 100)).await.unwrap();
        ledger.bind(&bind("alice", request, 1, keyset("a"))).await.unwrap();
        if n > 0 {
            let receipt = receipt_made_at(START_MS, n);
            let settlement = cocoon_ledger::Settlement { receipt, ..settlement(request, 70) };
            assert_eq!(ledger.settle(&settlement).await.unwrap(), charged(70));
        }
    }
}

async fn report(ledger: &dyn Ledger) -> ShardReport {
    let shard = ledger.shards().of(&name("alice"));
    check_shard(ledger, shard, Replay::default(), Pace::FULL).await.unwrap()
}

fn found(report: &ShardReport) -> Vec<String> {
    let line = |finding: &cocoon_ledger::Finding| {
        format!("{} {} {} {}", finding.subject, finding.what, finding.expected, finding.found)
    };
    report.findings.iter().map(line).collect()
}

#[tokio::test]
async fn a_change_behind_the_embedded_stores_back_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let ledger = Embedded::open(&path, options()).unwrap();
    used(&ledger).await;
    assert_eq!(found(&report(&ledger).await), [""; 0]);
    let file = rusqlite::Connection::open(&path).unwrap();
    let shard = ledger.shards().of(&name("alice")).0;
    for (change, back, finds, drift) in [
        (
            "UPDATE account SET balance = balance + 7",
            "UPDATE account SET balance = balance - 7",
            vec!["account alice balance 160 167"],
            7,
        ),
        (
            "UPDATE operator SET accrued = accrued - 5",
            "UPDATE operator SET accrued = accrued + 5",
            vec!["operator operator-a accrued 126 121", "totals what was billed is shared out 140 135"],
            10,
        ),
        (
            "UPDATE hold SET amount = 60",
            "UPDATE hold SET amount = 100",
            vec!["totals held 60 100", "account alice held 60 100"],
            80,
        ),
        (
            "UPDATE account SET account = 'mallory'",
            "UPDATE account SET account = 'alice'",
            vec![
                "account mallory balance 0 160",
                "account mallory granted 0 300",
                "account mallory charged 0 140",
                "account alice balance 160 0",
                "account alice granted 300 0",
                "account alice charged 140 0",
                "account alice held 100 0",
                "account alice open holds 1 0",
                "account mallory held 0 100",
                "account mallory open holds 0 1",
            ],
            1400,
        ),
        (
            "UPDATE shard SET platform = platform + 3",
            "UPDATE shard SET platform = platform - 3",
            vec!["totals platform 14 17", "totals what was billed is shared out 140 143"],
            6,
        ),
        (
            "INSERT INTO operator (shard, operator, accrued) SELECT shard, 'stranger', 5 FROM operator",
            "DELETE FROM operator WHERE operator = 'stranger'",
            vec!["operator stranger accrued 0 5", "totals what was billed is shared out 140 145"],
            10,
        ),
        (
            &format!("UPDATE shard SET last_entry = last_entry + 1 WHERE shard = {shard}"),
            &format!("UPDATE shard SET last_entry = last_entry - 1 WHERE shard = {shard}"),
            vec!["journal entry 6 missing in the journal 1 0"],
            0,
        ),
    ] {
        file.execute(change, []).unwrap();
        let report = report(&ledger).await;
        assert_eq!(
            (found(&report), report.drift),
            (finds.iter().map(|find| (*find).to_owned()).collect(), drift)
        );
        file.execute(back, []).unwrap();
    }
    assert_eq!(found(&self::report(&ledger).await), [""; 0]);
    changes_of_channels_are_found(&ledger, |change| {
        file.execute(change, []).unwrap();
    })
    .await;
    file.execute("DELETE FROM journal WHERE id = 2", []).unwrap();
    assert!(!self::report(&ledger).await.is_clean());
    let gone = ledger.entry(Shard(shard), &JournalId("2".to_owned())).await.unwrap();
    assert_eq!(gone, None, "and not the one after it");
}

/// A ceiling that the journal does not make, and credit of no channel.
async fn changes_of_channels_are_found(ledger: &Embedded, change: impl Fn(&str)) {
    let [first, second, ..] = CHANNELS;
    for (channel, cumulative) in [(first, 90), (second, 0)] {
        ledger.open_channel(&opening(channel, 100, 20)).await.unwrap();
        ledger.raise_ceiling(&name(channel), &voucher(cumulative)).await.unwrap();
    }
    assert_eq!(found(&report(ledger).await), [""; 0]);
    let kept = "CREATE TABLE kept AS SELECT * FROM channel";
    change(kept);
    for (changed, finds) in [
        ("UPDATE channel SET cumulative = 97 WHERE cumulative = 90", vec![format!("{first} raised by vouchers 70 77")]),
        ("UPDATE channel SET base = 19 WHERE cumulative = 90", vec![format!("{first} raised by vouchers 70 71")]),
        (
            "UPDATE channel SET cumulative = NULL, signature = NULL",
            vec![format!("{first} raised by vouchers 70 0")],
        ),
        (
            "UPDATE channel SET cumulative = 25, signature = (SELECT signature FROM kept WHERE cumulative = 90)
             WHERE cumulative IS NULL",
            vec![format!("{second} raised by vouchers 0 5")],
        ),
        (
            "UPDATE channel SET deposited = 89 WHERE cumulative = 90",
            vec![format!("{first} ceiling at most the deposit 89 90")],
        ),
        ("DELETE FROM channel", vec![format!("{first} channels 1 0")]),
    ] {
        change(changed);
        let finds: Vec<String> = finds.iter().map(|find| format!("account {find}")).collect();
        assert_eq!(found(&report(ledger).await), finds, "{changed}");
        change("DELETE FROM channel");
        change("INSERT INTO channel SELECT * FROM kept");
    }
    change("UPDATE channel SET base = -1");
    assert_eq!(found(&report(ledger).await), ["totals channels readable 1 0"]);
    change("DELETE FROM channel");
    change("INSERT INTO channel SELECT * FROM kept");
    assert_eq!(found(&report(ledger).await), [""; 0]);
}

#[tokio::test]
async fn a_survey_finds_sums_that_cannot_be() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let ledger = Embedded::open(&path, options()).unwrap();
    used(&ledger).await;
    let survey = async || survey_shard(&ledger, ledger.shards().of(&name("alice"))).await.unwrap();
    assert_eq!(found(&survey().await), [""; 0]);
    let file = rusqlite::Connection::open(&path).unwrap();
    file.execute("UPDATE shard SET grants = grants - 1 WHERE grants > 0", []).unwrap();
    assert_eq!(found(&survey().await), ["totals what came in is there or spent 299 300"]);
}

#[tokio::test]
async fn a_journal_that_ends_before_what_was_replayed_went_back() {
    let folder = tempfile::tempdir().unwrap();
    let [before, after] =
        ["before.db", "after.db"].map(|file| Embedded::open(folder.path().join(file), options()).unwrap());
    used(&before).await;
    let shard = before.shards().of(&name("alice"));
    let mut replay = Replay::default();
    for entry in before.journal(shard, None, 100).await.unwrap() {
        replay.apply(&entry).unwrap();
    }
    let last = replay.last.clone().unwrap().0;
    let checked = check_shard(&after, shard, replay, Pace::FULL).await;
    let Err(CheckError::WentBack { from, to, .. }) = checked else { panic!("{checked:?}") };
    assert_eq!((from, to), (last, "its beginning".to_owned()));
}

#[tokio::test]
async fn a_change_behind_the_redis_stores_back_is_found() {
    let server = RedisServer::start();
    let ledger = RedisLedger::connect(&server.url(), options()).await.unwrap();
    used(&ledger).await;
    let shard = ledger.shards().of(&name("alice"));
    assert_eq!(ledger.shards().of(&name("dave")), shard, "one page has both accounts");
    let grant = Grant { id: request_made_at(START_MS, 9), account: name("dave"), amount: NanoTon(7) };
    ledger.grant(&grant).await.unwrap();
    let of = CHANNELS[0];
    ledger.open_channel(&opening(of, 100, 20)).await.unwrap();
    ledger.raise_ceiling(&name(of), &voucher(70)).await.unwrap();
    assert_eq!(found(&report(&ledger).await), [""; 0]);
    let channel = format!("cocoon:{{{shard}}}:channel:{of}");
    let account = format!("cocoon:{{{shard}}}:account:alice");
    let totals = format!("cocoon:{{{shard}}}:totals");
    let change = |key: &str, field: &str, by: i64| {
        redis::cmd("HINCRBY").arg(key).arg(field).arg(by).query::<i64>(&mut server.client()).unwrap();
    };
    for (key, field, by, finds) in [
        (&account, "balance", -3, vec!["account alice balance 160 157"]),
        (
            &totals,
            "charges",
            9,
            vec![
                "totals charged 140 149",
                "totals what came in is there or spent 357 366",
                "totals what was billed is shared out 149 140",
            ],
        ),
        (
            &account,
            "held",
            61,
            vec!["account alice held at most the balance 160 161", "account alice held 100 161"],
        ),
        (&channel, "cumulative", 5, vec![&*format!("account {of} raised by vouchers 50 55")]),
        // Below zero, which no account can be read with.
        (&account, "balance", -161, vec!["account alice readable 1 0"]),
    ] {
        change(key, field, by);
        assert_eq!(found(&report(&ledger).await), finds);
        change(key, field, -by);
    }
    assert_eq!(found(&report(&ledger).await), [""; 0]);
}

/// Checks again and again while clients write, and sees entries of theirs come in meanwhile.
async fn is_clean_while_in_use(ledger: Arc<dyn Ledger>) {
    let mut clients = JoinSet::new();
    for client in 0..4 {
        let ledger = Arc::clone(&ledger);
        clients.spawn(async move {
            for n in 0..40 {
                let request = request_made_at(START_MS, client * 1000 + n);
                let grant =
                    Grant { id: request, account: name(ACCOUNTS[client as usize]), amount: NanoTon(100) };
                ledger.grant(&grant).await.unwrap();
                ledger.reserve(&reserve(ACCOUNTS[client as usize], request, 90)).await.unwrap();
                ledger.release(&release(ACCOUNTS[client as usize], request)).await.unwrap();
            }
        });
    }
    let mut entries = std::collections::BTreeSet::new();
    while !clients.is_empty() {
        for shard in ledger.shards().all() {
            let pace = Pace { page: 3, ..Pace::FULL };
            let report = check_shard(ledger.as_ref(), shard, Replay::default(), pace).await.unwrap();
            assert_eq!(found(&report), [""; 0]);
            entries.insert((shard, report.entries));
        }
        while clients.try_join_next().transpose().unwrap().is_some() {}
    }
    assert!(entries.len() > 4, "nothing was written during a check: {entries:?}");
}

#[tokio::test]
async fn embedded_books_in_use_are_clean() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Embedded::open(folder.path().join("ledger.db"), options()).unwrap();
    ledger.set_test_time(START_MS).await.unwrap();
    is_clean_while_in_use(Arc::new(ledger)).await;
}

#[tokio::test]
async fn redis_books_in_use_are_clean() {
    let server = RedisServer::start();
    let ledger = RedisLedger::connect(&server.url(), options()).await.unwrap();
    ledger.set_test_time(START_MS).await.unwrap();
    is_clean_while_in_use(Arc::new(ledger)).await;
}
