//! Which part of the store is known to be gone. While it is, calls fail at once, and one at a time tries whether it is
//! back, at growing, random intervals: who waits holds nothing up, and nobody rushes a server that starts.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Until the first try after a failure; twice as long after each.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// What fails by itself: the whole of one server, or the shard of a cluster whose primary is gone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Part(pub(super) String);

/// Gone until a call gets through.
#[derive(Debug)]
struct Fault {
    since: Instant,
    next_try: Instant,
    wait: Duration,
    /// A call is trying now.
    trying: bool,
}

#[derive(Debug, Default)]
pub(super) struct Breaker {
    faults: Mutex<HashMap<Part, Fault>>,
}

impl Breaker {
    /// May a call to `part` be made now? None while the part is known to be gone.
    pub(super) fn pass(&self, part: Part) -> Option<Pass<'_>> {
        let now = Instant::now();
        let is_try = match self.faults().get_mut(&part) {
            None => false,
            Some(fault) if fault.trying || now < fault.next_try => return None,
            Some(fault) => {
                fault.trying = true;
                true
            }
        };
        Some(Pass { breaker: self, part, is_try, told: false })
    }

    /// Whether no part is known to be gone.
    pub(super) fn is_closed(&self) -> bool {
        self.faults().is_empty()
    }

    fn faults(&self) -> MutexGuard<'_, HashMap<Part, Fault>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that may be made. Dropped without a word it has told nothing.
#[derive(Debug)]
pub(super) struct Pass<'a> {
    breaker: &'a Breaker,
    part: Part,
    is_try: bool,
    told: bool,
}

impl Pass<'_> {
    /// The part answered, whatever it said.
    pub(super) fn answered(mut self) {
        self.told = true;
        let mut faults = self.breaker.faults();
        let Some(fault) = faults.remove(&self.part) else { return };
        if faults.is_empty() {
            let gone_ms = u64::try_from(fault.since.elapsed().as_millis()).unwrap_or(u64::MAX);
            tracing::info!(gone_ms, "the ledger's store answers again");
        }
    }

    /// It did not.
    pub(super) fn failed(mut self, reason: &dyn std::fmt::Display) {
        self.told = true;
        let now = Instant::now();
        let mut faults = self.breaker.faults();
        if faults.is_empty() {
            tracing::error!(%reason, "the ledger's store does not answer: calls are refused until it does");
        }
        match faults.entry(self.part.clone()) {
            Entry::Vacant(none) => {
                let next_try = now + jittered(FIRST_WAIT);
                none.insert(Fault { since: now, next_try, wait: FIRST_WAIT, trying: false });
            }
            Entry::Occupied(mut fault) if self.is_try => {
                let fault = fault.get_mut();
                fault.trying = false;
                fault.wait = (fault.wait * 2).min(LONGEST_WAIT);
                fault.next_try = now + jittered(fault.wait);
            }
            // It was on its way when another found out.
            Entry::Occupied(_) => {}
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.is_try
            && !self.told
            && let Some(fault) = self.breaker.faults().get_mut(&self.part)
        {
            fault.trying = false;
        }
    }
}

/// Between half of it and all: gateways that lost a server together do not come back together.
fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(fastrand::f64().mul_add(0.5, 0.5))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part() -> Part {
        Part("s01".into())
    }

    /// The next call to the part is a try.
    fn when_it_is_time(breaker: &Breaker) -> Pass<'_> {
        breaker.faults().get_mut(&part()).unwrap().next_try = Instant::now();
        breaker.pass(part()).unwrap()
    }

    #[test]
    fn what_is_gone_is_tried_by_one_call_at_a_time() {
        let breaker = Breaker::default();
        let (first, second) = (breaker.pass(part()).unwrap(), breaker.pass(part()).unwrap());
        first.failed(&"gone");
        assert!(breaker.pass(part()).is_none(), "not before its time");
        assert!(breaker.pass(Part("s02".into())).is_some(), "another part is not");
        let try_ = when_it_is_time(&breaker);
        breaker.faults().get_mut(&part()).unwrap().next_try = Instant::now();
        assert!(breaker.pass(part()).is_none(), "one tries");
        second.failed(&"gone");
        assert!(breaker.pass(part()).is_none(), "a late failure is no end of the try");
        drop(try_);
        let given_up = breaker.pass(part()).unwrap();
        assert!(!breaker.is_closed());
        given_up.answered();
        assert!(breaker.is_closed());
        assert!(breaker.pass(part()).is_some() && breaker.pass(part()).is_some());
    }

    #[test]
    fn tries_are_further_and_further_apart_up_to_a_bound() {
        let breaker = Breaker::default();
        breaker.pass(part()).unwrap().failed(&"gone");
        let mut waits = Vec::new();
        for _ in 0..8 {
            when_it_is_time(&breaker).failed(&"gone");
            let faults = breaker.faults();
            let fault = &faults[&part()];
            let until = fault.next_try.saturating_duration_since(Instant::now());
            assert!(until <= fault.wait, "{fault:?}");
            waits.push(fault.wait);
        }
        assert!(waits.is_sorted() && waits[0] == FIRST_WAIT * 2, "{waits:?}");
        assert_eq!(waits.last(), Some(&LONGEST_WAIT));
    }

    #[test]
    fn waits_are_random_between_half_and_all() {
        let waits: Vec<Duration> = (0..100).map(|_| jittered(LONGEST_WAIT)).collect();
        assert!(waits.iter().all(|wait| (LONGEST_WAIT / 2..=LONGEST_WAIT).contains(wait)));
        assert!(waits.iter().any(|wait| wait != &waits[0]));
    }
}
