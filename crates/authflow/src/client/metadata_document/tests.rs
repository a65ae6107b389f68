//! What documents say, and what is made of it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod lints;
mod properties;
mod refusals;

use mcp_authflow_types::{ApplicationType, ClientId, GrantType, TokenEndpointAuthMethod};
use serde_json::{Value, json};

use super::{InvalidDocument, MetadataDocument};
use crate::record::{ClientKeys, ClientOrigin};

const URL: &str = "https://app.example/client.json";

fn ed25519() -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "kid": "1", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})
}

/// A good document with these members put over its own; `null` takes one away.
fn with(members: Value) -> Value {
    let mut document = json!({
        "client_id": URL,
        "client_name": "An app",
        "redirect_uris": ["https://app.example/callback", "http://127.0.0.1/callback"],
    });
    let Value::Object(members) = members else { panic!() };
    for (name, value) in members {
        if value.is_null() {
            document.as_object_mut().unwrap().remove(&name);
        } else {
            document[name] = value;
        }
    }
    document
}

fn parse(document: &Value) -> Result<MetadataDocument, InvalidDocument> {
    parse_text(&document.to_string())
}

fn parse_text(text: &str) -> Result<MetadataDocument, InvalidDocument> {
    MetadataDocument::parse(&ClientId::parse(URL).unwrap(), text.as_bytes())
}

/// M-062
/// M-068
#[test]
fn three_members_make_a_client_and_the_rest_has_defaults() {
    let document = parse(&with(json!({"x": {"y": []}, "contacts": 7}))).unwrap();
    assert_eq!(document.client_id.as_str(), URL);
    assert_eq!(document.redirect_uris.len(), 2);
    assert_eq!(
        document.grant_types,
        [GrantType::AuthorizationCode, GrantType::RefreshToken]
    );
    assert_eq!(document.token_endpoint_auth_method, TokenEndpointAuthMethod::None);
    let profile = document.into_profile();
    assert_eq!(profile.origin, ClientOrigin::MetadataDocument);
    assert_eq!(profile.name.as_deref(), Some("An app"));
    assert_eq!(profile.application_type, ApplicationType::Native);
    assert!(profile.scope.is_none() && profile.document.is_none() && !profile.assertion_is_optional);
}

#[test]
fn what_a_document_says_of_itself_is_kept_as_it_stands() {
    let profile = parse(&with(json!({
        "client_uri": "https://app.example/", "logo_uri": "https://cdn.example/logo.png",
        "policy_uri": "https://app.example/privacy", "tos_uri": "https://app.example/terms",
        "software_id": "app", "software_version": "1.2", "application_type": "web", "scope": "a b",
        "grant_types": ["refresh_token", "authorization_code", "client_credentials",
            "urn:ietf:params:oauth:grant-type:device_code", "implicit"],
    })))
    .unwrap()
    .into_profile();
    assert_eq!(profile.uri.as_deref(), Some("https://app.example/"));
    assert_eq!(profile.logo_uri.as_deref(), Some("https://cdn.example/logo.png"));
    assert_eq!(profile.policy_uri.as_deref(), Some("https://app.example/privacy"));
    assert_eq!(profile.tos_uri.as_deref(), Some("https://app.example/terms"));
    assert_eq!(
        (
            profile.software_id.as_deref(),
            profile.software_version.as_deref()
        ),
        (Some("app"), Some("1.2"))
    );
    // M-200: machine authority is the operator's to give.
    assert_eq!(
        profile.grant_types,
        [
            GrantType::AuthorizationCode,
            GrantType::DeviceCode,
            GrantType::RefreshToken
        ]
    );
    assert!(profile.scope.is_none());
}

/// M-063
/// M-173
/// M-180
/// M §6.4 trap 4
#[test]
fn the_array_says_how_a_client_proves_itself_and_both_together_make_the_assertion_optional() {
    use InvalidDocument as No;
    let keys = json!("https://app.example/jwks.json");
    let read = |singular: Value, array: Value, jwks_uri: &Value| {
        let document = parse(&with(json!({
            "token_endpoint_auth_method": singular, "token_endpoint_auth_methods_supported": array, "jwks_uri": jwks_uri,
        })));
        document.map(|document| {
            let has_keys = document.keys.is_some();
            assert_eq!(
                has_keys,
                document.token_endpoint_auth_method == TokenEndpointAuthMethod::PrivateKeyJwt
            );
            (has_keys, document.assertion_is_optional)
        })
    };
    let (none, key, null) = (json!("none"), json!("private_key_jwt"), Value::Null);
    let (public, strict, optional) = (Ok((false, false)), Ok((true, false)), Ok((true, true)));
    assert_eq!(read(null.clone(), null.clone(), &null), public);
    assert_eq!(read(none.clone(), null.clone(), &keys), public);
    assert_eq!(read(key.clone(), null.clone(), &keys), strict);
    assert_eq!(read(null.clone(), json!(["private_key_jwt"]), &keys), strict);
    // ChatGPT's shape, in both orders of the array.
    assert_eq!(
        read(key.clone(), json!(["none", "private_key_jwt"]), &keys),
        optional
    );
    assert_eq!(
        read(key.clone(), json!(["private_key_jwt", "none"]), &keys),
        optional
    );
    // What nobody knows is passed over, as long as something is known.
    assert_eq!(
        read(null.clone(), json!(["tls_client_auth", "none"]), &null),
        public
    );
    // The array counts where the two disagree; without keys there is nothing to prove.
    assert_eq!(read(key.clone(), json!(["none"]), &keys), public);
    assert_eq!(
        read(key.clone(), json!(["none", "private_key_jwt"]), &null),
        public
    );

    for (singular, array, why) in [
        (
            json!("tls_client_auth"),
            null.clone(),
            No::NoCommonMethod("token_endpoint_auth_method"),
        ),
        (
            none.clone(),
            json!([]),
            No::NoCommonMethod("token_endpoint_auth_methods_supported"),
        ),
        (
            none.clone(),
            json!("none"),
            No::WrongType("token_endpoint_auth_methods_supported"),
        ),
        (
            json!(["none"]),
            null.clone(),
            No::WrongType("token_endpoint_auth_method"),
        ),
    ] {
        assert_eq!(read(singular, array, &keys), Err(why));
    }
    let problem = parse(&with(json!({"token_endpoint_auth_method": "private_key_jwt"}))).unwrap_err();
    assert_eq!(problem.to_string(), "private_key_jwt needs jwks or jwks_uri");
}

/// M-063
#[test]
fn keys_stand_in_the_document_or_at_a_public_address() {
    let signing = |at: &str, keys: Value| {
        let mut document = with(json!({"token_endpoint_auth_method": "private_key_jwt"}));
        document[at] = keys;
        parse(&document)
    };
    let inside = signing("jwks", json!({"keys": [ed25519()]})).unwrap();
    assert!(matches!(inside.keys, Some(ClientKeys::Jwks(_))));
    let outside = signing("jwks_uri", json!("https://keys.example/jwks.json")).unwrap();
    assert!(matches!(outside.keys, Some(ClientKeys::JwksUri(_))));
}

/// M-169
/// SF-01
#[test]
fn no_address_in_a_document_leads_to_a_private_place_by_its_spelling() {
    for bad in [
        "http://app.example/x",
        "https://127.0.0.1/x",
        "https://localhost/x",
        "https://x.localhost/x",
        "https://LOCALHOST./x",
        "https://10.0.0.5/x",
        "https://169.254.169.254/latest",
        "https://[::1]/x",
        "https://[::ffff:10.0.0.5]/x",
        "https://2130706433/x",
        "https://0x7f000001/x",
        "https://127.1/x",
        "https://017700000001/x",
        "https://app.example/x#y",
        "https://u@app.example/x",
        "https:///x",
        "//evil.example/x",
        "javascript:alert(1)",
        "data:image/svg+xml,<svg/>",
        "data:image/png;base64,AAAA",
    ] {
        let keys = with(json!({"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": bad}));
        assert!(parse(&keys).is_err(), "{bad}");
        // CM-12: a picture that is not shown locks nobody out.
        let pages = with(json!({"logo_uri": bad, "client_uri": bad, "policy_uri": bad, "tos_uri": bad}));
        let profile = parse(&pages).unwrap().into_profile();
        assert_eq!(
            (profile.logo_uri, profile.uri, profile.policy_uri, profile.tos_uri),
            (None, None, None, None),
            "{bad}"
        );
    }
    // Where the document itself lies on this computer, the rest may too.
    let local = "https://localhost:8443/client.json";
    let mut document = with(json!({"logo_uri": "https://127.0.0.1:8443/logo.png"}));
    document["client_id"] = json!(local);
    let id = ClientId::parse(local).unwrap();
    let parsed = MetadataDocument::parse(&id, document.to_string().as_bytes()).unwrap();
    assert_eq!(
        parsed.logo_uri.as_deref(),
        Some("https://127.0.0.1:8443/logo.png")
    );
}

/// M-178
/// M-090
#[test]
fn the_redirect_uris_of_a_document_match_as_registered_ones_do() {
    let document = parse(&with(json!({}))).unwrap();
    let matches = |presented: &str| document.redirect_uris.iter().any(|uri| uri.matches(presented));
    assert!(matches("http://127.0.0.1:49152/callback"));
    assert!(matches("https://app.example/callback"));
    assert!(!matches("http://localhost:49152/callback"));
    assert!(!matches("https://app.example:444/callback"));
    let twice = with(json!({"redirect_uris": ["http://127.0.0.1/", "http://127.0.0.1/"]}));
    assert_eq!(parse(&twice).unwrap().redirect_uris.len(), 1);
}
