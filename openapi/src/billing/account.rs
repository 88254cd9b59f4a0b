//! The key that asks and the account that pays: OpenRouter's shapes with exact amounts beside, and OpenAI's old ones.

use cocoon_receipts::NanoTon;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::limits::{LimitSet, Spent, Used};

/// OpenRouter's envelope of the key.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = KeyFacts)]
pub struct KeyEnvelope {
    pub data: KeyData,
}

/// The key that asks. Amounts without `nano` are numbers of TON; an account's key and an operator's show the account's.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = KeyFactsData)]
pub struct KeyData {
    /// The key's id.
    pub label: String,
    pub id: String,
    pub account: String,
    #[schema(required)]
    pub project: Option<String>,
    /// `inference`, `admin` or `operator`.
    pub scope: &'static str,
    /// Models it may use; null: all.
    #[schema(required)]
    pub models: Option<Vec<String>>,
    /// Whether it is good for sealed requests alone.
    pub sealed_only: bool,
    /// Seconds since 1970; null: never.
    #[schema(required)]
    pub expires_at: Option<u64>,
    /// The budget; null: none.
    #[schema(required)]
    pub limit: Option<f64>,
    /// What is left of it, less what running requests hold.
    #[schema(required)]
    pub limit_remaining: Option<f64>,
    /// `daily`, `weekly` or `monthly`; null: it is for all time, or there is none.
    #[schema(required)]
    pub limit_reset: Option<&'static str>,
    /// What was spent in all.
    pub usage: f64,
    /// Since midnight UTC.
    pub usage_daily: f64,
    /// Since Monday.
    pub usage_weekly: f64,
    /// Since the first of the month.
    pub usage_monthly: f64,
    /// The last four, exactly.
    pub usage_nano: Spent,
    /// All that limits its requests: its own limits, its project's, its account's. Of an account's key and an operator's,
    /// which run none, the account's alone.
    pub limits: Vec<LimitsInUse>,
    /// `false`.
    pub is_free_tier: bool,
    /// `ton`.
    pub currency: &'static str,
}

/// Whose limits count for the key's requests, what they are and what is used of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct LimitsInUse {
    /// `key`, `project` or `account`.
    pub of: &'static str,
    pub id: String,
    #[serde(flatten)]
    pub limits: LimitSet,
    pub used: Used,
}

/// OpenRouter's envelope of the balance.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Credits {
    pub data: CreditsData,
}

/// How to pay in: by a page, by a transfer on TON, or either.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TopUp {
    /// nanoTON that are missing, where a request was refused for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, pattern = "^[0-9]+$")]
    pub amount: Option<NanoTon>,
    /// A page for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    #[serde(flatten)]
    pub transfer: Option<Transfer>,
}

/// A transfer that is credited to the account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Transfer {
    /// Where to send TON to.
    pub address: String,
    /// What to write with it, to the letter: it says whose balance it is for.
    pub comment: String,
    /// nanoTON; less is not credited.
    #[schema(value_type = String, pattern = "^[0-9]+$")]
    pub minimum: NanoTon,
    /// The same for wallets: `ton://transfer/…`.
    pub link: String,
}

/// The account's balance.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct CreditsData {
    /// Deposits and grants, TON. A number that readers may round.
    pub total_credits: f64,
    /// What was paid for requests, TON. A number that readers may round.
    pub total_usage: f64,
    /// `ton`.
    pub currency: &'static str,
    pub account: String,
    /// nanoTON, as all that follows.
    #[schema(value_type = String, pattern = "^[0-9]+$")]
    pub balance: NanoTon,
    /// By requests that run.
    #[schema(value_type = String, pattern = "^[0-9]+$")]
    pub held: NanoTon,
    #[schema(value_type = String, pattern = "^[0-9]+$")]
    pub available: NanoTon,
    #[schema(value_type = String, pattern = "^[0-9]+$")]
    pub deposited: NanoTon,
    #[schema(value_type = String, pattern = "^[0-9]+$")]
    pub granted: NanoTon,
    #[schema(value_type = String, pattern = "^[0-9]+$")]
    pub charged: NanoTon,
    /// Taken from the balance by withdrawals that are under way.
    #[schema(value_type = String, pattern = "^[0-9]+$")]
    pub withdrawing: NanoTon,
    #[schema(value_type = String, pattern = "^[0-9]+$")]
    pub withdrawn: NanoTon,
    /// Only where the deployment says how.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topup: Option<TopUp>,
}

/// OpenAI's old balance; amounts are numbers of TON, whatever their names say.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Subscription {
    /// `billing_subscription`.
    pub object: &'static str,
    pub has_payment_method: bool,
    pub canceled: bool,
    /// What was ever there: the balance and what was paid.
    pub soft_limit_usd: f64,
    pub hard_limit_usd: f64,
    pub system_hard_limit_usd: f64,
    /// Seconds since 1970: when the key expires, or 0.
    pub access_until: u64,
}

/// OpenAI's old usage; amounts are hundredths of a TON.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct OldUsage {
    /// `list`.
    pub object: &'static str,
    pub total_usage: f64,
    pub daily_costs: Vec<OldDay>,
}

/// One day of it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct OldDay {
    /// Its midnight UTC, seconds since 1970.
    pub timestamp: u64,
    pub line_items: Vec<OldItem>,
}

/// One model of it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct OldItem {
    pub name: String,
    pub cost: f64,
}
