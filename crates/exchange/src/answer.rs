//! The answer: every frame is opened and handed on as it comes; the last one carries the receipt, and an answer without
//! it is not whole.

use bytes::Bytes;
use cocoon_openapi::padding;
use cocoon_receipts::{Digest, Receipt, VerifyingKey};
use cocoon_sealing::{FrameError, FrameLimits, FrameReader, ResponseOpener};
use sha2::{Digest as _, Sha256};

use crate::request::{Said, Sealed};

/// Largest sealed frame that a backend may send, bytes. A JSON answer is one frame.
const MAX_FRAME: usize = 32 << 20;
/// Most bytes of one answer.
const MAX_TOTAL: u64 = 1 << 30;
const MAX_EMPTY: u32 = 1024;

/// How the frame that carries the receipt begins, in a stream and in a JSON answer. No other frame of either begins
/// so: an event begins with its field's name or a keep-alive comment, JSON with its brace.
const STREAM_RECEIPT: &[u8] = b": receipt ";
const JSON_RECEIPT: &[u8] = b",\"x_receipt\":\"";
const DONE: &[u8] = b"data: [DONE]\n\n";

/// Why an answer is not handed on. Nothing of what was said is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    #[error("the response nonce is malformed")]
    Nonce,
    #[error("a frame is malformed: {0}")]
    Frame(#[from] FrameError),
    #[error("a frame does not open")]
    Tampered,
    #[error("the answer ended without its receipt")]
    Truncated,
    #[error("the receipt is not the answer's last word")]
    Trailing,
    #[error("the receipt does not fit the answer: {0}")]
    Receipt(&'static str),
    #[error("the answer is larger than is handed on")]
    TooLarge,
}

/// What the response says outside the seal; the receipt repeats it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    pub status: u16,
    pub content_type: String,
}

impl Head {
    /// Whether the body is server-sent events.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        self.content_type.starts_with("text/event-stream")
    }
}

/// Who must have signed the receipt: from a keyset that was verified.
#[derive(Debug, Clone)]
pub struct Signer {
    pub keyset: Digest,
    pub key: VerifyingKey,
}

/// A piece of the answer, without its padding.
#[derive(Debug)]
pub enum Piece {
    Content(Bytes),
    /// The last piece: the receipt, checked against all that came before it, and what follows it for the client.
    End {
        /// JWS.
        receipt: String,
        claims: Box<Receipt>,
        rest: Bytes,
    },
}

/// Opens the frames of one answer in order: [`push`](Self::push) what arrives, then call [`next`](Self::next) until it
/// gives nothing.
#[derive(Debug)]
pub struct Answer {
    reader: FrameReader,
    opener: ResponseOpener,
    said: Said,
    head: Head,
    signer: Signer,
    resp_hash: Sha256,
    resp_frames: u64,
    ended: bool,
}

impl Answer {
    /// The answer to `request` that came with `response_nonce` (the header's text).
    ///
    /// # Errors
    /// [`AnswerError::Nonce`].
    pub fn new(
        request: &Sealed,
        response_nonce: &str,
        head: Head,
        signer: Signer,
    ) -> Result<Self, AnswerError> {
        Ok(Self {
            reader: FrameReader::new(FrameLimits {
                max_frame: MAX_FRAME,
                max_total: MAX_TOTAL,
                max_empty: MAX_EMPTY,
            }),
            opener: request.opener(response_nonce).map_err(|_| AnswerError::Nonce)?,
            said: request.said.clone(),
            head,
            signer,
            resp_hash: Sha256::new(),
            resp_frames: 0,
            ended: false,
        })
    }

    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Whether [`Piece::End`] was given.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// The next bytes of the response's body.
    pub fn push(&mut self, chunk: Bytes) {
        self.reader.push(chunk);
    }

    /// The next piece, or none until more was pushed.
    ///
    /// # Errors
    /// [`AnswerError`]: nothing after it is handed on.
    pub fn next_piece(&mut self) -> Result<Option<Piece>, AnswerError> {
        match self.reader.next()? {
            None => Ok(None),
            Some(_) if self.ended => Err(AnswerError::Trailing),
            Some(ciphertext) => self.open(&ciphertext).map(Some),
        }
    }

    /// The response's body has ended.
    ///
    /// # Errors
    /// [`AnswerError`] where the answer had not.
    pub fn finish(&self) -> Result<(), AnswerError> {
        self.reader.finish()?;
        if self.ended { Ok(()) } else { Err(AnswerError::Truncated) }
    }

    fn open(&mut self, ciphertext: &Bytes) -> Result<Piece, AnswerError> {
        let plain = Bytes::from(self.opener.open(ciphertext).map_err(|_| AnswerError::Tampered)?);
        let stream = self.head.is_stream();
        let prefix = if stream { STREAM_RECEIPT } else { JSON_RECEIPT };
        if !plain.starts_with(prefix) {
            let length = u32::try_from(ciphertext.len()).map_err(|_| AnswerError::TooLarge)?;
            self.resp_hash.update(length.to_be_bytes());
            self.resp_hash.update(ciphertext);
            self.resp_frames += 1;
            return Ok(Piece::Content(if stream { padding::strip_events(&plain) } else { plain }));
        }
        self.ended = true;
        let after = plain.slice(prefix.len()..);
        let end = after.iter().position(|byte| matches!(byte, b'\n' | b'"')).ok_or(AnswerError::Truncated)?;
        let receipt = std::str::from_utf8(&after[..end]).map_err(|_| AnswerError::Receipt("not text"))?;
        let claims = Box::new(self.check(receipt)?);
        Ok(Piece::End {
            receipt: receipt.to_owned(),
            claims,
            rest: last_words(stream, &after.slice(end + 1..))?,
        })
    }

    /// Whether the receipt speaks of exactly this exchange.
    fn check(&self, token: &str) -> Result<Receipt, AnswerError> {
        let receipt =
            Receipt::verify(token, &self.signer.key).map_err(|_| AnswerError::Receipt("signature"))?;
        let fits = [
            (receipt.iss == self.signer.keyset, "iss"),
            (receipt.req_hash == self.said.req_hash, "req_hash"),
            (receipt.resp_hash == Digest(self.resp_hash.clone().finalize().into()), "resp_hash"),
            (receipt.resp_frames == self.resp_frames, "resp_frames"),
            (receipt.cn == self.said.cn, "cn"),
            (receipt.body == Some(self.said.body), "body"),
            (receipt.status == self.head.status, "status"),
            (receipt.ctype == self.head.content_type, "ctype"),
            (receipt.model == self.said.model, "model"),
            (receipt.price.cost(&receipt.usage) == Ok(receipt.cost), "cost"),
        ];
        match fits.iter().find(|(fits, _)| !fits) {
            Some((_, claim)) => Err(AnswerError::Receipt(claim)),
            None => Ok(receipt),
        }
    }
}

/// What the last frame holds after the receipt: the end of its comment and, where the endpoint has one, `data: [DONE]`;
/// or the closing brace. Anything else would have been said after the receipt was signed.
fn last_words(stream: bool, after: &Bytes) -> Result<Bytes, AnswerError> {
    if stream {
        let rest = padding::strip_events(after);
        // The comment's line has ended; its blank line is not the client's.
        let rest = if rest.starts_with(b"\n") { rest.slice(1..) } else { rest };
        return if rest.is_empty() || rest == DONE { Ok(rest) } else { Err(AnswerError::Trailing) };
    }
    let rest = after.slice(..padding::stripped_json_len(after));
    if rest == b"}"[..] { Ok(rest) } else { Err(AnswerError::Trailing) }
}

/// An unstreamed answer as it grows.
#[derive(Debug, Default)]
pub struct Whole {
    body: Vec<u8>,
}

impl Whole {
    /// Adds content, up to `limit` bytes in all.
    ///
    /// # Errors
    /// [`AnswerError::TooLarge`].
    pub fn add(&mut self, content: &[u8], limit: usize) -> Result<(), AnswerError> {
        if self.body.len() + content.len() > limit {
            return Err(AnswerError::TooLarge);
        }
        self.body.extend_from_slice(content);
        Ok(())
    }

    /// The body without its padding, closed with the last piece's `rest`.
    #[must_use]
    pub fn close(mut self, rest: &[u8]) -> Vec<u8> {
        self.body.truncate(padding::stripped_json_len(&self.body));
        self.body.extend_from_slice(rest);
        self.body
    }
}
