//! The refresh token grant: it rotates, it narrows, and it ends.

use std::time::Duration;

use mcp_authflow::port::store::{ClientStore as _, GrantQuery, GrantStore as _};
use mcp_authflow_testkit::{cast::R2, params::Params};
use mcp_authflow_types::{ErrorCode, ErrorResponse};

use crate::scene::{Scene, refresh_token, refused};

const DAY: u64 = 86_400;

/// M-111
#[tokio::test]
async fn every_exchange_gives_a_new_pair() {
    let scene = Scene::new().await;
    let first = scene.tokens_for("PUB").await;
    let second = scene.refresh("PUB", &first).await.unwrap();
    let third = scene.refresh("PUB", &second).await.unwrap();
    assert_eq!(
        (third.expires_in, third.scope.to_string()),
        (600, "mcp:read".into())
    );
    let all = [&first, &second, &third];
    for (index, one) in all.iter().enumerate() {
        assert!(scene.opens_r1(one).await);
        for other in &all[..index] {
            assert_ne!(refresh_token(one), refresh_token(other));
            assert_ne!(one.access_token.expose(), other.access_token.expose());
        }
    }
}

/// RT-19, P5
#[tokio::test]
async fn a_refresh_token_reused_after_the_window_ends_its_grant() {
    for elapsed in [30, DAY, 60 * DAY] {
        let scene = Scene::new().await;
        let first = scene.tokens_for("PUB").await;
        let mut latest = scene.refresh("PUB", &first).await.unwrap();
        // The honest client goes on, so that the family is alive when the thief comes.
        for _ in 0..elapsed / (10 * DAY) {
            scene.wait(10 * DAY);
            latest = scene.refresh("PUB", &latest).await.unwrap();
        }
        scene.wait(elapsed % (10 * DAY));
        scene.audit.drain();

        refused(scene.refresh("PUB", &first).await, ErrorCode::InvalidGrant);
        assert_eq!(
            scene.audit.lines(),
            ["refresh Alarm: the refresh token was used before"]
        );
        assert!(!scene.opens_r1(&latest).await);
        refused(scene.refresh("PUB", &latest).await, ErrorCode::InvalidGrant);
        assert_eq!(scene.audit.lines(), ["refresh Refused: the grant was revoked"]);
    }
}

/// RT-08, RT-09, P3: what is refused is not rotated.
#[tokio::test]
async fn a_request_for_too_much_costs_nothing() {
    let scene = Scene::new().await;
    let tokens = scene.tokens_for("PUB").await;
    let good = Params::refresh("PUB", refresh_token(&tokens));
    for wider in [
        "mcp:read mcp:write",
        "admin",
        "mcp:read openid",
        "*",
        "mcp:read offline_access",
        "mcp:read\"",
        " ",
    ] {
        refused(
            scene.token("PUB", &good.clone().set("scope", wider)).await,
            ErrorCode::InvalidScope,
        );
    }
    for elsewhere in ["https://rs2.test/mcp", "rs1.test", "https://rs1.test/mcp/"] {
        refused(
            scene.token("PUB", &good.clone().set("resource", elsewhere)).await,
            ErrorCode::InvalidTarget,
        );
    }
    assert_eq!(
        scene
            .token("PUB", &good.clone().unset("refresh_token"))
            .await
            .unwrap_err(),
        ErrorResponse::missing("refresh_token")
    );
    scene.token("PUB", &good).await.unwrap();
}

/// P5: whoever got hold of a spent token, and asks for what it is not good for, signs nobody out.
#[tokio::test]
async fn a_near_miss_with_a_spent_token_ends_nothing() {
    let scene = Scene::new().await;
    let first = scene.tokens_for("PUB").await;
    let second = scene.refresh("PUB", &first).await.unwrap();
    let replay = Params::refresh("PUB", refresh_token(&first));
    for elapsed in [0, 60] {
        scene.wait(elapsed);
        for (near_miss, code) in [
            (replay.clone().set("client_id", "EVIL"), ErrorCode::InvalidGrant),
            (replay.clone().set("client_id", "WEB"), ErrorCode::InvalidGrant),
            (replay.clone().set("scope", "admin"), ErrorCode::InvalidScope),
            (replay.clone().set("scope", "mcp:write"), ErrorCode::InvalidScope),
            (replay.clone().set("scope", " "), ErrorCode::InvalidScope),
            (replay.clone().set("resource", R2), ErrorCode::InvalidTarget),
            (replay.clone().and("resource", R2), ErrorCode::InvalidTarget),
            (
                replay.clone().set("resource", "rs1.test"),
                ErrorCode::InvalidTarget,
            ),
        ] {
            refused(scene.token("PUB", &near_miss).await, code);
        }
        assert!(scene.opens_r1(&second).await);
    }
    scene.refresh("PUB", &second).await.unwrap();
}

/// CA-17, RT-07
#[tokio::test]
async fn a_stranger_with_the_token_gets_nothing_and_harms_nobody() {
    let scene = Scene::new().await;
    let first = scene.tokens_for("SEC").await;
    let second = scene.refresh("SEC", &first).await.unwrap();
    scene.wait(60);
    // The live one and the spent one, in the hands of strangers.
    for stolen in [refresh_token(&first), refresh_token(&second)] {
        for thief in ["EVIL", "WEB", "SEC2"] {
            refused(
                scene.token(thief, &Params::refresh(thief, stolen)).await,
                ErrorCode::InvalidGrant,
            );
        }
        refused(
            scene.token_with(None, &Params::refresh("SEC", stolen)).await,
            ErrorCode::InvalidClient,
        );
        refused(
            scene
                .token_with(
                    None,
                    &Params::refresh("SEC", stolen).set("client_secret", "guess"),
                )
                .await,
            ErrorCode::InvalidClient,
        );
    }
    scene.refresh("SEC", &second).await.unwrap();
}

/// RFC 6749 §6
#[tokio::test]
async fn an_exchange_may_ask_for_less_and_later_for_all_again() {
    let scene = Scene::new().await;
    let request = Params::authorize("PUB").set("scope", "mcp:read mcp:write");
    let code = scene.code(&request, Scene::alice()).await;
    let first = scene.token("PUB", &Params::redeem("PUB", &code)).await.unwrap();
    let narrow = Params::refresh("PUB", refresh_token(&first)).set("scope", "mcp:write");
    let second = scene.token("PUB", &narrow).await.unwrap();
    assert_eq!(second.scope.to_string(), "mcp:write");
    let third = scene.refresh("PUB", &second).await.unwrap();
    assert_eq!(third.scope.to_string(), "mcp:read mcp:write");
}

#[tokio::test]
async fn an_idle_refresh_token_expires_and_a_used_one_starts_anew() {
    let scene = Scene::new().await;
    let mut tokens = scene.tokens_for("PUB").await;
    for _ in 0..3 {
        scene.wait(14 * DAY - 1);
        tokens = scene.refresh("PUB", &tokens).await.unwrap();
    }
    scene.wait(14 * DAY);
    scene.audit.drain();
    refused(scene.refresh("PUB", &tokens).await, ErrorCode::InvalidGrant);
    assert_eq!(scene.audit.lines(), ["refresh Refused: expired refresh token"]);
}

#[tokio::test]
async fn a_grant_comes_to_its_end_however_much_it_is_used() {
    let scene = Scene::new().await;
    let mut tokens = scene.tokens_for("PUB").await;
    for _ in 0..8 {
        scene.wait(11 * DAY);
        tokens = scene.refresh("PUB", &tokens).await.unwrap();
    }
    // Two minutes before the end the access token lives for two minutes.
    scene.wait(2 * DAY - 120);
    tokens = scene.refresh("PUB", &tokens).await.unwrap();
    assert_eq!(tokens.expires_in, 120);
    scene.wait(120);
    assert!(!scene.opens_r1(&tokens).await);
    refused(scene.refresh("PUB", &tokens).await, ErrorCode::InvalidGrant);
}

/// P2
#[tokio::test]
async fn nothing_is_refreshed_whose_ground_is_gone() {
    let alice = "u_alice";
    let scene = Scene::new().await;
    let tokens = scene.tokens_for("SEC").await;
    scene.store.revoke_subject(alice).await.unwrap();
    assert!(!scene.opens_r1(&tokens).await);
    refused(scene.refresh("SEC", &tokens).await, ErrorCode::InvalidGrant);

    let scene = Scene::new().await;
    let tokens = scene.tokens_for("SEC").await;
    scene.store.revoke_client(&"SEC".parse().unwrap()).await.unwrap();
    assert!(!scene.opens_r1(&tokens).await);
    refused(scene.refresh("SEC", &tokens).await, ErrorCode::InvalidGrant);

    let scene = Scene::new().await;
    let tokens = scene.tokens_for("SEC").await;
    let grants = scene
        .store
        .list_grants(&GrantQuery::of(alice), 10, scene.server.ports().clock.now())
        .await
        .unwrap();
    assert_eq!(grants.len(), 1);
    scene
        .store
        .revoke_grant(grants[0].grant.id, scene.server.ports().clock.now())
        .await
        .unwrap();
    assert!(!scene.opens_r1(&tokens).await);
    refused(scene.refresh("SEC", &tokens).await, ErrorCode::InvalidGrant);
}

/// RT-18: a clock that steps back revives nothing that was used.
#[tokio::test]
async fn a_clock_that_steps_back_forgives_no_reuse() {
    let scene = Scene::new().await;
    let first = scene.tokens_for("PUB").await;
    let second = scene.refresh("PUB", &first).await.unwrap();
    let third = scene.refresh("PUB", &second).await.unwrap();
    scene
        .clock
        .set(crate::scene::BEGINS_AT - Duration::from_secs(3_600));
    refused(scene.refresh("PUB", &first).await, ErrorCode::InvalidGrant);
    refused(scene.refresh("PUB", &third).await, ErrorCode::InvalidGrant);
}
