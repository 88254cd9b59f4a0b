//! The sealed answer on its way out: frames, the hash over them, the receipt's trailer.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use cocoon_openapi::RECEIPT_HEADER;
use cocoon_receipts::Digest;
use cocoon_sealing::{RESPONSE_NONCE_HEADER, ResponseSealer, encode_hex};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use http_body::Frame;
use sha2::Digest as _;
use tokio::sync::{mpsc, oneshot};

use crate::refusal::Refusal;

/// Frames that wait for a slow reader; then the generation's task waits too.
const QUEUE: usize = 16;

/// Nobody reads the answer any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HungUp;

/// Status and type of the answer, the same inside and outside the seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
}

enum Part {
    Frame(Bytes),
    /// The end. A body without one is broken off, so that truncation shows.
    Receipt(HeaderValue),
}

/// The writing end.
#[derive(Debug)]
pub(crate) struct Reply {
    sealer: ResponseSealer,
    hash: sha2::Sha256,
    frames: u64,
    head: Option<oneshot::Sender<Head>>,
    parts: mpsc::Sender<Part>,
}

/// The reading end, as an HTTP response.
#[derive(Debug)]
pub(crate) struct Reader {
    nonce: [u8; 32],
    head: oneshot::Receiver<Head>,
    parts: mpsc::Receiver<Part>,
}

/// An answer that is sealed with `sealer`, and its reader.
pub(crate) fn channel(sealer: ResponseSealer) -> (Reply, Reader) {
    let nonce = *sealer.nonce();
    let (head_sender, head) = oneshot::channel();
    let (sender, parts) = mpsc::channel(QUEUE);
    let reply =
        Reply { sealer, hash: sha2::Sha256::new(), frames: 0, head: Some(head_sender), parts: sender };
    (reply, Reader { nonce, head, parts })
}

impl Reply {
    /// Sends the response's head, once.
    pub(crate) fn begin(&mut self, head: Head) {
        if let Some(sender) = self.head.take() {
            // A reader that is gone shows at the first frame.
            let _ = sender.send(head);
        }
    }

    /// Resolves once nobody reads any more.
    pub(crate) async fn closed(&self) {
        self.parts.closed().await;
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.parts.is_closed()
    }

    /// Seals and sends a frame; waits while the reader is slow. Where the future is dropped, nothing has been sealed.
    ///
    /// # Errors
    /// [`HungUp`].
    pub(crate) async fn frame(&mut self, plaintext: &[u8]) -> Result<(), HungUp> {
        let place = self.parts.reserve().await.map_err(|_| HungUp)?;
        let frame = self.sealer.seal(plaintext).map_err(|_| HungUp)?;
        self.hash.update(&frame);
        self.frames += 1;
        place.send(Part::Frame(frame));
        Ok(())
    }

    /// SHA-256 over the frames so far, and how many they were.
    pub(crate) fn sent(&self) -> (Digest, u64) {
        (Digest(self.hash.clone().finalize().into()), self.frames)
    }

    /// Sends the frame that carries the receipt, and the receipt as trailer.
    ///
    /// # Errors
    /// [`HungUp`].
    pub(crate) async fn end(mut self, plaintext: &[u8], receipt: &str) -> Result<(), HungUp> {
        self.frame(plaintext).await?;
        let receipt = HeaderValue::from_str(receipt).map_err(|_| HungUp)?;
        self.parts.send(Part::Receipt(receipt)).await.map_err(|_| HungUp)
    }
}

impl Reader {
    /// Waits for the head; the body follows as it comes.
    ///
    /// # Errors
    /// [`Refusal::Lost`] where the writing end was dropped before.
    pub(crate) async fn response(self) -> Result<Response, Refusal> {
        let Self { nonce, head, parts } = self;
        let body = ReplyBody { parts, ended: false };
        // The body is made first: dropped while this waits, it tells the writing end.
        let head = head.await.map_err(|_| Refusal::Lost)?;
        let mut response = Response::new(Body::new(body));
        *response.status_mut() =
            StatusCode::from_u16(head.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let nonce = HeaderValue::from_str(&encode_hex(&nonce)).map_err(|_| Refusal::Lost)?;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(head.content_type));
        headers.insert(RESPONSE_NONCE_HEADER, nonce);
        // HTTP/1.1 sends only trailers that were declared (RFC 9110 section 6.6.2).
        headers.insert(header::TRAILER, HeaderValue::from_static("Cocoon-Receipt"));
        Ok(response)
    }
}

struct ReplyBody {
    parts: mpsc::Receiver<Part>,
    ended: bool,
}

impl http_body::Body for ReplyBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let body = self.get_mut();
        if body.ended {
            return Poll::Ready(None);
        }
        body.parts.poll_recv(context).map(|part| {
            Some(match part {
                Some(Part::Frame(frame)) => Ok(Frame::data(frame)),
                Some(Part::Receipt(receipt)) => {
                    body.ended = true;
                    let name = HeaderName::from_static(RECEIPT_HEADER);
                    Ok(Frame::trailers(HeaderMap::from_iter([(name, receipt)])))
                }
                None => {
                    body.ended = true;
                    Err(std::io::Error::other("the answer broke off"))
                }
            })
        })
    }
}
