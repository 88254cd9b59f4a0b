//! Creation of the file, and the check that it is one of ours, made with the same options.

use std::path::Path;
use std::time::Duration;

use ::rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use crate::embedded::sqlite_error;
use crate::rules::{created_with, half_filled, not_empty};
use crate::{LedgerError, Options};

const SCHEMA: &str = "2";

/// In the schema's place while an import fills the file: no build of ours opens such a one.
const FILLING: &str = "filling";

/// What a file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum For {
    Use,
    /// An import: it must be empty, and is marked.
    Filling,
}

/// How long a caller waits for another process's transaction.
const BUSY: Duration = Duration::from_secs(5);

/// Attempts at switching to WAL: SQLite does not wait for other openers there, whatever the busy timeout.
const WAL_ATTEMPTS: u32 = 50;

pub(super) fn open(path: &Path, options: &Options, purpose: For) -> Result<Connection, LedgerError> {
    let mut connection = Connection::open(path).map_err(sqlite_error)?;
    connection.busy_timeout(BUSY).map_err(sqlite_error)?;
    write_ahead(&connection)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(sqlite_error)?;
    connection.set_prepared_statement_cache_capacity(128);
    create_or_check(&mut connection, options, purpose)?;
    Ok(connection)
}

fn write_ahead(connection: &Connection) -> Result<(), LedgerError> {
    let mut attempt = 0;
    loop {
        let mode: Result<String, _> =
            connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0));
        match mode {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(mode) => {
                return Err(LedgerError::Configuration(format!(
                    "the file system only allows journal mode {mode}"
                )));
            }
            Err(error) if attempt == WAL_ATTEMPTS => return Err(sqlite_error(error)),
            Err(::rusqlite::Error::SqliteFailure(error, _))
                if error.code == ::rusqlite::ErrorCode::DatabaseBusy =>
            {
                attempt += 1;
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(error) => return Err(sqlite_error(error)),
        }
    }
}

fn create_or_check(connection: &mut Connection, options: &Options, purpose: For) -> Result<(), LedgerError> {
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(sqlite_error)?;
    let tables: i64 = transaction
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(sqlite_error)?;
    if tables == 0 {
        create(&transaction, options).map_err(sqlite_error)?;
    }
    let ours: bool = transaction.table_exists(None, "meta").map_err(sqlite_error)?;
    if !ours {
        return Err(LedgerError::Schema("the file is another program's".to_owned()));
    }
    let meta = |name: &str| -> Result<Option<String>, LedgerError> {
        transaction
            .query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| row.get(0))
            .optional()
            .map_err(sqlite_error)
    };
    check_schema(meta("schema")?.as_deref())?;
    created_with("shards", &meta("shards")?.unwrap_or_default(), &options.shards.get().to_string())?;
    created_with("test_clock", &meta("test_clock")?.unwrap_or_default(), &options.test_clock.to_string())?;
    let subjects = [
        include_str!("answers.sql"),
        include_str!("caps.sql"),
        include_str!("channels.sql"),
        include_str!("documents.sql"),
        include_str!("key_registry.sql"),
        include_str!("requests.sql"),
        include_str!("retention.sql"),
        include_str!("usages.sql"),
        include_str!("withdrawals.sql"),
        // After what it looks into.
        include_str!("treasury.sql"),
        include_str!("used.sql"),
    ];
    for added in subjects {
        transaction.execute_batch(added).map_err(sqlite_error)?;
    }
    if purpose == For::Filling {
        check_empty(&transaction)?;
        set_schema(&transaction, FILLING)?;
    }
    transaction.commit().map_err(sqlite_error)
}

/// Takes the mark of an import away.
pub(super) fn set_filled(connection: &Connection) -> Result<(), LedgerError> {
    set_schema(connection, SCHEMA)
}

fn set_schema(connection: &Connection, schema: &str) -> Result<(), LedgerError> {
    let sql = "UPDATE meta SET value = ?1 WHERE name = 'schema'";
    connection.execute(sql, [schema]).map(drop).map_err(sqlite_error)
}

/// Whether there is nothing but the schema, the options and the shards' clocks.
fn check_empty(connection: &Connection) -> Result<(), LedgerError> {
    let exists = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, bool>(0)).map_err(sqlite_error);
    let tables: Vec<String> = connection
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT IN ('meta', 'shard')")
        .and_then(|mut names| names.query_map([], |row| row.get(0))?.collect())
        .map_err(sqlite_error)?;
    let mut used = exists("SELECT EXISTS (SELECT 1 FROM shard WHERE last_entry <> 0 OR too_old <> 0)")?;
    for table in tables {
        used = used || exists(&format!("SELECT EXISTS (SELECT 1 FROM \"{table}\")"))?;
    }
    if used { Err(not_empty()) } else { Ok(()) }
}

fn check_schema(found: Option<&str>) -> Result<(), LedgerError> {
    match found {
        Some(SCHEMA) => Ok(()),
        Some(FILLING) => Err(half_filled()),
        Some(other) => {
            Err(LedgerError::Schema(format!("it has schema {other}, this program knows {SCHEMA}")))
        }
        None => Err(LedgerError::Schema("the file is another program's".to_owned())),
    }
}

fn create(connection: &Connection, options: &Options) -> ::rusqlite::Result<()> {
    connection.execute_batch(include_str!("schema.sql"))?;
    let mut meta = connection.prepare("INSERT INTO meta (name, value) VALUES (?1, ?2)")?;
    meta.execute(["schema", SCHEMA])?;
    meta.execute(["shards", &options.shards.get().to_string()])?;
    meta.execute(["test_clock", &options.test_clock.to_string()])?;
    let mut shard = connection.prepare("INSERT INTO shard (shard) VALUES (?1)")?;
    for each in options.shards.all() {
        shard.execute([each.0])?;
    }
    Ok(())
}
