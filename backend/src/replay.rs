//! The encapsulated keys that were admitted: each once.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// Keys that are remembered; about 200 MB. A set that is full admits nothing more rather than forgets.
pub(crate) const MAX_KEYS: usize = 4_000_000;

/// Lives in memory as long as the HPKE key, which a restart makes anew.
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
    pub(crate) fn admit(&self, key: [u8; 32]) -> Admitted {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_gets_in_once_even_where_many_try_at_once() {
        let set = ReplaySet::new(10);
        let admitted = std::thread::scope(|scope| {
            let tries: Vec<_> = (0..8).map(|_| scope.spawn(|| set.admit([1; 32]))).collect();
            tries.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(admitted.iter().filter(|outcome| **outcome == Admitted::Once).count(), 1);
        assert_eq!(admitted.iter().filter(|outcome| **outcome == Admitted::Before).count(), 7);
    }

    #[test]
    fn a_full_set_refuses_what_is_new_and_forgets_nothing() {
        let set = ReplaySet::new(2);
        assert_eq!([set.admit([1; 32]), set.admit([2; 32])], [Admitted::Once; 2]);
        assert_eq!(set.admit([3; 32]), Admitted::Never);
        assert_eq!(set.admit([1; 32]), Admitted::Before);
    }
}
