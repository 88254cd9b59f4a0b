//! Opens a sealed request, in two steps: what its headers say, before a place is taken for it; then its frames.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use cocoon_openapi::x_conf::{self, XConf, XConfError};
use cocoon_openapi::{ApiError, KEY_DIGEST_HEADER, TICKET_HEADER, scan};
use cocoon_receipts::{Digest, NanoTon, Ticket, body_digest};
use cocoon_sealing::{
    ENCAPSULATED_KEY_HEADER, FrameError, FrameLimits, FrameReader, Kem, RequestOpener, ResponseSealer,
    parse_encapsulated_key,
};
use http::{HeaderMap, header};
use http_body_util::BodyExt as _;
use sha2::Digest as _;

use crate::binding::Binding;
use crate::clock::now_ms;
use crate::identity::Identity;
use crate::refusal::{Cause, Refusal};
use crate::replay::{Admitted, ReplaySet};

/// Longest silence within a request body.
const BODY_IDLE_LIMIT: Duration = Duration::from_secs(10);
/// Room beside the plaintext for length prefixes, tags and `x_conf`.
const SEALING_ROOM: u64 = 64 << 10;
/// Most frames without content.
const MAX_EMPTY_FRAMES: u32 = 1024;

/// Opens requests that are sealed to one [`Identity`].
#[derive(Debug)]
pub(crate) struct Unsealer {
    identity: Arc<Identity>,
    binding: Binding,
    replay: ReplaySet,
    max_body: u64,
}

/// A request whose headers are in order.
#[derive(Debug)]
pub(crate) struct Announced {
    encapsulated_key: [u8; 32],
    ticket: Ticket,
    ticket_token: String,
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
    pub(crate) body: ClientBody,
}

/// The client's bytes, or what is wrong with them.
pub(crate) type ClientBody = Result<Vec<u8>, ApiError>;

impl Unsealer {
    pub(crate) fn new(identity: Arc<Identity>, binding: Binding, replay: ReplaySet, max_body: u64) -> Self {
        Self { identity, binding, replay, max_body }
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
        // A keyset of an earlier boot: its key is gone, and the sender may seal anew for the one there is.
        if let Some(keyset) = headers.get(KEY_DIGEST_HEADER)
            && keyset.as_bytes() != self.identity.digest().to_string().as_bytes()
        {
            return Err(Refusal::KeyConfig);
        }
        let (kem, encapsulated_key) =
            parse_encapsulated_key(encapsulated_key).map_err(Cause::EncapsulatedKey)?;
        let encapsulated_key: [u8; 32] = match kem {
            Kem::X25519 => encapsulated_key.try_into().map_err(|_| Cause::Kem)?,
            Kem::XWing => return Err(Cause::Kem.into()),
        };
        let ticket_token = one(headers, TICKET_HEADER).ok_or(Cause::NoTicket)?.to_owned();
        let ticket = self.binding.ticket(&ticket_token, path, &encapsulated_key, now_ms())?;
        if let Some(length) = content_length(headers)
            && length > self.most()
        {
            return Err(Refusal::TooLarge);
        }
        Ok(Announced { encapsulated_key, ticket, ticket_token })
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
        let Announced { encapsulated_key, ticket, ticket_token } = announced;
        let mut opener =
            RequestOpener::new(self.identity.hpke(), &encapsulated_key).map_err(|_| Refusal::KeyConfig)?;
        let mut frames = FrameReader::new(FrameLimits {
            // Clients seal a whole body as one frame.
            max_frame: usize::try_from(self.most()).unwrap_or(usize::MAX),
            max_total: self.most(),
            max_empty: MAX_EMPTY_FRAMES,
        });
        let mut req_hash = sha2::Sha256::new();
        let mut plain: Option<Vec<u8>> = None;
        while let Some(chunk) = next_chunk(&mut body).await? {
            req_hash.update(&chunk);
            frames.push(chunk);
            while let Some(frame) = frames.next().map_err(frame_refusal)? {
                match (opener.open(&frame), &mut plain) {
                    (Ok(opened), None) => {
                        self.admit_once(encapsulated_key)?;
                        plain = Some(opened);
                    }
                    (Ok(opened), Some(plain)) => plain.extend_from_slice(&opened),
                    (Err(_), None) => return Err(Refusal::KeyConfig),
                    (Err(_), Some(_)) => return Err(Cause::LaterFrame.into()),
                }
            }
        }
        frames.finish().map_err(frame_refusal)?;
        let plain = plain.ok_or(Cause::Empty)?;
        let sealer = opener.response_sealer().map_err(Cause::Answer)?;
        let (x_conf, body) = self.context(plain, &ticket)?;

        let nonce = x_conf.as_ref().map(|x_conf| x_conf.nonce.0);
        let max_cost = x_conf.as_ref().and_then(|x_conf| x_conf.max_cost);
        let opened = Opened {
            req_hash: Digest(req_hash.finalize().into()),
            cn: Digest::of(&[nonce.as_ref().map_or(&[], <[u8; 32]>::as_slice)]),
            body_digest: nonce.zip(body.as_ref().ok()).map(|(nonce, body)| body_digest(&nonce, body)),
            max_cost: max_cost.map_or(ticket.max_cost, |most| most.min(ticket.max_cost)),
            body,
            ticket,
            ticket_token,
        };
        Ok((opened, sealer))
    }

    fn admit_once(&self, encapsulated_key: [u8; 32]) -> Result<(), Refusal> {
        match self.replay.admit(encapsulated_key) {
            Admitted::Once => Ok(()),
            Admitted::Before => Err(Cause::Replayed.into()),
            Admitted::Never => {
                tracing::error!("the replay set is full: this backend must be started again");
                Err(Refusal::Busy)
            }
        }
    }

    /// Takes `x_conf` out and checks it. Without one, the body must name the ticket's model. A body that is not JSON
    /// at all is the client's own mistake, and gets a sealed answer.
    fn context(&self, plain: Vec<u8>, ticket: &Ticket) -> Result<(Option<XConf>, ClientBody), Refusal> {
        let (x_conf, body) = match x_conf::remove(plain) {
            Ok(parts) => parts,
            Err(XConfError::Scan(error)) => return Ok((None, Err(error.into()))),
            Err(XConfError::Malformed) => return Err(Cause::XConf.into()),
        };
        match &x_conf {
            Some(x_conf) => self.binding.x_conf(x_conf, ticket, now_ms())?,
            None if names_model(&body, &ticket.model) => {}
            None => return Err(Cause::BodyModel.into()),
        }
        Ok((x_conf, Ok(body)))
    }

    fn most(&self) -> u64 {
        self.max_body.saturating_add(SEALING_ROOM)
    }
}

fn names_model(body: &[u8], model: &str) -> bool {
    let named = scan::scan(body).and_then(|object| object.parse::<String>("model", "a string"));
    named.is_ok_and(|named| named.as_deref() == Some(model))
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
