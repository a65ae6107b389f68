//! The retry window of refresh tokens (M §6.4 trap 9): a lost answer signs nobody out, and there is one successor.

use std::{sync::Arc, time::Duration};

use mcp_authflow::port::store::ResourceStore as _;
use mcp_authflow_testkit::{
    cast::{self, R1, R2},
    failing_store::Fault,
    params::Params,
};
use mcp_authflow_types::{ErrorCode, TokenResponse};

use crate::scene::{BEGINS_AT, Scene, refresh_token, refused};

fn assert_same(one: &TokenResponse, other: &TokenResponse) {
    assert_eq!(one.access_token.expose(), other.access_token.expose());
    assert_eq!(refresh_token(one), refresh_token(other));
    assert_eq!(one.scope, other.scope);
}

/// RT-02
#[tokio::test]
async fn within_the_window_the_same_two_tokens_come_again() {
    let scene = Scene::new().await;
    let old = scene.tokens_for("PUB").await;
    let answer = scene.refresh("PUB", &old).await.unwrap();
    for (elapsed, expires_in) in [(0, 600), (1, 599), (28, 571)] {
        scene.wait(elapsed);
        let again = scene.refresh("PUB", &old).await.unwrap();
        assert_same(&answer, &again);
        assert_eq!(again.expires_in, expires_in);
    }
    assert!(scene.opens_r1(&answer).await);
    scene.refresh("PUB", &answer).await.unwrap();
}

#[tokio::test]
async fn using_the_access_token_does_not_close_the_window() {
    let scene = Scene::new().await;
    let old = scene.tokens_for("PUB").await;
    let answer = scene.refresh("PUB", &old).await.unwrap();
    assert!(scene.opens_r1(&answer).await);
    assert_same(&answer, &scene.refresh("PUB", &old).await.unwrap());
}

/// RT-02
#[tokio::test]
async fn the_successors_exchange_closes_the_window() {
    let scene = Scene::new().await;
    let old = scene.tokens_for("PUB").await;
    let answer = scene.refresh("PUB", &old).await.unwrap();
    let next = scene.refresh("PUB", &answer).await.unwrap();
    refused(scene.refresh("PUB", &old).await, ErrorCode::InvalidGrant);
    assert!(!scene.opens_r1(&next).await);
    refused(scene.refresh("PUB", &next).await, ErrorCode::InvalidGrant);
}

#[tokio::test]
async fn a_window_of_zero_is_strict() {
    let scene = Scene::with(|settings| settings.lifetimes.refresh_retry_window = Duration::ZERO).await;
    let old = scene.tokens_for("PUB").await;
    let answer = scene.refresh("PUB", &old).await.unwrap();
    refused(scene.refresh("PUB", &old).await, ErrorCode::InvalidGrant);
    refused(scene.refresh("PUB", &answer).await, ErrorCode::InvalidGrant);
}

/// RT-18: zero is strict for a clock that steps back, too; another window is open to it.
#[tokio::test]
async fn a_clock_that_steps_back_opens_no_window_of_zero() {
    for (window, is_open) in [(0, false), (30, true)] {
        let scene = Scene::with(|settings| {
            settings.lifetimes.refresh_retry_window = Duration::from_secs(window);
        })
        .await;
        let old = scene.tokens_for("PUB").await;
        let answer = scene.refresh("PUB", &old).await.unwrap();
        scene.clock.set(BEGINS_AT - Duration::from_secs(1));
        assert_eq!(scene.refresh("PUB", &old).await.is_ok(), is_open);
        assert_eq!(scene.refresh("PUB", &answer).await.is_ok(), is_open);
    }
}

/// By default 30 s, to the second.
#[tokio::test]
async fn the_window_is_as_long_as_it_is_said_to_be() {
    for (window, elapsed, is_open) in [
        (30, 0, true),
        (30, 29, true),
        (30, 30, false),
        (300, 299, true),
        (300, 300, false),
        (1, 0, true),
        (1, 1, false),
    ] {
        let scene = Scene::with(|settings| {
            if window != 30 {
                settings.lifetimes.refresh_retry_window = Duration::from_secs(window);
            }
        })
        .await;
        let old = scene.tokens_for("PUB").await;
        let answer = scene.refresh("PUB", &old).await.unwrap();
        scene.wait(elapsed);
        let again = scene.refresh("PUB", &old).await;
        assert_eq!(again.is_ok(), is_open, "{elapsed} s of {window}");
        // What is repeated harms nobody, what is reused ends the family.
        assert_eq!(scene.opens_r1(&answer).await, is_open, "{elapsed} s of {window}");
    }
}

/// AU-12: what would be said again is dead, and whoever asks for it is told so and harmed no further; after the window
/// reuse is reuse.
#[tokio::test]
async fn the_window_is_of_no_use_for_a_resource_that_is_gone() {
    for (elapsed, code, line, lives) in [
        (
            29,
            ErrorCode::InvalidTarget,
            "refresh Refused: the resource is no longer registered as it was when it was approved",
            true,
        ),
        (
            30,
            ErrorCode::InvalidGrant,
            "refresh Alarm: the refresh token was used before",
            false,
        ),
    ] {
        let scene = Scene::new().await;
        let request = Params::authorize("PUB")
            .set("scope", "mcp:read tasks:run offline_access")
            .and("resource", R2);
        let approved = scene.code(&request, Scene::alice()).await;
        let redeem = Params::redeem("PUB", &approved);
        let old = scene.token("PUB", &redeem).await.unwrap();
        let answer = scene.refresh("PUB", &old).await.unwrap();
        assert!(scene.store.remove_resource(&cast::resource(R1)).await.unwrap());
        scene.wait(elapsed);
        scene.audit.drain();
        refused(scene.refresh("PUB", &old).await, code);
        assert_eq!(scene.audit.lines(), [line]);
        let at_r2 = Params::refresh("PUB", refresh_token(&answer)).set("resource", R2);
        assert_eq!(scene.token("PUB", &at_r2).await.is_ok(), lives);
    }
}

/// RT-02: another scope order is the same request, another scope or resource is not; the family lives on.
#[tokio::test]
async fn a_retry_is_the_same_request() {
    let scene = Scene::new().await;
    let request = Params::authorize("PUB")
        .set("scope", "mcp:read mcp:write tasks:run")
        .and("resource", "https://rs2.test/mcp");
    let code = scene.code(&request, Scene::alice()).await;
    let old = scene.token("PUB", &Params::redeem("PUB", &code)).await.unwrap();
    let refresh = Params::refresh("PUB", refresh_token(&old));
    let answer = scene.token("PUB", &refresh).await.unwrap();

    for same in [
        refresh.clone().set("scope", "mcp:read mcp:write"),
        refresh.clone().set("scope", "mcp:write mcp:read"),
        refresh.clone().set("resource", "https://RS1.test:443/mcp"),
    ] {
        assert_same(&answer, &scene.token("PUB", &same).await.unwrap());
    }
    scene.audit.drain();
    for other in [
        refresh.clone().set("scope", "mcp:read"),
        refresh.clone().set("resource", "https://rs2.test/mcp"),
    ] {
        refused(scene.token("PUB", &other).await, ErrorCode::InvalidGrant);
        assert_eq!(
            scene.audit.lines(),
            ["refresh Refused: another request than the one being retried"]
        );
    }
    scene.refresh("PUB", &answer).await.unwrap();
}

/// RT-03: several processes that share a token stay signed in, all with one successor.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_of_many_at_once_get_the_same_successor() {
    let scene = Arc::new(Scene::new().await);
    let old = Arc::new(scene.tokens_for("PUB").await);
    let tries: Vec<_> = (0..32)
        .map(|_| {
            let (scene, old) = (scene.clone(), old.clone());
            tokio::spawn(async move { scene.refresh("PUB", &old).await.unwrap() })
        })
        .collect();
    let mut answers = Vec::new();
    for one in tries {
        answers.push(one.await.unwrap());
    }
    for answer in &answers {
        assert_same(&answers[0], answer);
    }
    scene.refresh("PUB", &answers[0]).await.unwrap();
}

/// RT-12, RT-13: the answer of the database was lost after its commit.
#[tokio::test]
async fn whoever_lost_the_answer_gets_it_by_asking_again() {
    let scene = Scene::new().await;
    let old = scene.tokens_for("PUB").await;
    scene.store.fail("rotate_refresh_token", Fault::LosesItsAnswer);
    let error = scene.refresh("PUB", &old).await.unwrap_err();
    assert_eq!(
        (error.code, error.status()),
        (ErrorCode::TemporarilyUnavailable, 504)
    );
    // It was committed all the same, and the retry finds it so.
    scene.store.heal();
    let answer = scene.refresh("PUB", &old).await.unwrap();
    assert_same(&answer, &scene.refresh("PUB", &old).await.unwrap());
    assert!(scene.opens_r1(&answer).await);
    scene.refresh("PUB", &answer).await.unwrap();
}

/// RT-12: a failed try costs nothing, even after 20 failures in a row.
#[tokio::test]
async fn a_rotation_that_failed_is_no_rotation() {
    let scene = Scene::new().await;
    let old = scene.tokens_for("PUB").await;
    scene.store.fail("rotate_refresh_token", Fault::Refuses);
    scene.audit.drain();
    for _ in 0..20 {
        let error = scene.refresh("PUB", &old).await.unwrap_err();
        assert_eq!(
            (error.code, error.status()),
            (ErrorCode::TemporarilyUnavailable, 503)
        );
        scene.wait(60);
    }
    assert_eq!(scene.audit.lines(), [""; 0]);
    scene.store.heal();
    scene.refresh("PUB", &old).await.unwrap();
}
