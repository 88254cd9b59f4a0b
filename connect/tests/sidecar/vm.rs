//! An attested backend whose keys the test holds. It runs no model: it opens what was sealed to it and answers with
//! what the test says.

use cocoon_attestation::{
    EngineInfo, HpkeKey, KEYSET_VERSION, Keyset, ModelInfo, Operator, PrefixCache, Release,
};
use cocoon_openapi::x_conf::{self, XConf};
use cocoon_receipts::{Digest, NanoTon, Price, Receipt, ReceiptId, SigningKey, Usage, body_digest};
use cocoon_sealing::{
    FrameLimits, FrameReader, Kem, PrivateKey, RequestOpener, encode_hex, parse_encapsulated_key,
};

pub(crate) const MODEL: &str = "m";
pub(crate) const PRICE: Price = Price {
    table: 1,
    prompt: NanoTon(2_000_000),
    cached: NanoTon(1_000_000),
    completion: NanoTon(6_000_000),
    reasoning: NanoTon(6_000_000),
};
pub(crate) const USAGE: Usage = Usage { prompt: 10, cached: 0, completion: 5, reasoning: 0 };

/// What it answers, before it is sealed.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    /// One frame each; JSON without its closing brace.
    pub(crate) frames: Vec<&'static str>,
    /// After the receipt of a stream.
    pub(crate) rest: &'static str,
}

impl Script {
    pub(crate) fn whole() -> Self {
        Self {
            status: 200,
            content_type: "application/json",
            frames: vec![r#"{"id":"x","text":"the answer"  "#],
            rest: "",
        }
    }

    pub(crate) fn stream() -> Self {
        Self {
            status: 200,
            content_type: "text/event-stream; charset=utf-8",
            frames: vec!["data: {\"n\":1}\n\n:ppp\n\n", "data: {\"n\":2}\n\n", "data: {\"n\":3}\n\n"],
            rest: "data: [DONE]\n\n",
        }
    }
}

/// A request as it came out of its seal.
#[derive(Debug, Clone)]
pub(crate) struct Opened {
    pub(crate) kem: Kem,
    pub(crate) context: XConf,
    pub(crate) body: Vec<u8>,
    pub(crate) encapsulated_key: Vec<u8>,
}

/// A sealed answer.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) nonce: String,
    pub(crate) frames: Vec<Vec<u8>>,
}

pub(crate) struct Vm {
    x25519: PrivateKey,
    x_wing: PrivateKey,
    receipt_key: SigningKey,
    pub(crate) keyset: Keyset,
}

impl Vm {
    /// Valid from the epoch to `not_after`.
    pub(crate) fn new(kems: &[Kem], release: u64, not_after: u64) -> Self {
        let (x25519, x_wing) =
            (PrivateKey::generate(Kem::X25519).unwrap(), PrivateKey::generate(Kem::XWing).unwrap());
        let receipt_key = SigningKey::generate().unwrap();
        let public = |kem: &Kem| match kem {
            Kem::X25519 => HpkeKey::new(0, kem.id(), x25519.public_key().as_bytes()),
            Kem::XWing => HpkeKey::new(1, kem.id(), x_wing.public_key().as_bytes()),
        };
        let keyset = Keyset {
            version: KEYSET_VERSION,
            operator: Operator { address: "0:11".parse().unwrap(), workchain: 0 },
            not_before: 0,
            not_after,
            hpke: kems.iter().map(public).collect(),
            receipt_key: receipt_key.public().to_jwk(),
            model: ModelInfo {
                id: MODEL.into(),
                sha256: Digest([0; 32]),
                quantization: "none".into(),
                context_length: 1000,
            },
            engine: EngineInfo { name: "none".into(), version: "0".into() },
            prefix_cache: PrefixCache::Off,
            release: Release { name: "cocoon".into(), sequence: release },
        };
        Self { x25519, x_wing, receipt_key, keyset }
    }

    pub(crate) fn digest(&self) -> Digest {
        Digest::of(&[&self.keyset.to_bytes()])
    }

    fn opener(&self, encapsulated_key: &str) -> (Kem, Vec<u8>, RequestOpener) {
        let (kem, bytes) = parse_encapsulated_key(encapsulated_key).unwrap();
        let key = match kem {
            Kem::X25519 => &self.x25519,
            Kem::XWing => &self.x_wing,
        };
        let opener = RequestOpener::new(key, &bytes).unwrap();
        (kem, bytes, opener)
    }

    /// Opens a request and answers it by `script`, with a true receipt but for what `lie` does to it.
    pub(crate) fn answer(
        &self,
        encapsulated_key: &str,
        sealed: &[u8],
        script: &Script,
        lie: &(dyn Fn(&mut Receipt) + Send + Sync),
    ) -> (Opened, Reply) {
        let (kem, bytes, mut opener) = self.opener(encapsulated_key);
        let limits = FrameLimits { max_frame: 1 << 24, max_total: 1 << 26, max_empty: 1 };
        let mut reader = FrameReader::new(limits);
        reader.push(sealed.to_vec().into());
        let mut plain = Vec::new();
        while let Some(frame) = reader.next().unwrap() {
            plain.extend(opener.open(&frame).unwrap());
        }
        let (context, body) = x_conf::remove(plain).unwrap();
        let context = context.unwrap();

        let mut sealer = opener.response_sealer().unwrap();
        let nonce = encode_hex(sealer.nonce());
        let mut frames: Vec<Vec<u8>> =
            script.frames.iter().map(|frame| sealer.seal(frame.as_bytes()).unwrap().to_vec()).collect();
        let mut receipt = Receipt {
            iss: self.digest(),
            jti: ReceiptId::generate(),
            iat: 1,
            seq: 1,
            prev: Digest([0; 32]),
            ticket: Digest([0; 32]),
            cn: Digest::of(&[&context.nonce.0]),
            req_hash: Digest::of(&[sealed]),
            resp_hash: Digest::of(&[&frames.concat()]),
            resp_frames: frames.len() as u64,
            status: script.status,
            ctype: script.content_type.into(),
            model: context.model.clone(),
            weights: Digest([0; 32]),
            usage: USAGE,
            price: PRICE,
            cost: PRICE.cost(&USAGE).unwrap(),
            finish: "stop".into(),
            complete: true,
            started: 1,
            finished: 2,
            body: Some(body_digest(&context.nonce.0, &body)),
            is_final: true,
        };
        lie(&mut receipt);
        let token = receipt.sign(&self.receipt_key).unwrap();
        let end = if script.content_type.starts_with("text/event-stream") {
            format!(": receipt {token}\n\n{}:pppp\n\n", script.rest)
        } else {
            format!(",\"x_receipt\":\"{token}\"}}    ")
        };
        frames.push(sealer.seal(end.as_bytes()).unwrap().to_vec());
        (Opened { kem, context, body, encapsulated_key: bytes }, Reply { nonce, frames })
    }
}
