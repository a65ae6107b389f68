//! A Redis of a test's own, which can be stopped, started again on the same port, and made to hang.

use std::{
    process::Command,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use mcp_authflow_redis::{RedisConfig, RedisConnection};
use mcp_authflow_testkit::service::{
    port::free_port,
    process::{OwnedProcess, StopSignal},
};
use redis::FromRedisValue;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A server. Nothing of it is kept on disk.
pub(crate) struct Server {
    port: u16,
    folder: TempDir,
    process: Option<OwnedProcess>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let mut server = Self {
            port: free_port().unwrap(),
            folder: tempfile::tempdir().unwrap(),
            process: None,
        };
        server.start_again();
        server
    }

    /// Starts it on the port that it had.
    pub(crate) fn start_again(&mut self) {
        let mut process = ["valkey-server", "redis-server"]
            .into_iter()
            .find_map(|program| {
                let mut command = Command::new(program);
                command
                    .args(["--bind", "127.0.0.1", "--port", &self.port.to_string()])
                    .args([
                        "--save",
                        "",
                        "--appendonly",
                        "no",
                        "--repl-diskless-sync-delay",
                        "0",
                    ])
                    .args(["--repl-diskless-load", "swapdb", "--dir"])
                    .arg(self.folder.path());
                OwnedProcess::spawn(program, &mut command, StopSignal::Terminate, None).ok()
            })
            .expect("valkey-server or redis-server is installed");
        process
            .wait_until("Ready to accept connections", Duration::from_secs(60))
            .unwrap();
        self.process = Some(process);
    }

    /// Ends it like a crash.
    pub(crate) fn kill(&mut self) {
        self.process.take().unwrap().kill().unwrap();
    }

    pub(crate) fn suspend(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = self.process.as_ref().unwrap().pid();
        kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// How to reach it, with keys that no other test has.
    pub(crate) fn config(&self) -> RedisConfig {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let mut config = RedisConfig::new(format!("redis://127.0.0.1:{}/", self.port));
        config.prefix = format!("test{}", NEXT.fetch_add(1, Ordering::Relaxed));
        config.probe_every = Duration::from_millis(100);
        config
    }

    pub(crate) async fn connect(&self) -> RedisConnection {
        connect(&self.config()).await
    }

    /// Sends a command over a connection of its own.
    pub(crate) async fn command<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}/", self.port)).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut command = redis::cmd(words[0]);
        for word in &words[1..] {
            command.arg(*word);
        }
        command.query_async(&mut connection).await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that is suspended would not hear that it is to stop.
        if self.process.is_some() {
            self.resume();
        }
    }
}

pub(crate) async fn connect(config: &RedisConfig) -> RedisConnection {
    RedisConnection::connect(config.clone()).await.unwrap()
}

/// Waits until the connection has found its server again; says how long that took.
pub(crate) async fn until_up(connection: &RedisConnection) -> Duration {
    let start = tokio::time::Instant::now();
    tokio::time::timeout(Duration::from_secs(20), async {
        while !connection.is_up() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("the connection comes back");
    start.elapsed()
}
