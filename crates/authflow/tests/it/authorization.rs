//! The authorization endpoint: the ladder from a page to an answer that goes back.

use mcp_authflow::PageReason;
use mcp_authflow_testkit::{
    cast::R1,
    params::{CHALLENGE, Params, STATE},
};
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

/// Where what is asked for is not this server's to give, or not with PKCE.
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
                description
            }
        );
    }
}

/// AZ-08, MX: an error found early never redirects to an unchecked URI.
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

/// AZ-06; OAuth 2.1 §1.8
#[tokio::test]
async fn the_only_answer_is_a_code_in_the_query() {
    let scene = Scene::new().await;
    for response_type in [
        "token",
        "id_token",
        "code token",
        "code id_token token",
        "none",
        "CODE",
        "code code",
    ] {
        let request = Params::authorize("WEB").set("response_type", response_type);
        let answer = scene.sent_back(&request).await;
        assert_eq!(answer.value("error"), Some("unsupported_response_type"));
        assert_eq!(answer.value("access_token"), None, "{response_type}");
    }
    for mode in ["form_post", "jwt", "query.jwt", "QUERY"] {
        let request = Params::authorize("WEB").set("response_mode", mode);
        assert_eq!(
            scene.sent_back(&request).await.value("error"),
            Some("invalid_request")
        );
    }
    scene
        .pending(&Params::authorize("WEB").set("response_mode", "query"))
        .await;
}

/// PK-03, PK-05
#[tokio::test]
async fn pkce_is_asked_of_everyone_and_only_with_s256() {
    let scene = Scene::new().await;
    for client in ["PUB", "WEB", "SEC"] {
        for method in ["plain", "s256", "S512", "none", "", "S256 ", "S256,plain"] {
            let request = Params::authorize(client).set("code_challenge_method", method);
            let answer = scene.sent_back(&request).await;
            assert_eq!(
                answer.value("error_description"),
                Some("code_challenge_method is not S256"),
                "{method}"
            );
        }
        for challenge in [
            &CHALLENGE[..42],
            &format!("{CHALLENGE}A"),
            &CHALLENGE.replace('-', "+"),
            &CHALLENGE.replace('-', "/"),
            &CHALLENGE.replace('-', " "),
            &format!("{CHALLENGE}="),
            &"a".repeat(128),
        ] {
            let request = Params::authorize(client).set("code_challenge", challenge);
            let answer = scene.sent_back(&request).await;
            assert_eq!(
                answer.value("error_description"),
                Some("code_challenge is malformed"),
                "{challenge}"
            );
        }
    }
}

/// AZ-17
#[tokio::test]
async fn a_state_that_is_too_long_is_not_carried_along() {
    let scene = Scene::new().await;
    let of = |length: usize| Params::authorize("WEB").set("state", &"A".repeat(length));
    let answer = scene.sent_back(&of(4_097)).await;
    assert_eq!(
        description_of(&answer),
        ("invalid_request", "state is too long", None, Some(ISSUER))
    );
    scene.pending(&of(4_096)).await;
}

#[tokio::test]
async fn a_request_without_state_is_answered_without_state() {
    let scene = Scene::new().await;
    let request = Params::authorize("WEB").unset("state").set("scope", "no-such");
    assert_eq!(scene.sent_back(&request).await.value("state"), None);
}

/// RFC 6749 §2.1 of the client's registration: a machine has no redirect URI, a client without the grant none either.
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

/// AZ-13: who cannot prove who he is is asked about every time, so `none` can never be answered for him.
#[tokio::test]
async fn none_is_refused_at_once_for_clients_that_cannot_prove_themselves() {
    let scene = Scene::new().await;
    let silent = |client| Params::authorize(client).set("prompt", "none");
    let answer = scene.sent_back(&silent("PUB")).await;
    assert_eq!(answer.value("error"), Some("consent_required"));
    assert_eq!(answer.value("iss"), Some(ISSUER));
    assert_eq!(
        scene.shown(&silent("EVIL")).await,
        PageReason::Refused {
            code: ErrorCode::ConsentRequired,
            description: "somebody has to approve the request"
        }
    );
    scene.pending(&silent("WEB")).await;
}

/// M §6.4 trap 13: `prompt=consent` comes together with `offline_access`.
#[tokio::test]
async fn what_a_person_is_to_see_is_kept_with_the_request() {
    use mcp_authflow_types::Prompt;

    let scene = Scene::new().await;
    let request = Params::authorize("PUB")
        .set("scope", "mcp:read offline_access")
        .set("prompt", "consent select_account")
        .set("max_age", "0")
        .set("login_hint", "alice");
    let pending = scene.pending(&request).await;
    let kept = &pending.interaction().request;
    assert_eq!(kept.prompt, [Prompt::Consent, Prompt::SelectAccount]);
    assert_eq!(
        (kept.max_age, kept.login_hint.as_deref()),
        (Some(0), Some("alice"))
    );
    assert_eq!(kept.state.as_deref(), Some(STATE));
    assert_eq!(pending.target().as_str(), request.value("redirect_uri"));
    assert_eq!(pending.client().id.as_str(), "PUB");
    assert_eq!(pending.resources()[0].asked.resource.as_str(), R1);
    assert!(pending.offline_access());

    let endless = request.set("login_hint", &"a".repeat(257));
    let pending = scene.pending(&endless).await;
    assert_eq!(pending.interaction().request.login_hint, None);
}

/// M §6.4 trap 12: some clients probe the address before they open the browser.
#[tokio::test]
async fn asking_twice_harms_nothing() {
    let scene = Scene::new().await;
    let request = Params::authorize("WEB");
    let probe = scene.pending(&request).await;
    let real = scene.pending(&request).await;
    assert_ne!(probe.id(), real.id());
    let first = scene.server.approve(real, Scene::alice(), None).await.unwrap();
    let second = scene.server.approve(probe, Scene::alice(), None).await.unwrap();
    assert_ne!(
        Answer::of(&first).value("code"),
        Answer::of(&second).value("code")
    );
}
