//! What is counted of epochs, for `GET /metrics`.

use std::sync::atomic::{AtomicI64, AtomicU64};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::publisher::Publishing;
use super::step::{EpochStep, Epochs};

type Level = Gauge<i64, AtomicI64>;

/// Counters of one process.
#[derive(Default)]
pub struct EpochMetrics {
    decided: Level,
    decided_at: Level,
    receipts: Counter<u64, AtomicU64>,
    published: Level,
    held: Level,
    failures: Counter<u64, AtomicU64>,
    failing: Level,
}

impl EpochMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("epoch_decided", "Number of the last epoch in the log", self.decided.clone());
        let help = "When the last epoch was decided";
        registry.register("epoch_decided_time_seconds", help, self.decided_at.clone());
        registry.register("epoch_receipts", "Receipts in epochs decided here", self.receipts.clone());
        let help = "Number of the last epoch in the registry, as last seen";
        registry.register("epoch_published", help, self.published.clone());
        let help = "Whether epochs wait for a person: no registry, no money, another publisher";
        registry.register("epoch_held", help, self.held.clone());
        let help = "Steps of epochs that failed and are tried again";
        registry.register("epoch_failures", help, self.failures.clone());
        registry.register("epoch_failing", "Whether the last step of epochs failed", self.failing.clone());
    }

    pub(crate) fn failed(&self) {
        self.failures.inc();
        self.failing.set(1);
    }

    pub(crate) fn stepped(&self, step: &EpochStep, epochs: &Epochs) {
        self.decided.set(epochs.log().last().into());
        self.decided_at.set(epochs.log().sealed().last().map_or(0, |sealed| sealed.at.into()));
        self.told(step);
    }

    fn told(&self, step: &EpochStep) {
        self.failing.set(0);
        match step {
            EpochStep::Decided { receipts, .. } => {
                self.receipts.inc_by(*receipts);
            }
            EpochStep::Published(publishing) => {
                self.held.set(matches!(publishing, Publishing::Held(_)).into());
                if let Publishing::Complete { last } | Publishing::Waits { last } = publishing {
                    self.published.set((*last).into());
                }
            }
            EpochStep::NoLog | EpochStep::StandsBy | EpochStep::Overtaken | EpochStep::Idle => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::publisher::Held;
    use super::*;

    #[test]
    fn what_waits_for_a_person_and_what_fails_is_seen() {
        let (metrics, mut registry) = (EpochMetrics::default(), Registry::default());
        metrics.register(&mut registry);
        let has = |line: &str| {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
            assert!(text.lines().any(|one| one == line), "{line} is not in\n{text}");
        };
        let (held, complete) = (Publishing::Held(Held::NoRegistry), Publishing::Complete { last: 7 });
        metrics.told(&EpochStep::Published(complete));
        has("epoch_held 0");
        has("epoch_published 7");
        metrics.told(&EpochStep::Published(held));
        has("epoch_held 1");
        has("epoch_published 7");
        metrics.failed();
        has("epoch_failing 1");
        has("epoch_failures_total 1");
        metrics.told(&EpochStep::Idle);
        has("epoch_failing 0");
        metrics.told(&EpochStep::Decided { epoch: 8, receipts: 5 });
        has("epoch_receipts_total 5");
    }
}
