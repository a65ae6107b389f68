//! Scope, from the request to the token.

use mcp_authflow_testkit::{cast, params::Params};
use mcp_authflow_types::ErrorCode;

use crate::scene::{Scene, refused};

/// What a token allows that comes of a request, as the answer says it.
async fn granted(scene: &Scene, request: &Params) -> String {
    let client = request.value("client_id").to_owned();
    let code = scene.code(request, Scene::alice()).await;
    let redeem = Params::redeem(&client, &code).set("redirect_uri", request.value("redirect_uri"));
    scene.token(&client, &redeem).await.unwrap().scope.to_string()
}

/// M §6.4 trap 6
/// M-151
#[tokio::test]
async fn scope_is_narrowed_silently_and_the_answer_says_what_is_left() {
    let scene = Scene::new().await;
    for (asked, left) in [
        ("mcp:read", "mcp:read"),
        ("mcp:write mcp:read", "mcp:read mcp:write"),
        ("mcp:read openid profile tasks:run", "mcp:read"),
        ("mcp:read mcp:read", "mcp:read"),
        ("mcp:read offline_access", "mcp:read offline_access"),
    ] {
        let request = Params::authorize("WEB").set("scope", asked);
        assert_eq!(granted(&scene, &request).await, left, "{asked}");
    }
}

/// SC-06
#[tokio::test]
async fn no_scope_means_a_small_default_and_never_everything() {
    let scene = Scene::new().await;
    for nothing in [
        Params::authorize("WEB").unset("scope"),
        Params::authorize("WEB").set("scope", ""),
    ] {
        assert_eq!(granted(&scene, &nothing).await, "mcp:read");
    }
    let below = {
        let mut client = cast::client("LOW", &["https://client.example/cb"]);
        client.profile.scope = Some(cast::scope("mcp:write"));
        client
    };
    cast::add_client(&*scene.store, &below).await;
    assert_eq!(
        granted(&scene, &Params::authorize("LOW").unset("scope")).await,
        "mcp:write"
    );
}

/// SC-05, SC-08; RFC 6749 §3.3
#[tokio::test]
async fn a_scope_is_written_as_the_rfc_writes_it() {
    let scene = Scene::new().await;
    for malformed in [
        "mcp:read\"<b>",
        "mcp:read\\",
        "mcp:read\tmcp:write",
        "mcp:read\nmcp:write",
        "mcp:read,mcp:write",
        " mcp:read",
        "mcp:read  mcp:write",
        " ",
        "mcp:r\u{e9}ad",
        "MCP:READ",
        "*",
    ] {
        let request = Params::authorize("WEB").set("scope", malformed);
        let answer = scene.sent_back(&request).await;
        assert_eq!(answer.value("error"), Some("invalid_scope"), "{malformed:?}");
    }
}

/// SC-03: refresh cannot bring back what was unticked.
#[tokio::test]
async fn what_a_person_unticks_is_gone_for_good() {
    let scene = Scene::new().await;
    let request = Params::authorize("PUB").set("scope", "mcp:read mcp:write offline_access");
    let code = scene
        .code(&request, Scene::alice_ticks("mcp:read offline_access admin"))
        .await;
    let tokens = scene.token("PUB", &Params::redeem("PUB", &code)).await.unwrap();
    assert_eq!(tokens.scope.to_string(), "mcp:read offline_access");

    let refresh = Params::refresh("PUB", crate::scene::refresh_token(&tokens));
    for wider in ["mcp:read mcp:write", "mcp:write", "mcp:read admin"] {
        refused(
            scene.token("PUB", &refresh.clone().set("scope", wider)).await,
            ErrorCode::InvalidScope,
        );
    }
    let again = scene.token("PUB", &refresh).await.unwrap();
    assert_eq!(again.scope.to_string(), "mcp:read offline_access");
}

/// M-115
#[tokio::test]
async fn whoever_unticks_to_stay_connected_gives_no_refresh_token() {
    let scene = Scene::new().await;
    let request = Params::authorize("PUB").set("scope", "mcp:read offline_access");
    let code = scene.code(&request, Scene::alice_ticks("mcp:read")).await;
    let tokens = scene.token("PUB", &Params::redeem("PUB", &code)).await.unwrap();
    assert!(tokens.refresh_token.is_none());
    assert_eq!(tokens.scope.to_string(), "mcp:read");
}

/// M-116: refresh tokens also without `offline_access`, for clients that registered for them.
#[tokio::test]
async fn a_client_that_may_refresh_gets_a_refresh_token_without_asking() {
    let scene = Scene::new().await;
    let tokens = scene.tokens_for("PUB").await;
    assert!(tokens.refresh_token.is_some());
    assert_eq!(tokens.scope.to_string(), "mcp:read");

    let mut online = cast::client("ONLINE", &["https://client.example/cb"]);
    online.profile.grant_types.pop();
    cast::add_client(&*scene.store, &online).await;
    assert!(scene.tokens_for("ONLINE").await.refresh_token.is_none());
}

/// RFC 6749 §4.1.2.1
#[tokio::test]
async fn whoever_unticks_everything_denies() {
    let scene = Scene::new().await;
    for ticked in ["", "admin", "offline_access"] {
        let pending = scene
            .pending(&Params::authorize("PUB").set("scope", "mcp:read offline_access"))
            .await;
        let approval = Scene::alice_ticks(ticked);
        let answer = scene.server.approve(pending, approval, None).await.unwrap();
        let answer = crate::scene::Answer::of(&answer);
        assert_eq!(answer.value("error"), Some("access_denied"), "{ticked}");
        assert_eq!(answer.value("code"), None);
    }
}
