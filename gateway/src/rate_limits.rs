//! OpenAI's headers for how much may still be used.

use cocoon_ledger::{Rate, Rates};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Limit, remaining, and how long until all of it is there again.
const REQUESTS: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-requests"),
    HeaderName::from_static("x-ratelimit-remaining-requests"),
    HeaderName::from_static("x-ratelimit-reset-requests"),
];
const TOKENS: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-tokens"),
    HeaderName::from_static("x-ratelimit-remaining-tokens"),
    HeaderName::from_static("x-ratelimit-reset-tokens"),
];

/// All of them, for pages that read answers.
pub fn names() -> impl Iterator<Item = HeaderName> {
    REQUESTS.into_iter().chain(TOKENS)
}

/// Says what is left of the limits per minute that leave least. Where requests have none, the limit is that on requests
/// in flight, which a request that ends leaves at once.
pub fn say(headers: &mut HeaderMap, rates: &Rates, places: usize, free: usize) {
    let in_flight =
        || Rate { limit: places as u64, remaining: free as u64, reset_ms: if free > 0 { 0 } else { 1000 } };
    insert(headers, REQUESTS, rates.requests.unwrap_or_else(in_flight));
    if let Some(tokens) = rates.tokens {
        insert(headers, TOKENS, tokens);
    }
}

fn insert(headers: &mut HeaderMap, [limit, remaining, reset]: [HeaderName; 3], rate: Rate) {
    headers.insert(limit, HeaderValue::from(rate.limit));
    headers.insert(remaining, HeaderValue::from(rate.remaining));
    if let Ok(value) = HeaderValue::from_str(&duration(rate.reset_ms)) {
        headers.insert(reset, value);
    }
}

/// As OpenAI writes it: `17ms`, `1.5s`, `6m0s`, `1h0m0s`.
#[must_use]
pub fn duration(ms: u64) -> String {
    if (1..1000).contains(&ms) {
        return format!("{ms}ms");
    }
    let (minutes, rest) = (ms / 60_000, ms % 60_000);
    let fraction = format!(".{:03}", rest % 1000);
    let seconds = format!("{}{}s", rest / 1000, fraction.trim_end_matches('0').trim_end_matches('.'));
    match (minutes / 60, minutes % 60) {
        (0, 0) => seconds,
        (0, minutes) => format!("{minutes}m{seconds}"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_openai_does() {
        let written = [0, 17, 1000, 1500, 20_050, 60_000, 90_001, 3_600_000, 3_661_000].map(duration);
        let expected = ["0s", "17ms", "1s", "1.5s", "20.05s", "1m0s", "1m30.001s", "1h0m0s", "1h1m1s"];
        assert_eq!(written, expected);
    }

    #[test]
    fn a_key_without_limits_is_told_of_requests_in_flight() {
        let said = |rates: Rates, free| {
            let mut headers = HeaderMap::new();
            say(&mut headers, &rates, 8, free);
            names()
                .map(|name| headers.get(name).map_or("-", |value| value.to_str().unwrap()).to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(said(Rates::default(), 7), ["8", "7", "0s", "-", "-", "-"]);
        assert_eq!(said(Rates::default(), 0), ["8", "0", "1s", "-", "-", "-"]);
        let tokens = Some(Rate { limit: 500, remaining: 20, reset_ms: 57_600 });
        assert_eq!(said(Rates { tokens, requests: None }, 7), ["8", "7", "0s", "500", "20", "57.6s"]);
        let requests = Some(Rate { limit: 3, remaining: 0, reset_ms: 60_000 });
        assert_eq!(said(Rates { tokens, requests }, 7), ["3", "0", "1m0s", "500", "20", "57.6s"]);
    }
}
