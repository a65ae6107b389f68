//! Beside a separate authorization server.

use mcp_authflow_testkit::{
    server::{Store, TestServer},
    service::port::free_port,
};
use reqwest::Method;
use serde_json::json;

use super::{
    gateway::{Gateway, Start},
    identity, json_of,
    upstream::{Upstream, tools},
};

const SECRET: &str = "gateway-introspection-secret-0123456789";

/// An authorization server that knows the gateway on this port.
fn server(port: u16, format: &str) -> TestServer {
    let bootstrap = format!(
        r#"
        [[user]]
        username = "alice"
        password = "correct horse battery staple"
        [[resource]]
        uri = "http://127.0.0.1:{port}/mcp"
        name = "Team notes"
        introspection_client_id = "gateway"
        introspection_client_secret = "{SECRET}"
        access_token_format = "{format}"
        [[resource.scope]]
        name = "tools:read"
        description = "Use tools that only read"
        [[resource.scope]]
        name = "tools:destructive"
        description = "Use all tools"
        "#
    );
    TestServer::builder()
        .binary(env!("CARGO_BIN_EXE_authflow"))
        .store(Store::Sqlite)
        .bootstrap(bootstrap)
        .start()
        .unwrap()
}

fn gateway(port: u16, issuer: &str, upstream: &Upstream, is_asked: bool) -> Gateway {
    let folder = tempfile::Builder::new()
        .prefix("authflow-protect-")
        .tempdir()
        .unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, format!("{SECRET}\n")).unwrap();
    let secret = secret.display().to_string();
    let mut arguments = vec!["--issuer", issuer];
    if is_asked {
        arguments.extend([
            "--introspection-client-id",
            "gateway",
            "--introspection-client-secret-file",
            &secret,
        ]);
    }
    Start {
        arguments,
        is_beside_another: true,
        port: Some(port),
        ..Start::before(&upstream.url())
    }
    .run_in(folder)
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_sign_in_at_the_other_server_and_it_is_asked_about_every_token() {
    let upstream = Upstream::start(tools());
    let port = free_port().unwrap();
    let mut server = server(port, "opaque");
    let gateway = gateway(port, server.issuer(), &upstream, true);
    let (_, document) = json_of(
        gateway
            .ask(Method::GET, "/.well-known/oauth-protected-resource/mcp")
            .await,
    )
    .await;
    assert_eq!(document["authorization_servers"], json!([server.issuer()]));
    let client = gateway.sign_in(None).await;
    assert_eq!(client.call("read_note", json!({})).await.status(), 200);
    assert_eq!(client.call("delete_note", json!({})).await.status(), 403);

    let claims = identity(
        &gateway,
        upstream.calls()[0].headers["authflow-identity"].to_str().unwrap(),
    )
    .await;
    assert_eq!(
        (&claims["iss"], &claims["aud"]),
        (&json!(gateway.origin), &json!(upstream.url()))
    );
    assert_eq!(claims["username"], "alice");
    let keys = gateway.ask(Method::GET, "/jwks").await;
    assert_eq!(keys.headers()["content-type"], "application/jwk-set+json");

    // Nothing of an authorization server is here.
    for path in [
        "/authorize",
        "/token",
        "/ui/",
        "/.well-known/oauth-authorization-server",
    ] {
        assert_eq!(gateway.ask(Method::GET, path).await.status(), 404, "{path}");
    }
    assert!(!gateway.folder.path().join("state.sqlite").exists());

    // P9: one that cannot be asked is no reason to sign in again, and none to let anybody in.
    server.kill().unwrap();
    assert_eq!(client.call("read_note", json!({})).await.status(), 503);
    server.start_again().unwrap();
    assert_eq!(client.call("read_note", json!({})).await.status(), 200);
    assert_eq!(upstream.calls().len(), 2);
    let form = [("token", client.token.as_str()), ("client_id", &client.id)];
    gateway
        .http
        .post(server.url("/revoke"))
        .form(&form)
        .send()
        .await
        .unwrap();
    assert_eq!(client.call("read_note", json!({})).await.status(), 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_other_servers_jwts_are_verified_by_its_keys() {
    let upstream = Upstream::start(tools());
    let port = free_port().unwrap();
    let server = server(port, "jwt");
    let gateway = gateway(port, server.issuer(), &upstream, false);
    let client = gateway.sign_in(Some("tools:destructive tools:read")).await;
    assert!(client.token.starts_with("eyJ"), "a JWT");
    assert_eq!(client.call("delete_note", json!({})).await.status(), 200);
    let (head, signature) = client.token.rsplit_once('.').unwrap();
    let turned: String = signature.chars().rev().collect();
    let forged = gateway.client(&format!("{head}.{turned}"));
    assert_eq!(forged.call("delete_note", json!({})).await.status(), 401);
    assert_eq!(upstream.calls().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_starts_before_its_authorization_server() {
    let upstream = Upstream::start(tools());
    let port = free_port().unwrap();
    let mut server = server(port, "opaque");
    server.kill().unwrap();
    let gateway = gateway(port, server.issuer(), &upstream, true);
    assert!(
        gateway.output().contains("not reached yet"),
        "{}",
        gateway.output()
    );
    let stranger = gateway
        .client("mcpat_whatever")
        .call("read_note", json!({}))
        .await;
    assert_eq!(stranger.status(), 503);
    server.start_again().unwrap();
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    let client = gateway.sign_in(None).await;
    // A look that failed a moment ago is not repeated at once.
    while client.call("read_note", json!({})).await.status() != 200 {
        assert!(tokio::time::Instant::now() < deadline, "{}", gateway.output());
        tokio::task::yield_now().await;
    }
}
