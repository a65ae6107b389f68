//! The pool of connections, the settings of their sessions, and TLS.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use deadpool_postgres::{
    ClientWrapper, Hook, HookError, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime,
};
use futures_util::future::try_join_all;
use mcp_authflow::port::{StoreError, store::StoreResult};
use tokio::time::Instant;
use tokio_postgres::{
    NoTls,
    config::{Host, SslMode, TargetSessionAttrs},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::{OpenError, PostgresConfig, SchemaStatus, error, schema, statement};

/// How long nobody tries to connect after the database refused: a server that is full or restarting is not stormed.
const HOLD_OFF: Duration = Duration::from_millis(100);
/// A dead peer is found within ten seconds, whatever the network does.
const DEAD_PEER: Duration = Duration::from_secs(10);

/// The PostgreSQL store. Cheap to clone; all clones share one pool.
#[derive(Clone)]
pub struct PostgresStore {
    inner: Arc<Inner>,
}

struct Inner {
    pool: Pool,
    config: PostgresConfig,
    begun: Instant,
    /// Milliseconds since `begun` until which nobody connects.
    held_off_until: AtomicU64,
}

impl std::fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresStore")
            .field("config", &self.inner.config)
            .finish_non_exhaustive()
    }
}

impl PostgresStore {
    /// Connects, and checks that the schema is the one this version works with: its migrations, and every statement
    /// against it. Changes nothing.
    ///
    /// # Errors
    /// [`OpenError::Schema`] names the remedy, which mostly is to run `authflow migrate`.
    pub async fn connect(config: &PostgresConfig) -> Result<Self, OpenError> {
        let store = Self {
            inner: Arc::new(Inner {
                pool: make_pool(config)?,
                config: config.clone(),
                begun: Instant::now(),
                held_off_until: AtomicU64::new(0),
            }),
        };
        let check = async {
            let client = store.pool().get().await.map_err(|error| error::of_pool(&error))?;
            match schema::status_of(&client).await? {
                SchemaStatus::Current => {}
                other => return Err(OpenError::Schema(other)),
            }
            prepare_all(&client).await
        };
        // Ten times a verb's deadline: it is some fifty statements, though they travel together.
        tokio::time::timeout(config.call_deadline * 10, check)
            .await
            .map_err(|_| StoreError::TimedOut("PostgreSQL does not answer".to_owned()))??;
        Ok(store)
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.inner.pool
    }

    pub(crate) fn call_deadline(&self) -> Duration {
        self.inner.config.call_deadline
    }

    pub(crate) fn prepares(&self) -> bool {
        self.inner.config.prepared_statements
    }

    /// Notes that the database refuses connections.
    pub(crate) fn hold_off(&self) {
        let until = self.inner.begun.elapsed() + HOLD_OFF;
        let until = u64::try_from(until.as_millis()).unwrap_or(u64::MAX);
        self.inner.held_off_until.store(until, Ordering::Relaxed);
    }

    /// Refuses at once when the database refused a moment ago and no connection is left.
    pub(crate) fn check_hold_off(&self) -> StoreResult<()> {
        let until = self.inner.held_off_until.load(Ordering::Relaxed);
        let is_held_off = until > 0
            && self.inner.begun.elapsed() < Duration::from_millis(until)
            && self.pool().status().size == 0;
        if is_held_off {
            return Err(StoreError::Unavailable(
                "PostgreSQL refused a connection a moment ago".to_owned(),
            ));
        }
        Ok(())
    }
}

/// A missing column is noticed here, before it costs a request.
async fn prepare_all(client: &ClientWrapper) -> Result<(), OpenError> {
    let preparing = statement::all().map(|one| client.prepare_typed_cached(one.sql, one.types));
    match try_join_all(preparing).await {
        Ok(_) => Ok(()),
        Err(error) => match error.as_db_error() {
            Some(db) if db.code().code().starts_with("42") => Err(OpenError::Schema(SchemaStatus::Damaged {
                what: db.message().to_owned(),
            })),
            _ => Err(error::Trouble::of(&error).into_error().into()),
        },
    }
}

fn make_pool(config: &PostgresConfig) -> Result<Pool, OpenError> {
    let Target { mut postgres, tls } = Target::of(&config.url)?;
    // A standby, or a primary that was fenced off, is passed over in favour of the next host.
    postgres.target_session_attrs(TargetSessionAttrs::ReadWrite);
    postgres.connect_timeout(config.call_deadline);
    if config.prepared_statements {
        let mut options = postgres
            .get_options()
            .map_or_else(String::new, |given| format!("{given} "));
        options.push_str(&session_options(config.call_deadline));
        postgres.options(options);
    }
    let manager_config = ManagerConfig {
        recycling_method: RecyclingMethod::Fast,
    };
    let manager = match tls {
        Some(tls) => Manager::from_config(postgres, tls, manager_config),
        None => Manager::from_config(postgres, NoTls, manager_config),
    };
    let mut pool = Pool::builder(manager)
        .max_size(config.pool_size.max(1))
        .wait_timeout(Some(config.pool_wait))
        .create_timeout(Some(config.call_deadline))
        .recycle_timeout(Some(config.pool_wait))
        .runtime(Runtime::Tokio1);
    if config.prepared_statements {
        pool = pool.post_create(Hook::async_fn(|client, _| Box::pin(insist_on_durability(client))));
    }
    pool.build().map_err(|error| OpenError::Url(error.to_string()))
}

/// What was answered with success must survive a crash (P3), whatever the server's default says. A stronger setting than
/// `on`, such as `remote_apply`, is left alone.
async fn insist_on_durability(client: &mut ClientWrapper) -> Result<(), HookError> {
    client
        .batch_execute(
            "SELECT set_config('synchronous_commit', 'on', false) \
             WHERE current_setting('synchronous_commit') = 'off'",
        )
        .await
        .map_err(HookError::Backend)
}

/// Plans are made once a connection, for planning takes longer than looking: every statement finds its rows by key, and
/// no parameter asks for another plan. A plan made while a table was empty must be good when it is full, so the ways that
/// read a whole table are only taken where there is no other.
pub(crate) const PLANNING: [(&str, &str); 7] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("enable_material", "off"),
    // Where there is no other way, its price looks worth a compiler's while.
    ("jit", "off"),
];

/// The server gives up a little before we do, so that its answer says why.
fn session_options(call_deadline: Duration) -> String {
    let earlier = |by: u64| {
        call_deadline
            .saturating_sub(Duration::from_millis(by))
            .max(Duration::from_millis(50))
            .as_millis()
    };
    let mut options = format!(
        "-c statement_timeout={} -c lock_timeout={} -c idle_in_transaction_session_timeout=5000 \
         -c search_path=pg_catalog -c default_transaction_isolation=read\\ committed",
        earlier(100),
        earlier(300),
    );
    for (setting, value) in PLANNING {
        options.extend([" -c ", setting, "=", value]);
    }
    options
}

/// Where to connect, and how.
pub(crate) struct Target {
    pub(crate) postgres: tokio_postgres::Config,
    pub(crate) tls: Option<MakeRustlsConnect>,
}

impl Target {
    /// Reads a URL.
    pub(crate) fn of(url: &str) -> Result<Self, OpenError> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(OpenError::Url("it must start with postgres://".to_owned()));
        }
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let mut wants_tls = None;
        let mut authorities = None;
        let mut rest: Vec<&str> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let Some((name, value)) = form_urlencoded::parse(pair.as_bytes()).next() else {
                continue;
            };
            match (&*name, &*value) {
                ("sslmode", "disable" | "allow" | "prefer") => wants_tls = Some(false),
                ("sslmode", "require" | "verify-ca" | "verify-full") => wants_tls = Some(true),
                ("sslmode", other) => {
                    return Err(OpenError::Url(format!("sslmode={other} is not known")));
                }
                ("sslrootcert", path) => authorities = Some(PathBuf::from(path)),
                _ => rest.push(pair),
            }
        }
        let mut postgres: tokio_postgres::Config = format!("{base}?{}", rest.join("&"))
            .parse()
            .map_err(|error| OpenError::Url(error::with_causes(&error)))?;
        if postgres.get_application_name().is_none() {
            postgres.application_name("authflow");
        }
        if postgres.get_tcp_user_timeout().is_none() {
            postgres.tcp_user_timeout(DEAD_PEER);
        }
        postgres
            .keepalives_idle(DEAD_PEER / 2)
            .keepalives_interval(DEAD_PEER / 5)
            .keepalives_retries(2);
        let tls = if wants_tls == Some(true) {
            postgres.ssl_mode(SslMode::Require);
            Some(make_tls(authorities.as_deref())?)
        } else {
            postgres.ssl_mode(SslMode::Disable);
            if wants_tls.is_none() && !postgres.get_hosts().iter().all(is_here) {
                tracing::warn!(
                    "the connection to PostgreSQL is not encrypted; add sslmode=require to the URL"
                );
            }
            None
        };
        Ok(Self { postgres, tls })
    }
}

/// Whether traffic to this host stays on this machine.
fn is_here(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
        }
        #[cfg(unix)]
        Host::Unix(_) => true,
    }
}

fn make_tls(authorities: Option<&std::path::Path>) -> Result<MakeRustlsConnect, OpenError> {
    let found = match authorities {
        Some(file) => rustls_native_certs::load_certs_from_paths(Some(file), None),
        None => rustls_native_certs::load_native_certs(),
    };
    let mut roots = rustls::RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let why = found
            .errors
            .first()
            .map_or_else(String::new, |error| format!(" ({error})"));
        return Err(OpenError::Tls(format!(
            "no certificate authority to trust{why}; name one with sslrootcert="
        )));
    }
    // Named here, so that it does not matter which provider some other crate brought along.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| OpenError::Tls(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn tls_is_used_when_asked_for_and_then_verified() {
        for (url, wants_tls) in [
            ("postgres://u@127.0.0.1/db", false),
            (
                "postgresql://u@127.0.0.1/db?sslmode=prefer&application_name=x",
                false,
            ),
            ("postgres://u:p%20w@db.example:6432/db?sslmode=require", true),
            (
                "postgres://u@db.example/db?connect_timeout=3&sslmode=verify-full",
                true,
            ),
        ] {
            let target = Target::of(url).unwrap();
            assert_eq!(target.tls.is_some(), wants_tls, "{url}");
            let mode = target.postgres.get_ssl_mode();
            assert_eq!(mode == SslMode::Require, wants_tls, "{url}");
        }
    }

    #[test]
    fn a_url_that_is_not_understood_is_refused_without_being_repeated() {
        for url in [
            "mysql://u:secret@h/db",
            "postgres://u:secret@h/db?sslmode=maybe",
            "postgres://u:secret@h:port/db",
            "host=h password=secret",
        ] {
            let error = Target::of(url).err().unwrap().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
        let missing = Target::of("postgres://h/db?sslmode=require&sslrootcert=/nowhere.pem");
        assert!(matches!(missing, Err(OpenError::Tls(_))));
        let config = PostgresConfig::new("postgres://u:secret@h/db");
        assert!(!format!("{config:?}").contains("secret"));
    }

    /// P3
    #[tokio::test(flavor = "multi_thread")]
    async fn a_session_is_durable_and_bounded_whatever_the_server_defaults_to() {
        use mcp_authflow_testkit::service::postgres::PrivatePostgres;

        let server = PrivatePostgres::shared().unwrap_or_else(|error| panic!("{error:#}"));
        let database = server.fresh_database().unwrap();
        let config = PostgresConfig::new(database.url());
        crate::migrate(&config).await.unwrap();
        let (given, connection) = tokio_postgres::connect(database.url(), NoTls).await.unwrap();
        tokio::spawn(connection);
        given
            .batch_execute(
                "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database()); \
                 EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = serializable', \
                 current_database()); END $$",
            )
            .await
            .unwrap();
        let store = PostgresStore::connect(&config).await.unwrap();
        let client = store.pool().get().await.unwrap();
        for (setting, value) in [
            ("synchronous_commit", "on"),
            ("default_transaction_isolation", "read committed"),
            ("statement_timeout", "1400ms"),
            ("lock_timeout", "1200ms"),
            ("idle_in_transaction_session_timeout", "5s"),
            ("search_path", "pg_catalog"),
            ("plan_cache_mode", "force_generic_plan"),
            ("application_name", "authflow"),
        ] {
            let row = client.query_one(&format!("SHOW {setting}"), &[]).await.unwrap();
            assert_eq!(row.get::<_, &str>(0), value, "{setting}");
        }
    }
}
