//! What an account used and paid, counted in buckets of a minute, an hour and a day (UTC) by key, project, model and
//! kind of work. A bucket is written in the same call as the journal entry it counts, at the entry's own time: over any
//! time that is still kept, the buckets of each width add up to the journal.

use async_trait::async_trait;
use cocoon_receipts::{AccountId, KeyId, ProjectId, Usage};
use serde::{Deserialize, Serialize};

use crate::{LedgerError, Work};

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;

/// Rows after which a page of usage ends with the bucket it is in.
pub const MAX_USAGE_ROWS: usize = 10_000;

/// How long a bucket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Width {
    Minute,
    Hour,
    Day,
}

impl Width {
    pub const ALL: [Self; 3] = [Self::Minute, Self::Hour, Self::Day];

    /// Milliseconds.
    #[must_use]
    pub fn ms(self) -> u64 {
        match self {
            Self::Minute => MINUTE_MS,
            Self::Hour => HOUR_MS,
            Self::Day => DAY_MS,
        }
    }

    /// Milliseconds that a bucket is kept at least.
    #[must_use]
    pub fn kept_ms(self) -> u64 {
        match self {
            Self::Minute => 45 * DAY_MS,
            Self::Hour => 400 * DAY_MS,
            Self::Day => 5 * 366 * DAY_MS,
        }
    }

    /// Milliseconds of buckets that a store keeps under one name.
    pub(crate) fn window_ms(self) -> u64 {
        match self {
            Self::Minute => HOUR_MS,
            Self::Hour => DAY_MS,
            Self::Day => 32 * DAY_MS,
        }
    }
}

/// Which buckets, and which of their rows. An empty list means all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageQuery {
    pub account: AccountId,
    pub width: Width,
    /// Buckets that begin at this time or later, milliseconds since 1970.
    pub from_ms: u64,
    /// And before this one.
    pub to_ms: u64,
    pub keys: Vec<KeyId>,
    pub projects: Vec<ProjectId>,
    pub models: Vec<String>,
    pub work: Option<Work>,
}

impl UsageQuery {
    pub(crate) fn wants(&self, row: &UsageRow) -> bool {
        (self.from_ms..self.to_ms).contains(&row.from_ms)
            && self.work.is_none_or(|work| work == row.work)
            && (self.keys.is_empty() || self.keys.contains(&row.key))
            && (self.models.is_empty() || self.models.contains(&row.model))
            && (self.projects.is_empty()
                || row.project.as_ref().is_some_and(|project| self.projects.contains(project)))
    }
}

/// What one key used of one model in one bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageRow {
    /// The bucket's begin, milliseconds since 1970.
    pub from_ms: u64,
    pub key: KeyId,
    pub project: Option<ProjectId>,
    pub model: String,
    pub work: Work,
    pub tally: Tally,
}

/// Counts of a bucket. What a correction took back is subtracted at the correction's time, so each may be negative.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tally {
    /// Charged requests; a receipt at no cost and a correction are none.
    pub requests: i64,
    pub prompt: i64,
    pub cached: i64,
    pub completion: i64,
    pub reasoning: i64,
    /// What the account paid, nanoTON.
    #[serde(with = "crate::decimal")]
    pub cost: i64,
}

impl Tally {
    /// One request, or, where some of it was counted `before`, what changed.
    pub(crate) fn of(usage: &Usage, before: Option<&Usage>, cost: i64) -> Result<Self, LedgerError> {
        let none = Usage::default();
        let counted = before.unwrap_or(&none);
        let change = |now: u64, then: u64| -> Result<i64, LedgerError> {
            let signed = |count: u64| i64::try_from(count).map_err(|_| LedgerError::Overflow);
            Ok(signed(now)? - signed(then)?)
        };
        Ok(Self {
            requests: i64::from(before.is_none()),
            prompt: change(usage.prompt, counted.prompt)?,
            cached: change(usage.cached, counted.cached)?,
            completion: change(usage.completion, counted.completion)?,
            reasoning: change(usage.reasoning, counted.reasoning)?,
            cost,
        })
    }

    /// The sum; none where one does not fit.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        Some(Self {
            requests: self.requests.checked_add(other.requests)?,
            prompt: self.prompt.checked_add(other.prompt)?,
            cached: self.cached.checked_add(other.cached)?,
            completion: self.completion.checked_add(other.completion)?,
            reasoning: self.reasoning.checked_add(other.reasoning)?,
            cost: self.cost.checked_add(other.cost)?,
        })
    }
}

/// Rows in the order of their buckets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsagePage {
    pub rows: Vec<UsageRow>,
    /// Where to go on: the rows are all there are before it. None: all there are.
    pub next_ms: Option<u64>,
}

/// What was used.
#[async_trait]
pub trait Usages {
    /// Rows of the buckets that `query` names, oldest first; a page has about [`MAX_USAGE_ROWS`] at most and whole buckets
    /// only.
    async fn usage(&self, query: &UsageQuery) -> Result<UsagePage, LedgerError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_correction_counts_the_difference_and_no_request() {
        let usage = |prompt, completion| Usage { prompt, completion, ..Usage::default() };
        let first = Tally::of(&usage(5, 7), None, 12).unwrap();
        assert_eq!((first.requests, first.prompt, first.completion, first.cost), (1, 5, 7, 12));
        let change = Tally::of(&usage(5, 4), Some(&usage(5, 7)), -3).unwrap();
        assert_eq!((change.requests, change.prompt, change.completion, change.cost), (0, 0, -3, -3));
        let sum = first.checked_add(change).unwrap();
        assert_eq!((sum.requests, sum.completion, sum.cost), (1, 4, 9));
        assert_eq!(Tally { cost: i64::MAX, ..first }.checked_add(first), None);
    }

    #[test]
    fn windows_hold_whole_buckets() {
        for width in Width::ALL {
            assert_eq!(width.window_ms() % width.ms(), 0);
            assert!(width.kept_ms() > width.window_ms());
        }
    }
}
