//! What is kept of a key, a project or an account that is used: a record of fixed size with two rates and the sums of four
//! periods. The Redis library does the same (`functions/limits.lua`); all numbers are whole and below 2^53 there.

use crate::bucket::Bucket;
use crate::periods;
use crate::{Amounts, Budget, Holder, LedgerError, Limits, Period, Rate, Rates, Standing};
use cocoon_receipts::{NanoTon, Usage};

/// A record that was not used for so long begins anew; longer than any period but all time.
pub(crate) const KEPT_MS: i64 = 60 * 86_400_000;

/// When a request makes sense that was refused for others that run: a request that ends makes room at once.
pub(crate) const CONCURRENCY_RETRY_MS: u64 = 1000;

const PERIODS: [Period; 3] = [Period::Day, Period::Week, Period::Month];

/// How many numbers a record has.
pub(crate) const NUMBERS: usize = 19;

/// Their names, as columns and as fields of a hash, in the order of [`Used::numbers`].
pub(crate) const NAMES: [&str; NUMBERS] = [
    "at",
    "kept",
    "requests_debt",
    "requests_at",
    "requests_limit",
    "tokens_debt",
    "tokens_at",
    "tokens_limit",
    "day",
    "day_spent",
    "day_held",
    "week",
    "week_spent",
    "week_held",
    "month",
    "month_spent",
    "month_held",
    "spent",
    "held",
];

/// What a request took of one holder's rates; none where there was no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) requests: Option<i64>,
    pub(crate) tokens: Option<i64>,
}

/// What it took of its key's, its project's and its account's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Took(pub(crate) [Taken; 3]);

impl Took {
    pub(crate) fn of(&self, holder: Holder) -> Taken {
        let Self([key, project, account]) = *self;
        match holder {
            Holder::Key => key,
            Holder::Project => project,
            Holder::Account => account,
        }
    }

    pub(crate) fn set(&mut self, holder: Holder, taken: Taken) {
        let Self([key, project, account]) = self;
        let place = match holder {
            Holder::Key => key,
            Holder::Project => project,
            Holder::Account => account,
        };
        *place = taken;
    }

    /// As both stores keep it with the hold: requests and tokens of each, between commas, empty where there was no limit.
    pub(crate) fn to_text(self) -> String {
        let text = |count: Option<i64>| count.map_or_else(String::new, |count| count.to_string());
        self.0.map(|taken| format!("{},{}", text(taken.requests), text(taken.tokens))).join(",")
    }
}

impl std::str::FromStr for Took {
    type Err = LedgerError;

    fn from_str(text: &str) -> Result<Self, LedgerError> {
        let corrupt = || LedgerError::Corrupt(format!("taken of limits: {text:?}"));
        let count = |text: &str| match text {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| corrupt()),
        };
        let counts: Vec<Option<i64>> = text.split(',').map(count).collect::<Result<_, _>>()?;
        let [a, b, c, d, e, f] = counts[..] else { return Err(corrupt()) };
        Ok(Self([(a, b), (c, d), (e, f)].map(|(requests, tokens)| Taken { requests, tokens })))
    }
}

/// Sums of one period.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sum {
    /// Which one of its length.
    number: i64,
    spent: i64,
    /// By holds that were reserved in it.
    held: i64,
}

/// The record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Used {
    at_ms: i64,
    /// Kept however long it is not used.
    kept: bool,
    pub(crate) requests: Bucket,
    pub(crate) tokens: Bucket,
    /// In the order of [`PERIODS`].
    periods: [Sum; 3],
    total: Sum,
}

/// How a hold ends for those who had it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Change<'a> {
    /// When the request was reserved: its charge belongs to the periods of that time.
    pub(crate) reserved_ms: u64,
    /// The hold that ends.
    pub(crate) held: i64,
    /// What it took of rates, and what was used; none gives all of it back. None where no hold ends.
    pub(crate) took: Option<(Took, Option<&'a Usage>)>,
    /// Charged; negative where it is refunded.
    pub(crate) spent: i64,
}

impl Used {
    /// From its numbers as they were kept; what is over by now is zero.
    pub(crate) fn from_numbers(numbers: [i64; NUMBERS], now_ms: u64) -> Self {
        let [at_ms, kept, rd, ra, rl, td, ta, tl, d, ds, dh, w, ws, wh, m, ms, mh, spent, held] = numbers;
        let sum = |number, spent, held| Sum { number, spent, held };
        let mut used = Self {
            at_ms,
            kept: kept != 0,
            requests: Bucket { debt: rd, at_ms: ra, limit: rl },
            tokens: Bucket { debt: td, at_ms: ta, limit: tl },
            periods: [sum(d, ds, dh), sum(w, ws, wh), sum(m, ms, mh)],
            total: sum(0, spent, held),
        };
        let now = i64::try_from(now_ms).unwrap_or(i64::MAX);
        if !used.kept && at_ms.saturating_add(KEPT_MS) < now {
            used = Self::default();
        }
        used.at_ms = now;
        for (sum, period) in used.periods.iter_mut().zip(PERIODS) {
            let number = number(period, now_ms);
            if sum.number != number {
                *sum = Sum { number, spent: 0, held: 0 };
            }
        }
        used
    }

    pub(crate) fn numbers(&self) -> [i64; NUMBERS] {
        let Self { at_ms, kept, requests: r, tokens: t, periods: [d, w, m], total } = self;
        [
            *at_ms,
            i64::from(*kept),
            r.debt,
            r.at_ms,
            r.limit,
            t.debt,
            t.at_ms,
            t.limit,
            d.number,
            d.spent,
            d.held,
            w.number,
            w.spent,
            w.held,
            m.number,
            m.spent,
            m.held,
            total.spent,
            total.held,
        ]
    }

    /// Under the limits that hold from now on.
    pub(crate) fn under(mut self, limits: &Limits) -> Self {
        self.kept = limits.budget.is_some_and(|budget| budget.period == Period::Total);
        self.requests.set_limit(limits.rpm, self.at_ms);
        self.tokens.set_limit(limits.tpm, self.at_ms);
        self
    }

    /// What a budget leaves; negative where it was lowered.
    pub(crate) fn rest(&self, budget: Budget) -> i64 {
        let sum = match budget.period {
            Period::Day => self.periods[0],
            Period::Week => self.periods[1],
            Period::Month => self.periods[2],
            Period::Total => self.total,
        };
        let amount = i64::try_from(crate::rules::countable(budget.amount).0).unwrap_or(i64::MAX);
        amount.saturating_sub(sum.spent).saturating_sub(sum.held)
    }

    /// A hold of a request that is reserved now.
    pub(crate) fn hold(&mut self, amount: i64) {
        for sum in self.periods.iter_mut().chain([&mut self.total]) {
            sum.held += amount;
        }
    }

    /// What a hold, or a receipt without one, leaves behind.
    pub(crate) fn change(&mut self, holder: Holder, change: &Change<'_>) {
        for (sum, period) in self.periods.iter_mut().zip(PERIODS) {
            if sum.number == number(period, change.reserved_ms) {
                sum.change(change);
            }
        }
        self.total.change(change);
        let Some((took, usage)) = change.took else { return };
        let taken = took.of(holder);
        if let Some(tokens) = taken.tokens {
            self.tokens.correct(tokens, usage.map_or(0, Usage::total), self.at_ms);
        }
        if let (Some(requests), None) = (taken.requests, usage) {
            self.requests.correct(requests, 0, self.at_ms);
        }
    }

    /// Its rates under the limits it has.
    pub(crate) fn rates(&self, limits: &Limits) -> Rates {
        Rates {
            requests: limits.rpm.map(|_| self.requests.rate()),
            tokens: limits.tpm.map(|_| self.tokens.rate()),
        }
    }

    pub(crate) fn standing(mut self, running: u64) -> Standing {
        self.requests.pay_off(self.at_ms);
        self.tokens.pay_off(self.at_ms);
        let amounts = |of: fn(&Sum) -> i64| {
            let [day, week, month] = self.periods.map(|sum| nano(of(&sum)));
            Amounts { day, week, month, total: nano(of(&self.total)) }
        };
        let rate = |bucket: &Bucket| (bucket.limit > 0).then(|| bucket.rate());
        Standing {
            spent: amounts(|sum| sum.spent),
            held: amounts(|sum| sum.held),
            running,
            rates: Rates { requests: rate(&self.requests), tokens: rate(&self.tokens) },
        }
    }
}

impl Sum {
    /// A record that was forgotten meanwhile does not know of the hold.
    fn change(&mut self, change: &Change<'_>) {
        self.held = (self.held - change.held).max(0);
        self.spent = (self.spent + change.spent).max(0);
    }
}

fn number(period: Period, at_ms: u64) -> i64 {
    i64::try_from(periods::number(period, at_ms)).unwrap_or(i64::MAX)
}

fn nano(amount: i64) -> NanoTon {
    NanoTon(u64::try_from(amount).unwrap_or_default())
}

/// The rate that leaves less.
pub(crate) fn tighter(one: Option<Rate>, other: Option<Rate>) -> Option<Rate> {
    match (one, other) {
        (Some(one), Some(other)) if other.remaining < one.remaining => Some(other),
        (Some(one), _) => Some(one),
        (None, other) => other,
    }
}
