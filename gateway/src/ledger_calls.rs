//! How the ledger's calls went, for `GET /metrics`. Labels are names of calls and of their ends: nothing that a caller chooses.

use std::time::Duration;

use cocoon_ledger::{CallEnd, Observer};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Seconds: from a call on the same machine to the longest deadline that is usual.
const BUCKETS: [f64; 13] =
    [0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

type Call = [(&'static str, &'static str); 1];
type CallAndOutcome = [(&'static str, &'static str); 2];

/// Counts and times them. Clones count together.
#[derive(Debug, Clone)]
pub struct LedgerCalls {
    calls: Family<CallAndOutcome, Counter>,
    seconds: Family<Call, Histogram, fn() -> Histogram>,
}

impl Default for LedgerCalls {
    fn default() -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(BUCKETS);
        Self { calls: Family::default(), seconds: Family::new_with_constructor(histogram) }
    }
}

impl LedgerCalls {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "cocoon_ledger_calls",
            "Calls of the ledger by how they ended; a refusal is an answer",
            self.calls.clone(),
        );
        registry.register(
            "cocoon_ledger_call_seconds",
            "Time that calls of the ledger took, of those that somebody waited for to their end",
            self.seconds.clone(),
        );
    }
}

impl Observer for LedgerCalls {
    fn called(&self, call: &'static str, end: CallEnd, took: Duration) {
        self.calls.get_or_create(&[("call", call), ("outcome", end.as_str())]).inc();
        if end != CallEnd::Abandoned {
            self.seconds.get_or_create(&[("call", call)]).observe(took.as_secs_f64());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_their_end_and_timed() {
        let (calls, mut registry) = (LedgerCalls::default(), Registry::default());
        calls.register(&mut registry);
        calls.called("reserve", CallEnd::Answered, Duration::from_micros(300));
        calls.called("reserve", CallEnd::Unavailable, Duration::from_millis(30));
        calls.called("reserve", CallEnd::Abandoned, Duration::from_millis(30));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            r#"cocoon_ledger_calls_total{call="reserve",outcome="answered"} 1"#,
            r#"cocoon_ledger_calls_total{call="reserve",outcome="unavailable"} 1"#,
            r#"cocoon_ledger_calls_total{call="reserve",outcome="abandoned"} 1"#,
            r#"cocoon_ledger_call_seconds_count{call="reserve"} 2"#,
            r#"cocoon_ledger_call_seconds_bucket{le="0.00025",call="reserve"} 0"#,
            r#"cocoon_ledger_call_seconds_bucket{le="0.0005",call="reserve"} 1"#,
            r#"cocoon_ledger_call_seconds_bucket{le="0.05",call="reserve"} 2"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
