//! A private Redis or Valkey: own folder, own loopback port, nothing persisted.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};
use tempfile::TempDir;

use super::port::free_port;
use super::process::{OwnedProcess, StopSignal};

const PATIENCE: Duration = Duration::from_secs(60);

/// A Redis for tests, stopped when dropped.
#[derive(Debug)]
pub struct PrivateRedis {
    url: String,
    process: Option<OwnedProcess>,
    #[expect(dead_code, reason = "it is held so that it is removed with this value")]
    folder: Option<TempDir>,
}

impl PrivateRedis {
    /// Starts a private instance, or uses `TEST_REDIS_URL` when that is set. Tests use
    /// a random key prefix each, so they can share one.
    ///
    /// # Errors
    /// Says what to install when there is neither `valkey-server` nor `redis-server`.
    pub fn start() -> anyhow::Result<Self> {
        if let Ok(url) = std::env::var("TEST_REDIS_URL") {
            return Ok(Self {
                url,
                process: None,
                folder: None,
            });
        }
        let folder = tempfile::Builder::new().prefix("authflow-redis-").tempdir()?;
        let port = free_port()?;
        for program in ["valkey-server", "redis-server"] {
            let mut command = Command::new(program);
            command
                .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
                .args(["--save", "", "--appendonly", "no", "--dir"])
                .arg(folder.path());
            let started =
                OwnedProcess::spawn(program, &mut command, StopSignal::Terminate, Some(folder.path()));
            let mut process = match started {
                Ok(process) => process,
                Err(error) if is_missing(&error) => continue,
                Err(error) => return Err(error),
            };
            process
                .wait_until("Ready to accept connections", PATIENCE)
                .context("the private Redis did not come up")?;
            let url = format!("redis://127.0.0.1:{port}/");
            return Ok(Self {
                url,
                process: Some(process),
                folder: Some(folder),
            });
        }
        bail!(
            "found neither valkey-server nor redis-server; install the package `redis-server`, \
             or set TEST_REDIS_URL"
        )
    }

    /// The URL to connect to.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The server's process, when it is ours.
    pub fn process(&mut self) -> Option<&mut OwnedProcess> {
        self.process.as_mut()
    }
}

fn is_missing(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}
