//! A migrated database of a test's own.
//!
//! Making one takes longer than most tests do, so most of them borrow one that was there before and empty it first. A
//! lock on the server says which are lent, so that this works between processes, too. A test that changes more than rows
//! gets a new one.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    ops::Deref,
};

use mcp_authflow_postgres::{PostgresConfig, PostgresStore, migrate};
use mcp_authflow_testkit::service::postgres::{FreshDatabase, PrivatePostgres};
use tokio_postgres::{Client, NoTls};

/// A store on a database that nobody else uses meanwhile.
pub(crate) struct Fresh {
    // Dropped in this order: the store lets go of the database before somebody else may have it.
    pub(crate) store: PostgresStore,
    pub(crate) url: String,
    _held: Held,
}

/// What ends with the test.
enum Held {
    /// The connection with the lock.
    Borrowed(#[expect(dead_code, reason = "it is held for its lock")] Client),
    /// The database itself.
    New(#[expect(dead_code, reason = "it is dropped at the end")] FreshDatabase),
}

impl Deref for Fresh {
    type Target = PostgresStore;

    fn deref(&self) -> &PostgresStore {
        &self.store
    }
}

fn server() -> &'static PrivatePostgres {
    PrivatePostgres::shared().unwrap_or_else(|error| panic!("{error:#}"))
}

/// An empty database.
pub(crate) fn empty_database() -> FreshDatabase {
    server()
        .fresh_database()
        .unwrap_or_else(|error| panic!("{error:#}"))
}

/// A store on a migrated database without rows. The test may change rows, and nothing else.
pub(crate) async fn fresh_store() -> Fresh {
    fresh_store_with(|_| {}).await
}

/// A store on a migrated database without rows, with a change to how it connects.
pub(crate) async fn fresh_store_with(change: impl FnOnce(&mut PostgresConfig)) -> Fresh {
    let (url, lock) = borrow_database().await;
    let mut config = PostgresConfig::new(&url);
    // Also makes the partitions of today, when the database is from yesterday.
    migrate(&config).await.unwrap();
    connect(&url).await.batch_execute(EMPTY).await.unwrap();
    change(&mut config);
    Fresh {
        store: PostgresStore::connect(&config).await.unwrap(),
        url,
        _held: Held::Borrowed(lock),
    }
}

/// A store on a new database, for a test that changes the schema or a setting.
pub(crate) async fn new_store() -> Fresh {
    let database = empty_database();
    let config = PostgresConfig::new(database.url());
    migrate(&config).await.unwrap();
    Fresh {
        store: PostgresStore::connect(&config).await.unwrap(),
        url: database.url().to_owned(),
        _held: Held::New(database),
    }
}

/// A connection beside the store.
pub(crate) async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Deletes every row but the history of migrations.
const EMPTY: &str = "
    DO $$ DECLARE one regclass; BEGIN
        FOR one IN
            SELECT oid FROM pg_class WHERE relnamespace = 'authflow'::regnamespace AND relkind IN ('r', 'p')
            AND NOT relispartition AND relname <> 'migrations'
        LOOP EXECUTE format('DELETE FROM %s', one); END LOOP;
    END $$";

/// A database of this source's schema that nobody has now, made if there is none; and the connection that says so.
async fn borrow_database() -> (String, Client) {
    let mut hasher = DefaultHasher::new();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
    let files = std::fs::read_dir(folder).unwrap();
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.sort_unstable();
    for path in paths {
        std::fs::read(path).unwrap().hash(&mut hasher);
    }
    // Four bytes of the hash: what an advisory lock has room for.
    let schema = i32::from_be_bytes(hasher.finish().to_be_bytes()[..4].try_into().unwrap());
    // A server of this process names a database of its own in its URL; its neighbours are ours, too.
    let (address, _) = server().url().rsplit_once('/').unwrap();
    let admin = connect(&format!("{address}/postgres")).await;
    for number in 0..100_i32 {
        let row = admin
            .query_one("SELECT pg_try_advisory_lock($1, $2)", &[&schema, &number])
            .await
            .unwrap();
        if !row.get::<_, bool>(0) {
            continue;
        }
        let name = format!("authflow_lent_{schema:08x}_{number}");
        let there = admin
            .query("SELECT FROM pg_database WHERE datname = $1", &[&name])
            .await
            .unwrap();
        if there.is_empty() {
            admin
                .batch_execute(&format!("CREATE DATABASE {name} TEMPLATE template0"))
                .await
                .unwrap();
        }
        return (format!("{address}/{name}"), admin);
    }
    panic!("all databases are lent");
}
