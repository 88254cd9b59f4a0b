//! An attested backend whose keys a test holds: what a broken or dishonest operator could sign and send, and what an
//! honest one gets.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cocoon_attestation::{
    DevRoot, Document, EngineInfo, HpkeKey, KEYSET_VERSION, Keyset, ModelInfo, Nonce, Operator, PrefixCache,
    Release,
};
use cocoon_openapi::{
    ATTESTATION_PATH, CHAT_COMPLETIONS_PATH, COMPLETIONS_PATH, EMBEDDINGS_PATH, RESPONSES_PATH,
    TICKET_HEADER, x_conf,
};
use cocoon_receipts::{Digest, Receipt, ReceiptId, SigningKey, Ticket, Usage};
use cocoon_sealing::{
    ENCAPSULATED_KEY_HEADER, FrameLimits, FrameReader, Kem, PrivateKey, RESPONSE_NONCE_HEADER, RequestOpener,
    parse_encapsulated_key,
};
use http::StatusCode;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::{Stack, eventually};

const MAX_BODY: usize = 16 << 20;

/// Ends when dropped.
pub(crate) struct Liar {
    pub(crate) receipt_key: Arc<SigningKey>,
    pub(crate) keyset: Keyset,
    pub(crate) digest: Digest,
    /// How it answers requests; without one it has no such path.
    pub(crate) lie: Option<Lie>,
    /// What it answers; without one a short JSON object.
    pub(crate) script: Option<Script>,
    pub(crate) seen: Arc<Mutex<Vec<Seen>>>,
    private_keys: Arc<[PrivateKey]>,
    port: u16,
    listener: Option<TcpListener>,
    tasks: JoinSet<()>,
}

struct Evidence {
    root: DevRoot,
    keyset: Vec<u8>,
    always: Option<Nonce>,
}

/// Changes the true receipt of an answer, and the frame that carries it.
pub(crate) type Lie = Arc<dyn Fn(&mut Receipt, &mut Option<String>) + Send + Sync>;

/// An answer but for its receipt.
#[derive(Debug, Clone)]
pub(crate) struct Scripted {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    /// One sealed frame each; JSON without its closing brace.
    pub(crate) frames: Vec<String>,
    /// After the receipt of a stream.
    pub(crate) rest: &'static str,
    pub(crate) usage: Usage,
}

impl Default for Scripted {
    fn default() -> Self {
        Self {
            status: 200,
            content_type: "application/json",
            frames: vec![r#"{"whole":true"#.into()],
            rest: "",
            usage: Usage { prompt: 10, completion: 5, ..Usage::default() },
        }
    }
}

pub(crate) type Script = Arc<dyn Fn(&Seen) -> Scripted + Send + Sync>;

/// A request as it came out of its seal.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) path: String,
    /// Without `x_conf`: the client's own bytes.
    pub(crate) body: Vec<u8>,
    /// The path that `x_conf` names.
    pub(crate) sealed_path: String,
    pub(crate) ticket: Ticket,
    /// What the request was sealed with.
    pub(crate) kem: Kem,
}

struct Answering {
    private_keys: Arc<[PrivateKey]>,
    receipt_key: Arc<SigningKey>,
    keyset: Digest,
    lie: Lie,
    script: Option<Script>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

#[derive(serde::Deserialize)]
struct Asked {
    nonce: String,
}

impl Liar {
    /// Takes a port; evidence is served once [`Liar::serve`] was given a root.
    pub(crate) async fn new(model: &str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let receipt_key = Arc::new(SigningKey::generate()?);
        let private_keys = [PrivateKey::generate(Kem::X25519)?, PrivateKey::generate(Kem::XWing)?];
        let hpke = private_keys.iter().zip(0..).map(|(key, id)| {
            let key = key.public_key();
            HpkeKey::new(id, key.kem().id(), key.as_bytes())
        });
        let keyset = Keyset {
            version: KEYSET_VERSION,
            operator: Operator { address: "0:11".parse()?, workchain: 0 },
            not_before: 0,
            not_after: u64::MAX,
            hpke: hpke.collect(),
            receipt_key: receipt_key.public().to_jwk(),
            model: ModelInfo {
                id: model.to_owned(),
                sha256: Digest([0; 32]),
                quantization: "none".into(),
                context_length: 1000,
            },
            engine: EngineInfo { name: "none".into(), version: "0".into() },
            prefix_cache: PrefixCache::Off,
            release: Release { name: "liar".into(), sequence: 0 },
        };
        let digest = Digest::of(&[&keyset.to_bytes()]);
        let port = listener.local_addr()?.port();
        Ok(Self {
            receipt_key,
            keyset,
            digest,
            lie: None,
            script: None,
            seen: Arc::default(),
            private_keys: Arc::new(private_keys),
            port,
            listener: Some(listener),
            tasks: JoinSet::new(),
        })
    }

    /// Waits until the gateway of `stack`, whose folder has the root, uses it.
    pub(crate) async fn join(&mut self, stack: &Stack) -> anyhow::Result<()> {
        self.serve(SigningKey::from_pem(&std::fs::read_to_string(stack.path("keys/dev-root.pem"))?)?);
        let url = format!("{}/models/{}", stack.base_url(), self.keyset.model.id);
        eventually("the liar is accepted", Duration::from_secs(30), || async {
            let status = reqwest::Client::new().get(&url).bearer_auth(&stack.key).send().await?.status();
            Ok(status.is_success().then_some(()))
        })
        .await
    }

    /// What a gateway's configuration needs to sell its model.
    pub(crate) fn prices(&self) -> String {
        format!(
            "[prices.{}]\ntable = 1\nprompt = \"20000000\"\ncached = \"20000000\"\n\
             completion = \"60000000\"\nreasoning = \"60000000\"",
            self.keyset.model.id
        )
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Serves evidence signed by `root`, for the nonce that is asked for.
    pub(crate) fn serve(&mut self, root: SigningKey) {
        self.serve_for(root, None);
    }

    /// Serves evidence that was made for `nonce`, whatever is asked for: a recording, played again.
    pub(crate) fn replay(&mut self, root: SigningKey, nonce: Nonce) {
        self.serve_for(root, Some(nonce));
    }

    fn serve_for(&mut self, root: SigningKey, always: Option<Nonce>) {
        let state = Arc::new(Evidence { root: DevRoot::new(root), keyset: self.keyset.to_bytes(), always });
        let mut app = Router::new().route(ATTESTATION_PATH, get(document)).with_state(state);
        if let Some(lie) = &self.lie {
            let answering = Answering {
                private_keys: Arc::clone(&self.private_keys),
                receipt_key: Arc::clone(&self.receipt_key),
                keyset: self.digest,
                lie: Arc::clone(lie),
                script: self.script.clone(),
                seen: Arc::clone(&self.seen),
            };
            let answer = Router::new()
                .route(CHAT_COMPLETIONS_PATH, post(answer))
                .route(COMPLETIONS_PATH, post(answer))
                .route(EMBEDDINGS_PATH, post(answer))
                .route(RESPONSES_PATH, post(answer))
                .layer(DefaultBodyLimit::max(MAX_BODY));
            app = app.merge(answer.with_state(Arc::new(answering)));
        }
        if let Some(listener) = self.listener.take() {
            self.tasks.spawn(async move {
                // Ends with the test.
                let _ = axum::serve(listener, app).await;
            });
        }
    }
}

/// A true, short answer to a sealed request, but for the lie.
async fn answer(
    State(answering): State<Arc<Answering>>,
    uri: http::Uri,
    headers: http::HeaderMap,
    body: bytes::Bytes,
) -> Result<axum::response::Response, http::StatusCode> {
    answering.answer(uri.path(), &headers, body).map_err(|error| {
        eprintln!("the liar could not answer: {error:?}");
        http::StatusCode::INTERNAL_SERVER_ERROR
    })
}

impl Answering {
    fn answer(
        &self,
        path: &str,
        headers: &http::HeaderMap,
        body: bytes::Bytes,
    ) -> anyhow::Result<axum::response::Response> {
        let header = |name: &str| anyhow::Ok(headers.get(name).context("no such header")?.to_str()?);
        let (kem, encapsulated_key) = parse_encapsulated_key(header(ENCAPSULATED_KEY_HEADER)?)?;
        let token = header(TICKET_HEADER)?;
        let payload = token.split('.').nth(1).context("no ticket")?;
        let ticket: Ticket = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload)?)?;

        let key = self.private_keys.iter().find(|key| key.public_key().kem() == kem).context("no key")?;
        let mut opener = RequestOpener::new(key, &encapsulated_key)?;
        let mut reader =
            FrameReader::new(FrameLimits { max_frame: MAX_BODY, max_total: MAX_BODY as u64, max_empty: 1 });
        reader.push(body.clone());
        let mut plain = Vec::new();
        while let Some(frame) = reader.next()? {
            match opener.open(&frame) {
                Ok(opened) => plain.extend(opened),
                // As any backend: the key is another's.
                Err(_) => {
                    return Ok(axum::response::IntoResponse::into_response(StatusCode::UNPROCESSABLE_ENTITY));
                }
            }
        }
        let (x_conf, client_body) = x_conf::remove(plain)?;
        let x_conf = x_conf.context("no x_conf")?;
        let nonce = x_conf.nonce.0;
        let seen = Seen { path: path.to_owned(), body: client_body, sealed_path: x_conf.path, ticket, kem };
        let scripted = self.script.as_ref().map_or_else(Scripted::default, |script| script(&seen));
        let Seen { body: client_body, ticket, .. } = seen.clone();
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(seen);

        let mut sealer = opener.response_sealer()?;
        let response_nonce = cocoon_sealing::encode_hex(sealer.nonce());
        let mut frames = Vec::new();
        for frame in &scripted.frames {
            frames.push(sealer.seal(frame.as_bytes())?);
        }
        let usage = scripted.usage;
        let mut receipt = Receipt {
            iss: self.keyset,
            jti: ReceiptId::generate(),
            iat: 1,
            seq: 1,
            prev: Digest([0; 32]),
            ticket: Digest::of(&[token.as_bytes()]),
            cn: Digest::of(&[&nonce]),
            req_hash: Digest::of(&[&body]),
            resp_hash: Digest::of(&[&frames.concat()]),
            resp_frames: frames.len() as u64,
            status: scripted.status,
            ctype: scripted.content_type.into(),
            model: ticket.model.clone(),
            weights: Digest([0; 32]),
            usage,
            price: ticket.price,
            cost: ticket.price.cost(&usage)?,
            finish: "stop".into(),
            complete: true,
            started: 1,
            finished: 2,
            body: Some(cocoon_receipts::body_digest(&nonce, &client_body)),
            is_final: true,
        };
        let mut instead = None;
        (self.lie)(&mut receipt, &mut instead);
        let end = match instead {
            Some(text) => text,
            None if scripted.content_type.starts_with("text/event-stream") => {
                format!(": receipt {}\n\n{}", receipt.sign(&self.receipt_key)?, scripted.rest)
            }
            None => format!(",\"x_receipt\":\"{}\"}}", receipt.sign(&self.receipt_key)?),
        };
        if !end.is_empty() {
            frames.push(sealer.seal(end.as_bytes())?);
        }
        let response = http::Response::builder()
            .status(scripted.status)
            .header("content-type", scripted.content_type)
            .header(RESPONSE_NONCE_HEADER, response_nonce);
        Ok(response.body(axum::body::Body::from(frames.concat()))?)
    }
}

async fn document(
    State(evidence): State<Arc<Evidence>>,
    Query(asked): Query<Asked>,
) -> Result<Json<Document>, http::StatusCode> {
    let nonce: Nonce = asked.nonce.parse().map_err(|_| http::StatusCode::BAD_REQUEST)?;
    Ok(Json(evidence.root.document(&evidence.keyset, evidence.always.unwrap_or(nonce))))
}
