//! Traps in which real clients and servers were caught, the most expensive first: one test each, under its number.
//!
//! | file | traps |
//! |---|---|
//! | `bytes` | 1, 2, 7, 8: what is compared byte for byte, and what is answered to a question nobody expected |
//! | `clients` | 3, 4, 5, 10: how clients introduce themselves |
//! | `requests` | 6, 11, 12, 13, 14, 15: what they ask for |
//! | `time` | 9, 16: many at once, and too late |

mod bytes;
mod clients;
mod requests;
mod time;

use base64::Engine as _;
use mcp_authflow_testkit::browser::Decision;
use serde_json::Value;
use sha2::Digest as _;

use crate::house::{House, PASSWORD, VERIFIER, answer};

/// An authorization request with these parameters, and the ones that every request has.
fn authorize_url(house: &House, client: &str, redirect: &str, more: &[(&str, &str)]) -> String {
    let challenge = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(sha2::Sha256::digest(VERIFIER));
    let mut url = reqwest::Url::parse(&house.server.url("/authorize")).unwrap();
    url.query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", client)
        .append_pair("redirect_uri", redirect)
        .append_pair("state", "s")
        .append_pair("code_challenge", &challenge)
        .append_pair("code_challenge_method", "S256")
        .extend_pairs(more);
    url.into()
}

/// Goes the whole way of a public client: approval, code, tokens.
async fn tokens(house: &House, client: &str, redirect: &str, more: &[(&str, &str)]) -> Value {
    let url = authorize_url(house, client, redirect, more);
    let left = house
        .browser()
        .sign_in_and(&url, "alice", PASSWORD, Decision::Allow)
        .await
        .unwrap();
    assert!(left.url.starts_with(&format!("{redirect}?")), "{}", left.url);
    let code = left.parameter("code").unwrap().expect("a code");
    let form = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("client_id", client),
        ("code_verifier", VERIFIER),
        ("redirect_uri", redirect),
    ];
    let (status, tokens) = house.post("/token", &form).await;
    assert_eq!(status, 200, "{tokens}");
    tokens
}

async fn register(house: &House, body: &Value) -> (u16, Value) {
    answer(house.http.post(house.server.url("/register")).json(body)).await
}

async fn metadata(house: &House) -> Value {
    let url = house.server.url("/.well-known/oauth-authorization-server");
    let (status, metadata) = answer(house.http.get(url)).await;
    assert_eq!(status, 200);
    metadata
}
