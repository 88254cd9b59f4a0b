//! Months of traffic, written into a ledger by a clock of their own.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use cocoon_ledger::{
    Bind, Checkpoint, Estimate, Expired, Grant, JournalKind, Ledger, Limits, Options, Reserve, Settled,
    Settlement, Tally, Work,
};
use cocoon_receipts::{AccountId, BasisPoints, Digest, NanoTon, RequestId, Usage};

use crate::harness::Stack;

/// The account that all of it is of.
pub(super) const SPENDER: &str = "spender";
/// 2026-02-20T00:00:00Z: from here on the clocks change in Europe, America and Australia, and two months end.
pub(super) const BEGIN_MS: u64 = 1_771_545_600_000;
pub(super) const DAY_MS: u64 = 86_400_000;
pub(super) const DAYS: u64 = 60;
/// Moments that a bucket could get wrong: the ends of two months, and when clocks change in America, Europe and Australia.
const EDGES_MS: [u64; 5] =
    [1_772_323_200_000, 1_775_001_600_000, 1_772_953_200_000, 1_774_746_000_000, 1_775_318_400_000];
const REQUESTS: u64 = 400;
const LEASE: Duration = Duration::from_secs(60);
/// The ending of a request whose receipt comes at once; 0 and 1 are an expiry, without and with a receipt later.
const SETTLED: u8 = 5;

/// What the journal says.
#[derive(Debug, Default)]
pub(super) struct Simulated {
    pub(super) completions: Tally,
    pub(super) embeddings: Tally,
    /// Costs of completions by model, key and project.
    pub(super) groups: BTreeMap<String, i64>,
}

/// A UUID of version 7 made then, the `n`th.
fn uuid<T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>>(
    at_ms: u64,
    n: u64,
) -> anyhow::Result<T> {
    Ok(format!("{:08x}-{:04x}-7001-8002-{n:012x}", at_ms >> 16, at_ms & 0xffff).parse()?)
}

/// Fills the ledger of a stack whose gateway does not run.
pub(super) async fn simulate(stack: &Stack) -> anyhow::Result<Simulated> {
    set_test_clock(stack, true)?;
    let options = Options { test_clock: true, grace: Duration::from_secs(5), ..Options::default() };
    let url = match &stack.redis {
        Some(redis) => redis.url(),
        None => format!("sqlite:{}", stack.path("ledger.db").display()),
    };
    let ledger = cocoon_ledger::open(&url, options).await?;
    let account: AccountId = SPENDER.parse()?;
    ledger.set_test_time(BEGIN_MS).await?;
    let grant = Grant { id: uuid(BEGIN_MS, 1)?, account: account.clone(), amount: NanoTon(1 << 52) };
    ledger.grant(&grant).await?;
    let mut random = fastrand::Rng::with_seed(7);
    let mut times: Vec<(u64, bool)> =
        (0..REQUESTS).map(|_| (BEGIN_MS + random.u64(0..DAYS * DAY_MS), false)).collect();
    times.extend(EDGES_MS.iter().flat_map(|edge| [edge - 1, *edge, edge + 1].map(|at_ms| (at_ms, true))));
    times.sort_unstable();
    let mut clock_ms = BEGIN_MS;
    for (n, (at_ms, edge)) in times.into_iter().enumerate() {
        clock_ms = clock_ms.max(at_ms);
        ledger.set_test_time(clock_ms).await?;
        // At an edge nothing is to move the clock.
        let ending = if edge { SETTLED } else { random.u8(0..=SETTLED) };
        clock_ms += request(ledger.as_ref(), &account, clock_ms, n as u64 + 2, ending, &mut random).await?;
    }
    let simulated = add_up(ledger.as_ref(), &account).await?;
    drop(ledger);
    set_test_clock(stack, false)?;
    Ok(simulated)
}

/// Says of the store that it was made with a test clock, or without one, and lets its shards begin at any time.
fn set_test_clock(stack: &Stack, test: bool) -> anyhow::Result<()> {
    let Some(server) = &stack.redis else {
        let file = rusqlite::Connection::open(stack.path("ledger.db"))?;
        file.execute("UPDATE meta SET value = ?1 WHERE name = 'test_clock'", [test.to_string()])?;
        file.execute("DELETE FROM meta WHERE name = 'test_time'", [])?;
        file.execute("UPDATE shard SET last_ms = 0", [])?;
        return Ok(());
    };
    let mut connection = redis::Client::open(server.url())?.get_connection()?;
    redis::cmd("HSET").arg("cocoon:schema").arg("test_clock").arg(test.to_string()).exec(&mut connection)?;
    for shard in cocoon_ledger::ShardCount::DEFAULT.all() {
        redis::cmd("DEL").arg(format!("cocoon:{{{shard}}}:clock")).exec(&mut connection)?;
    }
    Ok(())
}

/// One request: settled at once, or expired and corrected, or expired for good. Milliseconds that it took.
async fn request(
    ledger: &dyn Ledger,
    account: &AccountId,
    at_ms: u64,
    n: u64,
    ending: u8,
    random: &mut fastrand::Rng,
) -> anyhow::Result<u64> {
    let request: RequestId = uuid(at_ms, n)?;
    let key = format!("key-{}", random.u8(0..3)).parse()?;
    let project = random.bool().then(|| "project".parse()).transpose()?;
    let model = if random.bool() { "small" } else { "large" }.to_owned();
    let work = if random.u8(0..4) == 0 { Work::Embeddings } else { Work::Completions };
    let keyset = Digest::of(&[b"keyset"]);
    let usage = Usage {
        prompt: random.u64(1..9000),
        cached: random.u64(0..500),
        completion: random.u64(0..9000),
        reasoning: random.u64(0..50),
    };
    let cost = NanoTon(random.u64(1..1 << 40));
    let settlement = Settlement {
        account: account.clone(),
        key,
        project,
        request,
        attempt: 1,
        keyset,
        operator: "operator".parse()?,
        operator_share: BasisPoints::NINE_TENTHS,
        receipt: uuid(at_ms, n)?,
        receipt_digest: Digest::of(&[&n.to_be_bytes()]),
        receipt_jws: String::new(),
        model,
        work,
        usage,
        cost,
        max_cost: NanoTon(1 << 41),
    };
    let reserve = Reserve {
        request,
        account: account.clone(),
        key: settlement.key.clone(),
        project: settlement.project.clone(),
        model: settlement.model.clone(),
        work,
        estimate: Estimate { worst_case: settlement.max_cost, useful_minimum: None, tokens: 0 },
        limits: Limits::default(),
        lease: LEASE,
    };
    ledger.reserve(&reserve).await?;
    let bind = Bind { account: account.clone(), request, attempt: 1, keyset, lease: LEASE };
    ledger.bind(&bind).await?;
    let mut took_ms = 0;
    if ending < 2 {
        let checkpoint = Checkpoint {
            account: account.clone(),
            request,
            attempt: 1,
            keyset,
            operator: settlement.operator.clone(),
            operator_share: settlement.operator_share,
            usage: Usage { completion: usage.completion + random.u64(0..90), ..usage },
            cost: NanoTon(random.u64(1..1 << 40)),
            lease: LEASE,
        };
        ledger.extend(&checkpoint).await?;
        took_ms = 66_000;
        ledger.set_test_time(at_ms + took_ms).await?;
        let expired = ledger.expire(ledger.shards().of(account), request).await?;
        ensure!(matches!(expired, Expired::Expired { .. }), "{expired:?}");
    }
    if ending != 0 {
        let settled = ledger.settle(&settlement).await?;
        ensure!(matches!(settled, Settled::Charged { .. }), "{settled:?}");
    }
    Ok(took_ms)
}

async fn add_up(ledger: &dyn Ledger, account: &AccountId) -> anyhow::Result<Simulated> {
    let mut simulated = Simulated::default();
    let mut before: BTreeMap<String, Usage> = BTreeMap::new();
    let entries = ledger.journal(ledger.shards().of(account), None, 10_000).await?;
    let mut corrections = 0;
    for entry in entries.into_iter().filter(|entry| entry.account == *account) {
        let Some(usage) = entry.usage else { continue };
        let counted = match entry.kind {
            JournalKind::Charge | JournalKind::Expiry => None,
            JournalKind::Correction => before.get(&entry.cause).copied(),
            other => bail!("{other:?} was not asked for"),
        };
        corrections += i32::from(entry.kind == JournalKind::Correction);
        before.insert(entry.cause, usage);
        let change = |of: fn(&Usage) -> u64| -> anyhow::Result<i64> {
            Ok(i64::try_from(of(&usage))? - i64::try_from(counted.as_ref().map_or(0, of))?)
        };
        let tally = Tally {
            requests: i64::from(counted.is_none()),
            prompt: change(|usage| usage.prompt)?,
            cached: change(|usage| usage.cached)?,
            completion: change(|usage| usage.completion)?,
            reasoning: change(|usage| usage.reasoning)?,
            cost: i64::try_from(-entry.amount)?,
        };
        let sum = match entry.work.context("no work")? {
            Work::Completions => {
                let project = entry.project.as_ref().map_or("", |project| project.as_str());
                let key = entry.key.context("no key")?;
                let name = format!("{}|{key}|{project}", entry.model.context("no model")?);
                *simulated.groups.entry(name).or_default() += tally.cost;
                &mut simulated.completions
            }
            Work::Embeddings => &mut simulated.embeddings,
        };
        *sum = sum.checked_add(tally).context("sums fit")?;
    }
    ensure!(corrections > 20, "{corrections} corrections prove little");
    Ok(simulated)
}
