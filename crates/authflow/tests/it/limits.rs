//! Limits on the endpoints of clients: what is counted, what is not, and who is not locked out.

use std::{net::IpAddr, time::Duration};

use mcp_authflow::FormRequest;
use mcp_authflow_testkit::{
    failing_store::Fault,
    params::{Params, basic, basic_pair},
};
use mcp_authflow_types::{ErrorCode, ErrorResponse, Form, TokenResponse};

use crate::scene::Scene;

const HOME: &str = "192.0.2.1";
const ELSEWHERE: &str = "198.51.100.7";

async fn from(scene: &Scene, address: &str, header: &str) -> Result<TokenResponse, ErrorResponse> {
    let body = Params::client_credentials().encoded();
    let request = FormRequest {
        form: &Form::parse(body.as_bytes()).unwrap(),
        authorization: Some(header),
        address: Some(address.parse::<IpAddr>().unwrap()),
    };
    scene.server.token(request).await
}

fn code(answer: &Result<TokenResponse, ErrorResponse>) -> Option<ErrorCode> {
    answer.as_ref().err().map(|error| error.code)
}

/// Guesses a client's secret so often, each time another; all of it must be refused as wrong.
async fn guess(scene: &Scene, address: &str, client: &str, times: u32) {
    for number in 0..times {
        let wrong = pair(client, &format!("not the secret of this client, {number}"));
        let answer = from(scene, address, &wrong).await;
        assert_eq!(code(&answer), Some(ErrorCode::InvalidClient), "{number}");
    }
}

fn pair(client: &str, secret: &str) -> String {
    basic_pair(&format!("{client}:{secret}"))
}

fn too_many(seconds: u64) -> ErrorResponse {
    ErrorResponse::too_many_requests(Duration::from_secs(seconds))
}

/// P10, RL-11: guesses are counted by client and address, before anything is checked.
#[tokio::test]
async fn a_secret_is_guessed_so_often_and_no_more() {
    let scene = Scene::with(|settings| settings.limits.client_authentications_per_minute = 20).await;
    guess(&scene, ELSEWHERE, "SVC", 20).await;
    scene.audit.drain();
    // The right one would not be let in now, or guessing would go on.
    for header in [pair("SVC", "another guess"), basic("SVC")] {
        assert_eq!(from(&scene, ELSEWHERE, &header).await.unwrap_err(), too_many(60));
    }
    let line = "client_authentication Refused: too many attempts";
    assert_eq!(scene.audit.lines(), [line, line]);
    // Others are not concerned, wherever they are; nor is the client, anywhere else.
    from(&scene, HOME, &basic("SVC")).await.unwrap();
    let answer = from(&scene, ELSEWHERE, &basic("SEC")).await;
    assert_ne!(code(&answer), Some(ErrorCode::TooManyRequests));
    scene.wait(60);
    from(&scene, ELSEWHERE, &basic("SVC")).await.unwrap();
}

/// No lock-out weapon: what was right from an address is not counted there, whoever else guesses from it.
#[tokio::test]
async fn an_honest_client_is_not_locked_out_by_guesses_from_its_own_address() {
    let scene = Scene::with(|settings| settings.limits.client_authentications_per_minute = 20).await;
    from(&scene, HOME, &basic("SVC")).await.unwrap();
    guess(&scene, HOME, "SVC", 20).await;
    assert_eq!(
        from(&scene, HOME, &pair("SVC", "another guess"))
            .await
            .unwrap_err(),
        too_many(60)
    );
    for _ in 0..100 {
        from(&scene, HOME, &basic("SVC")).await.unwrap();
    }
}

/// Whoever succeeds uses nothing up, however often, and before anything is known of it, too.
#[tokio::test]
async fn success_is_not_counted() {
    let scene = Scene::with(|settings| {
        settings.limits.client_authentications_per_minute = 1;
        settings.limits.client_authentications_per_address_per_minute = 1;
    })
    .await;
    for address in [HOME, ELSEWHERE] {
        for _ in 0..50 {
            from(&scene, address, &basic("SVC")).await.unwrap();
            // Another credential from the same address: not known, and right.
            let answer = from(&scene, address, &basic("SEC")).await;
            assert_eq!(code(&answer), Some(ErrorCode::UnauthorizedClient));
        }
    }
}

/// RL-03: an address is a /64, in whatever spelling; and one that tries many clients is stopped, too.
#[tokio::test]
async fn one_address_that_tries_many_clients_is_stopped() {
    let scene =
        Scene::with(|settings| settings.limits.client_authentications_per_address_per_minute = 20).await;
    for number in 0..20 {
        let address = format!("2001:db8::{number:x}");
        let answer = from(&scene, &address, &pair(&format!("c{number}"), "guess")).await;
        assert_eq!(code(&answer), Some(ErrorCode::InvalidClient));
    }
    let answer = from(&scene, "2001:DB8:0:0:ffff::1", &pair("c", "guess")).await;
    assert_eq!(answer.unwrap_err(), too_many(60));
    let answer = from(&scene, "2001:db8:0:1::1", &pair("c", "guess")).await;
    assert_eq!(code(&answer), Some(ErrorCode::InvalidClient));
    guess(&scene, "::ffff:192.0.2.1", "SVC", 19).await;
    guess(&scene, HOME, "SVC", 1).await;
    assert_eq!(from(&scene, HOME, &basic("SVC")).await.unwrap_err(), too_many(60));
}

/// A refused try is not counted, whichever limit refuses it: who waits as long as told is let in.
#[tokio::test]
async fn a_try_that_the_address_is_refused_does_not_count_against_the_client() {
    let scene = Scene::with(|settings| {
        settings.limits.client_authentications_per_minute = 2;
        settings.limits.client_authentications_per_address_per_minute = 1;
    })
    .await;
    guess(&scene, HOME, "SEC", 1).await;
    scene.wait(50);
    for _ in 0..5 {
        assert_eq!(from(&scene, HOME, &basic("SVC")).await.unwrap_err(), too_many(10));
    }
    scene.wait(10);
    from(&scene, HOME, &basic("SVC")).await.unwrap();
}

/// P3, P9: a store that cannot be asked costs nobody a try.
#[tokio::test]
async fn what_cannot_be_checked_is_not_counted() {
    let scene = Scene::with(|settings| settings.limits.client_authentications_per_minute = 3).await;
    scene.store.fail("load_client_with_resources", Fault::Refuses);
    for _ in 0..20 {
        let answer = from(&scene, HOME, &basic("SVC")).await;
        assert_eq!(code(&answer), Some(ErrorCode::TemporarilyUnavailable));
    }
    scene.store.heal();
    from(&scene, HOME, &basic("SVC")).await.unwrap();
}

/// A secret that is retired is wrong from then on, and counts as a guess.
#[tokio::test]
async fn a_credential_that_is_wrong_now_is_counted_again() {
    use mcp_authflow::port::store::ClientStore as _;
    let scene = Scene::with(|settings| settings.limits.client_authentications_per_minute = 5).await;
    from(&scene, HOME, &basic("SVC")).await.unwrap();
    let id = "SVC".parse().unwrap();
    let other = mcp_authflow_types::TokenHash::of("another secret");
    assert!(
        scene
            .store
            .replace_client_secret(&id, &other, None)
            .await
            .unwrap()
    );
    // The first is still known; it is what shows that it is wrong.
    for _ in 0..6 {
        let answer = from(&scene, HOME, &basic("SVC")).await;
        assert_eq!(code(&answer), Some(ErrorCode::InvalidClient));
    }
    assert_eq!(from(&scene, HOME, &basic("SVC")).await.unwrap_err(), too_many(60));
}

#[tokio::test]
async fn one_address_does_not_have_the_token_endpoint_to_itself() {
    let scene = Scene::with(|settings| settings.limits.token_requests_per_address_per_minute = 10).await;
    for _ in 0..10 {
        from(&scene, ELSEWHERE, &basic("SVC")).await.unwrap();
    }
    assert_eq!(
        from(&scene, ELSEWHERE, &basic("SVC")).await.unwrap_err(),
        too_many(60)
    );
    from(&scene, HOME, &basic("SVC")).await.unwrap();
}

/// P10: and it is counted apart, so that who cannot get tokens for now can give them back.
#[tokio::test]
async fn one_address_does_not_have_the_revocation_endpoint_to_itself() {
    let scene = Scene::with(|settings| settings.limits.token_requests_per_address_per_minute = 10).await;
    let revoke = async |address: &str| {
        let body = Params::of(&[("token", "x")]).encoded();
        let request = FormRequest {
            form: &Form::parse(body.as_bytes()).unwrap(),
            authorization: Some(&basic("SVC")),
            address: Some(address.parse::<IpAddr>().unwrap()),
        };
        scene.server.revoke(request).await
    };
    for _ in 0..10 {
        from(&scene, ELSEWHERE, &basic("SVC")).await.unwrap();
        revoke(ELSEWHERE).await.unwrap();
    }
    assert_eq!(revoke(ELSEWHERE).await.unwrap_err(), too_many(60));
    revoke(HOME).await.unwrap();
    scene.wait(60);
    revoke(ELSEWHERE).await.unwrap();
}

/// An honest resource server asks as often as it has to; one that asks without end is bounded, and no other with it.
#[tokio::test]
async fn a_resource_server_has_a_share_that_nobody_else_uses_up() {
    let scene = Scene::with(|settings| settings.limits.introspections_per_client_per_minute = 1_000).await;
    for number in 0..1_000 {
        if number < 299 {
            let guess = pair("RS1", &format!("not the secret of this resource, {number}"));
            let guessed = scene
                .introspect_with(Some(&guess), &Params::of(&[("token", "x")]))
                .await;
            assert_eq!(guessed.unwrap_err().code, ErrorCode::InvalidClient);
        }
        scene.introspect("RS1", "x").await.unwrap();
    }
    assert_eq!(scene.introspect("RS1", "x").await.unwrap_err(), too_many(60));
    scene.introspect("RS2", "x").await.unwrap();
    scene.wait(60);
    scene.introspect("RS1", "x").await.unwrap();
}

/// RL-11: every refusal says when to come back.
#[test]
fn a_refusal_says_when_to_come_back() {
    let refusal = too_many(7);
    assert_eq!(refusal.status(), 429);
    assert_eq!(refusal.retry_after, Some(Duration::from_secs(7)));
}
