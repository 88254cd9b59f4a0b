//! Documents that were believed, one for each keyset.

use ::rusqlite::{Connection, OptionalExtension, params};
use cocoon_receipts::Digest;

use crate::embedded::{integer, natural, sqlite_error};
use crate::{KeptDocument, LedgerError};

pub(super) fn put(
    connection: &Connection,
    keyset: Digest,
    document: &KeptDocument,
) -> Result<(), LedgerError> {
    let verified_at = integer(document.verified_at)?;
    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO document (keyset, nonce, verified_at, bytes) VALUES (?1, ?2, ?3, ?4)",
        )
        .and_then(|mut add| add.execute(params![keyset.0, document.nonce, verified_at, document.bytes]))
        .map_err(sqlite_error)?;
    Ok(())
}

pub(super) fn get(connection: &Connection, keyset: Digest) -> Result<Option<KeptDocument>, LedgerError> {
    let row: Option<([u8; 32], i64, Vec<u8>)> = connection
        .prepare_cached("SELECT nonce, verified_at, bytes FROM document WHERE keyset = ?1")
        .and_then(|mut get| {
            get.query_row([keyset.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()
        })
        .map_err(sqlite_error)?;
    row.map(|(nonce, verified_at, bytes)| {
        Ok(KeptDocument { nonce, verified_at: natural(verified_at)?, bytes })
    })
    .transpose()
}
