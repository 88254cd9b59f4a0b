//! Whether a request may be reserved, by the limits of its key, its project and its account, and what it takes of them.

use ::rusqlite::{OptionalExtension, params};
use cocoon_receipts::NanoTon;

use crate::embedded::book::Book;
use crate::embedded::used::{self, User};
use crate::embedded::{integer, natural, sqlite_error};
use crate::key_registry::cap;
use crate::used::{CONCURRENCY_RETRY_MS, Taken, Took, Used, tighter};
use crate::{Holder, LedgerError, Limit, Limits, Rates, Refusal, Reserve, Whose, periods};

/// One of those for whom limits are checked.
struct Held {
    holder: Holder,
    name: String,
    limits: Limits,
    used: Used,
}

/// A request whose limits allow it, before it takes anything.
pub(super) struct Taking<'a> {
    reserve: &'a Reserve,
    now_ms: u64,
    holders: Vec<Held>,
}

/// # Errors
/// The refusal, where a limit or a revocation stands against the request.
pub(super) fn begin<'a>(
    book: &Book<'_>,
    reserve: &'a Reserve,
) -> Result<Result<Taking<'a>, Refusal>, LedgerError> {
    if is_revoked(book, reserve)? {
        return Ok(Err(Refusal::Revoked));
    }
    let user = User { account: &reserve.account, key: &reserve.key, project: reserve.project.as_ref() };
    let mut holders = Vec::with_capacity(3);
    for (holder, name) in user.holders() {
        let limits = limits(book, reserve, holder)?;
        let used =
            used::load(book.connection, book.shard, &reserve.account, &name, book.now_ms)?.under(&limits);
        holders.push(Held { holder, name, limits, used });
    }
    let taking = Taking { reserve, now_ms: book.now_ms, holders };
    Ok(match taking.longest_wait(book)? {
        Some(refusal) => Err(refusal),
        None => Ok(taking),
    })
}

impl Taking<'_> {
    /// The limit that stands longest against the request; the first of those that do so for ever.
    fn longest_wait(&self, book: &Book<'_>) -> Result<Option<Refusal>, LedgerError> {
        let mut longest: Option<(Option<u64>, Holder, Limit)> = None;
        for held in &self.holders {
            let requests = held.limits.rpm.map(|_| (Limit::Requests, held.used.requests.wait_ms(1)));
            let tokens = held.limits.tpm.map(|_| {
                let asked = held.used.tokens.asks_for(self.reserve.estimate.tokens);
                (Limit::Tokens, held.used.tokens.wait_ms(asked))
            });
            let concurrency = match held.limits.concurrency {
                Some(limit) if self.running(book, held.holder)? >= u64::from(limit) => {
                    Some((Limit::Concurrency, (limit > 0).then_some(CONCURRENCY_RETRY_MS)))
                }
                _ => None,
            };
            for (limit, wait) in [requests, tokens, concurrency].into_iter().flatten() {
                if wait == Some(0) {
                    continue;
                }
                let waits = |wait: Option<u64>| wait.unwrap_or(u64::MAX);
                if longest.is_none_or(|(before, ..)| waits(wait) > waits(before)) {
                    longest = Some((wait, held.holder, limit));
                }
            }
        }
        Ok(longest.map(|(retry_after_ms, holder, limit)| Refusal::Limited {
            holder,
            limit,
            retry_after_ms,
            rates: self.rates(),
        }))
    }

    fn running(&self, book: &Book<'_>, holder: Holder) -> Result<u64, LedgerError> {
        let Reserve { account, key, project, .. } = self.reserve;
        let whose = match (holder, project) {
            (Holder::Key, _) => Whose::Key(key.clone()),
            (Holder::Project, Some(project)) => Whose::Project(project.clone()),
            (Holder::Project, None) | (Holder::Account, _) => Whose::Account,
        };
        used::running(book.connection, book.shard, account, &whose, self.now_ms)
    }

    /// What `available` and every budget leave; a budget that was lowered may leave less than nothing.
    pub(super) fn least(&self, available: NanoTon) -> Result<NanoTon, LedgerError> {
        let rests =
            self.holders.iter().filter_map(|held| held.limits.budget.map(|budget| held.used.rest(budget)));
        let least = rests.min().unwrap_or(i64::MAX).min(integer(available.0)?);
        natural(least.max(0)).map(NanoTon)
    }

    /// The refusal of the first budget that `needed` exceeds.
    pub(super) fn over_budget(&self, needed: NanoTon) -> Option<Refusal> {
        let needed = i64::try_from(needed.0).unwrap_or(i64::MAX);
        self.holders.iter().find_map(|held| {
            let budget = held.limits.budget.filter(|budget| held.used.rest(*budget) < needed)?;
            let ends = periods::end_ms(budget.period, self.now_ms);
            Some(Refusal::Limited {
                holder: held.holder,
                limit: Limit::Budget,
                retry_after_ms: ends.map(|ends| ends - self.now_ms),
                rates: self.rates(),
            })
        })
    }

    /// Takes it all: what the request took is kept with its hold.
    pub(super) fn take(&mut self, book: &Book<'_>, amount: i64) -> Result<Took, LedgerError> {
        let mut took = Took::default();
        for held in &mut self.holders {
            let taken = Taken {
                requests: held.limits.rpm.map(|_| 1),
                tokens: held.limits.tpm.map(|_| held.used.tokens.asks_for(self.reserve.estimate.tokens)),
            };
            held.used.requests.take(taken.requests.unwrap_or(0));
            held.used.tokens.take(taken.tokens.unwrap_or(0));
            held.used.hold(amount);
            took.set(held.holder, taken);
            used::save(book.connection, book.shard, &self.reserve.account, &held.name, held.used.numbers())?;
        }
        Ok(took)
    }

    /// Of the limits that leave least.
    pub(super) fn rates(&self) -> Rates {
        self.holders.iter().fold(Rates::default(), |tightest, held| {
            let rates = held.used.rates(&held.limits);
            Rates {
                requests: tighter(tightest.requests, rates.requests),
                tokens: tighter(tightest.tokens, rates.tokens),
            }
        })
    }
}

fn limits(book: &Book<'_>, reserve: &Reserve, holder: Holder) -> Result<Limits, LedgerError> {
    let text = match (holder, &reserve.project) {
        (Holder::Key, _) => return Ok(reserve.limits),
        (Holder::Project, Some(project)) => get_cap(book, reserve, &cap::limits(Some(project)))?,
        (Holder::Project, None) => None,
        (Holder::Account, _) => get_cap(book, reserve, &cap::limits(None))?,
    };
    text.map_or(Ok(Limits::default()), |text| Limits::from_text(&text))
}

fn is_revoked(book: &Book<'_>, reserve: &Reserve) -> Result<bool, LedgerError> {
    let Some(text) = get_cap(book, reserve, &cap::revoked(&reserve.key))? else { return Ok(false) };
    let at_ms: u64 = text.parse().map_err(|_| LedgerError::Corrupt(format!("time {text:?}")))?;
    Ok(at_ms <= book.now_ms)
}

fn get_cap(book: &Book<'_>, reserve: &Reserve, name: &str) -> Result<Option<String>, LedgerError> {
    book.connection
        .prepare_cached("SELECT value FROM caps WHERE shard = ?1 AND account = ?2 AND name = ?3")
        .and_then(|mut get| {
            get.query_row(params![book.shard.0, reserve.account.as_str(), name], |row| row.get(0)).optional()
        })
        .map_err(sqlite_error)
}
