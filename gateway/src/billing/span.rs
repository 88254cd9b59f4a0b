//! Which time of usage is asked for, and on which page.

use cocoon_ledger::Width;

use crate::billing::parameters::{Parameters, invalid};
use crate::error::Failure;

/// The end of the year 9999: no time is later.
const LAST_S: u64 = 253_402_300_799;

/// Which buckets are asked for: whole ones, from the one that `start_time` is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) width: Width,
    pub(super) from_ms: u64,
    /// Buckets that begin before it.
    pub(super) to_ms: u64,
    /// On one page.
    pub(super) limit: u64,
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

/// `one of 'a', 'b'`.
pub(super) fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = names.map(|name| format!("'{name}'")).collect();
    format!("one of {}", quoted.join(", "))
}

/// Where a page that begins at `at_ms` is asked for.
pub(super) fn cursor(at_ms: u64) -> String {
    format!("page_{:x}", at_ms / 1000)
}

fn from_cursor(page: &str) -> Option<u64> {
    let seconds = u64::from_str_radix(page.strip_prefix("page_")?, 16).ok()?;
    // One text per cursor.
    seconds.checked_mul(1000).filter(|at_ms| cursor(*at_ms) == page)
}

#[cfg(test)]
mod tests {
    use http::Uri;

    use super::*;

    const DAY_S: u64 = 86_400;

    fn span(query: &str) -> Result<Span, String> {
        let uri: Uri = format!("/v1/x?{query}").parse().unwrap();
        let parameters =
            Parameters::read(&uri, &["start_time", "end_time", "bucket_width", "limit", "page"]).unwrap();
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
