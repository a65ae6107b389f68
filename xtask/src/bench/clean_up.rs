//! What a clean-up of a million expired rows does to the requests beside it.
//!
//! Tokens go a partition or a bucket at a time, which costs next to nothing. What has to be deleted row by row is the harder
//! case, so that is what lies there: the digests of a million assertions that can no longer be accepted.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use rusqlite::Connection;
use tokio::runtime::Runtime;

use super::contestant::{Contestant, Kind, Signers};
use super::load::Load;
use super::operation::Operation;

const ROWS: i64 = 1_000_000;
const CONNECTIONS: usize = 8;
/// More than can be asked in the longest time of a measurement.
const UNTIL_TIME_IS_UP: usize = 10_000_000;

/// Latencies of introspection without and with a clean-up beside it.
#[derive(Clone, Copy, Debug)]
pub(super) struct CleanUp {
    pub(super) kind: Kind,
    pub(super) quiet_p50: Duration,
    pub(super) quiet_p99: Duration,
    pub(super) busy_p50: Duration,
    pub(super) busy_p99: Duration,
    pub(super) busy_longest: Duration,
    /// Rows that went while it was measured.
    pub(super) removed: i64,
    /// How long it was measured.
    pub(super) took: Duration,
}

impl CleanUp {
    /// A paragraph for a document.
    pub(super) fn markdown(&self) -> String {
        let ratio = self.busy_p99.as_secs_f64() / self.quiet_p99.as_secs_f64();
        format!(
            "\nClean-up beside introspection, {}, {CONNECTIONS} connections: p50 {} µs and p99 {} µs without; p50 {} µs and \
             p99 {} µs ({ratio:.2} times), at most {:.1} ms, while {} of {ROWS} expired rows went in {:.1} s.\n",
            self.kind.title(),
            self.quiet_p50.as_micros(),
            self.quiet_p99.as_micros(),
            self.busy_p50.as_micros(),
            self.busy_p99.as_micros(),
            self.busy_longest.as_secs_f64() * 1e3,
            self.removed,
            self.took.as_secs_f64(),
        )
    }
}

/// Measures introspection, then lays the rows down while the server is away, and measures again from its start on: the
/// clean-up begins with the server.
pub(super) fn measure(runtime: &Runtime, kind: Kind, binary: &Path) -> Result<CleanUp> {
    let mut contestant = Contestant::start(kind, binary, &Signers::generate()?)?;
    let quiet = introspect(runtime, &contestant)?;
    contestant.end()?;
    lay_down(runtime, &contestant)?;
    let before = count(runtime, &contestant)?;
    contestant.start_again()?;
    let busy = introspect(runtime, &contestant)?;
    let after = count(runtime, &contestant)?;
    Ok(CleanUp {
        kind,
        quiet_p50: quiet.percentile(50),
        quiet_p99: quiet.percentile(99),
        busy_p50: busy.percentile(50),
        busy_p99: busy.percentile(99),
        busy_longest: busy.percentile(100),
        removed: before - after,
        took: busy.took,
    })
}

fn introspect(runtime: &Runtime, contestant: &Contestant) -> Result<super::load::Outcome> {
    let requests = contestant.requests(Operation::Introspect, CONNECTIONS, runtime)?;
    let load = runtime.block_on(Load::open(contestant.address(), requests))?;
    let outcome = runtime.block_on(load.run(UNTIL_TIME_IS_UP))?;
    anyhow::ensure!(
        outcome.refused == 0,
        "answers were not 200: {}",
        outcome.complaint
    );
    Ok(outcome)
}

fn lay_down(runtime: &Runtime, contestant: &Contestant) -> Result<()> {
    if let Some(url) = contestant.database_url() {
        let sql = format!(
            "INSERT INTO authflow.replays (expires_at, digest) \
             SELECT 1, sha256(n::text::bytea) FROM generate_series(1, {ROWS}) AS n; ANALYZE authflow.replays"
        );
        return runtime.block_on(postgres(url, &sql)).map(drop);
    }
    let mut connection = sqlite(contestant)?;
    let rows = connection.transaction()?;
    rows.execute(
        "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?1) \
         INSERT INTO replays (digest, expires_at) SELECT randomblob(32), 1 FROM numbers",
        [ROWS],
    )?;
    rows.commit()?;
    Ok(())
}

fn count(runtime: &Runtime, contestant: &Contestant) -> Result<i64> {
    if let Some(url) = contestant.database_url() {
        let rows = runtime.block_on(postgres(url, "SELECT count(*)::text FROM authflow.replays"))?;
        return Ok(rows.context("a count answers nothing")?.parse()?);
    }
    Ok(sqlite(contestant)?.query_row("SELECT count(*) FROM replays", [], |row| row.get(0))?)
}

fn sqlite(contestant: &Contestant) -> Result<Connection> {
    let folder = contestant.folder().context("a server without a folder")?;
    Ok(Connection::open(folder.join("state.sqlite"))?)
}

/// Runs statements and returns the last text that they answer.
async fn postgres(url: &str, sql: &str) -> Result<Option<String>> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
    let driver = tokio::spawn(connection);
    let messages = client.simple_query(sql).await?;
    drop(client);
    driver.await??;
    let texts = messages.iter().filter_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    Ok(texts.last())
}
