//! Revocation and introspection on the wire (RFC 7009 §2.2, RFC 7662 §2.2).

use axum::body::Body;
use http::{StatusCode, header};
use insta::assert_snapshot;
use mcp_authflow_testkit::{cast::secret_of, failing_store::Fault, params::Params};

use crate::edge::{Edge, form};

/// IN-11, P2
#[tokio::test]
async fn a_revoked_token_is_inactive_in_the_next_breath() {
    let edge = Edge::new().await;
    let tokens = edge.tokens_for("PUB").await;
    let token = Params::of(&[("token", tokens["access_token"].as_str().unwrap())]);
    let live = edge.post("/introspect", Some("RS1"), &token).await;
    assert_snapshot!(live, @r#"
    200 OK
    cache-control: no-store
    content-type: application/json
    pragma: no-cache
    x-content-type-options: nosniff

    {"active":true,"scope":"mcp:read","client_id":"PUB","username":"alice","token_type":"Bearer","exp":1790000600,"iat":1790000000,"sub":"u_alice","aud":"https://rs1.test/mcp","iss":"https://auth.example"}
    "#);
    let in_body = token
        .clone()
        .set("client_id", "RS1")
        .set("client_secret", &secret_of("RS1"));
    let by_post = edge.post("/introspect", None, &in_body).await;
    assert_eq!(by_post.to_string(), live.to_string());

    let revoked = edge
        .post("/revoke", None, &token.clone().set("client_id", "PUB"))
        .await;
    assert_eq!((revoked.status, revoked.body.as_str()), (StatusCode::OK, ""));
    assert_eq!(revoked.header("cache-control"), "no-store");

    let dead = edge.post("/introspect", Some("RS1"), &token).await;
    assert_snapshot!(dead, @r#"
    200 OK
    cache-control: no-store
    content-type: application/json
    pragma: no-cache
    x-content-type-options: nosniff

    {"active":false}
    "#);
}

/// IN-01
#[tokio::test]
async fn a_bearer_token_is_no_credential_to_ask_with() {
    let edge = Edge::new().await;
    let tokens = edge.tokens_for("PUB").await;
    let token = tokens["access_token"].as_str().unwrap();
    let request = form("/introspect")
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .body(Body::from(Params::of(&[("token", token)]).encoded()));
    let reply = edge.send(request.unwrap()).await;
    reply.assert_error(401, "invalid_client");
    assert_eq!(reply.header("www-authenticate"), "Basic realm=\"authflow\"");
}

/// RV-01
#[tokio::test]
async fn a_stranger_revokes_nothing() {
    let edge = Edge::new().await;
    let tokens = edge.tokens_for("PUB").await;
    let token = Params::of(&[("token", tokens["refresh_token"].as_str().unwrap())]);
    edge.post("/revoke", Some("SEC"), &token)
        .await
        .assert_error(401, "invalid_client");
    let refresh = Params::refresh("PUB", token.value("token"));
    assert_eq!(edge.post("/token", None, &refresh).await.status, StatusCode::OK);
}

/// RL-11: who revokes too often is told when to come back.
#[tokio::test]
async fn a_revocation_too_many_is_told_when_to_come_back() {
    let edge = Edge::with(|settings| settings.limits.token_requests_per_address_per_minute = 2).await;
    let token = Params::of(&[("token", "x"), ("client_id", "PUB")]);
    for _ in 0..2 {
        assert_eq!(edge.post("/revoke", None, &token).await.status, StatusCode::OK);
    }
    let reply = edge.post("/revoke", None, &token).await;
    reply.assert_error(429, "too_many_requests");
    assert_eq!(reply.header("retry-after"), "60");
}

/// RV-07, P9
#[tokio::test]
async fn what_could_not_be_done_or_asked_is_said() {
    let edge = Edge::new().await;
    let tokens = edge.tokens_for("PUB").await;
    let token = Params::of(&[("token", tokens["access_token"].as_str().unwrap())]);
    edge.store.fail("revoke_access_token", Fault::Refuses);
    let reply = edge
        .post("/revoke", None, &token.clone().set("client_id", "PUB"))
        .await;
    reply.assert_error(503, "temporarily_unavailable");
    assert_eq!(reply.header("retry-after"), "2");
    edge.store.fail("peek_access_token", Fault::Hangs);
    let reply = edge.post("/introspect", Some("RS1"), &token).await;
    reply.assert_error(504, "temporarily_unavailable");
    assert!(!reply.body.contains("active"));
    assert_eq!(reply.header("retry-after"), "2");
}
