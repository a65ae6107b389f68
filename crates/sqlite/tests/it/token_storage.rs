//! The contract of token storage, on a file of its own for every law; and what is refused as such a file.

use std::{ops::Deref, path::Path, sync::Arc};

use mcp_authflow::port::token_storage::{NewToken, TokenStorage as _, TokenStorageError, UserId, hash_token};
use mcp_authflow_sqlite::{SqliteOptions, SqliteStore, SqliteTokenStorage};
use mcp_authflow_testkit::manual_clock::ManualClock;
use mcp_authflow_types::Timestamp;

/// Dropped in this order: the store, then its folder.
struct OwnFile {
    storage: SqliteTokenStorage,
    _folder: tempfile::TempDir,
}

impl Deref for OwnFile {
    type Target = SqliteTokenStorage;

    fn deref(&self) -> &SqliteTokenStorage {
        &self.storage
    }
}

async fn make_storage(clock: Arc<ManualClock>) -> OwnFile {
    let folder = tempfile::tempdir().unwrap();
    OwnFile {
        storage: SqliteTokenStorage::new(folder.path().join("tokens.sqlite"), clock),
        _folder: folder,
    }
}

mcp_authflow_testkit::token_storage_contract!(make_storage);

fn storage(path: &Path) -> SqliteTokenStorage {
    let clock = ManualClock::at(Timestamp::from_seconds(1_000));
    SqliteTokenStorage::new(path, Arc::new(clock))
}

/// S-189, S-201: what lies in the file is a digest, and blanks in scopes survive.
#[tokio::test]
async fn rows_outlive_the_store_and_hold_no_token() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens.sqlite");
    let first = storage(&path);
    first.initialize().await.unwrap();
    let mut new = NewToken::new("c1", Timestamp::from_seconds(2_000));
    new.scopes = ["a b", "", "c"].map(str::to_owned).to_vec();
    new.user_id = Some(UserId::from("3f0c0a6e-0000-4000-8000-000000000001"));
    first.store_token("a secret token", &new).await.unwrap();
    first.close().await;

    let bytes = std::fs::read(&path).unwrap();
    assert!(!bytes.windows(14).any(|window| window == b"a secret token"));
    assert!(
        !bytes
            .windows(64)
            .any(|window| window == hash_token("a secret token").as_bytes())
    );
    let second = storage(&path);
    second.initialize().await.unwrap();
    let found = second.load_token("a secret token").await.unwrap().unwrap();
    assert_eq!((found.scopes, found.user_id), (new.scopes, new.user_id));
}

/// S-186, S-197
#[tokio::test]
async fn a_file_of_anything_else_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state.sqlite");
    SqliteStore::open(&state, SqliteOptions::default())
        .await
        .unwrap()
        .close()
        .await;
    let text = folder.path().join("notes.txt");
    std::fs::write(
        &text,
        "no database at all, and longer than a header of one hundred bytes would be, ".repeat(4),
    )
    .unwrap();
    let damaged = folder.path().join("damaged.sqlite");
    let one = storage(&damaged);
    one.initialize().await.unwrap();
    one.close().await;
    let connection = rusqlite::Connection::open(&damaged).unwrap();
    connection
        .execute_batch("DROP INDEX refresh_tokens_by_client; ALTER TABLE refresh_tokens DROP COLUMN user_id")
        .unwrap();
    drop(connection);
    for path in [&state, &text, &damaged] {
        let before = std::fs::read(path).unwrap();
        let refused = storage(path);
        let answer = refused.initialize().await;
        assert!(
            matches!(answer, Err(TokenStorageError::SchemaDrift(_))),
            "{answer:?}"
        );
        assert_eq!(
            refused.load_token("t").await,
            Err(TokenStorageError::NotInitialized)
        );
        assert_eq!(std::fs::read(path).unwrap(), before);
    }
    let nowhere = storage(&folder.path().join("no/such/folder/tokens.sqlite"));
    let answer = nowhere.initialize().await;
    assert!(
        matches!(answer, Err(TokenStorageError::Misconfigured(_))),
        "{answer:?}"
    );
}
