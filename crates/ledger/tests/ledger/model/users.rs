//! Keys, projects and accounts: what they may use, and what they have used. Sums are made anew from all that happened.

use cocoon_ledger::{
    Amounts, Budget, Holder, Limit, Limits, Period, Rate, Rates, Refusal, Reserve, Standing, Whose,
};
use cocoon_receipts::{AccountId, KeyId, NanoTon, ProjectId, RequestId};
use jiff::{Timestamp, civil::Date, tz::TimeZone};

use super::debt::{Debt, MINUTE_MS, MOST_OWED};
use super::{DAY_MS, Model, nano};

const FORGOTTEN_AFTER: i128 = 60 * DAY_MS;
pub(super) const PERIODS: [Period; 4] = [Period::Day, Period::Week, Period::Month, Period::Total];

#[derive(Debug, Clone, Default)]
pub(super) struct User {
    used_ms: i128,
    kept: bool,
    /// When what was charged was reserved, and how much it was.
    spent: Vec<(i128, i128)>,
    held: Vec<(RequestId, i128, i128)>,
    requests: Debt,
    tokens: Debt,
}

/// What a request took of one of its users.
#[derive(Debug, Clone)]
pub(super) struct Taken {
    user: (AccountId, String),
    requests: Option<i128>,
    tokens: Option<i128>,
}

fn date(at_ms: i128) -> Date {
    TimeZone::UTC.to_datetime(Timestamp::from_millisecond(i64::try_from(at_ms).unwrap()).unwrap()).date()
}

fn same(period: Period, one: i128, other: i128) -> bool {
    let (one, other) = (date(one), date(other));
    match period {
        Period::Day => one == other,
        Period::Week => {
            let week = |date: Date| (date.iso_week_date().year(), date.iso_week_date().week());
            week(one) == week(other)
        }
        Period::Month => one.first_of_month() == other.first_of_month(),
        Period::Total => true,
    }
}

fn until_end(period: Period, now_ms: i128) -> Option<u64> {
    let tomorrow = (now_ms / DAY_MS + 1) * DAY_MS;
    let ends = (0..32).map(|days| tomorrow + days * DAY_MS).find(|day| !same(period, *day, now_ms))?;
    Some(u64::try_from(ends - now_ms).unwrap())
}

fn names(key: &KeyId, project: Option<&ProjectId>) -> Vec<(Holder, String)> {
    let project = project.map(|project| (Holder::Project, format!("project {project}")));
    let all = [Some((Holder::Key, format!("key {key}"))), project, Some((Holder::Account, String::new()))];
    all.into_iter().flatten().collect()
}

impl User {
    fn spent(&self, period: Period, now_ms: i128) -> i128 {
        let those = self.spent.iter().filter(|(reserved, _)| same(period, *reserved, now_ms));
        those.fold(0, |sum, (_, amount)| (sum + amount).max(0))
    }

    fn held(&self, period: Period, now_ms: i128) -> i128 {
        self.held
            .iter()
            .filter(|(_, reserved, _)| same(period, *reserved, now_ms))
            .map(|(.., held)| held)
            .sum()
    }

    fn rest(&self, budget: Budget, now_ms: i128) -> i128 {
        i128::from(budget.amount.0) - self.spent(budget.period, now_ms) - self.held(budget.period, now_ms)
    }
}

impl Model {
    fn limits_of(&self, reserve: &Reserve, holder: Holder) -> Limits {
        match holder {
            Holder::Key => reserve.limits,
            Holder::Project => self.limits(&reserve.account, reserve.project.as_ref()),
            Holder::Account => self.limits(&reserve.account, None),
        }
    }

    fn user(&mut self, name: (AccountId, String)) -> &mut User {
        let now_ms = i128::from(self.now_ms);
        let user = self.users.entry(name).or_default();
        if !user.kept && user.used_ms + FORGOTTEN_AFTER < now_ms {
            *user = User::default();
        }
        user
    }

    fn running(&self, account: &AccountId, is_its: impl Fn(&Reserve) -> bool) -> u64 {
        let now_ms = i128::from(self.now_ms);
        let those = self.requests.values().filter(|found| {
            found.account == *account
                && found.hold.is_some()
                && found.lease_end_ms > now_ms
                && found.reserve.as_ref().is_some_and(&is_its)
        });
        those.count() as u64
    }

    /// The refusal by revocation or limits per minute and at once; else what is left of budgets.
    pub(super) fn check(&mut self, reserve: &Reserve) -> Result<Option<i128>, Refusal> {
        if self.is_revoked(&reserve.account, &reserve.key) {
            return Err(Refusal::Revoked);
        }
        let now_ms = i128::from(self.now_ms);
        // Refused requests leave no trace.
        let mut there = self.clone();
        let mut worst: Option<(i128, Holder, Limit)> = None;
        let mut least = None;
        for (holder, name) in names(&reserve.key, reserve.project.as_ref()) {
            let limits = self.limits_of(reserve, holder);
            let user = there.under(reserve, name, &limits);
            if let Some(budget) = limits.budget {
                let rest = user.rest(budget, now_ms);
                least = Some(least.map_or(rest, |least: i128| least.min(rest)));
            }
            let asked = i128::from(reserve.estimate.tokens).min(user.tokens.limit);
            let (requests, tokens) = (user.requests.wait(1), user.tokens.wait(asked));
            let running = self.running(&reserve.account, |other| match holder {
                Holder::Key => other.key == reserve.key,
                Holder::Project => other.project == reserve.project,
                Holder::Account => true,
            });
            let full = limits.concurrency.is_some_and(|limit| running >= u64::from(limit));
            let full_for = limits.concurrency.filter(|limit| *limit > 0).map(|_| 1000);
            for (limit, applies, wait) in [
                (Limit::Requests, limits.rpm.is_some(), requests),
                (Limit::Tokens, limits.tpm.is_some(), tokens),
                (Limit::Concurrency, full, full_for),
            ] {
                let wait = wait.unwrap_or(i128::MAX);
                if applies && wait > worst.map_or(0, |(worst, ..)| worst) {
                    worst = Some((wait, holder, limit));
                }
            }
        }
        let rates = there.rates(reserve);
        match worst {
            None => Ok(least),
            Some((wait, holder, limit)) => {
                let retry_after_ms = (wait < i128::MAX).then(|| u64::try_from(wait).unwrap());
                Err(Refusal::Limited { holder, limit, retry_after_ms, rates })
            }
        }
    }

    /// The refusal of the first budget that this is too much for.
    pub(super) fn check_budgets(&self, reserve: &Reserve, needed: u64) -> Option<Refusal> {
        let now_ms = i128::from(self.now_ms);
        let mut there = self.clone();
        let all = names(&reserve.key, reserve.project.as_ref());
        let mut over = None;
        for (holder, name) in all {
            let limits = self.limits_of(reserve, holder);
            let user = there.under(reserve, name, &limits);
            let is_over = |budget: &Budget| i128::from(needed) > user.rest(*budget, now_ms);
            over = over.or(limits.budget.filter(is_over).map(|budget| (holder, budget.period)));
        }
        let (holder, period) = over?;
        let (retry_after_ms, rates) = (until_end(period, now_ms), there.rates(reserve));
        Some(Refusal::Limited { holder, limit: Limit::Budget, retry_after_ms, rates })
    }

    fn under(&mut self, reserve: &Reserve, name: String, limits: &Limits) -> &mut User {
        let now_ms = i128::from(self.now_ms);
        let user = self.user((reserve.account.clone(), name));
        (user.used_ms, user.kept) =
            (now_ms, limits.budget.is_some_and(|budget| budget.period == Period::Total));
        user.requests.set_limit(limits.rpm, now_ms);
        user.tokens.set_limit(limits.tpm, now_ms);
        user
    }

    /// Of the limits that leave least.
    fn rates(&mut self, reserve: &Reserve) -> Rates {
        let (mut requests, mut tokens): (Vec<Rate>, Vec<Rate>) = Default::default();
        for (holder, name) in names(&reserve.key, reserve.project.as_ref()) {
            let limits = self.limits_of(reserve, holder);
            let user = self.user((reserve.account.clone(), name));
            requests.extend(limits.rpm.map(|_| user.requests.rate()));
            tokens.extend(limits.tpm.map(|_| user.tokens.rate()));
        }
        let least = |rates: Vec<Rate>| rates.into_iter().min_by_key(|rate| rate.remaining);
        Rates { requests: least(requests), tokens: least(tokens) }
    }

    pub(super) fn take(&mut self, reserve: &Reserve, amount: i128) -> (Vec<Taken>, Rates) {
        let now_ms = i128::from(self.now_ms);
        let mut took = Vec::new();
        for (holder, name) in names(&reserve.key, reserve.project.as_ref()) {
            let limits = self.limits_of(reserve, holder);
            let user = self.under(reserve, name.clone(), &limits);
            let taken = Taken {
                user: (reserve.account.clone(), name),
                requests: limits.rpm.map(|_| 1),
                tokens: limits.tpm.map(|_| i128::from(reserve.estimate.tokens).min(user.tokens.limit)),
            };
            user.requests.change(taken.requests.unwrap_or(0) * MINUTE_MS, now_ms);
            user.tokens.change(taken.tokens.unwrap_or(0) * MINUTE_MS, now_ms);
            user.held.push((reserve.request, now_ms, amount));
            took.push(taken);
        }
        (took, self.rates(reserve))
    }

    /// The end of a hold, at so many tokens (none: nothing was used) and such a charge.
    pub(super) fn give_back(
        &mut self,
        request: RequestId,
        took: &[Taken],
        tokens: Option<u64>,
        (reserved_ms, spent): (i128, i128),
    ) {
        let now_ms = i128::from(self.now_ms);
        for taken in took {
            let user = self.user(taken.user.clone());
            user.used_ms = now_ms;
            user.held.retain(|(held, ..)| *held != request);
            user.spent.push((reserved_ms, spent));
            if let Some(count) = taken.tokens {
                let used = i128::from(tokens.unwrap_or(0)).min(MOST_OWED / MINUTE_MS);
                user.tokens.change((used - count) * MINUTE_MS, now_ms);
            }
            if let (Some(count), None) = (taken.requests, tokens) {
                user.requests.change(-count * MINUTE_MS, now_ms);
            }
        }
    }

    /// A charge without a hold.
    pub(super) fn spend(
        &mut self,
        account: &AccountId,
        key: &KeyId,
        project: Option<&ProjectId>,
        (reserved_ms, spent): (i128, i128),
    ) {
        let now_ms = i128::from(self.now_ms);
        for (_, name) in names(key, project) {
            let user = self.user((account.clone(), name));
            user.used_ms = now_ms;
            user.spent.push((reserved_ms, spent));
        }
    }

    pub(crate) fn standing(&self, account: &AccountId, whose: &Whose) -> Standing {
        let now_ms = i128::from(self.now_ms);
        let (name, running) = match whose {
            Whose::Key(key) => (format!("key {key}"), self.running(account, |other| other.key == *key)),
            Whose::Project(project) => {
                let is_its = |other: &Reserve| other.project.as_ref() == Some(project);
                (format!("project {project}"), self.running(account, is_its))
            }
            Whose::Account => (String::new(), self.running(account, |_| true)),
        };
        let mut there = self.clone();
        let user = there.user((account.clone(), name));
        let sums = |of: &dyn Fn(Period) -> i128| {
            let [day, week, month, total] = PERIODS.map(|period| nano(of(period)));
            Amounts { day, week, month, total }
        };
        let (spent, held) =
            (sums(&|period| user.spent(period, now_ms)), sums(&|period| user.held(period, now_ms)));
        let rates = [&mut user.requests, &mut user.tokens].map(|debt| {
            debt.change(0, now_ms);
            (debt.limit > 0).then(|| debt.rate())
        });
        Standing { spent, held, running, rates: Rates { requests: rates[0], tokens: rates[1] } }
    }
}

/// What a hold may be taken from.
pub(super) fn least(available: NanoTon, rest: Option<i128>) -> u64 {
    nano(rest.unwrap_or(i128::MAX).min(i128::from(available.0)).max(0)).0
}
