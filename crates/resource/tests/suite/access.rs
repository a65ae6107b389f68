//! Who is let in, and what the others are told.

use axum::body::Body;
use http::StatusCode;
use mcp_authflow_resource::{AudienceRule, Caller};
use serde_json::json;
use tower::{Layer as _, ServiceExt as _};

use crate::{
    house::{
        DESCRIPTION, House, NOW, RESOURCE, RESOURCE_METADATA, Seen, answer_with, good_answer, house_where,
        post, request, settings,
    },
    peer::{Answer, Peer},
};

/// The whole answer to a token that is no good: M-020, M-022, M-126.
fn assert_is_401_invalid_token(seen: &Seen) {
    assert_eq!(seen.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        seen.header("www-authenticate").unwrap(),
        format!(
            "Bearer error=\"invalid_token\", error_description=\"{DESCRIPTION}\", scope=\"read write\", \
             resource_metadata=\"{RESOURCE_METADATA}\""
        )
    );
    assert_eq!(
        seen.body,
        format!(r#"{{"error":"invalid_token","error_description":"{DESCRIPTION}"}}"#)
    );
    assert_eq!(seen.header("content-type"), Some("application/json"));
    assert_eq!(seen.header("cache-control"), Some("no-store"));
    assert_eq!(seen.header("vary"), Some("Authorization, Origin"));
}

#[tokio::test]
async fn a_good_token_lets_its_caller_in() {
    let (house, _) = house_where(Answer::Ok(good_answer())).await;
    let seen = house.call_with("good").await;
    assert_eq!(seen.status, StatusCode::OK);
    assert_eq!(seen.body, "u1 alice c1 read write 1800000600 false");
    let vary: Vec<_> = seen.headers.get_all("vary").iter().collect();
    assert_eq!(vary, ["Accept", "Authorization, Origin"]);
}

/// M-125: the `false` in the answer above; here with two spellings of the header's scheme.
#[tokio::test]
async fn the_token_stops_at_the_layer() {
    let (house, _) = house_where(Answer::Ok(good_answer())).await;
    for header in ["Bearer good", "bearer good", "BEARER good"] {
        let seen = house.call(post(&[("authorization", header)])).await;
        assert!(seen.body.ends_with("false"), "{seen:?}");
    }
}

/// RP-01, M-011, M-020, M-022, RFC 6750 §3.1: for every method, without an error code.
#[tokio::test]
async fn a_request_without_a_token_is_told_how_to_get_one() {
    let (house, peer) = house_where(Answer::Ok(good_answer())).await;
    for method in ["GET", "POST", "DELETE", "PUT", "OPTIONS"] {
        for headers in [
            &[][..],
            &[("authorization", "Basic YTpi")],
            &[("mcp-session-id", "guessed")],
        ] {
            let seen = house.call(request(method, "/mcp", headers)).await;
            assert_eq!(seen.status, StatusCode::UNAUTHORIZED);
            assert_eq!(
                seen.header("www-authenticate").unwrap(),
                format!("Bearer scope=\"read write\", resource_metadata=\"{RESOURCE_METADATA}\"")
            );
            assert_eq!(
                seen.body,
                r#"{"error":"invalid_token","error_description":"an access token is needed"}"#
            );
            assert_eq!(seen.header("cache-control"), Some("no-store"));
        }
    }
    assert_eq!((house.runs(), peer.questions().len()), (0, 0));
}

/// Whoever has no good token is asked to get more at once; whoever has one is told what it lacks, and no more.
#[tokio::test]
async fn a_first_sign_in_may_ask_for_more_than_every_request_needs() {
    let peer = Peer::start(|_| answer_with("scope", json!("other"))).await;
    let protect = settings(&peer.issuer).ask_first_for("delete").build().unwrap();
    let house = House::behind(protect);
    for (seen, scope) in [
        (house.call(post(&[])).await, "delete read write"),
        (
            house.call(post(&[("authorization", "Bearer  ")])).await,
            "delete read write",
        ),
        (house.call_with("good").await, "read write"),
    ] {
        let challenge = seen.header("www-authenticate").unwrap();
        assert!(challenge.contains(&format!("scope=\"{scope}\"")), "{challenge}");
    }
    let answer = peer.questions().len();
    assert_eq!((house.runs(), answer), (0, 1));
}

/// M-020: what has not even the form of a token is not asked about.
#[tokio::test]
async fn garbage_in_place_of_a_token_is_refused_unasked() {
    let (house, peer) = house_where(Answer::Ok(good_answer())).await;
    for garbage in ["", "a b", "\"good\"", "good, Bearer good"] {
        assert_is_401_invalid_token(&house.call_with(garbage).await);
    }
    assert_eq!((house.runs(), peer.questions().len()), (0, 0));
}

/// M-020
#[tokio::test]
async fn an_unknown_expired_or_revoked_token_is_refused() {
    let (house, _) = house_where(Answer::Ok(r#"{"active":false}"#.to_owned())).await;
    assert_is_401_invalid_token(&house.call_with("revoked").await);
    assert_eq!(house.runs(), 0);
}

/// M-020, M-120: every question is asked anew.
#[tokio::test]
async fn a_token_is_refused_from_the_first_request_after_its_revocation() {
    let is_revoked = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let says = std::sync::Arc::clone(&is_revoked);
    let peer = Peer::start(move |_| {
        let revoked = says.load(std::sync::atomic::Ordering::SeqCst);
        Answer::Ok(if revoked {
            r#"{"active":false}"#.to_owned()
        } else {
            good_answer()
        })
    })
    .await;
    let house = House::behind(settings(&peer.issuer).build().unwrap());
    assert_eq!(house.call_with("t").await.status, StatusCode::OK);
    is_revoked.store(true, std::sync::atomic::Ordering::SeqCst);
    assert_is_401_invalid_token(&house.call_with("t").await);
}

/// M-123, RP-03
#[tokio::test]
async fn a_token_for_another_resource_is_refused() {
    let at_auth_test = async |answer: Answer| {
        let peer = Peer::start(move |_| answer.clone()).await;
        let protect =
            settings("https://auth.test").introspection_endpoint(format!("{}/introspect", peer.issuer));
        House::behind(protect.build().unwrap())
    };
    for audience in [
        json!("https://other.test/mcp"),
        json!("https://rs.test/mcp/"),
        json!("https://rs.test"),
        json!("https://rs.test/mc"),
        json!("https://rs.test/mcp?"),
        json!("HTTPS://RS.TEST/mcp"),
        json!("http://rs.test/mcp"),
        json!("c1"),
        json!("https://auth.test"),
        json!(["https://rs.test/mcp2", "https://auth.test", "c1"]),
        json!([]),
        json!(""),
        json!(null),
    ] {
        let house = at_auth_test(answer_with("aud", audience.clone())).await;
        for _ in 0..2 {
            assert_is_401_invalid_token(&house.call_with("foreign").await);
        }
        assert_eq!(house.runs(), 0, "{audience}");
    }
    let without = good_answer().replace(&format!(r#","aud":"{RESOURCE}""#), "");
    let (house, _) = house_where(Answer::Ok(without)).await;
    assert_is_401_invalid_token(&house.call_with("for-nobody").await);
}

/// M-123
#[tokio::test]
async fn a_token_for_several_resources_is_good_at_each() {
    let (house, _) = house_where(answer_with("aud", json!(["https://other.test", RESOURCE]))).await;
    assert_eq!(house.call_with("t").await.status, StatusCode::OK);
}

/// M §6.4.2
#[tokio::test]
async fn a_registered_second_spelling_is_ours_too() {
    let answer = answer_with("aud", json!("https://rs.test/old"));
    let peer = Peer::start(move |_| answer.clone()).await;
    let strict = House::behind(settings(&peer.issuer).build().unwrap());
    assert_is_401_invalid_token(&strict.call_with("t").await);
    let lenient = settings(&peer.issuer)
        .also_known_as("https://rs.test/old")
        .build();
    let lenient = House::behind(lenient.unwrap());
    assert_eq!(lenient.call_with("t").await.status, StatusCode::OK);
}

/// RP-18, M-020, M-122, RFC 9449 §7.1: even when the authorization server says `active`.
#[tokio::test]
async fn an_active_token_that_does_not_fit_is_refused() {
    for (member, value) in [
        ("exp", json!(NOW.seconds() - 60)),
        ("nbf", json!(NOW.seconds() + 60)),
        ("iss", json!("https://evil.test")),
        ("token_type", json!("DPoP")),
        ("cnf", json!({ "jkt": "thumbprint" })),
    ] {
        let (house, _) = house_where(answer_with(member, value)).await;
        assert_is_401_invalid_token(&house.call_with("t").await);
        assert_eq!(house.runs(), 0, "{member}");
    }
}

/// M-020
#[tokio::test]
async fn a_token_of_our_issuer_by_name_is_let_in() {
    let peer = Peer::start(|_| Answer::Never).await;
    let issuer = peer.issuer.clone();
    let named = Peer::start(move |_| answer_with("iss", json!(issuer))).await;
    let protect = settings(&peer.issuer)
        .introspection_endpoint(format!("{}/introspect", named.issuer))
        .build();
    assert_eq!(
        House::behind(protect.unwrap()).call_with("t").await.status,
        StatusCode::OK
    );
}

/// M-024, M-025: all scopes at once, those that the token has included.
#[tokio::test]
async fn a_token_that_allows_too_little_is_told_all_that_is_needed() {
    for scope in ["", "read", "write other", "READ WRITE"] {
        let (house, _) = house_where(answer_with("scope", json!(scope))).await;
        let seen = house.call_with("t").await;
        assert_eq!(seen.status, StatusCode::FORBIDDEN);
        let description = "the access token does not allow this operation";
        assert_eq!(
            seen.header("www-authenticate").unwrap(),
            format!(
                "Bearer error=\"insufficient_scope\", error_description=\"{description}\", scope=\"read write\", \
                 resource_metadata=\"{RESOURCE_METADATA}\""
            )
        );
        assert_eq!(
            seen.body,
            format!(r#"{{"error":"insufficient_scope","error_description":"{description}"}}"#)
        );
        assert_eq!(house.runs(), 0);
    }
}

/// M-025
#[tokio::test]
async fn a_route_that_needs_more_says_so_from_the_start() {
    let peer = Peer::start(|_| Answer::Ok(good_answer())).await;
    let protect = settings(&peer.issuer).build().unwrap();
    let admin = House::behind(protect.also_requiring("admin").unwrap());
    let unasked = admin.call(post(&[])).await;
    assert!(
        unasked
            .header("www-authenticate")
            .unwrap()
            .contains("scope=\"admin read write\"")
    );
    assert_eq!(admin.call_with("t").await.status, StatusCode::FORBIDDEN);
    assert_eq!(House::behind(protect).call_with("t").await.status, StatusCode::OK);
}

/// M-021, M-121
#[tokio::test]
async fn a_token_in_the_query_or_twice_is_a_malformed_request() {
    let (house, peer) = house_where(Answer::Ok(good_answer())).await;
    let bearer = ("authorization", "Bearer good");
    for (malformed, description) in [
        (
            request("POST", "/mcp?access_token=good", &[]),
            "send the access token in a header only",
        ),
        (
            request("POST", "/mcp?access_token=good", &[bearer]),
            "send the access token in a header only",
        ),
        (post(&[bearer, bearer]), "Authorization is given more than once"),
        (
            post(&[bearer, ("authorization", "Basic YTpi")]),
            "Authorization is given more than once",
        ),
    ] {
        let seen = house.call(malformed).await;
        assert_eq!(seen.status, StatusCode::BAD_REQUEST);
        assert_eq!(
            seen.body,
            format!(r#"{{"error":"invalid_request","error_description":"{description}"}}"#)
        );
        let challenge = seen.header("www-authenticate").unwrap();
        assert!(
            challenge.starts_with("Bearer error=\"invalid_request\", "),
            "{challenge}"
        );
    }
    assert_eq!((house.runs(), peer.questions().len()), (0, 0));
}

/// S-234, S-235: which rule there is decides, and a handler knows by which audience its caller came.
#[tokio::test]
async fn a_token_for_the_whole_host_is_let_in_only_by_the_rule_that_says_so() {
    let audience = json!(["https://other.test", "https://rs.test"]);
    let peer = Peer::start(move |_| answer_with("aud", audience.clone())).await;
    for (rule, status) in [
        (AudienceRule::OwnSpellings, StatusCode::UNAUTHORIZED),
        (AudienceRule::HierarchicalLikeThePythonPackage, StatusCode::OK),
    ] {
        let protect = settings(&peer.issuer).audience_rule(rule).build().unwrap();
        let inner = tower::service_fn(async |request: http::Request<Body>| {
            let caller = Caller::of(request.extensions()).unwrap();
            assert_eq!(caller.resource(), Some("https://rs.test"));
            Ok::<_, std::convert::Infallible>(http::Response::new(Body::empty()))
        });
        let request = post(&[("authorization", "Bearer t")]);
        let response = protect.layer(inner).oneshot(request).await.unwrap();
        assert_eq!(response.status(), status);
    }
}

/// RFC 7662 §2.1, RFC 6749 §2.3.1
#[tokio::test]
async fn the_question_is_a_form_post_with_the_credentials_of_the_resource() {
    let (house, peer) = house_where(Answer::Ok(good_answer())).await;
    house.call_with("good+/=").await;
    let question = peer.questions().pop().unwrap();
    assert_eq!(
        (question.method.as_str(), question.path.as_str()),
        ("POST", "/introspect")
    );
    assert_eq!(
        question.headers["content-type"],
        "application/x-www-form-urlencoded"
    );
    assert_eq!(question.headers["authorization"], "Basic cnM6c2VjcmV0");
    assert_eq!(
        question.form,
        [("token", "good+/=")].map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
}

/// S-228
#[tokio::test]
async fn many_questions_share_a_connection() {
    let (house, peer) = house_where(Answer::Ok(good_answer())).await;
    for _ in 0..20 {
        assert_eq!(house.call_with("t").await.status, StatusCode::OK);
    }
    assert_eq!((peer.questions().len(), peer.connections()), (20, 1));
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn an_axum_handler_takes_its_caller_as_an_argument() {
    use axum::{Router, routing::post};
    use mcp_authflow_resource::{Caller, InsufficientScope};
    use tower::ServiceExt as _;

    async fn remove(caller: Caller) -> Result<String, InsufficientScope> {
        caller.require_scope("delete")?;
        Ok("gone".to_owned())
    }

    let peer = Peer::start(|token| match token {
        "may" => answer_with("scope", json!("delete read write")),
        _ => Answer::Ok(good_answer()),
    })
    .await;
    let unprotected: Router = Router::new().route("/mcp", post(remove));
    let protected = unprotected.clone().layer(settings(&peer.issuer).build().unwrap());
    let status = async |app: &Router, token: &str| {
        let request = crate::house::post(&[("authorization", &format!("Bearer {token}"))]);
        app.clone().oneshot(request).await.unwrap().status()
    };
    assert_eq!(status(&protected, "may").await, StatusCode::OK);
    assert_eq!(status(&protected, "may-not").await, StatusCode::FORBIDDEN);
    assert_eq!(
        status(&unprotected, "may").await,
        StatusCode::INTERNAL_SERVER_ERROR
    );
}
