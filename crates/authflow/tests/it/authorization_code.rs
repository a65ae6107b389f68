//! The authorization code grant: single use, bound to everything, and a replay that costs the thief.

use mcp_authflow::port::store::{ClientStore as _, GrantStore as _};
use mcp_authflow_testkit::{
    cast::R2,
    params::{CHALLENGE, Params, VERIFIER},
};
use mcp_authflow_types::{ErrorCode, ErrorResponse};

use crate::scene::{Scene, challenged, refresh_token, refused};

#[tokio::test]
async fn a_code_is_exchanged_for_what_was_approved() {
    let scene = Scene::new().await;
    let tokens = scene.tokens_for("PUB").await;
    assert_eq!(tokens.expires_in, 600);
    assert_eq!(tokens.scope.to_string(), "mcp:read");
    assert!(tokens.refresh_token.is_some());
    assert!(scene.opens_r1(&tokens).await);
}

/// CO-01, P5, M-153
#[tokio::test]
async fn a_code_that_comes_twice_ends_what_came_of_it() {
    for elapsed in [0, 1, 30, 3_600] {
        let scene = Scene::new().await;
        let code = scene.code_for("PUB").await;
        let redeem = Params::redeem("PUB", &code);
        let tokens = scene.token("PUB", &redeem).await.unwrap();
        let later = scene.refresh("PUB", &tokens).await.unwrap();
        scene.wait(elapsed);

        refused(scene.token("PUB", &redeem).await, ErrorCode::InvalidGrant);
        assert!(!scene.opens_r1(&tokens).await && !scene.opens_r1(&later).await);
        for family in [&tokens, &later] {
            refused(scene.refresh("PUB", family).await, ErrorCode::InvalidGrant);
        }
    }
}

/// Every near-miss: who presents the code without all that it is bound to.
fn near_misses(code: &str) -> Vec<(Params, ErrorCode)> {
    let good = Params::redeem("PUB", code);
    let verifier = |verifier: &str| good.clone().set("code_verifier", verifier);
    let at = |redirect_uri| good.clone().set("redirect_uri", redirect_uri);
    let mut all = vec![
        (good.clone().set("client_id", "EVIL"), ErrorCode::InvalidGrant),
        (good.clone().set("client_id", "WEB"), ErrorCode::InvalidGrant),
        // CO-10
        (good.clone().set("resource", R2), ErrorCode::InvalidTarget),
        (good.clone().set("resource", "rs1.test"), ErrorCode::InvalidTarget),
        (good.clone().and("resource", R2), ErrorCode::InvalidTarget),
    ];
    // PK-08
    for wrong in [
        "a".repeat(43),
        format!("{VERIFIER}\n"),
        format!(" {VERIFIER} "),
        VERIFIER.to_uppercase(),
        VERIFIER[1..].to_owned(),
        VERIFIER[..42].to_owned(),
        format!("{VERIFIER}A"),
        CHALLENGE.to_owned(),
        "a".repeat(129),
    ] {
        all.push((verifier(&wrong), ErrorCode::InvalidGrant));
    }
    // RU-31
    for wrong in [
        "http://127.0.0.1:6000/cb",
        "http://127.0.0.1/cb",
        "http://[::1]:54321/cb",
        "com.example.app:/cb",
        "https://evil.example/cb",
    ] {
        all.push((at(wrong), ErrorCode::InvalidGrant));
    }
    all
}

/// P3: a failed try costs nothing.
#[tokio::test]
async fn a_near_miss_costs_nothing() {
    let scene = Scene::new().await;
    let code = scene.code_for("PUB").await;
    for (near_miss, code) in near_misses(&code) {
        refused(scene.token("PUB", &near_miss).await, code);
    }
    for parameter in ["code", "code_verifier", "grant_type", "client_id"] {
        let request = Params::redeem("PUB", &code).unset(parameter);
        assert_eq!(
            scene.token("PUB", &request).await.unwrap_err(),
            ErrorResponse::missing(parameter)
        );
    }
    let tokens = scene.token("PUB", &Params::redeem("PUB", &code)).await.unwrap();
    assert!(scene.opens_r1(&tokens).await);
}

/// P5: whoever got hold of a spent code, but of nothing else, signs nobody out.
#[tokio::test]
async fn a_near_miss_with_a_spent_code_ends_nothing() {
    let scene = Scene::new().await;
    let code = scene.code_for("PUB").await;
    let tokens = scene.token("PUB", &Params::redeem("PUB", &code)).await.unwrap();
    for (near_miss, code) in near_misses(&code) {
        refused(scene.token("PUB", &near_miss).await, code);
    }
    assert!(scene.opens_r1(&tokens).await);
    scene.refresh("PUB", &tokens).await.unwrap();
}

/// PK-07, PK-15
#[tokio::test]
async fn only_the_verifier_itself_counts() {
    let scene = Scene::new().await;
    let code = scene.code_for("PUB").await;
    let without = Params::redeem("PUB", &code).unset("code_verifier");
    for name in [
        "code_verifier[]",
        "code_verifier[0]",
        "code_verifier.x",
        "Code_Verifier",
    ] {
        assert_eq!(
            scene
                .token("PUB", &without.clone().set(name, VERIFIER))
                .await
                .unwrap_err(),
            ErrorResponse::missing("code_verifier"),
            "{name}"
        );
    }
}

/// CO-06, CO-08, CO-15, TE-09
#[tokio::test]
async fn what_is_no_code_is_refused_and_raises_no_alarm() {
    let scene = Scene::new().await;
    let code = scene.code_for("PUB").await;
    let tokens = scene.token("PUB", &Params::redeem("PUB", &code)).await.unwrap();
    let tail = format!("{}{}", &code[..20], "A".repeat(code.len() - 20));
    scene.audit.drain();
    for no_code in [
        refresh_token(&tokens),
        tokens.access_token.expose(),
        &tail,
        "' OR 1=1 --",
        "'; select pg_sleep(5)--",
        "_",
        "\\",
        "../../etc/passwd",
        "mcpac_",
        &"A".repeat(60_000),
    ] {
        refused(
            scene.token("PUB", &Params::redeem("PUB", no_code)).await,
            ErrorCode::InvalidGrant,
        );
        assert_eq!(scene.audit.lines(), ["redeem_code Refused: unknown code"]);
    }
    refused(
        scene.token("PUB", &Params::refresh("PUB", &code)).await,
        ErrorCode::InvalidGrant,
    );
    assert_eq!(scene.audit.lines(), ["refresh Refused: unknown refresh token"]);
    assert!(scene.opens_r1(&tokens).await);
}

/// CO-05
#[tokio::test]
async fn a_code_lives_for_sixty_seconds() {
    let scene = Scene::new().await;
    let (early, late) = (scene.code_for("PUB").await, scene.code_for("PUB").await);
    scene.wait(59);
    scene.token("PUB", &Params::redeem("PUB", &early)).await.unwrap();
    scene.wait(1);
    refused(
        scene.token("PUB", &Params::redeem("PUB", &late)).await,
        ErrorCode::InvalidGrant,
    );
}

/// CO-09, P2
#[tokio::test]
async fn a_code_dies_with_what_it_stands_on() {
    let scene = Scene::new().await;
    let code = scene.code_for("SEC").await;
    scene.store.revoke_subject("u_alice").await.unwrap();
    refused(
        scene.token("SEC", &Params::redeem("SEC", &code)).await,
        ErrorCode::InvalidGrant,
    );

    let scene = Scene::new().await;
    let code = scene.code_for("SEC").await;
    let client = Params::authorize("SEC").value("client_id").parse().unwrap();
    assert_eq!(scene.store.revoke_client(&client).await.unwrap(), Some(1));
    refused(
        scene.token("SEC", &Params::redeem("SEC", &code)).await,
        ErrorCode::InvalidGrant,
    );
    assert!(
        scene
            .store
            .remove_client(&client, scene.server.ports().clock.now())
            .await
            .unwrap()
    );
    challenged(scene.token("SEC", &Params::redeem("SEC", &code)).await);
}

/// M-082: a confidential client proves itself and answers the challenge.
#[tokio::test]
async fn a_secret_does_not_replace_the_verifier_nor_the_verifier_a_secret() {
    let scene = Scene::new().await;
    let code = scene.code_for("SEC").await;
    let good = Params::redeem("SEC", &code);
    refused(
        scene
            .token("SEC", &good.clone().set("code_verifier", &"a".repeat(43)))
            .await,
        ErrorCode::InvalidGrant,
    );
    refused(scene.token_with(None, &good).await, ErrorCode::InvalidClient);
    scene.token("SEC", &good).await.unwrap();
}

/// CO-03: of many at once one wins, and then the code has come twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_at_once_one_is_answered_and_none_of_it_lives_on() {
    let scene = std::sync::Arc::new(Scene::new().await);
    let code = scene.code_for("PUB").await;
    let tries: Vec<_> = (0..32)
        .map(|_| {
            let (scene, redeem) = (scene.clone(), Params::redeem("PUB", &code));
            tokio::spawn(async move { scene.token("PUB", &redeem).await })
        })
        .collect();
    let mut won = Vec::new();
    for one in tries {
        match one.await.unwrap() {
            Ok(tokens) => won.push(tokens),
            Err(error) => assert_eq!(error, ErrorCode::InvalidGrant.into()),
        }
    }
    assert_eq!(won.len(), 1);
    assert!(!scene.opens_r1(&won[0]).await);
}

/// RFC 6749 §4.1.2.1 of the person's own grant: nothing outlives it.
#[tokio::test]
async fn no_token_outlives_its_grant() {
    let scene = Scene::with(|settings| {
        settings.lifetimes.grant = std::time::Duration::from_secs(100);
    })
    .await;
    let tokens = scene.tokens_for("PUB").await;
    assert_eq!(tokens.expires_in, 100);
    scene.wait(100);
    assert!(!scene.opens_r1(&tokens).await);
    refused(scene.refresh("PUB", &tokens).await, ErrorCode::InvalidGrant);
}
