//! Laws about grants and their authorization codes.

use std::time::Duration;

use mcp_authflow::{
    port::store::{NewTokens, RedeemCode, Standing},
    record::{Grant, GrantId},
};

use super::{
    WholeStore,
    race::{RUNNERS, one_won, race},
    sample,
    scene::{Scene, approve, has_code, is_live, is_unspent, peek, redeem},
};

async fn try_to_redeem(store: &dyn WholeStore, grant: &Grant) -> (RedeemCode, NewTokens) {
    let tokens = sample::tokens(grant);
    let answer = store
        .redeem_code(&grant.code.hash, &tokens, sample::now())
        .await
        .unwrap();
    (answer, tokens)
}

async fn is_gone_and_stores_nothing(store: &dyn WholeStore, grant: &Grant) {
    let (answer, tokens) = try_to_redeem(store, grant).await;
    assert_eq!(answer, RedeemCode::Gone);
    assert!(!is_live(store, &tokens.access_token).await);
    assert!(peek(store, &tokens.refresh_token.unwrap()).await.is_none());
}

pub async fn an_unknown_code_has_no_grant_and_is_gone(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    let peek = store
        .peek_code(&scene.grant.code.hash, &scene.client.id, false)
        .await
        .unwrap();
    assert!(peek.grant.is_none());
    assert_eq!(peek.client.as_deref(), Some(&scene.client));
    is_gone_and_stores_nothing(store, &scene.grant).await;
}

pub async fn peeking_at_a_code_changes_nothing(store: &dyn WholeStore) {
    let scene = Scene::approved(store).await;
    for _ in 0..3 {
        let peek = store
            .peek_code(&scene.grant.code.hash, &sample::client_id(), false)
            .await
            .unwrap();
        assert!(peek.client.is_none());
        assert_eq!(peek.grant.unwrap().grant, scene.grant);
    }
    redeem(store, &scene.grant).await;
}

pub async fn redeeming_stores_the_tokens(store: &dyn WholeStore) {
    let (scene, tokens) = Scene::redeemed(store).await;
    assert!(is_live(store, &tokens.access_token).await);
    let refresh = peek(store, tokens.refresh_token.as_ref().unwrap()).await.unwrap();
    assert_eq!(Some(&refresh.token), tokens.refresh_token.as_ref());
    let redeemed = refresh.grant.grant.code.redeemed_at.unwrap();
    assert!(redeemed.since(sample::now()).as_secs() < 120 && sample::now().since(redeemed).as_secs() < 120);

    let online = scene.another_grant();
    approve(store, &scene.client, &online).await;
    let alone = NewTokens {
        refresh_token: None,
        ..sample::tokens(&online)
    };
    assert_eq!(
        store
            .redeem_code(&online.code.hash, &alone, sample::now())
            .await
            .unwrap(),
        RedeemCode::Redeemed
    );
    assert!(is_live(store, &alone.access_token).await);
}

pub async fn a_code_redeemed_twice_is_replayed_and_stores_nothing(store: &dyn WholeStore) {
    let (scene, first) = Scene::redeemed(store).await;
    let (answer, second) = try_to_redeem(store, &scene.grant).await;
    assert_eq!(answer, RedeemCode::Replayed);
    assert!(!is_live(store, &second.access_token).await);
    assert!(peek(store, &second.refresh_token.unwrap()).await.is_none());
    // Whether a replay ends the family is the caller's decision, made by another verb.
    assert!(is_live(store, &first.access_token).await);
}

pub async fn one_of_many_racing_redemptions_wins(store: &dyn WholeStore) {
    let scene = Scene::approved(store).await;
    let answers = race(RUNNERS, async |_| try_to_redeem(store, &scene.grant).await);
    let outcomes: Vec<RedeemCode> = answers.iter().map(|(outcome, _)| *outcome).collect();
    let winner = one_won(&outcomes, &RedeemCode::Redeemed, &RedeemCode::Replayed);
    for (runner, (_, tokens)) in answers.iter().enumerate() {
        assert_eq!(is_live(store, &tokens.access_token).await, runner == winner);
        let refresh = tokens.refresh_token.as_ref().unwrap();
        assert_eq!(is_unspent(store, refresh).await, runner == winner);
    }
}

pub async fn an_expired_code_is_gone(store: &dyn WholeStore) {
    let mut scene = Scene::begin(store).await;
    scene.grant.code.expires_at = sample::in_seconds(-1);
    approve(store, &scene.client, &scene.grant).await;
    is_gone_and_stores_nothing(store, &scene.grant).await;
}

pub async fn a_replay_is_recognised_after_the_code_has_expired(store: &dyn WholeStore) {
    let mut scene = Scene::begin(store).await;
    scene.grant.code.expires_at = sample::in_seconds(3);
    approve(store, &scene.client, &scene.grant).await;
    redeem(store, &scene.grant).await;
    sample::until_passed(scene.grant.code.expires_at).await;
    let (answer, _) = try_to_redeem(store, &scene.grant).await;
    assert_eq!(answer, RedeemCode::Replayed);
}

pub async fn a_code_of_an_ended_grant_is_gone(store: &dyn WholeStore) {
    let mut scene = Scene::begin(store).await;
    scene.grant.expires_at = sample::in_seconds(-1);
    approve(store, &scene.client, &scene.grant).await;
    is_gone_and_stores_nothing(store, &scene.grant).await;
}

pub async fn a_code_of_a_revoked_grant_is_gone(store: &dyn WholeStore) {
    let scene = Scene::approved(store).await;
    assert!(store.revoke_grant(scene.grant.id, sample::now()).await.unwrap());
    is_gone_and_stores_nothing(store, &scene.grant).await;
    let peek = store
        .peek_code(&scene.grant.code.hash, &scene.client.id, false)
        .await
        .unwrap();
    let stored = peek.grant.unwrap();
    assert_eq!(stored.standing, Standing::Ended);
    assert!(stored.grant.revoked_at.is_some());
}

pub async fn one_of_many_racing_revocations_ends_the_grant(store: &dyn WholeStore) {
    let scene = Scene::approved(store).await;
    let answers = race(RUNNERS, async |_| {
        store.revoke_grant(scene.grant.id, sample::now()).await.unwrap()
    });
    one_won(&answers, &true, &false);
    let unknown = GrantId::from_bytes([9; 16]);
    assert!(!store.revoke_grant(unknown, sample::now()).await.unwrap());
}

/// XC-07: the end is that of one of the two orders.
pub async fn nothing_lives_after_a_revocation_that_raced_with_a_redemption(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    for _ in 0..8 {
        let grant = scene.another_grant();
        approve(store, &scene.client, &grant).await;
        let answers = race(4, async |runner| {
            if runner == 0 {
                assert!(store.revoke_grant(grant.id, sample::now()).await.unwrap());
                None
            } else {
                Some(try_to_redeem(store, &grant).await)
            }
        });
        let won = answers
            .iter()
            .flatten()
            .filter(|(outcome, _)| *outcome == RedeemCode::Redeemed);
        assert!(won.count() <= 1);
        for (_, tokens) in answers.iter().flatten() {
            assert!(!is_live(store, &tokens.access_token).await);
            assert!(!is_unspent(store, tokens.refresh_token.as_ref().unwrap()).await);
        }
    }
}

pub async fn grants_are_listed_newest_first(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    let mut grants: Vec<Grant> = Vec::new();
    for age in [300, 100, 200, 400] {
        let mut grant = scene.another_grant();
        grant.created_at = grant.created_at - Duration::from_secs(age);
        approve(store, &scene.client, &grant).await;
        redeem(store, &grant).await;
        grants.push(grant);
    }
    let mut ended = scene.another_grant();
    ended.expires_at = sample::in_seconds(-1);
    approve(store, &scene.client, &ended).await;
    let somebody_else = sample::grant(&scene.client, "somebody else", &scene.resource);
    approve(store, &scene.client, &somebody_else).await;
    assert!(store.revoke_grant(grants[0].id, sample::now()).await.unwrap());
    let listed = store
        .list_grants(scene.user.id.as_str(), 3, sample::now())
        .await
        .unwrap();
    let listed: Vec<_> = listed.iter().map(|one| (one.grant.id, one.standing)).collect();
    let expected = [
        (grants[1].id, Standing::Live),
        (grants[2].id, Standing::Live),
        (grants[0].id, Standing::Ended),
    ];
    assert_eq!(listed, expected);
}

pub async fn hostile_text_survives_in_a_grant(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    for text in sample::hostile_texts() {
        let mut grant = sample::grant(&scene.client, &text, &scene.resource);
        grant.username = Some(text.clone());
        grant.code.redirect_uri = Some(text.clone());
        grant.resources[0].scope = sample::scope("';DROP-- $1 %_ {}");
        approve(store, &scene.client, &grant).await;
        let peek = store
            .peek_code(&grant.code.hash, &grant.client_id, false)
            .await
            .unwrap();
        assert_eq!(peek.grant.unwrap().grant, grant);
        let listed = store.list_grants(&text, 10, sample::now()).await.unwrap();
        assert_eq!(listed[0].grant, grant);
        let tokens = redeem(store, &grant).await;
        let peek = store
            .peek_access_token(
                &tokens.access_token.hash,
                tokens.access_token.bucket,
                &grant.client_id,
                false,
            )
            .await
            .unwrap();
        let live = peek.token.unwrap();
        assert_eq!(live.record, tokens.access_token);
        assert_eq!(live.username, grant.username);
        assert_eq!(store.revoke_subject(&text).await.unwrap(), 1);
        assert!(!is_live(store, &tokens.access_token).await);
        assert!(has_code(store, &grant.code.hash).await);
    }
}
