//! The answer on its way to the caller: whole once it is proven, or piece by piece, with an end that only a proven
//! stream gets.

use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use cocoon_exchange::{Answer, AnswerError, Piece, Whole};
use cocoon_openapi::{CLIENT_NONCE_HEADER, COST_HEADER, PRIVACY_HEADER, RECEIPT_HEADER};
use cocoon_receipts::{Digest, NanoTon, Price, Receipt};
use futures_util::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, TRAILER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;

use crate::ask::Begun;
use crate::channel::purse::Part;
use crate::error::{self, Failure};
use crate::prices;

/// The keyset that the answer was sealed and signed under, and that was verified here.
pub const VERIFIED_KEYSET_HEADER: &str = "cocoon-verified-keyset";
/// Largest unstreamed answer, bytes.
const MAX_WHOLE: usize = 64 << 20;
/// How long an answer's end may take after its receipt.
const LET_GO: Duration = Duration::from_millis(250);
/// A connection that is broken off drops what was not flushed: the error event gets this long to leave.
const FLUSH: Duration = Duration::from_millis(50);

/// Why an answer is not handed on.
#[derive(Debug, thiserror::Error)]
enum BrokenAnswer {
    #[error(transparent)]
    Answer(#[from] AnswerError),
    #[error("the connection broke before its end: {0}")]
    Connection(#[from] hyper::Error),
    #[error("it stopped coming")]
    Timeout,
    #[error("its receipt charges more than the price list says")]
    Price,
    #[error("its receipt charges more than the channel's voucher was for")]
    Cost,
}

impl BrokenAnswer {
    fn failure(&self) -> Failure {
        tracing::warn!(error = %self, "answer is not handed on");
        // What the connection's error says in detail is for the log.
        let reason = match self {
            Self::Connection(_) => "the connection broke before its end".to_owned(),
            other => other.to_string(),
        };
        Failure::answer_not_verified(&reason)
    }
}

/// An answer as it arrives.
#[derive(Debug)]
struct Arriving {
    answer: Answer,
    body: Incoming,
    listed: Price,
    /// Of the channel, where that pays, until the receipt has come.
    part: Option<Part>,
    patience: Duration,
}

/// The proven end.
#[derive(Debug)]
struct End {
    receipt: String,
    claims: Box<Receipt>,
    rest: Bytes,
}

/// What came next.
#[derive(Debug)]
enum Next {
    Content(Bytes),
    End(End),
}

impl Arriving {
    async fn next(&mut self) -> Result<Next, BrokenAnswer> {
        loop {
            match self.answer.next_piece()? {
                // A frame of nothing but padding is nothing to the caller.
                Some(Piece::Content(bytes)) if bytes.is_empty() => {}
                Some(Piece::Content(bytes)) => return Ok(Next::Content(bytes)),
                Some(Piece::End { receipt, claims, rest }) => {
                    if prices::is_above(&claims.price, &self.listed) {
                        return Err(BrokenAnswer::Price);
                    }
                    if let Some(part) = self.part.take() {
                        // Dropped, it counts in full.
                        if claims.cost > part.amount() {
                            return Err(BrokenAnswer::Cost);
                        }
                        part.charge(claims.cost);
                    }
                    self.let_go().await?;
                    return Ok(Next::End(End { receipt, claims, rest }));
                }
                None => self.read().await?,
            }
        }
    }

    async fn read(&mut self) -> Result<(), BrokenAnswer> {
        match tokio::time::timeout(self.patience, self.body.frame()).await {
            Err(_) => Err(BrokenAnswer::Timeout),
            Ok(None) => {
                self.answer.finish()?;
                Err(AnswerError::Truncated.into())
            }
            Ok(Some(frame)) => {
                // Trailers repeat the receipt; the sealed copy is the one that proves the answer is whole.
                if let Ok(data) = frame?.into_data() {
                    self.answer.push(data);
                }
                Ok(())
            }
        }
    }

    /// Reads the body's end, which holds nothing more, so that its connection can be used again. One that does not come
    /// is of no concern, for the answer is whole; more of an answer is.
    async fn let_go(&mut self) -> Result<(), BrokenAnswer> {
        let ending = async {
            loop {
                if self.answer.next_piece()?.is_some() {
                    return Err(AnswerError::Trailing.into());
                }
                match self.body.frame().await {
                    None => return self.answer.finish().map_err(|_| AnswerError::Trailing.into()),
                    Some(Err(_)) => return Ok(()),
                    Some(Ok(frame)) => {
                        if let Ok(data) = frame.into_data() {
                            self.answer.push(data);
                        }
                    }
                }
            }
        };
        tokio::time::timeout(LET_GO, ending).await.unwrap_or(Ok(()))
    }
}

/// Hands the answer on.
///
/// # Errors
/// 502 where a whole answer does not hold. A stream tells of its failures itself.
pub async fn deliver(begun: Begun, patience: Duration) -> Result<Response, Failure> {
    let head = begun.answer.head().clone();
    let mut headers = error::passed_on(&begun.headers);
    headers.insert(HeaderName::from_static(PRIVACY_HEADER), HeaderValue::from_static("sealed"));
    headers.insert(HeaderName::from_static(CLIENT_NONCE_HEADER), header(&hex::encode(begun.nonce.0))?);
    headers.insert(HeaderName::from_static(VERIFIED_KEYSET_HEADER), digest_header(begun.keyset)?);
    headers.insert(CONTENT_TYPE, header(&head.content_type)?);
    let status = StatusCode::from_u16(head.status).map_err(|_| Failure::internal())?;
    let Begun { answer, body, listed, part, .. } = begun;
    let arriving = Arriving { answer, body, listed, part, patience };
    let body = if head.is_stream() {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(TRAILER, HeaderValue::from_static("Cocoon-Receipt, Cocoon-Cost"));
        streamed(arriving)
    } else {
        let (end, whole) = gather(arriving).await.map_err(|broken| broken.failure())?;
        headers.extend(receipt_headers(&end)?);
        if !status.is_success() && end.claims.cost != NanoTon::ZERO {
            // A failure that cost is not begun again by an SDK.
            headers.insert(error::SHOULD_RETRY, HeaderValue::from_static("false"));
        }
        Body::from(whole.close(&end.rest))
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

async fn gather(mut arriving: Arriving) -> Result<(End, Whole), BrokenAnswer> {
    let mut whole = Whole::default();
    loop {
        match arriving.next().await? {
            Next::Content(bytes) => whole.add(&bytes, MAX_WHOLE)?,
            Next::End(end) => return Ok((end, whole)),
        }
    }
}

enum Stage {
    Open(Box<Arriving>),
    Trailer(HeaderMap),
    Closed,
    /// The error was told; the stream must not look whole.
    Broken,
}

/// Dropped when the caller hangs up, which breaks off the request to the gateway.
fn streamed(arriving: Arriving) -> Body {
    let frames = stream::unfold(Stage::Open(Box::new(arriving)), |stage| async move {
        match stage {
            Stage::Open(arriving) => Some(advance(arriving).await),
            Stage::Trailer(trailers) => Some((Ok(Frame::trailers(trailers)), Stage::Closed)),
            Stage::Closed => None,
            Stage::Broken => {
                tokio::time::sleep(FLUSH).await;
                let error = io::Error::new(io::ErrorKind::InvalidData, "the answer could not be verified");
                Some((Err(error), Stage::Closed))
            }
        }
    });
    Body::new(StreamBody::new(frames))
}

async fn advance(mut arriving: Box<Arriving>) -> (io::Result<Frame<Bytes>>, Stage) {
    match arriving.next().await {
        Ok(Next::Content(bytes)) => (Ok(Frame::data(bytes)), Stage::Open(arriving)),
        Ok(Next::End(end)) => {
            // A receipt that was verified is text that fits a header.
            let trailers = receipt_headers(&end).unwrap_or_default();
            if end.rest.is_empty() {
                (Ok(Frame::trailers(trailers)), Stage::Closed)
            } else {
                (Ok(Frame::data(end.rest)), Stage::Trailer(trailers))
            }
        }
        Err(broken) => (Ok(Frame::data(broken.failure().to_event().into())), Stage::Broken),
    }
}

/// Receipt and cost, as headers or trailers.
fn receipt_headers(end: &End) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    headers.insert(HeaderName::from_static(RECEIPT_HEADER), header(&end.receipt)?);
    headers.insert(HeaderName::from_static(COST_HEADER), HeaderValue::from(end.claims.cost.0));
    Ok(headers)
}

fn digest_header(digest: Digest) -> Result<HeaderValue, Failure> {
    header(&digest.to_string())
}

fn header(text: &str) -> Result<HeaderValue, Failure> {
    HeaderValue::from_str(text).map_err(|_| Failure::internal())
}
