//! Laws about access tokens.

use mcp_authflow::port::store::{IssueAccessToken, LiveAccessToken};
use mcp_authflow::record::AccessTokenRecord;
use mcp_authflow_types::{AccessToken, Resource};

use super::{
    WholeStore,
    race::race,
    sample,
    scene::{Scene, add_client, is_live},
};

async fn issue(store: &dyn WholeStore, token: &AccessTokenRecord) -> IssueAccessToken {
    store.issue_access_token(token, sample::now()).await.unwrap()
}

async fn peek(store: &dyn WholeStore, token: &AccessTokenRecord) -> Option<LiveAccessToken> {
    let peek = store
        .peek_access_token(&token.hash, token.bucket, &token.client_id, false)
        .await
        .unwrap();
    peek.token
}

pub async fn a_token_without_a_grant_is_read_back_as_it_was_issued(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    let token = sample::own_access_token(&scene.client, &scene.resource);
    assert_eq!(issue(store, &token).await, IssueAccessToken::Issued);
    let peek = store
        .peek_access_token(&token.hash, token.bucket, &scene.client.id, false)
        .await
        .unwrap();
    assert_eq!(peek.client.as_deref(), Some(&scene.client));
    let live = peek.token.unwrap();
    assert_eq!(live.record, token);
    assert_eq!(live.record.resource.as_str(), token.resource.as_str());
    assert_eq!(live.username, None);
    // An unknown client beside it takes nothing away, and an unknown token leaves the client.
    assert!(is_live(store, &token).await);
    let peek = store
        .peek_access_token(&sample::hash(), token.bucket, &scene.client.id, true)
        .await
        .unwrap();
    assert_eq!(peek.client.as_deref(), Some(&scene.client));
    assert!(peek.token.is_none());
}

pub async fn a_token_of_a_grant_brings_the_persons_name(store: &dyn WholeStore) {
    let (scene, tokens) = Scene::redeemed(store).await;
    let live = peek(store, &tokens.access_token).await.unwrap();
    assert_eq!(live.record, tokens.access_token);
    assert_eq!(live.username, scene.grant.username);
}

pub async fn a_token_is_found_in_its_own_bucket_only(store: &dyn WholeStore) {
    let (_, tokens) = Scene::redeemed(store).await;
    for bucket in [tokens.access_token.bucket + 1, tokens.access_token.bucket - 1, 0] {
        let elsewhere = AccessTokenRecord {
            bucket,
            ..tokens.access_token.clone()
        };
        assert!(!is_live(store, &elsewhere).await);
        let forgotten = store.revoke_access_token(&elsewhere.hash, bucket).await.unwrap();
        assert!(!forgotten);
    }
    assert!(is_live(store, &tokens.access_token).await);
}

pub async fn an_expired_token_is_still_read(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    let mut token = sample::own_access_token(&scene.client, &scene.resource);
    token.expires_at = sample::in_seconds(-1);
    token.bucket = AccessToken::bucket_of(token.expires_at);
    assert_eq!(issue(store, &token).await, IssueAccessToken::Issued);
    assert_eq!(peek(store, &token).await.map(|live| live.record), Some(token));
}

pub async fn a_client_that_is_not_what_it_was_gets_no_token(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    let (removed, revoked) = (sample::client(), sample::client());
    let mut expired = sample::registered_client();
    expired.expires_at = Some(sample::in_seconds(-1));
    for client in [&removed, &revoked, &expired] {
        add_client(store, client).await;
    }
    assert!(store.remove_client(&removed.id, sample::now()).await.unwrap());
    assert!(store.revoke_client(&revoked.id).await.unwrap().is_some());
    for client in [&removed, &revoked, &expired, &sample::client()] {
        let token = sample::own_access_token(client, &scene.resource);
        assert_eq!(issue(store, &token).await, IssueAccessToken::Gone);
        assert!(!is_live(store, &token).await);
    }
    let current = store.load_client(&revoked.id).await.unwrap().unwrap();
    let token = sample::own_access_token(&current, &scene.resource);
    assert_eq!(issue(store, &token).await, IssueAccessToken::Issued);
    assert!(is_live(store, &token).await);
}

pub async fn a_forgotten_token_is_gone_and_its_siblings_stay(store: &dyn WholeStore) {
    let (scene, tokens) = Scene::redeemed(store).await;
    let own = sample::own_access_token(&scene.client, &scene.resource);
    assert_eq!(issue(store, &own).await, IssueAccessToken::Issued);
    let forget = async |token: &AccessTokenRecord| {
        store
            .revoke_access_token(&token.hash, token.bucket)
            .await
            .unwrap()
    };
    assert!(forget(&tokens.access_token).await);
    assert!(!forget(&tokens.access_token).await);
    assert!(!is_live(store, &tokens.access_token).await);
    assert!(is_live(store, &own).await);
    let refresh = tokens.refresh_token.unwrap();
    assert!(super::scene::is_unspent(store, &refresh).await);
}

pub async fn a_token_survives_another_spelling_of_its_resource(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    let mut token = sample::own_access_token(&scene.client, &scene.resource);
    let spelling = token.resource.as_str().replacen("https://rs", "HTTPS://RS", 1);
    token.resource = Resource::parse(&spelling).unwrap();
    assert_eq!(issue(store, &token).await, IssueAccessToken::Issued);
    let live = peek(store, &token).await.unwrap();
    assert_eq!(live.record.resource.as_str(), spelling);
}

pub async fn nothing_lives_after_a_removal_that_raced_with_an_issue(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    for round in 0..8 {
        let client = sample::client();
        add_client(store, &client).await;
        let tokens = [(); 4].map(|()| sample::own_access_token(&client, &scene.resource));
        race(4, async |runner| {
            if runner > 0 {
                let _ = issue(store, &tokens[runner]).await;
            } else if round % 2 == 0 {
                assert!(store.remove_client(&client.id, sample::now()).await.unwrap());
            } else {
                assert_eq!(store.revoke_client(&client.id).await.unwrap(), Some(1));
            }
        });
        for token in &tokens {
            assert!(!is_live(store, token).await);
        }
    }
}
