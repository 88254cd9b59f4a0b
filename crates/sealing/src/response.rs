use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use bytes::Bytes;
use zeroize::Zeroizing;

use crate::error::SealingError;
use crate::frame::{TAG_LEN, seal_frame};

const KEY_LEN: usize = 32;
const NONCE_LEN: usize = 12;

/// Seals one response body (EHBP 4.4). Made by [`RequestOpener`](crate::RequestOpener).
pub struct ResponseSealer {
    nonce: [u8; 32],
    cipher: FrameCipher,
}

impl ResponseSealer {
    pub(crate) fn new(
        secret: &[u8; 32],
        encapsulated_key: &[u8],
        nonce: [u8; 32],
    ) -> Result<Self, SealingError> {
        Ok(Self { nonce, cipher: FrameCipher::derive(secret, encapsulated_key, &nonce)? })
    }

    /// The value of [`RESPONSE_NONCE_HEADER`](crate::RESPONSE_NONCE_HEADER) before hex.
    pub fn nonce(&self) -> &[u8; 32] {
        &self.nonce
    }

    /// Seals the next piece of the body into a whole frame, length prefix included. An empty piece makes a
    /// frame too, which holds only its tag.
    pub fn seal(&mut self, plaintext: &[u8]) -> Result<Bytes, SealingError> {
        seal_frame(plaintext, |body| self.cipher.seal_in_place(body))
    }
}

impl fmt::Debug for ResponseSealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseSealer").finish_non_exhaustive()
    }
}

/// Opens one response body (EHBP 4.4). Made by [`RequestSealer`](crate::RequestSealer).
pub struct ResponseOpener {
    /// Dropped at the first frame that does not open.
    cipher: Option<FrameCipher>,
}

impl ResponseOpener {
    pub(crate) fn new(
        secret: &[u8; 32],
        encapsulated_key: &[u8],
        nonce: &[u8; 32],
    ) -> Result<Self, SealingError> {
        Ok(Self { cipher: Some(FrameCipher::derive(secret, encapsulated_key, nonce)?) })
    }

    /// Opens the next frame, given without its length prefix. After the first frame that does not open, none
    /// does any more.
    pub fn open(&mut self, ciphertext: &[u8]) -> Result<Vec<u8>, SealingError> {
        let cipher = self.cipher.as_mut().ok_or(SealingError::OpenFailed)?;
        let opened = cipher.open(ciphertext);
        if opened.is_err() {
            self.cipher = None;
        }
        opened
    }
}

impl fmt::Debug for ResponseOpener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseOpener").finish_non_exhaustive()
    }
}

/// AES-256-GCM over numbered frames, without associated data (EHBP 4.4.1 step 5).
struct FrameCipher {
    key: LessSafeKey,
    base_nonce: Zeroizing<[u8; NONCE_LEN]>,
    /// Number of the next frame; `None` once all 2^64 are used.
    next_frame: Option<u64>,
}

impl FrameCipher {
    fn derive(secret: &[u8; 32], encapsulated_key: &[u8], nonce: &[u8; 32]) -> Result<Self, SealingError> {
        let KeyMaterial { key, base_nonce } = KeyMaterial::derive(secret, encapsulated_key, nonce)?;
        let key =
            UnboundKey::new(&AES_256_GCM, key.as_ref()).map_err(|Unspecified| SealingError::SealFailed)?;
        Ok(Self { key: LessSafeKey::new(key), base_nonce, next_frame: Some(0) })
    }

    fn seal_in_place(&mut self, body: &mut [u8]) -> Result<[u8; TAG_LEN], SealingError> {
        let nonce = self.next_nonce()?;
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::empty(), body)
            .map_err(|Unspecified| SealingError::SealFailed)?;
        tag.as_ref().try_into().map_err(|_| SealingError::SealFailed)
    }

    fn open(&mut self, ciphertext: &[u8]) -> Result<Vec<u8>, SealingError> {
        let (body, tag) = ciphertext.split_last_chunk::<TAG_LEN>().ok_or(SealingError::OpenFailed)?;
        let nonce = self.next_nonce()?;
        let mut plaintext = vec![0; body.len()];
        self.key
            .open_separate_gather(nonce, Aad::empty(), body, tag, &mut plaintext)
            .map_err(|Unspecified| SealingError::OpenFailed)?;
        Ok(plaintext)
    }

    /// The base nonce with the frame's number, big-endian, folded into its last eight bytes.
    fn next_nonce(&mut self) -> Result<Nonce, SealingError> {
        let frame = self.next_frame.ok_or(SealingError::SequenceExhausted)?;
        self.next_frame = frame.checked_add(1);
        let mut nonce = *self.base_nonce;
        for (byte, number) in nonce[NONCE_LEN - 8..].iter_mut().zip(frame.to_be_bytes()) {
            *byte ^= number;
        }
        Ok(Nonce::assume_unique_for_key(nonce))
    }
}

/// Key and base nonce of a response (EHBP 4.4.1 steps 3 and 4).
struct KeyMaterial {
    key: Zeroizing<[u8; KEY_LEN]>,
    base_nonce: Zeroizing<[u8; NONCE_LEN]>,
}

impl KeyMaterial {
    fn derive(secret: &[u8; 32], encapsulated_key: &[u8], nonce: &[u8; 32]) -> Result<Self, SealingError> {
        let salt = [encapsulated_key, nonce].concat();
        let prk = Salt::new(HKDF_SHA256, &salt).extract(secret);
        let mut material =
            Self { key: Zeroizing::new([0; KEY_LEN]), base_nonce: Zeroizing::new([0; NONCE_LEN]) };
        for (label, out) in
            [(&b"key"[..], material.key.as_mut_slice()), (b"nonce", material.base_nonce.as_mut_slice())]
        {
            prk.expand(&[label], Length(out.len()))
                .and_then(|expanded| expanded.fill(out))
                .map_err(|Unspecified| SealingError::SealFailed)?;
        }
        Ok(material)
    }
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::hex_bytes;

    // From tinfoilsh/encrypted-http-body-protocol, test-vectors/derive.json and response-decryption.json (the
    // same three inputs), and the multi-frame and empty-frame cases of test-vectors/conformance/crypto.json.
    const SECRET: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const ENCAPSULATED_KEY: &str = "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f";
    const NONCE: &str = "404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f";

    fn published_sealer() -> ResponseSealer {
        ResponseSealer::new(&hex_bytes(SECRET), &hex_bytes::<32>(ENCAPSULATED_KEY), hex_bytes(NONCE)).unwrap()
    }

    fn published_opener() -> ResponseOpener {
        ResponseOpener::new(&hex_bytes(SECRET), &hex_bytes::<32>(ENCAPSULATED_KEY), &hex_bytes(NONCE))
            .unwrap()
    }

    #[test]
    fn the_published_key_and_base_nonce_are_derived() {
        let material =
            KeyMaterial::derive(&hex_bytes(SECRET), &hex_bytes::<32>(ENCAPSULATED_KEY), &hex_bytes(NONCE))
                .unwrap();
        assert_eq!(
            hex::encode(*material.key),
            "40ec528847cd4e928449f2ed1a70a7d1e8ee317d5e900424fc1dd5b0475b97f7"
        );
        assert_eq!(hex::encode(*material.base_nonce), "f8b0ce9466f27aa6243c65f9");
    }

    /// Computed with another HMAC. The salt is longer than any published one: 1120 + 32 bytes.
    #[test]
    fn an_x_wing_encapsulated_key_is_salt_as_a_whole() {
        let encapsulated_key: Vec<u8> = (0..1120u16).map(|index| index as u8).collect();
        let material = KeyMaterial::derive(&hex_bytes(SECRET), &encapsulated_key, &hex_bytes(NONCE)).unwrap();
        assert_eq!(
            hex::encode(*material.key),
            "69632d29ef3644325cfe53c34963ccb7d82f00bd609f9380ef3d20b387ed6740"
        );
        assert_eq!(hex::encode(*material.base_nonce), "0b123adee3def2d0f2e0b123");
    }

    #[test]
    fn published_frames_are_sealed_byte_for_byte_and_open() {
        let responses: [&[(&[u8], &str)]; 3] = [
            &[(
                b"hello from test vector",
                "0000002647e74d9a561b60ff42ac7ffbb4caf6b6d5ad0bb7621e41840d2ab7de7208ff7a59d0a2a482cc",
            )],
            &[
                (b"one", "0000001340ec44d12c444bc9dd4c9065bd70601249f609"),
                (b"two", "00000013d45408abbff98ad579cf340d35c575d02107a6"),
                (b"three", "0000001525273c814b6670b2645cd60de697580e3a02597bb1"),
            ],
            &[
                (b"before", "000000164de747994b5e42a3c41f9291aeb038109dc559e7941f"),
                (b"after", "00000015c14513df240e6ffecea81fb7716b56f480908b890d"),
            ],
        ];
        for frames in responses {
            let (mut sealer, mut opener) = (published_sealer(), published_opener());
            for (plaintext, sealed) in frames {
                assert_eq!(hex::encode(sealer.seal(plaintext).unwrap()), *sealed);
                assert_eq!(opener.open(&hex::decode(sealed).unwrap()[4..]).unwrap(), *plaintext);
            }
        }
    }

    #[test]
    fn the_last_frame_number_is_used_once_and_never_wraps() {
        let (mut sealer, mut opener) = (published_sealer(), published_opener());
        sealer.cipher.next_frame = Some(u64::MAX);
        opener.cipher.as_mut().unwrap().next_frame = Some(u64::MAX);
        let last = sealer.seal(b"last").unwrap();
        assert_eq!(opener.open(&last[4..]).unwrap(), b"last");
        assert_eq!(sealer.seal(b"one more"), Err(SealingError::SequenceExhausted));
        assert_eq!(opener.open(&last[4..]), Err(SealingError::SequenceExhausted));
    }

    #[test]
    fn the_frame_number_reaches_all_of_its_eight_bytes() {
        let mut cipher = published_sealer().cipher;
        cipher.next_frame = Some(0x0102_0304_0506_0708);
        let nonce = cipher.next_nonce().unwrap();
        assert_eq!(hex::encode(nonce.as_ref()), "f8b0ce9467f079a2213a62f1");
    }

    #[test]
    fn a_response_that_failed_once_stays_closed() {
        let frame = published_sealer().seal(b"hello").unwrap();
        let mut opener = published_opener();
        assert_eq!(opener.open(b"too short"), Err(SealingError::OpenFailed));
        assert_eq!(opener.open(&frame[4..]), Err(SealingError::OpenFailed));
    }
}
