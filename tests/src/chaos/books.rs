//! The whole journal of a ledger, and its sums.

use std::collections::BTreeMap;

use cocoon_ledger::{JournalEntry, JournalKind, Ledger};

#[derive(Debug, Default)]
pub(super) struct Books {
    /// How often each receipt is in the journal.
    pub(super) receipts: BTreeMap<String, u64>,
    /// Completion tokens of all receipts.
    pub(super) completion: u64,
    /// What the accounts paid for requests.
    pub(super) paid: i128,
    pub(super) shortfall: i128,
    pub(super) at_no_cost: u64,
    pub(super) expiries: u64,
    pub(super) corrections: u64,
    /// What each request cost in all, whoever bore it.
    pub(super) costs: BTreeMap<String, i128>,
    /// The shards' sums.
    pub(super) deposits: i128,
    pub(super) balances: i128,
    pub(super) charges: i128,
    pub(super) held: u64,
}

impl Books {
    pub(super) async fn read(ledger: &dyn Ledger) -> anyhow::Result<Self> {
        let mut books = Self::default();
        for shard in ledger.shards().all() {
            let totals = ledger.totals(shard).await?;
            books.deposits += i128::from(totals.deposits.0) + i128::from(totals.grants.0);
            books.balances += i128::from(totals.balances.0);
            books.charges += i128::from(totals.charges.0);
            books.held += totals.held.0;
            let mut after = None;
            loop {
                let entries = ledger.journal(shard, after.as_ref(), 500).await?;
                let Some(last) = entries.last() else { break };
                after = Some(last.id.clone());
                entries.into_iter().for_each(|entry| books.add(entry));
            }
        }
        Ok(books)
    }

    fn add(&mut self, entry: JournalEntry) {
        match entry.kind {
            JournalKind::Charge => {}
            JournalKind::Expiry => self.expiries += 1,
            JournalKind::Correction => self.corrections += 1,
            JournalKind::NoCost => self.at_no_cost += 1,
            _ => return,
        }
        self.paid -= entry.amount;
        self.shortfall += i128::from(entry.shortfall.0);
        *self.costs.entry(entry.cause).or_default() += i128::from(entry.shortfall.0) - entry.amount;
        if let Some(receipt) = entry.receipt {
            *self.receipts.entry(receipt.to_string()).or_default() += 1;
            self.completion += entry.usage.map_or(0, |usage| usage.completion);
        }
    }
}
