//! Where ports meet adapters.

mod fetch;
mod shared;

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, bail};
use mcp_authflow::{
    AuthorizationServer, KeyRing, Ports,
    keys::RingPorts,
    memory::MemoryStore,
    port::{AccountStore, Clock, Entropy, OldTokens, Store, store::KeyFingerprint},
};
use mcp_authflow_jose::ServerKey;
use mcp_authflow_postgres::{PostgresConfig, PostgresStore};
use mcp_authflow_sqlite::{ServingLock, SqliteOptions, SqliteStore, lock_for_serving};

use self::fetch::Outbound;
pub(crate) use self::fetch::on_a_leash;
pub(crate) use self::shared::Shared;
use crate::{
    audit_trail::{AuditTrail, BoundedTrail},
    config::{Config, Database},
    import::ReadThrough,
    system::{SinceStart, SystemClock, SystemEntropy},
};

/// What the store is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To serve: one server at a time may hold an embedded file.
    Serve,
    /// For one command, beside a server that may be running.
    Command,
}

/// The store, opened, with what belongs to it.
pub(crate) struct Opened {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) accounts: Arc<dyn AccountStore>,
    pub(crate) key: ServerKey,
    sqlite: Option<Arc<SqliteStore>>,
    _lock: Option<ServingLock>,
}

impl Opened {
    /// Opens the configured store and checks that the server key is the one it was made with.
    pub(crate) async fn open(config: &Config, purpose: Purpose) -> anyhow::Result<Self> {
        match &config.database {
            Database::Memory => {
                let store = Arc::new(MemoryStore::new().begun_at(SystemClock.now()));
                let key = ServerKey::from_bytes((&SystemEntropy as &dyn Entropy).draw());
                Ok(Self {
                    store: store.clone(),
                    accounts: store,
                    key,
                    sqlite: None,
                    _lock: None,
                })
            }
            Database::Sqlite(path) => {
                make_private_folder(path.parent().filter(|parent| !parent.as_os_str().is_empty()))?;
                let lock = match purpose {
                    Purpose::Serve => Some(lock_for_serving(path)?),
                    Purpose::Command => None,
                };
                let key_file = config
                    .server_key_file
                    .clone()
                    .unwrap_or_else(|| path.with_file_name("server.key"));
                let store = Arc::new(SqliteStore::open(path, SqliteOptions::default()).await?);
                let key = KeyFile(key_file).read_or_make(&*store).await?;
                Ok(Self {
                    store: store.clone(),
                    accounts: store.clone(),
                    key,
                    sqlite: Some(store),
                    _lock: lock,
                })
            }
            Database::Postgres { .. } => {
                let Some(key_file) = config.server_key_file.clone() else {
                    bail!("a PostgreSQL database needs server_key_file (AUTHFLOW_SERVER_KEY_FILE)");
                };
                let Some(postgres) = postgres_config(config) else {
                    bail!("the database is not PostgreSQL");
                };
                let store = Arc::new(PostgresStore::connect(&postgres).await?);
                let key_file = KeyFile(key_file);
                let key = key_file.read()?;
                key_file.pin(&*store, &key).await?;
                Ok(Self {
                    store: store.clone(),
                    accounts: store,
                    key,
                    sqlite: None,
                    _lock: None,
                })
            }
        }
    }

    /// The authorization server on this store.
    pub(crate) fn server(&self, config: &Config, shared: &Shared) -> AuthorizationServer {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        AuthorizationServer::new(
            config.settings.clone(),
            Ports {
                store: self.store.clone(),
                key: self.key.clone(),
                rate_limit: shared.rate_limit.clone(),
                replay: shared.replay.clone(),
                old_tokens: self.old_tokens(config),
                fetch: Arc::new(Outbound::new(
                    &config.issuer,
                    config.listen,
                    &config.fetch_networks,
                    config.settings.client_documents.min_age,
                )),
                clock,
                entropy: Arc::new(SystemEntropy),
                audit: Arc::new(BoundedTrail::new(SinceStart::now())),
            },
        )
    }

    /// The keys that sign tokens, for a verb that looks after them.
    pub(crate) fn key_ring(&self, config: &Config) -> KeyRing {
        KeyRing::new(
            RingPorts {
                store: self.store.clone(),
                entropy: Arc::new(SystemEntropy),
                audit: Arc::new(AuditTrail),
                key: self.key.clone(),
            },
            &config.settings,
        )
    }

    /// The Python package's tables, where its tokens are honoured until they are copied.
    pub(crate) fn old_tokens(&self, config: &Config) -> Option<Arc<dyn OldTokens>> {
        let url = config.import.read_through.as_deref()?;
        Some(Arc::new(ReadThrough::new(
            url,
            self.store.clone(),
            self.accounts.clone(),
            config.settings.clone(),
            config.import.clone(),
        )))
    }

    /// Lets go of the store; an embedded file is left whole, without a log beside it.
    pub(crate) async fn close(self) {
        if let Some(sqlite) = &self.sqlite {
            sqlite.close().await;
        }
    }
}

/// How to reach PostgreSQL, where that is the database.
pub(crate) fn postgres_config(config: &Config) -> Option<PostgresConfig> {
    let Database::Postgres {
        url,
        pool_size,
        prepared_statements,
    } = &config.database
    else {
        return None;
    };
    let mut postgres = PostgresConfig::new(url.clone());
    postgres.pool_size = usize::try_from(*pool_size).unwrap_or(8);
    postgres.prepared_statements = *prepared_statements;
    Some(postgres)
}

/// The file of the server key.
struct KeyFile(PathBuf);

impl KeyFile {
    fn read(&self) -> anyhow::Result<ServerKey> {
        let path = self.0.display();
        let cannot_read = || format!("cannot read the server key {path}");
        let mut file = fs::File::open(&self.0).with_context(cannot_read)?;
        let mode = file.metadata().with_context(cannot_read)?.permissions().mode();
        if mode & 0o077 != 0 {
            bail!(
                "the server key {path} is open to others than its owner (mode {:o}): chmod 600 {path}",
                mode & 0o777
            );
        }
        let mut text = zeroize::Zeroizing::new(String::new());
        file.read_to_string(&mut text).with_context(cannot_read)?;
        ServerKey::parse_hex(&text).with_context(|| {
            format!("the server key {path} is not 64 hexadecimal digits; make one with: openssl rand -hex 32")
        })
    }

    /// Reads the key, or makes it when it is not there yet and the store has not seen another one.
    async fn read_or_make(&self, store: &dyn Store) -> anyhow::Result<ServerKey> {
        if self.0.exists() {
            let key = self.read()?;
            self.pin(store, &key).await?;
            return Ok(key);
        }
        let key = ServerKey::from_bytes((&SystemEntropy as &dyn Entropy).draw());
        let path = self.0.display().to_string();
        let written = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&self.0)
            .and_then(|mut file| writeln!(file, "{}", *key.to_hex()).and_then(|()| file.sync_all()));
        match written {
            Ok(()) => {}
            // Another process made it at this very moment: its key is the one.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                let key = self.read()?;
                self.pin(store, &key).await?;
                return Ok(key);
            }
            Err(error) => return Err(error).with_context(|| format!("cannot write the server key {path}")),
        }
        if let Err(error) = self.pin(store, &key).await {
            // The store belongs to a key that is lost: a new one must not lie there as if it were it.
            fs::remove_file(&self.0).ok();
            return Err(error);
        }
        Ok(key)
    }

    async fn pin(&self, store: &dyn Store, key: &ServerKey) -> anyhow::Result<()> {
        match store.pin_server_key(&key.fingerprint()).await? {
            KeyFingerprint::Matches => Ok(()),
            KeyFingerprint::Differs => bail!(
                "the database was made with another server key than {}: put the right key file back",
                self.0.display()
            ),
        }
    }
}

/// Makes the data folder, for its owner alone, when it is not there.
pub(crate) fn make_private_folder(folder: Option<&Path>) -> anyhow::Result<()> {
    let Some(folder) = folder else { return Ok(()) };
    if folder.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("cannot make the data folder {}", folder.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn a_server_key_that_others_could_read_is_refused_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile(folder.path().join("server.key"));
        fs::write(&file.0, "ab".repeat(32)).unwrap();
        for mode in [0o640, 0o604, 0o644, 0o620, 0o610] {
            fs::set_permissions(&file.0, fs::Permissions::from_mode(mode)).unwrap();
            let error = file.read().err().unwrap().to_string();
            assert!(
                error.ends_with(&format!("chmod 600 {}", file.0.display())),
                "{error}"
            );
        }
        for mode in [0o600, 0o400] {
            fs::set_permissions(&file.0, fs::Permissions::from_mode(mode)).unwrap();
            assert!(file.read().is_ok(), "{mode:o}");
        }
    }
}
