//! The partitions of the tokens: made ahead, dropped when passed, and nothing lost in between.

use crate::support::{connect, fresh_store};
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

#[tokio::test(flavor = "multi_thread")]
async fn the_clean_up_makes_what_is_missing_ahead() {
    // The template of the tests has a few partitions only.
    let store = fresh_store().await;
    let client = connect(&store.url).await;
    assert!(partitions_of(&client, "access_tokens").await < 10);
    store.purge_expired(sample::now(), 100).await.unwrap();
    // With the default one; and one more when the hour turned after the template was made.
    let access_tokens = partitions_of(&client, "access_tokens").await;
    assert!((50..=51).contains(&access_tokens), "{access_tokens}");
    let refresh_tokens = partitions_of(&client, "refresh_tokens").await;
    assert!((94..=95).contains(&refresh_tokens), "{refresh_tokens}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_has_passed_is_dropped_with_its_tokens() {
    let store = fresh_store().await;
    let scene = Scene::begin(&*store).await;
    let client = connect(&store.url).await;
    let mut token = sample::own_access_token(&scene.client, &scene.resource);
    token.expires_at = sample::in_seconds(-3 * 3_600);
    token.bucket = AccessToken::bucket_of(token.expires_at);
    let partition = format!("authflow.access_tokens_{}", token.bucket);
    client
        .batch_execute(&format!(
            "CREATE TABLE {partition} PARTITION OF authflow.access_tokens FOR VALUES IN ({})",
            token.bucket
        ))
        .await
        .unwrap();
    let answer = store.issue_access_token(&token, sample::now()).await.unwrap();
    assert_eq!(answer, IssueAccessToken::Issued);
    assert_eq!(
        count(&client, &format!("SELECT count(*) FROM {partition}")).await,
        1
    );

    assert_eq!(store.purge_expired(sample::now(), 100).await.unwrap().tokens, 1);
    let gone = format!("SELECT count(*) FROM pg_class WHERE oid = to_regclass('{partition}')");
    assert_eq!(count(&client, &gone).await, 0);
    assert!(!is_live(&*store, &token).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_without_a_partition_is_good_and_moves_to_its_own() {
    let store = fresh_store().await;
    let scene = Scene::begin(&*store).await;
    let client = connect(&store.url).await;
    let mut token = sample::own_access_token(&scene.client, &scene.resource);
    token.expires_at = sample::in_seconds(20 * 3_600);
    token.bucket = AccessToken::bucket_of(token.expires_at);
    let answer = store.issue_access_token(&token, sample::now()).await.unwrap();
    assert_eq!(answer, IssueAccessToken::Issued);
    let strays = "SELECT count(*) FROM authflow.access_tokens_default";
    assert_eq!(count(&client, strays).await, 1);
    assert!(is_live(&*store, &token).await);

    store.purge_expired(sample::now(), 100).await.unwrap();
    assert_eq!(count(&client, strays).await, 0);
    let own = format!("SELECT count(*) FROM authflow.access_tokens_{}", token.bucket);
    assert_eq!(count(&client, &own).await, 1);
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
    let store = fresh_store().await;
    let mut other = connect(&store.url).await;
    let busy = other.transaction().await.unwrap();
    busy.batch_execute("LOCK TABLE authflow.access_tokens IN SHARE UPDATE EXCLUSIVE MODE")
        .await
        .unwrap();
    let before = connect(&store.url).await;
    let made = partitions_of(&before, "access_tokens").await;
    store.purge_expired(sample::now(), 100).await.unwrap();
    assert_eq!(partitions_of(&before, "access_tokens").await, made);
    busy.rollback().await.unwrap();
    store.purge_expired(sample::now(), 100).await.unwrap();
    assert!(partitions_of(&before, "access_tokens").await > made);
}
