//! Files that are not what they should be are refused, with the file and the remedy, and left as they are.

use std::{
    fs,
    path::{Path, PathBuf},
};

use mcp_authflow::port::store::ClientStore as _;
use mcp_authflow_sqlite::{OpenError, SqliteOptions, SqliteStore};
use mcp_authflow_testkit::contract::scene::{self, Scene};

struct Database {
    _folder: tempfile::TempDir,
    path: PathBuf,
    scene: Scene,
    access_token: mcp_authflow::record::AccessTokenRecord,
}

impl Database {
    /// A database with something in it, closed.
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.sqlite");
        let store = open(&path).await.unwrap();
        let (scene, tokens) = Scene::redeemed(&store).await;
        for _ in 0..50 {
            Scene::redeemed(&store).await;
        }
        store.close().await;
        Self {
            _folder: folder,
            path,
            scene,
            access_token: tokens.access_token,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(&self.path).unwrap()
    }

    /// Puts other bytes in its place, without a log.
    fn replace(&self, bytes: &[u8]) {
        for suffix in ["-wal", "-shm"] {
            let _ = fs::remove_file(format!("{}{suffix}", self.path.display()));
        }
        fs::write(&self.path, bytes).unwrap();
    }

    async fn is_refused(&self) -> OpenError {
        let before = self.bytes();
        let refused = open(&self.path).await.expect_err("it is refused");
        assert!(self.bytes() == before, "the file is left as it was: {refused}");
        let said = refused.to_string();
        assert!(said.contains(&self.path.display().to_string()), "{said}");
        assert!(said.contains("; ") && said.len() > 60, "no remedy in: {said}");
        refused
    }
}

async fn open(path: &Path) -> Result<SqliteStore, OpenError> {
    SqliteStore::open(path, SqliteOptions::default()).await
}

fn sql(path: &Path, sql: &str) {
    rusqlite::Connection::open(path)
        .unwrap()
        .execute_batch(sql)
        .unwrap();
}

#[tokio::test]
async fn an_empty_file_is_refused() {
    let database = Database::new().await;
    database.replace(b"");
    assert!(matches!(database.is_refused().await, OpenError::Empty { .. }));
}

#[tokio::test]
async fn garbage_and_text_are_refused() {
    let database = Database::new().await;
    let garbage: Vec<u8> = (0..20_000_u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    for bytes in [&garbage[..], b"issuer = \"https://as.example\"\n", &[0; 8_192]] {
        database.replace(bytes);
        assert!(matches!(database.is_refused().await, OpenError::NotOurs { .. }));
    }
}

#[tokio::test]
async fn a_truncated_file_is_refused() {
    let database = Database::new().await;
    let whole = database.bytes();
    for tenths in 1..10 {
        for off in [0, 1, 2_048] {
            let length = whole.len() / 4_096 * tenths / 10 * 4_096 + off;
            database.replace(&whole[..length]);
            let refused = database.is_refused().await;
            let is_noticed = matches!(refused, OpenError::Damaged { .. } | OpenError::NotOurs { .. });
            assert!(is_noticed, "{length} of {}: {refused:?}", whole.len());
        }
    }
}

#[tokio::test]
async fn a_page_of_zeros_is_refused() {
    let database = Database::new().await;
    let whole = database.bytes();
    for page in (0..whole.len() / 4_096).step_by(3) {
        let mut bytes = whole.clone();
        bytes[page * 4_096..][..4_096].fill(0);
        database.replace(&bytes);
        database.is_refused().await;
    }
}

/// A flipped bit of the header is noticed, or it changes nothing: never is another content served.
#[tokio::test]
async fn a_flipped_bit_in_the_header_is_refused_or_harmless() {
    let database = Database::new().await;
    let whole = database.bytes();
    let mut refused = 0;
    for byte in 0..100 {
        let mut bytes = whole.clone();
        bytes[byte] ^= 1 << (byte % 8);
        database.replace(&bytes);
        match open(&database.path).await {
            Err(said) => {
                refused += 1;
                assert!(said.to_string().contains("state.sqlite"), "{said}");
            }
            Ok(store) => {
                let client = store.load_client(&database.scene.client.id).await.unwrap();
                assert_eq!(client.as_deref(), Some(&database.scene.client), "byte {byte}");
                assert!(
                    scene::is_live(&store, &database.access_token).await,
                    "byte {byte}"
                );
            }
        }
    }
    assert!(refused > 20, "{refused}");
}

#[tokio::test]
async fn a_database_of_another_application_is_refused() {
    let database = Database::new().await;
    fs::remove_file(&database.path).unwrap();
    sql(
        &database.path,
        "CREATE TABLE bookmarks (url TEXT); PRAGMA user_version = 1",
    );
    assert!(matches!(database.is_refused().await, OpenError::NotOurs { .. }));
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let database = Database::new().await;
    sql(&database.path, "PRAGMA user_version = 1000");
    let refused = database.is_refused().await;
    let is_noticed = matches!(
        refused,
        OpenError::Newer {
            found: 1_000,
            known: 1..1_000,
            ..
        }
    );
    assert!(is_noticed, "{refused:?}");
}

#[tokio::test]
async fn a_schema_changed_by_hand_is_refused() {
    for damage in [
        "ALTER TABLE grants DROP COLUMN username",
        "ALTER TABLE grants RENAME COLUMN username TO user_name",
        "DROP INDEX grants_by_purge",
        "DROP TABLE refresh_tokens",
        "UPDATE migrations SET checksum = x'00'",
    ] {
        let database = Database::new().await;
        sql(&database.path, damage);
        let refused = database.is_refused().await;
        let is_noticed = matches!(refused, OpenError::Schema { .. } | OpenError::Refused { .. });
        assert!(is_noticed, "{damage}: {refused:?}");
    }
}

#[tokio::test]
async fn a_missing_file_is_not_replaced_when_its_log_is_there() {
    let database = Database::new().await;
    fs::rename(&database.path, database.path.with_extension("elsewhere")).unwrap();
    fs::write(format!("{}-wal", database.path.display()), b"a log").unwrap();
    let refused = open(&database.path).await.expect_err("it is refused");
    assert!(
        matches!(refused, OpenError::LogWithoutDatabase { .. }),
        "{refused}"
    );
    assert!(!database.path.exists());
}

#[tokio::test]
async fn a_missing_file_is_created_only_when_it_may_be() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.sqlite");
    let mut options = SqliteOptions::default();
    options.create = false;
    let refused = SqliteStore::open(&path, options)
        .await
        .expect_err("it is refused");
    assert!(matches!(refused, OpenError::Missing { .. }), "{refused}");
    assert!(!path.exists());
    let refused = open(&folder.path().join("nowhere/state.sqlite")).await;
    assert!(matches!(refused, Err(OpenError::Io { .. })), "{refused:?}");
}
