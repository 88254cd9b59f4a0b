//! Whether the books are what their journal makes them, also while they are in use: every part of them is read together
//! with the journal's last id at that moment, the replay goes exactly as far, and only then are they compared.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use cocoon_receipts::{AccountId, NanoTon, OperatorId};

use crate::replay::Replayed;
use crate::report::{Finding, ShardReport, Subject};
use crate::{
    Account, Channel, Cut, JournalEntry, JournalId, Ledger, LedgerError, Replay, Shard, Totals, is_channel,
};

/// A hold this long past its time was forgotten by every sweeper.
const OVERDUE_MS: u64 = 60_000;

/// How fast a check goes through a ledger that serves clients meanwhile.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Journal entries, or accounts, that are read at once.
    pub page: u32,
    /// Rest after each page.
    pub pause: Duration,
}

impl Pace {
    /// As fast as the store answers.
    pub const FULL: Self = Self { page: 1000, pause: Duration::ZERO };
    /// At most ten thousand entries a second.
    pub const GENTLE: Self = Self { page: 200, pause: Duration::from_millis(20) };

    pub(crate) async fn rest(self) {
        if !self.pause.is_zero() {
            tokio::time::sleep(self.pause).await;
        }
    }
}

/// A check that came to no end.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Entries that were there are gone: another check is of no use before that is understood.
    #[error("the journal of {shard} went back from {from} to {to}")]
    WentBack { shard: Shard, from: String, to: String },
    /// Entries that the replay needs were dropped: it must begin at the newest checkpoint of the archive.
    #[error("the journal of {0} begins after entries that are in the archive only")]
    Trimmed(Shard),
}

/// Replays the journal of `shard` on top of `replay` and compares. `replay` is empty, or where old entries were dropped,
/// what the archive has of them ([`crate::Archive::replayed`]).
///
/// # Errors
/// [`CheckError`].
pub async fn check_shard(
    ledger: &dyn Ledger,
    shard: Shard,
    replay: Replay,
    pace: Pace,
) -> Result<ShardReport, CheckError> {
    let begin = replay.last.clone();
    begins_at(ledger, shard, begin.as_ref()).await?;
    let mut check = Check { ledger, pace, replay, ahead: VecDeque::new(), report: ShardReport::new(shard) };
    check.go_to_the_end().await?;
    check.accounts().await?;
    check.channels().await?;
    check.totals().await?;
    check.holds().await?;
    // What was dropped meanwhile may have been dropped before it was read.
    begins_at(ledger, shard, begin.as_ref()).await?;
    check.report.at = check.replay.last;
    check.report.entries = check.replay.entries;
    Ok(check.report)
}

/// Looks at the shard's sums and holds alone, which takes no time: the invariants, and no replay.
///
/// # Errors
/// [`LedgerError`].
pub async fn survey_shard(ledger: &dyn Ledger, shard: Shard) -> Result<ShardReport, LedgerError> {
    let (pace, replay, report) = (Pace::FULL, Replay::default(), ShardReport::new(shard));
    let mut check = Check { ledger, pace, replay, ahead: VecDeque::new(), report };
    let Cut { at, value: totals } = ledger.totals_at(shard).await?;
    check.invariants(&totals);
    check.holds().await?;
    check.report.at = at;
    Ok(check.report)
}

/// Whether all entries after `begin` are there.
async fn begins_at(ledger: &dyn Ledger, shard: Shard, begin: Option<&JournalId>) -> Result<(), CheckError> {
    let trimmed = ledger.kept(shard).await?.trimmed;
    if place(trimmed.as_ref())? > place(begin)? { Err(CheckError::Trimmed(shard)) } else { Ok(()) }
}

struct Check<'a> {
    ledger: &'a dyn Ledger,
    pace: Pace,
    replay: Replay,
    /// Read and not yet replayed.
    ahead: VecDeque<JournalEntry>,
    report: ShardReport,
}

impl Check<'_> {
    /// Replays what is there now, so that the way to a cut is short.
    async fn go_to_the_end(&mut self) -> Result<(), CheckError> {
        while self.fill().await? {
            while let Some(entry) = self.ahead.pop_front() {
                self.apply(&entry)?;
            }
        }
        Ok(())
    }

    /// Reads the next page where none is at hand; whether there is an entry.
    async fn fill(&mut self) -> Result<bool, CheckError> {
        if self.ahead.is_empty() {
            let after = self.replay.last.as_ref();
            let page = self.ledger.journal(self.report.shard, after, self.pace.page).await?;
            self.ahead.extend(page);
            self.pace.rest().await;
        }
        Ok(!self.ahead.is_empty())
    }

    fn apply(&mut self, entry: &JournalEntry) -> Result<(), CheckError> {
        for finding in self.replay.apply(entry)? {
            self.find(finding);
        }
        Ok(())
    }

    /// Replays up to the moment of a cut, no entry less and none more.
    async fn advance_to(&mut self, at: Option<&JournalId>) -> Result<(), CheckError> {
        let place = place(at)?;
        loop {
            let here = self::place(self.replay.last.as_ref())?;
            if here == place {
                return Ok(());
            }
            if here > place {
                let name = |id: Option<&JournalId>| id.map_or("its beginning", |id| &id.0).to_owned();
                let (from, to) = (name(self.replay.last.as_ref()), name(at));
                return Err(CheckError::WentBack { shard: self.report.shard, from, to });
            }
            let next = if self.fill().await? { self.ahead.pop_front() } else { None };
            match next {
                Some(entry) if entry.id.place()? <= place => self.apply(&entry)?,
                next => {
                    // The store counted an entry that it does not have.
                    self.ahead.extend(next);
                    let id = at.cloned().unwrap_or_else(|| JournalId(String::new()));
                    self.find(Finding::count(Subject::Entry(id), "missing in the journal", 1, 0));
                    self.replay.last = at.cloned();
                }
            }
        }
    }

    async fn accounts(&mut self) -> Result<(), CheckError> {
        let mut seen = BTreeSet::new();
        loop {
            let last = seen.last();
            let names = self.ledger.account_names(self.report.shard, last, self.pace.page).await?;
            if names.is_empty() {
                break;
            }
            self.compare_accounts(&names).await?;
            self.pace.rest().await;
            seen.extend(names);
        }
        // What the journal knows and the store does not.
        let lost: Vec<AccountId> =
            self.replay.accounts.keys().filter(|name| !seen.contains(*name)).cloned().collect();
        for names in lost.chunks(self.pace.page.max(1) as usize) {
            self.compare_accounts(names).await?;
            self.pace.rest().await;
        }
        Ok(())
    }

    async fn compare_accounts(&mut self, names: &[AccountId]) -> Result<(), CheckError> {
        let Cut { at, value: accounts } = match self.ledger.accounts_at(self.report.shard, names).await {
            // Which of them it is, is the finding.
            Err(LedgerError::Corrupt(_)) if names.len() > 1 => {
                for name in names {
                    Box::pin(self.compare_accounts(std::slice::from_ref(name))).await?;
                }
                return Ok(());
            }
            Err(LedgerError::Corrupt(reason)) => {
                for name in names {
                    tracing::error!(account = %name, reason, "an account cannot be read");
                    self.find(Finding::count(Subject::Account(name.clone()), "readable", 1, 0));
                }
                return Ok(());
            }
            read => read?,
        };
        self.advance_to(at.as_ref()).await?;
        for (name, account) in names.iter().zip(&accounts) {
            self.report.accounts += 1;
            let expected = self.replay.accounts.get(name).copied().unwrap_or_default();
            self.compare(&Subject::Account(name.clone()), &expected, &Replayed::from(account));
            self.check_held(name, account);
        }
        Ok(())
    }

    /// Invariant 1.
    fn check_held(&mut self, name: &AccountId, account: &Account) {
        if account.held > account.balance {
            let (most, held) = (i128::from(account.balance.0), i128::from(account.held.0));
            self.find(Finding::amount(
                Subject::Account(name.clone()),
                "held at most the balance",
                most,
                held,
            ));
        }
    }

    /// What vouchers have raised is what was credited, and whoever was credited by vouchers is a channel.
    async fn channels(&mut self) -> Result<(), CheckError> {
        // Opened before the first voucher and never taken away: whoever was credited so far is listed.
        let credited = |(name, account): (&AccountId, &Replayed)| {
            (is_channel(name) && account.deposited != 0).then(|| name.clone())
        };
        let mut missing: BTreeSet<AccountId> = self.replay.accounts.iter().filter_map(credited).collect();
        let mut last: Option<AccountId> = None;
        loop {
            let page = match self.ledger.channels(self.report.shard, last.as_ref(), self.pace.page).await {
                Err(LedgerError::Corrupt(reason)) => {
                    tracing::error!(reason, after = ?last, "a channel cannot be read");
                    self.find(Finding::count(Subject::Totals, "channels readable", 1, 0));
                    return Ok(());
                }
                page => page?,
            };
            let Some((newest, _)) = page.last() else { break };
            last = Some(newest.account.clone());
            for (channel, account) in &page {
                missing.remove(&channel.account);
                self.check_channel(channel, account);
            }
            self.pace.rest().await;
        }
        for name in missing {
            self.find(Finding::count(Subject::Account(name), "channels", 1, 0));
        }
        Ok(())
    }

    /// The two are of one moment, whichever that is.
    fn check_channel(&mut self, channel: &Channel, account: &Account) {
        let subject = || Subject::Account(channel.account.clone());
        let of = |amount: NanoTon| i128::from(amount.0);
        let (ceiling, deposited) = (of(channel.ceiling()), of(channel.deposited));
        self.expect(subject(), "raised by vouchers", of(account.deposited), ceiling - of(channel.base));
        if ceiling > deposited {
            self.find(Finding::amount(subject(), "ceiling at most the deposit", deposited, ceiling));
        }
    }

    async fn totals(&mut self) -> Result<(), CheckError> {
        let Cut { at, value: totals } = self.ledger.totals_at(self.report.shard).await?;
        self.advance_to(at.as_ref()).await?;
        let expected = self.replay.sum();
        self.compare(&Subject::Totals, &expected, &Replayed::from(&totals));
        self.expect(Subject::Totals, "platform", self.replay.platform, totals.platform);
        self.operators(&totals);
        self.invariants(&totals);
        Ok(())
    }

    fn operators(&mut self, totals: &Totals) {
        let kept: BTreeMap<_, _> = totals.operators.iter().map(|each| (&each.operator, each)).collect();
        let names: BTreeSet<OperatorId> =
            self.replay.operators.keys().chain(kept.keys().copied()).cloned().collect();
        for name in names {
            let (accrued, reversed) = self.replay.operators.get(&name).copied().unwrap_or_default();
            let of = |amount: NanoTon| i128::from(amount.0);
            let found = kept.get(&name).map_or((0, 0), |kept| (of(kept.accrued), of(kept.reversed)));
            self.expect(Subject::Operator(name.clone()), "accrued", accrued, found.0);
            self.expect(Subject::Operator(name), "reversed", reversed, found.1);
        }
    }

    /// Invariants 2 and 3.
    fn invariants(&mut self, totals: &Totals) {
        self.report.shortfall = totals.shortfall;
        let of = |amount: NanoTon| i128::from(amount.0);
        let came_in = of(totals.deposits) + of(totals.grants);
        let is_there_or_gone =
            of(totals.balances) + of(totals.withdrawing) + of(totals.charges) + of(totals.withdrawn);
        self.expect(Subject::Totals, "what came in is there or spent", came_in, is_there_or_gone);
        let operators: i128 = totals.operators.iter().map(|each| of(each.accrued) - of(each.reversed)).sum();
        let billed = of(totals.charges) + of(totals.shortfall);
        self.expect(Subject::Totals, "what was billed is shared out", billed, operators + totals.platform);
    }

    async fn holds(&mut self) -> Result<(), LedgerError> {
        let Some(holds) = self.ledger.holds(self.report.shard).await? else { return Ok(()) };
        self.report.holds_compared = true;
        self.report.open_holds = holds.holds.len() as u64;
        let overdue = |due_ms: u64| due_ms.saturating_add(OVERDUE_MS) < holds.now_ms;
        self.report.overdue_holds = holds.holds.iter().filter(|hold| overdue(hold.due_ms)).count() as u64;
        let mut expected: BTreeMap<&AccountId, (i128, i128)> = BTreeMap::new();
        for hold in &holds.holds {
            let (held, count) = expected.entry(&hold.account).or_default();
            *held += i128::from(hold.amount.0);
            *count += 1;
        }
        let held: i128 = expected.values().map(|(held, _)| held).sum();
        self.expect(Subject::Totals, "held", held, i128::from(holds.held.0));
        self.expect_count(
            Subject::Totals,
            "open holds",
            holds.holds.len() as i128,
            i128::from(holds.open_holds),
        );
        let names: BTreeSet<&AccountId> = expected.keys().copied().chain(holds.accounts.keys()).collect();
        for name in names {
            let (held, count) = expected.get(name).copied().unwrap_or_default();
            let (kept, open) = holds.accounts.get(name).copied().unwrap_or_default();
            self.expect(Subject::Account(name.clone()), "held", held, i128::from(kept.0));
            self.expect_count(Subject::Account(name.clone()), "open holds", count, i128::from(open));
        }
        Ok(())
    }

    fn compare(&mut self, subject: &Subject, expected: &Replayed, found: &Replayed) {
        for ((what, expected), (_, found)) in expected.counters().into_iter().zip(found.counters()) {
            self.expect(subject.clone(), what, expected, found);
        }
    }

    fn expect(&mut self, subject: Subject, what: &'static str, expected: i128, found: i128) {
        if expected != found {
            self.find(Finding::amount(subject, what, expected, found));
        }
    }

    fn expect_count(&mut self, subject: Subject, what: &'static str, expected: i128, found: i128) {
        if expected != found {
            self.find(Finding::count(subject, what, expected, found));
        }
    }

    fn find(&mut self, finding: Finding) {
        self.report.add(finding);
    }
}

fn place(id: Option<&JournalId>) -> Result<(u64, u64), LedgerError> {
    id.map(JournalId::place).transpose().map(Option::unwrap_or_default)
}
