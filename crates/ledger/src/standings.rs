//! What a key, a project and an account have used: for whom limits are checked, and how far each has come.

use async_trait::async_trait;
use cocoon_receipts::{AccountId, KeyId, NanoTon, ProjectId};
use serde::{Deserialize, Serialize};

use crate::{LedgerError, Period};

/// Whose use of an account is asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Whose {
    Key(KeyId),
    Project(ProjectId),
    /// All of it.
    Account,
}

/// How far one of them has come. What was not used for 60 days is forgotten, except by who has a budget for all time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// Charged for requests that were reserved in the current period.
    pub spent: Amounts,
    /// Held by running requests that were reserved in the current period.
    pub held: Amounts,
    /// Requests that run: those whose lease is not over.
    pub running: u64,
    /// Under the limits of its last request.
    pub rates: Rates,
}

/// An amount in each of the current periods, in UTC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amounts {
    pub day: NanoTon,
    pub week: NanoTon,
    pub month: NanoTon,
    pub total: NanoTon,
}

impl Amounts {
    /// That of the current period of this length.
    #[must_use]
    pub fn of(&self, period: Period) -> NanoTon {
        match period {
            Period::Day => self.day,
            Period::Week => self.week,
            Period::Month => self.month,
            Period::Total => self.total,
        }
    }
}

/// What is left of the limits per minute; none where there is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates {
    pub requests: Option<Rate>,
    pub tokens: Option<Rate>,
}

/// What is left of one limit per minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub limit: u64,
    /// What may be used at once now.
    pub remaining: u64,
    /// Milliseconds until all of it is there again, if nothing is used meanwhile.
    pub reset_ms: u64,
}

/// The one question.
#[async_trait]
pub trait Standings {
    /// How far `whose` has come; all zero where it was never seen.
    async fn standing(&self, account: &AccountId, whose: &Whose) -> Result<Standing, LedgerError>;
}
