//! The audit trail (P18): one record for each decision, and no secret in any.

use mcp_authflow_testkit::{
    cast::secret_of,
    params::{Params, VERIFIER},
};

use crate::scene::{Scene, refresh_token};

#[tokio::test]
async fn every_decision_leaves_one_record() {
    let scene = Scene::new().await;
    let pending = scene.pending(&Params::authorize("SEC")).await;
    assert_eq!(scene.audit.lines(), ["authorize Allowed: waiting for a person"]);
    let answer = scene.server.approve(pending, Scene::alice(), None).await.unwrap();
    assert_eq!(scene.audit.lines(), ["consent Allowed: approved"]);

    let code = crate::scene::Answer::of(&answer)
        .value("code")
        .unwrap()
        .to_owned();
    let redeem = Params::redeem("SEC", &code);
    let wrong = redeem.clone().set("code_verifier", &"a".repeat(43));
    scene.token("SEC", &wrong).await.unwrap_err();
    assert_eq!(scene.audit.lines(), ["redeem_code Refused: wrong code_verifier"]);
    let tokens = scene.token("SEC", &redeem).await.unwrap();
    assert_eq!(scene.audit.lines(), ["redeem_code Allowed: redeemed"]);

    let renewed = scene.refresh("SEC", &tokens).await.unwrap();
    assert_eq!(scene.audit.lines(), ["refresh Allowed: rotated"]);
    scene.refresh("SEC", &tokens).await.unwrap();
    assert_eq!(
        scene.audit.lines(),
        ["refresh Allowed: repeated within the retry window"]
    );

    scene.token_with(None, &redeem).await.unwrap_err();
    assert_eq!(
        scene.audit.lines(),
        ["client_authentication Refused: no credential"]
    );
    scene
        .introspect("SEC", tokens.access_token.expose())
        .await
        .unwrap_err();
    assert_eq!(
        scene.audit.lines(),
        ["introspect Refused: the client protects no resource"]
    );
    scene
        .revoke("SEC2", tokens.access_token.expose())
        .await
        .unwrap_err();
    assert_eq!(
        scene.audit.lines(),
        ["revoke Refused: the token is another client's"]
    );
    scene.revoke("SEC", refresh_token(&renewed)).await.unwrap();
    assert_eq!(scene.audit.lines(), ["revoke Allowed: revoked"]);
    scene.token("SEC", &redeem).await.unwrap_err();
    assert_eq!(
        scene.audit.lines(),
        ["redeem_code Alarm: the code was used before"]
    );

    scene.token("SVC", &Params::client_credentials()).await.unwrap();
    assert_eq!(scene.audit.lines(), ["client_credentials Allowed: issued"]);
    scene
        .token("SVC", &Params::client_credentials().set("scope", "admin"))
        .await
        .unwrap_err();
    assert_eq!(
        scene.audit.lines(),
        ["client_credentials Refused: nothing of the scope asked for is allowed"]
    );
    scene
        .server
        .register(br#"{"redirect_uris":["https://a.example/cb"]}"#, None, None)
        .await
        .unwrap();
    assert_eq!(scene.audit.lines(), ["register Allowed: registered"]);
    scene.server.register(b"{}", None, None).await.unwrap_err();
    assert_eq!(
        scene.audit.lines(),
        ["register Refused: no redirect URI that may be registered"]
    );
    scene.server.register(b"[]", None, None).await.unwrap_err();
    assert_eq!(
        scene.audit.lines(),
        ["register Refused: the body is not a JSON object"]
    );
    scene.shown(&Params::authorize("nobody")).await;
    assert_eq!(scene.audit.lines(), ["authorize Refused: unknown client"]);
    scene
        .sent_back(&Params::authorize("WEB").set("scope", "no-such"))
        .await;
    assert_eq!(
        scene.audit.lines(),
        ["authorize Refused: the scope is malformed or nothing of it can be granted"]
    );
}

/// Who, which client, which grant: enough to follow a theft through a log.
#[tokio::test]
async fn a_record_names_client_person_and_grant() {
    let scene = Scene::new().await;
    let tokens = scene.tokens_for("PUB").await;
    scene.refresh("PUB", &tokens).await.unwrap();
    let records = scene.audit.drain();
    let granted: Vec<_> = records.iter().filter(|record| record.grant.is_some()).collect();
    assert_eq!(granted.len(), 3);
    for record in granted {
        assert_eq!(record.grant, records.last().unwrap().grant);
        assert_eq!(record.client_id.as_deref(), Some("PUB"));
        assert_eq!(record.subject.as_deref(), Some("u_alice"));
        assert!(record.shown.contains("127.0.0.9"), "{}", record.shown);
    }
}

/// P7
#[tokio::test]
async fn no_record_holds_a_secret() {
    let scene = Scene::new().await;
    let code = scene.code_for("SEC").await;
    let redeem = Params::redeem("SEC", &code);
    let first = scene.token("SEC", &redeem).await.unwrap();
    let second = scene.refresh("SEC", &first).await.unwrap();
    scene.refresh("SEC", &first).await.unwrap();
    scene.token("SEC", &redeem).await.unwrap_err();
    scene.refresh("SEC", &second).await.unwrap_err();
    scene.revoke("SEC", second.access_token.expose()).await.unwrap();
    scene
        .token_with(None, &redeem.set("client_secret", "hunter2 of a stranger"))
        .await
        .unwrap_err();
    let registered = scene
        .server
        .register(br#"{"redirect_uris":["https://a.example/cb"]}"#, None, None)
        .await
        .unwrap();

    let shown: String = scene
        .audit
        .drain()
        .into_iter()
        .map(|record| record.shown)
        .collect();
    assert!(shown.len() > 1_000);
    let secret = registered.client_secret.unwrap();
    for secret in [
        code.as_str(),
        VERIFIER,
        first.access_token.expose(),
        second.access_token.expose(),
        refresh_token(&first),
        refresh_token(&second),
        &secret_of("SEC"),
        "hunter2 of a stranger",
        secret.expose(),
    ] {
        // The random middle of a token is enough to know it by.
        assert!(!shown.contains(&secret[secret.len() / 3..]), "{secret}");
    }
}

/// P18: safe against log injection; a caller's words are in no reason.
#[tokio::test]
async fn no_record_repeats_what_a_stranger_wrote() {
    let scene = Scene::new().await;
    let injected = "x\nredeem_code Allowed: forged";
    for name in [
        "client_id",
        "redirect_uri",
        "scope",
        "resource",
        "state",
        "prompt",
        "response_type",
    ] {
        let _ = scene
            .authorize(&Params::authorize("WEB").set(name, injected))
            .await;
        let _ = scene
            .token("PUB", &Params::redeem("PUB", "x").set(name, injected))
            .await;
    }
    for record in scene.audit.drain() {
        assert!(!record.shown.contains("forged"), "{}", record.shown);
    }
}
