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
use crate::billing::reader::Reader;
use crate::billing::spent::{self, Filter};
use crate::clock::now_s;
use crate::error::Failure;

/// The end of the year 9999: no time is later.
const LAST_S: u64 = 253_402_300_799;

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
    let reader = gateway.reader(&headers).await?;
    let parameters = Parameters::read(&uri, &[&COMMON[..], &["batch", "page"]].concat())?;
    let groups = ["project_id", "user_id", "api_key_id", "model", "batch", "service_tier", "api_source"];
    let grouped = group_by(&parameters, &groups)?;
    let by = |name: &str| grouped.contains(&name);
    let span = Span::read(&parameters, &[Width::Minute, Width::Hour, Width::Day], now_s())?;
    let batches_alone = parameters.flag("batch")? == Some(true);
    let filter = Filter { work: Some(Work::Completions), ..filter(&parameters)? };
    let filter = Filter { nothing: filter.nothing || batches_alone, ..filter };
    page(&gateway, &reader, span, filter, |rows| {
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
    let reader = gateway.reader(&headers).await?;
    let parameters = Parameters::read(&uri, &[&COMMON[..], &["page"]].concat())?;
    let grouped = group_by(&parameters, &["project_id", "user_id", "api_key_id", "model"])?;
    let span = Span::read(&parameters, &[Width::Minute, Width::Hour, Width::Day], now_s())?;
    let filter = Filter { work: Some(Work::Embeddings), ..filter(&parameters)? };
    page(&gateway, &reader, span, filter, |rows| {
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

/// Which buckets are asked for: whole ones, from the one that `start_time` is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    width: Width,
    from_ms: u64,
    /// Buckets that begin before it.
    to_ms: u64,
    /// On one page.
    limit: u64,
}

impl Span {
    /// `now_s`: the end, where there is none.
    ///
    /// # Errors
    /// 400 for what OpenAI would not take.
    pub(super) fn read(parameters: &Parameters, widths: &[Width], now_s: u64) -> Result<Self, Failure> {
        let start_s = parameters
            .number("start_time", 0..=LAST_S)?
            .ok_or_else(|| invalid("start_time", "the Unix time in seconds that the query begins at"))?;
        let end_s = parameters.number("end_time", 0..=LAST_S)?.unwrap_or_else(|| now_s.max(start_s + 1));
        if end_s <= start_s {
            return Err(invalid("end_time", "later than 'start_time'"));
        }
        let width = match parameters.one("bucket_width")? {
            None => Width::Day,
            Some(name) => {
                widths.iter().copied().find(|width| width_name(*width) == name).ok_or_else(|| {
                    invalid("bucket_width", &listed(widths.iter().map(|width| width_name(*width))))
                })?
            }
        };
        let (usual, most) = match (width, widths.len()) {
            (Width::Minute, _) => (60, 1440),
            (Width::Hour, _) => (24, 168),
            // Costs have longer pages.
            (Width::Day, 1) => (7, 180),
            (Width::Day, _) => (7, 31),
        };
        let limit = parameters.number("limit", 1..=most)?.unwrap_or(usual);
        let first_ms = start_s * 1000 - start_s * 1000 % width.ms();
        let from_ms = match parameters.one("page")? {
            None => first_ms,
            Some(page) => from_cursor(page)
                .filter(|at_ms| at_ms % width.ms() == 0 && (first_ms..end_s * 1000).contains(at_ms))
                .ok_or_else(|| invalid("page", "the 'next_page' of an answer to the same query"))?,
        };
        Ok(Self { width, from_ms, to_ms: end_s * 1000, limit })
    }
}

fn width_name(width: Width) -> &'static str {
    match width {
        Width::Minute => "1m",
        Width::Hour => "1h",
        Width::Day => "1d",
    }
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = names.map(|name| format!("'{name}'")).collect();
    format!("one of {}", quoted.join(", "))
}

fn cursor(at_ms: u64) -> String {
    format!("page_{:x}", at_ms / 1000)
}

fn from_cursor(page: &str) -> Option<u64> {
    let seconds = u64::from_str_radix(page.strip_prefix("page_")?, 16).ok()?;
    // One text per cursor.
    seconds.checked_mul(1000).filter(|at_ms| cursor(*at_ms) == page)
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
/// 503 for sums that no ledger can hold.
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
    reader: &Reader,
    span: Span,
    filter: Filter,
    results: impl Fn(&[UsageRow]) -> Result<Vec<UsageResult>, Failure>,
) -> Result<Json<UsagePage>, Failure> {
    let width_ms = span.width.ms();
    let end_ms = span.to_ms.min(span.from_ms + span.limit * width_ms);
    let spent = spent::read(gateway, reader, filter, span.width, span.from_ms, end_ms).await?;
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

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_S: u64 = 86_400;

    fn span(query: &str) -> Result<Span, String> {
        let uri: Uri = format!("/v1/x?{query}").parse().unwrap();
        let parameters = Parameters::read(&uri, &[&COMMON[..], &["page"]].concat()).unwrap();
        Span::read(&parameters, &Width::ALL, 10 * DAY_S)
            .map_err(|failure| failure.api.body.error.param.clone().unwrap_or_default())
    }

    #[test]
    fn a_query_covers_whole_buckets_up_to_now() {
        let days = span(&format!("start_time={}", 3 * DAY_S + 7)).unwrap();
        let expected =
            Span { width: Width::Day, from_ms: 3 * DAY_S * 1000, to_ms: 10 * DAY_S * 1000, limit: 7 };
        assert_eq!(days, expected);
        let minutes = span("start_time=90&end_time=200&bucket_width=1m&limit=1440").unwrap();
        assert_eq!(minutes, Span { width: Width::Minute, from_ms: 60_000, to_ms: 200_000, limit: 1440 });
        assert_eq!(span("start_time=0&bucket_width=1h").unwrap().limit, 24);
    }

    #[test]
    fn what_openai_would_not_take_is_refused_by_name() {
        for (query, param) in [
            ("", "start_time"),
            ("start_time=x", "start_time"),
            ("start_time=5&end_time=5", "end_time"),
            ("start_time=5&bucket_width=2d", "bucket_width"),
            ("start_time=5&limit=32", "limit"),
            ("start_time=5&limit=169&bucket_width=1h", "limit"),
            ("start_time=5&limit=1441&bucket_width=1m", "limit"),
            ("start_time=5&limit=0", "limit"),
            ("start_time=5&page=next", "page"),
            ("start_time=5&page=page_1", "page"),
            ("start_time=5&page=page_0000", "page"),
            ("start_time=999999&page=page_0", "page"),
        ] {
            assert_eq!(span(query), Err(param.to_owned()), "{query}");
        }
        assert_eq!(span("start_time=5&page=page_15180").unwrap().from_ms, DAY_S * 1000);
    }
}
