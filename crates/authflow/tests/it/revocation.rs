//! The revocation endpoint (RFC 7009).

use mcp_authflow::port::{Clock as _, store::GrantStore as _};
use mcp_authflow_testkit::{
    failing_store::Fault,
    params::{Params, basic_pair},
};
use mcp_authflow_types::{ErrorCode, ErrorResponse, TokenHash};

use crate::scene::{Scene, challenged, refresh_token, refused};

#[tokio::test]
async fn an_access_token_is_revoked_alone() {
    let scene = Scene::new().await;
    let first = scene.tokens_for("PUB").await;
    let second = scene.refresh("PUB", &first).await.unwrap();
    scene.revoke("PUB", first.access_token.expose()).await.unwrap();
    assert!(!scene.opens_r1(&first).await && scene.opens_r1(&second).await);
    scene.refresh("PUB", &second).await.unwrap();
}

/// RFC 7009 §2.1: "the authorization server SHOULD also invalidate all access tokens based on the same authorization
/// grant".
#[tokio::test]
async fn a_refresh_token_is_revoked_with_its_whole_grant() {
    for revoke_the_spent_one in [false, true] {
        let scene = Scene::new().await;
        let first = scene.tokens_for("PUB").await;
        let second = scene.refresh("PUB", &first).await.unwrap();
        let bystander = scene.tokens_for("PUB").await;
        let token = if revoke_the_spent_one { &first } else { &second };
        scene.revoke("PUB", refresh_token(token)).await.unwrap();
        for tokens in [&first, &second] {
            assert!(!scene.opens_r1(tokens).await);
            refused(scene.refresh("PUB", tokens).await, ErrorCode::InvalidGrant);
        }
        assert!(scene.opens_r1(&bystander).await);
        scene.refresh("PUB", &bystander).await.unwrap();
    }
}

/// RV-05
#[tokio::test]
async fn a_hint_is_a_hint_and_no_more() {
    let scene = Scene::new().await;
    for hint in ["access_token", "refresh_token", "bogus", ""] {
        let tokens = scene.tokens_for("PUB").await;
        for token in [tokens.access_token.expose(), refresh_token(&tokens)] {
            let request = Params::of(&[("token", token), ("token_type_hint", hint), ("client_id", "PUB")]);
            scene.revoke_with(None, &request).await.unwrap();
        }
        assert!(!scene.opens_r1(&tokens).await);
        refused(scene.refresh("PUB", &tokens).await, ErrorCode::InvalidGrant);
    }
}

/// RFC 7009 §2.2: "invalid tokens do not cause an error response".
#[tokio::test]
async fn what_is_unknown_or_dead_is_as_good_as_revoked() {
    let scene = Scene::new().await;
    let tokens = scene.tokens_for("PUB").await;
    for _ in 0..2 {
        scene.revoke("PUB", tokens.access_token.expose()).await.unwrap();
        scene.revoke("PUB", refresh_token(&tokens)).await.unwrap();
    }
    let foreign = refresh_token(&tokens).replace("mcprt_", "mcpat_");
    for unknown in [
        "x",
        "mcpat_",
        &foreign,
        "eyJhbGciOiJub25lIn0.e30.",
        "' OR 1=1 --",
        &"A".repeat(60_000),
    ] {
        scene.revoke("PUB", unknown).await.unwrap();
    }
}

/// RV-01: and the token lives on.
#[tokio::test]
async fn only_its_client_revokes_a_token() {
    let scene = Scene::new().await;
    let tokens = scene.tokens_for("SEC").await;
    for token in [tokens.access_token.expose(), refresh_token(&tokens)] {
        let anonymous = Params::of(&[("token", token)]);
        assert_eq!(
            scene.revoke_with(None, &anonymous).await.unwrap_err(),
            ErrorResponse::missing("client_id")
        );
        let bare = anonymous.clone().set("client_id", "SEC");
        refused(scene.revoke_with(None, &bare).await, ErrorCode::InvalidClient);
        challenged(
            scene
                .revoke_with(Some(&basic_pair("SEC:wrong")), &anonymous)
                .await,
        );
        for other in ["PUB", "SEC2", "EVIL", "RS1"] {
            refused(scene.revoke(other, token).await, ErrorCode::InvalidClient);
        }
    }
    assert!(scene.opens_r1(&tokens).await);
    scene.refresh("SEC", &tokens).await.unwrap();
}

#[tokio::test]
async fn nothing_is_revoked_without_a_token_or_with_two() {
    let scene = Scene::new().await;
    let none = Params::of(&[("client_id", "PUB"), ("token", "")]);
    assert_eq!(
        scene.revoke_with(None, &none).await.unwrap_err(),
        ErrorResponse::missing("token")
    );
    let tokens = scene.tokens_for("PUB").await;
    let two = Params::of(&[
        ("client_id", "PUB"),
        ("token", tokens.access_token.expose()),
        ("token", "x"),
    ]);
    assert_eq!(
        scene.revoke_with(None, &two).await.unwrap_err(),
        ErrorResponse::invalid_request("token is given more than once")
    );
    assert!(scene.opens_r1(&tokens).await);
}

/// A machine's token has no grant; it is revoked all the same.
#[tokio::test]
async fn a_machine_revokes_its_own_token() {
    let scene = Scene::new().await;
    let tokens = scene.token("SVC", &Params::client_credentials()).await.unwrap();
    scene.revoke("SVC", tokens.access_token.expose()).await.unwrap();
    assert!(!scene.opens_r1(&tokens).await);
}

/// RT-17: whoever wins, nothing lives on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_beside_a_refresh_leaves_nothing_alive() {
    let scene = std::sync::Arc::new(Scene::new().await);
    for _ in 0..50 {
        let tokens = std::sync::Arc::new(scene.tokens_for("PUB").await);
        let refresh = tokio::spawn({
            let (scene, tokens) = (scene.clone(), tokens.clone());
            async move { scene.refresh("PUB", &tokens).await }
        });
        scene.revoke("PUB", refresh_token(&tokens)).await.unwrap();
        if let Ok(descendant) = refresh.await.unwrap() {
            assert!(!scene.opens_r1(&descendant).await);
            refused(scene.refresh("PUB", &descendant).await, ErrorCode::InvalidGrant);
        }
        assert!(!scene.opens_r1(&tokens).await);
    }
}

/// XC-07: a grant that is revoked when its code was looked at and not exchanged yet gives nothing, nor does one whose refresh
/// token was.
#[tokio::test]
async fn nothing_comes_of_an_exchange_whose_grant_is_revoked_in_the_middle() {
    for verb in ["redeem_code", "rotate_refresh_token"] {
        let scene = Scene::new().await;
        let code = scene.code_for("PUB").await;
        let client = "PUB".parse().unwrap();
        let peek = scene.store.peek_code(&TokenHash::of(&code), &client, false).await;
        let grant = peek.unwrap().grant.unwrap().grant.id;
        let (mut request, mut before) = (Params::redeem("PUB", &code), None);
        if verb == "rotate_refresh_token" {
            let tokens = scene.token("PUB", &request).await.unwrap();
            request = Params::refresh("PUB", refresh_token(&tokens));
            before = Some(tokens);
        }
        scene.store.fail(verb, Fault::Waits);
        let revoked = async {
            scene.store.until_somebody_waits().await;
            let revoked = scene.store.revoke_grant(grant, scene.clock.now()).await;
            scene.store.heal();
            revoked.unwrap()
        };
        let (exchanged, revoked) = tokio::join!(scene.token("PUB", &request), revoked);
        assert!(revoked);
        refused(exchanged, ErrorCode::InvalidGrant);
        refused(scene.token("PUB", &request).await, ErrorCode::InvalidGrant);
        if let Some(tokens) = before {
            assert!(!scene.opens_r1(&tokens).await);
        }
    }
}
