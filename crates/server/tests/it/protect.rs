//! `authflow protect`: one command in front of an MCP server.

mod child;
pub(crate) mod gateway;
mod host_header;
mod mistakes;
mod other_issuer;
mod rules;
mod stdio;
mod token_places;
mod transports;
pub(crate) mod upstream;

use std::time::Duration;

use mcp_authflow_jose::{JwsRules, KeySet, UnverifiedJws};
use reqwest::Method;
use serde_json::{Value, json};

use self::{
    gateway::{Gateway, Start},
    upstream::{Upstream, tools},
};
use crate::house::{answer, text};

async fn json_of(response: reqwest::Response) -> (u16, Value) {
    let status = response.status().as_u16();
    (
        status,
        serde_json::from_str(&response.text().await.unwrap()).unwrap_or(Value::Null),
    )
}

fn gateway(upstream: &Upstream) -> Gateway {
    Start::before(&upstream.url()).run().unwrap()
}

/// RP-12, M-125: the whole way, challenge, metadata, registration, sign-in, a call. The upstream learns who called, and gets
/// no token.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_command_puts_sign_in_in_front_of_an_mcp_server() {
    let upstream = Upstream::start(tools());
    let gateway = gateway(&upstream);
    let client = gateway.sign_in(None).await;
    assert_eq!(client.scope, "tools:read");

    let response = client.call("read_note", json!({ "id": 1 })).await;
    let (status, answer) = json_of(response).await;
    assert_eq!(status, 200);
    assert_eq!(answer["result"]["content"][0]["text"], "done");

    let call = &upstream.calls()[0];
    assert!(!call.headers.contains_key("authorization"));
    assert!(!format!("{call:?}").contains(&client.token));
    let identity = identity(&gateway, call.headers["authflow-identity"].to_str().unwrap()).await;
    assert_eq!(identity["iss"], gateway.origin);
    assert_eq!(identity["aud"], upstream.url());
    assert_eq!(identity["client_id"], client.id);
    assert_eq!(identity["username"], "alice");
    assert_eq!(identity["scope"], "tools:read");
    assert!(text(&identity, "sub").starts_with("u_"), "{identity}");
    assert_eq!(
        identity["exp"].as_i64().unwrap() - identity["iat"].as_i64().unwrap(),
        60
    );
    assert!(!text(&identity, "jti").is_empty());
}

/// The claims of an identity, verified by the published keys.
async fn identity(gateway: &Gateway, token: &str) -> Value {
    let (status, keys) = answer(gateway.http.get(format!("{}/jwks", gateway.origin))).await;
    assert_eq!(status, 200);
    let keys = KeySet::parse(keys.to_string().as_bytes()).unwrap();
    let rules = JwsRules {
        types: Some(&["authflow-identity+jwt"]),
        ..JwsRules::default()
    };
    let jws = UnverifiedJws::parse(token, &rules).unwrap();
    Value::Object(jws.verify(&keys).unwrap().claims().unwrap().members().clone())
}

/// RP-01, M-011, M-127
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_token_every_method_and_path_is_401() {
    let upstream = Upstream::start(tools());
    let gateway = gateway(&upstream);
    let before = upstream.all().len();
    for method in [
        Method::GET,
        Method::POST,
        Method::DELETE,
        Method::PUT,
        Method::PATCH,
        Method::HEAD,
        Method::OPTIONS,
    ] {
        for path in ["/mcp", "/mcp/", "/mcp/messages?session_id=1", "/mcp/a/b"] {
            let response = gateway.ask(method.clone(), path).await;
            assert_eq!(response.status(), 401, "{method} {path}");
            let challenge = response.headers()["www-authenticate"].to_str().unwrap();
            let metadata = format!("{}/.well-known/oauth-protected-resource/mcp", gateway.origin);
            assert!(challenge.starts_with("Bearer "), "{challenge}");
            assert!(
                challenge.contains(&format!("resource_metadata=\"{metadata}\"")),
                "{challenge}"
            );
        }
    }
    let foreign = gateway.client("mcpat_nobodys").call("read_note", json!({})).await;
    assert_eq!(foreign.status(), 401);
    assert_eq!(upstream.all().len(), before, "nothing may reach the upstream");
}

/// M-010, M-012, M-044: the documents of both, and JSON for everything that is not there.
/// M-040
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_origin_has_the_documents_of_both_and_nothing_else() {
    let upstream = Upstream::start(tools());
    let gateway = gateway(&upstream);
    for path in [
        "/.well-known/oauth-protected-resource/mcp",
        "/.well-known/oauth-protected-resource",
    ] {
        let (status, document) = json_of(gateway.ask(Method::GET, path).await).await;
        assert_eq!(status, 200, "{path}");
        assert_eq!(document["resource"], gateway.endpoint());
        assert_eq!(document["authorization_servers"], json!([gateway.origin]));
        assert_eq!(document["resource_name"], "Team notes");
        assert_eq!(
            document["scopes_supported"],
            json!(["tools:destructive", "tools:read", "tools:write"])
        );
    }
    for path in [
        "/",
        "/mcpx",
        "/sse",
        "/other",
        "/.well-known/other",
        "/.well-known/oauth-protected-resource/x",
    ] {
        let (status, body) = json_of(gateway.ask(Method::GET, path).await).await;
        assert_eq!(status, 404, "{path}");
        assert!(!text(&body, "error").is_empty(), "{path}");
    }
    assert_eq!(gateway.ask(Method::GET, "/readyz").await.status(), 200);
}

/// What a client writes under the header's name does not arrive, in whatever spelling.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_cannot_say_who_it_is() {
    let upstream = Upstream::start(tools());
    let gateway = gateway(&upstream);
    let client = gateway.sign_in(None).await;
    let message = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "read_note", "arguments": {} },
    });
    let response = client
        .request(Method::POST, "/mcp")
        .header("Authflow-Identity", "forged")
        .header("authflow-identity", "forged again")
        .header("Authflow_Identity", "forged with an underscore")
        .json(&message)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    let arrived = &upstream.calls()[0].headers;
    assert_eq!(arrived.get_all("authflow-identity").iter().count(), 1);
    assert!(!format!("{arrived:?}").contains("forged"), "{arrived:?}");
}

/// RP-03, M-123: the same server issued it, to the same person, for another resource.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_for_another_resource_is_refused() {
    let upstream = Upstream::start(tools());
    let gateway = gateway(&upstream);
    let other = gateway.sign_in_for("http://127.0.0.1:9/mcp", None).await;
    assert!(other.token.starts_with("mcpat_"));
    assert_eq!(other.call("read_note", json!({})).await.status(), 401);
    assert!(upstream.calls().is_empty());
}

/// HH-01, HH-02: addresses come from the settings, and never from what a request says of itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_header_changes_where_a_client_is_sent() {
    let upstream = Upstream::start(tools());
    let gateway = gateway(&upstream);
    for path in [
        "/mcp",
        "/.well-known/oauth-protected-resource/mcp",
        "/.well-known/oauth-authorization-server",
    ] {
        let plain = gateway.ask(Method::GET, path).await;
        let misled = gateway
            .http
            .get(format!("{}{path}", gateway.origin))
            .header("host", "evil.example")
            .header("x-forwarded-host", "evil.example")
            .header("x-forwarded-proto", "https")
            .header("forwarded", "host=evil.example;proto=https")
            .header("x-original-url", "/.well-known/oauth-protected-resource")
            .send()
            .await
            .unwrap();
        assert_eq!(plain.status(), misled.status(), "{path}");
        assert_eq!(
            plain.headers().get("www-authenticate"),
            misled.headers().get("www-authenticate"),
            "{path}"
        );
        assert_eq!(
            plain.text().await.unwrap(),
            misled.text().await.unwrap(),
            "{path}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_token_is_refused_at_once() {
    let upstream = Upstream::start(tools());
    let gateway = gateway(&upstream);
    let client = gateway.sign_in(None).await;
    assert_eq!(client.call("read_note", json!({})).await.status(), 200);
    let form = [("token", client.token.as_str()), ("client_id", &client.id)];
    let revoked = gateway
        .http
        .post(format!("{}/revoke", gateway.origin))
        .form(&form)
        .send()
        .await;
    assert_eq!(revoked.unwrap().status(), 200);
    assert_eq!(client.call("read_note", json!({})).await.status(), 401);
    let said = "action=\"call\" outcome=\"refused\" reason=\"the token is unknown, expired or revoked\"";
    assert!(gateway.wait_for_output(said), "{}", gateway.output());
    assert!(
        gateway.output().contains("address=127.0.0.9"),
        "{}",
        gateway.output()
    );
    assert!(!gateway.output().contains(&client.token), "no token in the log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_without_its_path_is_told_from_a_server_that_is_down() {
    let upstream = Upstream::start(tools());
    let gateway = Start::before(&format!("http://{}", upstream.address))
        .run()
        .unwrap();
    let said = gateway.output();
    assert!(
        said.contains("it answered 404 Not Found: is this the whole address"),
        "{said}"
    );
    assert!(!said.contains("not reached"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_is_down_is_502_and_is_found_when_it_is_up() {
    let first = Upstream::start(tools());
    let (address, url) = (first.address, first.url());
    first.stop();
    drop(first);
    let gateway = Start::before(&url).run().unwrap();
    assert!(
        gateway.output().contains("not reached yet"),
        "{}",
        gateway.output()
    );
    let client = gateway.sign_in(None).await;
    let (status, body) = json_of(client.call("read_note", json!({})).await).await;
    // Nothing is known of the tool yet, so it needs the widest scope.
    assert_eq!((status, text(&body, "error")), (403, "insufficient_scope"));
    let (status, body) = json_of(
        client
            .post(&json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" }))
            .await,
    )
    .await;
    assert_eq!(status, 502, "{body}");

    let second = Upstream::start_at(address, tools());
    assert!(gateway.wait_for_output("tools were read anew"));
    assert_eq!(client.call("read_note", json!({})).await.status(), 200);
    assert_eq!(second.calls().len(), 1);
}

/// M-024, M-025: read-only tools need the base, others more, and the challenge says what.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tools_need_what_their_annotations_say() {
    let upstream = Upstream::start(tools());
    let gateway = gateway(&upstream);
    let reader = gateway.sign_in(None).await;
    for (tool, needed) in [
        ("add_note", "tools:read tools:write"),
        ("delete_note", "tools:destructive tools:read"),
        ("unheard_of", "tools:destructive tools:read"),
    ] {
        let response = reader.call(tool, json!({})).await;
        assert_eq!(response.status(), 403, "{tool}");
        let challenge = response.headers()["www-authenticate"]
            .to_str()
            .unwrap()
            .to_owned();
        assert!(challenge.contains("error=\"insufficient_scope\""), "{challenge}");
        assert!(
            challenge.contains(&format!("scope=\"{needed}\"")),
            "{tool}: {challenge}"
        );
    }
    assert!(upstream.calls().is_empty());
    // The wider includes the narrower.
    let deleter = gateway.sign_in(Some("tools:destructive")).await;
    for tool in ["read_note", "add_note", "delete_note"] {
        assert_eq!(deleter.call(tool, json!({})).await.status(), 200, "{tool}");
    }
    let writer = gateway.sign_in(Some("tools:read tools:write")).await;
    assert_eq!(writer.call("add_note", json!({})).await.status(), 200);
    assert_eq!(writer.call("delete_note", json!({})).await.status(), 403);
}

/// A server whose tools say nothing: a first sign-in is good for using them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tools_without_annotations_can_be_called_after_the_first_sign_in() {
    let upstream = Upstream::start(json!([{ "name": "add", "inputSchema": { "type": "object" } }]));
    let gateway = gateway(&upstream);
    let client = gateway.sign_in(None).await;
    assert_eq!(client.scope, "tools:destructive tools:read");
    assert_eq!(client.call("add", json!({})).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tools_that_change_are_read_again_when_the_server_says_so() {
    let upstream = Upstream::start(tools());
    let gateway = gateway(&upstream);
    let client = gateway.sign_in(None).await;
    let mut stream = client.request(Method::GET, "/mcp").send().await.unwrap();
    assert!(stream.chunk().await.unwrap().is_some());
    assert_eq!(client.call("count_notes", json!({})).await.status(), 403);
    upstream.change_tools(json!([
        { "name": "count_notes", "inputSchema": {}, "annotations": { "readOnlyHint": true } },
        { "name": "read_note", "inputSchema": {} },
    ]));
    let said = stream.chunk().await.unwrap().expect("the stream goes on");
    assert!(String::from_utf8_lossy(&said).contains("list_changed"));
    assert!(gateway.wait_for_output("tools were read anew"));
    assert_eq!(client.call("count_notes", json!({})).await.status(), 200);
    assert_eq!(client.call("read_note", json!({})).await.status(), 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_ends_standing_streams_and_lets_calls_finish() {
    let slow = json!([{ "name": "slow", "inputSchema": {}, "annotations": { "readOnlyHint": true } }]);
    let upstream = Upstream::start(slow);
    let mut gateway = gateway(&upstream);
    let client = gateway.sign_in(None).await;
    let mut stream = client.request(Method::GET, "/mcp").send().await.unwrap();
    assert_eq!(stream.status(), 200);
    assert!(stream.chunk().await.unwrap().is_some());
    let message = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "slow", "arguments": {} },
    });
    let request = client.request(Method::POST, "/mcp").json(&message);
    let call = tokio::spawn(request.send());
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while upstream.calls().is_empty() {
        assert!(tokio::time::Instant::now() < deadline, "the call did not arrive");
        tokio::task::yield_now().await;
    }
    let ended = tokio::spawn(async move {
        while let Some(piece) = stream.chunk().await.unwrap() {
            assert!(!piece.is_empty());
        }
    });
    let stopped = tokio::task::spawn_blocking(move || gateway.stop().unwrap());
    assert_eq!(call.await.unwrap().unwrap().status(), 200);
    tokio::time::timeout(Duration::from_secs(10), ended)
        .await
        .unwrap()
        .unwrap();
    assert!(stopped.await.unwrap().success());
}
