//! Two hundred clients of a few accounts with little credit, two gateways, and a Redis that loses what it had acknowledged.
//! At the end every token that was generated is in the journal, once.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use cocoon_ledger::{Credit, Options};
use cocoon_openapi::Outcome;
use cocoon_receipts::{Digest, NanoTon};

use super::books::Books;
use super::crowd::{CLIENTS, Crowd};
use super::signed::Signed;
use crate::bill::deliver_to;
use crate::harness::{GRANT, SecondGateway, Settings, Stack, Store, Written, eventually, full};

/// Accounts and what they have: the first are soon at their end.
const ACCOUNTS: [(&str, u64); 4] =
    [("ann", 35_000), ("ben", 200_000), ("cleo", 4_000_000), ("dora", 400_000_000)];

/// Commands that each cut takes at the least.
const CUT: usize = 300;

/// How long a crowd may go on until an account has nothing left.
const LONGER: Duration = Duration::from_secs(90);

/// Receipts that each replay posts again, to both gateways at once.
const REPLAYED: usize = 50;

#[derive(Debug, Clone, Copy)]
enum Fault {
    FirstGateway,
    SecondGateway,
    Redis,
    Cut,
    Replay,
}

const FAULTS: [Fault; 6] =
    [Fault::FirstGateway, Fault::Replay, Fault::Redis, Fault::SecondGateway, Fault::Cut, Fault::Replay];

#[derive(Debug, Default)]
struct Done {
    gateways_killed: u32,
    redis_killed: u32,
    cuts: u32,
    /// Commands that were cut back, and what they were about.
    commands: usize,
    holds_lost: usize,
    entries_lost: usize,
    /// Receipts that were acknowledged again.
    duplicates: usize,
}

struct House {
    stack: Stack,
    second: SecondGateway,
    signed: Signed,
    /// Where the last command before the crowd came begins.
    begins: u64,
    done: Done,
}

/// Guards against: a token that nobody pays for, a receipt that is charged twice or lost with the store's last second, money
/// that appears or disappears, an account below zero, a hold that stays.
pub(crate) async fn every_token_of_a_crowd_is_charged_once() -> anyhow::Result<()> {
    let length = Duration::from_secs(if full() { 120 } else { 20 });
    let said = tempfile::NamedTempFile::new()?;
    let settings = Settings {
        store: Store::Redis,
        gateway: "lease_ms = 3000\nsweep_ms = 200\nledger.grace_ms = 5000".into(),
        backend: format!(
            "checkpoint_ms = 200\nreceipt_confirm_ms = 5000\nmax_running = 64\nengine_args = [\"--log\", {:?}]",
            said.path()
        ),
        ..Settings::default()
    };
    let stack = Stack::start(settings).await?;
    let second = stack.second_gateway().await?;
    let redis_url = stack.redis.as_ref().context("no Redis")?.url();
    let ledger = cocoon_ledger::open(&redis_url, Options::default()).await?;
    let mut keys = Vec::new();
    for (lt, (account, credit)) in (1..).zip(ACCOUNTS) {
        keys.push(stack.make_key(&["--account", account])?);
        let tx_hash = Digest::of(&[account.as_bytes()]);
        ledger.credit(&Credit { account: account.parse()?, amount: NanoTon(credit), lt, tx_hash }).await?;
    }
    let signed = Signed::gather(stack.path("backend").join("outbox.jsonl"));
    let origins = [stack.origin(), second.origin.clone()];
    let mut house = House { stack, second, signed, begins: 0, done: Done::default() };
    house.begins = house.written()?.last().context("nothing was written")?.at;
    let crowd = Crowd::begin(&origins, &keys);
    let begun = Instant::now();
    let mut turns = 0;
    // On a slow machine the accounts come to their end later.
    let spends_on = |crowd: &Crowd| begun.elapsed() < length + LONGER && !crowd.has_met("402");
    while begun.elapsed() < length || turns < FAULTS.len() || spends_on(&crowd) {
        tokio::time::sleep(Duration::from_millis(700)).await;
        house.turn(FAULTS[turns % FAULTS.len()]).await?;
        turns += 1;
    }
    let ends = crowd.end().await?;
    house.stack.wait_ready().await?;
    eventually("every receipt is acknowledged twice", Duration::from_secs(60), || async {
        Ok((house.signed.undelivered()? == 0).then_some(()))
    })
    .await?;
    eventually("nothing is held any more", Duration::from_secs(60), || async {
        Ok((Books::read(ledger.as_ref()).await?.held == 0).then_some(()))
    })
    .await?;

    let books = Books::read(ledger.as_ref()).await?;
    let receipts = house.signed.all()?;
    let done = &house.done;
    let said = said_in(&std::fs::read_to_string(said.path())?)?;
    println!("{CLIENTS} clients in {length:?}: {ends:?}\n{done:?}");
    println!(
        "{} receipts signed, {} journaled; {said} tokens said, {} journaled; {} expiries, {} corrections, {} at no cost",
        receipts.len(),
        books.receipts.len(),
        books.completion,
        books.expiries,
        books.corrections,
        books.at_no_cost,
    );
    println!(
        "nanoTON: {} deposited = {} balances + {} charged; shortfall {}",
        books.deposits, books.balances, books.charges, books.shortfall,
    );
    for id in receipts.keys() {
        let times = books.receipts.get(id).copied().unwrap_or_default();
        ensure!(times == 1, "receipt {id} is in the journal {times} times");
    }
    ensure!(books.receipts.len() == receipts.len(), "the journal has receipts that no backend signed");
    let completion: u64 = receipts.values().map(|receipt| receipt.completion).sum();
    ensure!(said == completion && said == books.completion, "{said} tokens were said, {completion} signed");
    let deposited: u64 = ACCOUNTS.iter().map(|(_, credit)| credit).sum::<u64>() + GRANT;
    ensure!(books.deposits == i128::from(deposited), "{deposited} were deposited: {}", books.deposits);
    ensure!(books.deposits == books.balances + books.charges, "money appeared or disappeared");
    ensure!(books.paid == books.charges, "{} paid in the journal", books.paid);
    // Whatever was cut and expired meanwhile: in the end each request cost what its receipt says.
    let signed: i128 = receipts.values().map(|receipt| i128::from(receipt.cost)).sum();
    let borne: i128 = books.costs.values().sum();
    ensure!(books.at_no_cost > 0 || borne == signed, "{borne} borne, {signed} signed");
    for (account, credit) in ACCOUNTS {
        let account = ledger.account(&account.parse()?).await?;
        ensure!(account.held.0 == 0 && account.open_holds == 0, "{account:?}");
        ensure!(account.balance.0 + account.charged.0 == credit, "{account:?} of {credit}");
    }
    for end in ["whole", "hung up", "402", "429", "503"] {
        ensure!(ends.contains_key(end), "nobody was {end}: {ends:?}");
    }
    ensure!(done.gateways_killed >= 2 && done.redis_killed > 0 && done.cuts > 0, "{done:?}");
    ensure!(done.commands >= CUT && done.holds_lost > 0 && done.entries_lost > 0, "{done:?}");
    ensure!(done.duplicates > 0, "{done:?}");
    Ok(())
}

impl House {
    fn written(&self) -> anyhow::Result<Vec<Written>> {
        self.stack.redis.as_ref().context("no Redis")?.append_only_file().since(0)
    }

    async fn turn(&mut self, fault: Fault) -> anyhow::Result<()> {
        match fault {
            Fault::FirstGateway => {
                self.stack.kill_gateway()?;
                self.stack.start_gateway()?;
                self.done.gateways_killed += 1;
            }
            Fault::SecondGateway => {
                self.second.kill()?;
                self.second.start()?;
                self.done.gateways_killed += 1;
            }
            Fault::Redis => {
                self.stack.redis.as_mut().context("no Redis")?.restart().await?;
                self.done.redis_killed += 1;
            }
            Fault::Cut => self.cut().await?,
            Fault::Replay => self.replay().await?,
        }
        Ok(())
    }

    /// Redis comes back without what it wrote last, among it a hold and a charge at the least. What was acknowledged before
    /// the crowd came stays.
    async fn cut(&mut self) -> anyhow::Result<()> {
        let at = eventually("there is enough to cut", Duration::from_secs(60), || async {
            Ok(self.whence(&self.written()?).map(|_| ()))
        })
        .await
        .and_then(|()| {
            self.stack.redis.as_mut().context("no Redis")?.kill()?;
            self.whence(&self.written()?).context("less than before")
        })?;
        let (at, lost) = at;
        let redis = self.stack.redis.as_mut().context("no Redis")?;
        redis.append_only_file().cut(at)?;
        redis.restart().await?;
        self.done.cuts += 1;
        self.done.commands += lost.commands;
        self.done.holds_lost += lost.holds;
        self.done.entries_lost += lost.entries;
        Ok(())
    }

    /// Where to cut, and what is lost by it.
    fn whence(&self, written: &[Written]) -> Option<(u64, Lost)> {
        let mut lost = Lost::default();
        for one in written.iter().rev().take_while(|one| one.at > self.begins) {
            lost.add(one);
            if lost.commands >= CUT && lost.holds > 0 && lost.entries > 0 {
                return Some((one.at, lost));
            }
        }
        None
    }

    /// What the outbox delivers comes a second time, through both gateways in the same moment.
    async fn replay(&mut self) -> anyhow::Result<()> {
        let deliveries = self.signed.latest(REPLAYED);
        ensure!(!deliveries.is_empty(), "nothing was signed yet");
        let first_ops = self.stack.ops_url();
        let duplicates = eventually("both gateways acknowledge", Duration::from_secs(60), || async {
            let (first, second) = tokio::join!(
                deliver_to(&first_ops, deliveries.clone()),
                deliver_to(&self.second.ops_url, deliveries.clone()),
            );
            let outcomes = [first?, second?].concat();
            let taken =
                outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Acknowledged { .. })).count();
            Ok((taken == outcomes.len()).then_some(taken))
        })
        .await?;
        self.done.duplicates += duplicates;
        Ok(())
    }
}

/// What is cut back, by what it was about.
#[derive(Debug, Default)]
struct Lost {
    commands: usize,
    holds: usize,
    entries: usize,
}

impl Lost {
    fn add(&mut self, written: &Written) {
        self.commands += written.commands.len();
        for command in &written.commands {
            match command.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                ["HSET", key, "account", ..] if key.contains(":hold:") => self.holds += 1,
                ["XADD", key, ..] if key.ends_with(":journal") => self.entries += 1,
                _ => {}
            }
        }
    }
}

/// Completion tokens of all generations that the engine logged.
fn said_in(log: &str) -> anyhow::Result<u64> {
    let mut said = 0;
    for line in log.lines() {
        let line: serde_json::Value = serde_json::from_str(line)?;
        said += line["completion"].as_u64().context("no completion")?;
    }
    Ok(said)
}
