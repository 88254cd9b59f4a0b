//! How bills are read, as the description of the API has it.

use serde_json::{Value, json};

use super::*;
use crate::document::read;

/// What every one of them may answer besides.
const STATUSES: [u16; 4] = [400, 401, 500, 503];

/// Every path and what its `GET` does.
pub(crate) fn paths() -> Vec<(&'static str, Value)> {
    let day = json!([
        param("start_date", "string", "Such as 2026-01-31."),
        param("end_date", "string", "Exclusive; at most 100 days later.")
    ]);
    let id = json!([{
        "name": "id", "in": "path", "required": true, "schema": { "type": "string" },
        "description": "Of a receipt, or of the request that it charged.",
    }]);
    vec![
        (
            USAGE_COMPLETIONS_PATH,
            operation(
                "readCompletionsUsage",
                "Usage of models that generate text, by buckets of time in UTC.",
                "UsagePage",
                usage_parameters(&["batch"]),
                page(&completions_example()),
            ),
        ),
        (
            USAGE_EMBEDDINGS_PATH,
            operation(
                "readEmbeddingsUsage",
                "Usage of embeddings, by buckets of time in UTC.",
                "UsagePage",
                usage_parameters(&[]),
                page(&json!({
                    "object": "organization.usage.embeddings.result", "input_tokens": 900, "num_model_requests": 3,
                    "project_id": null, "user_id": null, "api_key_id": null, "model": null, "cost": "18000",
                })),
            ),
        ),
        (
            COSTS_PATH,
            operation(
                "readCosts",
                "What was paid, by days in UTC.",
                "UsagePage",
                costs_parameters(),
                page(&costs_example()),
            ),
        ),
        (
            KEY_PATH,
            operation(
                "readKey",
                "The key that asks, what it spent, and what is left of all that limits it.",
                "KeyFacts",
                json!([]),
                key_example(),
            ),
        ),
        (
            CREDITS_PATH,
            operation("readCredits", "The account's balance.", "Credits", json!([]), credits_example()),
        ),
        (
            GENERATION_PATH,
            with_404(operation(
                "readGeneration",
                "One request, while its receipt is kept.",
                "Generation",
                json!([param("id", "string", "Of a request, or of its receipt.")]),
                json!({ "data": generation_example() }),
            )),
        ),
        (
            RECEIPT_PATH,
            with_404(operation(
                "readReceipt",
                "A receipt, eight days long.",
                "ReceiptFacts",
                id,
                receipt_example(),
            )),
        ),
        (
            REQUESTS_PATH,
            operation(
                "listRequests",
                "The last thousand charged requests, newest first.",
                "RequestList",
                json!([
                    param("limit", "integer", "1 to 100; 20 where absent."),
                    param("after", "string", "`last_id` of the page before."),
                    param("api_key_id", "string", "Of this key alone."),
                ]),
                requests_example(),
            ),
        ),
        (
            SUBSCRIPTION_PATH,
            operation(
                "readSubscription",
                "The balance in OpenAI's old shape; TON for dollars.",
                "Subscription",
                json!([]),
                json!({
                    "object": "billing_subscription", "has_payment_method": true, "canceled": false, "soft_limit_usd": 10.0,
                    "hard_limit_usd": 10.0, "system_hard_limit_usd": 10.0, "access_until": 0,
                }),
            ),
        ),
        (
            OLD_USAGE_PATH,
            operation(
                "readOldUsage",
                "Usage in OpenAI's old shape, in hundredths of a TON.",
                "OldUsage",
                day,
                json!({
                    "object": "list", "total_usage": 12.5,
                    "daily_costs": [{
                        "timestamp": 1_793_404_800, "line_items": [{ "name": "smollm2-135m-instruct", "cost": 12.5 }],
                    }],
                }),
            ),
        ),
    ]
}

fn operation(id: &str, summary: &str, answer: &str, parameters: Value, example: Value) -> Value {
    let mut operation = read(id, summary, answer, &STATUSES, None);
    operation["parameters"] = parameters;
    if let Some(all) = operation["parameters"].as_array_mut() {
        all.push(json!({
            "name": "OpenAI-Organization", "in": "header", "schema": { "type": "string" },
            "description": "The account. An operator's key must name one; another key's own is the only one it may name.",
        }));
    }
    operation["responses"]["200"]["content"]["application/json"]["example"] = example;
    operation
}

fn with_404(mut operation: Value) -> Value {
    operation["responses"]["404"] = json!({ "$ref": "#/components/responses/Error" });
    operation
}

fn param(name: &str, kind: &str, description: &str) -> Value {
    let required = matches!(name, "start_time" | "start_date" | "end_date" | "id");
    json!({
        "name": name, "in": "query", "required": required, "schema": { "type": kind }, "description": description,
    })
}

fn list(name: &str, description: &str) -> Value {
    json!({
        "name": name, "in": "query", "explode": true,
        "schema": { "type": "array", "maxItems": 100, "items": { "type": "string" } },
        "description": format!("{description} `{name}[]` is the same."),
    })
}

fn usage_parameters(more: &[&str]) -> Value {
    let mut all = span(
        "1m, 1h or 1d; 1d where absent.",
        "Buckets of one page: 7, at most 31 days; 24, at most 168 hours; 60, at most 1440 minutes.",
    );
    all.push(list("models", "Of these models alone."));
    all.push(list("group_by", "What results are of: project_id, user_id, api_key_id, model and, of completions, batch, service_tier, api_source."));
    all.extend(
        more.iter().map(|name| param(name, "boolean", "Batches alone, or none of them; there are none.")),
    );
    all.into()
}

fn costs_parameters() -> Value {
    let mut all = span("1d.", "Days of one page: 7, at most 180.");
    all.push(list("line_items", "Of these alone: a line item is a model."));
    all.push(list(
        "group_by",
        "What results are of: project_id, user_id, line_item, api_key_id, api_source.",
    ));
    all.into()
}

fn span(widths: &str, limit: &str) -> Vec<Value> {
    vec![
        param(
            "start_time",
            "integer",
            "Seconds since 1970; buckets are whole, and the first is the one that it is in.",
        ),
        param("end_time", "integer", "Exclusive; now where absent."),
        param("bucket_width", "string", widths),
        param("limit", "integer", limit),
        param("page", "string", "`next_page` of the page before."),
        list("project_ids", "Of these projects alone."),
        list("user_ids", "Of these users alone; accounts have none."),
        list("api_key_ids", "Of these keys alone."),
    ]
}

fn page(result: &Value) -> Value {
    json!({
        "object": "page",
        "data": [{ "object": "bucket", "start_time": 1_793_404_800, "end_time": 1_793_491_200, "results": [result] }],
        "has_more": true,
        "next_page": "page_6ae66f80",
    })
}

fn completions_example() -> Value {
    json!({
        "object": "organization.usage.completions.result", "input_tokens": 1000, "output_tokens": 500,
        "input_cached_tokens": 200, "input_uncached_tokens": 800, "input_text_tokens": 800, "output_text_tokens": 500,
        "input_cached_text_tokens": 200, "input_audio_tokens": 0, "output_audio_tokens": 0,
        "output_reasoning_tokens": 0, "num_model_requests": 5, "project_id": null, "user_id": null,
        "api_key_id": null, "model": "smollm2-135m-instruct", "batch": null, "service_tier": null,
        "api_source": null, "cost": "50000",
    })
}

fn costs_example() -> Value {
    json!({
        "object": "organization.costs.result",
        "amount": { "value": 0.00005, "currency": "ton", "nano": "50000" },
        "line_item": "smollm2-135m-instruct", "project_id": null, "user_id": null, "api_key_id": null,
        "api_source": null, "quantity": 1500, "quantity_unit": "tokens",
    })
}

fn key_example() -> Value {
    let spent = json!({ "daily": "50000", "weekly": "50000", "monthly": "50000", "total": "50000" });
    json!({ "data": {
        "label": "k1", "id": "k1", "account": "alice", "project": null, "scope": "inference", "models": null,
        "sealed_only": false, "expires_at": null, "limit": 1.0, "limit_remaining": 0.99995, "limit_reset": "monthly", "usage": 0.00005, "usage_daily": 0.00005, "usage_weekly": 0.00005,
        "usage_monthly": 0.00005, "usage_nano": spent, "limits": [
            {
                "of": "key", "id": "k1", "rpm": 60, "tpm": null, "concurrency": null,
                "budget": { "amount": "1000000000", "period": "month" },
                "used": {
                    "spent": spent, "running": 0, "requests": { "limit": 60, "remaining": 59, "reset_ms": 1000 },
                    "tokens": null,
                    "budget": { "spent": "50000", "held": "0", "remaining": "999950000", "resets_at": 1_793_491_200 },
                },
            },
            {
                "of": "account", "id": "alice", "rpm": null, "tpm": null, "concurrency": null, "budget": null,
                "used": { "spent": spent, "running": 0, "requests": null, "tokens": null, "budget": null },
            },
        ],
        "is_free_tier": false, "currency": "ton",
    } })
}

fn credits_example() -> Value {
    json!({ "data": {
        "total_credits": 10.0, "total_usage": 0.00005, "currency": "ton", "account": "alice", "balance": "9999950000",
        "held": "0", "available": "9999950000", "deposited": "10000000000", "granted": "0", "charged": "50000",
        "withdrawing": "0", "withdrawn": "0", "topup": {
            "address": "EQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAM9c", "comment": "cocoon:alice:a8cb3b2c",
            "minimum": "10000000",
            "link": "ton://transfer/EQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAM9c?text=cocoon:alice:a8cb3b2c",
        },
    } })
}

const REQUEST: &str = "019a0000-0000-7000-8000-000000000001";
const RECEIPT: &str = "019a0000-0000-7000-8000-000000000002";

fn generation_example() -> Value {
    json!({
        "id": REQUEST, "upstream_id": RECEIPT, "model": "smollm2-135m-instruct", "created_at": "2026-10-31T12:00:00Z",
        "total_cost": 0.00005, "usage": 0.00005, "total_cost_nano": "50000", "currency": "ton", "tokens_prompt": 1000,
        "tokens_completion": 500, "native_tokens_prompt": 1000, "native_tokens_completion": 500,
        "native_tokens_reasoning": 0, "native_tokens_cached": 200, "finish_reason": "stop",
        "native_finish_reason": "stop", "cancelled": false, "streamed": true, "generation_time": 900,
        "provider_name": "cocoon", "is_byok": false,
    })
}

fn usage_example() -> Value {
    json!({ "prompt": 800, "cached": 200, "completion": 500, "reasoning": 0 })
}

fn receipt_example() -> Value {
    json!({
        "object": "receipt", "id": RECEIPT, "request_id": REQUEST, "created": 1_793_448_000, "account": "alice",
        "api_key_id": "k1", "project_id": null, "model": "smollm2-135m-instruct", "usage": usage_example(),
        "cost": "50000", "charged": "50000", "privacy": "sealed", "finish": "stop", "complete": true, "status": 200,
        "keyset": "0".repeat(64), "jws": "eyJ…",
    })
}

fn requests_example() -> Value {
    json!({
        "object": "list", "first_id": REQUEST, "last_id": REQUEST, "has_more": false,
        "data": [{
            "object": "request", "id": REQUEST, "created": 1_793_448_000, "model": "smollm2-135m-instruct",
            "work": "completions", "api_key_id": "k1", "project_id": null, "usage": usage_example(), "cost": "50000",
            "privacy": "sealed", "finish": "stop", "receipt_id": RECEIPT, "receipt": "eyJ…",
        }],
    })
}
