//! Step 6: bind the hold, issue a ticket, seal the body, send it; again elsewhere only where no backend can have
//! admitted it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cocoon_ledger::{Bind, Bound, Ledger, ReleaseReason};
use cocoon_openapi::x_conf::{self, ClientNonce, XConf};
use cocoon_openapi::{KEY_DIGEST_HEADER, MODEL_HEADER, REQUEST_ID_HEADER, TICKET_HEADER};
use cocoon_receipts::{AccountTagKey, Digest, Price};
use cocoon_sealing::{
    ENCAPSULATED_KEY_HEADER, RESPONSE_NONCE_HEADER, RequestSealer, ResponseOpener, SealingError, encode_hex,
    parse_response_nonce,
};
use http::header::{ACCEPT, CONTENT_TYPE, TE};
use http::uri::Authority;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::admit::{Admitted, store_failure};
use crate::clock::now_ms;
use crate::error::Failure;
use crate::keys::Keys;
use crate::route::{Chosen, Fleet};
use crate::ticket::{self, Attempt, SignedTicket, Terms};

/// Client of the hop: plain HTTP, since every body on it is sealed.
pub type HttpClient = Client<HttpConnector, Full<Bytes>>;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Attempts at one request, the first included.
const MAX_ATTEMPTS: u32 = 3;
/// How long a request waits for a backend that is being verified.
pub const PATIENCE: Duration = Duration::from_secs(3);
/// Plain bytes of one request frame.
const FRAME: usize = 256 * 1024;

/// The client of the hop: kept-alive connections without Nagle's delay.
#[must_use]
pub fn http_client() -> HttpClient {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .build(connector)
}

/// What a request is, apart from who takes it.
#[derive(Debug)]
pub struct Outgoing<'a> {
    pub path: &'static str,
    /// The backends' name of the model.
    pub model: &'a str,
    pub price: Price,
    /// Of the caller's API key.
    pub tag_key: &'a AccountTagKey,
    /// The client's bytes.
    pub body: &'a [u8],
    pub nonce: ClientNonce,
    pub accept: Option<&'a HeaderValue>,
    pub lease: Duration,
}

/// A request that a backend has opened, and the sealed answer that comes back.
#[derive(Debug)]
pub struct Exchange {
    pub response: Response<Incoming>,
    pub opener: ResponseOpener,
    pub ticket: SignedTicket,
    pub chosen: Chosen,
    /// SHA-256 over the request's frames.
    pub req_hash: Digest,
    /// SHA-256 of the client's nonce.
    pub cn: Digest,
}

/// What sending needs.
#[derive(Debug)]
pub struct Sender {
    pub client: HttpClient,
    pub fleet: Arc<Fleet>,
    pub ledger: Arc<dyn Ledger>,
    pub keys: Arc<Keys>,
}

/// How one attempt ended.
enum Sent {
    Opened(Box<Exchange>),
    /// No backend can have admitted it: another may be asked.
    NotAdmitted,
    /// Perhaps admitted, or refused for good.
    Failed {
        admitted: bool,
    },
}

impl Sender {
    /// Sends until a backend has opened the request.
    ///
    /// # Errors
    /// 503 where no backend takes it, 502 where one failed, 503 where the store does not answer.
    pub async fn send(&self, mut admitted: Admitted, outgoing: &Outgoing<'_>) -> Result<Exchange, Failure> {
        let mut tried: Vec<Authority> = Vec::new();
        for number in 1..=MAX_ATTEMPTS {
            let Some(chosen) = self.fleet.choose_within(outgoing.model, &tried, PATIENCE).await else {
                break;
            };
            let authority = chosen.backend.authority.clone();
            self.bind(&admitted, number, chosen.attested.verdict.digest, outgoing.lease).await?;
            match self.attempt(&mut admitted, number, chosen, outgoing).await? {
                Sent::Opened(exchange) => return Ok(*exchange),
                Sent::NotAdmitted => {}
                Sent::Failed { admitted: false } => {
                    admitted.release(ReleaseReason::Rejected).await;
                    return Err(Failure::backend_refused());
                }
                Sent::Failed { admitted: true } => return Err(Failure::backend_failed()),
            }
            // A backend whose keys were stale is back in the fleet, under new keys, once it was verified again.
            if self
                .fleet
                .backends()
                .iter()
                .any(|backend| backend.authority == authority && backend.attested().is_some())
            {
                tried.push(authority);
            }
        }
        admitted.release(ReleaseReason::NoBackend).await;
        Err(Failure::no_backend())
    }

    async fn bind(
        &self,
        admitted: &Admitted,
        attempt: u32,
        keyset: Digest,
        lease: Duration,
    ) -> Result<(), Failure> {
        let bind =
            Bind { account: admitted.key.sub.clone(), request: admitted.request, attempt, keyset, lease };
        match self.ledger.bind(&bind).await {
            Ok(Bound::Bound) => Ok(()),
            Ok(Bound::Superseded | Bound::Gone) => {
                tracing::error!(request = %admitted.request, "the hold ended before the request was sent");
                Err(Failure::internal())
            }
            Err(error) => Err(store_failure(&error, "bind", admitted.request)),
        }
    }

    async fn attempt(
        &self,
        admitted: &mut Admitted,
        number: u32,
        chosen: Chosen,
        outgoing: &Outgoing<'_>,
    ) -> Result<Sent, Failure> {
        let request_id = admitted.request;
        let keyset = chosen.attested.verdict.digest;
        let internal = |error: &dyn std::fmt::Display| {
            tracing::error!(%error, request = %request_id, "request could not be sealed");
            Failure::internal()
        };
        let sealer = RequestSealer::new(&chosen.attested.hpke).map_err(|error| internal(&error))?;
        let acct = outgoing.tag_key.tag(sealer.encapsulated_key());
        let context = XConf {
            v: 1,
            nonce: outgoing.nonce,
            ts: now_ms(),
            path: outgoing.path.to_owned(),
            model: outgoing.model.to_owned(),
            keyset,
            price_max: None,
            max_cost: Some(admitted.hold),
            acct: Some(acct),
            pad: None,
        };
        let plain = x_conf::insert(outgoing.body, &context).map_err(|error| internal(&error))?;
        let (sealer, body) = seal(sealer, &plain).map_err(|error| internal(&error))?;
        let attempt = Attempt { number, keyset, enc: Digest::of(&[sealer.encapsulated_key()]), acct };
        let terms = Terms {
            request: request_id,
            key: &admitted.key,
            shard: self.ledger.shards().of(&admitted.key.sub).0,
            path: outgoing.path,
            model: outgoing.model,
            price: outgoing.price,
            max_cost: admitted.hold,
        };
        let ticket = ticket::issue(&self.keys, &terms, attempt).map_err(|error| internal(&error))?;
        let req_hash = Digest::of(&[&body]);

        let uri = format!("http://{}{}", chosen.backend.authority, outgoing.path);
        // The allow-list of the hop: nothing else of the client's request crosses it.
        let mut request = Request::post(uri)
            .header(CONTENT_TYPE, "application/json")
            .header(TE, "trailers")
            .header(ENCAPSULATED_KEY_HEADER, encode_hex(sealer.encapsulated_key()))
            .header(KEY_DIGEST_HEADER, keyset.to_string())
            .header(MODEL_HEADER, outgoing.model)
            .header(TICKET_HEADER, &ticket.token)
            .header(REQUEST_ID_HEADER, request_id.to_string());
        if let Some(accept) = outgoing.accept {
            request = request.header(ACCEPT, accept);
        }
        let request = request.body(Full::new(body)).map_err(|error| internal(&error))?;

        // Once it is on its way only the receipt, or the lease, may end the hold.
        admitted.sent();
        let response = match self.client.request(request).await {
            Ok(response) => response,
            Err(error) if error.is_connect() => {
                tracing::warn!(backend = %chosen.backend.authority, %error, request = %request_id, "cannot connect");
                chosen.backend.suspect(keyset);
                return Ok(Sent::NotAdmitted);
            }
            Err(error) => {
                tracing::warn!(backend = %chosen.backend.authority, %error, request = %request_id, "backend broke off");
                chosen.backend.suspect(keyset);
                return Ok(Sent::Failed { admitted: true });
            }
        };
        let status = response.status();
        let Some(nonce) = response.headers().get(RESPONSE_NONCE_HEADER) else {
            tracing::warn!(
                backend = %chosen.backend.authority, status = status.as_u16(), request = %request_id,
                "backend refused the request"
            );
            return Ok(match status {
                StatusCode::UNPROCESSABLE_ENTITY => {
                    chosen.backend.suspect(keyset);
                    Sent::NotAdmitted
                }
                StatusCode::SERVICE_UNAVAILABLE => Sent::NotAdmitted,
                _ => Sent::Failed { admitted: false },
            });
        };
        let opener = nonce
            .to_str()
            .ok()
            .and_then(|text| parse_response_nonce(text).ok())
            .and_then(|nonce| sealer.response_opener(&nonce).ok());
        let Some(opener) = opener else {
            tracing::warn!(backend = %chosen.backend.authority, request = %request_id, "response nonce is not one");
            return Ok(Sent::Failed { admitted: true });
        };
        let cn = Digest::of(&[&outgoing.nonce.0]);
        Ok(Sent::Opened(Box::new(Exchange { response, opener, ticket, chosen, req_hash, cn })))
    }
}

fn seal(mut sealer: RequestSealer, plain: &[u8]) -> Result<(RequestSealer, Bytes), SealingError> {
    let mut body = Vec::with_capacity(plain.len() + 64);
    for piece in plain.chunks(FRAME) {
        body.extend_from_slice(&sealer.seal(piece)?);
    }
    Ok((sealer, body.into()))
}
