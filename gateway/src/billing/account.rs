//! `GET /v1/key` and `GET /v1/credits`: the key that asks and the account's balance, in OpenRouter's shapes.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use cocoon_openapi::billing::{CURRENCY, Credits, CreditsData, KeyData, KeyEnvelope, SpentNano};
use http::{HeaderMap, Uri};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::accept::Gateway;
use crate::authenticate::Scope;
use crate::billing::parameters::Parameters;
use crate::billing::{ledger_failed, spent, ton};
use crate::clock::now_ms;
use crate::error::Failure;

/// What is known of the key that asks, and what it spent.
pub(super) async fn key(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Json<KeyEnvelope>, Failure> {
    let reader = gateway.reader(&headers).await?;
    Parameters::read(&uri, &[])?;
    let now_ms = now_ms();
    let begins = Begins::of(now_ms).ok_or_else(Failure::internal)?;
    let first_ms = begins.month_ms.min(begins.week_ms);
    let rows = spent::read_all(&gateway, &reader, first_ms, now_ms + 1).await?;
    let since = |begin_ms: u64| spent::sum(rows.iter().filter(|row| row.from_ms >= begin_ms));
    let (day, week, month) = (since(begins.day_ms)?, since(begins.week_ms)?, since(begins.month_ms)?);
    let usage = match &reader.only {
        Some(_) => ton(month.cost.into()),
        None => {
            let account = gateway.ledger.account(&reader.account).await.map_err(ledger_failed)?;
            ton(account.charged.0.into())
        }
    };
    let key = reader.key;
    Ok(Json(KeyEnvelope {
        data: KeyData {
            label: key.jti.to_string(),
            id: key.jti.to_string(),
            account: reader.account.to_string(),
            project: key.project.map(|project| project.to_string()),
            scope: match key.scope {
                Scope::Inference => "inference",
                Scope::Admin => "admin",
                Scope::Operator => "operator",
            },
            models: key.models,
            sealed_only: key.sealed_only,
            expires_at: key.exp,
            usage,
            usage_daily: ton(day.cost.into()),
            usage_weekly: ton(week.cost.into()),
            usage_monthly: ton(month.cost.into()),
            usage_nano: SpentNano {
                daily: day.cost.to_string(),
                weekly: week.cost.to_string(),
                monthly: month.cost.to_string(),
            },
            is_free_tier: false,
            currency: CURRENCY,
        },
    }))
}

/// The account's balance.
pub(super) async fn credits(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Json<Credits>, Failure> {
    let reader = gateway.reader(&headers).await?;
    Parameters::read(&uri, &[])?;
    let account = gateway.ledger.account(&reader.account).await.map_err(ledger_failed)?;
    Ok(Json(Credits {
        data: CreditsData {
            total_credits: ton(i128::from(account.deposited.0) + i128::from(account.granted.0)),
            total_usage: ton(account.charged.0.into()),
            currency: CURRENCY,
            account: reader.account.to_string(),
            balance: account.balance,
            held: account.held,
            available: account.available(),
            deposited: account.deposited,
            granted: account.granted,
            charged: account.charged,
        },
    }))
}

/// When the day, the week and the month began, in UTC, milliseconds since 1970.
#[derive(Debug, PartialEq, Eq)]
struct Begins {
    day_ms: u64,
    week_ms: u64,
    month_ms: u64,
}

impl Begins {
    /// None for times that no calendar has.
    fn of(now_ms: u64) -> Option<Self> {
        let now = Timestamp::from_millisecond(i64::try_from(now_ms).ok()?).ok()?;
        let today = TimeZone::UTC.to_datetime(now).date();
        let since_monday = i64::from(today.weekday().to_monday_zero_offset());
        let monday = today.checked_sub(jiff::Span::new().days(since_monday)).ok()?;
        Some(Self {
            day_ms: midnight_ms(today)?,
            week_ms: midnight_ms(monday)?,
            month_ms: midnight_ms(today.first_of_month())?,
        })
    }
}

/// When a date begins in UTC, milliseconds since 1970; none before that.
pub(super) fn midnight_ms(date: Date) -> Option<u64> {
    let begin = TimeZone::UTC.to_timestamp(date.to_datetime(jiff::civil::Time::midnight())).ok()?;
    u64::try_from(begin.as_millisecond()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weeks_begin_on_monday_and_months_on_the_first() {
        let at = |text: &str| u64::try_from(text.parse::<Timestamp>().unwrap().as_millisecond()).unwrap();
        // A Sunday, on which clocks change elsewhere.
        let begins = Begins::of(at("2026-03-29T01:30:00Z")).unwrap();
        let expected = Begins {
            day_ms: at("2026-03-29T00:00:00Z"),
            week_ms: at("2026-03-23T00:00:00Z"),
            month_ms: at("2026-03-01T00:00:00Z"),
        };
        assert_eq!(begins, expected);
    }
}
