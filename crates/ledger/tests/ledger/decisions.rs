//! kill -9 in the middle of appends: what was acknowledged is at its place, and whoever does as a settler does has each of
//! his records in the log once.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cocoon_ledger::embedded::Embedded;
use cocoon_ledger::redis::{RedisLedger, Timeouts};
use cocoon_ledger::{Appending, Ledger, LedgerError, Options, ShardCount};
use tokio::task::JoinSet;

use crate::redis_server::RedisServer;

const CHILD: &str = "COCOON_LEDGER_DECIDING_CHILD";
const ENOUGH: usize = 60;
const CALLERS: usize = 8;
const PAUSE: Duration = Duration::from_millis(20);

/// A place and what was decided there.
type Decided = (u64, String);

fn options() -> Options {
    Options { shards: ShardCount::new(3).unwrap(), ..Options::default() }
}

/// One record after the other until `done`. After an unknown outcome the same append again; where the log has moved, a
/// record that is in it already is not appended again.
async fn decide(
    ledger: Arc<dyn Ledger>,
    caller: String,
    done: Arc<AtomicBool>,
    tell: impl Fn(Decided) + Send + 'static,
) {
    let (mut known, mut number) = (0, 0);
    while !done.load(Ordering::SeqCst) {
        let record = format!("{number}-of-{caller}");
        let place = loop {
            match once(ledger.as_ref(), &mut known, &record).await {
                Ok(Some(place)) => break place,
                Ok(None) => {}
                Err(LedgerError::Unavailable(_)) => tokio::time::sleep(PAUSE).await,
                Err(error) => panic!("{error}"),
            }
        };
        tell((place, record));
        number += 1;
    }
}

/// The place of the record, once it is decided.
async fn once(ledger: &dyn Ledger, known: &mut u64, record: &str) -> Result<Option<u64>, LedgerError> {
    match ledger.append_decisions(*known, &[record.to_owned()]).await? {
        Appending::Appended { count } => {
            *known = count;
            Ok(Some(count))
        }
        Appending::Moved { count } => {
            assert!(count >= *known, "the log went back from {known} to {count}");
            let new = ledger.decisions(*known, 1000).await?;
            let found = new.iter().position(|found| found == record);
            *known += found.map_or(new.len(), |index| index + 1) as u64;
            Ok(found.map(|_| *known))
        }
    }
}

async fn whole_log(ledger: &dyn Ledger) -> Vec<String> {
    let mut log = Vec::new();
    loop {
        let page = ledger.decisions(log.len() as u64, 1000).await.unwrap();
        if page.is_empty() {
            return log;
        }
        log.extend(page);
    }
}

fn each_is_at_its_place(log: &[String], told: &[Decided]) {
    for (place, record) in told {
        let found = log.get(usize::try_from(*place).unwrap() - 1);
        assert_eq!(found, Some(record), "{record} was acknowledged at {place}");
    }
    assert_eq!(log.iter().collect::<BTreeSet<_>>().len(), log.len(), "a record is there twice");
}

fn decided(line: &str) -> Option<Decided> {
    let (place, record) = line.strip_prefix("decided ")?.split_once(' ')?;
    Some((place.parse().ok()?, record.to_owned()))
}

#[tokio::test]
async fn a_killed_process_loses_no_decision_that_it_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let mut told: Vec<Decided> = Vec::new();
    for round in 0..2 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", "decisions::decides_until_it_is_killed"])
            .env(CHILD, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        while told.len() < ENOUGH * (round + 1) {
            told.extend(decided(&lines.next().expect("the child writes").unwrap()));
        }
        child.kill().unwrap();
        told.extend(lines.map_while(Result::ok).filter_map(|line| decided(&line)));
        child.wait().unwrap();
        let ledger = Embedded::open(&path, options()).unwrap();
        each_is_at_its_place(&whole_log(&ledger).await, &told);
    }
}

#[tokio::test]
#[ignore = "the process that the test above kills"]
async fn decides_until_it_is_killed() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let ledger: Arc<dyn Ledger> = Arc::new(Embedded::open(path, options()).unwrap());
    let mut callers = JoinSet::new();
    for number in 0..CALLERS {
        let (caller, done) = (format!("{number}-of-{}", std::process::id()), Arc::default());
        // One write, so that no line is in another.
        callers.spawn(decide(Arc::clone(&ledger), caller, done, |(place, record)| {
            std::io::stdout().write_all(format!("decided {place} {record}\n").as_bytes()).unwrap();
        }));
    }
    callers.join_all().await;
}

/// What becomes of a server in the middle of appends.
#[derive(Clone, Copy)]
enum Fate {
    Killed,
    /// Appends that nobody waits for any more are done once it goes on.
    Hanging,
}

/// Guards against: a record that is lost, or that is there twice because its outcome was unknown.
#[tokio::test]
async fn a_redis_killed_in_the_middle_of_appends_has_every_record_once() {
    let mut server = RedisServer::start();
    let timeouts = Timeouts { connect: Duration::from_secs(1), response: Duration::from_secs(1) };
    let url = server.url_of_user();
    let ledger = Arc::new(RedisLedger::connect_within(&url, options(), timeouts).await.unwrap());
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let (done, mut callers) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
    for number in 0..CALLERS {
        let (ledger, tell): (Arc<dyn Ledger>, _) = (ledger.clone(), tell.clone());
        let tell = move |decided| tell.send(decided).unwrap();
        callers.spawn(decide(ledger, number.to_string(), Arc::clone(&done), tell));
    }
    drop(tell);
    let mut all: Vec<Decided> = Vec::new();
    for (round, fate) in (1..).zip([Fate::Killed, Fate::Hanging, Fate::Killed]) {
        while all.len() < ENOUGH * round {
            all.push(told.recv().await.expect("the callers go on"));
        }
        match fate {
            Fate::Killed => {
                server.kill();
                server.restart();
            }
            Fate::Hanging => {
                server.signal("STOP");
                tokio::time::sleep((timeouts.connect + timeouts.response) * 2).await;
                server.signal("CONT");
            }
        }
        crate::outages::is_back(&ledger).await;
    }
    done.store(true, Ordering::SeqCst);
    let ending = Instant::now();
    callers.join_all().await;
    assert!(ending.elapsed() < Duration::from_secs(30), "{:?}", ending.elapsed());
    while let Some(decided) = told.recv().await {
        all.push(decided);
    }
    let patient = RedisLedger::connect(&url, options()).await.unwrap();
    let log = whole_log(&patient).await;
    each_is_at_its_place(&log, &all);
    assert_eq!(log.len(), all.len(), "whoever appended knows it");
}
