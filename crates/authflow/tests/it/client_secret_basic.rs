//! The `Authorization` header of a client (RFC 6749 §2.3.1, RFC 7617).

use mcp_authflow_testkit::params::{Params, basic_pair};
use mcp_authflow_types::TokenHash;

use crate::scene::{Scene, challenged};

/// M §6.3: form-encoded as the RFC asks, or as it stands as many clients send it.
#[tokio::test]
async fn a_secret_in_the_header_may_be_encoded_or_not() {
    let scene = Scene::new().await;
    let mut client = mcp_authflow_testkit::cast::machine("odd", "svc:sync");
    let secret = "50%25+off:a/b=c-abcdefghijklmnopqrstuvwxyz";
    client.secret = Some(TokenHash::of(secret));
    mcp_authflow_testkit::cast::add_client(&*scene.store, &client).await;
    for sent in [secret, "50%2525%2Boff%3Aa%2Fb%3Dc-abcdefghijklmnopqrstuvwxyz"] {
        scene
            .token_with(
                Some(&basic_pair(&format!("odd:{sent}"))),
                &Params::client_credentials(),
            )
            .await
            .unwrap();
    }
}

/// CA-09
#[tokio::test]
async fn a_header_that_cannot_be_read_is_answered_with_a_challenge() {
    let scene = Scene::new().await;
    for header in [
        "Basic !!!notbase64!!!",
        "Basic U1ZD-_8=",
        "Basic U1ZD OnNlY3JldA==",
        "Basic U1ZD",
        "Basic ",
        "Basic",
        "",
        "Bearer x",
        &basic_pair("SVC:a\0b"),
        &format!("Basic {}", "A".repeat(60_000)),
        &basic_pair(":secret"),
        &basic_pair("S VC:secret"),
    ] {
        challenged(
            scene
                .token_with(Some(header), &Params::client_credentials())
                .await,
        );
    }
}
