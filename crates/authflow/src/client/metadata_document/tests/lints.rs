//! What an author is told.

use serde_json::{Value, json};

use super::{URL, ed25519, with};
use crate::client::metadata_document::{Draft, DraftKeys, Finding, Severity, lint};

/// A document about which there is nothing to say.
fn clean() -> Value {
    with(json!({
        "redirect_uris": ["https://app.example/callback", "http://127.0.0.1/callback"],
        "client_uri": "https://app.example/", "logo_uri": "https://app.example/logo.png",
        "policy_uri": "https://app.example/privacy", "tos_uri": "https://www.app.example/terms",
        "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
        "application_type": "native",
        "token_endpoint_auth_method": "none", "token_endpoint_auth_methods_supported": ["none"],
    }))
}

fn findings(document: &Value) -> Vec<Finding> {
    lint(URL, document.to_string().as_bytes())
}

/// M-062
#[test]
fn nothing_is_said_of_a_document_without_fault() {
    assert_eq!(findings(&clean()), []);
}

/// M-062
/// M-171
#[test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
fn one_change_for_the_worse_is_one_finding() {
    use Severity::{Error, Note, Warning};
    for (name, value, severity, about, part) in [
        (
            "redirect_uris",
            json!(["http://127.0.0.1:33418/"]),
            Warning,
            "redirect_uris",
            "without a port",
        ),
        (
            "redirect_uris",
            json!(["https://other.example/cb", "http://127.0.0.1/"]),
            Warning,
            "redirect_uris",
            "another host",
        ),
        (
            "redirect_uris",
            json!(["https://localhost/cb"]),
            Warning,
            "redirect_uris",
            "write http",
        ),
        (
            "redirect_uris",
            json!(["http://localhost/cb"]),
            Note,
            "redirect_uris",
            "127.0.0.1",
        ),
        (
            "redirect_uris",
            json!(["cursor://x/cb"]),
            Warning,
            "redirect_uris",
            "no dot",
        ),
        (
            "redirect_uris",
            json!(["com.example.app:/cb"]),
            Note,
            "redirect_uris",
            "private-use",
        ),
        (
            "redirect_uris",
            json!(["javascript:alert(1)"]),
            Error,
            "redirect_uris",
            "`javascript:alert(1)`",
        ),
        ("client_name", json!("Clаude"), Warning, "client_name", "U+0430"),
        (
            "client_name",
            json!("An\u{200b} app"),
            Warning,
            "client_name",
            "invisible",
        ),
        (
            "client_name",
            json!("An app \u{2705}"),
            Warning,
            "client_name",
            "mark of trust",
        ),
        ("client_name", json!("x".repeat(81)), Warning, "client_name", "80"),
        (
            "client_id",
            json!("https://app.example/Client.json"),
            Error,
            "client_id",
            "byte for byte",
        ),
        (
            "client_secret",
            json!("x"),
            Error,
            "client_secret",
            "count the secret as lost",
        ),
        (
            "token_endpoint_auth_methods_supported",
            Value::Null,
            Note,
            "token_endpoint_auth_methods_supported",
            "[\"none\"]",
        ),
        (
            "token_endpoint_auth_method",
            Value::Null,
            Warning,
            "token_endpoint_auth_method",
            "write \"none\"",
        ),
        (
            "token_endpoint_auth_method",
            json!("private_key_jwt"),
            Warning,
            "token_endpoint_auth_method",
            "agree",
        ),
        (
            "jwks_uri",
            json!("https://app.example/jwks"),
            Note,
            "jwks_uri",
            "nothing uses these keys",
        ),
        (
            "grant_types",
            json!(["authorization_code"]),
            Warning,
            "grant_types",
            "refresh_token is not among them",
        ),
        (
            "grant_types",
            Value::Null,
            Warning,
            "grant_types",
            "it is missing",
        ),
        (
            "response_types",
            Value::Null,
            Note,
            "response_types",
            "[\"code\"]",
        ),
        (
            "application_type",
            json!("web"),
            Warning,
            "application_type",
            "\"native\"",
        ),
        (
            "application_type",
            Value::Null,
            Note,
            "application_type",
            "\"native\"",
        ),
        ("scope", json!("mcp:read"), Note, "scope", "leave it out"),
        ("logo_uri", Value::Null, Note, "logo_uri", "a logo"),
        (
            "logo_uri",
            json!("data:image/png;base64,AAAA"),
            Warning,
            "logo_uri",
            "left out",
        ),
        (
            "logo_uri",
            json!("https://app.example/logo.svg"),
            Warning,
            "logo_uri",
            "PNG",
        ),
        (
            "logo_uri",
            json!("https://cdn.example/logo.png"),
            Note,
            "logo_uri",
            "cdn.example",
        ),
        (
            "redirect_uri",
            json!("x"),
            Warning,
            "redirect_uri",
            "redirect_uris, a list",
        ),
        (
            "registration_access_token",
            json!("x"),
            Warning,
            "registration_access_token",
            "take it out",
        ),
        ("x", json!("y".repeat(6_000)), Warning, "", "5120"),
        ("x", json!("y".repeat(11_000)), Error, "", "10240"),
    ] {
        let mut document = clean();
        if value.is_null() {
            document.as_object_mut().unwrap().remove(name);
        } else {
            document[name] = value;
        }
        let found = findings(&document);
        let [one] = found.as_slice() else {
            panic!("{name}: {found:#?}");
        };
        assert_eq!(
            (one.severity, one.member.unwrap_or_default()),
            (severity, about),
            "{one:?}"
        );
        assert!(one.text.contains(part), "{one:?}");
    }
}

#[test]
fn an_author_learns_all_that_is_wrong_at_once_and_the_worst_first() {
    let document =
        with(json!({"client_name": "", "redirect_uris": ["x", "https://*/"], "client_secret": "y"}));
    let found = findings(&document);
    let members: Vec<_> = found.iter().filter_map(|finding| finding.member).collect();
    assert_eq!(
        members,
        ["client_secret", "client_name", "redirect_uris", "redirect_uris"]
    );
    assert!(found.is_sorted_by_key(|finding| finding.severity));
    for (text, part) in [
        ("", "empty"),
        ("\u{feff}{}", "byte order mark"),
        ("{\"a\":1,}", "line 1"),
        ("{\"a\":1,\"a\":2}", "twice"),
        ("[]", "braces"),
    ] {
        let found = lint(URL, text.as_bytes());
        assert!(
            found.len() == 1 && found[0].text.contains(part),
            "{text}: {found:?}"
        );
    }
    assert!(
        lint("no url", b"{}")
            .iter()
            .any(|finding| finding.severity == Severity::Error)
    );
}

#[test]
fn keys_are_looked_at_one_by_one() {
    let mut document = clean();
    document["token_endpoint_auth_method"] = json!("private_key_jwt");
    document["token_endpoint_auth_methods_supported"] = json!(["private_key_jwt"]);
    let mut nameless = ed25519();
    nameless.as_object_mut().unwrap().remove("kid");
    document["jwks"] = json!({"keys": [ed25519(), nameless, {"kty": "EC", "kid": "2", "crv": "P-999"}]});
    let found = findings(&document);
    for part in ["has no kid", "1 of the keys", "jwks_uri"] {
        assert!(
            found.iter().any(|finding| finding.text.contains(part)),
            "{part}: {found:#?}"
        );
    }
}

/// M-062
#[test]
fn what_is_made_lints_clean() {
    let whole = Draft {
        client_uri: Some("https://app.example/".to_owned()),
        logo_uri: Some("https://app.example/logo.png".to_owned()),
        policy_uri: Some("https://app.example/privacy".to_owned()),
        tos_uri: Some("https://app.example/terms".to_owned()),
        ..Draft::new(
            URL,
            "An app",
            [
                "http://127.0.0.1:3118/cb",
                "http://127.0.0.1/cb",
                "https://app.example/cb",
            ],
        )
    };
    for (keys, optional) in [
        (None, false),
        (
            Some(DraftKeys::JwksUri("https://app.example/jwks.json".to_owned())),
            false,
        ),
        (
            Some(DraftKeys::JwksUri("https://app.example/jwks.json".to_owned())),
            true,
        ),
    ] {
        let draft = Draft {
            keys,
            assertion_is_optional: optional,
            ..whole.clone()
        };
        let text = draft.write().unwrap();
        assert_eq!(lint(URL, text.as_bytes()), [], "{text}");
        assert_eq!(draft.findings(), []);
        assert!(!text.contains("3118"));
    }
    let bad = Draft::new("http://app.example/x", "", ["javascript:alert(1)"])
        .write()
        .unwrap_err();
    assert_eq!(bad.0.len(), 3, "{bad}");
}
