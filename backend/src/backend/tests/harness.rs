//! A backend of one test, a gateway that only takes receipts, and a client that seals.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use bytes::Bytes;
use cocoon_attestation::{Document, Keyset};
use cocoon_openapi::padding::{strip_events, stripped_json_len};
use cocoon_openapi::x_conf::{self, ClientNonce, XConf};
use cocoon_openapi::{CHAT_COMPLETIONS_PATH, Deliveries, Outcome, Outcomes, TICKET_HEADER};
use cocoon_receipts::{
    Checkpoint, DeploymentKey, Digest, NanoTon, Payer, Price, Receipt, RequestId, SigningKey, Ticket,
    VerifyingKey,
};
use cocoon_sealing::{
    ENCAPSULATED_KEY_HEADER, FrameLimits, FrameReader, Kem, PublicKey, RESPONSE_NONCE_HEADER, RequestSealer,
    encode_hex, parse_response_nonce,
};
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::clock::now_ms;
use crate::config::tests::OPERATOR;
use crate::{Backend, Config, dev_root};

pub(super) const NONCE: [u8; 32] = [3; 32];
pub(super) const PRICE: Price = Price {
    table: 1,
    prompt: NanoTon(2_000_000),
    cached: NanoTon(2_000_000),
    completion: NanoTon(5_000_000),
    reasoning: NanoTon(5_000_000),
};

/// What the gateway was given.
#[derive(Clone, Default)]
pub(super) struct Receipts {
    taken: Arc<Mutex<HashMap<Digest, Vec<String>>>>,
    refusing: Arc<AtomicBool>,
}

impl Receipts {
    async fn take(
        State(receipts): State<Self>,
        Json(posted): Json<Deliveries>,
    ) -> Result<Json<Outcomes>, http::StatusCode> {
        if receipts.refusing.load(Ordering::Relaxed) {
            return Err(http::StatusCode::SERVICE_UNAVAILABLE);
        }
        let mut taken = receipts.taken.lock().unwrap();
        let outcomes = posted.deliveries.iter().map(|_| Outcome::Acknowledged { earned: None }).collect();
        for delivery in posted.deliveries {
            taken.entry(Digest::of(&[delivery.ticket.as_bytes()])).or_default().push(delivery.token);
        }
        Ok(Json(Outcomes { outcomes, redeliver: None }))
    }

    pub(super) fn refuse_all(&self, refuse: bool) {
        self.refusing.store(refuse, Ordering::Relaxed);
    }

    pub(super) fn of(&self, ticket: Digest, key: &VerifyingKey) -> Option<Receipt> {
        self.taken.lock().unwrap().get(&ticket)?.iter().find_map(|token| Receipt::verify(token, key).ok())
    }

    pub(super) fn times(&self, ticket: Digest) -> usize {
        self.taken.lock().unwrap().get(&ticket).map_or(0, Vec::len)
    }
}

/// A sealed request; every part may be changed before it is sent. An empty header is left out.
pub(super) struct Sealed {
    pub(super) encapsulated_key: String,
    pub(super) token: String,
    pub(super) body: Vec<u8>,
    pub(super) ticket: Ticket,
    pub(super) extra: Option<(&'static str, String)>,
    pub(super) sealer: Arc<RequestSealer>,
}

/// An answer; `frames` opened, `raw` as they came, `plain` where it is not sealed.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) content_type: String,
    pub(super) frames: Vec<Vec<u8>>,
    pub(super) raw: Vec<Vec<u8>>,
    pub(super) plain: String,
    pub(super) trailer: Option<String>,
}

impl Answer {
    /// The frames without their padding.
    pub(super) fn stripped(&self) -> Vec<Vec<u8>> {
        let stream = self.content_type == "text/event-stream";
        let strip = |frame: &Vec<u8>| match stream {
            true => strip_events(&Bytes::copy_from_slice(frame)).to_vec(),
            false => frame[..stripped_json_len(frame)].to_vec(),
        };
        self.frames.iter().map(strip).collect()
    }
}

/// A keyset as the backend publishes it.
pub(super) struct Published {
    pub(super) keyset: Keyset,
    pub(super) digest: Digest,
}

/// How a request is made, where it is not as a gateway makes it.
pub(super) struct Way<'a> {
    pub(super) kem: Kem,
    /// What it is sealed to, and says so in its context.
    pub(super) to: &'a Published,
    pub(super) ticket: &'a dyn Fn(&mut Ticket),
    /// None for a plain EHBP client.
    pub(super) x_conf: Option<&'a dyn Fn(&mut XConf)>,
}

pub(super) struct Harness {
    backend: Option<Backend>,
    dir: TempDir,
    config: String,
    /// As it was at the start.
    pub(super) published: Published,
    signer: SigningKey,
    pub(super) receipts: Receipts,
}

fn engine() -> Option<PathBuf> {
    let named = std::env::var_os("COCOON_SCRIPTED_ENGINE_BIN").map(PathBuf::from);
    let beside = || Some(std::env::current_exe().ok()?.parent()?.parent()?.join("cocoon-scripted-engine"));
    named.or_else(beside).filter(|path| path.is_file())
}

/// A running backend with `more` in its configuration.
pub(super) async fn harness(more: &str) -> Harness {
    harness_around(more, |_, engine| engine).await
}

/// The same with another program in the engine's place, which `wrap` makes in the test's folder.
pub(super) async fn harness_around(more: &str, wrap: impl FnOnce(&Path, PathBuf) -> PathBuf) -> Harness {
    let engine = engine().expect("build it first: cargo build --release -p cocoon-scripted-engine");
    let dir = tempfile::tempdir().unwrap();
    let engine = wrap(dir.path(), engine);
    let path = |name: &str| dir.path().join(name).display().to_string();
    let signer = SigningKey::generate().unwrap();
    std::fs::write(path("weights"), b"none").unwrap();
    std::fs::write(path("gateway.json"), serde_json::to_vec(&signer.public().to_jwk()).unwrap()).unwrap();
    dev_root::ensure(dir.path()).unwrap();

    let receipts = Receipts::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = listener.local_addr().unwrap();
    let router = Router::new().route("/internal/receipts", post(Receipts::take)).with_state(receipts.clone());
    // Ends with the test's runtime.
    let mut gateways = tokio::task::JoinSet::new();
    gateways.spawn(async move { axum::serve(listener, router).await.unwrap() });
    gateways.detach_all();

    let config = format!(
        "listen = \"127.0.0.1:0\"\nstate_dir = \"{}\"\nengine = \"{}\"\nmodel_path = \"{}\"\nmodel_name = \"m\"\n\
         receipt_urls = [\"http://{gateway}/internal/receipts\"]\ngateway_keys = [\"{}\"]\n\
         evidence.kind = \"dev\"\nevidence.dev_root = \"{}\"\n\
         operator = \"{OPERATOR}\"\n{more}\n",
        path("state"),
        engine.display(),
        path("weights"),
        path("gateway.json"),
        path("dev-root.pem"),
    );
    Harness::start(dir, config, signer, receipts).await
}

async fn fetch(backend: &Backend) -> Published {
    let url =
        format!("http://{}/.well-known/cocoon-attestation?nonce={}", backend.address(), "07".repeat(32));
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let document = client.get(url.parse().unwrap()).await.unwrap().into_body().collect().await.unwrap();
    let document: Document = serde_json::from_slice(&document.to_bytes()).unwrap();
    let keyset = Keyset::from_bytes(&document.keyset.0).unwrap();
    Published { keyset, digest: Digest::of(&[&document.keyset.0]) }
}

impl Harness {
    async fn start(dir: TempDir, config: String, signer: SigningKey, receipts: Receipts) -> Self {
        let file = dir.path().join("backend.toml");
        std::fs::write(&file, &config).unwrap();
        let loaded = Config::load(&file, std::iter::empty(), None).unwrap();
        let backend = Backend::start(loaded).await.unwrap();
        let published = fetch(&backend).await;
        Self { backend: Some(backend), dir, config, published, signer, receipts }
    }

    /// The keyset that is published now.
    pub(super) async fn fetch(&self) -> Published {
        fetch(self.backend.as_ref().unwrap()).await
    }

    pub(super) async fn restart(mut self) -> Self {
        self.backend.take().unwrap().stop(std::future::pending()).await;
        Self::start(self.dir, self.config, self.signer, self.receipts).await
    }

    pub(super) async fn failed(&mut self) -> crate::Error {
        let failure = self.backend.as_mut().unwrap().failed();
        tokio::time::timeout(Duration::from_secs(10), failure).await.unwrap()
    }

    pub(super) async fn stop(mut self) {
        self.backend.take().unwrap().stop(std::future::pending()).await;
    }

    pub(super) fn receipt_key(&self) -> VerifyingKey {
        self.published.keyset.receipt_key().unwrap()
    }

    /// As a gateway makes a request.
    pub(super) fn way(&self) -> Way<'_> {
        Way { kem: Kem::X25519, to: &self.published, ticket: &|_| (), x_conf: Some(&|_| ()) }
    }

    pub(super) fn seal(&self, body: &Value) -> Sealed {
        self.seal_as(body, self.way())
    }

    pub(super) fn seal_for(&self, body: &Value, change: impl Fn(&mut Ticket)) -> Sealed {
        self.seal_as(body, Way { ticket: &change, ..self.way() })
    }

    pub(super) fn seal_with(&self, body: &Value, change: impl Fn(&mut XConf)) -> Sealed {
        self.seal_as(body, Way { x_conf: Some(&change), ..self.way() })
    }

    pub(super) fn seal_as(&self, body: &Value, way: Way<'_>) -> Sealed {
        let Way { kem, to, ticket: change, x_conf: twist } = way;
        let named = to.keyset.hpke.iter().find(|key| key.kem == kem.id()).unwrap();
        let key = PublicKey::new(kem, &named.bytes().unwrap()).unwrap();
        let mut sealer = RequestSealer::new(&key).unwrap();
        let req = RequestId::generate();
        let payer =
            Payer { account: "a".parse().unwrap(), key: "k".parse().unwrap(), project: None, shard: 0 };
        let mut ticket = Ticket {
            req,
            attempt: 1,
            keyset: to.digest,
            enc: Digest::of(&[sealer.encapsulated_key()]),
            acct: Digest([6; 32]),
            path: CHAT_COMPLETIONS_PATH.into(),
            model: "m".into(),
            price: PRICE,
            max_cost: NanoTon(1_000_000),
            exp: now_ms() / 1000 + 60,
            payer: DeploymentKey::generate().unwrap().seal(&payer, req).unwrap(),
        };
        change(&mut ticket);
        let body = serde_json::to_vec(body).unwrap();
        let plain = twist.map_or(body.clone(), |twist| {
            let mut context = XConf {
                v: 1,
                nonce: ClientNonce(NONCE),
                ts: now_ms(),
                path: CHAT_COMPLETIONS_PATH.into(),
                model: "m".into(),
                keyset: to.digest,
                price_max: None,
                max_cost: None,
                acct: None,
                pad: None,
            };
            twist(&mut context);
            x_conf::insert(&body, &context).unwrap()
        });
        Sealed {
            encapsulated_key: encode_hex(sealer.encapsulated_key()),
            token: ticket.sign(&self.signer).unwrap(),
            body: sealer.seal(&plain).unwrap().to_vec(),
            ticket,
            extra: None,
            sealer: Arc::new(sealer),
        }
    }

    fn request(&self, sealed: &Sealed) -> Request<Full<Bytes>> {
        let address = self.backend.as_ref().unwrap().address();
        let mut request =
            Request::post(format!("http://{address}{CHAT_COMPLETIONS_PATH}")).header("te", "trailers");
        let extra = sealed.extra.as_ref().map(|(name, value)| (*name, value));
        let sealed_headers =
            [(ENCAPSULATED_KEY_HEADER, &sealed.encapsulated_key), (TICKET_HEADER, &sealed.token)];
        for (name, value) in sealed_headers.into_iter().chain(extra).filter(|(_, value)| !value.is_empty()) {
            request = request.header(name, value);
        }
        request.body(Full::new(Bytes::from(sealed.body.clone()))).unwrap()
    }

    pub(super) async fn send(&self, sealed: &Sealed) -> Answer {
        self.sending(sealed).await
    }

    /// Like `send`, but without borrowing the backend.
    pub(super) fn sending(&self, sealed: &Sealed) -> impl Future<Output = Answer> + use<> {
        let request = self.request(sealed);
        let sealer = Arc::clone(&sealed.sealer);
        let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        async move {
            let response = client.request(request).await.unwrap();
            let (parts, body) = response.into_parts();
            let body = body.collect().await.unwrap();
            let header = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
            let trailer = body.trailers().and_then(|trailers| trailers.get(super::RECEIPT_HEADER));
            let trailer = trailer.map(|value| value.to_str().unwrap().to_owned());
            let mut answer = Answer {
                status: parts.status.as_u16(),
                content_type: header("content-type").unwrap_or_default(),
                frames: Vec::new(),
                raw: Vec::new(),
                plain: String::new(),
                trailer,
            };
            let body = body.to_bytes();
            let Some(nonce) = header(RESPONSE_NONCE_HEADER) else {
                answer.plain = String::from_utf8(body.to_vec()).unwrap();
                return answer;
            };
            let mut opener = sealer.response_opener(&parse_response_nonce(&nonce).unwrap()).unwrap();
            let mut reader =
                FrameReader::new(FrameLimits { max_frame: 1 << 20, max_total: 1 << 26, max_empty: 0 });
            reader.push(body);
            while let Some(frame) = reader.next().unwrap() {
                answer.frames.push(opener.open(&frame).unwrap());
                answer.raw.push([&u32::try_from(frame.len()).unwrap().to_be_bytes(), &frame[..]].concat());
            }
            reader.finish().unwrap();
            answer
        }
    }

    pub(super) async fn send_and_hang_up(&self, sealed: &Sealed, after: Duration) {
        let sending = self.sending(sealed);
        assert!(tokio::time::timeout(after, sending).await.is_err(), "it was over before");
    }

    pub(super) async fn bytes(&self, path: &str) -> Bytes {
        let url = format!("http://{}{path}", self.backend.as_ref().unwrap().address());
        let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        let response = client.get(url.parse().unwrap()).await.unwrap();
        response.into_body().collect().await.unwrap().to_bytes()
    }

    pub(super) async fn plain(
        &self,
        method: &str,
        path: &str,
        header: Option<(&str, &str)>,
    ) -> (u16, String) {
        let address = self.backend.as_ref().unwrap().address();
        let mut request = Request::builder().method(method).uri(format!("http://{address}{path}"));
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        let response = client.request(request.body(Full::default()).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    pub(super) async fn engine_running(&self) -> u64 {
        let (_, health) = self.plain("GET", "/healthz", None).await;
        let health: Value = serde_json::from_str(&health).unwrap();
        assert_eq!((&health["status"], &health["running"]), (&json!("ok"), &json!(0)));
        health["engine_running"].as_u64().unwrap()
    }

    pub(super) fn digest(sealed: &Sealed) -> Digest {
        Digest::of(&[sealed.token.as_bytes()])
    }

    /// The receipt as the gateway got it.
    pub(super) async fn receipt_of(&self, sealed: &Sealed) -> Receipt {
        for _ in 0..500 {
            if let Some(receipt) = self.receipts.of(Self::digest(sealed), &self.receipt_key()) {
                return receipt;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("no receipt was delivered");
    }

    pub(super) fn checkpoints(&self, sealed: &Sealed) -> usize {
        let taken = self.receipts.taken.lock().unwrap();
        let tokens = taken.get(&Self::digest(sealed)).map_or(&[][..], Vec::as_slice);
        tokens.iter().filter(|token| Checkpoint::verify(token, &self.receipt_key()).is_ok()).count()
    }

    /// The scripted engine's own rule: a word is a token, and a message four more.
    pub(super) fn prompt_tokens(&self, body: &Value) -> u64 {
        let content = body["messages"][0]["content"].as_str().unwrap();
        content.split_whitespace().count() as u64 + 4
    }
}
