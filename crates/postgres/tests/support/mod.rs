//! A migrated database of a test's own.

#![allow(dead_code, reason = "every test file uses its part")]

use std::ops::Deref;

use mcp_authflow_postgres::{PostgresConfig, PostgresStore, migrate};
use mcp_authflow_testkit::service::postgres::{FreshDatabase, PrivatePostgres};

/// A store on a database that nobody else has, and that goes with this value.
pub struct Fresh {
    pub store: PostgresStore,
    pub database: FreshDatabase,
}

impl Deref for Fresh {
    type Target = PostgresStore;

    fn deref(&self) -> &PostgresStore {
        &self.store
    }
}

/// An empty database on the server that this process uses.
pub fn empty_database() -> FreshDatabase {
    let server = PrivatePostgres::shared().unwrap_or_else(|error| panic!("{error:#}"));
    server
        .fresh_database()
        .unwrap_or_else(|error| panic!("{error:#}"))
}

/// A store on a freshly migrated database.
pub async fn fresh_store() -> Fresh {
    let database = empty_database();
    let config = PostgresConfig::new(database.url());
    migrate(&config).await.unwrap();
    let store = PostgresStore::connect(&config).await.unwrap();
    Fresh { store, database }
}
