//! When a verdict is renewed.

use std::time::Duration;

use crate::route::Attested;

/// A verdict is renewed after this long at the latest: a backend that has changed its keys accepts its old X-Wing key for
/// ten minutes more, and by then the new one must be known.
const LONGEST: Duration = Duration::from_secs(300);
/// And this long before its keyset ends.
const BEFORE_KEYSET_ENDS: Duration = Duration::from_secs(600);
/// And this long before the verdict runs out, or halfway through a shorter one: time for a quote that waits for its
/// batch, and for a few tries.
const BEFORE_IT_RUNS_OUT: Duration = Duration::from_secs(30);
/// But never faster than this, whatever the backend's keyset says.
const SHORTEST: Duration = Duration::from_millis(200);

/// How long after its verification `attested` is to be verified again.
#[must_use]
pub fn renew_after(attested: &Attested) -> Duration {
    let verdict = &attested.verdict;
    let until = |end: u64| Duration::from_millis(end.saturating_sub(verdict.verified_at));
    let life = until(verdict.valid_until);
    let before_it_runs_out = life.saturating_sub(BEFORE_IT_RUNS_OUT.min(life / 2));
    let before_its_keyset_ends = until(verdict.keyset.not_after).saturating_sub(BEFORE_KEYSET_ENDS);
    LONGEST.min(before_it_runs_out).min(before_its_keyset_ends).max(SHORTEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::tests::attested;

    const MINUTE: u64 = 60_000;

    #[test]
    fn a_verdict_is_renewed_before_it_or_its_keyset_ends_and_every_five_minutes() {
        let mut attested = attested("m", 1);
        for (valid_for, keyset_for, seconds) in [
            (60 * MINUTE, 600 * MINUTE, 300.0),
            (4 * MINUTE, 600 * MINUTE, 210.0),
            (2_000, 600 * MINUTE, 1.0),
            (60 * MINUTE, 12 * MINUTE, 120.0),
            (60 * MINUTE, 5 * MINUTE, 0.2),
            (0, 0, 0.2),
        ] {
            attested.verdict.verified_at = 1_000_000;
            attested.verdict.valid_until = 1_000_000 + valid_for;
            attested.verdict.keyset.not_after = 1_000_000 + keyset_for;
            let after = renew_after(&attested);
            assert_eq!(after, Duration::from_secs_f64(seconds), "{valid_for} {keyset_for}");
        }
    }
}
