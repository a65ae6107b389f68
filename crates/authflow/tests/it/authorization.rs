//! The authorization endpoint: the ladder from a page to an answer that goes back.

use mcp_authflow::PageReason;
use mcp_authflow_testkit::params::{CHALLENGE, Params, STATE};
use mcp_authflow_types::ErrorCode;

use crate::scene::{Answer, ISSUER, Scene};

type Change = fn(Params) -> Params;

/// Every way in which a request can be bad once its client and redirect URI are known, and what is said of it.
const BAD: &[(Change, ErrorCode, &str)] = &[
    // AZ-05
    (
        |p| p.and("response_type", "token"),
        ErrorCode::InvalidRequest,
        "a parameter is given more than once",
    ),
    (
        |p| p.and("scope", "admin"),
        ErrorCode::InvalidRequest,
        "a parameter is given more than once",
    ),
    (
        |p| p.set("request", "eyJhbGciOiJub25lIn0.e30."),
        ErrorCode::RequestNotSupported,
        "request objects are not supported",
    ),
    // AZ-10
    (
        |p| p.set("request_uri", "http://169.254.169.254/latest/meta-data/"),
        ErrorCode::RequestUriNotSupported,
        "request_uri is not supported",
    ),
    (
        |p| p.set("request_uri", "urn:ietf:params:oauth:request_uri:unknown"),
        ErrorCode::RequestUriNotSupported,
        "request_uri is not supported",
    ),
    (
        |p| p.unset("response_type"),
        ErrorCode::InvalidRequest,
        "response_type is missing",
    ),
    (
        |p| p.set("response_mode", "fragment"),
        ErrorCode::InvalidRequest,
        "response_mode is not supported",
    ),
    // PK-01, PK-02, PK-06
    (
        |p| p.unset("code_challenge").unset("code_challenge_method"),
        ErrorCode::InvalidRequest,
        "code_challenge is missing: this server asks for PKCE with S256",
    ),
    (
        |p| p.set("code_challenge", ""),
        ErrorCode::InvalidRequest,
        "code_challenge is missing: this server asks for PKCE with S256",
    ),
    // PK-03
    (
        |p| p.unset("code_challenge_method"),
        ErrorCode::InvalidRequest,
        "code_challenge_method is not S256",
    ),
    // PK-05
    (
        |p| p.set("code_challenge", &CHALLENGE[1..]),
        ErrorCode::InvalidRequest,
        "code_challenge is malformed",
    ),
    // AZ-14
    (
        |p| p.set("prompt", "none login"),
        ErrorCode::InvalidRequest,
        "prompt is malformed",
    ),
    (
        |p| p.set("max_age", "abc"),
        ErrorCode::InvalidRequest,
        "max_age is malformed",
    ),
    (
        |p| p.set("max_age", "-1"),
        ErrorCode::InvalidRequest,
        "max_age is malformed",
    ),
    (
        |p| p.set("scope", "no-such-scope"),
        ErrorCode::InvalidScope,
        "none of the scope asked for can be granted",
    ),
    // AU-01
    (
        |p| p.set("resource", "https://unknown.test/mcp"),
        ErrorCode::InvalidTarget,
        "the resource is unknown or not open to this client",
    ),
];

/// Error, description, state and issuer of an answer.
fn description_of(answer: &Answer) -> (&str, &str, Option<&str>, Option<&str>) {
    (
        answer.value("error").unwrap(),
        answer.value("error_description").unwrap(),
        answer.value("state"),
        answer.value("iss"),
    )
}

/// MX-01, M-093; RFC 6749 §4.1.2.1
#[tokio::test]
async fn a_bad_request_of_the_operators_client_goes_back_with_state_and_iss() {
    let scene = Scene::new().await;
    for client in ["WEB", "SEC", "PUB"] {
        for (change, code, description) in BAD {
            let answer = scene.sent_back(&change(Params::authorize(client))).await;
            assert_eq!(
                description_of(&answer),
                (code.as_str(), *description, Some(STATE), Some(ISSUER))
            );
            assert_eq!(answer.value("code"), None);
            assert_eq!(
                answer.location,
                Params::authorize(client).value("redirect_uri"),
                "{description}"
            );
        }
    }
}

/// OR-02, M-092: a server that sends browsers on for anyone who registered a minute ago is an open redirector.
#[tokio::test]
async fn a_bad_request_of_a_stranger_gets_a_page_instead() {
    let scene = Scene::new().await;
    for (change, code, description) in BAD {
        let reason = scene.shown(&change(Params::authorize("EVIL"))).await;
        assert_eq!(
            reason,
            PageReason::Refused {
                code: *code,
                description,
                target: Some("https://evil.example/cb".to_owned()),
            }
        );
    }
}

/// AZ-08: an error found early never redirects to an unchecked URI.
#[tokio::test]
async fn no_error_goes_to_an_address_that_is_not_the_clients() {
    let scene = Scene::new().await;
    let elsewhere = |client| Params::authorize(client).set("redirect_uri", "https://other.example/cb");
    let unregistered = PageReason::RedirectUri(mcp_authflow::record::client::NotItsRedirectUri::Unregistered);
    for client in ["WEB", "EVIL"] {
        assert_eq!(scene.shown(&elsewhere(client)).await, unregistered);
        for (change, ..) in BAD {
            assert_eq!(scene.shown(&change(elsewhere(client))).await, unregistered);
        }
    }
}

/// AZ-01, AZ-02, AZ-24, XS-01
#[tokio::test]
async fn without_a_known_client_there_is_only_a_page() {
    let scene = Scene::new().await;
    let good = Params::authorize("PUB");
    for missing in [
        good.clone().unset("client_id"),
        good.clone().set("client_id", ""),
        good.clone().set("client_id", "\"><script>alert(1)</script> "),
        good.clone().set("client_id", "P\u{fc}B"),
        good.clone().set("client_id", &"x".repeat(2_049)),
    ] {
        assert_eq!(scene.shown(&missing).await, PageReason::NoClientId, "{missing:?}");
    }
    for unknown in [
        "does-not-exist",
        "pub",
        "PUB%00",
        "https://cimd.test/client.json#x",
        "//cimd.test/client.json",
        "https:///client.json",
    ] {
        let request = good.clone().set("client_id", unknown);
        assert_eq!(
            scene.shown(&request).await,
            PageReason::UnknownClient,
            "{unknown}"
        );
    }
    assert_eq!(
        scene.shown(&Params::authorize("SECX")).await,
        PageReason::UnknownClient
    );
}

/// AZ-03: which of the two would the answer go to?
#[tokio::test]
async fn what_decides_where_to_go_may_not_come_twice() {
    let scene = Scene::new().await;
    for client in ["PUB", "EVIL", "does-not-exist"] {
        let good = Params::authorize(client);
        for second in ["PUB", "EVIL", client, ""] {
            let request = good.clone().and("client_id", second);
            assert_eq!(scene.shown(&request).await, PageReason::Repeated("client_id"));
        }
        for second in [good.value("redirect_uri"), "https://evil.example/cb", ""] {
            let request = good.clone().and("redirect_uri", second);
            assert_eq!(scene.shown(&request).await, PageReason::Repeated("redirect_uri"));
        }
    }
}

/// AZ-17
#[tokio::test]
async fn a_state_that_is_too_long_to_give_back_gets_a_page() {
    let scene = Scene::new().await;
    let of = |length: usize| Params::authorize("WEB").set("state", &"A".repeat(length));
    let shown = scene.shown(&of(4_097)).await;
    assert_eq!(
        (shown.status(), shown.to_string().as_str()),
        (400, "state is too long")
    );
    scene.pending(&of(4_096)).await;
}

#[tokio::test]
async fn a_request_without_state_is_answered_without_state() {
    let scene = Scene::new().await;
    let request = Params::authorize("WEB").unset("state").set("scope", "no-such");
    assert_eq!(scene.sent_back(&request).await.value("state"), None);
}

/// RFC 6749 §4.1.2.1, unauthorized_client.
#[tokio::test]
async fn a_client_without_the_grant_is_told_so() {
    let scene = Scene::new().await;
    let mut client = mcp_authflow_testkit::cast::client("ODD", &["https://client.example/cb"]);
    client.profile.grant_types.clear();
    mcp_authflow_testkit::cast::add_client(&*scene.store, &client).await;
    let answer = scene.sent_back(&Params::authorize("ODD")).await;
    assert_eq!(answer.value("error"), Some("unauthorized_client"));
    let machine = scene.shown(&Params::authorize("SVC").unset("redirect_uri")).await;
    let none = mcp_authflow::record::client::NotItsRedirectUri::NoneRegistered;
    assert_eq!(machine, PageReason::RedirectUri(none));
}

/// P12: one address cannot fill the store with requests.
#[tokio::test]
async fn requests_from_one_address_are_bounded() {
    let scene = Scene::new().await;
    let request = Params::authorize("WEB");
    for _ in 0..600 {
        scene.pending(&request).await;
    }
    let shown = scene.shown(&request).await;
    assert_eq!(shown.status(), 429, "{shown:?}");
    scene.clock.advance(std::time::Duration::from_secs(600));
    scene.pending(&request).await;
}
