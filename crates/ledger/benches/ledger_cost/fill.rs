//! What is there before a measurement begins.

use std::path::Path;
use std::sync::Arc;

use anyhow::ensure;
use cocoon_ledger::{Booked, Grant, Ledger};
use cocoon_receipts::{AccountId, NanoTon, RequestId};
use tokio::task::JoinSet;

/// More than any of them spends; all together stay below what a shard's sum may be.
const FUNDS: NanoTon = NanoTon(1 << 42);

/// Grants that are under way at once.
const AT_ONCE: usize = 200;

/// Journal entries that one script appends: Redis answers nobody else meanwhile.
const SCRIPT_ENTRIES: u64 = 2000;

/// So many accounts with test credit.
pub(crate) async fn accounts(ledger: &Arc<dyn Ledger>, count: usize) -> anyhow::Result<Arc<[AccountId]>> {
    let accounts: Arc<[AccountId]> =
        (0..count).map(|n| format!("account-{n}").parse()).collect::<Result<_, _>>()?;
    let mut granting = JoinSet::new();
    for first in 0..AT_ONCE.min(count) {
        let (ledger, accounts) = (Arc::clone(ledger), Arc::clone(&accounts));
        granting.spawn(async move {
            for account in accounts.iter().skip(first).step_by(AT_ONCE) {
                let id = RequestId::generate();
                let booked = ledger.grant(&Grant { id, account: account.clone(), amount: FUNDS }).await?;
                ensure!(matches!(booked, Booked::Booked { .. }), "{booked:?}");
            }
            Ok(())
        });
    }
    granting.join_all().await.into_iter().collect::<anyhow::Result<()>>()?;
    Ok(accounts)
}

/// Appends copies of each shard's last entry to its journal, `entries` in all.
pub(crate) fn sqlite_journal(file: &Path, shards: u16, entries: u64) -> anyhow::Result<()> {
    let connection = rusqlite::Connection::open(file)?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    for shard in 0..shards {
        let entries = i64::try_from(share(entries, shards, shard))?;
        let connection = connection.unchecked_transaction()?;
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?2)
             INSERT INTO journal
             SELECT shard, id + i, at_ms, kind, account, cause, key, project, model, work, operator, receipt,
                 receipt_digest, prompt, cached, completion, reasoning, amount, shortfall, operator_amount,
                 platform_amount
             FROM n, (SELECT * FROM journal WHERE shard = ?1 ORDER BY id DESC LIMIT 1)",
            (shard, entries),
        )?;
        let moved = "UPDATE shard SET last_entry = last_entry + ?2 WHERE shard = ?1";
        connection.execute(moved, (shard, entries))?;
        connection.commit()?;
    }
    // Else the calls that follow would pay for this.
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    Ok(())
}

/// The same in Redis.
pub(crate) fn redis_journal(
    connection: &mut redis::Connection,
    shards: u16,
    entries: u64,
) -> anyhow::Result<()> {
    let append = "local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', '1')[1][2]
         for _ = 1, tonumber(ARGV[1]) do redis.call('XADD', KEYS[1], '*', unpack(last)) end";
    for shard in 0..shards {
        let journal = format!("cocoon:{{s{shard:02}}}:journal");
        let mut left = share(entries, shards, shard);
        while left > 0 {
            let now = left.min(SCRIPT_ENTRIES);
            redis::cmd("EVAL").arg(append).arg(1).arg(&journal).arg(now).exec(connection)?;
            left -= now;
        }
    }
    Ok(())
}

/// What one shard has of `entries`.
fn share(entries: u64, shards: u16, shard: u16) -> u64 {
    let (each, rest) = (entries / u64::from(shards), entries % u64::from(shards));
    each + u64::from(u64::from(shard) < rest)
}
