//! Limits and what is used of them, between how the ledger keeps them and how clients see them.

use cocoon_ledger::{Budget, LedgerError, Limits, Period, Rate, Standing, Whose};
use cocoon_openapi::limits::{BudgetLeft, BudgetOf, BudgetPeriod, LimitSet, RateLeft, Spent, Used};
use cocoon_receipts::{AccountId, NanoTon, ProjectId};

use crate::accept::Gateway;

/// Parts of a minute that rates are counted in, milliseconds.
const MINUTE_MS: u64 = 60_000;

impl Gateway {
    /// The limits of an account, or of one of its projects, and how far it has come with them.
    ///
    /// # Errors
    /// The ledger's.
    pub async fn limits_in_use(
        &self,
        account: &AccountId,
        project: Option<&ProjectId>,
    ) -> Result<(Limits, Standing), LedgerError> {
        let whose = project.map_or(Whose::Account, |project| Whose::Project(project.clone()));
        tokio::try_join!(self.ledger.limits(account, project), self.ledger.standing(account, &whose))
    }
}

/// As clients write limits.
#[must_use]
pub fn shown(limits: &Limits) -> LimitSet {
    let budget = limits.budget.map(|budget| BudgetOf {
        amount: budget.amount,
        period: match budget.period {
            Period::Day => BudgetPeriod::Day,
            Period::Week => BudgetPeriod::Week,
            Period::Month => BudgetPeriod::Month,
            Period::Total => BudgetPeriod::Total,
        },
    });
    LimitSet { rpm: limits.rpm, tpm: limits.tpm, concurrency: limits.concurrency, budget }
}

/// As the ledger takes them.
#[must_use]
pub fn taken(limits: LimitSet) -> Limits {
    let budget = limits.budget.map(|budget| Budget {
        amount: budget.amount,
        period: match budget.period {
            BudgetPeriod::Day => Period::Day,
            BudgetPeriod::Week => Period::Week,
            BudgetPeriod::Month => Period::Month,
            BudgetPeriod::Total => Period::Total,
        },
    });
    Limits { rpm: limits.rpm, tpm: limits.tpm, concurrency: limits.concurrency, budget }
}

/// What was used under `limits`; `now_ms`: milliseconds since 1970.
#[must_use]
pub fn used(limits: &Limits, standing: &Standing, now_ms: u64) -> Used {
    let Standing { spent, held, running, rates } = standing;
    Used {
        spent: Spent { daily: spent.day, weekly: spent.week, monthly: spent.month, total: spent.total },
        running: *running,
        requests: limits.rpm.map(|limit| left(rates.requests, limit)),
        tokens: limits.tpm.map(|limit| left(rates.tokens, limit)),
        budget: limits.budget.map(|Budget { amount, period }| {
            let (spent, held) = (spent.of(period), held.of(period));
            BudgetLeft {
                spent,
                held,
                remaining: NanoTon(amount.0.saturating_sub(spent.0).saturating_sub(held.0)),
                resets_at: period.end_ms(now_ms).map(|end_ms| end_ms / 1000),
            }
        }),
    }
}

/// What `limit` leaves of a rate, which was counted last under the limit of that time, or never.
fn left(rate: Option<Rate>, limit: u32) -> RateLeft {
    let limit = u64::from(limit);
    match rate {
        None => RateLeft { limit, remaining: limit, reset_ms: 0 },
        Some(rate) if rate.limit == limit => {
            RateLeft { limit, remaining: rate.remaining, reset_ms: rate.reset_ms }
        }
        // What was used is used under any limit; only its pay-off has another pace.
        Some(rate) => {
            let debt = rate.reset_ms.saturating_mul(rate.limit);
            RateLeft {
                limit,
                remaining: limit.saturating_sub(debt.div_ceil(MINUTE_MS)),
                reset_ms: debt.checked_div(limit).unwrap_or(0),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use cocoon_ledger::{Amounts, Rates};

    use super::*;

    #[test]
    fn a_budget_has_left_what_is_neither_spent_nor_held_until_its_period_ends() {
        let amounts = |day, week, month, total| Amounts {
            day: NanoTon(day),
            week: NanoTon(week),
            month: NanoTon(month),
            total: NanoTon(total),
        };
        let standing = Standing {
            spent: amounts(1, 20, 300, 4000),
            held: amounts(5, 6, 7, 8),
            running: 2,
            rates: Rates::default(),
        };
        // Wednesday 2027-02-03, noon.
        let now_ms = 1_801_656_000_000;
        let of = |amount, period| {
            let limits =
                Limits { budget: Some(Budget { amount: NanoTon(amount), period }), ..Limits::default() };
            let used = used(&limits, &standing, now_ms);
            assert_eq!((used.running, used.requests, used.tokens), (2, None, None));
            let Spent { daily, weekly, monthly, total } = used.spent;
            assert_eq!([daily, weekly, monthly, total], [1, 20, 300, 4000].map(NanoTon));
            let left = used.budget.unwrap();
            (left.spent.0, left.held.0, left.remaining.0, left.resets_at)
        };
        assert_eq!(of(10, Period::Day), (1, 5, 4, Some(1_801_699_200)));
        assert_eq!(of(26, Period::Week), (20, 6, 0, Some(1_802_044_800)));
        assert_eq!(of(307, Period::Month), (300, 7, 0, Some(1_803_859_200)));
        assert_eq!(of(4000, Period::Total), (4000, 8, 0, None));
        assert_eq!(used(&Limits::default(), &standing, now_ms).budget, None);
    }

    #[test]
    fn what_was_used_counts_under_a_changed_limit() {
        let rate = |limit, remaining, reset_ms| RateLeft { limit, remaining, reset_ms };
        assert_eq!(left(None, 60), rate(60, 60, 0));
        // 6 of 60 are used: 6 s at that pace.
        let six = Some(Rate { limit: 60, remaining: 54, reset_ms: 6000 });
        assert_eq!(left(six, 60), rate(60, 54, 6000));
        assert_eq!(left(six, 10), rate(10, 4, 36_000));
        assert_eq!(left(six, 3), rate(3, 0, 120_000));
        assert_eq!(left(six, 0), rate(0, 0, 0));
    }
}
