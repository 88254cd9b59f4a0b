//! How a request ended, as both stores remember it.

use serde::{Deserialize, Serialize};

use crate::LedgerError;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// Released before its reserve.
    Tombstone,
    Released,
    Expired,
    Settled,
}

impl State {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tombstone => "tombstone",
            Self::Released => "released",
            Self::Expired => "expired",
            Self::Settled => "settled",
        }
    }
}

impl std::str::FromStr for State {
    type Err = LedgerError;

    fn from_str(name: &str) -> Result<Self, LedgerError> {
        [Self::Tombstone, Self::Released, Self::Expired, Self::Settled]
            .into_iter()
            .find(|state| state.name() == name)
            .ok_or_else(|| LedgerError::Corrupt(format!("state {name:?}")))
    }
}
