//! What is counted, for `GET /metrics` on the ops listener. Labels are names from the configuration, names of ours, and
//! what the last proven keyset of a backend says: nothing that a caller chooses.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cocoon_attestation::Policy;
use cocoon_ledger::Ledger;
use http::uri::Authority;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};

use crate::ledger_calls::LedgerCalls;
use crate::reconcile::LedgerGauges;
use crate::route::{Checked, Fleet};

/// Media type of the metrics' text.
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Seconds. A verification takes from under a millisecond to the ten seconds that a document is waited for.
const BUCKETS: [f64; 13] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

type Labels = Vec<(&'static str, String)>;
type Timings = Family<Labels, Histogram, fn() -> Histogram>;

fn histogram() -> Histogram {
    Histogram::new(BUCKETS)
}

/// Counters of the verifications, and the text of all metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    verifications: Family<Labels, Counter>,
    fetching_and_judging: Timings,
    judging: Timings,
    /// What is said of the ledger.
    pub ledger: LedgerGauges,
}

/// What is looked at when the metrics are asked for.
#[derive(Debug)]
pub struct Watched {
    pub fleet: Arc<Fleet>,
    pub policy: watch::Receiver<Arc<Policy>>,
    /// What is followed, if it is.
    pub registry: Option<Arc<crate::registry::Registry>>,
    /// Places of requests in flight, and how many there are in all.
    pub places: (Arc<Semaphore>, usize),
    pub ledger: Arc<dyn Ledger>,
    pub ledger_calls: LedgerCalls,
}

impl Metrics {
    #[must_use]
    pub fn new(watched: Watched) -> Self {
        let mut registry = Registry::default();
        let verifications = Family::default();
        registry.register(
            "cocoon_backend_verifications",
            "Verifications of a backend by what they came to, and the check that refused it",
            Family::clone(&verifications),
        );
        let timings = || Timings::new_with_constructor(histogram);
        let (fetching_and_judging, judging) = (timings(), timings());
        registry.register(
            "cocoon_backend_verification_seconds",
            "Time to fetch a backend's document, judge it and keep it",
            Timings::clone(&fetching_and_judging),
        );
        registry.register(
            "cocoon_attestation_verify_seconds",
            "Time to judge a backend's document",
            Timings::clone(&judging),
        );
        let ledger = LedgerGauges::default();
        ledger.register(&mut registry);
        watched.ledger_calls.register(&mut registry);
        registry.register_collector(Box::new(watched));
        Self { registry, verifications, fetching_and_judging, judging, ledger }
    }

    /// Counts a verification of the backend `authority`.
    pub fn verified(&self, authority: &Authority, checked: &Checked) {
        let (outcome, check) = match &checked.outcome {
            Ok(_) => ("verified", ""),
            Err(error) => (error.outcome(), error.check().unwrap_or("")),
        };
        let backend = ("backend", authority.to_string());
        let labels = vec![backend.clone(), ("outcome", outcome.to_owned()), ("check", check.to_owned())];
        self.verifications.get_or_create(&labels).inc();
        let backend = vec![backend];
        self.fetching_and_judging.get_or_create(&backend).observe(checked.took.as_secs_f64());
        if let Some(judging) = checked.judging {
            self.judging.get_or_create(&backend).observe(judging.as_secs_f64());
        }
    }

    /// All metrics in OpenMetrics' text format.
    ///
    /// # Errors
    /// Where a metric cannot be written.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl Watched {
    /// One gauge with a value for each backend that has one.
    fn gauge<'a, const N: usize>(
        &'a self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        value: impl Fn(&'a crate::route::Backend) -> Option<([(&'static str, String); N], u64)>,
    ) -> fmt::Result {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in self.fleet.backends().iter().filter_map(|backend| value(backend)) {
            ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

impl Collector for Watched {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.gauge(
            &mut encoder,
            "cocoon_backend_attested",
            "Whether new requests may go to the backend",
            |backend| {
                let known = backend.known();
                let last = known.last_verified.as_ref();
                let labels = [
                    ("backend", backend.authority.to_string()),
                    ("model", last.map_or_else(String::new, |last| last.model().to_owned())),
                    ("tee", last.map_or("", |last| last.verdict.tee.as_str()).to_owned()),
                ];
                Some((labels, u64::from(known.current().is_some())))
            },
        )?;
        self.gauge(
            &mut encoder,
            "cocoon_backend_verdict_valid_until_seconds",
            "When the backend's verdict runs out, seconds since 1970",
            |backend| {
                let attested = backend.attested()?;
                Some(([("backend", backend.authority.to_string())], attested.verdict.valid_until / 1000))
            },
        )?;
        self.gauge(
            &mut encoder,
            "cocoon_backend_requests_in_flight",
            "Requests that the backend has now",
            |backend| Some(([("backend", backend.authority.to_string())], backend.load() as u64)),
        )?;
        let policy = Arc::clone(&self.policy.borrow());
        let labels = [
            ("name", policy.name().unwrap_or_default().to_owned()),
            ("version", policy.version().map_or_else(String::new, |version| version.to_string())),
            ("digest", policy.digest().to_string()),
        ];
        encoder
            .encode_descriptor("cocoon_policy", "The policy in force", None, MetricType::Info)?
            .encode_info(&labels)?;
        let mut number = |name: &str, help: &str, value: u64| -> fmt::Result {
            ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
        };
        number(
            "cocoon_ledger_up",
            "Whether all of the ledger's store answered when it was last called",
            u64::from(self.ledger.is_up()),
        )?;
        if let Some(registry) = &self.registry {
            let flag = |flag: &AtomicBool| u64::from(flag.load(Ordering::Relaxed));
            number(
                "cocoon_registry_policy_followed",
                "Whether the policy in force is the one that the registry names",
                flag(&registry.policy_followed),
            )?;
            number(
                "cocoon_registry_prices_followed",
                "Whether the prices in force are those that the registry has",
                flag(&registry.prices_followed),
            )?;
            number(
                "cocoon_registry_read_time_seconds",
                "When the registry was read last, seconds since 1970",
                registry.read_at(),
            )?;
        }
        if let Ok(runtime) = Handle::try_current() {
            let tasks = runtime.metrics().num_alive_tasks() as u64;
            number("cocoon_tasks", "Tasks of the gateway that are alive", tasks)?;
        }
        let (places, all) = &self.places;
        let in_flight = all.saturating_sub(places.available_permits()) as u64;
        number("cocoon_requests_in_flight", "Requests of clients that are in flight", in_flight)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cocoon_ledger::Options;
    use cocoon_ledger::embedded::Embedded;

    use super::*;
    use crate::attest::AttestError;
    use crate::route::tests::{attested, checked, fleet};

    #[test]
    fn every_state_has_its_line() {
        let fleet = Arc::new(fleet(&[Some(("a \"model\"", 1)), None]));
        let policy = Policy::from_toml("name = 'p'\nversion = 3").unwrap();
        let digest = policy.digest();
        let places = Arc::new(Semaphore::new(8));
        let _one = places.try_acquire().unwrap();
        let (_sender, policy) = watch::channel(Arc::new(policy));
        let folder = tempfile::tempdir().unwrap();
        let ledger = Embedded::open(folder.path().join("ledger.db"), Options::default()).unwrap();
        let places = (Arc::clone(&places), 8);
        let watched = Watched {
            fleet: Arc::clone(&fleet),
            policy,
            registry: None,
            places,
            ledger: Arc::new(ledger),
            ledger_calls: LedgerCalls::default(),
        };
        let metrics = Metrics::new(watched);
        let (good, bad) = (&fleet.backends()[0].authority, &fleet.backends()[1].authority);
        let judged = Checked {
            took: Duration::from_millis(3),
            judging: Some(Duration::from_micros(700)),
            ..checked(Ok(attested("m", 1)))
        };
        metrics.verified(good, &judged);
        metrics.verified(good, &judged);
        metrics.verified(bad, &checked(Err(AttestError::Keys)));
        metrics.verified(bad, &checked(Err(AttestError::Unanswered("status 503".into()))));
        let _running = fleet.choose("a \"model\"", &[]).unwrap();

        let text = metrics.text().unwrap();
        for line in [
            r#"cocoon_backend_attested{backend="127.0.0.1:0",model="a \"model\"",tee="dev"} 1"#,
            r#"cocoon_backend_attested{backend="127.0.0.1:1",model="",tee=""} 0"#,
            r#"cocoon_backend_verifications_total{backend="127.0.0.1:0",outcome="verified",check=""} 2"#,
            r#"cocoon_backend_verifications_total{backend="127.0.0.1:1",outcome="refused",check="keys"} 1"#,
            r#"cocoon_backend_verifications_total{backend="127.0.0.1:1",outcome="unreachable",check=""} 1"#,
            r#"cocoon_backend_verification_seconds_bucket{le="0.0025",backend="127.0.0.1:0"} 0"#,
            r#"cocoon_backend_verification_seconds_bucket{le="0.005",backend="127.0.0.1:0"} 2"#,
            r#"cocoon_attestation_verify_seconds_bucket{le="0.001",backend="127.0.0.1:0"} 2"#,
            r#"cocoon_backend_requests_in_flight{backend="127.0.0.1:0"} 1"#,
            r#"cocoon_backend_requests_in_flight{backend="127.0.0.1:1"} 0"#,
            &format!(r#"cocoon_policy_info{{name="p",version="3",digest="{digest}"}} 1"#),
            "cocoon_requests_in_flight 1",
            "cocoon_ledger_up 1",
            "# TYPE cocoon_backend_attested gauge",
            "cocoon_ledger_drift 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        let valid = |at: &str| text.contains(&format!("valid_until_seconds{{backend=\"127.0.0.1:{at}\"}}"));
        assert!(valid("0") && !valid("1"), "{text}");
        assert!(!text.contains("cocoon_attestation_verify_seconds_count{backend=\"127.0.0.1:1\"}"), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }
}
