//! Step 7: the answer, frame by frame. Every frame is opened and handed on as it comes; the last one carries the
//! receipt, and an answer without it is not whole.

use std::time::Duration;

use bytes::Bytes;
use cocoon_exchange::{Answer as Opened, Head, Piece, Signer, Whole as Growing};
use cocoon_openapi::ApiError;
use cocoon_receipts::{Receipt, check_against_ticket};
use http_body::Frame;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::route::Chosen;
use crate::send::Exchange;
use crate::ticket::SignedTicket;

/// How long an answer's end may take after its receipt.
const LET_GO: Duration = Duration::from_millis(250);

/// Why an answer is not handed on. For the log.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    #[error("the connection broke: {0}")]
    Connection(#[from] hyper::Error),
    #[error(transparent)]
    Exchange(#[from] cocoon_exchange::AnswerError),
    #[error("the receipt does not fit its ticket: {0}")]
    Ticket(&'static str),
}

/// Opens the frames of one exchange in order.
#[derive(Debug)]
pub struct Answer {
    body: Incoming,
    opened: Opened,
    ticket: SignedTicket,
    /// Counts as in flight as long as the answer.
    _chosen: Chosen,
}

impl Answer {
    /// # Errors
    /// [`AnswerError`] where the response's head is not that of an answer.
    pub fn new(exchange: Exchange) -> Result<Self, AnswerError> {
        let Exchange { answered, sealed, chosen } = exchange;
        let (parts, body) = answered.response.into_parts();
        let content_type = parts.headers.get(http::header::CONTENT_TYPE);
        let head = Head {
            status: parts.status.as_u16(),
            content_type: content_type.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned(),
        };
        let signer = Signer { keyset: chosen.attested.digest(), key: chosen.attested.receipt_key.clone() };
        let opened = Opened::new(&sealed, &answered.nonce, head, signer)?;
        Ok(Self { body, opened, ticket: answered.ticket, _chosen: chosen })
    }

    #[must_use]
    pub fn status(&self) -> u16 {
        self.opened.head().status
    }

    #[must_use]
    pub fn content_type(&self) -> &str {
        &self.opened.head().content_type
    }

    #[must_use]
    pub fn is_stream(&self) -> bool {
        self.opened.head().is_stream()
    }

    /// JWS of the ticket this answer was sent for.
    #[must_use]
    pub fn ticket(&self) -> &str {
        &self.ticket.token
    }

    /// The next piece; none after [`Piece::End`].
    ///
    /// # Errors
    /// [`AnswerError`]: nothing after it is handed on.
    pub async fn next(&mut self) -> Result<Option<Piece>, AnswerError> {
        if self.opened.is_ended() {
            return Ok(None);
        }
        loop {
            match self.opened.next_piece()? {
                // A frame of padding alone. An empty chunk would end a chunked body.
                Some(Piece::Content(content)) if content.is_empty() => continue,
                Some(Piece::End { receipt, claims, rest }) => {
                    check_against_ticket(&claims, &self.ticket.ticket, &self.ticket.token)
                        .map_err(|mismatch| AnswerError::Ticket(mismatch.code()))?;
                    return Ok(Some(Piece::End { receipt, claims, rest }));
                }
                Some(content) => return Ok(Some(content)),
                None => {}
            }
            match self.body.frame().await {
                None => self.opened.finish()?,
                Some(frame) => {
                    // Trailers repeat the receipt; the sealed copy is the one that proves the answer is whole.
                    if let Ok(data) = frame?.into_data() {
                        self.opened.push(data);
                    }
                }
            }
        }
    }

    /// Reads the end of the body, which holds nothing more, so that its connection can be used again. One that does not
    /// come to its end at once is closed instead.
    pub async fn let_go(&mut self) {
        let rest = async {
            while let Some(frame) = self.body.frame().await {
                if frame.is_ok_and(|frame| frame.is_data()) {
                    return;
                }
            }
        };
        // Either way the answer is whole: its receipt said so.
        let _ = tokio::time::timeout(LET_GO, rest).await;
    }
}

/// The whole of an unstreamed answer.
#[derive(Debug)]
pub struct Whole {
    pub body: Vec<u8>,
    pub receipt: String,
    pub claims: Box<Receipt>,
}

/// Collects an unstreamed answer, at most `limit` bytes.
///
/// # Errors
/// [`AnswerError`].
pub async fn collect(answer: &mut Answer, limit: usize) -> Result<Whole, AnswerError> {
    let mut growing = Growing::default();
    while let Some(piece) = answer.next().await? {
        match piece {
            Piece::Content(content) => growing.add(&content, limit)?,
            Piece::End { receipt, claims, rest } => {
                answer.let_go().await;
                return Ok(Whole { body: growing.close(&rest), receipt, claims });
            }
        }
    }
    Err(cocoon_exchange::AnswerError::Truncated.into())
}

/// The event and end of a stream that failed after its first byte: no `[DONE]`, so that no client takes it for whole.
#[must_use]
pub fn failure_event(api: &ApiError) -> Frame<Bytes> {
    Frame::data(api.to_event().into())
}
