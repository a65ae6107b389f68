//! The partitions of the tokens: made ahead, dropped when passed, and nothing lost in between.

use crate::support::{connect, fresh_store, new_store};
use mcp_authflow::port::store::{IssueAccessToken, TokenStore as _, UpkeepStore as _};
use mcp_authflow_testkit::contract::{
    sample,
    scene::{Scene, is_live},
};
use mcp_authflow_types::AccessToken;
use tokio_postgres::Client;

async fn count(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.unwrap().get(0)
}

async fn partitions_of(client: &Client, table: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM pg_inherits WHERE inhparent = 'authflow.{table}'::regclass");
    count(client, &sql).await
}

/// The partition of a bucket of access tokens.
fn partition_of(bucket: u32) -> String {
    format!("authflow.access_tokens_{}", bucket - bucket % 6)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clean_up_makes_what_is_missing_ahead() {
    let store = new_store().await;
    let client = connect(&store.url).await;
    let last = partition_of(AccessToken::bucket_of(sample::in_seconds(47 * 3_600)));
    client.batch_execute(&format!("DROP TABLE {last}")).await.unwrap();
    let missing = partitions_of(&client, "access_tokens").await;
    store.purge_expired(sample::now(), 100).await.unwrap();
    assert!(partitions_of(&client, "access_tokens").await > missing);
    let there = format!("SELECT count(*) FROM pg_class WHERE oid = to_regclass('{last}')");
    assert_eq!(count(&client, &there).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_has_passed_is_dropped_with_its_tokens() {
    let store = new_store().await;
    let scene = Scene::begin(&*store).await;
    let client = connect(&store.url).await;
    let mut token = sample::own_access_token(&scene.client, &scene.resource);
    token.expires_at = sample::in_seconds(-13 * 3_600);
    token.bucket = AccessToken::bucket_of(token.expires_at);
    let (partition, first) = (partition_of(token.bucket), token.bucket - token.bucket % 6);
    client
        .batch_execute(&format!(
            "CREATE TABLE {partition} PARTITION OF authflow.access_tokens FOR VALUES FROM ({first}) TO ({})",
            first + 6
        ))
        .await
        .unwrap();
    let answer = store.issue_access_token(&token, sample::now()).await.unwrap();
    assert_eq!(answer, IssueAccessToken::Issued);
    let rows = format!("SELECT count(*) FROM {partition}");
    assert_eq!(count(&client, &rows).await, 1);

    assert_eq!(store.purge_expired(sample::now(), 100).await.unwrap().tokens, 1);
    let there = format!("SELECT count(*) FROM pg_class WHERE oid = to_regclass('{partition}')");
    assert_eq!(count(&client, &there).await, 0);
    assert!(!is_live(&*store, &token).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_without_a_partition_is_good_and_moves_to_its_own() {
    let store = new_store().await;
    let scene = Scene::begin(&*store).await;
    let client = connect(&store.url).await;
    let mut token = sample::own_access_token(&scene.client, &scene.resource);
    token.expires_at = sample::in_seconds(20 * 3_600);
    token.bucket = AccessToken::bucket_of(token.expires_at);
    let partition = partition_of(token.bucket);
    client
        .batch_execute(&format!("DROP TABLE {partition}"))
        .await
        .unwrap();
    let answer = store.issue_access_token(&token, sample::now()).await.unwrap();
    assert_eq!(answer, IssueAccessToken::Issued);
    let strays = "SELECT count(*) FROM authflow.access_tokens_default";
    assert_eq!(count(&client, strays).await, 1);
    assert!(is_live(&*store, &token).await);

    store.purge_expired(sample::now(), 100).await.unwrap();
    assert_eq!(count(&client, strays).await, 0);
    assert_eq!(
        count(&client, &format!("SELECT count(*) FROM {partition}")).await,
        1
    );
    assert!(is_live(&*store, &token).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_cleans_up_at_a_time() {
    let store = fresh_store().await;
    let scene = Scene::begin(&*store).await;
    let mut interaction = sample::interaction(&scene.client);
    interaction.expires_at = sample::in_seconds(-60);
    mcp_authflow::port::store::InteractionStore::begin_interaction(&*store, &interaction)
        .await
        .unwrap();
    let other = connect(&store.url).await;
    let lock = 0x6175_7468_666c_6f77_i64 + 2;
    other
        .batch_execute(&format!("SELECT pg_advisory_lock({lock})"))
        .await
        .unwrap();
    let purged = store.purge_expired(sample::now(), 100).await.unwrap();
    assert_eq!(purged.interactions, 0);
    other
        .batch_execute(&format!("SELECT pg_advisory_unlock({lock})"))
        .await
        .unwrap();
    let purged = store.purge_expired(sample::now(), 100).await.unwrap();
    assert_eq!(purged.interactions, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_table_leaves_its_partitions_for_the_next_clean_up() {
    let store = new_store().await;
    let watcher = connect(&store.url).await;
    let last = partition_of(AccessToken::bucket_of(sample::in_seconds(47 * 3_600)));
    watcher
        .batch_execute(&format!("DROP TABLE {last}"))
        .await
        .unwrap();
    let made = partitions_of(&watcher, "access_tokens").await;
    let mut other = connect(&store.url).await;
    let busy = other.transaction().await.unwrap();
    busy.batch_execute("LOCK TABLE authflow.access_tokens IN SHARE UPDATE EXCLUSIVE MODE")
        .await
        .unwrap();
    store.purge_expired(sample::now(), 100).await.unwrap();
    assert_eq!(partitions_of(&watcher, "access_tokens").await, made);
    busy.rollback().await.unwrap();
    // Once may not be enough: the server's own housekeeping makes the table busy, too.
    for _ in 0..20 {
        store.purge_expired(sample::now(), 100).await.unwrap();
        if partitions_of(&watcher, "access_tokens").await > made {
            return;
        }
    }
    panic!("the partition is never made");
}
