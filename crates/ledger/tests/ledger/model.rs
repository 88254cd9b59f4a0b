//! The ledger again, as simple as it can be said: maps in memory, one caller at a time, no care for speed. The
//! random test holds both stores against it.

use std::collections::{BTreeMap, BTreeSet};

use cocoon_ledger::{
    Account, Bind, Booked, Bound, Checkpoint, Credit, Expired, Extended, Grant, JournalEntry, JournalId,
    JournalKind, OperatorTotals, Refusal, Released, Reserve, Reserved, Settled, Settlement, Shard,
    ShardCount, Totals,
};
use cocoon_receipts::{AccountId, Digest, NanoTon, OperatorId, ReceiptId, RequestId};

use crate::bench::held;

const DAY_MS: i128 = 86_400_000;
const TOO_MUCH: i128 = 1 << 53;

/// The only error a model can have.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Overflow;

#[derive(Debug, Clone)]
struct Request {
    reserve: Option<Reserve>,
    account: AccountId,
    hold: Option<i128>,
    due_ms: i128,
    attempt: u32,
    keyset: Option<Digest>,
    checkpoint: Option<Checkpoint>,
    end: Option<End>,
    charged: i128,
    operator: Option<OperatorId>,
    operator_part: i128,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Tombstone,
    Released,
    Expired,
    Settled,
}

#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) now_ms: u64,
    grace_ms: i128,
    shards: ShardCount,
    accounts: BTreeMap<AccountId, Account>,
    requests: BTreeMap<(Shard, RequestId), Request>,
    receipts: BTreeMap<(Shard, ReceiptId), i128>,
    refused: BTreeSet<(Shard, ReceiptId)>,
    booked: BTreeSet<(Shard, String)>,
    journal: Vec<(Shard, JournalEntry)>,
}

fn old(made_at_ms: u64, now_ms: u64) -> bool {
    i128::from(now_ms) - i128::from(made_at_ms) > 7 * DAY_MS
}

fn share(of: NanoTon, basis_points: u16) -> i128 {
    i128::from(of.0) * i128::from(basis_points) / 10_000
}

fn nano(amount: i128) -> NanoTon {
    NanoTon(u64::try_from(amount).expect("never negative"))
}

fn ms(lease: std::time::Duration) -> i128 {
    i128::try_from(lease.as_millis()).unwrap()
}

impl Model {
    pub(crate) fn new(now_ms: u64, grace: std::time::Duration, shards: ShardCount) -> Self {
        Self {
            now_ms,
            grace_ms: ms(grace),
            shards,
            accounts: BTreeMap::new(),
            requests: BTreeMap::new(),
            receipts: BTreeMap::new(),
            refused: BTreeSet::new(),
            booked: BTreeSet::new(),
            journal: Vec::new(),
        }
    }

    pub(crate) fn account(&self, account: &AccountId) -> Account {
        self.accounts.get(account).copied().unwrap_or_default()
    }

    pub(crate) fn journal(&self, shard: Shard) -> Vec<JournalEntry> {
        self.journal.iter().filter(|(of, _)| *of == shard).map(|(_, entry)| entry.clone()).collect()
    }

    pub(crate) fn totals(&self, shard: Shard) -> Totals {
        let mut totals = Totals::default();
        for (_, account) in self.accounts.iter().filter(|(name, _)| self.shards.of(name) == shard) {
            totals.balances.0 += account.balance.0;
            totals.held.0 += account.held.0;
            totals.deposits.0 += account.deposited.0;
            totals.grants.0 += account.granted.0;
            totals.charges.0 += account.charged.0;
            totals.shortfall.0 += account.shortfall.0;
            totals.open_holds += account.open_holds;
        }
        let mut operators: BTreeMap<OperatorId, (i128, i128)> = BTreeMap::new();
        for entry in self.journal(shard) {
            totals.platform += entry.platform_amount;
            if let Some(operator) = entry.operator.filter(|_| entry.operator_amount != 0) {
                let (accrued, reversed) = operators.entry(operator).or_default();
                *accrued += entry.operator_amount.max(0);
                *reversed += (-entry.operator_amount).max(0);
            }
        }
        totals.operators = operators
            .into_iter()
            .map(|(operator, (accrued, reversed))| OperatorTotals {
                operator,
                accrued: nano(accrued),
                reversed: nano(reversed),
            })
            .collect();
        totals.too_old = self.refused.iter().filter(|(of, _)| *of == shard).count() as u64;
        totals
    }

    fn id(&self, account: &AccountId, request: RequestId) -> (Shard, RequestId) {
        (self.shards.of(account), request)
    }

    /// The open hold of this account.
    fn open(&mut self, account: &AccountId, request: RequestId) -> Option<&mut Request> {
        let id = self.id(account, request);
        self.requests.get_mut(&id).filter(|found| found.hold.is_some() && found.account == *account)
    }

    pub(crate) fn reserve(&mut self, reserve: &Reserve) -> Reserved {
        let id = self.id(&reserve.account, reserve.request);
        if let Some(found) = self.requests.get(&id) {
            return match found.hold {
                Some(amount) if found.account == reserve.account => held(nano(amount).0),
                _ => Reserved::Refused(Refusal::Finished),
            };
        }
        if old(reserve.request.made_at_ms(), self.now_ms) {
            return Reserved::Refused(Refusal::Finished);
        }
        let account = self.account(&reserve.account);
        let available = account.balance.0 - account.held.0;
        let worst = reserve.estimate.worst_case.0;
        let needed = match reserve.estimate.useful_minimum {
            Some(useful) => worst.min(useful.0.max(available / 4)),
            None => worst,
        };
        if needed > available {
            let (needed, available) = (NanoTon(needed), NanoTon(available));
            return Reserved::Refused(if needed <= account.balance {
                Refusal::BalanceHeld { needed, available }
            } else {
                Refusal::InsufficientBalance { needed, available }
            });
        }
        let account = self.accounts.entry(reserve.account.clone()).or_default();
        account.held.0 += needed;
        account.open_holds += 1;
        let request = Request {
            reserve: Some(reserve.clone()),
            account: reserve.account.clone(),
            hold: Some(i128::from(needed)),
            due_ms: i128::from(self.now_ms) + ms(reserve.lease),
            attempt: 0,
            keyset: None,
            checkpoint: None,
            end: None,
            charged: 0,
            operator: None,
            operator_part: 0,
        };
        self.requests.insert(id, request);
        held(needed)
    }

    pub(crate) fn bind(&mut self, bind: &Bind) -> Bound {
        let due_ms = i128::from(self.now_ms) + ms(bind.lease) + self.grace_ms;
        let Some(found) = self.open(&bind.account, bind.request) else { return Bound::Gone };
        if (found.attempt, found.keyset) == (bind.attempt, Some(bind.keyset)) {
            return Bound::Bound;
        }
        if bind.attempt <= found.attempt {
            return Bound::Superseded;
        }
        (found.attempt, found.keyset, found.checkpoint) = (bind.attempt, Some(bind.keyset), None);
        found.due_ms = due_ms;
        Bound::Bound
    }

    pub(crate) fn extend(&mut self, checkpoint: &Checkpoint) -> Extended {
        let due_ms = i128::from(self.now_ms) + ms(checkpoint.lease) + self.grace_ms;
        let Some(found) = self.open(&checkpoint.account, checkpoint.request) else { return Extended::Gone };
        let bound = (found.attempt, found.keyset) == (checkpoint.attempt, Some(checkpoint.keyset));
        let grows = found.checkpoint.as_ref().is_none_or(|last| {
            checkpoint.cost >= last.cost && checkpoint.usage.total() >= last.usage.total()
        });
        if !bound || !grows || Some(i128::from(checkpoint.cost.0)) > found.hold {
            return Extended::Ignored;
        }
        found.checkpoint = Some(checkpoint.clone());
        found.due_ms = found.due_ms.max(due_ms);
        Extended::Extended
    }

    pub(crate) fn release(&mut self, account: &AccountId, request: RequestId) -> Released {
        let id = self.id(account, request);
        if self.open(account, request).is_some() {
            let amount = self.end_hold(id, End::Released);
            return Released::Released { amount: nano(amount) };
        }
        if old(request.made_at_ms(), self.now_ms) {
            return Released::Already;
        }
        match self.requests.get(&id) {
            Some(found) if found.end == Some(End::Tombstone) && found.account == *account => {
                Released::Tombstone
            }
            Some(_) => Released::Already,
            None => {
                self.requests.insert(id, Request::ended(account, End::Tombstone));
                Released::Tombstone
            }
        }
    }

    fn end_hold(&mut self, id: (Shard, RequestId), end: End) -> i128 {
        let found = self.requests.get_mut(&id).expect("an open hold");
        let amount = found.hold.take().expect("an open hold");
        found.end = Some(end);
        let account = self.accounts.get_mut(&found.account).expect("its account");
        account.held = nano(i128::from(account.held.0) - amount);
        account.open_holds -= 1;
        amount
    }

    pub(crate) fn expired(&self, shard: Shard, limit: usize) -> Vec<RequestId> {
        let mut over: Vec<(i128, RequestId)> = self
            .requests
            .iter()
            .filter(|((of, _), found)| *of == shard && found.hold.is_some())
            .filter(|(_, found)| found.due_ms <= i128::from(self.now_ms))
            .map(|((_, request), found)| (found.due_ms, *request))
            .collect();
        over.sort();
        over.into_iter().take(limit).map(|(_, request)| request).collect()
    }

    pub(crate) fn expire(&mut self, shard: Shard, request: RequestId) -> Expired {
        let id = (shard, request);
        let Some(found) = self.requests.get(&id).filter(|found| found.hold.is_some()).cloned() else {
            return Expired::Gone;
        };
        if i128::from(self.now_ms) < found.due_ms {
            return Expired::NotYet;
        }
        self.end_hold(id, End::Expired);
        let Some(checkpoint) = found.checkpoint else { return Expired::Expired { charged: NanoTon(0) } };
        let cost = i128::from(checkpoint.cost.0);
        let part = share(checkpoint.cost, checkpoint.operator_share.get());
        let ended = self.requests.get_mut(&id).expect("it was there");
        (ended.charged, ended.operator, ended.operator_part) =
            (cost, Some(checkpoint.operator.clone()), part);
        let reserve = found.reserve.expect("a hold was reserved");
        self.charge(&found.account, cost, 0);
        let entry = JournalEntry {
            key: Some(reserve.key),
            project: reserve.project,
            model: Some(reserve.model),
            work: Some(reserve.work),
            operator: Some(checkpoint.operator),
            usage: Some(checkpoint.usage),
            ..self.entry(JournalKind::Expiry, &found.account, request.to_string(), [-cost, 0, part])
        };
        self.journal.push((shard, entry));
        Expired::Expired { charged: checkpoint.cost }
    }

    pub(crate) fn settle(&mut self, settlement: &Settlement) -> Result<Settled, Overflow> {
        let cost = i128::from(settlement.cost.0);
        if cost >= TOO_MUCH {
            return Err(Overflow);
        }
        let id = self.id(&settlement.account, settlement.request);
        let seen = (id.0, settlement.receipt);
        if old(settlement.receipt.made_at_ms(), self.now_ms)
            || old(settlement.request.made_at_ms(), self.now_ms)
        {
            self.refused.insert(seen);
            return Ok(Settled::TooOld);
        }
        if let Some(charged) = self.receipts.get(&seen) {
            return Ok(Settled::Already { charged: nano(*charged) });
        }

        let found = self.requests.get(&id).cloned();
        let paid = found.as_ref().is_none_or(|found| {
            let current = settlement.attempt > found.attempt
                || (settlement.attempt, Some(settlement.keyset)) == (found.attempt, found.keyset);
            let stranger = found.operator.as_ref().is_some_and(|operator| *operator != settlement.operator);
            found.account == settlement.account && found.end != Some(End::Settled) && current && !stranger
        });
        if !paid {
            self.receipts.insert(seen, 0);
            self.journal_receipt(id.0, settlement, JournalKind::NoCost, [0, 0, 0]);
            return Ok(Settled::AtNoCost);
        }

        let part = share(settlement.cost, settlement.operator_share.get());
        let (before, part_before) =
            found.as_ref().map_or((0, 0), |found| (found.charged, found.operator_part));
        let account = self.account(&settlement.account);
        let held_here = found.as_ref().and_then(|found| found.hold).unwrap_or(0);
        let reach = i128::from(account.balance.0) - i128::from(account.held.0) + held_here;
        let taken = (cost - before).min(reach);
        let shortfall = cost - before - taken;
        if i128::from(account.balance.0) - taken >= TOO_MUCH {
            return Err(Overflow);
        }
        if found.as_ref().is_some_and(|found| found.hold.is_some()) {
            self.end_hold(id, End::Settled);
        }
        self.charge(&settlement.account, taken, shortfall);
        let after_expiry = found.as_ref().is_some_and(|found| found.end == Some(End::Expired));
        self.requests.insert(id, Request::ended(&settlement.account, End::Settled));
        let kind = if after_expiry { JournalKind::Correction } else { JournalKind::Charge };
        self.receipts.insert(seen, before + taken);
        self.journal_receipt(id.0, settlement, kind, [-taken, shortfall, part - part_before]);
        Ok(Settled::Charged { charged: nano(before + taken), shortfall: nano(shortfall) })
    }

    fn charge(&mut self, account: &AccountId, taken: i128, shortfall: i128) {
        let account = self.accounts.entry(account.clone()).or_default();
        account.balance = nano(i128::from(account.balance.0) - taken);
        account.charged = nano(i128::from(account.charged.0) + taken);
        account.shortfall = nano(i128::from(account.shortfall.0) + shortfall);
    }

    fn entry(
        &self,
        kind: JournalKind,
        account: &AccountId,
        cause: String,
        [amount, shortfall, operator_amount]: [i128; 3],
    ) -> JournalEntry {
        let booked = matches!(kind, JournalKind::Deposit | JournalKind::Grant);
        JournalEntry {
            id: JournalId(String::new()),
            at_ms: self.now_ms,
            kind,
            account: account.clone(),
            cause,
            key: None,
            project: None,
            model: None,
            work: None,
            operator: None,
            receipt: None,
            receipt_digest: None,
            usage: None,
            amount,
            shortfall: nano(shortfall),
            operator_amount,
            platform_amount: if booked { 0 } else { -amount + shortfall - operator_amount },
        }
    }

    fn journal_receipt(
        &mut self,
        shard: Shard,
        settlement: &Settlement,
        kind: JournalKind,
        amounts: [i128; 3],
    ) {
        let entry = JournalEntry {
            key: Some(settlement.key.clone()),
            project: settlement.project.clone(),
            model: Some(settlement.model.clone()),
            work: Some(settlement.work),
            operator: Some(settlement.operator.clone()),
            receipt: Some(settlement.receipt),
            receipt_digest: Some(settlement.receipt_digest),
            usage: Some(settlement.usage),
            ..self.entry(kind, &settlement.account, settlement.request.to_string(), amounts)
        };
        self.journal.push((shard, entry));
    }

    pub(crate) fn credit(&mut self, credit: &Credit) -> Result<Booked, Overflow> {
        let cause = format!("{}:{}", credit.lt, credit.tx_hash);
        self.book(&credit.account, credit.amount, JournalKind::Deposit, cause)
    }

    pub(crate) fn grant(&mut self, grant: &Grant) -> Result<Booked, Overflow> {
        self.book(&grant.account, grant.amount, JournalKind::Grant, grant.id.to_string())
    }

    fn book(
        &mut self,
        name: &AccountId,
        amount: NanoTon,
        kind: JournalKind,
        cause: String,
    ) -> Result<Booked, Overflow> {
        let shard = self.shards.of(name);
        if i128::from(amount.0) >= TOO_MUCH {
            return Err(Overflow);
        }
        if self.booked.contains(&(shard, cause.clone())) {
            return Ok(Booked::Already);
        }
        let mut account = self.account(name);
        account.balance.0 += amount.0;
        if i128::from(account.balance.0) >= TOO_MUCH {
            return Err(Overflow);
        }
        if kind == JournalKind::Deposit {
            account.deposited.0 += amount.0;
        } else {
            account.granted.0 += amount.0;
        }
        self.accounts.insert(name.clone(), account);
        self.booked.insert((shard, cause.clone()));
        let entry = self.entry(kind, name, cause, [i128::from(amount.0), 0, 0]);
        self.journal.push((shard, entry));
        Ok(Booked::Booked { balance: account.balance })
    }
}

impl Request {
    fn ended(account: &AccountId, end: End) -> Self {
        Self {
            reserve: None,
            account: account.clone(),
            hold: None,
            due_ms: 0,
            attempt: 0,
            keyset: None,
            checkpoint: None,
            end: Some(end),
            charged: 0,
            operator: None,
            operator_part: 0,
        }
    }
}
