//! What may be used of an account, and how much of it is: by a key, by a project, by all of the account.

use cocoon_receipts::NanoTon;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What may be used at most; unlimited where null.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitSet {
    /// Requests per minute.
    #[serde(default)]
    pub rpm: Option<u32>,
    /// Tokens per minute, prompt and completion together.
    #[serde(default)]
    pub tpm: Option<u32>,
    /// Requests that run at once.
    #[serde(default)]
    pub concurrency: Option<u32>,
    #[serde(default)]
    pub budget: Option<BudgetOf>,
}

/// What may be spent in every period of one length.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Budget)]
pub struct BudgetOf {
    /// nanoTON.
    #[schema(value_type = String, pattern = "^[0-9]+$")]
    pub amount: NanoTon,
    pub period: BudgetPeriod,
}

/// Periods begin at midnight UTC; weeks on Monday, months on the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BudgetPeriod {
    Day,
    Week,
    Month,
    /// All time.
    Total,
}

/// The limits of an account, or of one of its projects, and what is used of them.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Limits)]
pub struct LimitsOf {
    /// `organization.limits` or `organization.project.limits`.
    pub object: &'static str,
    /// The project, where it is one's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project_id: Option<String>,
    #[serde(flatten)]
    pub limits: LimitSet,
    pub used: Used,
}

/// What a key, a project or an account used. Amounts are nanoTON, as decimal strings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Used {
    /// Charged for requests that were admitted in the current periods, in UTC.
    pub spent: Spent,
    /// Requests that run now.
    pub running: u64,
    /// Of requests per minute; null where they are not limited.
    #[schema(required)]
    pub requests: Option<RateLeft>,
    /// Of tokens per minute; null where they are not limited.
    #[schema(required)]
    pub tokens: Option<RateLeft>,
    /// Of the budget; null where there is none.
    #[schema(required)]
    pub budget: Option<BudgetLeft>,
}

/// Amounts by the period that they belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Spent {
    /// Since midnight UTC.
    #[schema(value_type = String, pattern = "^[0-9]+$")]
    pub daily: NanoTon,
    /// Since Monday.
    #[schema(value_type = String, pattern = "^[0-9]+$")]
    pub weekly: NanoTon,
    /// Since the first of the month.
    #[schema(value_type = String, pattern = "^[0-9]+$")]
    pub monthly: NanoTon,
    /// In all. What a key or a project spent is forgotten after 60 days without a request, unless its budget is for all
    /// time; costs by key and project stay readable by day.
    #[schema(value_type = String, pattern = "^[0-9]+$")]
    pub total: NanoTon,
}

/// What is left of a limit per minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct RateLeft {
    pub limit: u64,
    /// What may be used at once now.
    pub remaining: u64,
    /// Milliseconds until all of it is there again, if nothing is used meanwhile.
    pub reset_ms: u64,
}

/// What is left of a budget, nanoTON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct BudgetLeft {
    /// Charged in the current period.
    #[schema(value_type = String, pattern = "^[0-9]+$")]
    pub spent: NanoTon,
    /// By requests that run.
    #[schema(value_type = String, pattern = "^[0-9]+$")]
    pub held: NanoTon,
    #[schema(value_type = String, pattern = "^[0-9]+$")]
    pub remaining: NanoTon,
    /// When the next period begins, seconds since 1970; null: never.
    #[schema(required)]
    pub resets_at: Option<u64>,
}
