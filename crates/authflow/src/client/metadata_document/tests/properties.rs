//! What holds for every document.

use mcp_authflow_types::{ClientId, RedirectUri, TokenEndpointAuthMethod};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{URL, ed25519};
use crate::client::metadata_document::{Draft, DraftKeys, MetadataDocument, Severity, lint};

/// Any small JSON value.
fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
        Just(json!("none")),
        Just(json!("private_key_jwt")),
        Just(json!("client_secret_basic")),
        Just(json!("https://app.example/x")),
        Just(json!("http://127.0.0.1/cb")),
        Just(json!("javascript:alert(1)")),
        Just(ed25519()),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("(keys|kty|d|k|x|[a-z]{1,3})", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// A document in which anything may stand anywhere, good often enough to get far.
fn documents() -> impl Strategy<Value = Value> {
    let names = "(client_id|client_name|redirect_uris|grant_types|response_types|scope|jwks|jwks_uri|logo_uri|client_uri\
                 |policy_uri|tos_uri|token_endpoint_auth_method|token_endpoint_auth_methods_supported|client_secret\
                 |client_secret_expires_at|software_id|software_version|application_type|x)";
    prop::collection::btree_map(names, anything(), 0..4).prop_map(|changes| {
        let mut document: Map<String, Value> = Map::new();
        document.insert("client_id".to_owned(), json!(URL));
        document.insert("client_name".to_owned(), json!("An app"));
        document.insert("redirect_uris".to_owned(), json!(["https://app.example/cb"]));
        document.extend(changes);
        Value::Object(document)
    })
}

fn parse(body: &[u8]) -> Option<MetadataDocument> {
    MetadataDocument::parse(&ClientId::parse(URL).unwrap(), body).ok()
}

proptest! {
    /// CM-07
    #[test]
    fn bytes_of_any_kind_are_judged_without_a_panic(body in prop::collection::vec(any::<u8>(), 0..512)) {
        let is_refused = parse(&body).is_none();
        let says_so = lint(URL, &body).iter().any(|finding| finding.severity == Severity::Error);
        prop_assert_eq!(is_refused, says_so);
    }

    /// CM-07: a document with one byte changed, and one cut short.
    #[test]
    fn a_damaged_document_is_judged_without_a_panic(at in 0_usize..400, byte in any::<u8>(), end in 0_usize..400) {
        let text = Draft::new(URL, "An app", ["https://app.example/cb"]).write().unwrap();
        let mut body = text.into_bytes();
        let at = at % body.len();
        body[at] = byte;
        let cut = &body[..end.min(body.len())];
        for body in [&body[..], cut] {
            let says_so = lint(URL, body).iter().any(|finding| finding.severity == Severity::Error);
            prop_assert_eq!(parse(body).is_none(), says_so);
        }
    }

    /// M-065, M-067, M-167, M-169
    #[test]
    fn what_is_taken_keeps_every_promise(document in documents()) {
        let text = document.to_string();
        let parsed = parse(text.as_bytes());
        let says_so = lint(URL, text.as_bytes()).iter().any(|finding| finding.severity == Severity::Error);
        prop_assert_eq!(parsed.is_none(), says_so, "{}", text);
        let Some(parsed) = parsed else { return Ok(()) };
        prop_assert_eq!(&document["client_id"], URL);
        prop_assert!(document.get("client_secret").is_none() && document.get("client_secret_expires_at").is_none());
        prop_assert!(!parsed.token_endpoint_auth_method.uses_secret());
        prop_assert_eq!(
            parsed.keys.is_some(),
            parsed.token_endpoint_auth_method == TokenEndpointAuthMethod::PrivateKeyJwt
        );
        prop_assert!(!parsed.assertion_is_optional || parsed.keys.is_some());
        prop_assert!(!parsed.client_name.is_empty());
        prop_assert!(!parsed.redirect_uris.is_empty() && parsed.redirect_uris.len() <= RedirectUri::MAX_PER_CLIENT);
        for uri in &parsed.redirect_uris {
            prop_assert!(document["redirect_uris"].as_array().unwrap().iter().any(|one| one == uri.as_str()));
        }
        for key in document["jwks"]["keys"].as_array().into_iter().flatten() {
            prop_assert!(key.get("d").is_none() && key.get("k").is_none() && key["kty"] != "oct");
        }
        for page in [&parsed.client_uri, &parsed.logo_uri, &parsed.policy_uri, &parsed.tos_uri].into_iter().flatten() {
            prop_assert!(page.starts_with("https://"));
        }
    }

    /// M-062
    #[test]
    fn what_is_made_lints_without_a_warning_and_is_read_as_it_was_meant(
        name in "[A-Za-z][A-Za-z0-9 ]{0,40}", paths in prop::collection::vec("/[a-z]{1,8}", 1..5),
        port in 1_u16.., kind in 0..3, has_pages in any::<bool>(), uses_device_grant in any::<bool>(),
    ) {
        let redirect_uris = paths.iter().flat_map(|path| {
            [format!("http://127.0.0.1:{port}{path}"), format!("https://app.example{path}")]
        });
        let page = |path: &str| has_pages.then(|| format!("https://app.example{path}"));
        let draft = Draft {
            keys: (kind > 0).then(|| DraftKeys::Jwks(json!({"keys": [ed25519()]}))),
            assertion_is_optional: kind == 2,
            client_uri: page("/"),
            logo_uri: page("/logo.webp"),
            uses_device_grant,
            ..Draft::new(URL, name.clone(), redirect_uris)
        };
        let text = draft.write().unwrap();
        let findings = lint(URL, text.as_bytes());
        prop_assert!(findings.iter().all(|finding| finding.severity == Severity::Note), "{:#?}", findings);
        let parsed = parse(text.as_bytes()).unwrap();
        prop_assert_eq!(&parsed.client_name, &name);
        prop_assert_eq!((parsed.keys.is_some(), parsed.assertion_is_optional), (kind > 0, kind == 2));
        prop_assert_eq!(parsed.logo_uri, draft.logo_uri.clone());
        for path in &paths {
            let presented = format!("http://127.0.0.1:{port}{path}");
            prop_assert!(parsed.redirect_uris.iter().any(|uri| uri.matches(&presented)));
        }
    }
}
