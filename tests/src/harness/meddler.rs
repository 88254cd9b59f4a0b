//! A gateway in between that changes sealed answers frame by frame, as whoever carries them could; all ends cleanly, as
//! HTTP sees it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use bytes::Bytes;
use cocoon_sealing::{FrameLimits, FrameReader, RESPONSE_NONCE_HEADER};
use http::{StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A sealed answer: its frames with their length prefixes, and what HTTP says of it.
#[derive(Debug)]
pub(crate) struct Carried {
    pub(crate) status: StatusCode,
    pub(crate) content_type: String,
    pub(crate) frames: Vec<Bytes>,
}

type Change = dyn Fn(&mut Carried) + Send + Sync;

/// Ends when dropped.
pub(crate) struct Meddler {
    address: SocketAddr,
    carrier: Arc<Carrier>,
    _task: JoinSet<()>,
}

struct Carrier {
    origin: String,
    http: hyper_util::client::legacy::Client<HttpConnector, Full<Bytes>>,
    change: Mutex<Arc<Change>>,
    frames: Mutex<usize>,
}

impl Meddler {
    /// Carries to `origin`, and changes nothing yet.
    pub(crate) async fn start(origin: &str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let http =
            hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(HttpConnector::new());
        let carrier = Arc::new(Carrier {
            origin: origin.to_owned(),
            http,
            change: Mutex::new(Arc::new(|_: &mut Carried| ())),
            frames: Mutex::new(0),
        });
        let app = Router::new().fallback(carry).with_state(Arc::clone(&carrier));
        let mut task = JoinSet::new();
        task.spawn(async move {
            // Ends with the test.
            let _ = axum::serve(listener, app).await;
        });
        Ok(Self { address, carrier, _task: task })
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What happens to sealed answers from now on.
    pub(crate) fn change(&self, change: impl Fn(&mut Carried) + Send + Sync + 'static) {
        *self.carrier.change.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(change);
    }

    /// How many frames the last sealed answer had, as it came.
    pub(crate) fn frames(&self) -> usize {
        *self.carrier.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn carry(State(carrier): State<Arc<Carrier>>, request: Request) -> axum::response::Response {
    match carrier.carry(request).await {
        Ok(response) => response,
        Err(error) => {
            eprintln!("the meddler could not carry: {error:?}");
            let mut response = axum::response::Response::default();
            *response.status_mut() = StatusCode::BAD_GATEWAY;
            response
        }
    }
}

impl Carrier {
    async fn carry(&self, request: Request) -> anyhow::Result<axum::response::Response> {
        let (mut parts, body) = request.into_parts();
        let question = body.collect().await?.to_bytes();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        parts.uri = format!("{}{path}", self.origin).parse()?;
        for name in [header::HOST, header::CONNECTION, header::TRANSFER_ENCODING, header::CONTENT_LENGTH] {
            parts.headers.remove(name);
        }
        let answer = self.http.request(Request::from_parts(parts, Full::new(question))).await?;
        let (mut parts, body) = answer.into_parts();
        for name in [header::CONNECTION, header::TRANSFER_ENCODING, header::CONTENT_LENGTH, header::TRAILER] {
            parts.headers.remove(name);
        }
        let mut body = body.collect().await?.to_bytes();
        if parts.headers.contains_key(RESPONSE_NONCE_HEADER) {
            let content_type =
                parts.headers.get(header::CONTENT_TYPE).map_or(Ok(""), |value| value.to_str())?;
            let mut carried = Carried {
                status: parts.status,
                content_type: content_type.to_owned(),
                frames: frames(&body)?,
            };
            *self.frames.lock().unwrap_or_else(PoisonError::into_inner) = carried.frames.len();
            let change = Arc::clone(&self.change.lock().unwrap_or_else(PoisonError::into_inner));
            change(&mut carried);
            parts.status = carried.status;
            parts.headers.insert(header::CONTENT_TYPE, carried.content_type.parse()?);
            body = carried.frames.concat().into();
        }
        Ok(axum::response::Response::from_parts(parts, Body::from(body)))
    }
}

fn frames(body: &Bytes) -> anyhow::Result<Vec<Bytes>> {
    let mut reader = FrameReader::new(FrameLimits { max_frame: 1 << 24, max_total: 1 << 28, max_empty: 10 });
    reader.push(body.clone());
    let mut frames = Vec::new();
    while let Some(frame) = reader.next()? {
        let length = u32::try_from(frame.len())?.to_be_bytes();
        frames.push([&length[..], &frame].concat().into());
    }
    Ok(frames)
}
