//! Races whose order is forced by a lock, and races between nodes.

use std::time::Duration;

use crate::support::{connect, fresh_store};
use mcp_authflow::port::{
    OneTimeUse, RecordOnce, Replay as _, ReplayKind,
    store::{
        AddUser, GrantStore as _, RedeemCode, RotateRefreshToken, TokenStore as _, UpkeepStore as _,
        UserStore as _,
    },
};
use mcp_authflow::record::User;
use mcp_authflow_postgres::{PostgresConfig, PostgresStore};
use mcp_authflow_testkit::contract::{
    sample,
    scene::{Scene, is_live, is_unspent},
};
use tokio_postgres::Client;

/// Waits until as many sessions of this database wait for a lock.
async fn until_waiting(sessions: i64, client: &Client) {
    let waiting = "SELECT count(*) FROM pg_stat_activity \
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    for _ in 0..200 {
        let count: i64 = client.query_one(waiting, &[]).await.unwrap().get(0);
        if count >= sessions {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("fewer than {sessions} wait for a lock");
}

/// P2
#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_waits_for_a_revocation_rotates_nothing() {
    let store = fresh_store().await;
    let (scene, tokens) = Scene::redeemed(&*store).await;
    let refresh = tokens.refresh_token.unwrap();
    let mut other = connect(&store.url).await;
    let watcher = connect(&store.url).await;
    let revocation = other.transaction().await.unwrap();
    let id: &[u8] = scene.grant.id.as_bytes();
    revocation
        .execute("UPDATE authflow.grants SET revoked_at = 1 WHERE id = $1", &[&id])
        .await
        .unwrap();
    let rotation = sample::rotation(&scene.grant, &refresh);
    let rotating = tokio::spawn({
        let (store, rotation) = (store.store.clone(), rotation.clone());
        async move { store.rotate_refresh_token(&rotation, sample::now()).await }
    });
    until_waiting(1, &watcher).await;
    revocation.commit().await.unwrap();
    assert_eq!(rotating.await.unwrap().unwrap(), RotateRefreshToken::Gone);
    assert!(!is_live(&*store, &rotation.access_token).await);
    assert!(!is_unspent(&*store, &refresh).await);
}

/// P2
#[tokio::test(flavor = "multi_thread")]
async fn a_redemption_that_waits_for_a_revocation_redeems_nothing() {
    let store = fresh_store().await;
    let scene = Scene::approved(&*store).await;
    let mut other = connect(&store.url).await;
    let watcher = connect(&store.url).await;
    let revocation = other.transaction().await.unwrap();
    let id: &[u8] = scene.grant.id.as_bytes();
    revocation
        .execute("UPDATE authflow.grants SET revoked_at = 1 WHERE id = $1", &[&id])
        .await
        .unwrap();
    let tokens = sample::tokens(&scene.grant);
    let redeeming = tokio::spawn({
        let (store, tokens, code) = (store.store.clone(), tokens.clone(), scene.grant.code.hash);
        async move { store.redeem_code(&code, &tokens, sample::now()).await }
    });
    until_waiting(1, &watcher).await;
    revocation.commit().await.unwrap();
    assert_eq!(redeeming.await.unwrap().unwrap(), RedeemCode::Gone);
    assert!(!is_live(&*store, &tokens.access_token).await);
}

/// P2: the rotation comes first, so the revocation waits for it and ends what it made.
#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_waits_for_a_rotation_and_ends_what_it_made() {
    let store = fresh_store().await;
    let (scene, tokens) = Scene::redeemed(&*store).await;
    let refresh = tokens.refresh_token.unwrap();
    let mut other = connect(&store.url).await;
    let watcher = connect(&store.url).await;
    // Somebody holds the presented token, so the rotation stops between its lock on the grant and its end.
    let holder = other.transaction().await.unwrap();
    let hash: &[u8] = refresh.hash.as_bytes();
    holder
        .execute(
            "SELECT 1 FROM authflow.refresh_tokens WHERE hash = $1 FOR UPDATE",
            &[&hash],
        )
        .await
        .unwrap();
    let rotation = sample::rotation(&scene.grant, &refresh);
    let rotating = tokio::spawn({
        let (store, rotation) = (store.store.clone(), rotation.clone());
        async move { store.rotate_refresh_token(&rotation, sample::now()).await }
    });
    until_waiting(1, &watcher).await;
    let revoking = tokio::spawn({
        let (store, grant) = (store.store.clone(), scene.grant.id);
        async move { store.revoke_grant(grant, sample::now()).await }
    });
    until_waiting(2, &watcher).await;
    holder.rollback().await.unwrap();
    assert_eq!(rotating.await.unwrap().unwrap(), RotateRefreshToken::Rotated);
    assert!(revoking.await.unwrap().unwrap());
    assert!(!is_live(&*store, &rotation.access_token).await);
    assert!(!is_unspent(&*store, &rotation.successor).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_nodes_one_makes_the_first_account() {
    let one = fresh_store().await;
    let two = PostgresStore::connect(&PostgresConfig::new(&one.url))
        .await
        .unwrap();
    let running: Vec<_> = (0..12)
        .map(|runner| {
            let node = if runner % 2 == 0 {
                one.store.clone()
            } else {
                two.clone()
            };
            tokio::spawn(async move { node.add_user(&sample::user(), true).await.unwrap() })
        })
        .collect();
    let mut added = 0;
    for answer in running {
        added += usize::from(answer.await.unwrap() == AddUser::Added);
    }
    assert_eq!(added, 1);
    assert_eq!(one.list_users(None, 10).await.unwrap().len(), 1);
    drop(two);
}

/// Otherwise somebody sees an account that is alone, and after it comes a "first" one.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_account_waits_for_a_first_account_that_is_being_made() {
    let store = fresh_store().await;
    let (first, plain) = (sample::user(), sample::user());
    let mut other = connect(&store.url).await;
    let watcher = connect(&store.url).await;
    // Somebody holds the name, so the first account stops between its look at the others and its end.
    let holder = other.transaction().await.unwrap();
    holder
        .execute(
            "INSERT INTO authflow.users (user_id, username, password_hash, is_admin, created_at) \
             VALUES ('u_holder', $1, 'x', false, 0)",
            &[&first.username],
        )
        .await
        .unwrap();
    let adding = |user: &User, only_as_first| {
        let (store, user) = (store.store.clone(), user.clone());
        tokio::spawn(async move { store.add_user(&user, only_as_first).await })
    };
    let adding_first = adding(&first, true);
    until_waiting(1, &watcher).await;
    let adding_plain = adding(&plain, false);
    until_waiting(2, &watcher).await;
    assert!(!store.has_users().await.unwrap());
    holder.rollback().await.unwrap();
    assert_eq!(adding_first.await.unwrap().unwrap(), AddUser::Added);
    assert_eq!(adding_plain.await.unwrap().unwrap(), AddUser::Added);
}

/// G1, P1: 2,000 identifiers, each raced by 32 callers at three nodes while the clean-up runs: one is the first.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn at_three_nodes_one_of_many_racing_callers_uses_an_identifier() {
    let one = fresh_store().await;
    let config = PostgresConfig::new(&one.url);
    let mut nodes = vec![one.store.clone()];
    for _ in 0..2 {
        nodes.push(PostgresStore::connect(&config).await.unwrap());
    }
    let cleaning = async {
        loop {
            one.purge_expired(sample::now(), 100).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let racing = async {
        for id in 0..2_000 {
            let (kind, expires_at) = (ReplayKind::ClientAssertion, sample::in_seconds(360));
            let used = OneTimeUse::new(kind, "client", &id.to_string(), sample::now(), expires_at);
            let running: Vec<_> = (0..32)
                .map(|runner| {
                    let node = nodes[runner % nodes.len()].clone();
                    tokio::spawn(async move { node.record_once(&used, sample::now()).await.unwrap() })
                })
                .collect();
            let mut first = 0;
            for answer in running {
                match answer.await.unwrap() {
                    RecordOnce::FirstUse => first += 1,
                    RecordOnce::Replay => {}
                    other => panic!("{id}: {other:?}"),
                }
            }
            assert_eq!(first, 1, "{id}");
        }
    };
    tokio::select! {
        () = racing => {}
        () = cleaning => unreachable!("it goes on for ever"),
    }
}
