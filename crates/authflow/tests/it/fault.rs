//! A store that cannot be asked (P9): an error in place of a guess, and nothing is spent by it.

use mcp_authflow::PageReason;
use mcp_authflow_testkit::{failing_store::Fault, params::Params};
use mcp_authflow_types::{ErrorCode, ErrorResponse};

use crate::scene::{Scene, refresh_token};

const FAULTS: [(Fault, u16); 3] = [(Fault::Refuses, 503), (Fault::IsBroken, 503), (Fault::Hangs, 504)];

fn assert_unavailable<T: std::fmt::Debug>(result: Result<T, ErrorResponse>, status: u16) {
    let expected = if status == 504 {
        ErrorResponse::timed_out()
    } else {
        ErrorResponse::unavailable()
    };
    let error = result.unwrap_err();
    assert_eq!(error, expected);
    assert_eq!(
        (error.status(), error.code),
        (status, ErrorCode::TemporarilyUnavailable)
    );
    assert!(error.retry_after.is_some());
}

/// CO-12
#[tokio::test]
async fn a_code_is_unspent_by_a_failed_exchange() {
    for verb in ["peek_code", "redeem_code"] {
        for (fault, status) in FAULTS {
            let scene = Scene::new().await;
            let redeem = Params::redeem("SEC", &scene.code_for("SEC").await);
            scene.store.fail(verb, fault);
            for _ in 0..3 {
                assert_unavailable(scene.token("SEC", &redeem).await, status);
            }
            scene.store.heal();
            let tokens = scene.token("SEC", &redeem).await.unwrap();
            assert!(scene.opens_r1(&tokens).await);
        }
    }
}

/// RT-12
#[tokio::test]
async fn a_refresh_token_is_unspent_by_a_failed_exchange() {
    for verb in ["peek_refresh_token", "rotate_refresh_token"] {
        for (fault, status) in FAULTS {
            let scene = Scene::new().await;
            let tokens = scene.tokens_for("PUB").await;
            scene.store.fail(verb, fault);
            for _ in 0..3 {
                assert_unavailable(scene.refresh("PUB", &tokens).await, status);
            }
            scene.store.heal();
            scene.wait(60);
            scene.refresh("PUB", &tokens).await.unwrap();
        }
    }
}

/// P5: an alarm that could not be carried out is no quiet refusal; the next replay carries it out.
#[tokio::test]
async fn a_punishment_that_failed_is_said_and_made_up_for() {
    let scene = Scene::new().await;
    let redeem = Params::redeem("PUB", &scene.code_for("PUB").await);
    let first = scene.token("PUB", &redeem).await.unwrap();
    let second = scene.refresh("PUB", &first).await.unwrap();
    scene.wait(31);
    scene.store.fail("revoke_grant", Fault::Refuses);
    assert_unavailable(scene.token("PUB", &redeem).await, 503);
    assert_unavailable(scene.refresh("PUB", &first).await, 503);
    assert!(scene.opens_r1(&second).await);
    scene.store.heal();
    scene.token("PUB", &redeem).await.unwrap_err();
    assert!(!scene.opens_r1(&second).await);
}

/// RV-07: never 200 unless the revocation is durable.
#[tokio::test]
async fn a_revocation_that_failed_is_no_success() {
    let scene = Scene::new().await;
    let tokens = scene.tokens_for("PUB").await;
    for (verb, token) in [
        ("peek_access_token", tokens.access_token.expose()),
        ("revoke_access_token", tokens.access_token.expose()),
        ("peek_refresh_token", refresh_token(&tokens)),
        ("revoke_grant", refresh_token(&tokens)),
        ("load_client", "x"),
    ] {
        for (fault, status) in FAULTS {
            scene.store.fail(verb, fault);
            assert_unavailable(scene.revoke("PUB", token).await, status);
            scene.store.heal();
        }
    }
    assert!(scene.opens_r1(&tokens).await);
    // The answer was lost after the commit: asking again is safe and says so.
    scene.store.fail("revoke_grant", Fault::LosesItsAnswer);
    assert_unavailable(scene.revoke("PUB", refresh_token(&tokens)).await, 504);
    scene.store.heal();
    assert!(!scene.opens_r1(&tokens).await);
    scene.revoke("PUB", refresh_token(&tokens)).await.unwrap();
}

/// P9: never `active: false` for an unknown truth.
#[tokio::test]
async fn an_introspection_that_failed_says_nothing_of_the_token() {
    let scene = Scene::new().await;
    let tokens = scene.tokens_for("PUB").await;
    for (verb, token) in [
        ("peek_access_token", tokens.access_token.expose()),
        ("load_client", "x"),
    ] {
        for (fault, status) in FAULTS {
            scene.store.fail(verb, fault);
            assert_unavailable(scene.introspect("RS1", token).await, status);
            scene.store.heal();
        }
    }
}

#[tokio::test]
async fn machines_registrations_and_metadata_say_so_too() {
    let scene = Scene::new().await;
    for (fault, status) in FAULTS {
        for verb in ["load_client_with_resources", "issue_access_token"] {
            scene.store.fail(verb, fault);
            let answer = scene.token("SVC", &Params::client_credentials()).await;
            assert_unavailable(answer, status);
            scene.store.heal();
        }
        for verb in ["list_resources", "register_client"] {
            scene.store.fail(verb, fault);
            let body = br#"{"redirect_uris":["https://a.example/cb"]}"#;
            assert_unavailable(scene.server.register(body, None, None).await, status);
            scene.store.heal();
        }
        scene.store.fail("list_resources", fault);
        assert_unavailable(scene.server.metadata().await, status);
        scene.store.heal();
    }
}

/// P9: the browser gets a page that says so.
#[tokio::test]
async fn a_person_gets_a_page_and_the_request_goes_on_later() {
    for (fault, status) in FAULTS {
        let scene = Scene::new().await;
        let unavailable = PageReason::Unavailable {
            timed_out: status == 504,
        };
        assert_eq!(unavailable.status(), status);
        for verb in ["load_client_with_resources", "begin_interaction"] {
            scene.store.fail(verb, fault);
            assert_eq!(scene.shown(&Params::authorize("WEB")).await, unavailable);
            scene.store.heal();
        }
        let id = scene.pending(&Params::authorize("WEB")).await.id();
        for verb in ["load_interaction", "load_client_with_resources"] {
            scene.store.fail(verb, fault);
            let resumed = scene.server.resume(id, &Scene::browser()).await;
            assert_eq!(resumed.map(|_| ()), Err(unavailable.clone()));
            scene.store.heal();
        }
        let resume = async || scene.server.resume(id, &Scene::browser()).await.unwrap();
        scene.store.fail("close_interaction", fault);
        scene.store.fail("is_covered", fault);
        let pending = resume().await;
        assert_eq!(
            scene.server.is_approved_already(&pending, "u_alice").await,
            Err(unavailable.clone())
        );
        assert_eq!(
            scene.server.approve(pending, Scene::alice(), None).await,
            Err(unavailable.clone())
        );
        assert_eq!(scene.server.deny(resume().await, None).await, Err(unavailable));
        scene.store.heal();
        scene
            .server
            .approve(resume().await, Scene::alice(), None)
            .await
            .unwrap();
    }
}
