//! The keys of a server, of a shard, and the fields of a hash: a step at a time, and each once.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use ::redis::{Cmd, cmd, from_redis_value};
use cocoon_receipts::AccountId;

use crate::redis::link::{Link, redis_error};
use crate::redis::names::{self, ShardKeys};
use crate::redis::primaries::Primary;
use crate::{LedgerError, Shard, Whose, Width};

/// Keys or fields that one step looks at: no step keeps the server for long.
const STEP: u32 = 2000;

/// Keys of one server. A key may come more than once.
pub(super) struct Scan {
    at: At,
    pattern: String,
    /// None: that was the last step.
    cursor: Option<u64>,
}

enum At {
    Primary(Primary),
    /// Where the key of this command is.
    Like(Cmd),
}

impl Scan {
    pub(super) fn of(primary: Primary, pattern: &str) -> Self {
        Self { at: At::Primary(primary), pattern: pattern.to_owned(), cursor: Some(0) }
    }

    fn of_shard(k: ShardKeys) -> Self {
        let mut like = cmd("EXISTS");
        like.arg(k.clock());
        Self { at: At::Like(like), pattern: format!("{}*", k.prefix()), cursor: Some(0) }
    }

    pub(super) async fn next(&mut self, link: &Link) -> Result<Option<Vec<String>>, LedgerError> {
        let Some(cursor) = self.cursor else { return Ok(None) };
        let mut scan = cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(&self.pattern).arg("COUNT").arg(STEP);
        let reply = match &self.at {
            At::Primary(primary) => link.at(primary, &scan).await?,
            At::Like(like) => link.beside_of(like, &scan).await.map_err(redis_error)?,
        };
        let (next, keys): (u64, Vec<String>) =
            from_redis_value(reply).map_err(|error| LedgerError::Corrupt(error.to_string()))?;
        self.cursor = (next != 0).then_some(next);
        Ok(Some(keys))
    }
}

/// Fields of one hash, each once.
pub(super) struct Fields {
    key: String,
    seen: HashSet<String>,
    cursor: Option<u64>,
}

impl Fields {
    pub(super) fn of(key: String) -> Self {
        Self { key, seen: HashSet::new(), cursor: Some(0) }
    }

    pub(super) async fn next(&mut self, link: &Link) -> Result<Option<Vec<(String, String)>>, LedgerError> {
        let Some(cursor) = self.cursor else { return Ok(None) };
        let mut scan = cmd("HSCAN");
        scan.arg(&self.key).arg(cursor).arg("COUNT").arg(STEP);
        let (next, mut fields): (u64, Vec<(String, String)>) = link.command(&scan).await?;
        self.cursor = (next != 0).then_some(next);
        fields.retain(|(field, _)| self.seen.insert(field.clone()));
        Ok(Some(fields))
    }
}

/// What the keys of a shard say of its accounts: names alone, which is all of a shard that is in memory at once.
pub(super) type Accounts = BTreeMap<AccountId, OfAccount>;

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct OfAccount {
    /// Whose use of it is recorded.
    pub(super) used: BTreeSet<Whose>,
    /// Windows of usage.
    pub(super) windows: BTreeSet<(Width, u64)>,
}

pub(super) async fn accounts(link: &Link, shard: Shard) -> Result<Accounts, LedgerError> {
    let (k, mut accounts) = (ShardKeys(shard), Accounts::new());
    let (prefix, mut keys) = (k.prefix(), Scan::of_shard(k));
    while let Some(keys) = keys.next(link).await? {
        for key in keys {
            let known = key.strip_prefix(&prefix).and_then(|name| note(&mut accounts, name));
            known.ok_or_else(|| {
                LedgerError::Corrupt(format!("{key:?} is no key that this program carries"))
            })?;
        }
    }
    Ok(accounts)
}

/// None where no such key is ours.
fn note(accounts: &mut Accounts, name: &str) -> Option<()> {
    let Some((kind, of)) = name.split_once(':') else {
        let whole = [
            "clock",
            "totals",
            "operators",
            "journal",
            "leases",
            "days",
            "aside",
            "deposits",
            "grants",
            "accounts",
            "withdrawals",
            "withdrawals-stopped",
            "withdrawals-open",
            "decisions",
            "channels",
            // Over soon, and not carried.
            "treasury-lease",
            "retention",
            "cursors",
        ];
        return whole.contains(&name).then_some(());
    };
    match kind {
        "account" | "caps" | "channel" | "payout" | "key-records" | "key-ids" | "projects" | "recent"
        | "requests" | "slots" | "running" => {
            accounts.entry(of.parse().ok()?).or_default();
        }
        "used" => {
            let (account, counter) = of.split_once('|')?;
            accounts.entry(account.parse().ok()?).or_default().used.insert(names::whose(counter)?);
        }
        "usage" => {
            let (width, of) = of.split_once(':')?;
            let (window, account) = of.split_once(':')?;
            let width = Width::ALL.into_iter().find(|each| names::width_name(*each) == width)?;
            let windows = &mut accounts.entry(account.parse().ok()?).or_default().windows;
            windows.insert((width, window.parse().ok()?));
        }
        // Found by the sets that name them.
        "hold" | "finished" | "receipts" | "kept" | "kept-of" => {}
        // Over in a day.
        "answers" | "answer-bytes" | "answer-ages" => {}
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_known_or_refused() {
        let k = ShardKeys(Shard(7));
        let account: AccountId = "iss:a:b".parse().unwrap();
        let request = cocoon_receipts::RequestId::generate();
        let key = Whose::Key("key".parse().unwrap());
        let mut accounts = Accounts::new();
        for name in [
            k.clock(),
            k.journal(),
            k.stopped(),
            k.open_withdrawals(),
            k.decisions(),
            k.channels(),
            k.channel(&account),
            k.treasury_lease(),
            k.retention(),
            k.cursors(),
            k.hold(request),
            k.kept_of(3),
            k.caps(&account),
            k.used(&account, &names::counter(&key)),
            k.used(&account, &names::counter(&Whose::Account)),
            k.usage(&account, Width::Hour, 12),
            k.answers(&account),
        ] {
            note(&mut accounts, name.strip_prefix(&k.prefix()).unwrap()).expect(&name);
        }
        let found = accounts.get(&account).unwrap();
        assert_eq!(found.used, BTreeSet::from([key, Whose::Account]));
        assert_eq!(found.windows, BTreeSet::from([(Width::Hour, 12)]));
        assert_eq!(accounts.len(), 1);
        for other in ["later", "later:alice", "usage:years:1:alice", "used:alice|x|y"] {
            assert_eq!(note(&mut accounts, other), None, "{other}");
        }
    }
}
