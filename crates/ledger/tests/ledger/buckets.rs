//! Usage buckets against the journal: whatever happened, the buckets of each width say what its entries say.

use std::collections::BTreeMap;

use cocoon_ledger::{JournalEntry, JournalKind, Ledger, Tally, UsageQuery, UsageRow, Width, Work};
use cocoon_receipts::{AccountId, KeyId, ProjectId, Usage};

type Name = (u64, KeyId, Option<ProjectId>, String, Work);

/// All buckets of `account` between two times, page by page.
pub(crate) async fn read(
    ledger: &dyn Ledger,
    account: &AccountId,
    width: Width,
    from_ms: u64,
    to_ms: u64,
) -> Vec<UsageRow> {
    let mut query = UsageQuery {
        account: account.clone(),
        width,
        from_ms,
        to_ms,
        keys: Vec::new(),
        projects: Vec::new(),
        models: Vec::new(),
        work: None,
    };
    let mut rows = Vec::new();
    loop {
        let page = ledger.usage(&query).await.unwrap();
        rows.extend(page.rows);
        match page.next_ms {
            Some(next_ms) => {
                assert!(next_ms > query.from_ms && next_ms < to_ms, "a page goes on where it ended");
                query.from_ms = next_ms;
            }
            None => return rows,
        }
    }
}

/// Holds every width of every account against the shard's whole journal, as far back as buckets are kept at `now_ms`.
pub(crate) async fn agree(
    ledger: &dyn Ledger,
    journal: &[JournalEntry],
    accounts: &[AccountId],
    now_ms: u64,
) {
    let Some(from_ms) = journal.iter().map(|entry| entry.at_ms).min() else { return };
    let to_ms = journal.iter().map(|entry| entry.at_ms).max().unwrap_or(from_ms) + 1;
    for account in accounts.iter().filter(|account| journal.iter().any(|entry| entry.account == **account)) {
        for width in Width::ALL {
            let kept_ms = from_ms.max(now_ms.saturating_sub(width.kept_ms()));
            let begin_ms = kept_ms - kept_ms % width.ms();
            let rows = read(ledger, account, width, begin_ms, to_ms).await;
            let in_order = rows.is_sorted_by_key(|row| row.from_ms);
            assert!(in_order, "{width:?} of {account}");
            let found: BTreeMap<Name, Tally> = rows.into_iter().map(named).collect();
            let mut expected = expected(journal, account, width);
            expected.retain(|(bucket_ms, ..), _| *bucket_ms >= begin_ms);
            assert_eq!(found, expected, "{width:?} of {account}");
        }
    }
}

fn named(row: UsageRow) -> (Name, Tally) {
    ((row.from_ms, row.key, row.project, row.model, row.work), row.tally)
}

/// What the entries of one account add up to.
pub(crate) fn expected(journal: &[JournalEntry], account: &AccountId, width: Width) -> BTreeMap<Name, Tally> {
    let mut before: BTreeMap<&str, Usage> = BTreeMap::new();
    let mut sums: BTreeMap<Name, Tally> = BTreeMap::new();
    for entry in journal.iter().filter(|entry| entry.account == *account) {
        let counted = match entry.kind {
            JournalKind::Charge | JournalKind::Expiry => None,
            JournalKind::Correction => before.get(entry.cause.as_str()).copied(),
            JournalKind::Deposit
            | JournalKind::Grant
            | JournalKind::NoCost
            | JournalKind::Withdrawing
            | JournalKind::Withdrawn
            | JournalKind::WithdrawalUndone
            | JournalKind::Voucher => continue,
        };
        let usage = entry.usage.expect("a charge has its usage");
        if entry.kind == JournalKind::Expiry {
            before.insert(&entry.cause, usage);
        }
        let change = |of: fn(&Usage) -> u64| -> i64 {
            i64::try_from(of(&usage)).unwrap() - counted.as_ref().map_or(0, |then| of(then) as i64)
        };
        let tally = Tally {
            requests: i64::from(counted.is_none()),
            prompt: change(|usage| usage.prompt),
            cached: change(|usage| usage.cached),
            completion: change(|usage| usage.completion),
            reasoning: change(|usage| usage.reasoning),
            cost: i64::try_from(-entry.amount).unwrap(),
        };
        if tally == Tally::default() {
            continue;
        }
        let name = (
            entry.at_ms - entry.at_ms % width.ms(),
            entry.key.clone().expect("whose key it was"),
            entry.project.clone(),
            entry.model.clone().expect("which model"),
            entry.work.expect("which work"),
        );
        let sum = sums.entry(name).or_default();
        *sum = sum.checked_add(tally).expect("sums fit");
    }
    sums
}
