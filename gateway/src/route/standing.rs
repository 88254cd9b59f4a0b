//! How a backend stands: what its last verification came to, and when.

use std::sync::Arc;
use std::time::Duration;

use super::Attested;
use crate::attest::AttestError;

/// A verification that is over.
#[derive(Debug)]
pub struct Checked {
    pub outcome: Result<Attested, AttestError>,
    /// When it was over, milliseconds since 1970.
    pub at: u64,
    /// Fetching the document, judging it and keeping it.
    pub took: Duration,
    /// Judging alone; none where there was nothing to judge.
    pub judging: Option<Duration>,
}

/// What the last verification of a backend came to.
#[derive(Debug, Clone)]
pub struct Standing {
    /// Why there is no verdict, where there is none.
    pub outcome: Result<(), Arc<AttestError>>,
    /// Since when it has come to this, milliseconds since 1970.
    pub since: u64,
    /// When the last verification was over, milliseconds since 1970.
    pub checked_at: u64,
    /// How long that took.
    pub took: Duration,
}

impl Standing {
    /// `verified`, or [`AttestError::outcome`].
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        self.outcome.as_ref().map_or_else(|error| error.outcome(), |()| "verified")
    }

    /// The check that refused the backend, where one did.
    #[must_use]
    pub fn refused_by(&self) -> Option<&'static str> {
        self.outcome.as_ref().err().and_then(|error| error.check())
    }

    /// What a verification at `at` makes of the standing `before` it.
    pub(super) fn after(
        before: Option<&Self>,
        outcome: Result<(), AttestError>,
        at: u64,
        took: Duration,
    ) -> Self {
        let mut standing = Self { outcome: outcome.map_err(Arc::new), since: at, checked_at: at, took };
        if let Some(before) = before
            && (before.outcome(), before.refused_by()) == (standing.outcome(), standing.refused_by())
        {
            standing.since = before.since;
        }
        standing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standing_lasts_since_it_last_changed() {
        let after = |before: &Standing, outcome, at| {
            let standing = Standing::after(Some(before), outcome, at, Duration::ZERO);
            assert_eq!(standing.checked_at, at);
            standing
        };
        let busy = |word: &str| Err(AttestError::Unanswered(word.into()));
        let first = Standing::after(None, Ok(()), 1, Duration::ZERO);
        let second = after(&first, Ok(()), 2);
        assert_eq!((second.outcome(), second.since), ("verified", 1));
        let third = after(&second, busy("status 503"), 3);
        assert_eq!((third.outcome(), third.refused_by(), third.since), ("unreachable", None, 3));
        let fourth = after(&third, busy("timed out"), 4);
        assert_eq!(fourth.since, 3);
        let fifth = after(&fourth, Err(AttestError::Keys), 5);
        assert_eq!((fifth.outcome(), fifth.refused_by(), fifth.since), ("refused", Some("keys"), 5));
        let sixth = after(&fifth, Err(AttestError::NoDocument(String::new())), 6);
        assert_eq!((sixth.refused_by(), sixth.since), (Some("document"), 6));
    }
}
