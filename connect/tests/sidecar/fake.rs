//! A gateway with its backends, all of them fakes in one process, that may misbehave as a test says.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Request, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use cocoon_attestation::{DevRoot, Document, Nonce};
use cocoon_connect::channel::file::Channel;
use cocoon_openapi::Endpoint;
use cocoon_receipts::{Digest, Receipt, SigningKey};
use cocoon_sealing::{ENCAPSULATED_KEY_HEADER, RESPONSE_NONCE_HEADER};
use futures_util::stream;
use http_body_util::BodyExt;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::till::{CONTEXT, Refused, Till};
use crate::vm::{MODEL, Opened, PRICE, Reply, Script, USAGE, Vm};

/// A request as the gateway saw it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) wire: Vec<u8>,
    pub(crate) opened: Option<Opened>,
}

type Lie = Arc<dyn Fn(&mut Receipt) + Send + Sync>;
type Wire = Arc<dyn Fn(Reply) -> Vec<Vec<u8>> + Send + Sync>;
type Evidence = Arc<dyn Fn(&DevRoot, &Vm, Nonce) -> Document + Send + Sync>;

/// Status, headers and body of an answer in the clear.
type Plain = (u16, Vec<(&'static str, &'static str)>, String);

/// What it does. Everything honest by default.
pub(crate) struct Behaviour {
    pub(crate) vms: Vec<Arc<Vm>>,
    /// Which of them it tells of.
    pub(crate) listed: Vec<Digest>,
    /// The list's price.
    pub(crate) price: cocoon_receipts::Price,
    pub(crate) script: Script,
    /// What is done to receipts before they are signed.
    pub(crate) lie: Lie,
    /// What is done to a sealed answer on its way: the pieces that are sent.
    pub(crate) wire: Wire,
    pub(crate) evidence: Evidence,
    /// The outer status and content type, where they are not the answer's own.
    pub(crate) outer: Option<(u16, &'static str)>,
    /// Answers in the clear, one for each POST, before it does what it should.
    pub(crate) plain: VecDeque<Plain>,
    /// Where requests are paid from a channel.
    pub(crate) till: Option<Till>,
    /// Breaks the connection off in place of an answer.
    pub(crate) breaks: bool,
    /// Does not end its answers.
    pub(crate) hangs: bool,
    /// Pause before each piece.
    pub(crate) pause: Duration,
    pub(crate) seen: Vec<Seen>,
    pub(crate) lists: usize,
    pub(crate) documents: usize,
    pub(crate) price_lists: usize,
}

pub(crate) struct Fake {
    pub(crate) root: DevRoot,
    behaviour: Mutex<Behaviour>,
    /// An answer was dropped before its end.
    pub(crate) dropped: Notify,
}

impl Fake {
    /// Serves on `listener` until `tasks` is dropped.
    pub(crate) fn start(
        root: SigningKey,
        vms: Vec<Vm>,
        listener: TcpListener,
        tasks: &mut JoinSet<()>,
    ) -> Arc<Self> {
        let vms: Vec<Arc<Vm>> = vms.into_iter().map(Arc::new).collect();
        let behaviour = Behaviour {
            listed: vms.iter().map(|vm| vm.digest()).collect(),
            vms,
            price: PRICE,
            script: Script::whole(),
            lie: Arc::new(|_| ()),
            wire: Arc::new(|reply| reply.frames),
            evidence: Arc::new(|root, vm, nonce| root.document(&vm.keyset.to_bytes(), nonce)),
            outer: None,
            plain: VecDeque::new(),
            till: None,
            breaks: false,
            hangs: false,
            pause: Duration::ZERO,
            seen: Vec::new(),
            lists: 0,
            documents: 0,
            price_lists: 0,
        };
        let fake = Arc::new(Self {
            root: DevRoot::new(root),
            behaviour: Mutex::new(behaviour),
            dropped: Notify::new(),
        });
        let mut router = Router::new();
        for endpoint in Endpoint::ALL {
            router = router.route(endpoint.path(), post(infer));
        }
        let router = router
            .route("/v1/attestation", get(list))
            .route("/v1/attestation/{digest}", get(document))
            .route("/v1/models", get(models))
            .route("/v1/channels", post(introduced))
            .route("/v1/channels/{address}", get(stands))
            .route("/v1/redirected", get(async || (StatusCode::FOUND, [("location", "/v1/models")])))
            .fallback(async |uri: Uri| {
                let body = format!(r#"{{"error":{{"message":"no {uri}","type":"invalid_request_error"}}}}"#);
                (StatusCode::NOT_FOUND, body)
            })
            .with_state(Arc::clone(&fake));
        tasks.spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        fake
    }

    pub(crate) fn behave(&self) -> MutexGuard<'_, Behaviour> {
        self.behaviour.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on requests bring vouchers of this channel.
    pub(crate) fn takes(&self, channel: &Channel, deposited: u64) {
        self.behave().till = Some(Till::new(channel, deposited));
    }

    pub(crate) fn till(&self) -> Till {
        self.behave().till.clone().unwrap()
    }

    /// Answers the next POST in the clear.
    pub(crate) fn next_plain(&self, status: u16, headers: &[(&'static str, &'static str)], body: &str) {
        self.behave().plain.push_back((status, headers.to_vec(), body.to_owned()));
    }
}

#[derive(Deserialize)]
struct Asked {
    model: Option<String>,
    nonce: Option<String>,
}

async fn list(State(fake): State<Arc<Fake>>, Query(asked): Query<Asked>) -> Response {
    let mut behaviour = fake.behave();
    behaviour.lists += 1;
    let known = asked.model.is_none_or(|model| model == MODEL);
    let listed = if known { behaviour.listed.clone() } else { Vec::new() };
    let data: Vec<_> = listed
        .iter()
        .map(|digest| {
            serde_json::json!({
                "keyset": digest.to_string(), "not_after": 1, "tee": "tdx", "model": MODEL,
            })
        })
        .collect();
    axum::Json(serde_json::json!({ "object": "list", "data": data })).into_response()
}

async fn document(
    State(fake): State<Arc<Fake>>,
    Path(digest): Path<String>,
    Query(asked): Query<Asked>,
) -> Response {
    let mut behaviour = fake.behave();
    behaviour.documents += 1;
    let nonce = asked.nonce.unwrap_or_default().parse::<Nonce>().unwrap();
    match behaviour.vms.iter().find(|vm| vm.digest().to_string() == digest) {
        Some(vm) => axum::Json((behaviour.evidence)(&fake.root, vm, nonce)).into_response(),
        None => {
            let error = r#"{"error":{"message":"the gateway's words","type":"server_error"}}"#;
            (StatusCode::NOT_FOUND, error).into_response()
        }
    }
}

fn refused((status, code): Refused) -> Response {
    let error =
        serde_json::json!({ "message": "no", "type": "invalid_request_error", "param": null, "code": code });
    let body = axum::Json(serde_json::json!({ "error": error }));
    (StatusCode::from_u16(status).unwrap(), body).into_response()
}

async fn introduced(State(fake): State<Arc<Fake>>) -> Response {
    let till = fake.till();
    till.books().introduced += 1;
    till.books().known = true;
    axum::Json(till.shown()).into_response()
}

async fn stands(State(fake): State<Arc<Fake>>, headers: HeaderMap) -> Response {
    let till = fake.till();
    till.books().asked += 1;
    match till.authorize(&headers) {
        Ok(_) => axum::Json(till.shown()).into_response(),
        Err(why) => refused(why),
    }
}

async fn models(State(fake): State<Arc<Fake>>, headers: HeaderMap) -> Response {
    let mut behaviour = fake.behave();
    behaviour.price_lists += 1;
    if headers.get("authorization").is_none_or(|key| key == "Bearer wrong") {
        let error = r#"{"error":{"message":"bad key","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#;
        return (StatusCode::UNAUTHORIZED, error).into_response();
    }
    if let Some(till) = &behaviour.till
        && let Err(why) = till.authorize(&headers)
    {
        return refused(why);
    }
    let model = serde_json::json!({
        "id": MODEL, "object": "model", "pricing": behaviour.price, "context_length": CONTEXT,
    });
    axum::Json(serde_json::json!({ "object": "list", "data": [model] })).into_response()
}

/// Tells when an answer is dropped before its end.
struct DropBell(Arc<Fake>);

impl Drop for DropBell {
    fn drop(&mut self) {
        self.0.dropped.notify_one();
    }
}

async fn infer(State(fake): State<Arc<Fake>>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let wire = body.collect().await.unwrap().to_bytes().to_vec();
    let (path, headers) = (parts.uri.path().to_owned(), parts.headers);
    let mut behaviour = fake.behave();
    if let Some((status, reply_headers, body)) = behaviour.plain.pop_front() {
        behaviour.seen.push(Seen { path, headers, wire, opened: None });
        let mut response = Response::builder().status(status);
        for (name, value) in reply_headers {
            response = response.header(name, value);
        }
        return response.body(Body::from(body)).unwrap();
    }
    let holding = match behaviour.till.clone() {
        None => None,
        Some(till) => {
            let endpoint = Endpoint::ALL.into_iter().find(|endpoint| endpoint.path() == path).unwrap();
            let cost = PRICE.cost(&USAGE).unwrap();
            match till.admit(endpoint, &headers, wire.len(), &behaviour.price, cost) {
                Ok(holding) => Some(holding),
                Err(why) => {
                    behaviour.seen.push(Seen { path, headers, wire, opened: None });
                    return refused(why);
                }
            }
        }
    };
    let digest = headers["cocoon-key-digest"].to_str().unwrap().to_owned();
    let vm = behaviour.vms.iter().find(|vm| vm.digest().to_string() == digest).cloned().unwrap();
    let key = headers[ENCAPSULATED_KEY_HEADER].to_str().unwrap().to_owned();
    let (opened, reply) = vm.answer(&key, &wire, &behaviour.script, behaviour.lie.as_ref());
    let own_head = (behaviour.script.status, behaviour.script.content_type);
    let (status, content_type) = behaviour.outer.unwrap_or(own_head);
    behaviour.seen.push(Seen { path, headers, wire, opened: Some(opened) });
    let nonce = reply.nonce.clone();
    let pieces = VecDeque::from((behaviour.wire)(reply));
    let (hangs, pause, breaks) = (behaviour.hangs, behaviour.pause, behaviour.breaks);
    drop(behaviour);

    let kept = (holding, DropBell(Arc::clone(&fake)));
    let pieces = stream::unfold((pieces, kept), move |(mut pieces, kept)| async move {
        tokio::time::sleep(pause).await;
        match pieces.pop_front() {
            Some(_) if breaks => Some((Err(std::io::Error::other("broken off")), (pieces, kept))),
            Some(piece) => Some((Ok(piece), (pieces, kept))),
            None if hangs => std::future::pending().await,
            None => None,
        }
    });
    Response::builder()
        .status(status)
        .header("content-type", content_type)
        .header(RESPONSE_NONCE_HEADER, nonce)
        .header("x-request-id", "r-1")
        .header("set-cookie", "evil=1")
        .body(Body::from_stream(pieces))
        .unwrap()
}
