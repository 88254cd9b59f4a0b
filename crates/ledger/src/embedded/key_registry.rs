//! The registry of keys: a row per key and per project, and the caps of their account.

use std::time::Duration;

use ::rusqlite::{Connection, OptionalExtension, ToSql, params};
use async_trait::async_trait;
use cocoon_receipts::{AccountId, KeyId, ProjectId};

use crate::embedded::columns::{amount, text};
use crate::embedded::{Embedded, integer, lease, natural, sqlite_error};
use crate::key_registry::{ENDED_KEY_KEPT_MS, cap, check_limits, make_room};
use crate::rules::lease_ms;
use crate::{
    KeyOrder, KeyQuery, KeyRecord, KeyRegistry, KeyScope, KeySet, LedgerError, Limits, MAX_KEY_PAGE,
    MAX_KEYS, MAX_PROJECTS, Project, Recorded, Revoked, Shard,
};

#[async_trait]
impl KeyRegistry for Embedded {
    async fn put_key(&self, record: &KeyRecord) -> Result<Recorded, LedgerError> {
        record.check()?;
        let shard = self.shards.of(&record.account);
        loop {
            let again = record.clone();
            let recorded = self.writer.run(move |connection| put(connection, shard, &again)).await?;
            if recorded != Recorded::TooManyKeys || !make_room(self, &record.account).await? {
                return Ok(recorded);
            }
        }
    }

    async fn key(&self, account: &AccountId, id: &KeyId) -> Result<Option<KeyRecord>, LedgerError> {
        let (shard, account, id) = (self.shards.of(account), account.clone(), id.clone());
        self.writer.run(move |connection| get(connection, shard, &account, &id)).await
    }

    async fn keys(&self, query: &KeyQuery) -> Result<Vec<KeyRecord>, LedgerError> {
        let (shard, query) = (self.shards.of(&query.account), query.clone());
        self.writer.run(move |connection| page(connection, shard, &query)).await
    }

    async fn revoke_key(
        &self,
        account: &AccountId,
        id: &KeyId,
        after: Duration,
    ) -> Result<Option<Revoked>, LedgerError> {
        let (clock, shard, account, id) = (self.clock, self.shards.of(account), account.clone(), id.clone());
        self.writer
            .run(move |connection| {
                let at_ms = lease::shard_time(connection, clock, shard)?.saturating_add(lease_ms(after));
                let Some(record) = get(connection, shard, &account, &id)? else { return Ok(None) };
                if let Some(earlier) = record.revoked_at_ms.filter(|earlier| *earlier <= at_ms) {
                    return Ok(Some(Revoked { at_ms: earlier, already: true }));
                }
                set_cap(connection, shard, &account, &cap::revoked(&id), &at_ms.to_string())?;
                Ok(Some(Revoked { at_ms, already: false }))
            })
            .await
    }

    async fn forget_keys(&self, account: &AccountId, ids: &[KeyId]) -> Result<u64, LedgerError> {
        let (clock, shard, account) = (self.clock, self.shards.of(account), account.clone());
        let ids = ids.to_vec();
        self.writer
            .run(move |connection| {
                let before_ms =
                    lease::shard_time(connection, clock, shard)?.saturating_sub(ENDED_KEY_KEPT_MS);
                let mut forgotten = 0;
                for id in &ids {
                    forgotten += u64::from(forget(connection, shard, &account, id, before_ms)?);
                }
                Ok(forgotten)
            })
            .await
    }

    async fn is_revoked(&self, account: &AccountId, id: &KeyId) -> Result<bool, LedgerError> {
        let (clock, shard, account, id) = (self.clock, self.shards.of(account), account.clone(), id.clone());
        self.writer
            .run(move |connection| {
                let now_ms = lease::shard_time(connection, clock, shard)?;
                let at_ms = get_cap(connection, shard, &account, &cap::revoked(&id))?;
                Ok(at_ms.as_deref().map(time).transpose()?.is_some_and(|at_ms| at_ms <= now_ms))
            })
            .await
    }

    async fn set_limits(
        &self,
        account: &AccountId,
        project: Option<&ProjectId>,
        limits: &Limits,
    ) -> Result<bool, LedgerError> {
        check_limits(limits)?;
        let (clock, shard, account) = (self.clock, self.shards.of(account), account.clone());
        let (project, limits) = (project.cloned(), *limits);
        self.writer
            .run(move |connection| {
                let now_ms = lease::shard_time(connection, clock, shard)?;
                if let Some(project) = &project
                    && !name_project(connection, shard, &account, project, now_ms / 1000)?
                {
                    return Ok(false);
                }
                let name = cap::limits(project.as_ref());
                if limits == Limits::default() {
                    delete_cap(connection, shard, &account, &name)?;
                } else {
                    set_cap(connection, shard, &account, &name, &limits.to_text())?;
                }
                Ok(true)
            })
            .await
    }

    async fn limits(&self, account: &AccountId, project: Option<&ProjectId>) -> Result<Limits, LedgerError> {
        let (shard, account, name) = (self.shards.of(account), account.clone(), cap::limits(project));
        self.writer
            .run(move |connection| {
                let text = get_cap(connection, shard, &account, &name)?;
                text.map_or(Ok(Limits::default()), |text| Limits::from_text(&text))
            })
            .await
    }

    async fn projects(&self, account: &AccountId) -> Result<Vec<Project>, LedgerError> {
        let (shard, account) = (self.shards.of(account), account.clone());
        self.writer
            .run(move |connection| {
                connection
                    .prepare_cached(
                        "SELECT id, created FROM project WHERE shard = ?1 AND account = ?2 ORDER BY id",
                    )
                    .and_then(|mut all| {
                        all.query_map(params![shard.0, account.as_str()], |row| {
                            Ok(Project { id: text(row, 0)?, created: amount(row, 1)? })
                        })?
                        .collect()
                    })
                    .map_err(sqlite_error)
            })
            .await
    }
}

fn put(connection: &Connection, shard: Shard, record: &KeyRecord) -> Result<Recorded, LedgerError> {
    let (account, id) = (record.account.as_str(), record.id.as_str());
    let sql = "SELECT count(*) FROM api_key WHERE shard = ?1 AND account = ?2 AND id = ?3";
    if count(connection, sql, params![shard.0, account, id])? > 0 {
        return Ok(Recorded::Already);
    }
    let sql = "SELECT count(*) FROM api_key WHERE shard = ?1 AND account = ?2";
    if count(connection, sql, params![shard.0, account])? >= u64::from(MAX_KEYS) {
        return Ok(Recorded::TooManyKeys);
    }
    if let Some(project) = &record.project
        && !name_project(connection, shard, &record.account, project, record.created)?
    {
        return Ok(Recorded::TooManyProjects);
    }
    insert(connection, shard, record)?;
    Ok(Recorded::Recorded)
}

pub(super) fn insert(connection: &Connection, shard: Shard, record: &KeyRecord) -> Result<(), LedgerError> {
    let (account, id) = (record.account.as_str(), record.id.as_str());
    let project = record.project.as_ref().map_or("", ProjectId::as_str);
    let sql =
        "INSERT INTO api_key (shard, account, id, scope, project, record) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let row = params![shard.0, account, id, record.scope.as_str(), project, record.to_json()?];
    execute(connection, sql, row).map(drop)
}

/// Forgets a key that had ended by `before_ms`; whether it did.
fn forget(
    connection: &Connection,
    shard: Shard,
    account: &AccountId,
    id: &KeyId,
    before_ms: u64,
) -> Result<bool, LedgerError> {
    let record = get(connection, shard, account, id)?;
    let Some(record) = record.filter(|record| record.has_ended(before_ms)) else { return Ok(false) };
    let sql = "DELETE FROM api_key WHERE shard = ?1 AND account = ?2 AND id = ?3";
    execute(connection, sql, params![shard.0, account.as_str(), id.as_str()])?;
    if record.has_expired(before_ms) {
        delete_cap(connection, shard, account, &cap::revoked(id))?;
    }
    Ok(true)
}

fn get(
    connection: &Connection,
    shard: Shard,
    account: &AccountId,
    id: &KeyId,
) -> Result<Option<KeyRecord>, LedgerError> {
    let found: Option<(String, Option<String>)> = connection
        .prepare_cached(
            "SELECT record, value FROM api_key
             LEFT JOIN caps ON caps.shard = ?1 AND caps.account = ?2 AND caps.name = ?4
             WHERE api_key.shard = ?1 AND api_key.account = ?2 AND id = ?3",
        )
        .and_then(|mut find| {
            find.query_row(params![shard.0, account.as_str(), id.as_str(), cap::revoked(id)], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()
        })
        .map_err(sqlite_error)?;
    found.map(|(text, revoked)| read(&text, revoked.as_deref())).transpose()
}

fn page(connection: &Connection, shard: Shard, query: &KeyQuery) -> Result<Vec<KeyRecord>, LedgerError> {
    let (scope, project) = match &query.set {
        KeySet::All => (None, None),
        KeySet::OfScope(scope) => (Some(scope.as_str()), None),
        KeySet::OfProject(project) => {
            let project = project.as_ref().map_or("", ProjectId::as_str);
            (Some(KeyScope::Inference.as_str()), Some(project))
        }
    };
    let (beyond, order) = match query.order {
        KeyOrder::OldestFirst => (">", "ASC"),
        KeyOrder::NewestFirst => ("<", "DESC"),
    };
    let sql = format!(
        "SELECT record, value FROM api_key
         LEFT JOIN caps ON caps.shard = ?1 AND caps.account = ?2 AND caps.name = 'revoked:' || id
         WHERE api_key.shard = ?1 AND api_key.account = ?2
             AND (?3 IS NULL OR scope = ?3) AND (?4 IS NULL OR project = ?4) AND (?5 IS NULL OR id {beyond} ?5)
         ORDER BY id {order} LIMIT ?6"
    );
    let after = query.after.as_ref().map(KeyId::as_str);
    let limit = query.limit.min(MAX_KEY_PAGE);
    let rows: Vec<(String, Option<String>)> = connection
        .prepare_cached(&sql)
        .and_then(|mut page| {
            page.query_map(params![shard.0, query.account.as_str(), scope, project, after, limit], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?
            .collect()
        })
        .map_err(sqlite_error)?;
    rows.iter().map(|(text, revoked)| read(text, revoked.as_deref())).collect()
}

/// Remembers a project, first named at `created` seconds; whether there is room for it.
fn name_project(
    connection: &Connection,
    shard: Shard,
    account: &AccountId,
    project: &ProjectId,
    created: u64,
) -> Result<bool, LedgerError> {
    if !insert_project(connection, shard, account, project, created)? {
        return Ok(true);
    }
    let sql = "SELECT count(*) FROM project WHERE shard = ?1 AND account = ?2";
    if count(connection, sql, params![shard.0, account.as_str()])? <= u64::from(MAX_PROJECTS) {
        return Ok(true);
    }
    let sql = "DELETE FROM project WHERE shard = ?1 AND account = ?2 AND id = ?3";
    execute(connection, sql, params![shard.0, account.as_str(), project.as_str()])?;
    Ok(false)
}

/// Whether it was not there before.
pub(super) fn insert_project(
    connection: &Connection,
    shard: Shard,
    account: &AccountId,
    project: &ProjectId,
    created: u64,
) -> Result<bool, LedgerError> {
    let sql = "INSERT OR IGNORE INTO project (shard, account, id, created) VALUES (?1, ?2, ?3, ?4)";
    let row = params![shard.0, account.as_str(), project.as_str(), integer(created)?];
    execute(connection, sql, row).map(|rows| rows > 0)
}

fn get_cap(
    connection: &Connection,
    shard: Shard,
    account: &AccountId,
    name: &str,
) -> Result<Option<String>, LedgerError> {
    connection
        .prepare_cached("SELECT value FROM caps WHERE shard = ?1 AND account = ?2 AND name = ?3")
        .and_then(|mut get| {
            get.query_row(params![shard.0, account.as_str(), name], |row| row.get(0)).optional()
        })
        .map_err(sqlite_error)
}

pub(super) fn set_cap(
    connection: &Connection,
    shard: Shard,
    account: &AccountId,
    name: &str,
    value: &str,
) -> Result<(), LedgerError> {
    let sql = "INSERT OR REPLACE INTO caps (shard, account, name, value) VALUES (?1, ?2, ?3, ?4)";
    execute(connection, sql, params![shard.0, account.as_str(), name, value]).map(drop)
}

fn delete_cap(
    connection: &Connection,
    shard: Shard,
    account: &AccountId,
    name: &str,
) -> Result<(), LedgerError> {
    let sql = "DELETE FROM caps WHERE shard = ?1 AND account = ?2 AND name = ?3";
    execute(connection, sql, params![shard.0, account.as_str(), name]).map(drop)
}

fn read(record: &str, revoked: Option<&str>) -> Result<KeyRecord, LedgerError> {
    KeyRecord::from_json(record, revoked.map(time).transpose()?)
}

fn time(text: &str) -> Result<u64, LedgerError> {
    text.parse().map_err(|_| LedgerError::Corrupt(format!("time {text:?}")))
}

fn count(connection: &Connection, sql: &str, values: &[&dyn ToSql]) -> Result<u64, LedgerError> {
    let count: i64 = connection
        .prepare_cached(sql)
        .and_then(|mut count| count.query_row(values, |row| row.get(0)))
        .map_err(sqlite_error)?;
    natural(count)
}

fn execute(connection: &Connection, sql: &str, values: &[&dyn ToSql]) -> Result<usize, LedgerError> {
    connection.prepare_cached(sql).and_then(|mut statement| statement.execute(values)).map_err(sqlite_error)
}
