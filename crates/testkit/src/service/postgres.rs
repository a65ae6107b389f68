//! A private PostgreSQL: own folder, own loopback port, gone afterwards.
//!
//! It takes about a second to start and never touches a cluster of the system. When
//! `TEST_DATABASE_URL` is set, that server is used instead (unless durability was
//! asked for, which nobody can promise for a server of someone else), and only
//! databases made here are used and dropped.

mod binaries;
mod statement;

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;
use url::Url;

pub use self::binaries::Binaries;
use super::port::free_port;
use super::process::{OwnedProcess, StopSignal};
use super::user::{Unprivileged, drop_root_to};

/// The superuser of a private instance, which trusts everybody on loopback.
const USER: &str = "authflow";
/// A loaded machine with two cores once needed more than five seconds.
const PATIENCE: Duration = Duration::from_secs(90);
/// Another process may take the port between asking for it and listening.
const TRIES: usize = 3;

/// A PostgreSQL server for tests, stopped and removed when dropped.
#[derive(Debug)]
pub struct PrivatePostgres {
    /// Names the maintenance database `postgres` (or the one that was given).
    admin: Url,
    /// The first database made, which [`PrivatePostgres::url`] names.
    default: Url,
    /// Databases to drop at the end, on a server that is not ours.
    borrowed: Option<Mutex<Vec<String>>>,
    // Fields are dropped in this order: first the server ends, then its folder goes.
    process: Option<OwnedProcess>,
    #[expect(dead_code, reason = "it is held so that it is removed with this value")]
    folder: Option<TempDir>,
}

impl PrivatePostgres {
    /// Starts a private instance, or uses `TEST_DATABASE_URL` when that is set and
    /// `durable` is false.
    ///
    /// With `durable`, `fsync` and `synchronous_commit` are on, as in production; without,
    /// both are off, which makes tests several times faster.
    ///
    /// # Errors
    /// Says what to install when there are no PostgreSQL binaries, and shows the
    /// server's last lines when it does not come up.
    pub fn start(durable: bool) -> anyhow::Result<Self> {
        let mut server = Self::open(durable)?;
        let name = if server.borrowed.is_some() {
            fresh_name()?
        } else {
            "authflow".to_owned()
        };
        server.default = Url::parse(&server.create_database(&name)?)?;
        Ok(server)
    }

    /// One server for every test of this process, opened at the first call. It has no
    /// database of its own (its `url` names the maintenance database): each test makes a
    /// [`FreshDatabase`].
    pub fn shared() -> anyhow::Result<&'static Self> {
        static SHARED: OnceLock<Result<PrivatePostgres, String>> = OnceLock::new();
        SHARED
            .get_or_init(|| Self::open(false).map_err(|error| format!("{error:#}")))
            .as_ref()
            .map_err(|error| anyhow::anyhow!("{error}"))
    }

    fn open(durable: bool) -> anyhow::Result<Self> {
        if !durable && let Ok(given) = std::env::var("TEST_DATABASE_URL") {
            return Self::borrow(&given);
        }
        let binaries = Binaries::find()?;
        let mut last_error = None;
        for _ in 0..TRIES {
            match Self::start_once(&binaries, durable) {
                Ok(server) => return Ok(server),
                Err(error) => last_error = Some(error),
            }
        }
        Err(last_error.unwrap_or_else(|| anyhow::anyhow!("PostgreSQL was never tried")))
    }

    fn start_once(binaries: &Binaries, durable: bool) -> anyhow::Result<Self> {
        let user = drop_root_to(&["postgres", "nobody"])?;
        let folder = tempfile::Builder::new().prefix("authflow-postgres-").tempdir()?;
        let data = folder.path().join("data");
        std::fs::create_dir(&data)?;
        if let Some(user) = user {
            // The server must be able to walk to its folder, which only root can enter so far.
            std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755))?;
            chown(&data, Some(user.uid), Some(user.gid))?;
        }
        std::fs::set_permissions(&data, PermissionsExt::from_mode(0o700))?;
        initialise(&binaries.initdb, &data, durable, user)?;

        let port = free_port()?;
        let mut command = Command::new(&binaries.postgres);
        command.arg("-D").arg(&data);
        for setting in settings(port, durable) {
            command.args(["-c", &setting]);
        }
        become_user(&mut command, user, &data);
        let mut process = OwnedProcess::spawn(
            "PostgreSQL",
            &mut command,
            StopSignal::Interrupt,
            Some(folder.path()),
        )?;
        process.wait_until("database system is ready to accept connections", PATIENCE)?;

        let admin = Url::parse(&format!("postgres://{USER}@127.0.0.1:{port}/postgres"))?;
        Ok(Self {
            default: admin.clone(),
            admin,
            borrowed: None,
            process: Some(process),
            folder: Some(folder),
        })
    }

    fn borrow(given: &str) -> anyhow::Result<Self> {
        let admin = Url::parse(given).context("TEST_DATABASE_URL is not a URL")?;
        ensure!(
            matches!(admin.scheme(), "postgres" | "postgresql"),
            "TEST_DATABASE_URL must start with postgres://"
        );
        Ok(Self {
            default: admin.clone(),
            admin,
            borrowed: Some(Mutex::default()),
            process: None,
            folder: None,
        })
    }

    /// The URL of a database that was made empty for this server value.
    pub fn url(&self) -> &str {
        self.default.as_str()
    }

    /// The server's process id, when it is ours: to read its CPU time.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(OwnedProcess::pid)
    }

    /// The server's process, when it is ours: to kill it.
    pub fn process(&mut self) -> Option<&mut OwnedProcess> {
        self.process.as_mut()
    }

    /// Creates an empty database and returns its URL.
    ///
    /// The name may have lower-case letters, digits and `_` only.
    pub fn create_database(&self, name: &str) -> anyhow::Result<String> {
        ensure!(
            !name.is_empty()
                && name
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
            "a database name has a-z, 0-9 and _ only, not `{name}`"
        );
        // template0 has no users, so that two tests can create a database at once.
        statement::execute(&self.admin, &format!("CREATE DATABASE {name} TEMPLATE template0"))?;
        if let Some(names) = &self.borrowed {
            names
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(name.to_owned());
        }
        let mut url = self.admin.clone();
        url.set_path(name);
        Ok(url.into())
    }

    /// Creates an empty database with a name nobody else has, dropped with the guard.
    pub fn fresh_database(&self) -> anyhow::Result<FreshDatabase> {
        let name = fresh_name()?;
        let url = self.create_database(&name)?;
        Ok(FreshDatabase {
            admin: self.admin.clone(),
            name,
            url,
        })
    }

    /// Stops the server and waits until it is gone. Dropping the value does the same.
    pub fn stop(mut self) -> anyhow::Result<()> {
        self.drop_borrowed();
        match self.process.take() {
            Some(mut process) => process.stop(Duration::from_secs(30)).map(drop),
            None => Ok(()),
        }
    }

    fn drop_borrowed(&mut self) {
        let Some(names) = &mut self.borrowed else {
            return;
        };
        for name in names.get_mut().unwrap_or_else(PoisonError::into_inner).drain(..) {
            drop_database(&self.admin, &name);
        }
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        self.drop_borrowed();
    }
}

/// A database of a test's own, dropped with this value.
#[derive(Debug)]
pub struct FreshDatabase {
    admin: Url,
    name: String,
    url: String,
}

impl FreshDatabase {
    /// The URL to hand to the store.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for FreshDatabase {
    fn drop(&mut self) {
        drop_database(&self.admin, &self.name);
    }
}

/// A database that cannot be dropped goes with its server; say so and carry on.
fn drop_database(admin: &Url, name: &str) {
    let sql = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
    if let Err(error) = statement::execute(admin, &sql) {
        eprintln!("cannot drop the test database {name}: {error:#}");
    }
}

fn fresh_name() -> anyhow::Result<String> {
    let random = getrandom::u64().map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
    Ok(format!("authflow_test_{random:016x}"))
}

fn initialise(initdb: &Path, data: &Path, durable: bool, user: Option<Unprivileged>) -> anyhow::Result<()> {
    let mut command = Command::new(initdb);
    command
        .arg("-D")
        .arg(data)
        .args(["-U", USER, "--auth=trust", "--encoding=UTF8", "--locale=C"]);
    if !durable {
        command.arg("--no-sync");
    }
    become_user(&mut command, user, data);
    let output = command
        .output()
        .with_context(|| format!("cannot run {}", initdb.display()))?;
    if !output.status.success() {
        bail!("initdb failed:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

fn settings(port: u16, durable: bool) -> Vec<String> {
    let sync = if durable { "on" } else { "off" };
    vec![
        "listen_addresses=127.0.0.1".into(),
        format!("port={port}"),
        // No socket: its path may be longer than the 107 bytes that the system allows.
        "unix_socket_directories=".into(),
        format!("fsync={sync}"),
        format!("synchronous_commit={sync}"),
        format!("full_page_writes={sync}"),
        "max_connections=200".into(),
        "shared_buffers=64MB".into(),
        "logging_collector=off".into(),
        "log_min_messages=warning".into(),
        "timezone=UTC".into(),
    ]
}

/// Runs `command` as `user`, in the data folder since that user may not enter ours.
///
/// The child itself changes its user before it executes, so the pid that is
/// written down is the server's and not that of a wrapper.
fn become_user(command: &mut Command, user: Option<Unprivileged>, data: &Path) {
    if let Some(user) = user {
        command.uid(user.uid).gid(user.gid);
    }
    command.current_dir(data).env("LC_ALL", "C").env_remove("PGDATA");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_server_answers_and_is_gone_afterwards() {
        let server = PrivatePostgres::start(true).unwrap();
        let pid = server.process.as_ref().unwrap().pid();
        let one = server.fresh_database().unwrap();
        let two = server.create_database("second").unwrap();
        for url in [server.url(), one.url(), &two] {
            statement::execute(&Url::parse(url).unwrap(), "CREATE TABLE t (n int)").unwrap();
        }
        assert!(server.create_database("x; DROP TABLE t").is_err());
        drop(one);
        server.stop().unwrap();
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn databases_made_on_a_given_server_are_dropped_with_the_value() {
        let server = PrivatePostgres::start(true).unwrap();
        let given = PrivatePostgres::borrow(server.url()).unwrap();
        let first = Url::parse(&given.create_database("first").unwrap()).unwrap();
        let fresh = given.fresh_database().unwrap();
        assert_ne!(fresh.url(), given.url());
        statement::execute(&first, "SELECT 1").unwrap();
        drop(fresh);
        drop(given);
        assert!(statement::execute(&first, "SELECT 1").is_err());
    }
}
