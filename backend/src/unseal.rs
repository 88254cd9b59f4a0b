//! Opens a sealed request, in two steps: what its headers say, before a place is taken for it; then its frames.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use cocoon_openapi::x_conf::{self, XConf, XConfError};
use cocoon_openapi::{ApiError, KEY_DIGEST_HEADER, TICKET_HEADER};
use cocoon_receipts::{Digest, NanoTon, Ticket, body_digest};
use cocoon_sealing::{
    ENCAPSULATED_KEY_HEADER, FrameError, FrameLimits, FrameReader, Kem, RequestOpener, ResponseSealer,
    parse_encapsulated_key,
};
use http::{HeaderMap, header};
use http_body_util::BodyExt as _;
use sha2::Digest as _;
use tokio::time::Instant;

use crate::binding::{self, Binding};
use crate::clock::now_ms;
use crate::keyring::Keyring;
use crate::refusal::{Cause, Refusal};
use crate::replay::Admitted;

/// Longest silence within a request body.
const BODY_IDLE_LIMIT: Duration = Duration::from_secs(10);
/// Room beside the plaintext for length prefixes, tags and `x_conf`.
const SEALING_ROOM: u64 = 64 << 10;
/// Most frames without content.
const MAX_EMPTY_FRAMES: u32 = 1024;

/// Opens requests that are sealed to a key of this backend.
#[derive(Debug)]
pub(crate) struct Unsealer {
    keyring: Arc<Keyring>,
    binding: Binding,
    max_body: u64,
}

/// A request whose headers are in order.
#[derive(Debug)]
pub(crate) struct Announced {
    kem: Kem,
    encapsulated_key: Vec<u8>,
    /// The keyset it says that it is sealed to.
    named: Option<Digest>,
    ticket: Ticket,
    ticket_token: String,
}

/// A body as far as it was opened.
struct Opening {
    opener: RequestOpener,
    /// Keyset of the key that opens it.
    epoch: Digest,
    plain: Vec<u8>,
}

/// A request that has been opened, once and for all.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) ticket: Ticket,
    pub(crate) ticket_token: String,
    /// Over all bytes of the request's body.
    pub(crate) req_hash: Digest,
    /// SHA-256 of the client's nonce; of nothing where there is none.
    pub(crate) cn: Digest,
    /// The receipt's `body`, where there is a nonce.
    pub(crate) body_digest: Option<Digest>,
    /// The smaller of the ticket's and the client's.
    pub(crate) max_cost: NanoTon,
    /// Whether sizes of the answer's frames are to say nothing of its text.
    pub(crate) pad: bool,
    pub(crate) body: ClientBody,
}

/// The client's bytes, or what is wrong with them.
pub(crate) type ClientBody = Result<Vec<u8>, ApiError>;

impl Unsealer {
    pub(crate) fn new(keyring: Arc<Keyring>, binding: Binding, max_body: u64) -> Self {
        Self { keyring, binding, max_body }
    }

    /// Judges the headers of a request to `path`.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(crate) fn announced(&self, headers: &HeaderMap, path: &str) -> Result<Announced, Refusal> {
        let encapsulated_key = one(headers, ENCAPSULATED_KEY_HEADER).ok_or(Cause::NotSealed)?;
        if headers.contains_key(header::CONTENT_ENCODING) {
            return Err(Refusal::ContentEncoding);
        }
        let (kem, encapsulated_key) =
            parse_encapsulated_key(encapsulated_key).map_err(Cause::EncapsulatedKey)?;
        let named = named_keyset(headers)?;
        let now = Instant::now();
        // A keyset of an earlier boot, or a key that has ended: the sender may seal anew for the one there is.
        if named.is_some() && self.keyring.keys(kem, named, now).is_empty() {
            return Err(Refusal::KeyConfig);
        }
        let ticket_token = one(headers, TICKET_HEADER).ok_or(Cause::NoTicket)?.to_owned();
        let ticket = self.binding.ticket(&ticket_token, path, &encapsulated_key, now_ms())?;
        match named {
            Some(named) if named != ticket.keyset => return Err(Cause::TicketKeyset.into()),
            // The gateway cannot know which of this backend's keys a plain EHBP client has used, but it does know the
            // backend. If it does not, what it knows is of an earlier boot.
            None if !self.keyring.is_live(ticket.keyset, now) => return Err(Refusal::KeyConfig),
            Some(_) | None => {}
        }
        if let Some(length) = content_length(headers)
            && length > self.most()
        {
            return Err(Refusal::TooLarge);
        }
        Ok(Announced { kem, encapsulated_key, named, ticket, ticket_token })
    }

    /// Reads and opens the body. From the first frame that opens, the request counts as admitted.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(crate) async fn open(
        &self,
        announced: Announced,
        mut body: Body,
    ) -> Result<(Opened, ResponseSealer), Refusal> {
        let mut frames = FrameReader::new(FrameLimits {
            // Clients seal a whole body as one frame.
            max_frame: usize::try_from(self.most()).unwrap_or(usize::MAX),
            max_total: self.most(),
            max_empty: MAX_EMPTY_FRAMES,
        });
        let mut req_hash = sha2::Sha256::new();
        let mut opening: Option<Opening> = None;
        while let Some(chunk) = next_chunk(&mut body).await? {
            req_hash.update(&chunk);
            frames.push(chunk);
            while let Some(frame) = frames.next().map_err(frame_refusal)? {
                match &mut opening {
                    None => opening = Some(self.first_frame(&announced, &frame)?),
                    Some(opening) => {
                        let opened = opening.opener.open(&frame).map_err(|_| Cause::LaterFrame)?;
                        opening.plain.extend_from_slice(&opened);
                    }
                }
            }
        }
        frames.finish().map_err(frame_refusal)?;
        let Opening { opener, epoch, plain } = opening.ok_or(Cause::Empty)?;
        let sealer = opener.response_sealer().map_err(Cause::Answer)?;
        let Announced { ticket, ticket_token, .. } = announced;
        let (x_conf, body) = self.context(plain, &ticket, epoch)?;

        let nonce = x_conf.as_ref().map(|x_conf| x_conf.nonce.0);
        let max_cost = x_conf.as_ref().and_then(|x_conf| x_conf.max_cost);
        let opened = Opened {
            req_hash: Digest(req_hash.finalize().into()),
            cn: Digest::of(&[nonce.as_ref().map_or(&[], <[u8; 32]>::as_slice)]),
            body_digest: nonce.zip(body.as_ref().ok()).map(|(nonce, body)| body_digest(&nonce, body)),
            max_cost: max_cost.map_or(ticket.max_cost, |most| most.min(ticket.max_cost)),
            pad: x_conf.is_none_or(|x_conf| x_conf.pad != Some(0)),
            body,
            ticket,
            ticket_token,
        };
        Ok((opened, sealer))
    }

    /// Finds the key that opens the first frame, and admits the request under it before anything acts on it. The keys
    /// are looked up here and not before: a body that is slow to come must not keep one alive.
    fn first_frame(&self, announced: &Announced, frame: &[u8]) -> Result<Opening, Refusal> {
        let Announced { kem, encapsulated_key, named, .. } = announced;
        for key in self.keyring.keys(*kem, *named, Instant::now()) {
            let Ok(mut opener) = RequestOpener::new(&key.private, encapsulated_key) else { continue };
            let Ok(plain) = opener.open(frame) else { continue };
            return match self.keyring.admit(&key, encapsulated_key) {
                Admitted::Once => Ok(Opening { opener, epoch: key.epoch, plain }),
                Admitted::Before => Err(Cause::Replayed.into()),
                Admitted::Never => Err(Refusal::Busy),
            };
        }
        Err(Refusal::KeyConfig)
    }

    /// Takes `x_conf` out and checks it. Without one, the body itself must be for the ticket's model and path. A body
    /// that is not JSON at all is the client's own mistake, and gets a sealed answer.
    fn context(
        &self,
        plain: Vec<u8>,
        ticket: &Ticket,
        epoch: Digest,
    ) -> Result<(Option<XConf>, ClientBody), Refusal> {
        let (x_conf, body) = match x_conf::remove(plain) {
            Ok(parts) => parts,
            Err(XConfError::Scan(error)) => return Ok((None, Err(error.into()))),
            Err(XConfError::Malformed) => return Err(Cause::XConf.into()),
        };
        match &x_conf {
            Some(x_conf) => self.binding.x_conf(x_conf, ticket, epoch, now_ms())?,
            None => binding::bare_body(&body, ticket)?,
        }
        Ok((x_conf, Ok(body)))
    }

    fn most(&self) -> u64 {
        self.max_body.saturating_add(SEALING_ROOM)
    }
}

/// The keyset that the sender says it has sealed to.
///
/// # Errors
/// [`Refusal::KeyConfig`] where the header names no keyset at all.
fn named_keyset(headers: &HeaderMap) -> Result<Option<Digest>, Refusal> {
    if !headers.contains_key(KEY_DIGEST_HEADER) {
        return Ok(None);
    }
    let named = one(headers, KEY_DIGEST_HEADER).and_then(|text| text.parse().ok());
    named.map(Some).ok_or(Refusal::KeyConfig)
}

/// A header that is there exactly once.
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none()).and_then(|value| value.to_str().ok())
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn next_chunk(body: &mut Body) -> Result<Option<Bytes>, Refusal> {
    loop {
        let frame =
            tokio::time::timeout(BODY_IDLE_LIMIT, body.frame()).await.map_err(|_| Refusal::Stalled)?;
        let Some(frame) = frame else { return Ok(None) };
        if let Ok(chunk) = frame.map_err(|_| Refusal::BrokeOff)?.into_data() {
            return Ok(Some(chunk));
        }
    }
}

fn frame_refusal(error: FrameError) -> Refusal {
    match error {
        FrameError::BodyTooLong { .. } | FrameError::FrameTooLong { .. } => Refusal::TooLarge,
        FrameError::TooManyEmptyFrames { .. } | FrameError::Truncated => Cause::Frames(error).into(),
    }
}

#[cfg(test)]
mod tests;
