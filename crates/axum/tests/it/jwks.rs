//! The key set: public, small, and kept for as long as it may be.

use axum::body::Body;
use http::{StatusCode, header};
use mcp_authflow::{port::store::ResourceStore as _, record::AccessTokenFormat, record::SigningAlgorithm};
use mcp_authflow_jose::{JwsRules, KeySet, UnverifiedJws};
use mcp_authflow_testkit::{cast, failing_store::Fault};

use crate::edge::{Edge, request};

/// RFC 7517 §5, §8.5; P14
#[tokio::test]
async fn the_set_says_what_is_public_and_how_long_it_may_be_kept() {
    let edge = Edge::at("https://auth.example/t").await;
    let metadata = edge.get("/.well-known/oauth-authorization-server/t").await;
    assert_eq!(metadata.json()["jwks_uri"], "https://auth.example/t/jwks");
    let reply = edge.get("/t/jwks").await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.header("content-type"), "application/jwk-set+json");
    assert_eq!(reply.header("cache-control"), "public, max-age=300");
    assert_eq!(reply.header("access-control-allow-origin"), "*");
    assert_eq!(reply.header("x-content-type-options"), "nosniff");
    assert_eq!(reply.header("set-cookie"), "");
    let set: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
    let keys = set["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 1);
    let mut names: Vec<&str> = keys[0].as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["alg", "crv", "kid", "kty", "use", "x", "y"]);
    assert_eq!(set.as_object().unwrap().len(), 1);
    assert_eq!(KeySet::parse(reply.body.as_bytes()).unwrap().len(), 1);
}

/// RFC 9110 §13.1.2
#[tokio::test]
async fn whoever_has_the_set_already_is_told_so() {
    let edge = Edge::new().await;
    let first = edge.get("/jwks").await;
    let tag = first.header("etag").to_owned();
    assert!(tag.starts_with('"') && tag.len() == 34, "{tag}");
    let ask = async |if_none_match: &str| {
        let asked = request("GET", "/jwks").header(header::IF_NONE_MATCH, if_none_match);
        edge.send(asked.body(Body::empty()).unwrap()).await
    };
    for known in [
        tag.clone(),
        format!("W/{tag}"),
        format!("\"x\", {tag}"),
        "*".to_owned(),
    ] {
        let reply = ask(&known).await;
        assert_eq!(
            (reply.status, reply.body.as_str()),
            (StatusCode::NOT_MODIFIED, ""),
            "{known}"
        );
        assert_eq!(reply.header("etag"), tag);
        assert_eq!(reply.header("cache-control"), "public, max-age=300");
        assert_eq!(reply.header("access-control-allow-origin"), "*");
    }
    for other in ["\"x\"", "", tag.trim_matches('"')] {
        assert_eq!(ask(other).await.status, StatusCode::OK, "{other}");
    }
    let head = edge
        .send(request("HEAD", "/jwks").body(Body::empty()).unwrap())
        .await;
    assert_eq!((head.status, head.body.as_str()), (StatusCode::OK, ""));
    assert_eq!(head.header("etag"), tag);
}

/// JT-10: an error is no set, and nobody keeps it.
#[tokio::test]
async fn without_a_store_there_is_an_error_and_no_empty_set() {
    let edge = Edge::new().await;
    edge.store.fail("list_signing_keys", Fault::Refuses);
    let reply = edge.get("/jwks").await;
    reply.assert_error(503, "temporarily_unavailable");
    assert_eq!(reply.header("cache-control"), "no-store");
    assert_ne!(reply.header("retry-after"), "");
    edge.store.heal();
    assert_eq!(edge.get("/jwks").await.status, StatusCode::OK);
}

/// RFC 9068 §4
#[tokio::test]
async fn a_token_is_proven_by_the_set() {
    for algorithm in SigningAlgorithm::ALL {
        let edge = Edge::new().await;
        let format = AccessTokenFormat::Jwt(*algorithm);
        let resource = cast::resource(cast::R1);
        assert!(
            edge.store
                .set_access_token_format(&resource, format)
                .await
                .unwrap()
        );
        let tokens = edge.tokens_for("PUB").await;
        let keys = KeySet::parse(edge.get("/jwks").await.body.as_bytes()).unwrap();
        let rules = JwsRules {
            types: Some(&["at+jwt"]),
            requires_type: true,
            algorithms: vec![algorithm.algorithm()],
            ..JwsRules::default()
        };
        let jws = UnverifiedJws::parse(tokens["access_token"].as_str().unwrap(), &rules).unwrap();
        let claims = jws.verify(&keys).unwrap().claims().unwrap();
        assert_eq!(claims.text("aud"), Ok(Some(cast::R1)));
        assert_eq!(tokens["token_type"], "Bearer");
    }
}
