use thiserror::Error;

/// Why something could not be sealed, opened or parsed.
///
/// Decapsulation, a wrong key and a failed authentication tag are one variant, [`SealingError::OpenFailed`]: a
/// message that told them apart would be an oracle (EHBP 5.4.4). The other variants follow from bytes that
/// anyone on the network can see, or from how the caller used this crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SealingError {
    /// A public key of the wrong length, or one that its KEM refuses.
    #[error("the HPKE public key is not valid for its KEM")]
    InvalidPublicKey,
    /// A private key of the wrong length.
    #[error("the HPKE private key is not valid for its KEM")]
    InvalidPrivateKey,
    /// A key configuration that is cut short, over the limits or without a suite.
    #[error("the key configuration is malformed")]
    MalformedKeyConfig,
    /// A key configuration offering anything but exactly HKDF-SHA256 with AES-256-GCM.
    #[error("the key configuration must offer exactly one suite, HKDF-SHA256 with AES-256-GCM")]
    UnsupportedSuite,
    /// A list of key configurations, none of them for a KEM known here.
    #[error("no key configuration for a supported KEM")]
    NoSupportedKem,
    /// An encapsulated key that is not hex, or has the length of no supported KEM.
    #[error("the encapsulated key is malformed")]
    MalformedEncapsulatedKey,
    /// A response nonce that is not exactly 64 hex characters.
    #[error("the response nonce is malformed")]
    MalformedResponseNonce,
    /// The bytes were not sealed to this key, or not as they arrived, or not in this order.
    #[error("the sealed body does not open")]
    OpenFailed,
    /// A response was to be sealed before any request frame had opened (EHBP 7.4).
    #[error("a response is sealed only to a request of which a frame has opened")]
    RequestNotOpened,
    /// A plaintext whose frame would not fit the 32-bit length prefix.
    #[error("the plaintext is too long for one frame")]
    PlaintextTooLong,
    /// A direction has used up its frame numbers.
    #[error("the frame sequence is exhausted")]
    SequenceExhausted,
    /// The operating system gave no random bytes.
    #[error("no randomness available")]
    NoRandomness,
    /// The cryptographic library refused an operation that cannot fail on valid lengths.
    #[error("sealing failed")]
    SealFailed,
}
