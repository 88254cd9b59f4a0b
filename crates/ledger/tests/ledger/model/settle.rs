//! From a verified receipt to a charge.

use cocoon_ledger::{JournalEntry, JournalKind, Settled, Settlement, Shard};
use cocoon_receipts::AccountId;

use super::{End, Model, Overflow, Request, TOO_MUCH, nano, old, share};

impl Model {
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

    pub(super) fn charge(&mut self, account: &AccountId, taken: i128, shortfall: i128) {
        let account = self.accounts.entry(account.clone()).or_default();
        account.balance = nano(i128::from(account.balance.0) - taken);
        account.charged = nano(i128::from(account.charged.0) + taken);
        account.shortfall = nano(i128::from(account.shortfall.0) + shortfall);
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
}
