//! Callers who hang up (SM-10, P3): an answer may get lost, half of a decision may not.

use axum::body::Body;
use http::Request;
use mcp_authflow_testkit::{
    failing_store::Fault,
    params::{Params, basic},
};

use crate::edge::{Edge, form};

/// Sends a request and hangs up while the store is at this verb.
async fn hang_up_at(edge: &Edge, verb: &'static str, request: Request<Body>) {
    edge.store.fail(verb, Fault::Waits);
    tokio::select! {
        reply = edge.send(request) => panic!("{verb} was not reached: {reply}"),
        () = edge.store.until_somebody_waits() => {}
    }
    edge.store.heal();
}

/// Whether the token is dead, or soon is: the work goes on by itself, so it is given the time.
async fn dies(edge: &Edge, access_token: &str) -> bool {
    for _ in 0..1_000 {
        let token = Params::of(&[("token", access_token)]);
        let reply = edge.post("/introspect", Some("RS1"), &token).await;
        if reply.body == r#"{"active":false}"# {
            return true;
        }
        tokio::task::yield_now().await;
    }
    false
}

fn post(path: &str, params: &Params) -> Request<Body> {
    form(path).body(Body::from(params.encoded())).unwrap()
}

/// P5: a thief who hangs up does not save his loot.
#[tokio::test]
async fn reuse_is_punished_although_the_thief_hangs_up() {
    let edge = Edge::new().await;
    let first = edge.tokens_for("PUB").await;
    let refresh = Params::refresh("PUB", first["refresh_token"].as_str().unwrap());
    let second = edge.post("/token", None, &refresh).await.json();
    edge.clock.advance(std::time::Duration::from_secs(31));
    hang_up_at(&edge, "peek_refresh_token", post("/token", &refresh)).await;
    assert!(dies(&edge, second["access_token"].as_str().unwrap()).await);
}

#[tokio::test]
async fn a_revocation_is_done_although_nobody_waits_for_it() {
    let edge = Edge::new().await;
    let tokens = edge.tokens_for("PUB").await;
    let access_token = tokens["access_token"].as_str().unwrap();
    let revoke = Params::of(&[("token", access_token), ("client_id", "PUB")]);
    hang_up_at(&edge, "revoke_access_token", post("/revoke", &revoke)).await;
    assert!(dies(&edge, access_token).await);
}

/// RT-13: the retry gets the answer that was lost.
#[tokio::test]
async fn an_exchange_whose_answer_was_lost_is_repeated() {
    let edge = Edge::new().await;
    let tokens = edge.tokens_for("PUB").await;
    let refresh = Params::refresh("PUB", tokens["refresh_token"].as_str().unwrap());
    hang_up_at(&edge, "rotate_refresh_token", post("/token", &refresh)).await;
    let answer = edge.post("/token", None, &refresh).await.json();
    let again = edge.post("/token", None, &refresh).await.json();
    assert_eq!(answer, again);
}

/// P3, LG-06: a client that was stored is a client whose registration was noted, and whom the policy was told of.
#[tokio::test]
async fn a_registration_is_done_although_nobody_waits_for_it() {
    let edge = Edge::new().await;
    let body = r#"{"redirect_uris":["https://client.example/cb"],"token_endpoint_auth_method":"none"}"#;
    let register = crate::edge::request("POST", "/register")
        .header("content-type", "application/json")
        .body(Body::from(body));
    hang_up_at(&edge, "register_client", register.unwrap()).await;
    let registered = || {
        edge.audit
            .drain()
            .iter()
            .any(|record| record.line == "register Allowed: registered")
    };
    let mut is_noted = registered();
    for _ in 0..1_000 {
        is_noted = is_noted || registered();
        tokio::task::yield_now().await;
    }
    assert!(is_noted);
}

/// A question changes nothing, so nothing need go on when nobody waits for its answer; the next one is answered.
#[tokio::test]
async fn a_question_that_nobody_waits_for_harms_nothing() {
    let edge = Edge::new().await;
    let tokens = edge.tokens_for("PUB").await;
    let token = Params::of(&[("token", tokens["access_token"].as_str().unwrap())]);
    let ask = form("/introspect")
        .header("authorization", basic("RS1"))
        .body(Body::from(token.encoded()));
    hang_up_at(&edge, "peek_access_token", ask.unwrap()).await;
    let reply = edge.post("/introspect", Some("RS1"), &token).await;
    assert_eq!(reply.json()["active"], true);
}
