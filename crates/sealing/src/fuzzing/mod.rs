//! What must hold whatever bytes a parser is given: one function per parser. The random test calls them for half a
//! second each, the targets in `/fuzz` for as long as one likes. They panic where something does not hold.

pub mod known;

use std::sync::LazyLock;

use bytes::Bytes;

use crate::{
    FrameError, FrameLimits, FrameReader, Kem, PublicKey, RequestOpener, RequestSealer, decode_key_configs,
    encode_hex, encode_key_configs, parse_encapsulated_key, parse_response_nonce,
};
use known::KnownRequest;

/// Key configurations, from the network as they are, and as small changes of a list that is right.
pub fn key_configs(input: &[u8]) {
    static RIGHT: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let [classic, post_quantum] = Kem::ALL.map(|kem| KnownRequest::of(kem).private_key.public_key());
        encode_key_configs(&[(0, classic), (1, post_quantum)])
    });
    for encoded in [input, &laid_over(&RIGHT, input)] {
        if let Ok(configs) = decode_key_configs(encoded) {
            assert!((1..=16).contains(&configs.len()));
            let keys: Vec<_> = configs.iter().map(|config| (config.key_id, &config.public_key)).collect();
            assert_eq!(decode_key_configs(&encode_key_configs(&keys)), Ok(configs));
        }
    }
}

/// Values of both headers. The text is also given at each length at which it could be right.
pub fn header_values(input: &[u8]) {
    header_value(&String::from_utf8_lossy(input));
    for kem in Kem::ALL {
        let repeated = input.iter().cycle().take(2 * kem.encapsulated_key_len());
        header_value(&String::from_utf8_lossy(&repeated.copied().collect::<Vec<u8>>()));
    }
}

fn header_value(text: &str) {
    if let Ok((kem, key)) = parse_encapsulated_key(text) {
        assert_eq!(key.len(), kem.encapsulated_key_len());
        assert_eq!(encode_hex(&key), text, "one key has one spelling");
    }
    if let Ok(nonce) = parse_response_nonce(text) {
        assert_eq!(encode_hex(&nonce), text.to_lowercase());
    }
}

/// A body in chunks. The first byte is how many cuts there are, that many bytes say how long the chunks are, and the
/// rest is the body.
pub fn frames(input: &[u8]) {
    const LIMITS: FrameLimits = FrameLimits { max_frame: 300, max_total: 1000, max_empty: 10 };
    let Some((cuts, rest)) = input.split_first() else { return };
    let (lengths, body) = rest.split_at(usize::from(*cuts).min(rest.len()));
    let mut left = body;
    let mut chunks = Vec::new();
    for length in lengths {
        let (chunk, after) = left.split_at(usize::from(*length).min(left.len()));
        chunks.push(chunk);
        left = after;
    }
    chunks.push(left);

    let read = read_frames(LIMITS, chunks);
    assert_eq!(read, read_frames(LIMITS, vec![body]), "the cuts change nothing");
    let (frames, end) = read;
    assert!(frames.iter().all(|frame| (1..=LIMITS.max_frame).contains(&frame.len())));
    let framed: Vec<u8> = frames.iter().flat_map(|frame| prefixed(frame)).collect();
    assert!(framed.len() as u64 <= LIMITS.max_total);
    if end.is_ok() {
        // What is not in a frame is the prefixes of empty ones.
        let empty = (body.len() - framed.len()) / 4;
        assert_eq!(body.len(), framed.len() + 4 * empty);
        assert!(empty <= LIMITS.max_empty as usize);
    }
}

fn read_frames(limits: FrameLimits, chunks: Vec<&[u8]>) -> (Vec<Bytes>, Result<(), FrameError>) {
    let mut reader = FrameReader::new(limits);
    let mut frames = Vec::new();
    for chunk in chunks {
        reader.push(Bytes::copy_from_slice(chunk));
        loop {
            match reader.next() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(reader.next(), Err(error));
                    assert_eq!(reader.finish(), Err(error));
                    return (frames, Err(error));
                }
            }
        }
    }
    (frames, reader.finish())
}

fn prefixed(frame: &[u8]) -> Vec<u8> {
    [&(frame.len() as u32).to_be_bytes()[..], frame].concat()
}

/// A public key of either KEM: the input, and the input filled up with zeros or cut to the right length.
pub fn public_keys(input: &[u8]) {
    for kem in Kem::ALL {
        let mut fitted = input.to_vec();
        fitted.resize(kem.public_key_len(), 0);
        for bytes in [input, &fitted] {
            if let Ok(key) = PublicKey::new(kem, bytes) {
                assert_eq!(key.kem(), kem);
                assert_eq!(key.as_bytes(), bytes);
                assert_eq!(bytes.len(), kem.public_key_len());
                assert!(RequestSealer::new(&key).is_ok(), "an accepted key can be sealed to");
            }
        }
    }
}

/// An encapsulated key and the ciphertext after it, for either KEM: the input itself, and the input as a change of a
/// request that opens. That one request opens, and nothing else does.
pub fn requests(input: &[u8]) {
    for kem in Kem::ALL {
        let known = KnownRequest::of(kem);
        let right = [&known.encapsulated_key[..], &known.ciphertext].concat();
        for request in [input, &laid_over(&right, input)] {
            let (encapsulated_key, ciphertext) =
                request.split_at(kem.encapsulated_key_len().min(request.len()));
            let Ok(mut opener) = RequestOpener::new(&known.private_key, encapsulated_key) else { continue };
            match opener.open(ciphertext) {
                Ok(opened) => {
                    assert_eq!(request, right, "a forgery opened");
                    assert_eq!(opened, known.plaintext);
                    assert!(opener.response_sealer().is_ok());
                }
                Err(_) => {
                    assert_ne!(request, right);
                    assert!(opener.open(&known.ciphertext).is_err(), "once failed, it stays closed");
                    assert!(opener.response_sealer().is_err());
                }
            }
        }
    }
}

/// `right` with `change` laid over it by exclusive or: short inputs are small changes, and zeros are none. What is
/// longer than `right` stays as it is.
fn laid_over(right: &[u8], change: &[u8]) -> Vec<u8> {
    let mut bytes = right.to_vec();
    bytes.resize(right.len().max(change.len()), 0);
    bytes.iter_mut().zip(change).for_each(|(byte, change)| *byte ^= change);
    bytes
}
