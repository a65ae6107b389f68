//! A request that waits for a person: one browser, one answer.

use mcp_authflow::{
    Approval, Authorize, PageReason, Ticked,
    port::{
        Clock as _,
        store::{ClientStore as _, GrantQuery, GrantStore as _},
    },
    record::InteractionId,
};
use mcp_authflow_testkit::params::{Params, STATE};
use mcp_authflow_types::{ClientId, ErrorCode, TokenHash};

use crate::scene::{Answer, ISSUER, Scene};

#[tokio::test]
async fn an_approval_sends_code_state_and_iss_and_nothing_else() {
    let scene = Scene::new().await;
    let pending = scene.pending(&Params::authorize("WEB")).await;
    let answer = Answer::of(&scene.server.approve(pending, Scene::alice(), None).await.unwrap());
    let names: Vec<&str> = answer.pairs.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["code", "state", "iss"]);
    assert!(answer.value("code").unwrap().starts_with("mcpac_"));
    assert_eq!(
        (answer.value("state"), answer.value("iss")),
        (Some(STATE), Some(ISSUER))
    );
}

/// MX-01; a stranger too gets his answer once a person has acted.
#[tokio::test]
async fn a_denial_goes_back_as_access_denied() {
    let scene = Scene::new().await;
    for client in ["WEB", "PUB", "EVIL"] {
        let pending = scene.pending(&Params::authorize(client)).await;
        let answer = Answer::of(&scene.server.deny(pending, None).await.unwrap());
        let expected = [
            ("error", "access_denied"),
            ("error_description", "the request was denied"),
            ("state", STATE),
            ("iss", ISSUER),
        ];
        assert_eq!(answer.location, Params::authorize(client).value("redirect_uri"));
        let pairs: Vec<(&str, &str)> = answer
            .pairs
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        assert_eq!(pairs, expected);
    }
}

async fn resumed(scene: &Scene, id: InteractionId) -> Result<(), PageReason> {
    scene.server.resume(id, &Scene::browser()).await.map(|_| ())
}

/// P1
#[tokio::test]
async fn of_two_answers_the_first_counts() {
    let scene = Scene::new().await;
    let first = scene.pending(&Params::authorize("WEB")).await;
    let id = first.id();
    let second = scene.server.resume(id, &Scene::browser()).await.unwrap();
    let third = scene.server.resume(id, &Scene::browser()).await.unwrap();
    scene.audit.drain();
    scene.server.deny(first, None).await.unwrap();
    assert_eq!(
        scene.server.approve(second, Scene::alice(), None).await,
        Err(PageReason::Gone)
    );
    assert_eq!(scene.server.deny(third, None).await, Err(PageReason::Gone));
    assert_eq!(resumed(&scene, id).await, Err(PageReason::Gone));
    assert_eq!(
        scene.audit.lines(),
        [
            "consent Refused: denied",
            "consent Refused: the request is over",
            "consent Refused: the request is over"
        ]
    );
    let grants = scene
        .store
        .list_grants(&GrantQuery::of("u_alice"), 10, scene.server.ports().clock.now())
        .await;
    assert!(grants.unwrap().is_empty());
}

/// P13: an approval counts only in the browser that began the request.
#[tokio::test]
async fn a_request_belongs_to_the_browser_that_began_it() {
    let scene = Scene::new().await;
    let id = scene.pending(&Params::authorize("WEB")).await.id();
    let other = scene.server.resume(id, &TokenHash::of("mallory's browser")).await;
    assert_eq!(other.map(|_| ()), Err(PageReason::Gone));
    let unknown = InteractionId::from_bytes([0; 16]);
    assert_eq!(resumed(&scene, unknown).await, Err(PageReason::Gone));
    assert_eq!(resumed(&scene, id).await, Ok(()));
}

#[tokio::test]
async fn a_request_waits_for_ten_minutes() {
    let scene = Scene::new().await;
    let pending = scene.pending(&Params::authorize("WEB")).await;
    let id = pending.id();
    scene.wait(599);
    assert_eq!(resumed(&scene, id).await, Ok(()));
    scene.wait(1);
    assert_eq!(resumed(&scene, id).await, Err(PageReason::Gone));
    assert_eq!(
        scene.server.approve(pending, Scene::alice(), None).await,
        Err(PageReason::Gone)
    );
}

/// AZ-21: removed, or revoked, while the page is open.
#[tokio::test]
async fn no_code_goes_to_a_client_that_is_no_longer_what_it_was() {
    let web = "WEB".parse().unwrap();
    for is_removed in [true, false] {
        let scene = Scene::new().await;
        let pending = scene.pending(&Params::authorize("WEB")).await;
        let id = pending.id();
        if is_removed {
            let now = scene.server.ports().clock.now();
            assert!(scene.store.remove_client(&web, now).await.unwrap());
        } else {
            assert_eq!(scene.store.revoke_client(&web).await.unwrap(), Some(1));
        }
        assert_eq!(
            scene.server.approve(pending, Scene::alice(), None).await,
            Err(PageReason::Gone)
        );
        assert_eq!(resumed(&scene, id).await, Err(PageReason::Gone));
    }
}

/// P2: signed out everywhere while the page is open.
#[tokio::test]
async fn an_approval_of_somebody_who_is_no_longer_what_he_was_is_void() {
    let scene = Scene::new().await;
    let pending = scene.pending(&Params::authorize("WEB")).await;
    assert_eq!(scene.store.revoke_subject("u_alice").await.unwrap(), 1);
    assert_eq!(
        scene.server.approve(pending, Scene::alice(), None).await,
        Err(PageReason::Gone)
    );
    let pending = scene.pending(&Params::authorize("WEB")).await;
    let unasked = Approval {
        subject_generation: None,
        ..Scene::alice()
    };
    scene.server.approve(pending, unasked, None).await.unwrap();
}

/// P4: the page shows what was stored, and only that is granted.
#[tokio::test]
async fn a_resumed_request_is_the_one_that_was_stored() {
    let scene = Scene::new().await;
    let first = scene.pending(&Params::authorize("PUB")).await;
    let again = scene.server.resume(first.id(), &Scene::browser()).await.unwrap();
    assert_eq!(first.interaction(), again.interaction());
    assert_eq!(first.answer_to(), again.answer_to());
    let named = |pending: &mcp_authflow::Pending| {
        let one = &pending.resources()[0];
        (
            one.asked.clone(),
            one.record.as_ref().map(|record| record.name.clone()),
        )
    };
    assert_eq!(named(&first), named(&again));
}

/// P2, P8: whoever disconnects a client while an earlier approval stands in for a new one is not let in by it again.
#[tokio::test]
async fn an_approval_that_ends_meanwhile_stands_in_for_nothing() {
    let scene = Scene::new().await;
    let as_before = || Approval {
        ticked: Ticked::AsBefore,
        ..Scene::alice()
    };
    let web = Params::authorize("WEB");
    scene.tokens_for("WEB").await;
    let stands = scene.pending(&web).await;
    let too_late = scene.pending(&web).await;
    let answered = scene.server.approve(stands, as_before(), None).await;
    assert!(answered.is_ok(), "{answered:?}");
    assert_eq!(
        scene.server.is_approved_already(&too_late, "u_alice").await,
        Ok(true)
    );
    let (client, now) = (ClientId::parse("WEB").unwrap(), scene.clock.now());
    let ended = scene.store.revoke_client_grants("u_alice", &client, now).await;
    assert_eq!(ended.unwrap(), 2);
    let answered = scene.server.approve(too_late, as_before(), None).await;
    assert!(matches!(answered, Err(PageReason::Gone)), "{answered:?}");
}

/// AZ-13, P13: remembered only for clients that prove who they are, and only as far as it went.
#[tokio::test]
async fn an_approval_is_remembered_as_far_as_it_went() {
    let scene = Scene::new().await;
    let knows = async |request: &Params, subject: &str| {
        let pending = scene.pending(request).await;
        scene.server.is_approved_already(&pending, subject).await.unwrap()
    };
    let web = Params::authorize("WEB").set("scope", "mcp:read mcp:write");
    assert!(!knows(&web, "u_alice").await);
    let code = scene.code(&web, Scene::alice()).await;
    // Not before the client has fetched its tokens: the code may never have reached it.
    assert!(!knows(&web, "u_alice").await);
    scene.token("WEB", &Params::redeem("WEB", &code)).await.unwrap();

    assert!(knows(&web, "u_alice").await);
    assert!(knows(&Params::authorize("WEB"), "u_alice").await);
    assert!(!knows(&web, "u_bob").await);
    assert!(!knows(&web.clone().set("scope", "mcp:read admin"), "u_alice").await);
    assert!(!knows(&web.clone().set("resource", "https://rs2.test/mcp"), "u_alice").await);
    assert!(!knows(&web.clone().set("prompt", "consent"), "u_alice").await);
    assert!(!knows(&Params::authorize("WEB2"), "u_alice").await);

    scene.wait(90 * 86_400);
    assert!(!knows(&web, "u_alice").await);
}

/// DC-20, P13
#[tokio::test]
async fn who_cannot_prove_himself_is_asked_about_every_time() {
    let scene = Scene::new().await;
    for client in ["PUB", "EVIL"] {
        scene.tokens_for(client).await;
        let pending = scene.pending(&Params::authorize(client)).await;
        assert!(
            !scene
                .server
                .is_approved_already(&pending, "u_alice")
                .await
                .unwrap()
        );
    }
}

/// OpenID Connect Core §3.1.2.6
#[tokio::test]
async fn a_silent_request_that_cannot_be_answered_silently_goes_back() {
    let scene = Scene::new().await;
    let request = Params::authorize("WEB").set("prompt", "none");
    let pending = scene.pending(&request).await;
    scene.audit.drain();
    for code in [ErrorCode::LoginRequired, ErrorCode::ConsentRequired] {
        let answer = Answer::of(&scene.server.cannot_be_silent(&pending, code, None));
        assert_eq!(answer.value("error"), Some(code.as_str()));
        assert_eq!(
            (answer.value("state"), answer.value("iss")),
            (Some(STATE), Some(ISSUER))
        );
    }
    assert_eq!(
        scene.audit.lines(),
        [
            "consent Refused: somebody has to sign in",
            "consent Refused: somebody has to approve the request"
        ]
    );
}

#[tokio::test]
async fn what_is_pending_says_so() {
    let scene = Scene::new().await;
    let Authorize::Pending(pending) = scene.authorize(&Params::authorize("SEC")).await else {
        panic!("it is pending");
    };
    assert!(pending.client().is_verified() && pending.client().is_confidential());
}
