//! The introspection endpoint (RFC 7662): each resource server hears of its own tokens, and of no others.

use base64::Engine as _;
use mcp_authflow::port::{Clock as _, store::ResourceStore as _};
use mcp_authflow_testkit::{
    cast::{self, R1},
    params::{Params, basic, basic_pair},
};
use mcp_authflow_types::{
    AccessToken, ErrorCode, ErrorResponse, Timestamp,
    introspection::{ActiveToken, IntrospectionResponse},
};

use crate::scene::{BEGINS_AT, ISSUER, Scene, challenged, refresh_token, refused};

/// IN-11, MX-06
#[tokio::test]
async fn a_live_token_is_told_about_in_full_and_truly() {
    let scene = Scene::new().await;
    let tokens = scene.tokens_for("PUB").await;
    let answer = scene
        .introspect("RS1", tokens.access_token.expose())
        .await
        .unwrap();
    let expected = IntrospectionResponse::Active(ActiveToken {
        scope: cast::scope("mcp:read"),
        client_id: "PUB".parse().unwrap(),
        subject: "u_alice".to_owned(),
        audience: cast::resource(R1),
        issuer: ISSUER.to_owned(),
        expires_at: Timestamp::from_seconds(BEGINS_AT.seconds() + 600),
        issued_at: BEGINS_AT,
        username: Some("alice".to_owned()),
    });
    assert_eq!(answer, expected);
    assert_eq!(
        answer.body(),
        concat!(
            r#"{"active":true,"scope":"mcp:read","client_id":"PUB","username":"alice","token_type":"Bearer","#,
            r#""exp":1790000600,"iat":1790000000,"sub":"u_alice","aud":"https://rs1.test/mcp","iss":"https://auth.example"}"#
        )
    );
}

/// A resource server that knows nothing of `offline_access` is not told of it.
#[tokio::test]
async fn offline_access_is_no_scope_of_a_resource() {
    let scene = Scene::new().await;
    let request = Params::authorize("PUB").set("scope", "mcp:read offline_access");
    let code = scene.code(&request, Scene::alice()).await;
    let tokens = scene.token("PUB", &Params::redeem("PUB", &code)).await.unwrap();
    let answer = scene
        .introspect("RS1", tokens.access_token.expose())
        .await
        .unwrap();
    assert!(
        answer.body().contains(r#""scope":"mcp:read","#),
        "{}",
        answer.body()
    );
}

/// IN-03
#[tokio::test]
async fn a_token_for_another_resource_is_inactive_and_nothing_else() {
    let scene = Scene::new().await;
    let tokens = scene.tokens_for("PUB").await;
    let answer = scene
        .introspect("RS2", tokens.access_token.expose())
        .await
        .unwrap();
    assert_eq!(answer.body(), r#"{"active":false}"#);
}

/// IN-03, IN-08, IN-12, CO-08
#[tokio::test]
async fn what_is_no_access_token_of_ours_is_inactive() {
    let scene = Scene::new().await;
    let code = scene.code_for("PUB").await;
    let tokens = scene.tokens_for("PUB").await;
    let mut touched = tokens.access_token.expose().to_owned();
    touched.pop();
    for other in [
        refresh_token(&tokens),
        &code,
        &touched,
        &refresh_token(&tokens).replace("mcprt_", "mcpat_"),
        "eyJhbGciOiJFUzI1NiJ9.e30.AAAA",
        "x",
        &".".repeat(60_000),
    ] {
        assert_eq!(
            scene.introspect("RS1", other).await,
            Ok(IntrospectionResponse::Inactive)
        );
    }
}

/// IN-01: no answer about any token without credentials.
#[tokio::test]
async fn nobody_else_is_told_anything() {
    let scene = Scene::new().await;
    let tokens = scene.tokens_for("SEC").await;
    let token = tokens.access_token.expose();
    let request = Params::of(&[("token", token)]);
    assert_eq!(
        scene.introspect_with(None, &request).await,
        Err(ErrorResponse::missing("client_id"))
    );
    challenged(
        scene
            .introspect_with(Some(&format!("Bearer {token}")), &request)
            .await,
    );
    challenged(
        scene
            .introspect_with(Some(&basic_pair("RS1:wrong")), &request)
            .await,
    );
    refused(
        scene
            .introspect_with(None, &request.clone().set("client_id", "RS1"))
            .await,
        ErrorCode::InvalidClient,
    );
    // The token's own client has proven who it is, and protects no resource.
    challenged(scene.introspect_with(Some(&basic("SEC")), &request).await);
    for public in ["PUB", "EVIL"] {
        refused(
            scene
                .introspect_with(None, &request.clone().set("client_id", public))
                .await,
            ErrorCode::InvalidClient,
        );
    }
    let in_body = request
        .set("client_id", "RS1")
        .set("client_secret", &cast::secret_of("RS1"));
    assert_ne!(
        scene.introspect_with(None, &in_body).await,
        Ok(IntrospectionResponse::Inactive)
    );
}

/// ST-04: a token says of what kind it is and when it ends; one whose parts are of different tokens is none.
#[tokio::test]
async fn a_token_put_together_from_parts_is_inactive() {
    let scene = Scene::new().await;
    let tokens = scene.tokens_for("PUB").await;
    let good = tokens.access_token.expose();
    let random = base64::prelude::BASE64_URL_SAFE_NO_PAD
        .decode(&good[10..53])
        .unwrap()
        .try_into()
        .unwrap();
    let end = scene.clock.now().seconds() + 600;
    let minted = |hours: i64| AccessToken::mint(&random, Timestamp::from_seconds(end + hours * 3_600));
    assert_eq!(minted(0).expose(), good, "the parts are those of the token");
    let (later, earlier) = (minted(1), minted(-1));
    for other in [
        later.expose(),
        earlier.expose(),
        // Parts whose checksum is that of the whole token, and of another.
        &format!("{}{}", &good[..10], &later.expose()[10..]),
        &format!("{}{}", &later.expose()[..10], &good[10..]),
        &good["mcpat_".len()..],
        "mcpat_",
        &good[..10],
        &good.replacen("mcpat_", "mcpat2_", 1),
        &good.replacen("mcpat_", "MCPAT_", 1),
        &good.replacen("mcpat_", "staging_mcpat_", 1),
        &format!("v2.{good}"),
        &format!("{good}{good}"),
        &good[10..53],
    ] {
        let answer = scene.introspect("RS1", other).await;
        assert_eq!(answer, Ok(IntrospectionResponse::Inactive), "{other}");
    }
    assert!(scene.opens_r1(&tokens).await);
}

#[tokio::test]
async fn a_token_is_inactive_from_the_second_it_expires() {
    let scene = Scene::new().await;
    let tokens = scene.tokens_for("PUB").await;
    scene.wait(599);
    assert!(scene.opens_r1(&tokens).await);
    scene.wait(1);
    assert!(!scene.opens_r1(&tokens).await);
}

/// AU-12
#[tokio::test]
async fn a_removed_resource_hears_nothing_more() {
    let scene = Scene::new().await;
    let tokens = scene.tokens_for("PUB").await;
    assert!(scene.store.remove_resource(&cast::resource(R1)).await.unwrap());
    challenged(scene.introspect("RS1", tokens.access_token.expose()).await);
}

#[tokio::test]
async fn an_introspection_names_one_token() {
    let scene = Scene::new().await;
    for (request, error) in [
        (Params::of(&[]), ErrorResponse::missing("token")),
        (Params::of(&[("token", "")]), ErrorResponse::missing("token")),
        (
            Params::of(&[("token", "a"), ("token", "b")]),
            ErrorResponse::invalid_request("token is given more than once"),
        ),
    ] {
        let answer = scene.introspect_with(Some(&basic("RS1")), &request).await;
        assert_eq!(answer, Err(error));
    }
}
