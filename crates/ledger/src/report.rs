//! What a check of the books found.

use cocoon_receipts::{AccountId, NanoTon, OperatorId};

use crate::{JournalId, Shard};

/// Findings of one shard that are listed; more are only counted.
const MAX_FINDINGS: usize = 1000;

/// What a finding is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// The shard's sums.
    Totals,
    Account(AccountId),
    Operator(OperatorId),
    /// One line of the journal.
    Entry(JournalId),
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Totals => f.write_str("totals"),
            Self::Account(name) => write!(f, "account {name}"),
            Self::Operator(name) => write!(f, "operator {name}"),
            Self::Entry(JournalId(id)) => write!(f, "journal entry {id}"),
        }
    }
}

/// One difference between what must be and what is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub subject: Subject,
    /// A counter, or a rule.
    pub what: &'static str,
    pub expected: i128,
    pub found: i128,
    /// Whether these are nanoTON; else they count something.
    pub is_amount: bool,
}

impl Finding {
    pub(crate) fn amount(subject: Subject, what: &'static str, expected: i128, found: i128) -> Self {
        Self { subject, what, expected, found, is_amount: true }
    }

    pub(crate) fn count(subject: Subject, what: &'static str, expected: i128, found: i128) -> Self {
        Self { subject, what, expected, found, is_amount: false }
    }
}

/// What the check of one shard came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardReport {
    pub shard: Shard,
    /// The entry up to which the journal was replayed.
    pub at: Option<JournalId>,
    pub entries: u64,
    pub accounts: u64,
    pub open_holds: u64,
    /// Of them, holds that no sweeper ended within a minute after their time.
    pub overdue_holds: u64,
    pub shortfall: NanoTon,
    /// Whether the holds held still long enough to be compared.
    pub holds_compared: bool,
    /// The first thousand.
    pub findings: Vec<Finding>,
    /// All of them.
    pub found: u64,
    /// The sum of all differences, whatever their sign.
    pub drift: u128,
}

impl ShardReport {
    pub(crate) fn new(shard: Shard) -> Self {
        Self {
            shard,
            at: None,
            entries: 0,
            accounts: 0,
            open_holds: 0,
            overdue_holds: 0,
            shortfall: NanoTon::ZERO,
            holds_compared: false,
            findings: Vec::new(),
            found: 0,
            drift: 0,
        }
    }

    pub(crate) fn add(&mut self, finding: Finding) {
        self.found += 1;
        if finding.is_amount {
            self.drift = self.drift.saturating_add(finding.expected.abs_diff(finding.found));
        }
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(finding);
        }
    }

    /// Whether the books are what they must be.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.found == 0
    }
}
