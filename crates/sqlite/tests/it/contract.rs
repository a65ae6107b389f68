//! The store contract, on a database file of its own for every law.

use std::ops::Deref;

use mcp_authflow_sqlite::{SqliteOptions, SqliteStore};

/// Dropped in this order: the store, then its folder.
struct OwnDatabase {
    store: SqliteStore,
    _folder: tempfile::TempDir,
}

impl Deref for OwnDatabase {
    type Target = SqliteStore;

    fn deref(&self) -> &SqliteStore {
        &self.store
    }
}

async fn make_store() -> OwnDatabase {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.sqlite");
    // A loaded machine may be slow; a law about races is not about that.
    let mut options = SqliteOptions::default();
    options.deadline = std::time::Duration::from_secs(30);
    OwnDatabase {
        store: SqliteStore::open(&path, options).await.unwrap(),
        _folder: folder,
    }
}

mcp_authflow_testkit::store_contract!(make_store);
