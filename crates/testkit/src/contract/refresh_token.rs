//! Laws about refresh tokens: a chain of one, whatever happens.

use std::time::Duration;

use mcp_authflow::{
    port::store::{RotateRefreshToken, Rotation, Standing},
    record::RefreshTokenRecord,
};
use mcp_authflow_types::RefreshToken;

use super::{
    WholeStore,
    race::{RUNNERS, one_won, race},
    sample,
    scene::{Scene, approve, is_live, is_unspent, peek},
};

const STRICT: Duration = Duration::ZERO;

async fn rotate(store: &dyn WholeStore, rotation: &Rotation) -> RotateRefreshToken {
    store.rotate_refresh_token(rotation, sample::now()).await.unwrap()
}

fn retried(rotation: &Rotation) -> RotateRefreshToken {
    RotateRefreshToken::Retried {
        sealed: rotation.sealed.clone(),
    }
}

async fn stored_nothing(store: &dyn WholeStore, rotation: &Rotation) {
    assert!(!is_live(store, &rotation.access_token).await);
    assert!(peek(store, &rotation.successor).await.is_none());
}

/// A scene with a refresh token that nobody has exchanged yet.
async fn with_refresh_token(store: &dyn WholeStore) -> (Scene, RefreshTokenRecord) {
    let (scene, tokens) = Scene::redeemed(store).await;
    (scene, tokens.refresh_token.unwrap())
}

pub async fn rotating_spends_the_old_token_and_stores_the_new_ones(store: &dyn WholeStore) {
    let (scene, first) = with_refresh_token(store).await;
    let rotation = sample::rotation(&scene.grant, &first);
    assert_eq!(rotate(store, &rotation).await, RotateRefreshToken::Rotated);
    assert!(is_live(store, &rotation.access_token).await);
    let client = &scene.client.id;
    let peeked = store
        .peek_refresh_token(&first.hash, first.bucket, client, false)
        .await
        .unwrap();
    assert_eq!(peeked.client.as_deref(), Some(&scene.client));
    let old = peeked.token.unwrap();
    assert_eq!(old.token, first);
    let at = old.spent_at.unwrap();
    assert!(at.since(sample::now()).as_secs() < 120 && sample::now().since(at).as_secs() < 120);
    let new = peek(store, &rotation.successor).await.unwrap();
    assert_eq!((new.token, new.spent_at), (rotation.successor, None));
    assert_eq!(new.grant.standing, Standing::Live);
    assert_eq!(new.grant.grant.id, scene.grant.id);
}

pub async fn a_refresh_token_is_found_in_its_own_bucket_only(store: &dyn WholeStore) {
    let (scene, first) = with_refresh_token(store).await;
    for bucket in [first.bucket + 1, first.bucket - 1, 0] {
        let elsewhere = RefreshTokenRecord {
            bucket,
            ..first.clone()
        };
        assert!(peek(store, &elsewhere).await.is_none());
        let rotation = sample::rotation(&scene.grant, &elsewhere);
        assert_eq!(rotate(store, &rotation).await, RotateRefreshToken::Gone);
        stored_nothing(store, &rotation).await;
    }
    let beside = store
        .peek_refresh_token(&sample::hash(), first.bucket, &scene.client.id, false)
        .await
        .unwrap();
    assert_eq!(beside.client.as_deref(), Some(&scene.client));
    assert!(beside.token.is_none());
}

async fn race_to_rotate(
    store: &dyn WholeStore,
    retry_window: Duration,
) -> (Vec<RotateRefreshToken>, Vec<Rotation>) {
    let (scene, first) = with_refresh_token(store).await;
    let rotations: Vec<Rotation> = (0..RUNNERS)
        .map(|_| sample::rotation_within(&scene.grant, &first, retry_window))
        .collect();
    let answers = race(RUNNERS, async |runner| rotate(store, &rotations[runner]).await);
    let winner = answers.iter().position(|one| *one == RotateRefreshToken::Rotated);
    for (runner, rotation) in rotations.iter().enumerate() {
        let won = Some(runner) == winner;
        assert_eq!(is_unspent(store, &rotation.successor).await, won);
        assert_eq!(is_live(store, &rotation.access_token).await, won);
    }
    (answers, rotations)
}

pub async fn one_of_many_racing_rotations_wins_and_the_others_get_its_answer(store: &dyn WholeStore) {
    let (answers, rotations) = race_to_rotate(store, Duration::from_secs(30)).await;
    let winner = answers
        .iter()
        .position(|one| *one == RotateRefreshToken::Rotated)
        .expect("somebody wins");
    one_won(
        &answers,
        &RotateRefreshToken::Rotated,
        &retried(&rotations[winner]),
    );
}

pub async fn without_a_window_one_of_many_racing_rotations_wins_and_the_others_reuse(store: &dyn WholeStore) {
    let (answers, _) = race_to_rotate(store, STRICT).await;
    one_won(
        &answers,
        &RotateRefreshToken::Rotated,
        &RotateRefreshToken::Reused,
    );
}

pub async fn a_retry_gets_the_same_answer_and_stores_nothing(store: &dyn WholeStore) {
    let (scene, first) = with_refresh_token(store).await;
    let rotation = sample::rotation(&scene.grant, &first);
    assert_eq!(rotate(store, &rotation).await, RotateRefreshToken::Rotated);
    for _ in 0..3 {
        let retry = sample::rotation(&scene.grant, &first);
        assert_eq!(rotate(store, &retry).await, retried(&rotation));
        stored_nothing(store, &retry).await;
    }
    let reuse = sample::rotation_within(&scene.grant, &first, STRICT);
    assert_eq!(rotate(store, &reuse).await, RotateRefreshToken::Reused);
    stored_nothing(store, &reuse).await;
    // Whether reuse ends the family is the caller's decision, made by another verb.
    assert!(is_unspent(store, &rotation.successor).await);
}

pub async fn the_window_ends_when_the_successor_is_spent(store: &dyn WholeStore) {
    let (scene, first) = with_refresh_token(store).await;
    let one = sample::rotation(&scene.grant, &first);
    assert_eq!(rotate(store, &one).await, RotateRefreshToken::Rotated);
    let two = sample::rotation(&scene.grant, &one.successor);
    assert_eq!(rotate(store, &two).await, RotateRefreshToken::Rotated);
    let late = sample::rotation(&scene.grant, &first);
    assert_eq!(rotate(store, &late).await, RotateRefreshToken::Reused);
    stored_nothing(store, &late).await;
    let retry = sample::rotation(&scene.grant, &one.successor);
    assert_eq!(rotate(store, &retry).await, retried(&two));
}

pub async fn the_window_ends_in_time(store: &dyn WholeStore) {
    let (scene, first) = with_refresh_token(store).await;
    let window = Duration::from_secs(2);
    let rotation = sample::rotation_within(&scene.grant, &first, window);
    assert_eq!(rotate(store, &rotation).await, RotateRefreshToken::Rotated);
    let end = sample::now() + window;
    loop {
        let asked_at = sample::now();
        let replay = sample::rotation_within(&scene.grant, &first, window);
        let answer = rotate(store, &replay).await;
        stored_nothing(store, &replay).await;
        if answer == RotateRefreshToken::Reused {
            break;
        }
        assert_eq!(answer, retried(&rotation));
        assert!(
            asked_at <= end + Duration::from_secs(2),
            "the window does not end"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub async fn an_unknown_or_expired_token_is_gone(store: &dyn WholeStore) {
    let (scene, first) = with_refresh_token(store).await;
    let unknown = sample::rotation(&scene.grant, &sample::refresh_token(&scene.grant));
    assert_eq!(rotate(store, &unknown).await, RotateRefreshToken::Gone);
    stored_nothing(store, &unknown).await;
    let mut rotation = sample::rotation(&scene.grant, &first);
    rotation.successor.expires_at = sample::in_seconds(-1);
    assert_eq!(rotate(store, &rotation).await, RotateRefreshToken::Rotated);
    let late = sample::rotation(&scene.grant, &rotation.successor);
    assert_eq!(rotate(store, &late).await, RotateRefreshToken::Gone);
    stored_nothing(store, &late).await;
    let late = peek(store, &rotation.successor).await.unwrap();
    assert_eq!(late.spent_at, None);
}

pub async fn reuse_is_recognised_after_the_token_has_expired(store: &dyn WholeStore) {
    let (scene, first) = with_refresh_token(store).await;
    let mut one = sample::rotation(&scene.grant, &first);
    one.successor.expires_at = sample::in_seconds(3);
    assert_eq!(rotate(store, &one).await, RotateRefreshToken::Rotated);
    let two = sample::rotation(&scene.grant, &one.successor);
    assert_eq!(rotate(store, &two).await, RotateRefreshToken::Rotated);
    sample::until_passed(one.successor.expires_at).await;
    let reuse = sample::rotation_within(&scene.grant, &one.successor, STRICT);
    assert_eq!(rotate(store, &reuse).await, RotateRefreshToken::Reused);
}

pub async fn a_token_of_an_ended_grant_is_gone(store: &dyn WholeStore) {
    let (scene, first) = with_refresh_token(store).await;
    assert!(store.revoke_grant(scene.grant.id, sample::now()).await.unwrap());
    let revoked = sample::rotation(&scene.grant, &first);
    assert_eq!(rotate(store, &revoked).await, RotateRefreshToken::Gone);
    stored_nothing(store, &revoked).await;

    let mut grant = scene.another_grant();
    grant.expires_at = sample::in_seconds(3);
    approve(store, &scene.client, &grant).await;
    let tokens = super::scene::redeem(store, &grant).await;
    let token = tokens.refresh_token.unwrap();
    assert_eq!(token.bucket, RefreshToken::bucket_of(grant.expires_at));
    sample::until_passed(grant.expires_at).await;
    let late = sample::rotation(&grant, &token);
    assert_eq!(rotate(store, &late).await, RotateRefreshToken::Gone);
    assert!(peek(store, &late.successor).await.is_none());
}

pub async fn nothing_lives_after_a_revocation_that_raced_with_a_rotation(store: &dyn WholeStore) {
    for round in 0..9 {
        let (scene, first) = with_refresh_token(store).await;
        let rotations = [(); 4].map(|()| sample::rotation(&scene.grant, &first));
        race(4, async |runner| {
            if runner > 0 {
                let _ = rotate(store, &rotations[runner]).await;
                return;
            }
            match round % 3 {
                0 => assert!(store.revoke_grant(scene.grant.id, sample::now()).await.unwrap()),
                1 => assert_eq!(store.revoke_client(&scene.client.id).await.unwrap(), Some(1)),
                _ => assert_eq!(store.revoke_subject(&scene.grant.subject).await.unwrap(), 1),
            }
        });
        for rotation in &rotations {
            assert!(!is_live(store, &rotation.access_token).await);
            assert!(!is_unspent(store, &rotation.successor).await);
        }
        assert!(!is_unspent(store, &first).await);
        let late = sample::rotation(&scene.grant, &first);
        let answer = rotate(store, &late).await;
        let is_over = matches!(answer, RotateRefreshToken::Gone | RotateRefreshToken::Reused);
        assert!(is_over, "{answer:?}");
    }
}

/// Twenty rotations with replays of anything issued before in between, in a fixed disorder.
pub async fn a_chain_never_forks(store: &dyn WholeStore) {
    let (scene, first) = with_refresh_token(store).await;
    let mut chain = vec![first];
    let mut answers: Vec<Rotation> = Vec::new();
    let mut disorder = 1_u64;
    for _ in 0..20 {
        for _ in 0..3 {
            disorder = disorder.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let index = usize::try_from(disorder >> 33).unwrap() % chain.len();
            if index + 1 == chain.len() {
                continue;
            }
            let replay = sample::rotation(&scene.grant, &chain[index]);
            let expected = if index + 2 == chain.len() {
                retried(&answers[index])
            } else {
                RotateRefreshToken::Reused
            };
            assert_eq!(rotate(store, &replay).await, expected);
            stored_nothing(store, &replay).await;
        }
        let rotation = sample::rotation(&scene.grant, &chain[chain.len() - 1]);
        assert_eq!(rotate(store, &rotation).await, RotateRefreshToken::Rotated);
        chain.push(rotation.successor.clone());
        answers.push(rotation);
        let mut unspent = 0;
        for token in &chain {
            unspent += usize::from(is_unspent(store, token).await);
        }
        assert_eq!(unspent, 1);
    }
}
