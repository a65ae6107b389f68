//! Registration (RFC 7591).

use anyhow::Result;
use serde_json::{Value, json};

use super::Ledger;
use crate::judge::differential::side::REDIRECT_URI;

#[expect(clippy::too_many_lines, reason = "one table of what is asked")]
pub(super) async fn registration(ledger: &mut Ledger<'_>) -> Result<()> {
    let good = json!({
        "client_name": "Judge",
        "redirect_uris": [REDIRECT_URI],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    });
    let set = |name: &str, value: Value| {
        let mut body = good.clone();
        body[name] = value;
        body
    };
    let key = json!({ "kty": "EC", "crv": "P-256", "x": "x", "y": "y" });
    let both = json!({
        "redirect_uris": [REDIRECT_URI], "token_endpoint_auth_method": "private_key_jwt",
        "jwks": { "keys": [key] }, "jwks_uri": "https://client.example/jwks",
    });
    let cases = [
        ("a public client", good.clone()),
        (
            "a client that says the least",
            json!({ "redirect_uris": [REDIRECT_URI] }),
        ),
        (
            "a client_id and secret of its own choice",
            set("client_id", "admin".into()),
        ),
        ("redirect_uris empty", set("redirect_uris", json!([]))),
        ("redirect_uris missing", json!({ "client_name": "Judge" })),
        ("redirect_uris a text", set("redirect_uris", REDIRECT_URI.into())),
        ("redirect_uris of numbers", set("redirect_uris", json!([1]))),
        (
            "redirect_uris with javascript",
            set("redirect_uris", json!(["javascript:alert(1)"])),
        ),
        (
            "redirect_uris with data",
            set("redirect_uris", json!(["data:text/html,x"])),
        ),
        (
            "redirect_uris with a fragment",
            set("redirect_uris", json!(["https://client.example/cb#x"])),
        ),
        (
            "redirect_uris relative",
            set("redirect_uris", json!(["/callback"])),
        ),
        (
            "redirect_uris with plain http elsewhere",
            set("redirect_uris", json!(["http://client.example/cb"])),
        ),
        (
            "redirect_uris on loopback",
            set("redirect_uris", json!(["http://127.0.0.1:3000/cb"])),
        ),
        (
            "redirect_uris with a private scheme",
            set("redirect_uris", json!(["cursor://anysphere/callback"])),
        ),
        (
            "an unknown method",
            set("token_endpoint_auth_method", "nonsense".into()),
        ),
        (
            "a key without keys",
            set("token_endpoint_auth_method", "private_key_jwt".into()),
        ),
        ("keys and an address of keys", both),
        ("an unknown grant", set("grant_types", json!(["nonsense"]))),
        (
            "an unknown grant beside known ones",
            set("grant_types", json!(["authorization_code", "nonsense"])),
        ),
        ("a machine", {
            json!({ "grant_types": ["client_credentials"], "response_types": [], "redirect_uris": [] })
        }),
        (
            "grant_types a text",
            set("grant_types", "authorization_code".into()),
        ),
        ("an implicit client", {
            json!({ "redirect_uris": [REDIRECT_URI], "grant_types": ["implicit"], "response_types": ["token"] })
        }),
        (
            "an unknown response type",
            set("response_types", json!(["nonsense"])),
        ),
        ("an unknown scope", set("scope", "nothing:here".into())),
        ("a scope that is a list", set("scope", json!(["hello:read"]))),
        ("an unknown member", set("nonsense", json!({ "x": 1 }))),
        ("a member that is null", set("client_uri", Value::Null)),
        ("a name that is a number", set("client_name", 1.into())),
        (
            "a logo that is no address",
            set("logo_uri", "javascript:alert(1)".into()),
        ),
        ("a list", json!([good])),
        ("null", Value::Null),
        ("a text", "x".into()),
    ];
    let url = ledger.side.endpoint("registration")?;
    for (case, body) in cases {
        let request = ledger.side.http()?.post(&url).json(&body);
        ledger.note(format!("register: {case}"), request, &[]).await?;
    }
    let http = ledger.side.http()?;
    let json_type = ("content-type", "application/json");
    let requests = [
        ("GET", http.get(&url)),
        ("no body", http.post(&url)),
        (
            "not JSON",
            http.post(&url).header(json_type.0, json_type.1).body("{"),
        ),
        (
            "another type",
            http.post(&url)
                .header("content-type", "text/plain")
                .body(good.to_string()),
        ),
        ("a form", http.post(&url).form(&[("redirect_uris", REDIRECT_URI)])),
    ];
    for (case, request) in requests {
        ledger.note(format!("register: {case}"), request, &[]).await?;
    }
    Ok(())
}
