//! One server a file, any number of commands.

use mcp_authflow::port::store::ClientStore as _;
use mcp_authflow_sqlite::{OpenError, SqliteOptions, SqliteStore, lock_for_serving};
use mcp_authflow_testkit::contract::sample;

#[tokio::test]
async fn a_second_server_is_refused_until_the_first_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.sqlite");
    let lock = lock_for_serving(&path).unwrap();
    let refused = lock_for_serving(&path).expect_err("it is refused");
    let said = refused.to_string();
    assert!(matches!(refused, OpenError::Served { .. }), "{said}");
    assert!(
        said.contains("state.sqlite") && said.contains(&std::process::id().to_string()),
        "{said}"
    );

    // A command opens the database all the same.
    let server = SqliteStore::open(&path, SqliteOptions::default()).await.unwrap();
    let command = SqliteStore::open(&path, SqliteOptions::default()).await.unwrap();
    let client = sample::client();
    let _ = command.add_client(&client).await.unwrap();
    assert!(server.load_client(&client.id).await.unwrap().is_some());
    command.close().await;
    let _ = server.add_client(&sample::client()).await.unwrap();

    drop(lock);
    let _ = lock_for_serving(&path).expect("the first is gone");
}
