//! All that a ledger can be asked.

use std::fmt::Debug;

use cocoon_ledger::{
    KeyOrder, KeyQuery, KeyScope, KeySet, Ledger, LedgerError, MAX_KEY_PAGE, MAX_REQUESTS_PAGE, RequestQuery,
    UsageQuery, Whose, Width,
};
use cocoon_receipts::{AccountId, Digest, KeyId};

use crate::bench::*;

pub(super) fn told<Answer: Debug>(answer: Result<Answer, LedgerError>) -> String {
    format!("{answer:?}")
}

/// All that a ledger can be asked, which changes nothing.
pub(super) async fn reads(bench: &Bench, keyset: Digest) -> Vec<String> {
    let ledger = bench.ledger.as_ref();
    let mut said = vec![told(ledger.keyset(keyset).await), told(ledger.document(keyset).await)];
    said.push(told(ledger.decisions(0, 1000).await));
    for shard in ledger.shards().all() {
        said.push(told(ledger.totals(shard).await));
        said.push(told(ledger.holds(shard).await));
        said.push(told(ledger.withdrawals_stopped(shard).await));
        said.push(told(ledger.open_withdrawals(shard, None, 1000).await));
        let channels = ledger.channels(shard, None, 500).await.unwrap();
        let signatures: Vec<_> =
            channels.iter().map(|(channel, _)| channel.voucher.as_ref().map(|of| of.signature)).collect();
        said.push(format!("{channels:?} {signatures:?}"));
        let mut journal = ledger.journal(shard, None, 1000).await.unwrap();
        journal.iter_mut().for_each(|entry| entry.id.0.clear());
        said.push(format!("{journal:?}"));
    }
    for account in accounts() {
        said.push(told(ledger.account(&account).await));
        said.push(told(ledger.payout(&account).await));
        said.push(told(ledger.projects(&account).await));
        for project in [None, Some("project"), Some("other"), Some("p")] {
            said.push(told(ledger.limits(&account, project.map(name).as_ref()).await));
        }
        let whose = [Whose::Key(name("key")), Whose::Project(name("project")), Whose::Account];
        for whose in whose {
            said.push(told(ledger.standing(&account, &whose).await));
        }
        for key in ["k1", "k2", "k3", "key"] {
            said.push(told(ledger.is_revoked(&account, &name::<KeyId>(key)).await));
        }
        said.extend(lists(ledger, &account).await);
    }
    said
}

async fn lists(ledger: &dyn Ledger, account: &AccountId) -> Vec<String> {
    let mut said = Vec::new();
    let sets = [KeySet::All, KeySet::OfScope(KeyScope::Admin), KeySet::OfProject(Some(name("p")))];
    for set in sets {
        let (account, order) = (account.clone(), KeyOrder::NewestFirst);
        let query = KeyQuery { account, set, order, after: None, limit: MAX_KEY_PAGE };
        said.push(told(ledger.keys(&query).await));
    }
    for width in Width::ALL {
        let query = UsageQuery {
            account: account.clone(),
            width,
            from_ms: START_MS - DAY_MS,
            to_ms: START_MS + 30 * DAY_MS,
            keys: Vec::new(),
            projects: Vec::new(),
            models: Vec::new(),
            work: None,
        };
        let (mut query, mut rows) = (query, Vec::new());
        loop {
            let page = ledger.usage(&query).await.unwrap();
            rows.extend(page.rows);
            let Some(next_ms) = page.next_ms else { break };
            query.from_ms = next_ms;
        }
        said.push(format!("{rows:?}"));
    }
    let query = RequestQuery { account: account.clone(), key: None, after: None, limit: MAX_REQUESTS_PAGE };
    let requests = ledger.requests(&query).await.unwrap();
    for request in &requests {
        said.push(told(ledger.receipt_of(account, request.request).await));
        if let Some(receipt) = request.receipt {
            said.push(told(ledger.receipt(account, receipt).await));
        }
    }
    said.push(format!("{requests:?}"));
    said
}
