//! What is no document of a client, class by class.

use mcp_authflow_types::{ClientId, redirect_uri::InvalidRedirectUri};
use serde_json::{Value, json};

use super::{ed25519, parse, parse_text, with};
use crate::{
    client::metadata_document::{InvalidDocument as No, MetadataDocument},
    registration::InvalidKeys,
};

/// M-065
/// M-161
#[test]
fn a_document_of_another_url_is_not_this_clients() {
    for other in [
        "https://App.example/client.json",
        "https://app.example:443/client.json",
        "https://app.example/client.json/",
        "https://app.example/client.jso",
        "https://app.example/client.json ",
        "https://app.example/%63lient.json",
        "HTTPS://app.example/client.json",
        "https://app.example/client.json?",
        "",
    ] {
        assert_eq!(
            parse(&with(json!({"client_id": other}))),
            Err(No::AnotherClientId),
            "{other}"
        );
    }
    assert_eq!(
        parse(&with(json!({"client_id": null}))),
        Err(No::Missing("client_id"))
    );
    assert_eq!(
        parse(&with(json!({"client_id": 7}))),
        Err(No::WrongType("client_id"))
    );
}

/// M-160
/// CM-05
#[test]
fn an_identifier_that_can_name_no_document_has_none() {
    for url in [
        "http://app.example/client.json",
        "https://app.example",
        "https://app.example/",
        "https://app.example/a/../client.json",
        "https://app.example/./client.json",
        "https://app.example/client.json#frag",
        "https://u:p@app.example/client.json",
        "plain-id",
    ] {
        let document = with(json!({"client_id": url})).to_string();
        let parsed = MetadataDocument::parse(&ClientId::parse(url).unwrap(), document.as_bytes());
        assert_eq!(parsed, Err(No::BadClientId), "{url}");
    }
}

/// M-068
/// CM-02
#[test]
fn members_that_mcp_asks_for_are_there_and_mean_something() {
    for (members, why) in [
        (json!({"redirect_uris": null}), No::Missing("redirect_uris")),
        (json!({"redirect_uris": []}), No::Missing("redirect_uris")),
        (
            json!({"redirect_uris": "https://app.example/cb"}),
            No::WrongType("redirect_uris"),
        ),
        (
            json!({"redirect_uris": ["https://app.example/cb", 7]}),
            No::WrongType("redirect_uris"),
        ),
        (
            json!({"redirect_uris": [""]}),
            InvalidRedirectUri::NotAbsolute.into(),
        ),
        (
            json!({"redirect_uris": ["https://app.example/cb", "javascript:alert(1)"]}),
            InvalidRedirectUri::DangerousScheme.into(),
        ),
        (
            json!({"redirect_uris": ["https://*/cb"]}),
            InvalidRedirectUri::Pattern.into(),
        ),
        (
            json!({"redirect_uris": ["http://app.example/cb"]}),
            InvalidRedirectUri::PlainHttp.into(),
        ),
        (
            json!({"redirect_uris": ["https://app.example/cb#x"]}),
            InvalidRedirectUri::Fragment.into(),
        ),
        (
            json!({"redirect_uris": [format!("https://app.example/{}", "a".repeat(2_048))]}),
            InvalidRedirectUri::NotAbsolute.into(),
        ),
        (
            json!({"redirect_uris": (0..21).map(|n| format!("https://app.example/{n}")).collect::<Vec<_>>()}),
            No::TooManyRedirectUris,
        ),
        (json!({"client_name": null}), No::Missing("client_name")),
        (json!({"client_name": ""}), No::Missing("client_name")),
        (json!({"client_name": ["x"]}), No::WrongType("client_name")),
    ] {
        assert_eq!(parse(&with(members.clone())), Err(why), "{members}");
    }
    let null = r#"{"client_id":"https://app.example/client.json","client_name":null,"redirect_uris":null}"#;
    assert_eq!(parse_text(null), Err(No::Missing("client_name")));
}

/// CM-11
#[test]
fn a_name_is_one_visible_line_in_its_own_direction() {
    for (name, why) in [
        (
            "Claude\u{202e}\u{1f512} by Anthropic",
            No::ControlCharacter("client_name"),
        ),
        ("\u{2066}x\u{2069}", No::ControlCharacter("client_name")),
        ("two\nlines", No::ControlCharacter("client_name")),
        ("\u{1b}[2J", No::ControlCharacter("client_name")),
        ("nul\u{0}", No::ControlCharacter("client_name")),
        ("\u{200b}\u{200d}\u{feff} ", No::InvisibleName),
        (&"x".repeat(1_025), No::TooLong("client_name")),
    ] {
        assert_eq!(parse(&with(json!({"client_name": name}))), Err(why), "{name:?}");
    }
    for good in ["Café", "تطبيق", "应用", "a\u{200d}b", &"x".repeat(1_024)] {
        assert!(parse(&with(json!({"client_name": good}))).is_ok(), "{good}");
    }
}

/// CM-07
/// M-068
/// M-170
#[test]
fn only_one_whole_json_object_is_a_document() {
    let good = with(json!({})).to_string();
    let twice = good.replacen('{', r#"{"redirect_uris":["https://evil.example/cb"],"#, 1);
    let twice_id = good.replacen('{', r#"{"client_id":"https://app.example/client.json","#, 1);
    let inside = good.replacen('{', r#"{"x":{"a":1,"a":2},"#, 1);
    let depth = |levels: usize| {
        let nested = format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        good.replacen('{', &format!(r#"{{"x":{nested},"#), 1)
    };
    for bad in [
        "",
        "null",
        "\"x\"",
        "7",
        "[]",
        "{",
        &good[..good.len() - 1],
        &format!("{good} {good}"),
        &format!("{good}x"),
        &format!("\u{feff}{good}"),
        &good.replacen('{', "{\"n\":NaN,", 1),
        &good.replacen('}', ",}", 1),
        &twice,
        &twice_id,
        &inside,
        &depth(32),
        &depth(100_000),
    ] {
        assert_eq!(
            parse_text(bad),
            Err(No::NotAnObject),
            "{}",
            &bad[..bad.len().min(80)]
        );
    }
    assert!(parse_text(&depth(31)).is_ok());
    let utf16: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut not_utf8 = good.clone().into_bytes();
    let at = good.find("An app").unwrap();
    not_utf8[at] = 0xff;
    for bytes in [utf16, not_utf8] {
        let id = ClientId::parse(super::URL).unwrap();
        assert_eq!(MetadataDocument::parse(&id, &bytes), Err(No::NotAnObject));
    }
}

/// M-167
#[test]
fn nothing_secret_stands_in_a_public_document() {
    let secret = |name: &str, value: Value| {
        let mut document = with(json!({}));
        document[name] = value;
        parse(&document).unwrap_err()
    };
    for (name, value) in [
        ("client_secret", json!("s3cret")),
        ("client_secret", Value::Null),
        ("client_secret", json!("")),
        ("Client_Secret", json!("s3cret")),
        ("client_secrets", json!(["s3cret"])),
    ] {
        assert_eq!(secret(name, value), No::Secret("client_secret"), "{name}");
    }
    let expiry = No::Secret("client_secret_expires_at");
    assert_eq!(secret("client_secret_expires_at", json!(0)), expiry);
    for method in [
        "client_secret_basic",
        "client_secret_post",
        "client_secret_jwt",
        "CLIENT_SECRET_BASIC",
    ] {
        let problem = secret("token_endpoint_auth_method", json!(method));
        assert_eq!(
            problem,
            No::SharedSecretMethod("token_endpoint_auth_method"),
            "{method}"
        );
        let problem = secret("token_endpoint_auth_methods_supported", json!(["none", method]));
        assert_eq!(
            problem,
            No::SharedSecretMethod("token_endpoint_auth_methods_supported"),
            "{method}"
        );
    }
    for private in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        let mut key = ed25519();
        key[private] = json!("AQAB");
        // Whatever the method: a key that is given away is given away.
        let problem = secret("jwks", json!({"keys": [ed25519(), key]}));
        assert_eq!(problem, No::BadKeys(InvalidKeys::Private), "{private}");
    }
    let symmetric = secret("jwks", json!({"keys": [{"kty": "oct"}, ed25519()]}));
    assert_eq!(symmetric, No::BadKeys(InvalidKeys::Private));
}

#[test]
fn keys_are_in_one_place_and_needed_where_nothing_else_proves_the_client() {
    let both = with(json!({"jwks": {"keys": [ed25519()]}, "jwks_uri": "https://app.example/jwks.json"}));
    assert_eq!(parse(&both), Err(No::BadKeys(InvalidKeys::Both)));
    for none_usable in [
        json!({"keys": []}),
        json!({"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]}),
    ] {
        let must_sign = with(json!({"token_endpoint_auth_method": "private_key_jwt", "jwks": none_usable}));
        assert_eq!(parse(&must_sign), Err(No::BadKeys(InvalidKeys::NoneUsable)));
        assert!(parse(&with(json!({"jwks": none_usable}))).is_ok());
    }
    assert!(matches!(
        parse(&with(json!({"jwks": "x"}))),
        Err(No::BadKeys(InvalidKeys::NotAKeySet(_)))
    ));
    assert_eq!(
        parse(&with(json!({"jwks_uri": 7}))),
        Err(No::WrongType("jwks_uri"))
    );
    let app = json!({"redirect_uris": ["com.example.app:/cb"], "token_endpoint_auth_method": "private_key_jwt",
        "jwks": {"keys": [ed25519()]}});
    assert_eq!(parse(&with(app.clone())), Err(No::AppOfConfidentialClient));
    let mut either = app;
    either["token_endpoint_auth_methods_supported"] = json!(["none", "private_key_jwt"]);
    assert!(parse(&with(either)).is_ok());
}

#[test]
fn members_that_are_read_have_their_types_and_their_limits() {
    for name in [
        "client_uri",
        "logo_uri",
        "policy_uri",
        "tos_uri",
        "software_id",
        "software_version",
        "scope",
        "application_type",
        "jwks_uri",
    ] {
        for wrong in [json!(7), json!(["x"]), json!({})] {
            let mut document = with(json!({}));
            document[name] = wrong;
            assert_eq!(parse(&document), Err(No::WrongType(name)), "{name}");
        }
        let mut document = with(json!({}));
        document[name] = json!("x".repeat(70_000));
        assert_eq!(parse(&document), Err(No::TooLong(name)), "{name}");
    }
    for (members, why) in [
        (
            json!({"grant_types": "authorization_code"}),
            No::WrongType("grant_types"),
        ),
        (json!({"grant_types": ["client_credentials"]}), No::NoGrant),
        (json!({"grant_types": ["refresh_token"]}), No::NoGrant),
        (json!({"grant_types": []}), No::NoGrant),
        (json!({"response_types": ["token"]}), No::NoResponseType),
        (json!({"response_types": []}), No::NoResponseType),
        (json!({"response_types": [1]}), No::WrongType("response_types")),
        (json!({"scope": "a\"b"}), No::MalformedScope),
    ] {
        assert_eq!(parse(&with(members.clone())), Err(why), "{members}");
    }
}
