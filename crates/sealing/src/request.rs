use std::fmt;

use bytes::Bytes;

use crate::error::SealingError;
use crate::frame::seal_frame;
use crate::keys::{PrivateKey, PublicKey};
use crate::response::{ResponseOpener, ResponseSealer};
use crate::suite::{OpenRequest, SealRequest};

/// Seals one request body (EHBP 4.3), and later opens its response.
///
/// One sealer is one request: its encapsulated key must not be sent twice.
pub struct RequestSealer {
    encapsulated_key: Vec<u8>,
    context: Box<dyn SealRequest>,
}

impl RequestSealer {
    /// Encapsulates to a backend's key with info `ehbp request` (EHBP 4.4.1).
    ///
    /// # Panics
    /// When the operating system has no randomness to give.
    pub fn new(public_key: &PublicKey) -> Result<Self, SealingError> {
        let (encapsulated_key, context) = public_key.set_up_sender()?;
        Ok(Self { encapsulated_key, context })
    }

    /// The value of [`ENCAPSULATED_KEY_HEADER`](crate::ENCAPSULATED_KEY_HEADER) before hex.
    pub fn encapsulated_key(&self) -> &[u8] {
        &self.encapsulated_key
    }

    /// Seals the next piece of the body into a whole frame, length prefix included. An empty piece makes a
    /// frame too, which holds only its tag.
    pub fn seal(&mut self, plaintext: &[u8]) -> Result<Bytes, SealingError> {
        seal_frame(plaintext, |body| self.context.seal_in_place(body))
    }

    /// Opens the response that came with this nonce (EHBP 4.4.1).
    pub fn response_opener(&self, nonce: &[u8; 32]) -> Result<ResponseOpener, SealingError> {
        let secret = self.context.response_secret()?;
        ResponseOpener::new(&secret, &self.encapsulated_key, nonce)
    }
}

impl fmt::Debug for RequestSealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestSealer").finish_non_exhaustive()
    }
}

/// Opens one request body (EHBP 4.3), and later seals its response.
pub struct RequestOpener {
    encapsulated_key: Vec<u8>,
    context: Box<dyn OpenRequest>,
    state: Opening,
}

struct Opening {
    /// At least one frame authenticated, so whoever encapsulated this key also wrote the body.
    authenticated: bool,
    /// A frame did not open; the rest of the body is worth nothing.
    failed: bool,
}

impl RequestOpener {
    /// Decapsulates a request's key (EHBP 5.2).
    ///
    /// Succeeds for most forged keys as well: only the first frame that opens proves that this is the right
    /// private key.
    pub fn new(private_key: &PrivateKey, encapsulated_key: &[u8]) -> Result<Self, SealingError> {
        Ok(Self {
            encapsulated_key: encapsulated_key.to_vec(),
            context: private_key.set_up_receiver(encapsulated_key)?,
            state: Opening { authenticated: false, failed: false },
        })
    }

    /// Opens the next frame, given without its length prefix. After the first frame that does not open, none
    /// does any more.
    pub fn open(&mut self, ciphertext: &[u8]) -> Result<Vec<u8>, SealingError> {
        if self.state.failed {
            return Err(SealingError::OpenFailed);
        }
        let opened = self.context.open(ciphertext);
        match opened {
            Ok(_) => self.state.authenticated = true,
            Err(_) => self.state.failed = true,
        }
        opened
    }

    /// Seals the response under a fresh random nonce (EHBP 4.4.1).
    ///
    /// Refused until a frame of the request has opened: before that, anyone between client and backend could
    /// have put in an encapsulated key of their own and would read the response (EHBP 7.4).
    pub fn response_sealer(&self) -> Result<ResponseSealer, SealingError> {
        let mut nonce = [0; 32];
        aws_lc_rs::rand::fill(&mut nonce).map_err(|_| SealingError::NoRandomness)?;
        self.response_sealer_with_nonce(&nonce)
    }

    /// Seals the response under a given nonce, for test vectors. A nonce used twice for one request gives away
    /// both responses: use [`Self::response_sealer`].
    pub fn response_sealer_with_nonce(&self, nonce: &[u8; 32]) -> Result<ResponseSealer, SealingError> {
        if !self.state.authenticated {
            return Err(SealingError::RequestNotOpened);
        }
        let secret = self.context.response_secret()?;
        ResponseSealer::new(&secret, &self.encapsulated_key, *nonce)
    }
}

impl fmt::Debug for RequestOpener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestOpener").finish_non_exhaustive()
    }
}
