//! Callers that make one request after the other, each on an account that it draws.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use cocoon_ledger::{
    Bind, Bound, Budget, Estimate, Ledger, Limits, Period, Reserve, Reserved, Settled, Settlement, Work,
};
use cocoon_receipts::{AccountId, BasisPoints, Digest, NanoTon, ReceiptId, RequestId, Usage};
use tokio::task::JoinSet;

const WARM_UP: Duration = Duration::from_millis(500);
const MEASURED: Duration = Duration::from_millis(2500);
const LEASE: Duration = Duration::from_secs(60);
const HELD: NanoTon = NanoTon(50_000);
const COST: NanoTon = NanoTon(20_000);
/// As long as receipts are.
const RECEIPT_BYTES: usize = 1200;

pub(crate) struct Load<'a> {
    pub(crate) callers: usize,
    pub(crate) accounts: &'a Arc<[AccountId]>,
}

pub(crate) struct Measured {
    /// Each is three calls.
    pub(crate) per_second: f64,
    pub(crate) reserve: Percentiles,
    pub(crate) bind: Percentiles,
    pub(crate) settle: Percentiles,
    pub(crate) whole: Percentiles,
}

/// Of the time that calls took.
pub(crate) struct Percentiles {
    p50: Duration,
    p99: Duration,
}

impl Percentiles {
    fn of(times: impl Iterator<Item = Duration>) -> anyhow::Result<Self> {
        let mut times: Vec<Duration> = times.collect();
        times.sort_unstable();
        let at = |percent| times.get(times.len() * percent / 100).copied().context("nothing was measured");
        Ok(Self { p50: at(50)?, p99: at(99)? })
    }
}

impl fmt::Display for Percentiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        write!(f, "{:.2} / {:.2}", ms(self.p50), ms(self.p99))
    }
}

impl Load<'_> {
    pub(crate) async fn run(&self, ledger: &Arc<dyn Ledger>) -> anyhow::Result<Measured> {
        let from = Instant::now() + WARM_UP;
        let mut callers = JoinSet::new();
        for _ in 0..self.callers {
            callers.spawn(caller(Arc::clone(ledger), Arc::clone(self.accounts), from));
        }
        let times = callers.join_all().await.into_iter().collect::<anyhow::Result<Vec<_>>>()?.concat();
        let of = |which: usize| Percentiles::of(times.iter().map(|steps| steps[which]));
        Ok(Measured {
            per_second: times.len() as f64 / MEASURED.as_secs_f64(),
            reserve: of(0)?,
            bind: of(1)?,
            settle: of(2)?,
            whole: Percentiles::of(times.iter().map(|steps| steps.iter().sum()))?,
        })
    }
}

/// What each step took, of every request that ended in the time that is measured.
async fn caller(
    ledger: Arc<dyn Ledger>,
    accounts: Arc<[AccountId]>,
    from: Instant,
) -> anyhow::Result<Vec<[Duration; 3]>> {
    let until = from + MEASURED;
    let mut times = Vec::new();
    loop {
        let account = &accounts[fastrand::usize(..accounts.len())];
        let steps = request(ledger.as_ref(), account).await?;
        let now = Instant::now();
        if now >= until {
            return Ok(times);
        }
        if now >= from {
            times.push(steps);
        }
    }
}

async fn request(ledger: &dyn Ledger, account: &AccountId) -> anyhow::Result<[Duration; 3]> {
    let request = RequestId::generate();
    let begun = Instant::now();
    let reserved = ledger.reserve(&reserve(account, request)?).await?;
    let reserve = begun.elapsed();
    ensure!(matches!(reserved, Reserved::Held { .. }), "{reserved:?}");
    let keyset = Digest::of(&[b"keyset"]);
    let bind = Bind { account: account.clone(), request, attempt: 1, keyset, lease: LEASE };
    let begun = Instant::now();
    let bound = ledger.bind(&bind).await?;
    let bind = begun.elapsed();
    ensure!(bound == Bound::Bound, "{bound:?}");
    let settlement = settlement(account, request, keyset)?;
    let begun = Instant::now();
    let settled = ledger.settle(&settlement).await?;
    let settle = begun.elapsed();
    ensure!(settled == Settled::Charged { charged: COST, shortfall: NanoTon(0) }, "{settled:?}");
    Ok([reserve, bind, settle])
}

/// Under every kind of limit, none of which is reached.
fn reserve(account: &AccountId, request: RequestId) -> anyhow::Result<Reserve> {
    let budget = Budget { amount: NanoTon(u64::MAX), period: Period::Month };
    let most = Some(u32::MAX);
    Ok(Reserve {
        request,
        account: account.clone(),
        key: "key".parse()?,
        project: Some("project".parse()?),
        model: "model".to_owned(),
        work: Work::Completions,
        limits: Limits { rpm: most, tpm: most, concurrency: most, budget: Some(budget) },
        estimate: Estimate { worst_case: HELD, useful_minimum: None, tokens: 500 },
        lease: LEASE,
    })
}

fn settlement(account: &AccountId, request: RequestId, keyset: Digest) -> anyhow::Result<Settlement> {
    Ok(Settlement {
        account: account.clone(),
        key: "key".parse()?,
        project: Some("project".parse()?),
        request,
        attempt: 1,
        keyset,
        operator: "operator".parse()?,
        operator_share: BasisPoints::new(9000)?,
        receipt: ReceiptId::generate(),
        receipt_digest: Digest::of(&[b"receipt"]),
        receipt_jws: "r".repeat(RECEIPT_BYTES),
        model: "model".to_owned(),
        work: Work::Completions,
        usage: Usage { prompt: 300, cached: 0, completion: 100, reasoning: 0 },
        cost: COST,
        max_cost: HELD,
    })
}
