//! Resources, from the request to the audience (RFC 8707).

use mcp_authflow::port::store::ResourceStore as _;
use mcp_authflow_testkit::{
    cast::{self, R1, R2},
    params::Params,
};
use mcp_authflow_types::{ErrorCode, TokenResponse, introspection::IntrospectionResponse};

use crate::scene::{ISSUER, Scene, refresh_token, refused};

/// The audience of the token that comes of a request, as its resource server hears it.
async fn audience(scene: &Scene, request: &Params, server: &str) -> Option<String> {
    let code = scene.code(request, Scene::alice()).await;
    let redeem = Params::redeem("WEB", &code).unset("resource");
    let tokens = scene.token("WEB", &redeem).await.unwrap();
    match scene
        .introspect(server, tokens.access_token.expose())
        .await
        .unwrap()
    {
        IntrospectionResponse::Active(token) => Some(token.audience.to_string()),
        IntrospectionResponse::Inactive => None,
    }
}

/// M §6.4 trap 2: clients add slashes and change case; `aud` is what the operator registered.
/// M-084
#[tokio::test]
async fn the_registered_spelling_becomes_the_audience() {
    let scene = Scene::new().await;
    cast::add_resource(&*scene.store, "https://root.test", &["mcp:read"], "ROOT").await;
    for (presented, registered, server) in [
        (R1, R1, "RS1"),
        ("HTTPS://RS1.test/mcp", R1, "RS1"),
        ("https://rs1.test:443/mcp", R1, "RS1"),
        ("https://root.test/", "https://root.test", "ROOT"),
        ("https://ROOT.test:443", "https://root.test", "ROOT"),
    ] {
        let request = Params::authorize("WEB").set("resource", presented);
        let heard = audience(&scene, &request, server).await;
        assert_eq!(heard.as_deref(), Some(registered), "{presented}");
        // The resource server is told its own spelling whatever is kept, so look at what is kept as well.
        let pending = scene.pending(&request).await;
        let kept = &pending.interaction().request.resources[0].resource;
        assert_eq!(kept.as_str(), registered, "{presented}");
    }
}

/// AU-01, AU-08
/// M-084
#[tokio::test]
async fn what_only_resembles_a_resource_is_unknown() {
    let scene = Scene::new().await;
    for presented in [
        "https://unknown.test/mcp",
        "https://rs1.test@evil.example/mcp",
        "https://rs1.test.evil.example/mcp",
        "https://rs1.test/mcp-evil",
        "https://rs1.test/mcp?x",
        "https://rs1.test/mcp/",
        "https://rs1.test/MCP",
        "https://rs1.test/",
        "https://evil.example/#https://rs1.test/mcp",
        "https://rs1.test/mcp#",
        "http://rs1.test/mcp",
        "rs1.test/mcp",
        "http://127.0.0.1:9000/mcp",
        "http://localhost:9000/mcp",
    ] {
        let request = Params::authorize("WEB").set("resource", presented);
        let answer = scene.sent_back(&request).await;
        assert_eq!(answer.value("error"), Some("invalid_target"), "{presented}");
    }
}

/// A first try needs no set-up.
#[tokio::test]
async fn on_a_loopback_issuer_loopback_resources_need_no_registration() {
    let scene = Scene::at("http://127.0.0.1:8000", |_| {}).await;
    let own = "http://127.0.0.1:9000/mcp";
    let request = Params::authorize("WEB").set("resource", own);
    let code = scene.code(&request, Scene::alice()).await;
    let redeem = Params::redeem("WEB", &code).set("resource", own);
    let tokens = scene.token("WEB", &redeem).await.unwrap();
    assert_eq!(tokens.scope.to_string(), "mcp:read");

    for elsewhere in [
        "http://192.168.0.1/mcp",
        "https://unknown.test/mcp",
        "http://127.0.0.2/mcp",
    ] {
        let answer = scene
            .sent_back(&Params::authorize("WEB").set("resource", elsewhere))
            .await;
        assert_eq!(answer.value("error"), Some("invalid_target"), "{elsewhere}");
    }
    let strict = Scene::at("http://127.0.0.1:8000", |settings| {
        settings.accept_unregistered_loopback_resources = false;
    })
    .await;
    assert_eq!(
        strict.sent_back(&request).await.value("error"),
        Some("invalid_target")
    );
}

/// AU-06
#[tokio::test]
async fn no_resource_means_the_configured_one_or_the_only_one() {
    let request = Params::authorize("WEB").unset("resource");

    let two = Scene::new().await;
    assert_eq!(
        two.sent_back(&request).await.value("error"),
        Some("invalid_target")
    );

    let with_default = Scene::with(|settings| settings.default_resource = Some(cast::resource(R2))).await;
    assert_eq!(
        audience(&with_default, &request, "RS2").await.as_deref(),
        Some(R2)
    );
    let unregistered =
        Scene::with(|settings| settings.default_resource = Some(cast::resource("https://gone.test"))).await;
    assert_eq!(
        unregistered.sent_back(&request).await.value("error"),
        Some("invalid_target")
    );

    assert!(two.store.remove_resource(&cast::resource(R2)).await.unwrap());
    assert_eq!(audience(&two, &request, "RS1").await.as_deref(), Some(R1));
    assert!(two.store.remove_resource(&cast::resource(R1)).await.unwrap());
    assert_eq!(
        two.sent_back(&request).await.value("error"),
        Some("invalid_target")
    );
}

/// AU-04, AU-13
/// M-084
#[tokio::test]
async fn of_several_resources_each_token_is_for_one() {
    let scene = Scene::new().await;
    let request = Params::authorize("PUB")
        .set("scope", "mcp:read tasks:run offline_access")
        .and("resource", R2);
    let code = scene.code(&request, Scene::alice()).await;
    let redeem = Params::redeem("PUB", &code);
    refused(
        scene.token("PUB", &redeem.clone().and("resource", R2)).await,
        ErrorCode::InvalidTarget,
    );
    let at_r1 = scene.token("PUB", &redeem).await.unwrap();
    assert_eq!(at_r1.scope.to_string(), "mcp:read offline_access");

    let refresh = Params::refresh("PUB", refresh_token(&at_r1));
    refused(
        scene
            .token("PUB", &refresh.clone().set("resource", "https://rs3.test/mcp"))
            .await,
        ErrorCode::InvalidTarget,
    );
    let at_r2 = scene.token("PUB", &refresh.set("resource", R2)).await.unwrap();
    assert_eq!(at_r2.scope.to_string(), "mcp:read offline_access tasks:run");

    let both = [
        ("RS1", &at_r1, true),
        ("RS2", &at_r1, false),
        ("RS1", &at_r2, false),
        ("RS2", &at_r2, true),
    ];
    for (server, tokens, opens) in both {
        let answer = scene
            .introspect(server, tokens.access_token.expose())
            .await
            .unwrap();
        assert_eq!(answer != IntrospectionResponse::Inactive, opens, "{server}");
    }
}

/// AU-12: nothing is spent for a resource that was removed, and nothing revives when it comes back.
#[tokio::test]
async fn what_was_approved_ends_with_the_registration_of_its_resource() {
    for (issuer, first) in [
        (ISSUER, R1),
        // Where it would need no registration, it had one.
        ("http://127.0.0.1:8000", "http://127.0.0.1:9000/mcp"),
    ] {
        let scene = Scene::at(issuer, |_| {}).await;
        let scopes = ["mcp:read", "mcp:write"];
        if first != R1 {
            cast::add_resource(&*scene.store, first, &scopes, "LOOP").await;
        }
        let caller = if first == R1 { "RS1" } else { "LOOP" };
        let opens = async |tokens: &TokenResponse| {
            let token = tokens.access_token.expose();
            scene.introspect(caller, token).await.unwrap() != IntrospectionResponse::Inactive
        };
        let request = Params::authorize("PUB")
            .set("resource", first)
            .and("resource", R2)
            .set("scope", "mcp:read tasks:run offline_access");
        let code = scene.code(&request, Scene::alice()).await;
        let redeem = Params::redeem("PUB", &code).set("resource", first);
        let tokens = scene.token("PUB", &redeem).await.unwrap();
        assert!(opens(&tokens).await, "{first}");
        let waiting = scene.code(&request, Scene::alice()).await;
        let redeem = Params::redeem("PUB", &waiting).set("resource", first);
        let refresh = Params::refresh("PUB", refresh_token(&tokens));

        assert!(scene.store.remove_resource(&cast::resource(first)).await.unwrap());
        for is_back in [false, true] {
            if is_back {
                cast::add_resource(&*scene.store, first, &scopes, caller).await;
                assert!(!opens(&tokens).await, "{first}");
            }
            for request in [
                redeem.clone(),
                redeem.clone().unset("resource"),
                refresh.clone(),
                refresh.clone().set("resource", first),
            ] {
                refused(scene.token("PUB", &request).await, ErrorCode::InvalidTarget);
            }
        }

        // Neither the code nor the refresh token was spent: both are good for the other resource.
        let at_r2 = scene.token("PUB", &redeem.set("resource", R2)).await.unwrap();
        let refreshed = scene.token("PUB", &refresh.set("resource", R2)).await.unwrap();
        for tokens in [&at_r2, &refreshed] {
            assert_eq!(tokens.scope.to_string(), "mcp:read offline_access tasks:run");
        }
        let anew = scene.code(&request, Scene::alice()).await;
        let redeem = Params::redeem("PUB", &anew).set("resource", first);
        assert!(
            opens(&scene.token("PUB", &redeem).await.unwrap()).await,
            "{first}"
        );
    }
}

/// A first try needs no set-up, and stays as it began.
#[tokio::test]
async fn an_unregistered_loopback_resource_is_refreshed_on_a_loopback_issuer() {
    let scene = Scene::at("http://127.0.0.1:8000", |_| {}).await;
    let own = "http://127.0.0.1:9000/mcp";
    let request = Params::authorize("PUB")
        .set("resource", own)
        .set("scope", "mcp:read offline_access");
    let code = scene.code(&request, Scene::alice()).await;
    let redeem = Params::redeem("PUB", &code).set("resource", own);
    let first = scene.token("PUB", &redeem).await.unwrap();
    let second = scene.refresh("PUB", &first).await.unwrap();
    assert_eq!(second.scope.to_string(), "mcp:read offline_access");
}

/// An approval is not remembered beyond the registration it was for.
#[tokio::test]
async fn a_resource_that_came_back_is_asked_about_again() {
    let scene = Scene::new().await;
    scene.tokens_for("SEC").await;
    let request = Params::authorize("SEC");
    let is_approved = async || {
        let pending = scene.pending(&request).await;
        scene
            .server
            .is_approved_already(&pending, "u_alice")
            .await
            .unwrap()
    };
    assert!(is_approved().await);
    assert!(scene.store.remove_resource(&cast::resource(R1)).await.unwrap());
    cast::add_resource(&*scene.store, R1, &["mcp:read", "mcp:write"], "RS1").await;
    assert!(!is_approved().await);
    scene.tokens_for("SEC").await;
    assert!(is_approved().await);
}

/// AU-09
#[tokio::test]
async fn at_most_eight_resources_are_asked_for() {
    let scene = Scene::new().await;
    let mut request = Params::authorize("WEB");
    for number in 3..=9 {
        let uri = format!("https://rs{number}.test/mcp");
        cast::add_resource(&*scene.store, &uri, &["mcp:read"], &format!("RS{number}")).await;
        request = request.and("resource", &uri);
    }
    assert_eq!(scene.pending(&request).await.resources().len(), 8);
    let nine = request.and("resource", R2);
    assert_eq!(
        scene.sent_back(&nine).await.value("error"),
        Some("invalid_target")
    );
}

/// AU-10
#[tokio::test]
async fn a_client_with_a_list_of_resources_gets_no_other() {
    let scene = Scene::new().await;
    let mut client = cast::client("BOUND", &["https://client.example/cb"]);
    client.profile.resources = vec![cast::resource(R1)];
    cast::add_client(&*scene.store, &client).await;
    scene.pending(&Params::authorize("BOUND")).await;
    for request in [
        Params::authorize("BOUND").set("resource", R2),
        Params::authorize("BOUND").and("resource", R2),
    ] {
        let answer = scene.sent_back(&request).await;
        assert_eq!(answer.value("error"), Some("invalid_target"));
    }
}
