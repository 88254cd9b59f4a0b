//! What a shard has of each account, to records.

use std::collections::HashMap;

use ::redis::cmd;
use cocoon_receipts::AccountId;

use super::scan::{Accounts, Fields, OfAccount};
use crate::redis::names::{self, ShardKeys};
use crate::redis::reply::{optional, parse};
use crate::redis::usages::rows_of;
use crate::redis::{RedisLedger, requests};
use crate::transfer::Pages;
use crate::transfer::record::{AccountState, Cap, PayoutOf, ProjectOf, Recent, Record, UsageOf, UsedOf};
use crate::used::{NAMES, NUMBERS};
use crate::{
    Account, Books, KeyRecord, KeyRegistry, LedgerError, Payout, PendingAddress, RequestRecord, Shard, Whose,
    Width,
};

/// Accounts that one step asks for.
const STEP: usize = 500;

impl RedisLedger {
    /// The books' accounts, and those that have a balance, a hold or a count without being in them.
    pub(super) async fn read_states(
        &self,
        shard: Shard,
        accounts: &Accounts,
        pages: &mut Pages,
    ) -> Result<(), LedgerError> {
        let mut listed = std::collections::BTreeSet::new();
        loop {
            let names = self.account_names(shard, listed.last(), 500).await?;
            if names.is_empty() {
                break;
            }
            listed.extend(names);
        }
        let names: Vec<AccountId> = accounts.keys().chain(&listed).cloned().collect();
        let names: Vec<AccountId> = std::collections::BTreeSet::from_iter(names).into_iter().collect();
        for names in names.chunks(STEP) {
            let states = self.accounts_at(shard, names).await?.value;
            for (account, state) in names.iter().zip(states) {
                if state != Account::default() || listed.contains(account) {
                    let account = account.clone();
                    pages.put(Record::Account(AccountState { account, state })).await?;
                }
            }
        }
        Ok(())
    }

    pub(super) async fn read_account(
        &self,
        k: ShardKeys,
        account: &AccountId,
        of: &OfAccount,
        pages: &mut Pages,
    ) -> Result<(), LedgerError> {
        if let Some(payout) = self.read_payout(k, account).await? {
            pages.put(Record::Payout(PayoutOf { account: account.clone(), payout })).await?;
        }
        let link = self.functions.link();
        let mut caps = Fields::of(k.caps(account));
        while let Some(some) = caps.next(link).await? {
            for (name, value) in some {
                pages.put(Record::Cap(Cap { account: account.clone(), name, value })).await?;
            }
        }
        let mut keys = Fields::of(k.key_records(account));
        while let Some(some) = keys.next(link).await? {
            for (_, record) in some {
                pages.put(Record::Key(Box::new(KeyRecord::from_json(&record, None)?))).await?;
            }
        }
        for project in self.projects(account).await? {
            let (account, id, created) = (account.clone(), project.id, project.created);
            pages.put(Record::Project(ProjectOf { account, id, created })).await?;
        }
        for whose in &of.used {
            let numbers = self.read_numbers(k, account, whose).await?;
            let (account, whose) = (account.clone(), whose.clone());
            pages.put(Record::Used(Box::new(UsedOf { account, whose, numbers }))).await?;
        }
        for (width, window) in &of.windows {
            for record in self.read_window(k, account, *width, *window).await? {
                pages.put(record).await?;
            }
        }
        for recent in self.read_recent(k, account).await? {
            pages.put(Record::Recent(Box::new(recent))).await?;
        }
        Ok(())
    }

    /// As it was set.
    async fn read_payout(&self, k: ShardKeys, account: &AccountId) -> Result<Option<Payout>, LedgerError> {
        let mut get = cmd("HMGET");
        get.arg(k.payout(account)).arg(&["current", "pending", "from"]);
        let found: [Option<String>; 3] = self.functions.link().command(&get).await?;
        let [Some(current), Some(pending), Some(from)] = &found else { return Ok(None) };
        let pending = match optional(pending)? {
            Some(address) => Some(PendingAddress { address, from_ms: parse(from)? }),
            None => None,
        };
        Ok(Some(Payout { current: optional(current)?, pending }))
    }

    async fn read_numbers(
        &self,
        k: ShardKeys,
        account: &AccountId,
        whose: &Whose,
    ) -> Result<[i64; NUMBERS], LedgerError> {
        let mut get = cmd("HMGET");
        get.arg(k.used(account, &names::counter(whose))).arg(&NAMES);
        let found: Vec<Option<String>> = self.functions.link().command(&get).await?;
        let mut numbers = [0; NUMBERS];
        for (number, text) in numbers.iter_mut().zip(&found) {
            *number = text.as_deref().map_or(Ok(0), parse)?;
        }
        Ok(numbers)
    }

    async fn read_window(
        &self,
        k: ShardKeys,
        account: &AccountId,
        width: Width,
        window: u64,
    ) -> Result<Vec<Record>, LedgerError> {
        let fields: HashMap<String, String> = self.window(&k.usage(account, width, window)).await?;
        let rows = rows_of(&fields, window * width.window_ms(), width)?;
        let record = |row: crate::UsageRow| {
            Record::Usage(Box::new(UsageOf {
                account: account.clone(),
                width,
                from_ms: row.from_ms,
                key: row.key,
                project: row.project,
                model: row.model,
                work: row.work,
                tally: row.tally,
            }))
        };
        Ok(rows.into_iter().map(record).collect())
    }

    /// The oldest first.
    async fn read_recent(&self, k: ShardKeys, account: &AccountId) -> Result<Vec<Recent>, LedgerError> {
        let link = self.functions.link();
        let mut range = cmd("ZRANGE");
        range.arg(k.recent(account)).arg(0).arg(-1).arg("WITHSCORES");
        let ids: Vec<(String, f64)> = link.command(&range).await?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut get = cmd("HMGET");
        get.arg(k.requests(account));
        for (id, _) in &ids {
            get.arg(id);
        }
        let packed: Vec<Option<String>> = link.command(&get).await?;
        let mut recent = Vec::with_capacity(ids.len());
        for (order, ((id, score), packed)) in (1..).zip(ids.iter().zip(&packed)) {
            let missing = || LedgerError::Corrupt(format!("request {id} is listed and not there"));
            let record = requests::record(parse(id)?, packed.as_deref().ok_or_else(missing)?)?;
            recent.push(of_record(account, order, at_ms(*score)?, record));
        }
        Ok(recent)
    }
}

/// Where a request stands among an account's last ones: its time, and within a millisecond its order. Exact, as both are
/// multiples of 2^-10 below 2^42.
pub(super) fn score(recent: &Recent) -> String {
    const PLACES: u32 = 1 << 10;
    let (ms, place) = (recent.at_ms, recent.order % PLACES);
    // Ten digits after the point are what a thousandth of two has.
    format!("{ms}.{:010}", u64::from(place) * 10_000_000_000 / u64::from(PLACES))
}

fn at_ms(score: f64) -> Result<u64, LedgerError> {
    parse(&format!("{:.0}", score.floor()))
}

fn of_record(account: &AccountId, order: u32, at_ms: u64, record: RequestRecord) -> Recent {
    Recent {
        account: account.clone(),
        order,
        at_ms,
        request: record.request,
        receipt: record.receipt,
        key: record.key,
        project: record.project,
        model: record.model,
        work: record.work,
        usage: record.usage,
        charged: record.charged,
    }
}
