//! A sidecar under test, with a fake gateway behind it and a clock that stands still.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, Method, Request, Response};
use cocoon_attestation::Policy;
use cocoon_connect::accept::{self, Sidecar};
use cocoon_connect::ask::{ApiKey, Asker, Payer};
use cocoon_connect::channel::file::{Channel, Stage};
use cocoon_connect::channel::purse::Purse;
use cocoon_connect::clock::Clock;
use cocoon_connect::fleet::Fleet;
use cocoon_connect::floor::Floor;
use cocoon_connect::gateway::Gateway;
use cocoon_connect::in_force::InForce;
use cocoon_connect::local::Callers;
use cocoon_connect::prices::Prices;
use cocoon_connect::state::StateDir;
use cocoon_connect::token::LocalToken;
use cocoon_connect::verify::Verifier;
use cocoon_receipts::{NanoTon, SigningKey};
use cocoon_sealing::Kem;
use cocoon_ton::{Address, GlobalId, Workchain};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::fake::Fake;
use crate::vm::{MODEL, Vm};

pub(crate) const HOUR: u64 = 3600 * 1000;
pub(crate) const START: u64 = 1_800_000_000_000;
pub(crate) const KEY: &str = "sk-cocoon-a.b.c";
pub(crate) const BOTH: &[Kem] = &[Kem::X25519, Kem::XWing];

/// What a test may choose.
#[derive(Default)]
pub(crate) struct Options {
    /// After the line with the roots.
    pub(crate) policy: &'static str,
    /// In place of one with the roots.
    pub(crate) other_policy: Option<Policy>,
    pub(crate) origins: Vec<&'static str>,
    pub(crate) own_key: bool,
    /// Requests are paid from a channel with so many nanoTON.
    pub(crate) channel: Option<u64>,
    pub(crate) max_cost: Option<NanoTon>,
    pub(crate) body_limit: Option<usize>,
}

pub(crate) struct Stand {
    pub(crate) fake: Arc<Fake>,
    pub(crate) sidecar: Arc<Sidecar>,
    pub(crate) port: u16,
    pub(crate) state: std::path::PathBuf,
    /// What callers present.
    pub(crate) key: String,
    clock: Arc<AtomicU64>,
    http: Client<HttpConnector, Full<Bytes>>,
    _tasks: JoinSet<()>,
    _dir: tempfile::TempDir,
}

/// An answer that was read to its end, or to where it broke.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    pub(crate) trailers: HeaderMap,
    /// The connection ended as it should.
    pub(crate) whole: bool,
}

impl Got {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(crate) fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
}

pub(crate) async fn read(response: Response<Incoming>) -> Got {
    let (parts, mut body) = response.into_parts();
    let mut got = Got {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: String::new(),
        trailers: HeaderMap::new(),
        whole: true,
    };
    while let Some(frame) = body.frame().await {
        match frame {
            Err(_) => {
                got.whole = false;
                break;
            }
            Ok(frame) => match frame.into_data() {
                Ok(data) => got.body.push_str(std::str::from_utf8(&data).unwrap()),
                Err(frame) => got.trailers.extend(frame.into_trailers().unwrap()),
            },
        }
    }
    got
}

/// What `channel open` leaves behind.
fn open_channel(state: &StateDir, deposit: u64) -> Channel {
    let [payer, receiver] = [1, 2].map(|byte| Address::new(Workchain::Basechain, [byte; 32]));
    let mut channel = Channel::new(GlobalId::TESTNET, payer, receiver, 86_400).unwrap();
    (channel.stage, channel.deposited) = (Stage::Open, NanoTon(deposit));
    channel.store(state).unwrap();
    channel
}

impl Stand {
    /// One honest backend with both kinds of keys.
    pub(crate) async fn new() -> Self {
        Self::with(vec![Vm::new(BOTH, 7, u64::MAX)], Options::default()).await
    }

    pub(crate) async fn with(vms: Vec<Vm>, options: Options) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut tasks = JoinSet::new();
        let root = SigningKey::generate().unwrap();
        let policy = format!("dev_roots = [\"{}\"]\n{}", root.public().to_base64url(), options.policy);
        let gateway_listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}/v1", gateway_listener.local_addr().unwrap());
        let fake = Fake::start(root, vms, gateway_listener, &mut tasks);

        let clock = Arc::new(AtomicU64::new(START));
        let now = Arc::clone(&clock);
        let time = Clock::new(move || now.load(Ordering::Relaxed));
        let state_path = dir.path().join("state");
        let state = StateDir::open(&state_path).unwrap();
        let gateway = Gateway::new(url.parse().unwrap(), Duration::from_secs(20)).unwrap();
        let purse = options.channel.map(|deposit| {
            let channel = open_channel(&state, deposit);
            fake.takes(&channel, deposit);
            Arc::new(Purse::open(&state, gateway.clone(), time.clone()).unwrap())
        });
        let payer = match &purse {
            Some(purse) => Some(Payer::Channel(Arc::clone(purse))),
            None => options.own_key.then(|| Payer::Key(ApiKey::new(KEY).unwrap())),
        };
        let own = payer.map(|payer| (payer, LocalToken::load_or_create(&state).unwrap()));
        let token = own.as_ref().map(|_| std::fs::read_to_string(state.path("token")).unwrap());
        let verifier = Verifier {
            gateway,
            policy: InForce::new(options.other_policy.unwrap_or_else(|| Policy::from_toml(&policy).unwrap())),
            floor: Mutex::new(Floor::load(state).unwrap()),
            clock: time,
        };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let sidecar = Arc::new(Sidecar {
            asker: Asker {
                fleet: Fleet::new(verifier),
                prices: Prices::default(),
                max_cost: options.max_cost,
            },
            callers: Callers {
                port,
                origins: options.origins.into_iter().map(|origin| origin.parse().unwrap()).collect(),
            },
            own,
            body_limit: options.body_limit.unwrap_or(8 << 20),
        });
        let app = accept::router(Arc::clone(&sidecar));
        tasks.spawn(cocoon_process::serve(listener, app, CancellationToken::new(), std::future::pending()));
        let http = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http();
        let key = token.map_or_else(|| KEY.to_owned(), |token| token.trim().to_owned());
        Self { fake, sidecar, port, state: state_path, key, clock, http, _tasks: tasks, _dir: dir }
    }

    pub(crate) fn pass(&self, ms: u64) {
        self.clock.fetch_add(ms, Ordering::Relaxed);
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Response<Incoming> {
        let uri = format!("http://127.0.0.1:{}{path}", self.port);
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.http.request(request.body(Full::new(body.to_owned().into())).unwrap()).await.unwrap()
    }

    pub(crate) async fn post(&self, body: &str) -> Response<Incoming> {
        let authorization = format!("Bearer {}", self.key);
        let headers = [("authorization", authorization.as_str()), ("te", "trailers")];
        self.send(Method::POST, "/v1/chat/completions", &headers, body).await
    }

    /// A chat for the one model.
    pub(crate) async fn chat(&self) -> Got {
        let stream = self.fake.behave().script.content_type.starts_with("text/event-stream");
        read(self.post(&format!(r#"{{"model":"{MODEL}","messages":[],"stream":{stream}}}"#)).await).await
    }

    pub(crate) async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Got {
        read(self.send(Method::GET, path, headers, "").await).await
    }
}
