//! Columns → values. What does not fit is damage, and said so; never guessed around.

use mcp_authflow::port::{StoreError, store::StoreResult};
use mcp_authflow_types::{Timestamp, TokenHash};
use tokio_postgres::{
    Row,
    types::{FromSql, Json},
};

/// Reads a column.
pub(crate) fn field<'a, T: FromSql<'a>>(row: &'a Row, column: &str) -> StoreResult<T> {
    row.try_get(column)
        .map_err(|error| StoreError::Broken(crate::error::with_causes(&error)))
}

/// Reads a moment.
pub(crate) fn moment(row: &Row, column: &str) -> StoreResult<Timestamp> {
    field(row, column).map(Timestamp::from_seconds)
}

/// Reads a moment that may be missing.
pub(crate) fn optional_moment(row: &Row, column: &str) -> StoreResult<Option<Timestamp>> {
    Ok(field::<Option<i64>>(row, column)?.map(Timestamp::from_seconds))
}

/// Reads exactly `N` bytes that may be missing.
pub(crate) fn optional_bytes<const N: usize>(row: &Row, column: &str) -> StoreResult<Option<[u8; N]>> {
    field::<Option<&[u8]>>(row, column)?
        .map(|bytes| {
            <[u8; N]>::try_from(bytes)
                .map_err(|_| StoreError::Broken(format!("column {column} has not {N} bytes")))
        })
        .transpose()
}

/// Reads exactly `N` bytes.
pub(crate) fn bytes<const N: usize>(row: &Row, column: &str) -> StoreResult<[u8; N]> {
    optional_bytes(row, column)?.ok_or_else(|| StoreError::Broken(format!("column {column} is empty")))
}

/// Reads a digest.
pub(crate) fn digest(row: &Row, column: &str) -> StoreResult<TokenHash> {
    bytes(row, column).map(TokenHash::from_bytes)
}

/// Reads a counter.
pub(crate) fn counter(row: &Row, column: &str) -> StoreResult<u32> {
    u32::try_from(field::<i32>(row, column)?)
        .map_err(|_| StoreError::Broken(format!("column {column} is negative")))
}

/// Reads a document.
pub(crate) fn document<T: for<'a> serde::Deserialize<'a>>(row: &Row, column: &str) -> StoreResult<T> {
    field::<Json<T>>(row, column).map(|json| json.0)
}

/// Reads text by a type's own rules.
pub(crate) fn parsed<T, E: std::fmt::Display>(
    row: &Row,
    column: &str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> StoreResult<T> {
    parse(field(row, column)?).map_err(|error| StoreError::Broken(format!("column {column}: {error}")))
}

/// A counter as PostgreSQL keeps it. No real one comes near the end of the range; one that is beyond it matches nothing.
pub(crate) fn as_counter(counter: u32) -> i32 {
    i32::try_from(counter).unwrap_or(i32::MAX)
}

/// Whether a statement that counts what it did did anything.
pub(crate) fn did_something(rows: &[Row]) -> StoreResult<bool> {
    match rows {
        [row] => Ok(field::<i64>(row, "done")? > 0),
        _ => Err(StoreError::Broken(
            "a statement that counts answered no count".to_owned(),
        )),
    }
}
