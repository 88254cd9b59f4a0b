//! The store's own time: the machine's, or a test's. A shard keeps the last it saw and never goes below it.

use std::time::{SystemTime, UNIX_EPOCH};

use ::rusqlite::{Connection, OptionalExtension};

use crate::LedgerError;
use crate::embedded::{integer, sqlite_error};

#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    pub(super) test: bool,
}

impl Clock {
    pub(super) fn now_ms(self, connection: &Connection) -> Result<u64, LedgerError> {
        if self.test
            && let Some(at_ms) = test_time(connection)?
        {
            return Ok(at_ms);
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn set(self, connection: &Connection, at_ms: u64) -> Result<(), LedgerError> {
        if !self.test {
            return Err(LedgerError::Configuration("the ledger was created without a test clock".to_owned()));
        }
        set_test_time(connection, at_ms)
    }
}

pub(super) fn set_test_time(connection: &Connection, at_ms: u64) -> Result<(), LedgerError> {
    // It has to fit where times are kept.
    integer(at_ms)?;
    connection
        .prepare_cached(
            "INSERT INTO meta (name, value) VALUES ('test_time', ?1)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )
        .and_then(|mut set| set.execute([at_ms.to_string()]))
        .map_err(sqlite_error)?;
    Ok(())
}

pub(super) fn test_time(connection: &Connection) -> Result<Option<u64>, LedgerError> {
    let text: Option<String> = connection
        .prepare_cached("SELECT value FROM meta WHERE name = 'test_time'")
        .and_then(|mut get| get.query_row([], |row| row.get(0)).optional())
        .map_err(sqlite_error)?;
    text.map(|text| text.parse().map_err(|_| LedgerError::Corrupt(format!("test time {text:?}")))).transpose()
}
