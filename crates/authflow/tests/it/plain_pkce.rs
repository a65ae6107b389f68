//! PKCE with `plain` (RFC 7636 §4.2): off, unless somebody insists.

use mcp_authflow_testkit::params::{Params, VERIFIER};
use mcp_authflow_types::ErrorCode;

use crate::scene::{Scene, refused};

fn plain() -> Params {
    Params::authorize("PUB")
        .set("code_challenge", VERIFIER)
        .set("code_challenge_method", "plain")
}

/// PK-14, S-043, S-044
#[tokio::test]
async fn plain_is_refused_and_not_spoken_of_by_default() {
    let scene = Scene::new().await;
    let answer = scene.sent_back(&plain()).await;
    assert_eq!(answer.value("error"), Some("invalid_request"));
    let metadata = scene.server.metadata().await.unwrap().body();
    assert!(metadata.contains(r#""code_challenge_methods_supported":["S256"]"#));
}

#[tokio::test]
async fn with_the_dangerous_switch_a_plain_challenge_binds_its_code() {
    let scene = Scene::with(|settings| settings.dangerous_allow_plain_pkce = true).await;
    let metadata = scene.server.metadata().await.unwrap().body();
    assert!(metadata.contains(r#""code_challenge_methods_supported":["S256","plain"]"#));

    let code = scene.code(&plain(), Scene::alice()).await;
    let redeem = Params::redeem("PUB", &code);
    let wrong = redeem.clone().set("code_verifier", &"a".repeat(43));
    refused(scene.token("PUB", &wrong).await, ErrorCode::InvalidGrant);
    assert!(scene.token("PUB", &redeem).await.is_ok());

    // S256 goes on to work, and a method left out is not taken for `plain`.
    assert!(scene.tokens_for("PUB").await.refresh_token.is_some());
    let answer = scene.sent_back(&plain().unset("code_challenge_method")).await;
    assert_eq!(answer.value("error"), Some("invalid_request"));
}
