//! Whether the ledger is right, asked in the background for as long as the gateway runs: the journal is replayed once at
//! start, sums and holds are looked at every minute, and the newest entries are watched, so that a store which lost what
//! it had is noticed.

use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cocoon_ledger::{
    Archive, ArchiveError, CheckError, Ledger, Pace, ShardReport, Watch, check_shard, replayed, survey_shard,
};
use cocoon_receipts::RequestId;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

/// How often the newest entries are looked at.
const WATCH_EVERY: Duration = Duration::from_secs(2);
/// How often sums and holds are.
const SURVEY_EVERY: Duration = Duration::from_secs(60);
/// How long outboxes are asked to send again: longer than one of them keeps what was acknowledged once.
const REDELIVER_FOR: Duration = Duration::from_secs(3600);

/// Why withdrawals are stopped, as the ledger keeps it.
const BEHIND: &str = "the store was found without entries that it had";

/// What `GET /metrics` says of the ledger.
#[derive(Debug, Clone, Default)]
pub struct LedgerGauges {
    drift: Gauge<i64, AtomicI64>,
    checked: Gauge<i64, AtomicI64>,
    violations: Gauge<i64, AtomicI64>,
    shortfall: Gauge<i64, AtomicI64>,
    open_holds: Gauge<i64, AtomicI64>,
    overdue_holds: Gauge<i64, AtomicI64>,
    behind: Gauge<i64, AtomicI64>,
}

impl LedgerGauges {
    pub(crate) fn register(&self, registry: &mut Registry) {
        let mut add = |name: &str, help: &str, gauge: &Gauge<i64, AtomicI64>| {
            registry.register(name, help, gauge.clone());
        };
        add(
            "cocoon_ledger_drift",
            "Differences between books and journal at the last replay, nanoTON, whatever their sign",
            &self.drift,
        );
        add(
            "cocoon_ledger_checked_seconds",
            "When the journal was last replayed, seconds since 1970; 0 until it was",
            &self.checked,
        );
        add(
            "cocoon_ledger_invariant_violations",
            "Sums and holds that do not add up, when last looked at",
            &self.violations,
        );
        add("cocoon_ledger_shortfall", "What accounts could not pay, nanoTON", &self.shortfall);
        add("cocoon_ledger_open_holds", "Holds of requests that run", &self.open_holds);
        add(
            "cocoon_ledger_overdue_holds",
            "Holds that were not ended within a minute after their time",
            &self.overdue_holds,
        );
        add(
            "cocoon_ledger_behind",
            "Shards whose withdrawals are stopped because the store lost entries",
            &self.behind,
        );
    }
}

/// What outboxes are asked for.
#[derive(Debug, Default)]
pub struct Redelivery {
    asked: Mutex<Option<(RequestId, Instant)>>,
}

impl Redelivery {
    fn ask(&self) {
        let asked = (RequestId::generate(), Instant::now());
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(asked);
    }

    /// The request that is made of outboxes now, if one is.
    #[must_use]
    pub fn asked(&self) -> Option<RequestId> {
        let asked = *self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.filter(|(_, at)| at.elapsed() < REDELIVER_FOR).map(|(id, _)| id)
    }
}

/// The background work.
#[derive(Debug)]
pub struct Reconciler {
    pub ledger: Arc<dyn Ledger>,
    pub archive: Option<Archive>,
    pub gauges: LedgerGauges,
    pub redelivery: Arc<Redelivery>,
}

impl Reconciler {
    /// Until `ended`.
    pub async fn run(self, ended: CancellationToken) {
        tokio::select! {
            () = ended.cancelled() => {}
            ((), (), ()) = async { tokio::join!(self.replay(), self.survey(), self.watch()) } => {}
        }
    }

    /// Once, from the first try that comes to an end.
    async fn replay(&self) {
        loop {
            match self.replay_once().await {
                Ok(()) => return,
                Err(ArchiveError::Check(CheckError::Trimmed(shard))) if self.archive.is_none() => {
                    tracing::warn!(%shard, "the journal is not replayed: its beginning is in the archive, and ledger.archive is not set");
                    return;
                }
                Err(error) => tracing::warn!(%error, "the journal could not be replayed"),
            }
            tokio::time::sleep(SURVEY_EVERY).await;
        }
    }

    async fn replay_once(&self) -> Result<(), ArchiveError> {
        let (mut drift, mut entries) = (0_u128, 0_u64);
        for shard in self.ledger.shards().all() {
            let ledger = self.ledger.as_ref();
            let begin = replayed(ledger, self.archive.as_ref(), shard).await?;
            let report = check_shard(ledger, shard, begin, Pace::GENTLE).await?;
            for finding in &report.findings {
                tracing::error!(
                    %shard, subject = %finding.subject, what = finding.what, expected = %finding.expected,
                    found = %finding.found, "the books are not what the journal makes them"
                );
            }
            drift = drift.saturating_add(report.drift);
            entries = entries.saturating_add(report.entries);
        }
        self.gauges.drift.set(i64::try_from(drift).unwrap_or(i64::MAX));
        self.gauges.checked.set(i64::try_from(crate::clock::now_s()).unwrap_or(i64::MAX));
        tracing::info!(entries, %drift, "the journal was replayed");
        Ok(())
    }

    async fn survey(&self) {
        loop {
            if let Err(error) = self.survey_once().await {
                tracing::warn!(%error, "the ledger's sums could not be looked at");
            }
            tokio::time::sleep(SURVEY_EVERY).await;
        }
    }

    async fn survey_once(&self) -> Result<(), cocoon_ledger::LedgerError> {
        let (mut violations, mut shortfall, mut open, mut overdue) = (0, 0, 0, 0);
        for shard in self.ledger.shards().all() {
            let ShardReport { findings, found, shortfall: short, open_holds, overdue_holds, .. } =
                survey_shard(self.ledger.as_ref(), shard).await?;
            for finding in &findings {
                tracing::error!(
                    %shard, subject = %finding.subject, what = finding.what, expected = %finding.expected,
                    found = %finding.found, "the ledger's sums do not add up"
                );
            }
            violations += found;
            shortfall += short.0;
            open += open_holds;
            overdue += overdue_holds;
        }
        let set = |gauge: &Gauge<i64, AtomicI64>, value: u64| {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        set(&self.gauges.violations, violations);
        set(&self.gauges.shortfall, shortfall);
        set(&self.gauges.open_holds, open);
        set(&self.gauges.overdue_holds, overdue);
        Ok(())
    }

    async fn watch(&self) {
        let mut watch = Watch::default();
        let mut reachable = true;
        loop {
            match self.watch_once(&mut watch).await {
                Ok(()) => reachable = true,
                Err(error) if reachable => {
                    reachable = false;
                    tracing::warn!(%error, "the ledger's newest entries cannot be looked at");
                }
                Err(_) => {}
            }
            tokio::time::sleep(WATCH_EVERY).await;
        }
    }

    async fn watch_once(&self, watch: &mut Watch) -> Result<(), cocoon_ledger::LedgerError> {
        let found = watch.look(self.ledger.as_ref()).await?;
        if !found.is_empty() {
            // Before anything that may fail: the watch tells each loss once.
            self.redelivery.ask();
        }
        for behind in &found {
            let last = behind.last.as_ref().map_or("none", |last| &last.id.0);
            tracing::error!(
                shard = %behind.shard, seen = behind.seen.id.0, last,
                "the store lost entries that it had: withdrawals stop, and outboxes deliver again"
            );
        }
        for behind in &found {
            self.ledger.stop_withdrawals(behind.shard, BEHIND).await?;
        }
        let mut stopped = 0;
        for shard in self.ledger.shards().all() {
            stopped += i64::from(self.ledger.withdrawals_stopped(shard).await?.is_some());
        }
        self.gauges.behind.set(stopped);
        Ok(())
    }
}
