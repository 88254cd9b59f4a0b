//! Whole requests and responses over both KEMs, and what happens when somebody on the way interferes.

use bytes::Bytes;

use crate::{
    FrameLimits, FrameReader, Kem, PrivateKey, RequestOpener, RequestSealer, ResponseOpener, SealingError,
};

const LIMITS: FrameLimits = FrameLimits { max_frame: 1 << 16, max_total: 1 << 20, max_empty: 100 };
const PIECES: [&[u8]; 3] = [br#"{"model":"m","#, b"", br#""prompt":"secret"}"#];

struct Request {
    private_key: PrivateKey,
    sealer: RequestSealer,
    frames: Vec<Bytes>,
}

impl Request {
    fn sealed(kem: Kem) -> Self {
        let private_key = PrivateKey::generate(kem).unwrap();
        let mut sealer = RequestSealer::new(private_key.public_key()).unwrap();
        let frames = PIECES.map(|piece| sealer.seal(piece).unwrap()).to_vec();
        Self { private_key, sealer, frames }
    }

    fn opener(&self) -> RequestOpener {
        RequestOpener::new(&self.private_key, self.sealer.encapsulated_key()).unwrap()
    }

    /// An opener that has opened the whole request.
    fn opened(&self) -> RequestOpener {
        let mut opener = self.opener();
        for frame in &self.frames {
            opener.open(&frame[4..]).unwrap();
        }
        opener
    }
}

/// Everything a backend does with a body, or that it refused it.
fn receive(private_key: &PrivateKey, encapsulated_key: &[u8], body: &[u8]) -> Option<Vec<u8>> {
    let mut opener = RequestOpener::new(private_key, encapsulated_key).ok()?;
    read_frames(body, |frame| opener.open(frame))
}

fn read_frames(body: &[u8], mut open: impl FnMut(&[u8]) -> Result<Vec<u8>, SealingError>) -> Option<Vec<u8>> {
    let mut reader = FrameReader::new(LIMITS);
    reader.push(Bytes::copy_from_slice(body));
    let mut plaintext = Vec::new();
    while let Some(frame) = reader.next().ok()? {
        plaintext.extend(open(&frame).ok()?);
    }
    reader.finish().ok()?;
    Some(plaintext)
}

#[test]
fn a_request_and_its_response_arrive_with_either_kem() {
    for kem in Kem::ALL {
        let request = Request::sealed(kem);
        let received =
            receive(&request.private_key, request.sealer.encapsulated_key(), &request.frames.concat());
        assert_eq!(received.unwrap(), PIECES.concat(), "{kem:?}");

        let mut response = request.opened().response_sealer().unwrap();
        let body: Vec<u8> = PIECES.iter().flat_map(|piece| response.seal(piece).unwrap()).collect();
        let mut opener = request.sealer.response_opener(response.nonce()).unwrap();
        assert_eq!(read_frames(&body, |frame| opener.open(frame)).unwrap(), PIECES.concat(), "{kem:?}");
    }
}

#[test]
fn a_frame_is_its_length_then_ciphertext_and_tag() {
    let request = Request::sealed(Kem::X25519);
    for (piece, frame) in PIECES.iter().zip(&request.frames) {
        assert_eq!(frame[..4], (piece.len() as u32 + 16).to_be_bytes());
        assert_eq!(frame.len(), 4 + piece.len() + 16);
        assert!(piece.is_empty() || !frame.windows(piece.len()).any(|window| window == *piece));
    }
}

#[test]
fn empty_frames_change_nothing() {
    let request = Request::sealed(Kem::X25519);
    let body = request.frames.join(&[0; 8][..]);
    let received = receive(&request.private_key, request.sealer.encapsulated_key(), &body);
    assert_eq!(received.unwrap(), PIECES.concat());
}

#[test]
fn a_bit_flipped_anywhere_in_a_request_is_refused() {
    for kem in Kem::ALL {
        let request = Request::sealed(kem);
        let (key, body) = (request.sealer.encapsulated_key(), request.frames.concat());
        for index in 0..body.len() {
            for bit in [0x01, 0x80] {
                let mut tampered = body.clone();
                tampered[index] ^= bit;
                assert_eq!(receive(&request.private_key, key, &tampered), None, "{kem:?} body byte {index}");
            }
        }
        // The top bit of an X25519 key does not change the point; it must still change the outcome, or the
        // same request could be admitted twice.
        for index in 0..key.len() {
            for bit in [0x01, 0x80] {
                let mut tampered = key.to_vec();
                tampered[index] ^= bit;
                assert_eq!(receive(&request.private_key, &tampered, &body), None, "{kem:?} key byte {index}");
            }
        }
    }
}

#[test]
fn a_bit_flipped_anywhere_in_a_response_is_refused() {
    let request = Request::sealed(Kem::X25519);
    let mut response = request.opened().response_sealer().unwrap();
    let body: Vec<u8> = PIECES.iter().flat_map(|piece| response.seal(piece).unwrap()).collect();
    for index in 0..body.len() {
        for bit in 0..8 {
            let mut tampered = body.clone();
            tampered[index] ^= 1 << bit;
            let mut opener = request.sealer.response_opener(response.nonce()).unwrap();
            assert_eq!(read_frames(&tampered, |frame| opener.open(frame)), None, "byte {index} bit {bit}");
        }
    }
}

#[test]
fn request_frames_reordered_repeated_or_left_out_are_refused() {
    let request = Request::sealed(Kem::X25519);
    for order in [&[1, 0, 2][..], &[2], &[1, 2], &[0, 0], &[0, 2], &[0, 1, 1]] {
        let body: Vec<u8> = order.iter().flat_map(|&index| request.frames[index].to_vec()).collect();
        let received = receive(&request.private_key, request.sealer.encapsulated_key(), &body);
        assert_eq!(received, None, "{order:?}");
    }
}

#[test]
fn response_frames_reordered_repeated_or_left_out_are_refused() {
    let request = Request::sealed(Kem::X25519);
    let mut response = request.opened().response_sealer().unwrap();
    let frames = PIECES.map(|piece| response.seal(piece).unwrap());
    for order in [&[1, 0, 2][..], &[2], &[1, 2], &[0, 0], &[0, 2], &[0, 1, 1]] {
        let body: Vec<u8> = order.iter().flat_map(|&index| frames[index].to_vec()).collect();
        let mut opener = request.sealer.response_opener(response.nonce()).unwrap();
        assert_eq!(read_frames(&body, |frame| opener.open(frame)), None, "{order:?}");
    }
}

#[test]
fn a_body_cut_inside_a_frame_is_refused_and_between_frames_is_not_noticed() {
    let request = Request::sealed(Kem::X25519);
    let body = request.frames.concat();
    let mut boundaries = vec![0];
    for frame in &request.frames {
        boundaries.push(boundaries[boundaries.len() - 1] + frame.len());
    }
    for end in 0..body.len() {
        let received = receive(&request.private_key, request.sealer.encapsulated_key(), &body[..end]);
        assert_eq!(received.is_some(), boundaries.contains(&end), "cut after {end} bytes");
    }
}

#[test]
fn frames_of_another_request_are_refused() {
    for kem in Kem::ALL {
        let request = Request::sealed(kem);
        let mut other = RequestSealer::new(request.private_key.public_key()).unwrap();
        let foreign = other.seal(PIECES[0]).unwrap();
        assert_eq!(request.opener().open(&foreign[4..]), Err(SealingError::OpenFailed));

        let mut response = request.opened().response_sealer().unwrap();
        let frame = response.seal(b"answer").unwrap();
        let mut wrong = other.response_opener(response.nonce()).unwrap();
        assert_eq!(wrong.open(&frame[4..]), Err(SealingError::OpenFailed));
    }
}

#[test]
fn another_private_key_opens_nothing() {
    for kem in Kem::ALL {
        let request = Request::sealed(kem);
        let other = PrivateKey::generate(kem).unwrap();
        assert_eq!(receive(&other, request.sealer.encapsulated_key(), &request.frames.concat()), None);
    }
}

#[test]
fn an_encapsulated_key_of_the_other_kem_is_malformed() {
    let (classic, post_quantum) = (Request::sealed(Kem::X25519), Request::sealed(Kem::XWing));
    for (key, encapsulated) in [
        (&classic.private_key, post_quantum.sealer.encapsulated_key()),
        (&post_quantum.private_key, classic.sealer.encapsulated_key()),
    ] {
        let refused = RequestOpener::new(key, encapsulated).unwrap_err();
        assert_eq!(refused, SealingError::MalformedEncapsulatedKey);
    }
}

#[test]
fn a_wrong_response_nonce_opens_nothing() {
    for kem in Kem::ALL {
        let request = Request::sealed(kem);
        let mut response = request.opened().response_sealer().unwrap();
        let frame = response.seal(b"answer").unwrap();
        let mut nonce = *response.nonce();
        nonce[31] ^= 1;
        let mut opener = request.sealer.response_opener(&nonce).unwrap();
        assert_eq!(opener.open(&frame[4..]), Err(SealingError::OpenFailed));
    }
}

#[test]
fn every_response_has_a_nonce_of_its_own() {
    let opener = Request::sealed(Kem::X25519).opened();
    let (one, other) = (opener.response_sealer().unwrap(), opener.response_sealer().unwrap());
    assert_ne!(one.nonce(), other.nonce());
}

#[test]
fn a_request_frame_does_not_open_as_a_response() {
    let request = Request::sealed(Kem::X25519);
    let response = request.opened().response_sealer().unwrap();
    let mut opener: ResponseOpener = request.sealer.response_opener(response.nonce()).unwrap();
    assert_eq!(opener.open(&request.frames[0][4..]), Err(SealingError::OpenFailed));
}

#[test]
fn no_response_is_sealed_to_a_request_that_did_not_open() {
    let request = Request::sealed(Kem::X25519);
    let mut opener = request.opener();
    assert_eq!(opener.response_sealer().unwrap_err(), SealingError::RequestNotOpened);
    assert_eq!(opener.open(&[0; 40]), Err(SealingError::OpenFailed));
    assert_eq!(opener.response_sealer().unwrap_err(), SealingError::RequestNotOpened);
}

#[test]
fn a_request_that_failed_once_stays_closed_and_its_error_may_be_sealed() {
    let request = Request::sealed(Kem::X25519);
    let mut opener = request.opener();
    opener.open(&request.frames[0][4..]).unwrap();
    assert_eq!(opener.open(&request.frames[2][4..]), Err(SealingError::OpenFailed));
    assert_eq!(opener.open(&request.frames[1][4..]), Err(SealingError::OpenFailed));
    assert!(opener.response_sealer().is_ok());
}
