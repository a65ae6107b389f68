//! One SQL statement on a connection of its own, callable from any thread.

use anyhow::Context;
use tokio_postgres::NoTls;
use url::Url;

/// Runs `sql` at `url`.
///
/// It runs on a thread of its own, because a test that is asynchronous already is not
/// allowed to block on a second runtime.
pub(super) fn execute(url: &Url, sql: &str) -> anyhow::Result<()> {
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?
                    .block_on(execute_async(url, sql))
            })
            .join()
            .map_err(|_| anyhow::anyhow!("the thread that ran `{sql}` panicked"))?
    })
}

async fn execute_async(url: &Url, sql: &str) -> anyhow::Result<()> {
    let (client, connection) = tokio_postgres::connect(url.as_str(), NoTls)
        .await
        .with_context(|| {
            format!(
                "cannot connect to PostgreSQL at {}",
                url.host_str().unwrap_or("?")
            )
        })?;
    let driver = tokio::spawn(connection);
    client
        .batch_execute(sql)
        .await
        .with_context(|| format!("`{sql}` failed"))?;
    drop(client);
    // The connection ends because its client is gone; an error then changes nothing.
    let _ = driver.await;
    Ok(())
}
