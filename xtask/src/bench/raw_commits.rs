//! How many rows a second SQLite makes durable by itself, in commits of 32 rows.
//!
//! It is measured in the server's own folder, so on the same disk, right after the server.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use rusqlite::Connection;

/// Rows a commit: as many as there are connections under load.
pub(super) const ROWS: u64 = 32;
const LASTS: Duration = Duration::from_secs(3);

/// Rows a second, each row as long as a token's.
pub(super) fn rate(folder: &Path) -> Result<f64> {
    let mut connection = Connection::open(folder.join("raw-commits.sqlite"))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.execute_batch(
        "DROP TABLE IF EXISTS token; CREATE TABLE token (hash BLOB PRIMARY KEY, grant_id INTEGER, client_id INTEGER, \
         scope INTEGER, expires_at INTEGER) WITHOUT ROWID",
    )?;
    let start = Instant::now();
    let mut rows: u64 = 0;
    while start.elapsed() < LASTS {
        let commit = connection.transaction()?;
        {
            let mut insert = commit.prepare_cached("INSERT INTO token VALUES (?1, ?2, 7, 3, 1900000000)")?;
            for _ in 0..ROWS {
                rows += 1;
                insert.execute((digest(rows), i64::try_from(rows)?))?;
            }
        }
        commit.commit()?;
    }
    #[expect(clippy::cast_precision_loss, reason = "a count of rows is far below 2^52")]
    Ok(rows as f64 / start.elapsed().as_secs_f64())
}

/// 32 bytes that fall anywhere in the index, as digests do.
fn digest(number: u64) -> [u8; 32] {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31);
    let mut bytes = [0; 32];
    for (part, salt) in bytes.chunks_exact_mut(8).zip(1_u64..) {
        part.copy_from_slice(&mixed.wrapping_mul(salt).to_be_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_rows_have_the_same_digest() {
        let all: std::collections::HashSet<_> = (0..10_000).map(digest).collect();
        assert_eq!(all.len(), 10_000);
    }
}
