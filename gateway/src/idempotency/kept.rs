//! An answer as it is kept: what a repetition needs to look like the first.

use std::convert::Infallible;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use cocoon_openapi::IDEMPOTENT_REPLAYED_HEADER;
use futures_util::stream;
use http::{HeaderName, HeaderValue};
use http_body::Frame;
use http_body_util::StreamBody;
use serde::{Deserialize, Serialize};

use crate::deliver;
use crate::error::Failure;

/// A whole answer with its receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    pub status: u16,
    pub content_type: String,
    /// Whether receipt and cost were trailers.
    pub streamed: bool,
    pub receipt: String,
    /// nanoTON.
    pub cost: u64,
    /// Hexadecimal: that of the first request, which the receipt is for.
    pub nonce: String,
    #[serde(skip)]
    pub body: Vec<u8>,
}

impl Kept {
    /// Length and JSON of the head, then the body's own bytes.
    pub(super) fn write(&self) -> Vec<u8> {
        // Strings and numbers always serialise.
        let head = serde_json::to_vec(self).unwrap_or_default();
        let length = u32::try_from(head.len()).unwrap_or(0).to_be_bytes();
        [&length, head.as_slice(), &self.body].concat()
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (length, rest) = bytes.split_first_chunk()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (head, body) = rest.split_at_checked(length)?;
        Some(Self { body: body.to_vec(), ..serde_json::from_slice(head).ok()? })
    }

    /// The same answer once more.
    pub(super) fn into_response(self) -> Result<Response, Failure> {
        let bytes = Bytes::from(self.body);
        let mut response = if self.streamed {
            let frames =
                [Frame::data(bytes), Frame::trailers(deliver::receipt_headers(&self.receipt, self.cost)?)];
            let frames = frames.map(Ok::<_, Infallible>);
            deliver::stream_of(Body::new(StreamBody::new(stream::iter(frames))))
        } else {
            let head = deliver::Head {
                status: self.status,
                content_type: &self.content_type,
                receipt: &self.receipt,
                cost: self.cost,
            };
            head.respond(bytes)?
        };
        deliver::common(response.headers_mut(), &self.nonce)?;
        let replayed = HeaderName::from_static(IDEMPOTENT_REPLAYED_HEADER);
        response.headers_mut().insert(replayed, HeaderValue::from_static("true"));
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let kept = Kept {
            status: 200,
            content_type: "application/json".into(),
            streamed: false,
            receipt: "a.b.c".into(),
            cost: 7,
            nonce: "00".repeat(32),
            body: b"{\"a\": \xff\0}".to_vec(),
        };
        assert_eq!(Kept::read(&kept.write()), Some(kept.clone()));
        let written = kept.write();
        for cut in [0, 3, 20] {
            assert_eq!(Kept::read(&written[..cut]), None);
        }
    }
}
