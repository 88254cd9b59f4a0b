//! Step 7: the answer, frame by frame. Every frame is opened and handed on as it comes; the last one carries the
//! receipt, and an answer without it is not whole.

use std::time::Duration;

use bytes::Bytes;
use cocoon_openapi::ApiError;
use cocoon_receipts::{Digest, Receipt, body_digest, check_against_ticket};
use cocoon_sealing::{FrameLimits, FrameReader};
use http_body::Frame;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use sha2::{Digest as _, Sha256};

use crate::send::Exchange;

/// Largest sealed frame that a backend may send, bytes. A JSON answer is one frame.
const MAX_FRAME: usize = 32 << 20;
/// Most bytes of one answer.
const MAX_TOTAL: u64 = 1 << 30;
const MAX_EMPTY: u32 = 1024;
/// How long an answer's end may take after its receipt.
const LET_GO: Duration = Duration::from_millis(250);

/// How the frame that carries the receipt begins, in a stream and in a JSON answer. No other frame of either begins
/// so: an event begins with `data:` or a keep-alive comment, JSON with its brace.
const STREAM_RECEIPT: &[u8] = b": receipt ";
const JSON_RECEIPT: &[u8] = b",\"x_receipt\":\"";

/// Why an answer is not handed on. For the log.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    #[error("the connection broke: {0}")]
    Connection(#[from] hyper::Error),
    #[error("a frame is malformed: {0}")]
    Frame(#[from] cocoon_sealing::FrameError),
    #[error("a frame does not open")]
    Tampered,
    #[error("the answer ended without its receipt")]
    Truncated,
    #[error("the receipt does not fit the answer: {0}")]
    Receipt(&'static str),
    #[error("the answer is larger than this gateway hands on")]
    TooLarge,
}

/// A piece of the answer.
#[derive(Debug)]
pub enum Piece {
    Content(Bytes),
    /// The last piece: the receipt's JWS, checked against all that came before it, and what follows it for the client.
    End {
        receipt: String,
        checked: Box<Receipt>,
        rest: Bytes,
    },
}

/// Opens the frames of one exchange in order.
#[derive(Debug)]
pub struct Answer {
    exchange: Exchange,
    reader: FrameReader,
    resp_hash: Sha256,
    resp_frames: u64,
    /// [`body_digest`] of what the client sent.
    body: Digest,
    status: u16,
    ctype: String,
    ended: bool,
}

impl Answer {
    /// `nonce` and `client_body` are what the receipt must be for.
    #[must_use]
    pub fn new(exchange: Exchange, nonce: &[u8; 32], client_body: &[u8]) -> Self {
        let ctype = exchange.response.headers().get(http::header::CONTENT_TYPE);
        Self {
            reader: FrameReader::new(FrameLimits {
                max_frame: MAX_FRAME,
                max_total: MAX_TOTAL,
                max_empty: MAX_EMPTY,
            }),
            resp_hash: Sha256::new(),
            resp_frames: 0,
            body: body_digest(nonce, client_body),
            status: exchange.response.status().as_u16(),
            ctype: ctype.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned(),
            ended: false,
            exchange,
        }
    }

    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    #[must_use]
    pub fn content_type(&self) -> &str {
        &self.ctype
    }

    #[must_use]
    pub fn is_stream(&self) -> bool {
        self.ctype.starts_with("text/event-stream")
    }

    /// JWS of the ticket this answer was sent for.
    #[must_use]
    pub fn ticket(&self) -> &str {
        &self.exchange.ticket.token
    }

    /// The next piece; none after [`Piece::End`].
    ///
    /// # Errors
    /// [`AnswerError`]: nothing after it is handed on.
    pub async fn next(&mut self) -> Result<Option<Piece>, AnswerError> {
        if self.ended {
            return Ok(None);
        }
        loop {
            if let Some(ciphertext) = self.reader.next()? {
                return self.open(&ciphertext).map(Some);
            }
            match self.body_mut().frame().await {
                None => {
                    self.reader.finish()?;
                    return Err(AnswerError::Truncated);
                }
                Some(frame) => {
                    // Trailers repeat the receipt; the sealed copy is the one that proves the answer is whole.
                    if let Ok(data) = frame?.into_data() {
                        self.reader.push(data);
                    }
                }
            }
        }
    }

    /// Reads the end of the body, which holds nothing more, so that its connection can be used again. One that does not
    /// come to its end at once is closed instead.
    pub async fn let_go(&mut self) {
        let rest = async {
            while let Some(frame) = self.body_mut().frame().await {
                if frame.is_ok_and(|frame| frame.is_data()) {
                    return;
                }
            }
        };
        // Either way the answer is whole: its receipt said so.
        let _ = tokio::time::timeout(LET_GO, rest).await;
    }

    fn body_mut(&mut self) -> &mut Incoming {
        self.exchange.response.body_mut()
    }

    fn open(&mut self, ciphertext: &Bytes) -> Result<Piece, AnswerError> {
        let plain = Bytes::from(self.exchange.opener.open(ciphertext).map_err(|_| AnswerError::Tampered)?);
        let prefix = if self.is_stream() { STREAM_RECEIPT } else { JSON_RECEIPT };
        if !plain.starts_with(prefix) {
            let length = u32::try_from(ciphertext.len()).map_err(|_| AnswerError::TooLarge)?;
            self.resp_hash.update(length.to_be_bytes());
            self.resp_hash.update(ciphertext);
            self.resp_frames += 1;
            return Ok(Piece::Content(plain));
        }
        self.ended = true;
        let after = plain.slice(prefix.len()..);
        let end = after.iter().position(|byte| matches!(byte, b'\n' | b'"')).ok_or(AnswerError::Truncated)?;
        let token =
            std::str::from_utf8(&after[..end]).map_err(|_| AnswerError::Receipt("not text"))?.to_owned();
        let checked = Box::new(self.check(&token)?);
        // After the receipt: the blank line of its comment and, where the endpoint has one, `data: [DONE]`; or the
        // closing brace.
        let rest = after.slice(end + 1..);
        let rest = if self.is_stream() && rest.starts_with(b"\n") { rest.slice(1..) } else { rest };
        Ok(Piece::End { receipt: token, checked, rest })
    }

    /// Whether the receipt speaks of exactly this exchange.
    fn check(&self, token: &str) -> Result<Receipt, AnswerError> {
        let attested = &self.exchange.chosen.attested;
        let receipt =
            Receipt::verify(token, &attested.receipt_key).map_err(|_| AnswerError::Receipt("signature"))?;
        let ticket = &self.exchange.ticket;
        check_against_ticket(&receipt, &ticket.ticket, &ticket.token)
            .map_err(|mismatch| AnswerError::Receipt(mismatch.code()))?;
        let resp_hash = Digest(self.resp_hash.clone().finalize().into());
        let fits = [
            (receipt.req_hash == self.exchange.req_hash, "req_hash"),
            (receipt.resp_hash == resp_hash, "resp_hash"),
            (receipt.resp_frames == self.resp_frames, "resp_frames"),
            (receipt.cn == self.exchange.cn, "cn"),
            (receipt.body == Some(self.body), "body"),
            (receipt.status == self.status, "status"),
            (receipt.ctype == self.ctype, "ctype"),
        ];
        match fits.iter().find(|(fits, _)| !fits) {
            Some((_, member)) => Err(AnswerError::Receipt(member)),
            None => Ok(receipt),
        }
    }
}

/// The whole of an unstreamed answer.
#[derive(Debug)]
pub struct Whole {
    pub body: Vec<u8>,
    pub receipt: String,
    pub checked: Box<Receipt>,
}

/// Collects an unstreamed answer, at most `limit` bytes.
///
/// # Errors
/// [`AnswerError`].
pub async fn collect(answer: &mut Answer, limit: usize) -> Result<Whole, AnswerError> {
    let mut body = Vec::new();
    while let Some(piece) = answer.next().await? {
        match piece {
            Piece::Content(bytes) if body.len() + bytes.len() > limit => return Err(AnswerError::TooLarge),
            Piece::Content(bytes) => body.extend_from_slice(&bytes),
            Piece::End { receipt, checked, rest } => {
                body.extend_from_slice(&rest);
                answer.let_go().await;
                return Ok(Whole { body, receipt, checked });
            }
        }
    }
    Err(AnswerError::Truncated)
}

/// The event and end of a stream that failed after its first byte: no `[DONE]`, so that no client takes it for whole.
#[must_use]
pub fn failure_event(api: &ApiError) -> Frame<Bytes> {
    Frame::data(api.to_event().into())
}
