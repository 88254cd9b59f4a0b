//! The request: first the encapsulated key, to which its context and its ticket are bound, then the frames.

use bytes::Bytes;
use cocoon_openapi::x_conf::{self, XConf, XConfError};
use cocoon_receipts::{Digest, body_digest};
use cocoon_sealing::{PublicKey, RequestSealer, ResponseOpener, SealingError, parse_response_nonce};

/// Plain bytes of one request frame.
const FRAME: usize = 256 * 1024;
/// What a frame has beside them: its length and its tag (EHBP 4.3).
const BESIDE: usize = 4 + 16;

/// Why a request is not sealed.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error(transparent)]
    Context(#[from] XConfError),
    #[error(transparent)]
    Sealing(#[from] SealingError),
}

/// A key that was encapsulated to a backend, for one request.
#[derive(Debug)]
pub struct Encapsulated(RequestSealer);

impl Encapsulated {
    /// # Errors
    /// [`SealingError::InvalidPublicKey`].
    pub fn new(public_key: &PublicKey) -> Result<Self, SealingError> {
        RequestSealer::new(public_key).map(Self)
    }

    /// The encapsulated key's bytes.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        self.0.encapsulated_key()
    }

    /// Seals `body`, a JSON object, with `context` in it.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn seal(mut self, body: &[u8], context: &XConf) -> Result<Sealed, RequestError> {
        let plain = x_conf::insert(body, context)?;
        let mut frames = Vec::with_capacity(plain.len() + 64);
        for piece in plain.chunks(FRAME) {
            frames.extend_from_slice(&self.0.seal(piece)?);
        }
        let said = Said {
            req_hash: Digest::of(&[&frames]),
            cn: Digest::of(&[&context.nonce.0]),
            body: body_digest(&context.nonce.0, body),
            model: context.model.clone(),
        };
        Ok(Sealed { frames: frames.into(), said, sealer: self.0 })
    }
}

/// Bytes that [`Encapsulated::seal`] makes of `body` and `context`.
///
/// # Errors
/// [`RequestError::Context`].
pub fn sealed_len(body: &[u8], context: &XConf) -> Result<usize, RequestError> {
    let plain = x_conf::insert(body, context)?.len();
    Ok(plain + plain.div_ceil(FRAME) * BESIDE)
}

/// What the receipt must say of the request.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub(crate) req_hash: Digest,
    pub(crate) cn: Digest,
    pub(crate) body: Digest,
    pub(crate) model: String,
}

/// A request that is ready to be sent, once.
#[derive(Debug)]
pub struct Sealed {
    /// The HTTP body.
    pub frames: Bytes,
    pub(crate) said: Said,
    sealer: RequestSealer,
}

impl Sealed {
    /// Opens the answer that came with this response nonce, as its header has it.
    pub(crate) fn opener(&self, response_nonce: &str) -> Result<ResponseOpener, SealingError> {
        self.sealer.response_opener(&parse_response_nonce(response_nonce)?)
    }
}
