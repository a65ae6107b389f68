//! `iss` in every authorization response (RFC 9207), on whatever way it leaves.

use mcp_authflow::SendBack;
use mcp_authflow_testkit::params::{Params, STATE};
use mcp_authflow_types::ErrorCode;

use crate::scene::{ADDRESS, Answer, Scene};

const ISSUERS: [&str; 2] = ["https://auth.example", "https://auth.example:8443/tenant"];

fn check(answer: &Answer, issuer: &str, error: Option<&str>) {
    assert_eq!(answer.value("iss"), Some(issuer), "{answer:?}");
    assert_eq!(answer.value("state"), Some(STATE), "{answer:?}");
    assert_eq!(answer.value("error"), error, "{answer:?}");
    assert_eq!(answer.value("code").is_some(), error.is_none(), "{answer:?}");
}

/// M-093, M-048, M-045, MX-01: of everything that is wrong with a request.
#[tokio::test]
async fn every_refusal_that_is_sent_back_names_the_issuer() {
    for issuer in ISSUERS {
        let scene = Scene::at(issuer, |_| {}).await;
        let good = || Params::authorize("WEB");
        for (request, error) in [
            (good().set("scope", "no-such"), "invalid_scope"),
            (good().set("scope", "a\"b"), "invalid_scope"),
            (
                good().set("resource", "https://unknown.test/mcp"),
                "invalid_target",
            ),
            (good().unset("response_type"), "invalid_request"),
            (good().set("response_type", "token"), "unsupported_response_type"),
            (good().set("response_mode", "fragment"), "invalid_request"),
            (good().unset("code_challenge"), "invalid_request"),
            (good().set("code_challenge_method", "plain"), "invalid_request"),
            (good().set("prompt", "none login"), "invalid_request"),
            (good().set("request", "x"), "request_not_supported"),
            (
                good().set("request_uri", "https://x.test"),
                "request_uri_not_supported",
            ),
            (good().and("scope", "mcp:read"), "invalid_request"),
            (Params::authorize("PUB").set("prompt", "none"), "consent_required"),
        ] {
            check(&scene.sent_back(&request).await, issuer, Some(error));
        }
    }
}

/// M-093, M-048, MX-01: of what a person decided, or could not.
#[tokio::test]
async fn every_decision_names_the_issuer() {
    for issuer in ISSUERS {
        let scene = Scene::at(issuer, |_| {}).await;
        let pending = async || scene.pending(&Params::authorize("WEB")).await;
        let of = |answer: SendBack| Answer::of(&answer);
        let server = &scene.server;
        let approved = server
            .approve(pending().await, Scene::alice(), Some(ADDRESS))
            .await;
        check(&of(approved.unwrap()), issuer, None);
        let denied = server.deny(pending().await, Some(ADDRESS)).await;
        check(&of(denied.unwrap()), issuer, Some("access_denied"));
        let unticked = server
            .approve(pending().await, Scene::alice_ticks("mcp:nothing"), Some(ADDRESS))
            .await;
        check(&of(unticked.unwrap()), issuer, Some("access_denied"));
        for code in [ErrorCode::LoginRequired, ErrorCode::ConsentRequired] {
            let silent = server.cannot_be_silent(&pending().await, code, Some(ADDRESS));
            check(&of(silent), issuer, Some(code.as_str()));
        }
    }
}
