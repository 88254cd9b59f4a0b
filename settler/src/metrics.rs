//! What is counted, for `GET /metrics`. Amounts are nanoTON.

use std::sync::atomic::{AtomicI64, AtomicU64};

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse as _;
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::epochs::EpochMetrics;
use crate::run::unix_now;
use crate::settler::Step;
use crate::treasury::Treasury;

/// Media type of the metrics' text.
const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Level = Gauge<i64, AtomicI64>;

/// Counters of one process.
pub struct Metrics {
    registry: Registry,
    active: Level,
    failures: Counter<u64, AtomicU64>,
    booked: Counter<u64, AtomicU64>,
    batches: Counter<u64, AtomicU64>,
    last_step: Level,
    wallet: Level,
    unclaimed: Level,
    fees: Level,
    unexplained: Level,
    held: Level,
    on_its_way: Level,
    epochs: EpochMetrics,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("cocoon_settler");
        let metrics = Self {
            registry: Registry::default(),
            active: Level::default(),
            failures: Counter::default(),
            booked: Counter::default(),
            batches: Counter::default(),
            last_step: Level::default(),
            wallet: Level::default(),
            unclaimed: Level::default(),
            fees: Level::default(),
            unexplained: Level::default(),
            held: Level::default(),
            on_its_way: Level::default(),
            epochs: EpochMetrics::default(),
        };
        registry.register("active", "Whether this is the settler that settles", metrics.active.clone());
        registry.register("failures", "Steps that failed and are tried again", metrics.failures.clone());
        registry.register("transactions_booked", "Transactions of the wallet", metrics.booked.clone());
        registry.register("batches", "Batches that were decided", metrics.batches.clone());
        registry.register("last_step_time_seconds", "When a step last succeeded", metrics.last_step.clone());
        registry.register("wallet_nanoton", "What the wallet holds", metrics.wallet.clone());
        registry.register("unclaimed_nanoton", "What came in for nobody known", metrics.unclaimed.clone());
        registry.register("fees_nanoton", "What the chain took", metrics.fees.clone());
        registry.register("unexplained", "Transactions that stop payouts", metrics.unexplained.clone());
        registry.register("held_back", "Reasons why somebody is not paid", metrics.held.clone());
        registry.register("on_its_way", "Payouts of the batch on its way", metrics.on_its_way.clone());
        metrics.epochs.register(&mut registry);
        Self { registry, ..metrics }
    }
}

fn level(amount: i128) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}

impl Metrics {
    pub(crate) fn active(&self, active: bool) {
        self.active.set(active.into());
    }

    pub(crate) fn epochs(&self) -> &EpochMetrics {
        &self.epochs
    }

    pub(crate) fn failed(&self) {
        self.failures.inc();
    }

    pub(crate) fn stepped(&self, step: &Step, treasury: &Treasury) {
        match step {
            Step::Booked(count) => {
                self.booked.inc_by(u64::try_from(*count).unwrap_or(u64::MAX));
            }
            Step::Began { .. } => {
                self.batches.inc();
            }
            Step::Idle(held) => {
                self.held.set(i64::try_from(held.len()).unwrap_or(i64::MAX));
            }
            Step::Overtaken | Step::SentAgain | Step::Lapsed | Step::Waits => {}
        }
        self.last_step.set(unix_now().into());
        let sums = treasury.sums();
        self.wallet.set(level(treasury.balance()));
        self.unclaimed.set(level(i128::try_from(sums.unclaimed).unwrap_or(i128::MAX)));
        self.fees.set(level(i128::try_from(sums.fees).unwrap_or(i128::MAX)));
        self.unexplained.set(i64::try_from(treasury.unexplained().count()).unwrap_or(i64::MAX));
        let on_its_way = treasury.on_its_way().map_or(0, |batch| batch.payouts.len());
        self.on_its_way.set(i64::try_from(on_its_way).unwrap_or(i64::MAX));
    }

    /// `/metrics` and `/healthz`.
    pub fn router(self: std::sync::Arc<Self>) -> Router {
        let metrics = get(async move || {
            let mut text = String::new();
            // Text has room for whatever is written to it.
            let _ = encode(&mut text, &self.registry);
            ([(CONTENT_TYPE, MEDIA_TYPE)], text).into_response()
        });
        Router::new().route("/metrics", metrics).route("/healthz", get(async || "{\"status\":\"ok\"}"))
    }
}
