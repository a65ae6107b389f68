//! A migrated database of a test's own, cloned from a template that is made once a server.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    ops::Deref,
    sync::OnceLock,
    time::Duration,
};

use mcp_authflow_postgres::{PostgresConfig, PostgresStore, migrate};
use mcp_authflow_testkit::{
    contract::sample,
    service::postgres::{FreshDatabase, PrivatePostgres},
};
use tokio_postgres::{Client, NoTls};

/// A store on a database that nobody else has, and that goes with this value.
pub(crate) struct Fresh {
    pub(crate) store: PostgresStore,
    pub(crate) url: String,
    name: String,
}

impl Deref for Fresh {
    type Target = PostgresStore;

    fn deref(&self) -> &PostgresStore {
        &self.store
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        // On a thread of its own, because a test that is asynchronous already must not block on a second runtime.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async { admin().await.batch_execute(&drop).await.unwrap() });
        });
        let is_dropped = dropped.join().is_ok();
        assert!(
            is_dropped || std::thread::panicking(),
            "cannot drop the database of a test"
        );
    }
}

fn server() -> &'static PrivatePostgres {
    PrivatePostgres::shared().unwrap_or_else(|error| panic!("{error:#}"))
}

/// An empty database on the server that this process uses.
pub(crate) fn empty_database() -> FreshDatabase {
    server()
        .fresh_database()
        .unwrap_or_else(|error| panic!("{error:#}"))
}

/// A store on a freshly migrated database.
pub(crate) async fn fresh_store() -> Fresh {
    fresh_store_with(|_| {}).await
}

/// A store on a freshly migrated database, with a change to how it connects.
pub(crate) async fn fresh_store_with(change: impl FnOnce(&mut PostgresConfig)) -> Fresh {
    let name = format!("authflow_test_{}_{}", std::process::id(), sample::number());
    let create = format!("CREATE DATABASE {name} TEMPLATE {}", template().await);
    patiently(&create).await;
    let url = url_of(&name);
    let mut config = PostgresConfig::new(&url);
    change(&mut config);
    let store = PostgresStore::connect(&config).await.unwrap();
    Fresh { store, url, name }
}

/// A connection beside the store.
pub(crate) async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn admin() -> Client {
    connect(server().url()).await
}

fn url_of(database: &str) -> String {
    let (server, _) = server().url().rsplit_once('/').unwrap();
    format!("{server}/{database}")
}

/// Cloning some hundred partitions takes longer than most tests. Kept are those in which the samples' tokens lie: of the
/// next two hours, and of today and the days around the end of a grant.
const FEWER_PARTITIONS: &str = "
    DO $$ DECLARE one text; BEGIN
        FOR one IN
            SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
            WHERE i.inhparent IN ('authflow.access_tokens'::regclass, 'authflow.refresh_tokens'::regclass)
            AND c.relname ~ '[0-9]$' AND NOT CASE
                WHEN c.relname LIKE 'access%'
                THEN substring(c.relname FROM '[0-9]+$')::bigint <= authflow.clock() / 3600 + 1
                ELSE substring(c.relname FROM '[0-9]+$')::bigint - authflow.clock() / 86400 IN (0, 1, 89, 90, 91)
            END
        LOOP EXECUTE format('DROP TABLE authflow.%I', one); END LOOP;
    END $$";

/// The template of this hour's partitions and this source's schema; another process may have made it.
async fn template() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    if let Some(name) = NAME.get() {
        return name;
    }
    let mut hasher = DefaultHasher::new();
    include_str!("../../migrations/0001_foundation.sql").hash(&mut hasher);
    FEWER_PARTITIONS.hash(&mut hasher);
    let name = format!(
        "authflow_template_{:016x}_{}",
        hasher.finish(),
        sample::now().seconds() / 3_600
    );
    let admin = admin().await;
    // One process makes it; the lock ends with this connection.
    admin.batch_execute("SELECT pg_advisory_lock(7)").await.unwrap();
    let there = format!("SELECT FROM pg_database WHERE datname = '{name}'");
    if admin.query(&there, &[]).await.unwrap().is_empty() {
        let draft = format!("{name}_draft_{}", std::process::id());
        admin
            .batch_execute(&format!("CREATE DATABASE {draft} TEMPLATE template0"))
            .await
            .unwrap();
        migrate(&PostgresConfig::new(url_of(&draft))).await.unwrap();
        connect(&url_of(&draft))
            .await
            .batch_execute(FEWER_PARTITIONS)
            .await
            .unwrap();
        patiently(&format!("ALTER DATABASE {draft} RENAME TO {name}")).await;
    }
    NAME.get_or_init(|| name)
}

/// Runs what PostgreSQL refuses as long as somebody is connected, for a connection ends a moment after its client.
async fn patiently(sql: &str) {
    let admin = admin().await;
    for _ in 0..500 {
        match admin.batch_execute(sql).await {
            Ok(()) => return,
            Err(error) if error.code() == Some(&tokio_postgres::error::SqlState::OBJECT_IN_USE) => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(error) => panic!("`{sql}` failed: {error:?}"),
        }
    }
    panic!("`{sql}` is refused for ever");
}
