//! What cases run against: a private PostgreSQL and a private Redis, started when the first case asks.

use anyhow::{Context, Result, anyhow};
use mcp_authflow_testkit::service::postgres::{FreshDatabase, PrivatePostgres};
use mcp_authflow_testkit::service::redis::PrivateRedis;
use tokio::sync::OnceCell;

/// The servers of one run; stopped and removed with it.
#[derive(Default)]
pub(super) struct Rig {
    postgres: OnceCell<Result<PrivatePostgres, String>>,
    redis: OnceCell<Result<PrivateRedis, String>>,
}

impl Rig {
    /// An empty database of the case's own, dropped with the value.
    pub(super) async fn fresh_database(&self) -> Result<FreshDatabase> {
        let server = self
            .postgres
            .get_or_init(|| started("PostgreSQL", || PrivatePostgres::start(false)))
            .await;
        let server = server.as_ref().map_err(|error| anyhow!("{error}"))?;
        // A moment on a runtime thread: nothing else runs while a case does.
        server.fresh_database()
    }

    /// The URL of a Redis that other cases of the run use too: choose keys of your own.
    pub(super) async fn redis_url(&self) -> Result<&str> {
        let server = self
            .redis
            .get_or_init(|| started("Redis", PrivateRedis::start))
            .await;
        server
            .as_ref()
            .map(PrivateRedis::url)
            .map_err(|error| anyhow!("{error}"))
    }
}

/// Starts a server away from the runtime's threads; the error as text, so that each case can tell it again.
async fn started<T: Send + 'static>(
    name: &str,
    start: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T, String> {
    let started = tokio::task::spawn_blocking(start).await;
    started
        .context("the thread that starts it ended")
        .flatten()
        .map_err(|error| format!("{name} did not start: {error:#}"))
}
