//! A reverse proxy between a client and the gateway that hands every answer on as it comes, and keeps a copy.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::serve::ListenerExt as _;
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Frame};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// One question and its answer, as `tests/clients/judge.py` reads it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Exchange {
    pub(crate) method: String,
    pub(crate) path: String,
    /// For the reader of a violation.
    pub(crate) request: String,
    pub(crate) status: u16,
    pub(crate) content_type: Option<String>,
    pub(crate) encoding: Option<String>,
    pub(crate) body: String,
    /// Whether the answer came to its end; else the client left, or the gateway did.
    pub(crate) whole: bool,
}

type Exchanges = Arc<Mutex<Vec<Exchange>>>;

/// Ends when dropped.
pub(crate) struct Recorder {
    address: SocketAddr,
    exchanges: Exchanges,
    _task: JoinSet<()>,
}

struct Relay {
    origin: String,
    http: hyper_util::client::legacy::Client<HttpConnector, Full<Bytes>>,
    exchanges: Exchanges,
}

impl Recorder {
    /// Relays to `origin`, like `http://127.0.0.1:8080`.
    pub(crate) async fn start(origin: &str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let exchanges = Exchanges::default();
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(connector);
        let relay = Arc::new(Relay { origin: origin.to_owned(), http, exchanges: Arc::clone(&exchanges) });
        let app = Router::new().fallback(pass_on).with_state(relay);
        let mut task = JoinSet::new();
        task.spawn(async move {
            // Ends with the test.
            let _ = axum::serve(listener.tap_io(|connection| drop(connection.set_nodelay(true))), app).await;
        });
        Ok(Self { address, exchanges, _task: task })
    }

    pub(crate) fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// What ended so far.
    pub(crate) fn exchanges(&self) -> Vec<Exchange> {
        self.exchanges.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn pass_on(State(relay): State<Arc<Relay>>, request: Request) -> axum::response::Response {
    match relay.pass_on(request).await {
        Ok(response) => response,
        Err(error) => {
            eprintln!("the recorder could not relay: {error:?}");
            let mut response = axum::response::Response::default();
            *response.status_mut() = StatusCode::BAD_GATEWAY;
            response
        }
    }
}

impl Relay {
    async fn pass_on(&self, request: Request) -> anyhow::Result<axum::response::Response> {
        let (mut parts, body) = request.into_parts();
        // Questions are small and come at once; only answers are streams.
        let question = body.collect().await?.to_bytes();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let mut exchange = Exchange {
            method: parts.method.to_string(),
            path: path.clone(),
            request: String::from_utf8_lossy(&question).into_owned(),
            status: 0,
            content_type: None,
            encoding: None,
            body: String::new(),
            whole: false,
        };
        parts.uri = format!("{}{path}", self.origin).parse()?;
        for name in [header::HOST, header::CONNECTION, header::TRANSFER_ENCODING, header::CONTENT_LENGTH] {
            parts.headers.remove(name);
        }
        let answer = self.http.request(Request::from_parts(parts, Full::new(question))).await?;
        let (mut parts, body) = answer.into_parts();
        exchange.status = parts.status.as_u16();
        exchange.content_type = text(&parts.headers, header::CONTENT_TYPE);
        exchange.encoding = text(&parts.headers, header::CONTENT_ENCODING);
        for name in [header::CONNECTION, header::TRANSFER_ENCODING] {
            parts.headers.remove(name);
        }
        let copied =
            Copied { body, bytes: Vec::new(), exchange, exchanges: Arc::clone(&self.exchanges), kept: false };
        Ok(axum::response::Response::from_parts(parts, Body::new(copied)))
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

/// An answer on its way; kept once it ends, or is dropped.
struct Copied {
    body: hyper::body::Incoming,
    bytes: Vec<u8>,
    exchange: Exchange,
    exchanges: Exchanges,
    kept: bool,
}

impl Copied {
    fn keep(&mut self, whole: bool) {
        if !std::mem::replace(&mut self.kept, true) {
            let body = String::from_utf8_lossy(&self.bytes).into_owned();
            let exchange = Exchange { body, whole, ..self.exchange.clone() };
            self.exchanges.lock().unwrap_or_else(PoisonError::into_inner).push(exchange);
        }
    }
}

impl hyper::body::Body for Copied {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    self.bytes.extend_from_slice(data);
                }
                // Whoever has sent trailers, or a body whose length it knew, does not ask for the end any more.
                if frame.is_trailers() || self.body.is_end_stream() {
                    self.keep(true);
                }
            }
            // Kept before the client can see the end.
            Poll::Ready(None) => self.keep(true),
            Poll::Ready(Some(Err(_))) => self.keep(false),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        // An answer without a body is never asked for a frame.
        let whole = self.body.is_end_stream();
        self.keep(whole);
    }
}
