//! `GET /v1/dashboard/billing/…`: OpenAI's old pair, which programs that show a balance still ask. TON stand where
//! dollars stood.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use cocoon_openapi::billing::{OldDay, OldItem, OldUsage, Subscription};
use http::{HeaderMap, Uri};
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::accept::Gateway;
use crate::billing::parameters::{Parameters, invalid};
use crate::billing::usage::groups_of;
use crate::billing::{spent, ton};
use crate::error::Failure;

/// Longest time between the two dates, milliseconds.
const MAX_SPAN_MS: u64 = 100 * 86_400_000;

/// The balance: `hard_limit_usd` less `total_usage` is what is left.
pub(super) async fn subscription(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Json<Subscription>, Failure> {
    let caller = gateway.caller(&headers).await?;
    Parameters::read(&uri, &[])?;
    let account = gateway.ledger.account(&caller.account).await.map_err(Failure::of_ledger)?;
    let ever = ton(i128::from(account.balance.0) + i128::from(account.charged.0));
    Ok(Json(Subscription {
        object: "billing_subscription",
        has_payment_method: true,
        canceled: false,
        soft_limit_usd: ever,
        hard_limit_usd: ever,
        system_hard_limit_usd: ever,
        access_until: caller.key.exp.unwrap_or(0),
    }))
}

/// Usage by day and model from `start_date` to before `end_date`, in hundredths.
pub(super) async fn usage(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Json<OldUsage>, Failure> {
    let caller = gateway.caller(&headers).await?;
    let parameters = Parameters::read(&uri, &["start_date", "end_date"])?;
    let date = |name: &str| -> Result<u64, Failure> {
        let text = parameters.one(name)?.filter(|text| text.len() == 10);
        let begin = text.and_then(|text| text.parse::<Date>().ok()).and_then(midnight_ms);
        begin.ok_or_else(|| invalid(name, "a date such as 2026-01-31"))
    };
    let (from_ms, to_ms) = (date("start_date")?, date("end_date")?);
    if to_ms <= from_ms || to_ms - from_ms > MAX_SPAN_MS {
        return Err(invalid("end_date", "later than 'start_date' by at most 100 days"));
    }
    let rows = spent::read_all(&gateway, &caller, from_ms, to_ms).await?;
    let total = spent::sum(&rows)?;
    let mut days: BTreeMap<u64, Vec<OldItem>> = BTreeMap::new();
    for ((from_ms, name), tally) in groups_of(&rows, |row| (row.from_ms, row.model.clone()))? {
        days.entry(from_ms).or_default().push(OldItem { name, cost: hundredths(tally.cost) });
    }
    let day = |(from_ms, line_items)| OldDay { timestamp: from_ms / 1000, line_items };
    Ok(Json(OldUsage {
        object: "list",
        total_usage: hundredths(total.cost),
        daily_costs: days.into_iter().map(day).collect(),
    }))
}

fn hundredths(nano: i64) -> f64 {
    ton(i128::from(nano) * 100)
}

/// When a date begins in UTC, milliseconds since 1970; none before that.
fn midnight_ms(date: Date) -> Option<u64> {
    let begin = TimeZone::UTC.to_timestamp(date.to_datetime(jiff::civil::Time::midnight())).ok()?;
    u64::try_from(begin.as_millisecond()).ok()
}
