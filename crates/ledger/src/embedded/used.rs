//! Records of what was used, and how many requests run.

use ::rusqlite::{Connection, OptionalExtension, Row, ToSql, params, params_from_iter};
use async_trait::async_trait;
use cocoon_receipts::{AccountId, KeyId, ProjectId};

use crate::embedded::{Embedded, integer, lease, natural, sqlite_error};
use crate::used::{Change, KEPT_MS, NAMES, NUMBERS, Used};
use crate::{Holder, LedgerError, Shard, Standing, Standings, Whose};

/// Rows that one sweep deletes, so that no sweep holds the file for long.
const FORGET: i64 = 500;

/// Who uses an account.
#[derive(Debug, Clone, Copy)]
pub(super) struct User<'a> {
    pub(super) account: &'a AccountId,
    pub(super) key: &'a KeyId,
    pub(super) project: Option<&'a ProjectId>,
}

impl<'a> User<'a> {
    /// Those for whom limits are checked and uses are counted, with the names that they are kept under.
    pub(super) fn holders(self) -> impl Iterator<Item = (Holder, String)> + 'a {
        let project = self.project.map(|project| (Holder::Project, project_name(project)));
        [(Holder::Key, key_name(self.key))]
            .into_iter()
            .chain(project)
            .chain([(Holder::Account, account_name())])
    }
}

/// What the record of one of an account's holders is kept under.
pub(super) fn name_of(whose: &Whose) -> String {
    match whose {
        Whose::Key(key) => key_name(key),
        Whose::Project(project) => project_name(project),
        Whose::Account => account_name(),
    }
}

/// The inverse of [`name_of`].
pub(super) fn whose(name: &str) -> Result<Whose, LedgerError> {
    let corrupt = || LedgerError::Corrupt(format!("{name:?} uses an account"));
    match name.split_once(':') {
        Some(("k", key)) => key.parse().map(Whose::Key).map_err(|_| corrupt()),
        Some(("p", project)) => project.parse().map(Whose::Project).map_err(|_| corrupt()),
        Some(("a", "")) => Ok(Whose::Account),
        _ => Err(corrupt()),
    }
}

fn key_name(key: &KeyId) -> String {
    format!("k:{key}")
}

fn project_name(project: &ProjectId) -> String {
    format!("p:{project}")
}

fn account_name() -> String {
    "a:".to_owned()
}

/// As it stands at `now_ms`.
pub(super) fn load(
    connection: &Connection,
    shard: Shard,
    account: &AccountId,
    whose: &str,
    now_ms: u64,
) -> Result<Used, LedgerError> {
    let sql =
        format!("SELECT {} FROM used WHERE shard = ?1 AND account = ?2 AND whose = ?3", NAMES.join(", "));
    let found = connection
        .prepare_cached(&sql)
        .and_then(|mut get| get.query_row(params![shard.0, account.as_str(), whose], numbers).optional())
        .map_err(sqlite_error)?;
    Ok(Used::from_numbers(found.unwrap_or_default(), now_ms))
}

/// From the columns that [`NAMES`] has, which come first.
pub(super) fn numbers(row: &Row<'_>) -> ::rusqlite::Result<[i64; NUMBERS]> {
    let mut numbers = [0; NUMBERS];
    for (column, number) in numbers.iter_mut().enumerate() {
        *number = row.get(column)?;
    }
    Ok(numbers)
}

pub(super) fn save(
    connection: &Connection,
    shard: Shard,
    account: &AccountId,
    whose: &str,
    numbers: [i64; NUMBERS],
) -> Result<(), LedgerError> {
    let account = account.as_str();
    let row: [&dyn ToSql; 3] = [&shard.0, &account, &whose];
    let row = row.into_iter().chain(numbers.iter().map(|number| number as &dyn ToSql));
    let sql = format!(
        "INSERT OR REPLACE INTO used (shard, account, whose, {}) VALUES (?{})",
        NAMES.join(", "),
        ", ?".repeat(NUMBERS + 2)
    );
    connection
        .prepare_cached(&sql)
        .and_then(|mut save| save.execute(params_from_iter(row)))
        .map_err(sqlite_error)?;
    Ok(())
}

/// Books what a hold, or a receipt without one, leaves behind.
pub(super) fn change(
    connection: &Connection,
    shard: Shard,
    user: User<'_>,
    now_ms: u64,
    change: &Change<'_>,
) -> Result<(), LedgerError> {
    for (holder, whose) in user.holders() {
        let mut used = load(connection, shard, user.account, &whose, now_ms)?;
        used.change(holder, change);
        save(connection, shard, user.account, &whose, used.numbers())?;
    }
    Ok(())
}

/// Requests of one holder whose lease is not over.
pub(super) fn running(
    connection: &Connection,
    shard: Shard,
    account: &AccountId,
    whose: &Whose,
    now_ms: u64,
) -> Result<u64, LedgerError> {
    let (of, name) = match whose {
        Whose::Key(key) => ("AND key = ?4", key.as_str()),
        Whose::Project(project) => ("AND project = ?4", project.as_str()),
        Whose::Account => ("AND ?4 = ''", ""),
    };
    let sql =
        format!("SELECT count(*) FROM hold WHERE shard = ?1 AND account = ?2 AND lease_end_ms > ?3 {of}");
    let now_ms = integer(now_ms)?;
    connection
        .prepare_cached(&sql)
        .and_then(|mut count| {
            count.query_row(params![shard.0, account.as_str(), now_ms, name], |row| row.get(0))
        })
        .map_err(sqlite_error)
        .and_then(natural)
}

/// Drops what is forgotten, a bounded piece at a time.
pub(super) fn forget(connection: &Connection, shard: Shard, now_ms: i64) -> Result<(), LedgerError> {
    connection
        .prepare_cached(
            "DELETE FROM used WHERE (shard, account, whose) IN
                 (SELECT shard, account, whose FROM used WHERE shard = ?1 AND kept = 0 AND at < ?2 LIMIT ?3)",
        )
        .and_then(|mut delete| delete.execute(params![shard.0, now_ms - KEPT_MS, FORGET]))
        .map_err(sqlite_error)?;
    Ok(())
}

#[async_trait]
impl Standings for Embedded {
    async fn standing(&self, account: &AccountId, whose: &Whose) -> Result<Standing, LedgerError> {
        let (clock, shard) = (self.clock, self.shards.of(account));
        let (account, whose) = (account.clone(), whose.clone());
        self.writer
            .run_soon(move |connection| {
                let now_ms = lease::shard_time(connection, clock, shard)?;
                let used = load(connection, shard, &account, &name_of(&whose), now_ms)?;
                Ok(used.standing(running(connection, shard, &account, &whose, now_ms)?))
            })
            .await
    }
}
