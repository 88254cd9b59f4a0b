//! Time on the chain: the machine's, moved, or standing still.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Where the chain's time comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// The machine's time and this many seconds.
    Running { ahead: i64 },
    /// Unix time, seconds.
    Standing { at: u32 },
}

impl Clock {
    /// The machine's time.
    pub const REAL: Self = Self::Running { ahead: 0 };

    /// Unix time, seconds; none where 32 bits, which is all that blocks have, do not reach.
    #[must_use]
    pub fn time(self) -> Option<u32> {
        match self {
            Self::Standing { at } => Some(at),
            Self::Running { ahead } => u32::try_from(machine().checked_add(ahead)?).ok(),
        }
    }

    /// The same, or the last second that blocks can have.
    #[must_use]
    pub fn now(self) -> u32 {
        self.time().unwrap_or(u32::MAX)
    }

    /// The same clock, `seconds` later; none where numbers end.
    #[must_use]
    pub fn advanced(self, seconds: u32) -> Option<Self> {
        Some(match self {
            Self::Standing { at } => Self::Standing { at: at.checked_add(seconds)? },
            Self::Running { ahead } => Self::Running { ahead: ahead.checked_add(seconds.into())? },
        })
    }
}

fn machine() -> i64 {
    // A machine whose clock is before 1970 has no time.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standing_clock_moves_only_when_it_is_advanced() {
        let clock = Clock::Standing { at: 1_000 };
        assert_eq!(clock.now(), 1_000);
        assert_eq!(clock.advanced(5), Some(Clock::Standing { at: 1_005 }));
        assert_eq!(Clock::Standing { at: u32::MAX - 1 }.advanced(2), None);
    }

    #[test]
    fn a_running_clock_is_the_machines_and_what_it_is_ahead() {
        let before = machine();
        let ahead = i64::from(Clock::Running { ahead: 3_600 }.now());
        assert!((before + 3_600..=machine() + 3_600).contains(&ahead), "{ahead}");
        assert_eq!(Clock::REAL.advanced(7), Some(Clock::Running { ahead: 7 }));
        assert_eq!(Clock::Running { ahead: i64::MAX }.advanced(1), None);
    }

    #[test]
    fn a_running_clock_beyond_what_blocks_have_has_no_time() {
        assert_eq!(Clock::Running { ahead: i64::MAX }.time(), None);
        assert_eq!(Clock::Running { ahead: i64::MAX }.now(), u32::MAX);
        assert_eq!(Clock::Running { ahead: -machine() - 1 }.time(), None);
    }
}
