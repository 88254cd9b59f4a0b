use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};

use axum::Router;
use axum::extract::{Query, State};
use axum::routing::get;
use cocoon_attestation::DevRoot;
use cocoon_ledger::embedded::Embedded;
use cocoon_openapi::ATTESTATION_PATH;
use cocoon_receipts::SigningKey;
use http::StatusCode;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::*;
use crate::hop::http_client;
use crate::ledger_calls::LedgerCalls;
use crate::metrics::Watched;
use crate::route::Fleet;
use crate::route::tests::attested as known_keyset;

/// What a backend answers, and how often it was asked.
struct Evidence {
    root: DevRoot,
    keyset: Vec<u8>,
    status: AtomicU16,
    asked: AtomicUsize,
}

async fn answer(
    State(evidence): State<Arc<Evidence>>,
    Query(query): Query<std::collections::HashMap<String, String>>,
) -> (StatusCode, String) {
    evidence.asked.fetch_add(1, Ordering::SeqCst);
    let document = evidence.root.document(&evidence.keyset, query["nonce"].parse().unwrap());
    let status = StatusCode::from_u16(evidence.status.load(Ordering::SeqCst)).unwrap();
    (status, serde_json::to_string(&document).unwrap())
}

/// A backend, and the loop that keeps its verdict.
struct Bench {
    evidence: Arc<Evidence>,
    root: String,
    backend: Arc<Backend>,
    verifier: Arc<Verifier>,
    ended: CancellationToken,
    tasks: TaskTracker,
    _folder: tempfile::TempDir,
}

impl Bench {
    async fn start() -> Self {
        let key = SigningKey::generate().unwrap();
        let root = key.public().to_base64url();
        let evidence = Arc::new(Evidence {
            root: DevRoot::new(key),
            keyset: known_keyset("m", 1).verdict.keyset_bytes,
            status: AtomicU16::new(200),
            asked: AtomicUsize::new(0),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let backend = Arc::new(Backend::new(listener.local_addr().unwrap().to_string().parse().unwrap()));
        let app = Router::new().route(ATTESTATION_PATH, get(answer)).with_state(Arc::clone(&evidence));
        let (tasks, ended) = (TaskTracker::new(), CancellationToken::new());
        tasks.spawn(cocoon_process::serve(listener, app, ended.clone(), std::future::ready(())));
        let folder = tempfile::tempdir().unwrap();
        let policy = Arc::new(watch::Sender::new(Arc::new(policy(&root, 1))));
        let path = folder.path().join("ledger.db");
        let ledger: Arc<dyn cocoon_ledger::Ledger> =
            Arc::new(Embedded::open(path, cocoon_ledger::Options::default()).unwrap());
        let metrics = Metrics::new(Watched {
            fleet: Arc::new(Fleet::new(vec![Arc::clone(&backend)])),
            policy: policy.subscribe(),
            registry: None,
            places: (Arc::new(Semaphore::new(1)), 1),
            ledger: Arc::clone(&ledger),
            ledger_calls: LedgerCalls::default(),
        });
        let verifier = Arc::new(Verifier {
            client: http_client(),
            policy,
            ledger,
            metrics: Arc::new(metrics),
            gateway_on_loopback: true,
        });
        let (keeper, kept, end) = (Arc::clone(&verifier), Arc::clone(&backend), ended.clone());
        tasks.spawn(async move { keeper.keep(&kept, end).await });
        let bench = Self { evidence, root, backend, verifier, ended, tasks, _folder: folder };
        bench.checks(1).await;
        assert!(bench.backend.attested().is_some());
        bench
    }

    /// Until the backend was verified that often.
    async fn checks(&self, checks: u64) {
        self.backend.checked(checks, Duration::from_secs(60)).await;
        assert!(self.backend.known().checks >= checks);
    }

    fn put_in_force(&self, policy: Policy) {
        self.verifier.policy.send_replace(Arc::new(policy));
    }

    async fn end(self) {
        self.ended.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

fn policy(root: &str, version: u64) -> Policy {
    Policy::from_toml(&format!("version = {version}\ndev_roots = ['{root}']")).unwrap()
}

#[tokio::test]
async fn a_new_policy_judges_every_backend_at_once() {
    let bench = Bench::start().await;
    let accepted = policy(&bench.root, 2);
    let digest = accepted.digest();
    bench.put_in_force(accepted);
    bench.checks(2).await;
    assert_eq!(bench.backend.attested().unwrap().policy, digest);
    bench.put_in_force(Policy::from_toml("").unwrap());
    bench.checks(3).await;
    assert!(bench.backend.attested().is_none() && bench.backend.is_refused());
    bench.end().await;
}

#[tokio::test]
async fn a_verdict_of_the_policy_before_is_soon_over_where_the_new_one_cannot_judge() {
    let bench = Bench::start().await;
    let before = bench.backend.runs_out().unwrap();
    bench.evidence.status.store(503, Ordering::SeqCst);
    bench.put_in_force(policy(&bench.root, 2));
    bench.checks(2).await;
    assert!(bench.backend.attested().is_some(), "it is busy, and has a moment");
    let after = bench.backend.runs_out().unwrap();
    assert!(after <= Instant::now() + POLICY_GRACE && after < before);
    bench.checks(4).await;
    assert_eq!(bench.backend.runs_out().unwrap(), after, "trying again gives it no more time");
    bench.evidence.status.store(200, Ordering::SeqCst);
    bench.backend.ask_again();
    bench.checks(bench.backend.known().checks + 1).await;
    assert!(bench.backend.runs_out().unwrap() > after);
    bench.end().await;
}

#[tokio::test]
async fn the_first_document_is_kept_with_its_nonce_and_later_ones_are_not() {
    let bench = Bench::start().await;
    let verdict = bench.backend.attested().unwrap();
    let kept = bench.verifier.ledger.document(verdict.digest()).await.unwrap().unwrap();
    assert_eq!(kept.verified_at, verdict.verdict.verified_at);
    let policy = Arc::clone(&bench.verifier.policy.borrow());
    let again = judge(&policy, &kept.bytes, Nonce(kept.nonce), kept.verified_at, true).unwrap();
    assert_eq!(again.digest(), verdict.digest());
    bench.backend.ask_again();
    bench.checks(2).await;
    assert_eq!(bench.evidence.asked.load(Ordering::SeqCst), 2, "it was asked again");
    assert_eq!(bench.verifier.ledger.document(verdict.digest()).await.unwrap(), Some(kept));
    bench.end().await;
}

#[tokio::test]
async fn an_answer_that_is_none_is_told_from_one_that_is_late() {
    let bench = Bench::start().await;
    let fetched = async |status: u16| {
        bench.evidence.status.store(status, Ordering::SeqCst);
        fetch(&bench.verifier.client, &bench.backend.authority, Nonce([0; 32])).await
    };
    assert!(fetched(200).await.is_ok());
    for busy in [429, 500, 503, 504] {
        assert!(matches!(fetched(busy).await, Err(AttestError::Unanswered(_))), "{busy}");
    }
    for none in [302, 400, 404, 410] {
        assert!(matches!(fetched(none).await, Err(AttestError::NoDocument(_))), "{none}");
    }
    let authority = bench.backend.authority.clone();
    bench.end().await;
    let gone = fetch(&http_client(), &authority, Nonce([0; 32])).await;
    assert!(matches!(gone, Err(AttestError::Unreachable(_))), "{gone:?}");
}
