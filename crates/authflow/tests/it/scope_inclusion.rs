//! Scopes that include others, and two resources whose scopes are called alike (decision 0020).

use mcp_authflow::{port::store::ResourceStore as _, record::ScopeDescription};
use mcp_authflow_testkit::{
    cast::{self, R1, R2},
    params::Params,
};
use mcp_authflow_types::{ErrorCode, ScopeToken, TokenResponse, introspection::IntrospectionResponse};

use crate::scene::{Scene, refresh_token, refused};

/// At the first resource `admin` includes `mcp:write`, and that `mcp:read`.
const AT_R1: &[(&str, &str)] = &[
    ("mcp:read", ""),
    ("mcp:write", "mcp:read"),
    ("admin", "mcp:write"),
    ("svc:sync", "mcp:read"),
];

async fn describe(scene: &Scene, resource: &str, inclusions: &[(&str, &str)]) {
    let scopes: Vec<ScopeDescription> = inclusions
        .iter()
        .map(|(token, includes)| ScopeDescription {
            includes: cast::scope(includes),
            ..ScopeDescription::new(ScopeToken::parse(token).unwrap(), "May do it")
        })
        .collect();
    let resource = cast::resource(resource);
    assert!(
        scene
            .store
            .describe_resource(&resource, "R", &scopes)
            .await
            .unwrap()
    );
}

async fn granted(scene: &Scene, request: &Params) -> TokenResponse {
    let code = scene.code(request, Scene::alice()).await;
    let client = request.value("client_id").to_owned();
    scene
        .token(&client, &Params::redeem(&client, &code))
        .await
        .unwrap()
}

/// What the resource server hears of a token's scope.
async fn heard(scene: &Scene, by: &str, tokens: &TokenResponse) -> String {
    match scene.introspect(by, tokens.access_token.expose()).await.unwrap() {
        IntrospectionResponse::Active(token) => token.scope.to_string(),
        IntrospectionResponse::Inactive => "inactive".to_owned(),
    }
}

/// M-027, M-151: what is granted is spelled out, to the client and to the resource server.
#[tokio::test]
async fn a_broad_scope_is_granted_with_all_that_it_includes() {
    let scene = Scene::new().await;
    describe(&scene, R1, AT_R1).await;
    for (asked, expected) in [
        ("mcp:read", "mcp:read"),
        ("mcp:write", "mcp:read mcp:write"),
        ("admin", "admin mcp:read mcp:write"),
        ("mcp:write tasks:run", "mcp:read mcp:write"),
    ] {
        let tokens = granted(&scene, &Params::authorize("WEB").set("scope", asked)).await;
        assert_eq!(tokens.scope.to_string(), expected, "{asked}");
        assert_eq!(heard(&scene, "RS1", &tokens).await, expected, "{asked}");
    }
    let machine = scene.token("SVC", &Params::client_credentials()).await.unwrap();
    assert_eq!(machine.scope.to_string(), "mcp:read svc:sync");
    let less = Params::client_credentials().set("scope", "mcp:read");
    assert_eq!(
        scene.token("SVC", &less).await.unwrap().scope.to_string(),
        "mcp:read"
    );
}

/// M-027, RFC 6749 §6
#[tokio::test]
async fn a_refresh_may_ask_for_what_was_included() {
    let scene = Scene::new().await;
    describe(&scene, R1, AT_R1).await;
    let tokens = granted(&scene, &Params::authorize("WEB").set("scope", "mcp:write")).await;
    let refresh = Params::refresh("WEB", refresh_token(&tokens));
    refused(
        scene.token("WEB", &refresh.clone().set("scope", "admin")).await,
        ErrorCode::InvalidScope,
    );
    let less = scene
        .token("WEB", &refresh.set("scope", "mcp:read"))
        .await
        .unwrap();
    assert_eq!(less.scope.to_string(), "mcp:read");
}

/// P13: an approval of the broad one is remembered for the narrow one, never the other way.
#[tokio::test]
async fn an_approval_is_remembered_for_what_it_includes() {
    let scene = Scene::new().await;
    describe(&scene, R1, AT_R1).await;
    granted(&scene, &Params::authorize("WEB").set("scope", "mcp:write")).await;
    for (asked, is_remembered) in [("mcp:read", true), ("mcp:write", true), ("admin", false)] {
        let pending = scene.pending(&Params::authorize("WEB").set("scope", asked)).await;
        let remembered = scene
            .server
            .is_approved_already(&pending, "u_alice")
            .await
            .unwrap();
        assert_eq!(remembered, is_remembered, "{asked}");
    }
}

/// M-152: an approval means what the page said, whatever the resource says later.
#[tokio::test]
async fn what_a_scope_includes_later_reaches_no_earlier_approval() {
    let scene = Scene::new().await;
    let tokens = granted(&scene, &Params::authorize("WEB").set("scope", "mcp:write")).await;
    assert_eq!(tokens.scope.to_string(), "mcp:write");
    describe(&scene, R1, AT_R1).await;
    assert_eq!(heard(&scene, "RS1", &tokens).await, "mcp:write");
    let refresh = Params::refresh("WEB", refresh_token(&tokens));
    let again = scene.token("WEB", &refresh).await.unwrap();
    assert_eq!(again.scope.to_string(), "mcp:write");
    let pending = scene
        .pending(&Params::authorize("WEB").set("scope", "mcp:write"))
        .await;
    let remembered = scene
        .server
        .is_approved_already(&pending, "u_alice")
        .await
        .unwrap();
    assert!(!remembered, "there is more to allow than there was");
}

/// M-027: who unticks the narrow one and leaves the broad one allows both; who unticks the broad one does not.
#[tokio::test]
async fn unticking_what_a_ticked_scope_includes_takes_nothing_away() {
    let scene = Scene::new().await;
    describe(&scene, R1, AT_R1).await;
    for (ticked, expected) in [("mcp:write", "mcp:read mcp:write"), ("mcp:read", "mcp:read")] {
        let request = Params::authorize("WEB").set("scope", "mcp:write");
        let code = scene.code(&request, Scene::alice_ticks(ticked)).await;
        let tokens = scene.token("WEB", &Params::redeem("WEB", &code)).await.unwrap();
        assert_eq!(tokens.scope.to_string(), expected, "{ticked}");
    }
}

/// A ceiling of the operator's on a client holds to what its scopes include, and to nothing else.
#[tokio::test]
async fn a_ceiling_includes_what_its_scopes_include() {
    let scene = Scene::new().await;
    describe(&scene, R1, AT_R1).await;
    let mut client = cast::client("LOW", &["https://client.example/cb"]);
    client.profile.scope = Some(cast::scope("mcp:write"));
    cast::add_client(&*scene.store, &client).await;
    for (asked, expected) in [
        ("mcp:read", "mcp:read"),
        ("admin mcp:write", "mcp:read mcp:write"),
        ("admin mcp:read", "mcp:read"),
    ] {
        let tokens = granted(&scene, &Params::authorize("LOW").set("scope", asked)).await;
        assert_eq!(tokens.scope.to_string(), expected, "{asked}");
    }
    let answer = scene
        .sent_back(&Params::authorize("LOW").set("scope", "admin"))
        .await;
    assert_eq!(answer.value("error"), Some("invalid_scope"));
}

/// M-084: a scope means at each resource what that resource says.
#[tokio::test]
async fn scopes_of_one_name_are_narrowed_and_expanded_at_each_resource_alone() {
    let scene = Scene::new().await;
    describe(&scene, R1, AT_R1).await;
    describe(
        &scene,
        R2,
        &[("mcp:read", ""), ("mcp:write", ""), ("tasks:run", "mcp:write")],
    )
    .await;
    let request = Params::authorize("WEB")
        .set("scope", "mcp:write tasks:run")
        .and("resource", R2);
    let code = scene.code(&request, Scene::alice()).await;
    let first = scene.token("WEB", &Params::redeem("WEB", &code)).await.unwrap();
    assert_eq!(heard(&scene, "RS1", &first).await, "mcp:read mcp:write");
    assert_eq!(heard(&scene, "RS2", &first).await, "inactive");
    let refresh = Params::refresh("WEB", refresh_token(&first)).set("resource", R2);
    let second = scene.token("WEB", &refresh).await.unwrap();
    assert_eq!(heard(&scene, "RS2", &second).await, "mcp:write tasks:run");
    assert_eq!(heard(&scene, "RS1", &second).await, "inactive");
}

/// Nothing follows from a name.
#[tokio::test]
async fn without_a_word_of_the_resource_no_scope_includes_another() {
    let scene = Scene::new().await;
    let tokens = granted(&scene, &Params::authorize("WEB").set("scope", "admin")).await;
    assert_eq!(tokens.scope.to_string(), "admin");
}
