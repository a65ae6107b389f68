//! Redirect URIs at authorization and registration, with the inputs of the attack catalogue.

use mcp_authflow::{PageReason, record::client::NotItsRedirectUri};
use mcp_authflow_testkit::params::Params;
use mcp_authflow_types::{ErrorCode, ErrorResponse};
use serde_json::json;

use crate::{
    registration::{register, with},
    scene::{Answer, Scene},
};

async fn assert_not_its(scene: &Scene, client: &str, redirect_uris: &[&str]) {
    for redirect_uri in redirect_uris {
        let request = Params::authorize(client).set("redirect_uri", redirect_uri);
        let reason = PageReason::RedirectUri(NotItsRedirectUri::Unregistered);
        assert_eq!(scene.shown(&request).await, reason, "{redirect_uri}");
    }
}

/// RU-02 to RU-16, RU-29, M-089: https://client.example/cb and nothing that resembles it.
#[tokio::test]
async fn comparison_is_of_plain_strings() {
    let scene = Scene::new().await;
    let resembling = [
        "https://client.example/cb?x=1",
        "https://client.example/cb?",
        "https://client.example/cb?tenant=7&x",
        "https://client.example/CB",
        "HTTPS://client.example/cb",
        "https://CLIENT.example/cb",
        "https://client.example/cb/../evil",
        "https://client.example/cb/%2e%2e/evil",
        "https://client.example/cb/..%2fevil",
        "https://client.example/cb/..%5cevil",
        "https://client.example/cb/%252e%252e/evil",
        "https://client.example/cb/..;/evil",
        "https://client.example@evil.example/cb",
        "https://client.example:443@evil.example/cb",
        "https://client.example%40evil.example/cb",
        "https://client.example%23@evil.example/cb",
        "https://a:b@client.example/cb",
        "https://client.example.evil.example/cb",
        "https://client.exampleevil.example/cb",
        "https://evilclient.example/cb",
        "https://sub.client.example/cb",
        "https://clientxexample/cb",
        "https://evil.example/cb#https://client.example/cb",
        "https://evil.example/?https://client.example/cb",
        "https://evil.example/https://client.example/cb",
        "https://evil.example%23.client.example/cb",
        "https://client.example/cb#",
        "https://client.example/cb#frag",
        "https://client.example/cb%23frag",
        "https://client.example\\@evil.example/cb",
        "https://evil.example\\.client.example/cb",
        "https:\\\\client.example/cb",
        "https://client.example\\cb",
        "https:/client.example/cb",
        "https:client.example/cb",
        "//client.example/cb",
        "/cb",
        "client.example/cb",
        "\\\\client.example/cb",
        "https://client.example/cb ",
        " https://client.example/cb",
        "\thttps://client.example/cb",
        "https://client.example/cb\n",
        "https://client\u{200b}.example/cb",
        "https://client\u{ad}.example/cb",
        "https://cl\u{456}ent.example/cb",
        "https://xn--clent-3we.example/cb",
        "https://client.example.xn--/cb",
        "https://client\u{ff0e}example/cb",
        "https://client\u{3002}example/cb",
        "https://client.example./cb",
        "https://client.example:443/cb",
        "http://client.example/cb",
        "https%3A%2F%2Fclient.example%2Fcb",
        "https%253A%252F%252Fclient.example%252Fcb",
        "javascript:alert(1)",
    ];
    assert_not_its(&scene, "WEB", &resembling).await;
    assert_not_its(
        &scene,
        "WEBQ",
        &["https://client.example/cb", "https://client.example/cb?tenant=8"],
    )
    .await;
}

/// RU-21, RU-26, RU-27, RU-28; RFC 8252 §7.1, §7.3
#[tokio::test]
async fn only_the_port_of_a_loopback_address_may_vary() {
    let scene = Scene::new().await;
    let resembling = [
        "http://127.0.0.1:5000/evil",
        "http://127.0.0.1:5000/cb/../evil",
        "http://127.0.0.1:5000/cb?x=1",
        "http://127.0.0.1:5000/CB",
        "http://127.0.0.1:5000/",
        "https://127.0.0.1:5000/cb",
        "HTTP://127.0.0.1:5000/cb",
        "http://127.0.0.1:99999/cb",
        "http://127.0.0.1:0/cb",
        "http://127.0.0.1:-1/cb",
        "http://127.0.0.1:5000:6000/cb",
        "http://127.0.0.1:%35000/cb",
        "http://127.0.0.1:\u{ff15}\u{ff10}\u{ff10}\u{ff10}/cb",
        "http://127.0.0.1:5000 /cb",
        "http://localhost:5000/cb",
        "http://127.1:5000/cb",
        "http://2130706433:5000/cb",
        "http://0.0.0.0:5000/cb",
        "http://[::ffff:127.0.0.1]:5000/cb",
        "http://127.0.0.1@evil.example:5000/cb",
        "http://127.0.0.1.evil.example:5000/cb",
        "com.example.app://evil/cb",
        "com.example.app:/evil",
        "COM.EXAMPLE.APP:/cb",
        "com.example.app.evil:/cb",
        "com.example.app:cb",
    ];
    assert_not_its(&scene, "PUB", &resembling).await;
}

/// RU-20, M-090: the answer goes to the very address of this request.
#[tokio::test]
async fn a_registered_address_is_answered_at_as_it_was_presented() {
    let scene = Scene::new().await;
    for (client, redirect_uri) in [
        ("PUB", "http://127.0.0.1:54321/cb"),
        ("PUB", "http://127.0.0.1:1/cb"),
        ("PUB", "http://127.0.0.1/cb"),
        ("PUB", "http://[::1]:54321/cb"),
        ("PUB", "com.example.app:/cb"),
        ("WEB", "https://client.example/cb"),
        ("WEB2", "https://client.example/cb2"),
    ] {
        let pending = scene
            .pending(&Params::authorize(client).set("redirect_uri", redirect_uri))
            .await;
        let answer = scene.server.approve(pending, Scene::alice(), None).await.unwrap();
        assert_eq!(Answer::of(&answer).location, redirect_uri);
    }
}

#[tokio::test]
async fn an_answer_joins_the_query_that_is_registered() {
    let scene = Scene::new().await;
    let pending = scene.pending(&Params::authorize("WEBQ")).await;
    let answer = Answer::of(&scene.server.approve(pending, Scene::alice(), None).await.unwrap());
    let names: Vec<&str> = answer.pairs.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["tenant", "code", "state", "iss"]);
    assert_eq!(answer.value("tenant"), Some("7"));
}

/// RFC 6749 §3.1.2.3, RU-11
#[tokio::test]
async fn a_redirect_uri_may_be_left_out_only_by_a_client_that_has_one() {
    let scene = Scene::new().await;
    for left_out in [
        Params::authorize("WEB").unset("redirect_uri"),
        Params::authorize("WEB").set("redirect_uri", ""),
    ] {
        let pending = scene.pending(&left_out).await;
        assert_eq!(
            pending.answer_to().target().unwrap().as_str(),
            "https://client.example/cb"
        );
        // The token request names it all the same, or leaves it out, too.
        for (named, is_taken) in [
            (Some("https://client.example/cb"), true),
            (None, true),
            (Some("https://client.example/cb/"), false),
        ] {
            let code = scene.code(&left_out, Scene::alice()).await;
            let redeem = Params::redeem("WEB", &code).unset("redirect_uri");
            let redeem = named.map_or(redeem.clone(), |uri| redeem.set("redirect_uri", uri));
            let answer = scene.token("WEB", &redeem).await;
            assert_eq!(answer.is_ok(), is_taken, "{named:?}");
        }
    }
    for client in ["WEB2", "PUB"] {
        let reason = scene
            .shown(&Params::authorize(client).unset("redirect_uri"))
            .await;
        assert_eq!(reason, PageReason::RedirectUri(NotItsRedirectUri::Missing));
    }
}

/// DC-02, RU-33
#[tokio::test]
async fn without_one_good_redirect_uri_there_is_no_client() {
    let scene = Scene::new().await;
    let none = Err(ErrorCode::InvalidRedirectUri.into());
    for uris in [
        json!([]),
        json!(["https://*.example.com/cb"]),
        json!(["https://client.example/*"]),
        json!(["*"]),
        json!([".*"]),
        json!(["https://client.example/cb?*"]),
        json!(["http://127.0.0.1:*/cb"]),
        json!(["com.example.app:*"]),
        json!(["http://client.example/cb"]),
        json!(["https://client.example/cb#f"]),
        json!(["https://a:b@client.example/cb"]),
        json!(["file:///etc/passwd", "vbscript:x", "about:blank"]),
        json!(vec!["https://client.example/cb"; 21]),
    ] {
        scene.clock.advance(std::time::Duration::from_secs(3_600));
        assert_eq!(
            register(&scene, &with("redirect_uris", uris.clone())).await,
            none,
            "{uris}"
        );
    }
    for odd in [
        json!(null),
        json!("https://client.example/cb"),
        json!([null]),
        json!([1]),
        json!([["https://client.example/cb"]]),
    ] {
        scene.clock.advance(std::time::Duration::from_secs(3_600));
        let expected = ErrorResponse {
            detail: Some("redirect_uris has the wrong type".to_owned()),
            ..ErrorCode::InvalidRedirectUri.into()
        };
        assert_eq!(
            register(&scene, &with("redirect_uris", odd.clone())).await,
            Err(expected),
            "{odd}"
        );
    }
}
