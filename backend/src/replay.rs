//! The encapsulated keys that were admitted: each once.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use sha2::Digest as _;

/// Keys that are remembered under one HPKE key; about 200 MB. A set that is full admits nothing more rather than
/// forgets.
pub(crate) const MAX_KEYS: usize = 4_000_000;

/// Lives in memory exactly as long as the HPKE key it is for.
#[derive(Debug)]
pub(crate) struct ReplaySet {
    seen: Mutex<HashSet<[u8; 32]>>,
    limit: usize,
}

/// What became of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admitted {
    /// Seen for the first time, and from now on known.
    Once,
    Before,
    /// The set is full.
    Never,
}

impl ReplaySet {
    pub(crate) fn new(limit: usize) -> Self {
        Self { seen: Mutex::default(), limit }
    }

    /// Admits a decoded encapsulated key, under one lock: of two that are equal, one gets in.
    pub(crate) fn admit(&self, encapsulated_key: &[u8]) -> Admitted {
        // An X25519 key is kept as it is, a longer one by its digest.
        let key = encapsulated_key
            .try_into()
            .unwrap_or_else(|_| <[u8; 32]>::from(sha2::Sha256::digest(encapsulated_key)));
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.contains(&key) {
            Admitted::Before
        } else if seen.len() >= self.limit {
            Admitted::Never
        } else {
            seen.insert(key);
            Admitted::Once
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).len() >= self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_gets_in_once_even_where_many_try_at_once() {
        let set = ReplaySet::new(10);
        let admitted = std::thread::scope(|scope| {
            let tries: Vec<_> = (0..8).map(|_| scope.spawn(|| set.admit(&[1; 32]))).collect();
            tries.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(admitted.iter().filter(|outcome| **outcome == Admitted::Once).count(), 1);
        assert_eq!(admitted.iter().filter(|outcome| **outcome == Admitted::Before).count(), 7);
    }

    #[test]
    fn a_full_set_refuses_what_is_new_and_forgets_nothing() {
        let set = ReplaySet::new(2);
        assert_eq!([set.admit(&[1; 32]), set.admit(&[2; 32])], [Admitted::Once; 2]);
        assert!(set.is_full());
        assert_eq!(set.admit(&[3; 32]), Admitted::Never);
        assert_eq!(set.admit(&[1; 32]), Admitted::Before);
    }

    /// Guards against a digest of only a part of them: that would refuse strangers' requests.
    #[test]
    fn long_keys_are_told_apart_by_all_of_their_bytes() {
        let set = ReplaySet::new(10);
        let key = [7; 1120];
        assert_eq!(set.admit(&key), Admitted::Once);
        for at in [0, 31, 32, 1088, 1119] {
            let mut other = key;
            other[at] ^= 1;
            assert_eq!(
                [set.admit(&other), set.admit(&other)],
                [Admitted::Once, Admitted::Before],
                "byte {at}"
            );
        }
        assert_eq!(set.admit(&key), Admitted::Before);
    }
}
