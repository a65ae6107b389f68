//! What a request says of the person: how to prompt, whom to expect.

use mcp_authflow::PageReason;
use mcp_authflow_testkit::{
    cast::R1,
    params::{Params, STATE},
};
use mcp_authflow_types::ErrorCode;

use crate::scene::{Answer, ISSUER, Scene};

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
            description: "somebody has to approve the request",
            target: Some("https://evil.example/cb".to_owned()),
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
    let target = pending.answer_to().target().unwrap();
    assert_eq!(target.as_str(), request.value("redirect_uri"));
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
