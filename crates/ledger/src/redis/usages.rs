//! Usage buckets: the counts of one account and width over a window of time are in one hash (`functions/usages.lua`).

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use ::redis::cmd;
use async_trait::async_trait;
use cocoon_receipts::AccountId;

use super::RedisLedger;
use super::functions::Function;
use super::reply::{Reply, parse};
use crate::{LedgerError, MAX_USAGE_ROWS, Tally, UsagePage, UsageQuery, UsageRow, Usages, Width};

/// Windows read for one page.
const MAX_WINDOWS: usize = 64;

/// Fields that one step of a scan looks at: a large hash never keeps the server for long.
const SCAN: u32 = 1000;

/// Calls until an hour that was declared is the shard's. A second one fails where the hour ends between the two.
const ATTEMPTS: u32 = 4;

/// What the shards' time differs from ours by, milliseconds, as it was last seen.
#[derive(Debug, Default)]
pub(super) struct ShardHour(AtomicI64);

impl ShardHour {
    /// When it should be there, milliseconds since 1970.
    fn guess_ms(&self) -> u64 {
        own_ms().saturating_add_signed(self.0.load(Ordering::Relaxed))
    }

    fn seen(&self, shard_ms: u64) {
        let difference = i128::from(shard_ms) - i128::from(own_ms());
        self.0.store(i64::try_from(difference).unwrap_or(0), Ordering::Relaxed);
    }
}

fn own_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl RedisLedger {
    /// Calls a function that counts usage: `keys` and `args` are followed by the windows of the account and their hour.
    pub(super) async fn call_in_its_hour(
        &self,
        function: Function,
        account: &AccountId,
        keys: &[String],
        args: &[String],
    ) -> Result<Reply, LedgerError> {
        let k = self.keys_of(account);
        let mut now_ms = self.hour.guess_ms();
        for _ in 0..ATTEMPTS {
            let windows = Width::ALL.map(|width| k.usage(account, width, now_ms / width.window_ms()));
            let hour = now_ms / Width::Hour.ms();
            let reply = self
                .call(function, &[keys, &windows].concat(), &[args, &[hour.to_string()]].concat())
                .await?;
            if reply.word() != "again" {
                return Ok(reply);
            }
            now_ms = reply.amount(1)?.0;
            self.hour.seen(now_ms);
        }
        Err(LedgerError::Unavailable("the shard's clock jumps".to_owned()))
    }

    pub(super) async fn window(&self, key: &str) -> Result<HashMap<String, String>, LedgerError> {
        let mut fields = HashMap::new();
        let mut cursor: u64 = 0;
        loop {
            let mut scan = cmd("HSCAN");
            scan.arg(key).arg(cursor).arg("COUNT").arg(SCAN);
            let (next, some): (u64, Vec<(String, String)>) = self.functions.link().command(&scan).await?;
            fields.extend(some);
            if next == 0 {
                return Ok(fields);
            }
            cursor = next;
        }
    }
}

#[async_trait]
impl Usages for RedisLedger {
    async fn usage(&self, query: &UsageQuery) -> Result<UsagePage, LedgerError> {
        let (k, window_ms) = (self.keys_of(&query.account), query.width.window_ms());
        let mut rows = Vec::new();
        let mut read = 0;
        for (number, window) in (query.from_ms / window_ms..query.to_ms.div_ceil(window_ms)).enumerate() {
            let begin_ms = window * window_ms;
            if number == MAX_WINDOWS || read > MAX_USAGE_ROWS {
                return Ok(UsagePage { rows, next_ms: Some(begin_ms) });
            }
            let fields = self.window(&k.usage(&query.account, query.width, window)).await?;
            let found = rows_of(&fields, begin_ms, query.width)?;
            read += found.len();
            rows.extend(found.into_iter().filter(|row| query.wants(row)));
        }
        Ok(UsagePage { rows, next_ms: None })
    }
}

/// The rows of one window, by bucket.
pub(super) fn rows_of(
    fields: &HashMap<String, String>,
    begin_ms: u64,
    width: Width,
) -> Result<Vec<UsageRow>, LedgerError> {
    let mut names: HashMap<&str, &str> = HashMap::new();
    let mut tallies: HashMap<(u64, &str), Tally> = HashMap::new();
    for (field, value) in fields {
        if let Some(name) = field.strip_prefix("row:") {
            names.insert(value, name);
            continue;
        }
        if field == "rows" {
            continue;
        }
        let corrupt = || LedgerError::Corrupt(format!("usage field {field:?}"));
        let parts: Vec<&str> = field.split(':').collect();
        let [bucket, row, column] = parts[..] else { return Err(corrupt()) };
        let bucket: u64 = parse(bucket)?;
        let tally = tallies.entry((begin_ms + bucket * width.ms(), row)).or_default();
        let count = match column {
            "r" => &mut tally.requests,
            "p" => &mut tally.prompt,
            "h" => &mut tally.cached,
            "c" => &mut tally.completion,
            "t" => &mut tally.reasoning,
            "n" => &mut tally.cost,
            _ => return Err(corrupt()),
        };
        *count = parse(value)?;
    }
    let mut rows = Vec::with_capacity(tallies.len());
    for ((from_ms, row), tally) in tallies {
        // A row that began while the window was being read: it is in the next answer.
        let Some(name) = names.get(row) else { continue };
        rows.push(row_of(name, from_ms, tally)?);
    }
    rows.sort_by(|one, other| order(one).cmp(&order(other)));
    Ok(rows)
}

fn row_of(name: &str, from_ms: u64, tally: Tally) -> Result<UsageRow, LedgerError> {
    let parts: Vec<&str> = name.splitn(4, '|').collect();
    let [work, key, project, model] = parts[..] else {
        return Err(LedgerError::Corrupt(format!("usage row {name:?}")));
    };
    Ok(UsageRow {
        from_ms,
        key: parse(key)?,
        project: if project.is_empty() { None } else { Some(parse(project)?) },
        model: model.to_owned(),
        work: work.parse()?,
        tally,
    })
}

fn order(row: &UsageRow) -> impl Ord + '_ {
    let project = row.project.as_ref().map_or("", |project| project.as_str());
    (row.from_ms, row.key.as_str(), project, row.model.as_str(), row.work)
}
