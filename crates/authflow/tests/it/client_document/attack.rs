//! What strangers and moments try with clients that are named by their documents.

use mcp_authflow::{
    client::known::{AddressPattern, KnownClient, KnownClients, Leniency},
    port::store::Store,
};
use mcp_authflow_types::{AuthorizationCode, RedirectUri, RefreshToken};

use super::*;

/// P9, CM-11: whoever knows a client's name, and has neither a code nor a token of it, makes nobody ask its host at the token
/// endpoint. Else a stranger with some hundred slow documents of their own would hold every fetch there is.
#[tokio::test]
async fn a_stranger_at_the_token_endpoint_makes_nobody_ask() {
    let stage = Stage::new().await;
    let tokens = stage.scene.tokens_for(APP).await;
    let others = stage.scene.tokens_for("PUB").await;
    stage.scene.wait(300);
    for request in [
        Params::redeem(APP, AuthorizationCode::mint(&[1; 32]).expose()),
        Params::redeem(APP, "another program's"),
        Params::refresh(
            APP,
            RefreshToken::mint(&[1; 32], BEGINS_AT + Duration::from_secs(DAY)).expose(),
        ),
        Params::refresh(APP, "another program's"),
        Params::refresh(APP, others.refresh_token.as_ref().unwrap().expose()),
        Params::client_credentials().set("client_id", APP),
    ] {
        stage.scene.token(APP, &request).await.unwrap_err();
        assert_eq!(stage.internet.asked(APP), 1, "{request:?}");
    }
    stage.refresh(&tokens).await.unwrap();
    assert_eq!(stage.internet.asked(APP), 2, "its own token is worth a look");
}

/// A host that is denied while it lets a fetch wait.
struct Denied {
    store: Arc<dyn Store>,
}

#[async_trait::async_trait]
impl Fetch for Denied {
    async fn fetch(&self, url: &str, _: DocumentKind, _: Freshness) -> Result<Fetched, FetchError> {
        let now = BEGINS_AT;
        self.store
            .decide_document_host(&host("app.example"), HostDecision::Denied, now)
            .await
            .unwrap();
        // What is there ends, as `client-document host deny` does it.
        self.store
            .revoke_client(&ClientId::parse(url).unwrap())
            .await
            .unwrap();
        let body = client_document(url, &json!({ "redirect_uris": [WEB] })).to_string();
        Ok(Fetched {
            body: Arc::from(body.into_bytes()),
            age: Duration::ZERO,
            asked_ago: Duration::ZERO,
            fresh_for: None,
            stale: false,
        })
    }
}

/// M-177, CM-18: a denial counts from the moment that it is said, whoever is on the way, known or not.
#[tokio::test]
async fn a_host_that_is_denied_while_it_is_asked_stays_out() {
    for is_known in [false, true] {
        let mut stage = Stage::new().await;
        if is_known {
            stage.pending().await;
            stage.scene.wait(300);
        }
        let server = &stage.scene.server;
        let ports = Ports {
            fetch: Arc::new(Denied {
                store: server.ports().store.clone(),
            }),
            ..server.ports().clone()
        };
        stage.scene.server = AuthorizationServer::new(server.settings().clone(), ports);
        assert_eq!(stage.shown(APP).await, PageReason::ClientNotAllowed, "{is_known}");
    }
}

/// P13, M-176: what was shown before a document changed is not approved after it, so that an approval that counts for the new
/// document was given by somebody who saw it.
#[tokio::test]
async fn a_request_that_was_shown_before_a_change_is_over_after_it() {
    for change in [
        json!({ "client_name": "Another name" }),
        json!({ "redirect_uris": [WEB, "https://evil.example/cb"] }),
    ] {
        let stage = Stage::trusting(DomainTrust::Only([host("app.example")].into())).await;
        stage.pending().await;
        stage.scene.wait(299);
        let before = stage.pending().await;
        stage.scene.wait(1);
        stage.internet.publish(APP, &change);
        // Whoever comes next brings the new document in, and is asked about that.
        let after = stage.pending().await;
        let resume = async |id| stage.scene.server.resume(id, &Scene::browser()).await;
        let reason = resume(before.id()).await.unwrap_err();
        assert_eq!(reason, PageReason::Gone, "{change}");
        resume(after.id()).await.unwrap();
    }
}

/// P13: a redirect that is let pass, although nobody registered it, is asked about every time.
#[tokio::test]
async fn a_redirect_by_leniency_is_never_remembered() {
    let known: KnownClients = [KnownClient {
        name: "app".into(),
        client_ids: vec![AddressPattern::parse(APP).unwrap()],
        redirect_uris: Vec::new(),
        also_redirects_to: vec![RedirectUri::parse("http://127.0.0.1/other").unwrap()],
        leniencies: vec![Leniency::LoopbackPath],
    }]
    .into_iter()
    .collect();
    let stage = Stage::with(|settings| {
        settings.client_documents.trust = DomainTrust::Only([host("app.example")].into());
        settings.known_clients = known;
    })
    .await;
    stage.scene.tokens_for(APP).await;
    assert!(stage.is_remembered().await);
    let local = Params::authorize(APP).set("redirect_uri", "http://127.0.0.1:7/other");
    let pending = stage.scene.pending(&local).await;
    let server = &stage.scene.server;
    assert!(!server.is_approved_already(&pending, "u_alice").await.unwrap());
    let silent = stage.scene.shown(&local.set("prompt", "none")).await;
    let code = ErrorCode::ConsentRequired;
    assert!(
        matches!(silent, PageReason::Refused { code: is, .. } if is == code),
        "{silent}"
    );
}

/// A fetcher that keeps what it was told some seconds ago and answers from that, as it does for a URL that is asked for
/// anew too soon.
struct Memory;

const ASKED_AGO: u64 = 10;

#[async_trait::async_trait]
impl Fetch for Memory {
    async fn fetch(&self, url: &str, _: DocumentKind, _: Freshness) -> Result<Fetched, FetchError> {
        let body = client_document(url, &json!({ "redirect_uris": [WEB] })).to_string();
        Ok(Fetched {
            body: Arc::from(body.into_bytes()),
            age: Duration::from_secs(ASKED_AGO),
            asked_ago: Duration::from_secs(ASKED_AGO),
            fresh_for: Some(Duration::from_secs(DAY)),
            stale: false,
        })
    }
}

/// CM-15: after a stolen key was replaced and the copy removed or put past its time, a document from the fetcher's memory
/// counts for seconds and not for the day that its host let it be kept.
#[tokio::test]
async fn what_comes_from_memory_counts_no_longer_than_the_shortest_time() {
    let mut stage = Stage::new().await;
    let server = &stage.scene.server;
    let ports = Ports {
        fetch: Arc::new(Memory),
        ..server.ports().clone()
    };
    stage.scene.server = AuthorizationServer::new(server.settings().clone(), ports);
    stage.pending().await;
    let copy = stage.client(APP).await.unwrap().profile.document.unwrap();
    assert_eq!(
        copy.fresh_until,
        BEGINS_AT + Duration::from_secs(30 - ASKED_AGO),
        "30 s after it was asked for"
    );
}

/// CM-15: a copy that counted is replaced by what its host says, and not by what a fetcher remembers; the first fetch is no
/// forced one, or the one after it would be answered from memory.
#[tokio::test]
async fn a_known_document_is_asked_for_at_its_host() {
    let stage = Stage::new().await;
    let tokens = stage.scene.tokens_for(APP).await;
    stage.scene.wait(300);
    stage.pending().await;
    stage.scene.wait(300);
    stage.refresh(&tokens).await.unwrap();
    assert_eq!(*stage.internet.forced.lock().unwrap(), [false, true, true]);
}

/// M-170: strangers who ask for anything at a client's host until it has been asked enough lock out no client that is known,
/// and what one address may ask for is still counted for it.
#[tokio::test]
async fn a_known_client_is_not_locked_out_by_what_others_ask_of_its_host() {
    let family = "https://app.example/c/{id}/client.json";
    let known: KnownClients = [KnownClient {
        name: "app".into(),
        client_ids: [APP, family].map(|id| AddressPattern::parse(id).unwrap()).into(),
        redirect_uris: Vec::new(),
        also_redirects_to: Vec::new(),
        leniencies: Vec::new(),
    }]
    .into_iter()
    .collect();
    for (per_address, is_let_in) in [(60, true), (3, false)] {
        let stage = Stage::with(|settings| {
            settings.client_documents.per_host_per_hour = 2;
            settings.client_documents.per_address_per_hour = per_address;
            settings.known_clients = known.clone();
        })
        .await;
        for (id, is_asked) in [("1", true), ("2", true), ("c/3/client.json", false)] {
            let id = format!("https://app.example/{id}");
            let reason = stage.shown(&id).await;
            assert_eq!(matches!(reason, PageReason::TooMany { .. }), !is_asked, "{id}");
            assert_eq!(stage.internet.asked(&id), usize::from(is_asked), "{id}");
        }
        if is_let_in {
            stage.pending().await;
        } else {
            let reason = stage.shown(APP).await;
            assert!(matches!(reason, PageReason::TooMany { .. }), "{reason}");
        }
    }
}
