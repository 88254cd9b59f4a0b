//! What a caller fills in.

use std::time::Duration;

use cocoon_receipts::Digest;
use proptest::prelude::{BoxedStrategy, Just, Strategy, prop_oneof};
use proptest::sample::select;

use crate::bench::*;

/// The first amount that is too much for a ledger.
pub(super) const TOO_MUCH: u64 = 1 << 53;

/// How a caller means it, so that it meets the calls before it; or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Manner {
    pub(super) usual: bool,
}

pub(super) const USUAL: Manner = Manner { usual: true };
pub(super) const ANY: Manner = Manner { usual: false };

impl Manner {
    pub(super) fn amount(self) -> BoxedStrategy<u64> {
        if self.usual {
            return (0..1500_u64).boxed();
        }
        prop_oneof![19 => 0..1500_u64, 1 => TOO_MUCH - 3..=TOO_MUCH].boxed()
    }

    /// The most there can be leaves even a rich account short.
    pub(super) fn cost(self) -> BoxedStrategy<u64> {
        prop_oneof![18 => 0..500_u64, 1 => self.amount(), 1 => TOO_MUCH - 1..=TOO_MUCH].boxed()
    }

    pub(super) fn lease(self) -> BoxedStrategy<Duration> {
        if self.usual { Just(LEASE).boxed() } else { (0..120_u64).prop_map(Duration::from_secs).boxed() }
    }

    pub(super) fn attempt(self) -> BoxedStrategy<u32> {
        if self.usual { Just(1).boxed() } else { (1..3_u32).boxed() }
    }

    /// A backend's keyset, and its operator.
    pub(super) fn backend(self) -> BoxedStrategy<(Digest, &'static str)> {
        let backend = if self.usual { Just("a").boxed() } else { select(vec!["a", "a", "b"]).boxed() };
        let operator = |backend| if backend == "a" { "operator-a" } else { "operator-b" };
        let strange = prop_oneof![29 => Just(false), 1 => Just(true)];
        (backend, strange)
            .prop_map(move |(backend, strange)| {
                (keyset(backend), if strange { "operator-z" } else { operator(backend) })
            })
            .boxed()
    }
}
