//! Columns to types and back. A column that does not parse is a corrupt file, not a panic.

use ::rusqlite::types::{FromSql, FromSqlError, Type};
use ::rusqlite::{Error, Row};
use cocoon_receipts::{Digest, Usage};

use crate::LedgerError;
use crate::embedded::integer;

fn unreadable(column: usize, kind: Type, message: String) -> Error {
    Error::FromSqlConversionFailure(column, kind, message.into())
}

/// A column, or several, that make no value.
pub(super) fn corrupt(error: LedgerError) -> Error {
    unreadable(0, Type::Null, error.to_string())
}

pub(super) fn text<T>(row: &Row<'_>, column: usize) -> ::rusqlite::Result<T>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    let text: String = row.get(column)?;
    text.parse().map_err(|error: T::Err| unreadable(column, Type::Text, format!("{text:?}: {error}")))
}

pub(super) fn optional_text<T>(row: &Row<'_>, column: usize) -> ::rusqlite::Result<Option<T>>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    if row.get_ref(column)?.data_type() == Type::Null { Ok(None) } else { text(row, column).map(Some) }
}

pub(super) fn blob(row: &Row<'_>, column: usize) -> ::rusqlite::Result<Option<Digest>> {
    Option::<[u8; 32]>::column_result(row.get_ref(column)?)
        .map(|bytes| bytes.map(Digest))
        .map_err(|error: FromSqlError| unreadable(column, Type::Blob, error.to_string()))
}

/// A number that is never negative.
pub(super) fn amount(row: &Row<'_>, column: usize) -> ::rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| unreadable(column, Type::Integer, format!("{value} is negative")))
}

/// Four columns from `first`, all null where nothing was used.
pub(super) fn usage(row: &Row<'_>, first: usize) -> ::rusqlite::Result<Option<Usage>> {
    if row.get_ref(first)?.data_type() == Type::Null {
        return Ok(None);
    }
    Ok(Some(Usage {
        prompt: amount(row, first)?,
        cached: amount(row, first + 1)?,
        completion: amount(row, first + 2)?,
        reasoning: amount(row, first + 3)?,
    }))
}

pub(super) fn counts(usage: &Usage) -> Result<[i64; 4], LedgerError> {
    Ok([
        integer(usage.prompt)?,
        integer(usage.cached)?,
        integer(usage.completion)?,
        integer(usage.reasoning)?,
    ])
}
