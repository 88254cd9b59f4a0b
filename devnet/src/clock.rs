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
    pub const REAL: Self = Self::Running { ahead: 0 };

    /// Unix time, seconds.
    #[must_use]
    pub fn now(self) -> u32 {
        match self {
            Self::Standing { at } => at,
            Self::Running { ahead } => {
                u32::try_from(machine().saturating_add(ahead).max(0)).unwrap_or(u32::MAX)
            }
        }
    }

    /// The same clock, `seconds` later.
    #[must_use]
    pub fn advanced(self, seconds: u32) -> Self {
        match self {
            Self::Standing { at } => Self::Standing { at: at.saturating_add(seconds) },
            Self::Running { ahead } => Self::Running { ahead: ahead.saturating_add(seconds.into()) },
        }
    }
}

fn machine() -> i64 {
    // A machine whose clock is before 1970 has no time.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
