//! What is compared byte for byte, and what is answered to a question that nobody expected.

use mcp_authflow_testkit::browser::Decision;
use reqwest::Method;
use serde_json::{Value, json};

use super::{authorize_url, tokens};
use crate::{
    house::{BOOTSTRAP, House, PASSWORD, R1, answer, builder, text},
    protect::{gateway::Start, upstream},
};

/// M-045, M-093, M-096; M §6.4 trap 1: one slash between the resource's metadata, the server's, `iss` and the issuer of
/// introspection breaks half of the clients.
#[tokio::test]
async fn trap_01_issuer_bytes_are_the_same_everywhere_and_end_in_no_slash() {
    for path in ["", "/tenant"] {
        let house = House::of(builder().issuer_path(path).start().unwrap());
        let issuer = house.server.issuer();
        assert!(!issuer.ends_with('/'));
        let origin = house.server.origin();
        let mut spellings = vec![
            format!("{origin}/.well-known/oauth-authorization-server{path}"),
            format!("{origin}/.well-known/openid-configuration{path}"),
        ];
        if !path.is_empty() {
            spellings.push(format!("{issuer}/.well-known/openid-configuration"));
            spellings.push(format!("{issuer}/.well-known/oauth-authorization-server"));
        }
        for spelling in &spellings {
            let (status, found) = answer(house.http.get(spelling)).await;
            assert_eq!((status, text(&found, "issuer")), (200, issuer), "{spelling}");
        }
        for decision in [Decision::Allow, Decision::Deny] {
            let left = house
                .browser()
                .sign_in_and(&house.authorize_url("web", ""), "alice", PASSWORD, decision)
                .await
                .unwrap();
            assert_eq!(left.parameter("iss").unwrap().as_deref(), Some(issuer));
        }
        let tokens = tokens(&house, "web", "https://client.example/cb", &[("resource", R1)]).await;
        let told = house.introspect(text(&tokens, "access_token")).await;
        assert_eq!(text(&told, "iss"), issuer);
    }
    // The resource's side of it.
    let upstream = upstream::Upstream::start(upstream::tools());
    let gateway = Start::before(&upstream.url()).run().unwrap();
    let (_, resource) = answer(gateway.http.get(format!(
        "{}/.well-known/oauth-protected-resource/mcp",
        gateway.origin
    )))
    .await;
    assert_eq!(resource["authorization_servers"], json!([gateway.origin]));
}

/// M-085, M-013; M §6.4 trap 2: URL libraries add a slash to a bare host, raise or lower cases, and name the default port.
/// Whatever was asked for, the token names the resource as it was registered.
#[tokio::test]
async fn trap_02_resource_bytes_are_found_by_equivalence_and_answered_as_registered() {
    const ROOT: &str = "https://root.test";
    let resource = format!(
        "[[resource]]\nuri = \"{ROOT}\"\nname = \"Root\"\nintrospection_client_id = \"root\"\n\
         introspection_client_secret = \"{}\"\n[[resource.scope]]\nname = \"mcp:read\"\ndescription = \"Read\"\n",
        crate::house::RS_SECRET
    );
    let house = House::of(
        builder()
            .bootstrap(format!("{BOOTSTRAP}{resource}"))
            .start()
            .unwrap(),
    );
    for (registered, server, spellings) in [
        (
            ROOT,
            "root",
            &[
                "https://root.test",
                "https://root.test/",
                "HTTPS://Root.Test:443/",
            ][..],
        ),
        (
            R1,
            "rs1",
            &[
                "https://rs1.test/mcp",
                "https://RS1.test/mcp",
                "https://rs1.test:443/mcp",
            ],
        ),
    ] {
        for spelling in spellings {
            let tokens = tokens(
                &house,
                "web",
                "https://client.example/cb",
                &[("resource", spelling)],
            )
            .await;
            let request = house
                .http
                .post(house.server.url("/introspect"))
                .form(&[("token", text(&tokens, "access_token"))])
                .basic_auth(server, Some(crate::house::RS_SECRET));
            let (_, told) = answer(request).await;
            assert_eq!(told["aud"], registered, "{spelling}");
        }
    }
    for other in [
        "https://rs1.test/mcp/",
        "https://rs1.test/MCP",
        "https://rs1.test",
        "https://rs1.test:8443/mcp",
    ] {
        let url = authorize_url(&house, "web", "https://client.example/cb", &[("resource", other)]);
        let left = house
            .browser()
            .sign_in_and(&url, "alice", PASSWORD, Decision::Allow)
            .await
            .unwrap();
        assert_eq!(
            left.parameter("error").unwrap().as_deref(),
            Some("invalid_target"),
            "{other}"
        );
    }
}

/// M-012, M-050; M §6.4 trap 7: an unknown well-known address is a 404 in JSON: no page of an application, no redirect, no
/// 401, no 5xx. ChatGPT asks for the resource's metadata under its path and nowhere else.
#[tokio::test]
async fn trap_07_well_known_answers_are_json_or_a_json_404() {
    let upstream = upstream::Upstream::start(upstream::tools());
    let gateway = Start::before(&upstream.url()).run().unwrap();
    let house = House::open();
    for (http, origin) in [
        (&gateway.http, gateway.origin.clone()),
        (&house.http, house.server.origin().to_owned()),
    ] {
        for unknown in [
            "/.well-known/oauth-authorization-server/nowhere",
            "/.well-known/openid-configuration/nowhere",
            "/.well-known/oauth-protected-resource/nowhere",
            "/.well-known/mcp",
            "/.well-known/oauth-authorization-server/",
        ] {
            let response = http.get(format!("{origin}{unknown}")).send().await.unwrap();
            assert_eq!(response.status(), 404, "{unknown}");
            let content_type = response.headers()["content-type"].to_str().unwrap().to_owned();
            assert!(
                content_type.starts_with("application/json"),
                "{unknown}: {content_type}"
            );
            let body = response.text().await.unwrap();
            assert!(
                serde_json::from_str::<Value>(&body).unwrap().is_object(),
                "{unknown}: {body}"
            );
        }
    }
    // Elsewhere in the path it is no well-known address; a 404 all the same.
    let appended = format!(
        "{}/nowhere/.well-known/openid-configuration",
        house.server.origin()
    );
    assert_eq!(house.http.get(appended).send().await.unwrap().status(), 404);
    let url = format!("{}/.well-known/oauth-protected-resource/mcp", gateway.origin);
    let (status, resource) = answer(gateway.http.get(url)).await;
    assert_eq!((status, text(&resource, "resource")), (200, &*gateway.endpoint()));
}

/// M-011, M-020; M §6.4 trap 8: the first scheme of the first challenge is Bearer, its address is absolute, and a token that
/// is garbage is a 401 like none, never a 500.
#[tokio::test]
async fn trap_08_challenges_are_bearer_first_absolute_and_401_for_garbage() {
    let upstream = upstream::Upstream::start(upstream::tools());
    let gateway = Start::before(&upstream.url()).run().unwrap();
    let expired_shape = format!("mcpat_{}", "a".repeat(53));
    for token in [
        "",
        "garbage",
        &expired_shape,
        "eyJhbGciOiJub25lIn0.e30.",
        "\u{1}",
        "a b",
    ] {
        for method in [Method::POST, Method::GET, Method::DELETE] {
            let mut request = gateway
                .http
                .request(method.clone(), gateway.endpoint())
                .header("accept", "application/json, text/event-stream")
                .json(&json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" }));
            if !token.is_empty()
                && let Ok(value) =
                    reqwest::header::HeaderValue::from_bytes(format!("Bearer {token}").as_bytes())
            {
                request = request.header("authorization", value);
            }
            let response = request.send().await.unwrap();
            let status = response.status().as_u16();
            // A header that no parser takes apart is a malformed request (RFC 6750 §3.1), and challenged all the same.
            assert!(
                status == 401 || (status == 400 && token.contains(' ')),
                "{method} {token:?}: {status}"
            );
            let challenges: Vec<_> = response.headers().get_all("www-authenticate").iter().collect();
            assert_eq!(challenges.len(), 1);
            let challenge = challenges[0].to_str().unwrap();
            assert!(challenge.starts_with("Bearer "), "{challenge}");
            let address = format!("resource_metadata=\"{}/.well-known/", gateway.origin);
            assert!(challenge.contains(&address), "{challenge}");
        }
    }
    assert_eq!(upstream.calls().len(), 0);
}
