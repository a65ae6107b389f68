#![allow(clippy::unwrap_used, reason = "a test may panic")]
use mcp_authflow_types::{ClientId, Timestamp};

use super::*;
use crate::record::{ClientProfile, client::NotItsRedirectUri};

fn client(origin: ClientOrigin, id: &str, redirect_uris: &[&str]) -> Client {
    let redirect_uris = redirect_uris
        .iter()
        .map(|uri| RedirectUri::parse(uri).unwrap())
        .collect();
    Client {
        id: ClientId::parse(id).unwrap(),
        generation: 0,
        secret: None,
        retired_secret: None,
        created_at: Timestamp::from_seconds(0),
        expires_at: None,
        profile: ClientProfile {
            redirect_uris,
            ..ClientProfile::new(origin)
        },
    }
}

const DOCUMENT: &str = "https://app.example/oauth/client.json";

fn table(leniencies: &[Leniency]) -> KnownClients {
    let pattern = |text| AddressPattern::parse(text).unwrap();
    [KnownClient {
        name: "app".into(),
        client_ids: vec![pattern(DOCUMENT)],
        redirect_uris: vec![
            pattern("https://app.example/callback"),
            pattern("https://app.example/c/{id}"),
        ],
        also_redirects_to: vec![
            RedirectUri::parse("http://127.0.0.1:19876/mcp/oauth/callback").unwrap(),
            RedirectUri::parse("https://app2.example/callback").unwrap(),
        ],
        leniencies: leniencies.to_vec(),
    }]
    .into_iter()
    .collect()
}

#[test]
fn a_leniency_keeps_its_name() {
    for leniency in Leniency::ALL {
        assert_eq!(Leniency::parse(leniency.as_str()), Some(leniency));
        assert_eq!(
            leniency.gives_up().starts_with("nothing"),
            leniency.is_on_by_default()
        );
    }
    assert_eq!(Leniency::parse("everything"), None);
}

#[test]
fn a_pattern_leaves_open_one_path_segment_and_nothing_else() {
    let pattern = AddressPattern::parse("https://app.example/oauth/{id}/client.json").unwrap();
    for good in ["a", "c_1-2.~x", "68f0"] {
        assert!(
            pattern.matches(&format!("https://app.example/oauth/{good}/client.json")),
            "{good}"
        );
    }
    for bad in [
        "",
        ".",
        "..",
        "a/b",
        "a%2fb",
        "a?b",
        "a#b",
        "a b",
        "a@b",
        &"x".repeat(129),
    ] {
        assert!(
            !pattern.matches(&format!("https://app.example/oauth/{bad}/client.json")),
            "{bad}"
        );
    }
    for bad in [
        "https://{id}/client.json",
        "https://app.example{id}",
        "https://{id}",
        "https://app.{id}.example/",
        "https://app.example/x{id}",
        "https://app.example/{id}/{id}",
        "https://app.example/{other}",
        "https://app.example",
        "http://app.example/callback",
        "http://127.0.0.1/callback",
        "https://localhost/callback",
        "app://callback",
        "",
    ] {
        assert_eq!(AddressPattern::parse(bad), None, "{bad}");
    }
}

/// What a client merely says opens nothing: an identifier that it did not get from its host, or its maker's redirect URI
/// beside one of its own.
#[test]
fn only_a_proven_client_is_met() {
    let all = table(&Leniency::ALL);
    let lets = |client: &Client| all.lets(client, Leniency::SecretInBody).is_some();
    let here = "https://app.example/callback";
    assert!(lets(&client(
        ClientOrigin::MetadataDocument,
        DOCUMENT,
        &["http://127.0.0.1/cb"]
    )));
    assert!(lets(&client(ClientOrigin::Operator, DOCUMENT, &[])));
    assert!(lets(&client(ClientOrigin::Operator, "x", &[here])));
    assert!(lets(&client(
        ClientOrigin::Registration,
        "x",
        &[here, "https://app.example/c/1"]
    )));
    for (origin, id, uris) in [
        (ClientOrigin::Registration, DOCUMENT, &["http://127.0.0.1/cb"][..]),
        (
            ClientOrigin::MetadataDocument,
            "https://app.example/oauth/client.json/",
            &[],
        ),
        (
            ClientOrigin::MetadataDocument,
            "https://App.example/oauth/client.json",
            &[],
        ),
        (
            ClientOrigin::Registration,
            "x",
            &[here, "https://evil.example/cb"],
        ),
        (ClientOrigin::Registration, "x", &[here, "http://127.0.0.1/cb"]),
        (ClientOrigin::Registration, "x", &[]),
    ] {
        let mut named = client(origin, id, uris);
        named.profile.name = Some("app".to_owned());
        named.profile.software_id = Some("app".to_owned());
        assert!(!lets(&named), "{origin:?} {id} {uris:?}");
    }
}

/// M-090
#[test]
fn another_redirect_is_let_pass_only_where_it_is_listed_and_on() {
    use Leniency::{LoopbackPath, RedirectHost};
    let one = client(
        ClientOrigin::MetadataDocument,
        DOCUMENT,
        &["http://127.0.0.1/callback"],
    );
    let path = "http://127.0.0.1:40001/mcp/oauth/callback";
    let host = "https://app2.example/callback";
    let ask = |on: &[Leniency], uri: &str| {
        one.redirect_target_or_known(Some(uri), &table(on))
            .map(|(target, granted)| {
                assert_eq!(target.as_str(), uri);
                granted.map(|granted| granted.to_string())
            })
    };
    assert_eq!(
        ask(&[LoopbackPath], path),
        Ok(Some("loopback-path for app".to_owned()))
    );
    assert_eq!(
        ask(&[RedirectHost], host),
        Ok(Some("redirect-host for app".to_owned()))
    );
    assert_eq!(
        ask(&Leniency::ALL, "http://127.0.0.1:5/callback"),
        Ok(None),
        "by the rule"
    );
    let unregistered = Err(NotItsRedirectUri::Unregistered);
    assert_eq!(ask(&[RedirectHost], path), unregistered);
    assert_eq!(ask(&[LoopbackPath], host), unregistered);
    assert_eq!(ask(&[], path), unregistered);
    for other in [
        "http://127.0.0.1:40001/mcp/oauth/callback/",
        "http://localhost:40001/mcp/oauth/callback",
        "https://app2.example/callback?x",
        "https://app2.example:444/callback",
    ] {
        assert_eq!(ask(&Leniency::ALL, other), unregistered, "{other}");
    }
    let stranger = client(ClientOrigin::Registration, "x", &["http://127.0.0.1/callback"]);
    let refused = stranger.redirect_target_or_known(Some(path), &table(&Leniency::ALL));
    assert_eq!(refused, Err(NotItsRedirectUri::Unregistered));
}
