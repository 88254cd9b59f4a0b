//! The wall clock, passed in so that tests can hold it still.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Says what time it is.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> u64 + Send + Sync>);

impl Clock {
    /// The machine's own.
    #[must_use]
    pub fn system() -> Self {
        Self::new(|| {
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
        })
    }

    /// Any other: milliseconds since 1970.
    #[must_use]
    pub fn new(now_ms: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(now_ms))
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").finish_non_exhaustive()
    }
}

/// A time as HTTP writes it.
#[must_use]
pub fn shown(ms: u64) -> String {
    // A keyset may name any end; a date beyond the year 9999 has no such form.
    const YEAR_9999: u64 = 253_370_764_800_000;
    if ms >= YEAR_9999 {
        return "no end".into();
    }
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(ms))
}

/// A length of time as people say it.
#[must_use]
pub fn span(ms: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(24 * 3600, "days"), (3600, "h"), (60, "min")];
    let seconds = ms / 1000;
    // From two of a unit on, so that it is not off by half.
    match UNITS.into_iter().find(|(length, _)| seconds >= 2 * length) {
        Some((length, unit)) => format!("{} {unit}", seconds / length),
        None => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_said_in_its_largest_unit() {
        for (seconds, said) in [
            (0, "0 s"),
            (119, "119 s"),
            (120, "2 min"),
            (7199, "119 min"),
            (7200, "2 h"),
            (172_800, "2 days"),
        ] {
            assert_eq!(span(seconds * 1000 + 999), said);
        }
    }
}
