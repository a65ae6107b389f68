//! The client credentials grant (RFC 6749 §4.4), and what the token endpoint says of other grants.

use mcp_authflow::port::store::ClientStore as _;
use mcp_authflow_testkit::{
    cast::{self, R1, R2},
    params::Params,
};
use mcp_authflow_types::{ErrorCode, ErrorResponse, Timestamp, introspection::IntrospectionResponse};

use crate::scene::{BEGINS_AT, ISSUER, Scene, refused};

/// RFC 6749 §4.4.3: "A refresh token SHOULD NOT be included."
/// M-206
#[tokio::test]
async fn a_machine_acts_for_itself() {
    let scene = Scene::new().await;
    let tokens = scene.token("SVC", &Params::client_credentials()).await.unwrap();
    assert!(tokens.refresh_token.is_none());
    assert_eq!(
        (tokens.expires_in, tokens.scope.to_string()),
        (600, "svc:sync".into())
    );
    let answer = scene
        .introspect("RS1", tokens.access_token.expose())
        .await
        .unwrap();
    let IntrospectionResponse::Active(token) = answer else {
        panic!("it is live");
    };
    assert_eq!((token.subject.as_str(), token.client_id.as_str()), ("SVC", "SVC"));
    assert_eq!((token.audience.as_str(), token.issuer.as_str()), (R1, ISSUER));
    assert_eq!(token.username, None);
    assert_eq!(token.issued_at, BEGINS_AT);
    assert_eq!(
        token.expires_at,
        Timestamp::from_seconds(BEGINS_AT.seconds() + 600)
    );
}

/// SC-09
#[tokio::test]
async fn a_machine_gets_no_scope_of_people() {
    let scene = Scene::new().await;
    for nothing in ["mcp:read", "openid", "offline_access", "admin", "svc:sync\"", "*"] {
        refused(
            scene
                .token("SVC", &Params::client_credentials().set("scope", nothing))
                .await,
            ErrorCode::InvalidScope,
        );
    }
    for narrowed in [
        Params::client_credentials().unset("scope"),
        Params::client_credentials().set("scope", "svc:sync mcp:read offline_access"),
    ] {
        let tokens = scene.token("SVC", &narrowed).await.unwrap();
        assert_eq!(tokens.scope.to_string(), "svc:sync");
    }
}

/// AU-06, AU-10
#[tokio::test]
async fn a_machine_names_its_resource() {
    let scene = Scene::new().await;
    for elsewhere in [
        Params::client_credentials().unset("resource"),
        Params::client_credentials().set("resource", "https://unknown.test/mcp"),
        Params::client_credentials().set("resource", "rs1.test"),
        Params::client_credentials().and("resource", R2),
        Params::client_credentials().set("resource", "http://127.0.0.1:9/mcp"),
    ] {
        refused(scene.token("SVC", &elsewhere).await, ErrorCode::InvalidTarget);
    }
    let with_default = Scene::with(|settings| settings.default_resource = Some(cast::resource(R1))).await;
    let by_default = Params::client_credentials().unset("resource");
    with_default.token("SVC", &by_default).await.unwrap();

    let mut bound = cast::machine("BOUND", "svc:sync mcp:read");
    bound.profile.resources = vec![cast::resource(R2)];
    cast::add_client(&*scene.store, &bound).await;
    let header = mcp_authflow_testkit::params::basic("BOUND");
    refused(
        scene
            .token_with(Some(&header), &Params::client_credentials())
            .await,
        ErrorCode::InvalidTarget,
    );
}

/// RFC 6749 §4.4: "MUST only be used by confidential clients".
/// M-200
#[tokio::test]
async fn nobody_else_acts_for_himself() {
    let scene = Scene::new().await;
    for client in ["PUB", "SEC", "EVIL"] {
        let request = Params::client_credentials().set("client_id", client);
        refused(scene.token(client, &request).await, ErrorCode::UnauthorizedClient);
    }
}

/// P2
#[tokio::test]
async fn a_machines_tokens_end_with_it() {
    let scene = Scene::new().await;
    let tokens = scene.token("SVC", &Params::client_credentials()).await.unwrap();
    assert!(scene.opens_r1(&tokens).await);
    scene.store.revoke_client(&"SVC".parse().unwrap()).await.unwrap();
    assert!(!scene.opens_r1(&tokens).await);
    let anew = scene.token("SVC", &Params::client_credentials()).await.unwrap();
    assert!(scene.opens_r1(&anew).await);
}

/// OAuth 2.1 §1.8, MD-01
/// M-002
#[tokio::test]
async fn other_grants_are_not_supported() {
    let scene = Scene::new().await;
    for grant_type in [
        "password",
        "implicit",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "urn:ietf:params:oauth:grant-type:token-exchange",
        "Client_Credentials",
        "client_credentials ",
    ] {
        let request = Params::client_credentials().set("grant_type", grant_type);
        refused(
            scene.token("SVC", &request).await,
            ErrorCode::UnsupportedGrantType,
        );
    }
    for missing in [
        Params::client_credentials().unset("grant_type"),
        Params::client_credentials().set("grant_type", ""),
    ] {
        assert_eq!(
            scene.token("SVC", &missing).await.unwrap_err(),
            ErrorResponse::missing("grant_type")
        );
    }
}

/// TE-03
#[tokio::test]
async fn no_parameter_of_a_token_request_comes_twice() {
    let scene = Scene::new().await;
    let code = scene.code_for("PUB").await;
    let good = Params::redeem("PUB", &code);
    for name in ["grant_type", "code", "client_id", "redirect_uri", "code_verifier"] {
        for second in [good.value(name), "x", ""] {
            assert_eq!(
                scene
                    .token("PUB", &good.clone().and(name, second))
                    .await
                    .unwrap_err(),
                ErrorResponse::invalid_request(format!("{name} is given more than once"))
            );
        }
    }
    scene.token("PUB", &good).await.unwrap();
}
