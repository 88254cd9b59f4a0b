//! A backend's end is played by hand here, so that every part of an answer can be wrong by itself.

use bytes::Bytes;
use cocoon_openapi::padding;
use cocoon_openapi::x_conf::{self, ClientNonce, XConf};
use cocoon_receipts::{Digest, NanoTon, Price, Receipt, ReceiptId, SigningKey, Usage, body_digest};
use cocoon_sealing::{
    FrameError, FrameLimits, FrameReader, Kem, PrivateKey, RequestOpener, ResponseSealer, encode_hex,
};
use proptest::prelude::*;

use crate::{Answer, AnswerError, Encapsulated, Head, Piece, Sealed, Signer, Whole, sealed_len};

const KEYSET: Digest = Digest([4; 32]);
const NONCE: ClientNonce = ClientNonce([5; 32]);
const BODY: &[u8] = br#"{ "model":"m", "messages":[] }"#;
const JSON: &str = "application/json";
const STREAM: &str = "text/event-stream; charset=utf-8";
const PRICE: Price = Price {
    table: 1,
    prompt: NanoTon(2_000_000),
    cached: NanoTon(1_000_000),
    completion: NanoTon(6_000_000),
    reasoning: NanoTon(6_000_000),
};
const USAGE: Usage = Usage { prompt: 10, cached: 1, completion: 5, reasoning: 0 };

/// A request that was sealed, and the backend that opened it.
struct Exchange {
    key: PrivateKey,
    receipt_key: SigningKey,
    encapsulated_key: Vec<u8>,
    sealed: Sealed,
}

fn context() -> XConf {
    XConf {
        v: 1,
        nonce: NONCE,
        ts: 0,
        path: "/v1/chat/completions".into(),
        model: "m".into(),
        keyset: KEYSET,
        price_max: None,
        max_cost: None,
        acct: None,
        pad: None,
    }
}

#[test]
fn the_length_is_known_before_anything_is_sealed() {
    let key = PrivateKey::generate(Kem::X25519).unwrap();
    for padding in [0, 1, 256 * 1024 - 300, 256 * 1024, 600_000] {
        let body = format!(r#"{{"model":"{}"}}"#, "m".repeat(padding));
        let sealed = Encapsulated::new(key.public_key()).unwrap().seal(body.as_bytes(), &context()).unwrap();
        assert_eq!(sealed_len(body.as_bytes(), &context()).unwrap(), sealed.frames.len(), "{padding}");
    }
}

impl Exchange {
    fn new() -> Self {
        Self::of(Kem::X25519, BODY, &context())
    }

    fn of(kem: Kem, body: &[u8], context: &XConf) -> Self {
        let key = PrivateKey::generate(kem).unwrap();
        let encapsulated = Encapsulated::new(key.public_key()).unwrap();
        let encapsulated_key = encapsulated.key().to_vec();
        let sealed = encapsulated.seal(body, context).unwrap();
        Self { key, receipt_key: SigningKey::generate().unwrap(), encapsulated_key, sealed }
    }

    /// The request as the backend opens it, frame by frame.
    fn open(&self) -> (RequestOpener, Vec<Vec<u8>>) {
        let mut opener = RequestOpener::new(&self.key, &self.encapsulated_key).unwrap();
        let limits = FrameLimits { max_frame: 1 << 20, max_total: 1 << 24, max_empty: 0 };
        let mut reader = FrameReader::new(limits);
        reader.push(self.sealed.frames.clone());
        let mut plain = Vec::new();
        while let Some(frame) = reader.next().unwrap() {
            plain.push(opener.open(&frame).unwrap());
        }
        reader.finish().unwrap();
        (opener, plain)
    }

    fn respond(&self) -> ResponseSealer {
        self.open().0.response_sealer().unwrap()
    }

    /// The receipt that fits everything.
    fn receipt(&self, content_type: &str, frames: &[Vec<u8>]) -> Receipt {
        Receipt {
            iss: KEYSET,
            jti: ReceiptId::generate(),
            iat: 1,
            seq: 1,
            prev: Digest([0; 32]),
            ticket: Digest([1; 32]),
            cn: Digest::of(&[&NONCE.0]),
            req_hash: Digest::of(&[&self.sealed.frames]),
            resp_hash: Digest::of(&[&frames.concat()]),
            resp_frames: frames.len() as u64,
            status: 200,
            ctype: content_type.into(),
            model: "m".into(),
            weights: Digest([0; 32]),
            usage: USAGE,
            price: PRICE,
            cost: PRICE.cost(&USAGE).unwrap(),
            finish: "stop".into(),
            complete: true,
            started: 1,
            finished: 2,
            body: Some(body_digest(&NONCE.0, BODY)),
            is_final: true,
        }
    }

    fn head(content_type: &str) -> Head {
        Head { status: 200, content_type: content_type.into() }
    }

    fn answer(&self, sealer_nonce: &[u8; 32], content_type: &str) -> Answer {
        let signer = Signer { keyset: KEYSET, key: self.receipt_key.public().clone() };
        Answer::new(&self.sealed, &encode_hex(sealer_nonce), Self::head(content_type), signer).unwrap()
    }
}

/// What a backend sends: an answer's frames, the last of them with the receipt.
struct Sent {
    exchange: Exchange,
    nonce: [u8; 32],
    content_type: &'static str,
    frames: Vec<Vec<u8>>,
}

const EVENTS: [&str; 3] =
    ["data: {\"n\":1}\n\n", "data: {\"n\":2}\n\ndata: {\"n\":3}\n\n", "data: {\"n\":4}\n\n"];
const DONE: &str = "data: [DONE]\n\n";

fn padded_events(text: &str) -> Vec<u8> {
    let mut events = text.as_bytes().to_vec();
    padding::pad_events(&mut events, 128);
    events
}

fn padded_json(text: &str) -> Vec<u8> {
    let mut json = text.as_bytes().to_vec();
    padding::pad_json(&mut json, 64);
    json
}

impl Sent {
    /// With `change` done to the receipt before it is signed.
    fn with(content_type: &'static str, change: impl FnOnce(&mut Receipt)) -> Self {
        let exchange = Exchange::new();
        let mut sealer = exchange.respond();
        let content: Vec<Vec<u8>> = match content_type {
            STREAM => EVENTS.iter().map(|events| padded_events(events)).collect(),
            _ => vec![padded_json(r#"{"a":1, "b":"  ""#)],
        };
        let mut frames: Vec<Vec<u8>> =
            content.iter().map(|plain| sealer.seal(plain).unwrap().to_vec()).collect();
        let mut receipt = exchange.receipt(content_type, &frames);
        change(&mut receipt);
        let token = receipt.sign(&exchange.receipt_key).unwrap();
        let end = match content_type {
            STREAM => padded_events(&format!(": receipt {token}\n\n{DONE}")),
            _ => padded_json(&format!(",\"x_receipt\":\"{token}\"}}")),
        };
        frames.push(sealer.seal(&end).unwrap().to_vec());
        let nonce = *sealer.nonce();
        Self { exchange, nonce, content_type, frames }
    }

    fn honest(content_type: &'static str) -> Self {
        Self::with(content_type, |_| ())
    }

    fn bytes(&self) -> Vec<u8> {
        self.frames.concat()
    }

    /// What the client makes of these bytes.
    fn received(&self, bytes: &[u8]) -> Result<(Vec<u8>, Box<Receipt>), AnswerError> {
        receive(self.exchange.answer(&self.nonce, self.content_type), [bytes])
    }
}

/// Reads an answer to its end, as gateway and sidecar do.
fn receive<'a>(
    mut answer: Answer,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> Result<(Vec<u8>, Box<Receipt>), AnswerError> {
    let (mut content, mut whole, mut end) = (Vec::new(), Whole::default(), None);
    for chunk in chunks {
        answer.push(Bytes::copy_from_slice(chunk));
        while let Some(piece) = answer.next_piece()? {
            match piece {
                Piece::Content(bytes) => {
                    content.extend_from_slice(&bytes);
                    whole.add(&bytes, 1 << 20)?;
                }
                Piece::End { claims, rest, .. } => end = Some((claims, rest)),
            }
        }
    }
    answer.finish()?;
    let (claims, rest) = end.expect("a finished answer has an end");
    assert!(answer.is_ended());
    if answer.head().is_stream() {
        content.extend_from_slice(&rest);
        Ok((content, claims))
    } else {
        Ok((whole.close(&rest), claims))
    }
}

#[test]
fn a_request_is_the_clients_bytes_with_its_context() {
    for kem in Kem::ALL {
        let exchange = Exchange::of(kem, BODY, &context());
        let plain = exchange.open().1.concat();
        let (found, body) = x_conf::remove(plain).unwrap();
        assert_eq!((found, body.as_slice()), (Some(context()), BODY), "{kem:?}");
    }
}

#[test]
fn a_long_request_is_cut_into_frames_that_a_backend_takes() {
    let body = format!(r#"{{"model":"m","messages":"{}"}}"#, "x".repeat(600 * 1024));
    let exchange = Exchange::of(Kem::X25519, body.as_bytes(), &context());
    let frames = exchange.open().1;
    assert_eq!(frames.len(), 3);
    assert!(frames.iter().all(|frame| frame.len() <= 256 * 1024));
}

#[test]
fn a_body_that_is_no_object_is_not_sealed() {
    for body in ["", "[]", "7"] {
        let key = PrivateKey::generate(Kem::X25519).unwrap();
        let encapsulated = Encapsulated::new(key.public_key()).unwrap();
        assert!(encapsulated.seal(body.as_bytes(), &context()).is_err(), "{body}");
    }
}

#[test]
fn an_honest_answer_is_handed_on_without_padding_and_receipt() {
    let sent = Sent::honest(JSON);
    let (body, claims) = sent.received(&sent.bytes()).unwrap();
    assert_eq!(String::from_utf8(body).unwrap(), r#"{"a":1, "b":"  "}"#);
    assert_eq!(claims.cost, PRICE.cost(&USAGE).unwrap());

    let sent = Sent::honest(STREAM);
    let (body, _) = sent.received(&sent.bytes()).unwrap();
    assert_eq!(String::from_utf8(body).unwrap(), EVENTS.concat() + DONE);
}

#[test]
fn every_frame_of_a_stream_is_a_piece() {
    let sent = Sent::honest(STREAM);
    let mut answer = sent.exchange.answer(&sent.nonce, STREAM);
    for (frame, events) in sent.frames.iter().zip(EVENTS) {
        answer.push(frame.clone().into());
        match answer.next_piece() {
            Ok(Some(Piece::Content(bytes))) => assert_eq!(bytes, events),
            other => panic!("{other:?}"),
        }
        assert!(matches!(answer.next_piece(), Ok(None)));
        assert_eq!(answer.finish(), Err(AnswerError::Truncated));
    }
}

#[test]
fn an_answer_that_is_cut_is_truncated() {
    for content_type in [JSON, STREAM] {
        let sent = Sent::honest(content_type);
        let bytes = sent.bytes();
        let mut boundaries = vec![0];
        for frame in &sent.frames {
            boundaries.push(boundaries[boundaries.len() - 1] + frame.len());
        }
        for length in 0..bytes.len() {
            let expected = if boundaries.contains(&length) {
                AnswerError::Truncated
            } else {
                AnswerError::Frame(FrameError::Truncated)
            };
            assert_eq!(sent.received(&bytes[..length]).unwrap_err(), expected, "{length} bytes");
        }
    }
}

#[test]
fn no_bit_of_an_answer_can_be_flipped() {
    for content_type in [JSON, STREAM] {
        let sent = Sent::honest(content_type);
        let bytes = sent.bytes();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            assert!(sent.received(&changed).is_err(), "byte {at}");
        }
    }
}

#[test]
fn frames_come_once_and_in_order() {
    let sent = Sent::honest(STREAM);
    let count = sent.frames.len();
    for one in 0..count {
        let mut dropped = sent.frames.clone();
        dropped.remove(one);
        assert!(sent.received(&dropped.concat()).is_err(), "{one} dropped");
        let mut doubled = sent.frames.clone();
        doubled.insert(one, sent.frames[one].clone());
        assert!(sent.received(&doubled.concat()).is_err(), "{one} doubled");
        for other in one + 1..count {
            let mut swapped = sent.frames.clone();
            swapped.swap(one, other);
            assert!(sent.received(&swapped.concat()).is_err(), "{one} and {other} swapped");
        }
    }
    // The frames of another answer to the same request are not its own.
    let other = Sent::honest(STREAM);
    assert_eq!(sent.received(&other.bytes()).unwrap_err(), AnswerError::Tampered);
}

#[test]
fn nothing_comes_after_the_receipt() {
    for content_type in [JSON, STREAM] {
        let sent = Sent::honest(content_type);
        let bytes = sent.bytes();
        let last = sent.frames[sent.frames.len() - 1].clone();
        for (more, expected) in [
            (last, AnswerError::Trailing),
            (vec![0, 0, 0, 1, 7], AnswerError::Trailing),
            (vec![0, 0, 0], AnswerError::Frame(FrameError::Truncated)),
        ] {
            assert_eq!(sent.received(&[bytes.clone(), more].concat()).unwrap_err(), expected);
        }
        // Empty frames are no part of an answer (EHBP 4.3).
        assert!(sent.received(&[bytes, vec![0; 4]].concat()).is_ok());
    }
}

#[test]
fn the_last_frame_says_nothing_but_receipt_and_end() {
    for (content_type, before, after) in [
        (STREAM, ": receipt ", "\n\ndata: {\"more\":1}\n\ndata: [DONE]\n\n"),
        (STREAM, ": receipt ", "\n\ndata: [DONE]\n\ndata: [DONE]\n\n"),
        (STREAM, ": receipt ", "\ndata: 1\n\n"),
        (JSON, ",\"x_receipt\":\"", "\",\"more\":1}"),
        (JSON, ",\"x_receipt\":\"", "\"}}"),
        (JSON, ",\"x_receipt\":\"", "\""),
    ] {
        let exchange = Exchange::new();
        let mut sealer = exchange.respond();
        let token = exchange.receipt(content_type, &[]).sign(&exchange.receipt_key).unwrap();
        let frame = sealer.seal(format!("{before}{token}{after}").as_bytes()).unwrap();
        let answer = exchange.answer(sealer.nonce(), content_type);
        assert_eq!(receive(answer, [frame.as_ref()]).unwrap_err(), AnswerError::Trailing, "{after:?}");
    }
}

#[test]
fn an_endpoint_without_done_ends_with_its_receipt() {
    let exchange = Exchange::new();
    let mut sealer = exchange.respond();
    let token = exchange.receipt(STREAM, &[]).sign(&exchange.receipt_key).unwrap();
    let frame = sealer.seal(&padded_events(&format!(": receipt {token}\n\n"))).unwrap();
    let answer = exchange.answer(sealer.nonce(), STREAM);
    assert_eq!(receive(answer, [frame.as_ref()]).unwrap().0, b"");
}

#[test]
fn a_receipt_must_fit_in_everything_it_says() {
    type Change = fn(&mut Receipt);
    let changes: [(&str, Change); 14] = [
        ("iss", |receipt| receipt.iss.0[0] ^= 1),
        ("req_hash", |receipt| receipt.req_hash.0[0] ^= 1),
        ("resp_hash", |receipt| receipt.resp_hash.0[0] ^= 1),
        ("resp_frames", |receipt| receipt.resp_frames += 1),
        ("cn", |receipt| receipt.cn.0[0] ^= 1),
        ("body", |receipt| receipt.body = None),
        ("body", |receipt| receipt.body = Some(body_digest(&NONCE.0, b"{}"))),
        ("status", |receipt| receipt.status = 201),
        ("ctype", |receipt| receipt.ctype = "text/plain".into()),
        ("model", |receipt| receipt.model = "cheaper".into()),
        ("cost", |receipt| receipt.cost.0 += 1),
        ("cost", |receipt| receipt.usage.completion += 1_000_000),
        ("cost", |receipt| receipt.price.completion.0 += 1_000_000),
        ("signature", |receipt| receipt.is_final = false),
    ];
    for content_type in [JSON, STREAM] {
        for (claim, change) in changes {
            let sent = Sent::with(content_type, change);
            assert_eq!(sent.received(&sent.bytes()).unwrap_err(), AnswerError::Receipt(claim));
        }
    }
}

#[test]
fn a_receipt_of_another_signer_is_refused() {
    let mut sent = Sent::honest(JSON);
    sent.exchange.receipt_key = SigningKey::generate().unwrap();
    assert_eq!(sent.received(&sent.bytes()).unwrap_err(), AnswerError::Receipt("signature"));
}

#[test]
fn what_the_response_says_outside_must_be_what_was_signed() {
    for content_type in [JSON, STREAM] {
        let sent = Sent::honest(content_type);
        let other_type = if content_type == STREAM { "text/event-stream" } else { "text/html" };
        for (head, claim) in [
            (Head { status: 500, content_type: content_type.into() }, "status"),
            (Head { status: 200, content_type: other_type.into() }, "ctype"),
        ] {
            let mut answer = sent.exchange.answer(&sent.nonce, content_type);
            answer.head = head;
            assert_eq!(receive(answer, [sent.bytes().as_slice()]).unwrap_err(), AnswerError::Receipt(claim));
        }
    }
}

#[test]
fn a_stream_that_is_called_json_is_not_whole() {
    // Which frame ends an answer depends on its type; who changes the type finds no end.
    let sent = Sent::honest(STREAM);
    let answer = sent.exchange.answer(&sent.nonce, JSON);
    assert_eq!(receive(answer, [sent.bytes().as_slice()]).unwrap_err(), AnswerError::Truncated);
}

#[test]
fn a_response_nonce_is_64_hexadecimal_characters() {
    let exchange = Exchange::new();
    for nonce in ["", "00", "zz", &"0".repeat(63), &"g".repeat(64)] {
        let signer = Signer { keyset: KEYSET, key: exchange.receipt_key.public().clone() };
        let answer = Answer::new(&exchange.sealed, nonce, Exchange::head(JSON), signer);
        assert_eq!(answer.unwrap_err(), AnswerError::Nonce, "{nonce}");
    }
    let sent = Sent::honest(JSON);
    let answer = sent.exchange.answer(&[9; 32], JSON);
    assert_eq!(receive(answer, [sent.bytes().as_slice()]).unwrap_err(), AnswerError::Tampered);
}

#[test]
fn a_whole_answer_has_a_bound() {
    let mut whole = Whole::default();
    whole.add(b"1234", 6).unwrap();
    assert_eq!(whole.add(b"567", 6), Err(AnswerError::TooLarge));
    whole.add(b"56", 6).unwrap();
    assert_eq!(whole.close(b"}"), b"123456}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However the network cuts an answer, it is the same answer.
    #[test]
    fn it_does_not_matter_how_bytes_arrive(
        stream: bool,
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let sent = Sent::honest(if stream { STREAM } else { JSON });
        let bytes = sent.bytes();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let chunks = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]);
        let answer = sent.exchange.answer(&sent.nonce, sent.content_type);
        let (body, _) = receive(answer, chunks).unwrap();
        prop_assert_eq!(body, sent.received(&bytes).unwrap().0);
    }

    /// Whatever is sent in an answer's place is no answer.
    #[test]
    fn other_bytes_are_never_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let sent = Sent::honest(JSON);
        prop_assert!(sent.received(&bytes).is_err());
    }
}
