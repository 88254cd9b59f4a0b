//! One attempt on the hop to a backend: the hold is bound, a ticket signed, a sealed body sent under the headers that
//! may cross, and the answer's head judged. Who sealed the body makes no difference here.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use cocoon_ledger::{Bind, Bound, Ledger};
use cocoon_openapi::{KEY_DIGEST_HEADER, MODEL_HEADER, REQUEST_ID_HEADER, TICKET_HEADER};
use cocoon_receipts::{AccountTagKey, Digest, Price};
use cocoon_sealing::{ENCAPSULATED_KEY_HEADER, RESPONSE_NONCE_HEADER, parse_response_nonce};
use http::header::{ACCEPT, CONTENT_TYPE, TE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::admit::{Admitted, store_failure};
use crate::error::Failure;
use crate::keys::Keys;
use crate::relay::{Attempt as RelayedBody, BodyError};
use crate::route::{Chosen, Fleet};
use crate::ticket::{self, SignedTicket, Terms};

/// Client of the hop: plain HTTP, since every body on it is sealed.
pub type HttpClient = Client<HttpConnector, HopBody>;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Attempts at one request, the first included.
pub const MAX_ATTEMPTS: u32 = 3;
/// How long a request waits for a backend that is being verified.
pub const PATIENCE: Duration = Duration::from_secs(3);

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

/// A request's body on the hop.
#[derive(Debug)]
pub enum HopBody {
    /// Sealed here, or nothing.
    Whole(Full<Bytes>),
    /// The client's own ciphertext, as it comes.
    Relayed(RelayedBody),
}

impl Default for HopBody {
    fn default() -> Self {
        Self::Whole(Full::default())
    }
}

impl Body for HopBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Whole(whole) => Pin::new(whole)
                .poll_frame(context)
                .map(|frame| frame.map(|frame| frame.map_err(|e| match e {}))),
            Self::Relayed(relayed) => Pin::new(relayed).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(whole) => whole.is_end_stream(),
            Self::Relayed(relayed) => relayed.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(whole) => whole.size_hint(),
            Self::Relayed(relayed) => relayed.size_hint(),
        }
    }
}

/// What a request is, apart from who takes it and how its body is sealed.
#[derive(Debug)]
pub struct Errand<'a> {
    pub path: &'static str,
    /// The backends' name of the model.
    pub model: &'a str,
    pub price: Price,
    /// Of the caller's API key.
    pub tag_key: &'a AccountTagKey,
    pub content_type: Option<&'a HeaderValue>,
    pub accept: Option<&'a HeaderValue>,
    pub lease: Duration,
}

/// A sealed body, for one attempt.
#[derive(Debug)]
pub struct Envelope<'a> {
    /// The encapsulated key's bytes.
    pub enc: &'a [u8],
    /// The same as its header has it.
    pub enc_header: HeaderValue,
    /// Whether the body is known to be sealed to the keyset that was chosen: another is then refused at once.
    pub names_keyset: bool,
    pub body: HopBody,
}

/// How an attempt ended.
#[derive(Debug)]
pub enum Outcome {
    /// The backend has opened the request.
    Answered(Box<Answered>),
    /// It said in the clear that it will not: nothing was generated.
    Refused(StatusCode),
    /// No connection could be made: nothing was sent.
    Unreachable,
    /// Perhaps admitted.
    Broken,
}

/// A sealed answer that has begun.
#[derive(Debug)]
pub struct Answered {
    pub response: Response<Incoming>,
    /// The response nonce, well-formed.
    pub nonce: String,
    pub ticket: SignedTicket,
}

/// What sending needs.
#[derive(Debug)]
pub struct Sender {
    pub client: HttpClient,
    pub fleet: Arc<Fleet>,
    pub ledger: Arc<dyn Ledger>,
    pub keys: Arc<Keys>,
}

impl Sender {
    /// Sends `envelope` to `chosen` as attempt `number`.
    ///
    /// # Errors
    /// 503 where the store does not answer, 500 where no ticket can be made; nothing was sent then.
    pub async fn attempt(
        &self,
        admitted: &mut Admitted,
        number: u32,
        chosen: &Chosen,
        errand: &Errand<'_>,
        envelope: Envelope<'_>,
    ) -> Result<Outcome, Failure> {
        let keyset = chosen.attested.digest();
        self.bind(admitted, number, keyset, errand.lease).await?;
        let ticket = self.ticket(admitted, number, keyset, errand, envelope.enc)?;
        let request = hop_request(admitted, chosen, errand, envelope, &ticket)?;
        // Once it is on its way only the receipt, or the lease, may end the hold.
        admitted.sent();
        let (backend, request_id) = (&chosen.backend, admitted.request);
        let response = match self.client.request(request).await {
            Ok(response) => response,
            Err(error) if error.is_connect() => {
                tracing::warn!(backend = %backend.authority, %error, request = %request_id, "cannot connect");
                backend.suspect(keyset);
                return Ok(Outcome::Unreachable);
            }
            // The client's doing says nothing of the backend.
            Err(error) if is_of_our_body(&error) => return Ok(Outcome::Broken),
            Err(error) => {
                tracing::warn!(backend = %backend.authority, %error, request = %request_id, "backend broke off");
                backend.suspect(keyset);
                return Ok(Outcome::Broken);
            }
        };
        let status = response.status();
        let Some(nonce) = response.headers().get(RESPONSE_NONCE_HEADER) else {
            tracing::warn!(
                backend = %backend.authority, status = status.as_u16(), request = %request_id,
                "backend refused the request"
            );
            return Ok(Outcome::Refused(status));
        };
        let nonce = nonce.to_str().ok().filter(|text| parse_response_nonce(text).is_ok()).map(str::to_owned);
        let Some(nonce) = nonce else {
            tracing::warn!(backend = %backend.authority, request = %request_id, "response nonce is not one");
            return Ok(Outcome::Broken);
        };
        Ok(Outcome::Answered(Box::new(Answered { response, nonce, ticket })))
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

    fn ticket(
        &self,
        admitted: &Admitted,
        number: u32,
        keyset: Digest,
        errand: &Errand<'_>,
        enc: &[u8],
    ) -> Result<SignedTicket, Failure> {
        let attempt =
            ticket::Attempt { number, keyset, enc: Digest::of(&[enc]), acct: errand.tag_key.tag(enc) };
        let terms = Terms {
            request: admitted.request,
            key: &admitted.key,
            shard: self.ledger.shards().of(&admitted.key.sub).0,
            path: errand.path,
            model: errand.model,
            price: errand.price,
            max_cost: admitted.hold,
        };
        ticket::issue(&self.keys, &terms, attempt).map_err(|error| not_sent(admitted, &error))
    }
}

/// The allow-list of the hop: nothing else of the client's request crosses it.
fn hop_request(
    admitted: &Admitted,
    chosen: &Chosen,
    errand: &Errand<'_>,
    envelope: Envelope<'_>,
    ticket: &SignedTicket,
) -> Result<Request<HopBody>, Failure> {
    let mut request = Request::post(format!("http://{}{}", chosen.backend.authority, errand.path))
        .header(TE, "trailers")
        .header(ENCAPSULATED_KEY_HEADER, envelope.enc_header)
        .header(MODEL_HEADER, errand.model)
        .header(TICKET_HEADER, &ticket.token)
        .header(REQUEST_ID_HEADER, admitted.request.to_string());
    if envelope.names_keyset {
        request = request.header(KEY_DIGEST_HEADER, chosen.attested.digest().to_string());
    }
    for (name, value) in [(CONTENT_TYPE, errand.content_type), (ACCEPT, errand.accept)] {
        if let Some(value) = value {
            request = request.header(name, value);
        }
    }
    request.body(envelope.body).map_err(|error| not_sent(admitted, &error))
}

/// A request that fails before it is sent.
pub(crate) fn not_sent(admitted: &Admitted, error: &dyn std::fmt::Display) -> Failure {
    tracing::error!(%error, request = %admitted.request, "request could not be sent");
    Failure::internal()
}

/// Whether the request's own body is the cause, however deep.
fn is_of_our_body(error: &ClientError) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<BodyError>() {
            return true;
        }
        cause = error.source();
    }
    false
}
