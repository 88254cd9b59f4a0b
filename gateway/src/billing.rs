//! What bills are read by (`docs/LEDGER.md`, "Billing API"): usage and costs in OpenAI's shapes, key and balance in
//! OpenRouter's, the last requests and their receipts.

mod account;
mod costs;
mod old;
mod parameters;
mod receipts;
mod requests;
mod span;
mod spent;
mod usage;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use cocoon_openapi::billing::*;

use crate::accept::Gateway;

/// The routes.
pub fn router() -> Router<Arc<Gateway>> {
    Router::new()
        .route(USAGE_COMPLETIONS_PATH, get(usage::completions))
        .route(USAGE_EMBEDDINGS_PATH, get(usage::embeddings))
        .route(COSTS_PATH, get(costs::costs))
        .route(KEY_PATH, get(account::key))
        .route(CREDITS_PATH, get(account::credits))
        .route(GENERATION_PATH, get(receipts::generation))
        .route(RECEIPT_PATH, get(receipts::receipt))
        .route(REQUESTS_PATH, get(requests::requests))
        .route(SUBSCRIPTION_PATH, get(old::subscription))
        .route(OLD_USAGE_PATH, get(old::usage))
}

/// nanoTON as the number that other shapes demand: TON, rounded as doubles are.
#[expect(clippy::cast_precision_loss, reason = "the exact amount stands beside it")]
fn ton(nano: i128) -> f64 {
    nano as f64 / 1e9
}
