//! The token endpoint as it looks on the wire.

use axum::body::Body;
use http::{StatusCode, header};
use insta::assert_snapshot;
use mcp_authflow_testkit::{
    failing_store::Fault,
    params::{Params, basic_pair},
};

use crate::edge::{Edge, Reply, form};

/// The reply with the tokens taken out.
fn masked(reply: &Reply) -> String {
    let mut text = reply.to_string();
    for prefix in ["mcpat_", "mcprt_"] {
        if let Some(at) = text.find(prefix) {
            let end = at + text[at..].find('"').unwrap();
            text.replace_range(at + prefix.len()..end, "…");
        }
    }
    text
}

/// M-117, CR-02, M §6.3: RFC 6749 §5.1
/// M-110, M-237
#[tokio::test]
async fn an_answer_with_tokens() {
    let edge = Edge::new().await;
    let waiting = edge.waiting(&Params::authorize("PUB")).await;
    let reply = edge.decide(&waiting, "allow").await;
    let (_, query) = reply.header("location").split_once("?code=").unwrap();
    let code = query.split('&').next().unwrap();
    let reply = edge.post("/token", None, &Params::redeem("PUB", code)).await;
    assert_snapshot!(masked(&reply), @r#"
    200 OK
    access-control-allow-origin: *
    access-control-expose-headers: WWW-Authenticate, Retry-After, Mcp-Session-Id, DPoP-Nonce, X-Request-Id
    cache-control: no-store
    content-type: application/json
    pragma: no-cache
    x-content-type-options: nosniff

    {"access_token":"mcpat_…","token_type":"Bearer","expires_in":600,"refresh_token":"mcprt_…","scope":"mcp:read"}
    "#);
}

/// RFC 6749 §5.2
#[tokio::test]
async fn a_code_that_is_no_good() {
    let edge = Edge::new().await;
    let reply = edge.post("/token", None, &Params::redeem("PUB", "x")).await;
    assert_snapshot!(reply, @r#"
    400 Bad Request
    access-control-allow-origin: *
    access-control-expose-headers: WWW-Authenticate, Retry-After, Mcp-Session-Id, DPoP-Nonce, X-Request-Id
    cache-control: no-store
    content-type: application/json
    pragma: no-cache
    x-content-type-options: nosniff

    {"error":"invalid_grant","error_description":"the code or refresh token is unknown, expired, used, revoked, or bound to another request"}
    "#);
}

/// RFC 6749 §5.2: "the authorization server MUST respond with an HTTP 401 (Unauthorized) status code and include the
/// "WWW-Authenticate" response header field matching the authentication scheme used by the client".
#[tokio::test]
async fn a_wrong_secret_in_the_header() {
    let edge = Edge::new().await;
    let request = form("/token")
        .header(header::AUTHORIZATION, basic_pair("SVC:wrong"))
        .body(Body::from(Params::client_credentials().encoded()));
    assert_snapshot!(edge.send(request.unwrap()).await, @r#"
    401 Unauthorized
    access-control-allow-origin: *
    access-control-expose-headers: WWW-Authenticate, Retry-After, Mcp-Session-Id, DPoP-Nonce, X-Request-Id
    cache-control: no-store
    content-type: application/json
    pragma: no-cache
    www-authenticate: Basic realm="authflow"
    x-content-type-options: nosniff

    {"error":"invalid_client","error_description":"the client is unknown or its credentials are wrong"}
    "#);
}

#[tokio::test]
async fn a_wrong_secret_in_the_body_is_not_challenged() {
    let edge = Edge::new().await;
    let request = Params::client_credentials()
        .set("client_id", "SVC")
        .set("client_secret", "wrong");
    let reply = edge.post("/token", None, &request).await;
    reply.assert_error(401, "invalid_client");
    assert_eq!(reply.header("www-authenticate"), "");
}

/// P9, CO-12
#[tokio::test]
async fn a_store_that_refuses() {
    let edge = Edge::new().await;
    edge.store.fail("issue_access_token", Fault::Refuses);
    let reply = edge
        .post("/token", Some("SVC"), &Params::client_credentials())
        .await;
    assert_snapshot!(reply, @r#"
    503 Service Unavailable
    access-control-allow-origin: *
    access-control-expose-headers: WWW-Authenticate, Retry-After, Mcp-Session-Id, DPoP-Nonce, X-Request-Id
    cache-control: no-store
    content-type: application/json
    pragma: no-cache
    retry-after: 2
    x-content-type-options: nosniff

    {"error":"temporarily_unavailable","error_description":"the server cannot answer at the moment, try again shortly"}
    "#);
    edge.store.fail("issue_access_token", Fault::Hangs);
    let reply = edge
        .post("/token", Some("SVC"), &Params::client_credentials())
        .await;
    assert_eq!(reply.status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(reply.header("retry-after"), "2");
    edge.store.heal();
    let reply = edge
        .post("/token", Some("SVC"), &Params::client_credentials())
        .await;
    assert_eq!(reply.status, StatusCode::OK);
}

/// M §6.4 trap 9: the same two tokens, and the seconds that are left.
#[tokio::test]
async fn a_refresh_that_is_repeated() {
    let edge = Edge::new().await;
    let first = edge.tokens_for("PUB").await;
    let refresh = Params::refresh("PUB", first["refresh_token"].as_str().unwrap());
    let mut answer = edge.post("/token", None, &refresh).await.json();
    edge.clock.advance(std::time::Duration::from_secs(9));
    let again = edge.post("/token", None, &refresh).await.json();
    assert_eq!(answer["expires_in"], 600);
    answer["expires_in"] = 591.into();
    assert_eq!(again, answer);
}
