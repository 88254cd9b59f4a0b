//! What may be used of an account: limits per minute, requests at once, budgets. A key carries its own; those of a
//! project and of the account are kept in the ledger.

use cocoon_receipts::NanoTon;
use serde::{Deserialize, Serialize};

use crate::{LedgerError, periods};

/// What a key, a project or an account may use at most; unlimited where absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Requests per minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rpm: Option<u32>,
    /// Tokens per minute, prompt and completion together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tpm: Option<u32>,
    /// Requests that run at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
}

/// What may be spent in every period of one length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    pub amount: NanoTon,
    pub period: Period,
}

/// Periods begin at midnight UTC; weeks on Monday, months on the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    Day,
    Week,
    Month,
    /// All time.
    Total,
}

/// Whose limit it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Holder {
    Key,
    Project,
    Account,
}

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Limit {
    Requests,
    Tokens,
    Concurrency,
    Budget,
}

impl Limits {
    /// As both stores keep them: requests, tokens, concurrency, amount and period between commas, empty where
    /// unlimited.
    pub(crate) fn to_text(self) -> String {
        let number = |limit: Option<u32>| limit.map_or_else(String::new, |limit| limit.to_string());
        let (amount, period) = self.budget.map_or_else(Default::default, |budget| {
            (budget.amount.to_string(), budget.period.letter().to_owned())
        });
        format!("{},{},{},{amount},{period}", number(self.rpm), number(self.tpm), number(self.concurrency))
    }

    /// # Errors
    /// [`LedgerError::Corrupt`].
    pub(crate) fn from_text(text: &str) -> Result<Self, LedgerError> {
        let corrupt = || LedgerError::Corrupt(format!("limits {text:?}"));
        let parts: Vec<&str> = text.split(',').collect();
        let [rpm, tpm, concurrency, amount, period] = parts[..] else { return Err(corrupt()) };
        let number = |text: &str| match text {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| corrupt()),
        };
        let budget = match amount {
            "" => None,
            amount => {
                Some(Budget { amount: amount.parse().map_err(|_| corrupt())?, period: period.parse()? })
            }
        };
        Ok(Self { rpm: number(rpm)?, tpm: number(tpm)?, concurrency: number(concurrency)?, budget })
    }
}

impl Period {
    /// When the period of this length that `at_ms` lies in ends, milliseconds since 1970; all time does not.
    #[must_use]
    pub fn end_ms(self, at_ms: u64) -> Option<u64> {
        periods::end_ms(self, at_ms)
    }

    pub(crate) fn letter(self) -> &'static str {
        match self {
            Self::Day => "d",
            Self::Week => "w",
            Self::Month => "m",
            Self::Total => "t",
        }
    }
}

impl std::str::FromStr for Period {
    type Err = LedgerError;

    fn from_str(letter: &str) -> Result<Self, LedgerError> {
        [Self::Day, Self::Week, Self::Month, Self::Total]
            .into_iter()
            .find(|period| period.letter() == letter)
            .ok_or_else(|| LedgerError::Corrupt(format!("period {letter:?}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_kept_as_text_and_read_again() {
        let budget = Budget { amount: NanoTon(70), period: Period::Week };
        let all = Limits { rpm: Some(3), tpm: Some(500), concurrency: Some(2), budget: Some(budget) };
        assert_eq!(all.to_text(), "3,500,2,70,w");
        assert_eq!(Limits::default().to_text(), ",,,,");
        for limits in [all, Limits::default(), Limits { budget: Some(budget), ..Limits::default() }] {
            assert_eq!(Limits::from_text(&limits.to_text()).unwrap(), limits);
        }
        for bad in ["", "1,2,3,4", "1,2,3,4,y", "x,,,,", ",,,,,"] {
            assert!(Limits::from_text(bad).is_err(), "{bad:?}");
        }
    }
}
