//! What bills are read by: OpenAI's usage and costs, OpenRouter's account, and requests with their receipts.

mod account;
pub(crate) mod document;
mod requests;
mod usage;

pub use account::*;
pub use requests::*;
pub use usage::*;

/// OpenAI's usage of models that generate text.
pub const USAGE_COMPLETIONS_PATH: &str = "/v1/organization/usage/completions";
/// OpenAI's usage of embeddings.
pub const USAGE_EMBEDDINGS_PATH: &str = "/v1/organization/usage/embeddings";
/// OpenAI's costs.
pub const COSTS_PATH: &str = "/v1/organization/costs";
/// OpenRouter's: the key that asks.
pub const KEY_PATH: &str = "/v1/key";
/// OpenRouter's: the account's balance.
pub const CREDITS_PATH: &str = "/v1/credits";
/// OpenRouter's: one request.
pub const GENERATION_PATH: &str = "/v1/generation";
/// One receipt, by its id or its request's.
pub const RECEIPT_PATH: &str = "/v1/receipts/{id}";
/// The last requests.
pub const REQUESTS_PATH: &str = "/v1/requests";
/// OpenAI's old balance.
pub const SUBSCRIPTION_PATH: &str = "/v1/dashboard/billing/subscription";
/// OpenAI's old usage.
pub const OLD_USAGE_PATH: &str = "/v1/dashboard/billing/usage";
/// In OpenAI's shapes the currency of amounts, which are numbers of TON.
pub const CURRENCY: &str = "ton";
