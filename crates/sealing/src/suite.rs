//! HPKE with EHBP's suite and labels (EHBP 3.2, 4.4.1), the one place that is generic over the KEM.

use hpke::aead::{AeadCtxR, AeadCtxS, AesGcm256};
use hpke::inout::InOutBuf;
use hpke::kdf::HkdfSha256;
use hpke::{Deserializable, HpkeError, OpModeR, OpModeS, Serializable};
use zeroize::Zeroizing;

use crate::error::SealingError;
use crate::frame::TAG_LEN;

pub(crate) type X25519 = hpke::kem::X25519HkdfSha256;
pub(crate) type XWing = hpke::kem::XWing;
pub(crate) type SealContext<K> = AeadCtxS<AesGcm256, HkdfSha256, K>;
pub(crate) type OpenContext<K> = AeadCtxR<AesGcm256, HkdfSha256, K>;

/// What both ends export from the request to derive the response keys (EHBP 4.4.1 step 1).
pub(crate) type ResponseSecret = Zeroizing<[u8; 32]>;

const REQUEST_INFO: &[u8] = b"ehbp request";
const RESPONSE_LABEL: &[u8] = b"ehbp response";
const NO_AAD: &[u8] = b"";

/// The client's end of a request, whichever KEM made it.
pub(crate) trait SealRequest: Send + Sync {
    fn seal_in_place(&mut self, body: &mut [u8]) -> Result<[u8; TAG_LEN], SealingError>;
    fn response_secret(&self) -> Result<ResponseSecret, SealingError>;
}

/// The backend's end of a request, whichever KEM made it.
pub(crate) trait OpenRequest: Send + Sync {
    fn open(&mut self, ciphertext: &[u8]) -> Result<Vec<u8>, SealingError>;
    fn response_secret(&self) -> Result<ResponseSecret, SealingError>;
}

impl<K: hpke::Kem + Send + Sync> SealRequest for SealContext<K> {
    fn seal_in_place(&mut self, body: &mut [u8]) -> Result<[u8; TAG_LEN], SealingError> {
        let tag = self.seal_inout_detached(InOutBuf::from(body), NO_AAD).map_err(seal_error)?;
        Ok(tag.to_bytes().into())
    }

    fn response_secret(&self) -> Result<ResponseSecret, SealingError> {
        let mut secret = ResponseSecret::default();
        self.export(RESPONSE_LABEL, secret.as_mut()).map_err(seal_error)?;
        Ok(secret)
    }
}

impl<K: hpke::Kem + Send + Sync> OpenRequest for OpenContext<K> {
    fn open(&mut self, ciphertext: &[u8]) -> Result<Vec<u8>, SealingError> {
        OpenContext::<K>::open(self, ciphertext, NO_AAD).map_err(|error| match error {
            HpkeError::MessageLimitReached => SealingError::SequenceExhausted,
            _ => SealingError::OpenFailed,
        })
    }

    fn response_secret(&self) -> Result<ResponseSecret, SealingError> {
        let mut secret = ResponseSecret::default();
        self.export(RESPONSE_LABEL, secret.as_mut()).map_err(seal_error)?;
        Ok(secret)
    }
}

/// `SetupBaseS` (RFC 9180 section 5.1.1): the encapsulated key and the client's context.
///
/// Panics only if the operating system has no randomness to give.
pub(crate) fn set_up_sender<K>(
    recipient: &K::PublicKey,
) -> Result<(Vec<u8>, Box<dyn SealRequest>), SealingError>
where
    K: hpke::Kem + Send + Sync + 'static,
{
    let (encapsulated, context) =
        hpke::setup_sender::<AesGcm256, HkdfSha256, K>(&OpModeS::Base, recipient, REQUEST_INFO)
            .map_err(|_| SealingError::InvalidPublicKey)?;
    Ok((encapsulated.to_bytes().to_vec(), Box::new(context)))
}

/// `SetupBaseR` (RFC 9180 section 5.1.1): the backend's context.
pub(crate) fn set_up_receiver<K>(
    private_key: &K::PrivateKey,
    encapsulated_key: &[u8],
) -> Result<Box<dyn OpenRequest>, SealingError>
where
    K: hpke::Kem + Send + Sync + 'static,
{
    let encapsulated =
        K::EncappedKey::from_bytes(encapsulated_key).map_err(|_| SealingError::MalformedEncapsulatedKey)?;
    let context = hpke::setup_receiver::<AesGcm256, HkdfSha256, K>(
        &OpModeR::Base,
        private_key,
        &encapsulated,
        REQUEST_INFO,
    )
    .map_err(|_| SealingError::OpenFailed)?;
    Ok(Box::new(context))
}

fn seal_error(error: HpkeError) -> SealingError {
    match error {
        HpkeError::MessageLimitReached => SealingError::SequenceExhausted,
        _ => SealingError::SealFailed,
    }
}
