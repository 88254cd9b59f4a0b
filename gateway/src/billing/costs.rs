//! `GET /v1/organization/costs`: OpenAI's costs by day, with the exact amount beside the number.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use cocoon_ledger::{UsageRow, Width};
use cocoon_openapi::billing::{CURRENCY, CostAmount, CostsResult, UsagePage, UsageResult};
use http::{HeaderMap, Uri};

use crate::accept::Gateway;
use crate::billing::parameters::Parameters;
use crate::billing::span::Span;
use crate::billing::spent::Filter;
use crate::billing::ton;
use crate::billing::usage::{filter, group_by, groups_of, page};
use crate::clock::now_s;
use crate::error::Failure;

const KNOWN: [&str; 10] = [
    "start_time",
    "end_time",
    "bucket_width",
    "project_ids",
    "user_ids",
    "api_key_ids",
    "line_items",
    "group_by",
    "limit",
    "page",
];

/// Costs by day. A line item is a model: a request is rounded once, so its cost has no parts.
pub(super) async fn costs(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Json<UsagePage>, Failure> {
    let caller = gateway.caller(&headers).await?;
    let parameters = Parameters::read(&uri, &KNOWN)?;
    let grouped = group_by(&parameters, &["project_id", "user_id", "line_item", "api_key_id", "api_source"])?;
    let by = |name: &str| grouped.contains(&name);
    let span = Span::read(&parameters, &[Width::Day], now_s())?;
    let items = parameters.all("line_items")?;
    let models = (!items.is_empty()).then(|| items.into_iter().map(str::to_owned).collect());
    let filter = Filter { models, ..filter(&parameters)? };
    let group = |row: &UsageRow| {
        (
            by("line_item").then(|| row.model.clone()),
            row.project.as_ref().filter(|_| by("project_id")).map(ToString::to_string),
            by("api_key_id").then(|| row.key.to_string()),
        )
    };
    page(&gateway, &caller, span, filter, |rows| {
        let groups = groups_of(rows, group)?;
        let results = groups.into_iter().map(|((line_item, project_id, api_key_id), tally)| {
            let tokens = tally.prompt + tally.cached + tally.completion + tally.reasoning;
            UsageResult::Costs(CostsResult {
                object: "organization.costs.result",
                amount: CostAmount {
                    value: ton(tally.cost.into()),
                    currency: CURRENCY,
                    nano: tally.cost.to_string(),
                },
                quantity: line_item.is_some().then_some(tokens),
                quantity_unit: line_item.is_some().then_some("tokens"),
                line_item,
                project_id,
                user_id: None,
                api_key_id,
                api_source: by("api_source").then_some("unlabeled"),
            })
        });
        Ok(results.collect())
    })
    .await
}
