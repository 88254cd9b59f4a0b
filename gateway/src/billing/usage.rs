//! `GET /v1/organization/usage/…`: OpenAI's usage, by buckets of a minute, an hour or a day.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use cocoon_ledger::{Tally, UsageRow, Width, Work};
use cocoon_openapi::billing::{
    CompletionsUsage, EmbeddingsUsage, UsageBucket, UsageGroup, UsagePage, UsageResult,
};
use cocoon_receipts::{KeyId, ProjectId};
use http::{HeaderMap, Uri};

use crate::accept::Gateway;
use crate::billing::parameters::{Parameters, invalid};
use crate::billing::span::{Span, cursor, listed};
use crate::billing::spent::{self, Filter};
use crate::caller::Caller;
use crate::clock::now_s;
use crate::error::Failure;

const COMMON: [&str; 9] = [
    "start_time",
    "end_time",
    "bucket_width",
    "project_ids",
    "user_ids",
    "api_key_ids",
    "models",
    "group_by",
    "limit",
];

/// Usage of models that generate text.
pub(super) async fn completions(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Json<UsagePage>, Failure> {
    let caller = gateway.caller(&headers).await?;
    let parameters = Parameters::read(&uri, &[&COMMON[..], &["batch", "page"]].concat())?;
    let groups = ["project_id", "user_id", "api_key_id", "model", "batch", "service_tier", "api_source"];
    let grouped = group_by(&parameters, &groups)?;
    let by = |name: &str| grouped.contains(&name);
    let span = Span::read(&parameters, &[Width::Minute, Width::Hour, Width::Day], now_s())?;
    let batches_alone = parameters.flag("batch")? == Some(true);
    let filter = Filter { work: Some(Work::Completions), ..filter(&parameters)? };
    let filter = Filter { nothing: filter.nothing || batches_alone, ..filter };
    page(&gateway, &caller, span, filter, |rows| {
        let groups = grouped_rows(rows, &grouped)?;
        let result = |(group, tally): (UsageGroup, Tally)| CompletionsUsage {
            object: "organization.usage.completions.result",
            input_tokens: tally.prompt + tally.cached,
            output_tokens: tally.completion + tally.reasoning,
            input_cached_tokens: tally.cached,
            input_uncached_tokens: tally.prompt,
            input_text_tokens: tally.prompt,
            output_text_tokens: tally.completion + tally.reasoning,
            input_cached_text_tokens: tally.cached,
            input_audio_tokens: 0,
            output_audio_tokens: 0,
            output_reasoning_tokens: tally.reasoning,
            num_model_requests: tally.requests,
            group,
            batch: by("batch").then_some(false),
            service_tier: by("service_tier").then_some("default"),
            api_source: by("api_source").then_some("unlabeled"),
            cost: tally.cost.to_string(),
        };
        Ok(groups.into_iter().map(result).map(UsageResult::Completions).collect())
    })
    .await
}

/// Usage of embeddings.
pub(super) async fn embeddings(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Json<UsagePage>, Failure> {
    let caller = gateway.caller(&headers).await?;
    let parameters = Parameters::read(&uri, &[&COMMON[..], &["page"]].concat())?;
    let grouped = group_by(&parameters, &["project_id", "user_id", "api_key_id", "model"])?;
    let span = Span::read(&parameters, &[Width::Minute, Width::Hour, Width::Day], now_s())?;
    let filter = Filter { work: Some(Work::Embeddings), ..filter(&parameters)? };
    page(&gateway, &caller, span, filter, |rows| {
        let groups = grouped_rows(rows, &grouped)?;
        let result = |(group, tally): (UsageGroup, Tally)| EmbeddingsUsage {
            object: "organization.usage.embeddings.result",
            input_tokens: tally.prompt + tally.cached,
            num_model_requests: tally.requests,
            group,
            cost: tally.cost.to_string(),
        };
        Ok(groups.into_iter().map(result).map(UsageResult::Embeddings).collect())
    })
    .await
}

/// The lists of names; one that cannot be a name is the name of nothing.
///
/// # Errors
/// 400 for lists that are too long.
pub(super) fn filter(parameters: &Parameters) -> Result<Filter, Failure> {
    let named = |name: &str| parameters.all(name).map(|list| Some(list).filter(|list| !list.is_empty()));
    let keys =
        named("api_key_ids")?.map(|list| list.iter().filter_map(|id| id.parse::<KeyId>().ok()).collect());
    let projects =
        named("project_ids")?.map(|list| list.iter().filter_map(|id| id.parse::<ProjectId>().ok()).collect());
    let models = named("models")?.map(|list| list.iter().map(|model| (*model).to_owned()).collect());
    // Accounts have no users.
    let nothing = named("user_ids")?.is_some();
    Ok(Filter { keys, projects, models, work: None, nothing })
}

/// # Errors
/// 400 for what cannot be grouped by.
pub(super) fn group_by<'a>(parameters: &'a Parameters, known: &[&str]) -> Result<Vec<&'a str>, Failure> {
    let asked = parameters.all("group_by")?;
    match asked.iter().all(|name| known.contains(name)) {
        true => Ok(asked),
        false => Err(invalid("group_by", &listed(known.iter().copied()))),
    }
}

fn grouped_rows(rows: &[UsageRow], by: &[&str]) -> Result<BTreeMap<UsageGroup, Tally>, Failure> {
    let by = |name: &str| by.contains(&name);
    let group = |row: &UsageRow| UsageGroup {
        project_id: row.project.as_ref().filter(|_| by("project_id")).map(ToString::to_string),
        user_id: None,
        api_key_id: by("api_key_id").then(|| row.key.to_string()),
        model: by("model").then(|| row.model.clone()),
    };
    groups_of(rows, group)
}

/// Sums of rows by what `of` says they are of.
///
/// # Errors
/// 500 for sums that no ledger can hold.
pub(super) fn groups_of<Group: Ord>(
    rows: &[UsageRow],
    of: impl Fn(&UsageRow) -> Group,
) -> Result<BTreeMap<Group, Tally>, Failure> {
    let mut groups: BTreeMap<Group, Vec<&UsageRow>> = BTreeMap::new();
    for row in rows {
        groups.entry(of(row)).or_default().push(row);
    }
    groups.into_iter().map(|(group, rows)| Ok((group, spent::sum(rows)?))).collect()
}

/// One page: every bucket of it, what is in each as `results` makes it.
pub(super) async fn page(
    gateway: &Gateway,
    caller: &Caller,
    span: Span,
    filter: Filter,
    results: impl Fn(&[UsageRow]) -> Result<Vec<UsageResult>, Failure>,
) -> Result<Json<UsagePage>, Failure> {
    let width_ms = span.width.ms();
    let end_ms = span.to_ms.min(span.from_ms + span.limit * width_ms);
    let spent = spent::read(gateway, caller, filter, span.width, span.from_ms, end_ms).await?;
    let mut rows = spent.rows.as_slice();
    let mut data = Vec::new();
    let mut begin_ms = span.from_ms;
    while begin_ms < spent.until_ms {
        let here = rows.partition_point(|row| row.from_ms <= begin_ms);
        let (of_bucket, later) = rows.split_at(here);
        rows = later;
        data.push(UsageBucket {
            object: "bucket",
            start_time: begin_ms / 1000,
            end_time: (begin_ms + width_ms) / 1000,
            results: results(of_bucket)?,
        });
        begin_ms += width_ms;
    }
    let has_more = begin_ms < span.to_ms;
    let next_page = has_more.then(|| cursor(begin_ms));
    Ok(Json(UsagePage { object: "page", data, has_more, next_page }))
}
