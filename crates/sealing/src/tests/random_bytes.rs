//! Every parser on random and on slightly broken input: it must answer, never panic, and stay within its limits.

use std::time::{Duration, Instant};

use crate::fuzzing::{self, known::KnownRequest};
use crate::{Kem, encode_hex, encode_key_configs};

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
    let [classic, post_quantum] = Kem::ALL.map(|kem| KnownRequest::of(kem).private_key.public_key());
    let valid = encode_key_configs(&[(0, classic), (1, post_quantum)]);
    drive(|random| {
        let length = random.below(200);
        fuzzing::key_configs(&random.bytes(length));
        fuzzing::key_configs(&random.broken(&valid));
    });
}

#[test]
fn header_values() {
    let valid = encode_hex(&[0x5a; 32]);
    drive(|random| {
        let length = random.below(100);
        fuzzing::header_values(&random.bytes(length));
        fuzzing::header_values(&random.broken(valid.as_bytes()));
    });
}

#[test]
fn frames() {
    drive(|random| {
        let length = random.below(1200);
        let mut input = random.bytes(length);
        // Mostly small bytes, so that lengths are often plausible.
        input.iter_mut().for_each(|byte| *byte = if *byte < 200 { *byte % 2 } else { *byte });
        fuzzing::frames(&input);
    });
}

#[test]
fn public_keys() {
    drive(|random| {
        let length = random.below(1300);
        fuzzing::public_keys(&random.bytes(length));
    });
}

#[test]
fn encapsulated_keys_and_ciphertexts() {
    let valid = Kem::ALL.map(|kem| {
        let known = KnownRequest::of(kem);
        [&known.encapsulated_key[..], &known.ciphertext].concat()
    });
    drive(|random| {
        let length = random.below(1200);
        fuzzing::requests(&random.bytes(length));
        for request in &valid {
            fuzzing::requests(request);
            fuzzing::requests(&random.broken(request));
        }
    });
}
