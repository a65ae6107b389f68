//! Laws about what is tied to the registration of a resource: it ends with it, and does not revive with another one.

use std::time::Duration;

use mcp_authflow::{
    port::store::{RedeemCode, RotateRefreshToken, Standing},
    record::{AccessTokenRecord, Grant, RefreshTokenRecord, ResourceRecord},
};
use mcp_authflow_types::Resource;

use super::{
    WholeStore,
    race::race,
    sample,
    scene::{Scene, add_resource, approve, is_live, is_unspent, redeem},
};

async fn remove(store: &dyn WholeStore, resource: &ResourceRecord) {
    assert!(store.remove_resource(&resource.resource).await.unwrap());
}

async fn issue(store: &dyn WholeStore, token: &AccessTokenRecord) {
    let _ = store.issue_access_token(token, sample::now()).await.unwrap();
}

async fn is_live_waived(store: &dyn WholeStore, token: &AccessTokenRecord) -> bool {
    let peek = store
        .peek_access_token(&token.hash, token.bucket, &sample::client_id(), true)
        .await
        .unwrap();
    peek.token.is_some_and(|live| live.record == *token)
}

/// What of a grant is gone, told by its code and, where there is one, by its refresh token as well.
async fn gone(
    store: &dyn WholeStore,
    grant: &Grant,
    refresh: Option<&RefreshTokenRecord>,
    resource_may_be_unregistered: bool,
) -> Vec<Resource> {
    let nobody = sample::client_id();
    let by_code = store
        .peek_code(&grant.code.hash, &nobody, resource_may_be_unregistered)
        .await
        .unwrap();
    let by_code = by_code.grant.unwrap();
    assert_eq!(by_code.standing, Standing::Live, "the grant itself stands");
    assert_eq!(by_code.grant.resources, grant.resources);
    if let Some(refresh) = refresh {
        let peek = store
            .peek_refresh_token(
                &refresh.hash,
                refresh.bucket,
                &nobody,
                resource_may_be_unregistered,
            )
            .await
            .unwrap();
        let by_token = peek.token.unwrap().grant;
        assert_eq!(by_token.standing, Standing::Live, "the grant itself stands");
        assert_eq!(by_token.gone, by_code.gone);
    }
    by_code.gone
}

async fn is_covered(store: &dyn WholeStore, grant: &Grant) -> bool {
    store
        .is_covered(
            &grant.subject,
            &grant.client_id,
            &grant.resources,
            true,
            sample::in_seconds(-3_600),
            sample::now(),
        )
        .await
        .unwrap()
}

/// A redemption for the first resource of a grant is gone, stores nothing, and leaves the code unspent.
async fn redeems_nothing(store: &dyn WholeStore, grant: &Grant) {
    let tokens = sample::tokens(grant);
    let answer = store
        .redeem_code(&grant.code.hash, &tokens, sample::now())
        .await
        .unwrap();
    assert_eq!(answer, RedeemCode::Gone);
    assert!(!is_live_waived(store, &tokens.access_token).await);
    let peek = store
        .peek_code(&grant.code.hash, &grant.client_id, true)
        .await
        .unwrap();
    assert_eq!(peek.grant.unwrap().grant.code.redeemed_at, None);
}

/// An exchange for the first resource of a grant is gone, stores nothing, and leaves the token unspent.
async fn rotates_nothing(store: &dyn WholeStore, grant: &Grant, presented: &RefreshTokenRecord) {
    let rotation = sample::rotation(grant, presented);
    let answer = store
        .rotate_refresh_token(&rotation, sample::now())
        .await
        .unwrap();
    assert_eq!(answer, RotateRefreshToken::Gone);
    assert!(!is_live_waived(store, &rotation.access_token).await);
    assert!(is_unspent(store, presented).await);
    assert!(!is_unspent(store, &rotation.successor).await);
}

/// A scene whose grant is for two resources, the second one as given.
async fn with_two_resources(store: &dyn WholeStore, second: &ResourceRecord) -> Scene {
    let mut scene = Scene::begin(store).await;
    let pair = sample::grant(&scene.client, "u_alice", second).resources;
    scene.grant.resources.extend(pair);
    scene
}

pub async fn a_token_lives_with_the_registration_of_its_resource(store: &dyn WholeStore) {
    let (scene, tokens) = Scene::redeemed(store).await;
    let own = sample::own_access_token(&scene.client, &scene.resource);
    let never_registered = sample::own_access_token(&scene.client, &sample::resource());
    issue(store, &own).await;
    issue(store, &never_registered).await;
    assert!(is_live(store, &tokens.access_token).await && is_live(store, &own).await);
    remove(store, &scene.resource).await;
    for token in [&tokens.access_token, &own, &never_registered] {
        assert!(!is_live(store, token).await);
        assert!(!is_live_waived(store, token).await, "it is not on loopback");
    }
}

pub async fn an_unregistered_resource_on_loopback_is_good_where_that_is_enough(store: &dyn WholeStore) {
    let mut scene = Scene::begin(store).await;
    let (loopback, elsewhere) = (sample::loopback_resource(), sample::resource());
    scene.grant.resources = sample::grant(&scene.client, "u_alice", &loopback).resources;
    let elsewhere_too = sample::grant(&scene.client, "u_alice", &elsewhere).resources;
    scene.grant.resources.extend(elsewhere_too);
    approve(store, &scene.client, &scene.grant).await;
    let tokens = redeem(store, &scene.grant).await;
    let refresh = tokens.refresh_token.unwrap();
    let rotation = sample::rotation(&scene.grant, &refresh);
    let answer = store
        .rotate_refresh_token(&rotation, sample::now())
        .await
        .unwrap();
    assert_eq!(answer, RotateRefreshToken::Rotated);
    for token in [&tokens.access_token, &rotation.access_token] {
        assert!(!is_live(store, token).await);
        assert!(is_live_waived(store, token).await);
    }
    let successor = Some(&rotation.successor);
    let neither = [loopback.resource.clone(), elsewhere.resource.clone()];
    assert_eq!(gone(store, &scene.grant, successor, false).await, neither);
    assert_eq!(
        gone(store, &scene.grant, successor, true).await,
        [elsewhere.resource]
    );
    // Nobody saw the resource's own words when that was approved, so registered or not, it is asked about again.
    scene.grant.resources.truncate(1);
    assert!(!is_covered(store, &scene.grant).await);
    add_resource(store, &loopback).await;
    assert!(!is_covered(store, &scene.grant).await);
    assert!(!is_live(store, &rotation.access_token).await);
    assert!(is_live_waived(store, &rotation.access_token).await);
}

pub async fn a_grant_tells_which_of_its_resources_are_gone(store: &dyn WholeStore) {
    let second = sample::resource();
    add_resource(store, &second).await;
    let scene = with_two_resources(store, &second).await;
    approve(store, &scene.client, &scene.grant).await;
    assert_eq!(gone(store, &scene.grant, None, false).await, []);
    remove(store, &scene.resource).await;
    for waived in [false, true] {
        let gone = gone(store, &scene.grant, None, waived).await;
        assert_eq!(gone, std::slice::from_ref(&scene.resource.resource));
    }
    redeems_nothing(store, &scene.grant).await;

    // What is left of the grant is as good as ever.
    let mut left = scene.grant.clone();
    left.resources.remove(0);
    let tokens = redeem(store, &left).await;
    let refresh = tokens.refresh_token.unwrap();
    assert!(is_live(store, &tokens.access_token).await);
    assert_eq!(
        gone(store, &scene.grant, Some(&refresh), false).await,
        std::slice::from_ref(&scene.resource.resource)
    );
    rotates_nothing(store, &scene.grant, &refresh).await;
    let rotation = sample::rotation(&left, &refresh);
    let answer = store
        .rotate_refresh_token(&rotation, sample::now())
        .await
        .unwrap();
    assert_eq!(answer, RotateRefreshToken::Rotated);
    assert!(is_live(store, &rotation.access_token).await);
    assert!(is_covered(store, &left).await);
    assert!(!is_covered(store, &scene.grant).await);
}

async fn comes_back_and_nothing_revives(store: &dyn WholeStore, resource: ResourceRecord) {
    add_resource(store, &resource).await;
    let mut scene = Scene::begin(store).await;
    scene.resource = resource;
    scene.grant = scene.another_grant();
    approve(store, &scene.client, &scene.grant).await;
    let tokens = redeem(store, &scene.grant).await;
    let refresh = tokens.refresh_token.unwrap();
    let waiting = scene.another_grant();
    approve(store, &scene.client, &waiting).await;
    let own = sample::own_access_token(&scene.client, &scene.resource);
    issue(store, &own).await;
    assert!(is_live(store, &own).await && is_live(store, &tokens.access_token).await);
    assert!(is_covered(store, &scene.grant).await);

    remove(store, &scene.resource).await;
    for is_back in [false, true] {
        if is_back {
            add_resource(store, &scene.resource).await;
        }
        for token in [&tokens.access_token, &own] {
            assert!(!is_live(store, token).await);
            assert!(!is_live_waived(store, token).await);
        }
        for waived in [false, true] {
            let ended = [scene.resource.resource.clone()];
            assert_eq!(gone(store, &waiting, None, waived).await, ended);
            assert_eq!(gone(store, &scene.grant, Some(&refresh), waived).await, ended);
        }
        assert!(!is_covered(store, &scene.grant).await);
        redeems_nothing(store, &waiting).await;
        rotates_nothing(store, &scene.grant, &refresh).await;
    }

    // A new approval is as good as ever.
    let grant = scene.another_grant();
    approve(store, &scene.client, &grant).await;
    let tokens = redeem(store, &grant).await;
    assert!(is_live(store, &tokens.access_token).await);
    assert_eq!(
        gone(store, &grant, tokens.refresh_token.as_ref(), false).await,
        []
    );
    assert!(is_covered(store, &grant).await);
    let own = sample::own_access_token(&scene.client, &scene.resource);
    issue(store, &own).await;
    assert!(is_live(store, &own).await);
}

pub async fn nothing_revives_when_a_removed_resource_comes_back(store: &dyn WholeStore) {
    comes_back_and_nothing_revives(store, sample::resource()).await;
}

pub async fn nothing_revives_when_a_removed_resource_with_a_hostile_name_comes_back(store: &dyn WholeStore) {
    let mut resource = sample::resource();
    let number = sample::number();
    resource.resource =
        Resource::parse(&format!("https://rs.example/';DROP--$1.[0]?%22%5C&{number}")).unwrap();
    comes_back_and_nothing_revives(store, resource).await;
}

pub async fn nothing_revives_when_a_removed_resource_on_loopback_comes_back(store: &dyn WholeStore) {
    comes_back_and_nothing_revives(store, sample::loopback_resource()).await;
}

pub async fn a_resource_that_is_removed_before_it_is_approved_is_gone_for_good(store: &dyn WholeStore) {
    let scene = Scene::begin(store).await;
    remove(store, &scene.resource).await;
    approve(store, &scene.client, &scene.grant).await;
    for is_back in [false, true] {
        if is_back {
            add_resource(store, &scene.resource).await;
        }
        let ended = [scene.resource.resource.clone()];
        assert_eq!(gone(store, &scene.grant, None, true).await, ended);
        assert!(!is_covered(store, &scene.grant).await);
    }
}

pub async fn reuse_is_recognised_after_the_resource_is_gone(store: &dyn WholeStore) {
    let (scene, tokens) = Scene::redeemed(store).await;
    let refresh = tokens.refresh_token.unwrap();
    let rotation = sample::rotation(&scene.grant, &refresh);
    let answer = store
        .rotate_refresh_token(&rotation, sample::now())
        .await
        .unwrap();
    assert_eq!(answer, RotateRefreshToken::Rotated);
    remove(store, &scene.resource).await;
    let retry = sample::rotation(&scene.grant, &refresh);
    let answer = store.rotate_refresh_token(&retry, sample::now()).await.unwrap();
    let sealed = rotation.sealed;
    assert_eq!(answer, RotateRefreshToken::Retried { sealed });
    let replay = sample::tokens(&scene.grant);
    let answer = store
        .redeem_code(&scene.grant.code.hash, &replay, sample::now())
        .await
        .unwrap();
    assert_eq!(answer, RedeemCode::Replayed);
    let reuse = sample::rotation_within(&scene.grant, &refresh, Duration::ZERO);
    let answer = store.rotate_refresh_token(&reuse, sample::now()).await.unwrap();
    assert_eq!(answer, RotateRefreshToken::Reused);
}

pub async fn nothing_lives_after_its_resource_came_and_went_in_a_race(store: &dyn WholeStore) {
    for _ in 0..8 {
        let (scene, tokens) = Scene::redeemed(store).await;
        let refresh = tokens.refresh_token.unwrap();
        let waiting = scene.another_grant();
        approve(store, &scene.client, &waiting).await;
        let (redeemed, rotation) = (sample::tokens(&waiting), sample::rotation(&scene.grant, &refresh));
        race(3, async |runner| match runner {
            0 => {
                remove(store, &scene.resource).await;
                add_resource(store, &scene.resource).await;
            }
            1 => {
                let _ = store
                    .redeem_code(&waiting.code.hash, &redeemed, sample::now())
                    .await
                    .unwrap();
            }
            _ => {
                let _ = store
                    .rotate_refresh_token(&rotation, sample::now())
                    .await
                    .unwrap();
            }
        });
        for token in [
            &tokens.access_token,
            &redeemed.access_token,
            &rotation.access_token,
        ] {
            assert!(!is_live(store, token).await);
        }
    }
}
