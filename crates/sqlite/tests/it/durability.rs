//! What was answered with success stays, whatever becomes of the process.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc};

use mcp_authflow::port::{
    StoreError,
    store::{AddClient, ClientStore as _, TokenStore as _, UpkeepStore as _},
};
use mcp_authflow_sqlite::{SqliteOptions, SqliteStore};
use mcp_authflow_testkit::contract::{
    sample,
    scene::{self, Scene},
};

async fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path, SqliteOptions::default()).await.unwrap()
}

#[tokio::test]
async fn a_store_finds_everything_again_after_it_was_closed_or_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.sqlite");
    let store = open(&path).await;
    let (first, tokens) = Scene::redeemed(&store).await;
    drop(store);
    let store = open(&path).await;
    let (second, others) = Scene::redeemed(&store).await;
    store.close().await;
    assert!(
        !path.with_extension("sqlite-wal").exists(),
        "the log is in the file"
    );
    let store = open(&path).await;
    for (scene, tokens) in [(&first, &tokens), (&second, &others)] {
        assert!(scene::is_live(&store, &tokens.access_token).await);
        assert!(scene::is_unspent(&store, tokens.refresh_token.as_ref().unwrap()).await);
        let client = store.load_client(&scene.client.id).await.unwrap();
        assert_eq!(client.as_deref(), Some(&scene.client));
    }
}

/// What a process leaves that is killed: the files as they are after an answer, without a word of goodbye.
#[tokio::test]
async fn a_log_left_by_a_killed_process_is_taken_up_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.sqlite");
    let store = open(&path).await;
    let (_, tokens) = Scene::redeemed(&store).await;
    let left = folder.path().join("left.sqlite");
    for suffix in ["", "-wal"] {
        let from = format!("{}{suffix}", path.display());
        fs::copy(from, format!("{}{suffix}", left.display())).unwrap();
    }
    let again = open(&left).await;
    assert!(scene::is_live(&again, &tokens.access_token).await);
}

#[tokio::test]
async fn a_closed_store_refuses_and_closes_once_more_without_harm() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("state.sqlite")).await;
    store.close().await;
    store.close().await;
    let write = store.add_client(&sample::client()).await;
    assert!(matches!(write, Err(StoreError::Unavailable(_))), "{write:?}");
    let read = store.probe(sample::now()).await;
    assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");
}

#[tokio::test]
async fn only_its_owner_can_read_a_new_database() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.sqlite");
    let store = open(&path).await;
    let _ = store.add_client(&sample::client()).await.unwrap();
    let mut found = Vec::new();
    for entry in fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.file_name());
        found.push(entry.file_name().into_string().unwrap());
    }
    found.sort();
    assert_eq!(found, ["state.sqlite", "state.sqlite-shm", "state.sqlite-wal"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writes_at_once_share_commits() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(open(&folder.path().join("state.sqlite")).await);
    let scene = Scene::begin(&*store).await;
    let before = store.commits();
    let mut writes = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let (store, token) = (
            store.clone(),
            sample::own_access_token(&scene.client, &scene.resource),
        );
        writes.spawn(async move {
            store
                .issue_access_token(&token, sample::now())
                .await
                .map(|_| token)
        });
    }
    let tokens = writes.join_all().await;
    let commits = store.commits() - before;
    assert!((1..200).contains(&commits), "{commits} commits");
    for token in tokens {
        assert!(scene::is_live(&*store, &token.unwrap()).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_processes_may_create_and_use_a_database_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.sqlite");
    let mut opening = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let path = path.clone();
        opening.spawn(async move { open(&path).await });
    }
    let stores = opening.join_all().await;
    let mut clients = Vec::new();
    for store in &stores {
        let client = sample::client();
        assert_eq!(store.add_client(&client).await.unwrap(), AddClient::Added);
        clients.push(client);
    }
    for store in &stores {
        for client in &clients {
            assert_eq!(
                store.load_client(&client.id).await.unwrap().as_deref(),
                Some(client)
            );
        }
    }
    drop(stores);
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}
