//! Every parser on random and on slightly broken input: it must answer, never panic, and stay within its limits.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::{
    FrameLimits, FrameReader, Kem, PrivateKey, PublicKey, RequestOpener, RequestSealer, decode_key_configs,
    encode_hex, encode_key_configs, parse_encapsulated_key, parse_response_nonce,
};

const TIME_PER_PARSER: Duration = Duration::from_millis(500);

/// SplitMix64: the same bytes on every machine, for as many rounds as it has time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }

    /// A copy of `seed` with a few bytes changed, inserted, removed or cut off.
    fn broken(&mut self, seed: &[u8]) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            match self.below(4) {
                0 if at < bytes.len() => bytes[at] = self.next() as u8,
                1 => bytes.insert(at, self.next() as u8),
                2 if at < bytes.len() => drop(bytes.remove(at)),
                _ => bytes.truncate(at),
            }
        }
        bytes
    }
}

fn drive(mut round: impl FnMut(&mut Random)) {
    let mut random = Random(0x636f_636f_6f6e);
    let started = Instant::now();
    while started.elapsed() < TIME_PER_PARSER {
        for _ in 0..16 {
            round(&mut random);
        }
    }
}

#[test]
fn key_configurations() {
    let (classic, post_quantum) =
        (PrivateKey::generate(Kem::X25519).unwrap(), PrivateKey::generate(Kem::XWing).unwrap());
    let valid = encode_key_configs(&[(0, classic.public_key()), (1, post_quantum.public_key())]);
    drive(|random| {
        let length = random.below(200);
        let noise = random.bytes(length);
        for input in [noise, random.broken(&valid)] {
            if let Ok(configs) = decode_key_configs(&input) {
                assert!((1..=16).contains(&configs.len()));
            }
        }
    });
}

#[test]
fn header_values() {
    let valid = encode_hex(&[0x5a; 32]);
    drive(|random| {
        let length = random.below(100);
        let noise = random.bytes(length);
        for input in [noise, random.broken(valid.as_bytes())] {
            let text = String::from_utf8_lossy(&input);
            if let Ok((kem, key)) = parse_encapsulated_key(&text) {
                assert_eq!(key.len(), kem.encapsulated_key_len());
            }
            if let Ok(nonce) = parse_response_nonce(&text) {
                assert_eq!(encode_hex(&nonce), text.to_lowercase());
            }
        }
    });
}

#[test]
fn frames() {
    let limits = FrameLimits { max_frame: 300, max_total: 1000, max_empty: 10 };
    drive(|random| {
        let mut reader = FrameReader::new(limits);
        let mut given = 0;
        'body: for _ in 0..random.below(40) {
            let length = random.below(60);
            let mut chunk = random.bytes(length);
            // Mostly small bytes, so that lengths are often plausible.
            chunk.iter_mut().for_each(|byte| *byte = if *byte < 200 { *byte % 2 } else { *byte });
            reader.push(Bytes::from(chunk));
            loop {
                match reader.next() {
                    Ok(Some(frame)) => {
                        assert!((1..=limits.max_frame).contains(&frame.len()));
                        given += frame.len() as u64;
                        assert!(given <= limits.max_total);
                    }
                    Ok(None) => break,
                    Err(error) => {
                        assert_eq!(reader.finish(), Err(error));
                        break 'body;
                    }
                }
            }
        }
    });
}

#[test]
fn public_keys() {
    drive(|random| {
        for kem in Kem::ALL {
            let length = if random.below(2) == 0 { kem.public_key_len() } else { random.below(1300) };
            if let Ok(key) = PublicKey::new(kem, &random.bytes(length)) {
                assert_eq!(key.as_bytes().len(), kem.public_key_len());
            }
        }
    });
}

#[test]
fn encapsulated_keys_and_ciphertexts() {
    let keys = Kem::ALL.map(|kem| PrivateKey::generate(kem).unwrap());
    let requests = keys.each_ref().map(|key| {
        let mut sealer = RequestSealer::new(key.public_key()).unwrap();
        let frame = sealer.seal(b"a frame to break").unwrap();
        (sealer, frame)
    });
    drive(|random| {
        for (key, (sealer, frame)) in keys.iter().zip(&requests) {
            let encapsulated = match random.below(3) {
                0 => random.bytes(key.public_key().kem().encapsulated_key_len()),
                1 => random.broken(sealer.encapsulated_key()),
                _ => sealer.encapsulated_key().to_vec(),
            };
            let ciphertext = random.broken(&frame[4..]);
            if let Ok(mut opener) = RequestOpener::new(key, &encapsulated)
                && let Ok(opened) = opener.open(&ciphertext)
            {
                assert_eq!(opened, b"a frame to break");
            }
        }
    });
}
