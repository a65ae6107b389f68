//! Clients that are named by the URL of their metadata document, from the first fetch to the last good copy.

mod attack;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use mcp_authflow::{
    AuthorizationServer, FormRequest, PageReason, Ports, Settings,
    client::trust::{DomainName, DomainTrust, HostTrust},
    client_auth::private_key_jwt::JWT_CLIENT_ASSERTION_TYPE,
    port::{
        Clock as _, DocumentKind, Fetch, FetchError, Fetched, Freshness, Policy,
        store::{ClientDocumentStore as _, ClientStore as _, NewClientDocument, PutClientDocument},
    },
    record::{Client, ClientOrigin, DocumentCopy, DocumentSource, HostDecision},
};
use mcp_authflow_jose::{Algorithm, SigningKey};
use mcp_authflow_testkit::{document_host::client_document, params::Params};
use mcp_authflow_types::{ClientId, ErrorCode, ErrorResponse, Form, TokenResponse};
use serde_json::{Value, json};

use crate::scene::{ADDRESS, BEGINS_AT, ISSUER, Scene, refused};

const APP: &str = "https://app.example/client.json";
const WEB: &str = "https://client.example/cb";
const DAY: u64 = 86_400;

/// What a URL answers, and for how many seconds it may be kept where its host says so.
type Published = (Result<Vec<u8>, FetchError>, Option<u64>);

/// What the internet has, URL by URL, and how often each was asked for. It keeps no copies.
#[derive(Default)]
struct Internet {
    documents: Mutex<HashMap<String, Published>>,
    asked: Mutex<HashMap<String, usize>>,
    /// Whether each request was for no memory.
    forced: Mutex<Vec<bool>>,
}

impl Internet {
    fn publish(&self, url: &str, members: &Value) {
        self.publish_for(url, members, None);
    }

    /// Publishes a document whose host says for how many seconds it may be kept.
    fn publish_for(&self, url: &str, members: &Value, fresh_for: Option<u64>) {
        let mut good = json!({ "redirect_uris": [WEB] });
        for (name, value) in members.as_object().unwrap() {
            good[name] = value.clone();
        }
        let body = client_document(url, &good).to_string().into_bytes();
        self.put(url, Ok(body), fresh_for);
    }

    fn publish_bytes(&self, url: &str, body: &[u8]) {
        self.put(url, Ok(body.to_vec()), None);
    }

    fn fail(&self, url: &str, error: FetchError) {
        self.put(url, Err(error), None);
    }

    fn put(&self, url: &str, answer: Result<Vec<u8>, FetchError>, fresh_for: Option<u64>) {
        self.documents
            .lock()
            .unwrap()
            .insert(url.to_owned(), (answer, fresh_for));
    }

    fn asked(&self, url: &str) -> usize {
        self.asked.lock().unwrap().get(url).copied().unwrap_or(0)
    }

    fn asked_at_all(&self) -> usize {
        self.asked.lock().unwrap().values().sum()
    }
}

#[async_trait::async_trait]
impl Fetch for Internet {
    async fn fetch(
        &self,
        url: &str,
        kind: DocumentKind,
        freshness: Freshness,
    ) -> Result<Fetched, FetchError> {
        assert_eq!(kind, DocumentKind::ClientMetadata);
        self.forced.lock().unwrap().push(freshness == Freshness::Refresh);
        *self.asked.lock().unwrap().entry(url.to_owned()).or_default() += 1;
        let documents = self.documents.lock().unwrap();
        let Some((answer, fresh_for)) = documents.get(url) else {
            return Err(FetchError::BadDocument("status 404".to_owned()));
        };
        Ok(Fetched {
            body: Arc::from(answer.clone()?),
            age: Duration::ZERO,
            asked_ago: Duration::ZERO,
            fresh_for: fresh_for.map(Duration::from_secs),
            stale: false,
        })
    }
}

/// A scene with an internet in which the app has published a good document.
struct Stage {
    scene: Scene,
    internet: Arc<Internet>,
}

impl Stage {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut scene = Scene::with(change).await;
        let internet = Arc::new(Internet::default());
        let ports = Ports {
            fetch: internet.clone(),
            ..scene.server.ports().clone()
        };
        scene.server = AuthorizationServer::new(scene.server.settings().clone(), ports);
        internet.publish(APP, &json!({}));
        Self { scene, internet }
    }

    async fn trusting(trust: DomainTrust) -> Self {
        Self::with(|settings| settings.client_documents.trust = trust).await
    }

    async fn pending(&self) -> mcp_authflow::Pending {
        self.scene.pending(&Params::authorize(APP)).await
    }

    async fn shown(&self, client_id: &str) -> PageReason {
        self.scene.shown(&Params::authorize(client_id)).await
    }

    async fn client(&self, client_id: &str) -> Option<Arc<Client>> {
        let id = ClientId::parse(client_id).unwrap();
        self.scene.store.load_client(&id).await.unwrap()
    }

    async fn refresh(&self, tokens: &TokenResponse) -> Result<TokenResponse, ErrorResponse> {
        self.scene.refresh(APP, tokens).await
    }

    /// Whether alice need not be asked again for what the app asks for.
    async fn is_remembered(&self) -> bool {
        let pending = self.pending().await;
        self.scene
            .server
            .is_approved_already(&pending, "u_alice")
            .await
            .unwrap()
    }
}

fn host(name: &str) -> DomainName {
    DomainName::parse(name).unwrap()
}

fn down() -> FetchError {
    FetchError::Unavailable("no connection".to_owned())
}

/// M-061, M-064, M-067
#[tokio::test]
async fn a_client_named_by_its_document_gets_in_and_stays_in() {
    let stage = Stage::new().await;
    assert_eq!(stage.client(APP).await, None);
    let tokens = stage.scene.tokens_for(APP).await;
    assert!(stage.scene.opens_r1(&tokens).await);
    let tokens = stage.refresh(&tokens).await.unwrap();
    stage
        .scene
        .revoke(APP, tokens.access_token.expose())
        .await
        .unwrap();
    stage.pending().await;
    assert_eq!(stage.internet.asked(APP), 1, "the copy counts");
    let lines = stage.scene.audit.lines();
    assert!(
        lines.contains(&"client_document Allowed: fetched for the first time".to_owned()),
        "{lines:?}"
    );

    let client = stage.client(APP).await.unwrap();
    assert_eq!(client.profile.origin, ClientOrigin::MetadataDocument);
    assert_eq!(client.document_host(), Some("app.example"));
    assert!(!client.is_verified() && !client.is_confidential());
    // An approval keeps it as long as its grant can live, and a while longer.
    assert!(client.expires_at.unwrap() > BEGINS_AT + Duration::from_secs(90 * DAY));
}

/// M-067: the document has the role of the registration, loopback ports included.
/// M-178
#[tokio::test]
async fn only_redirect_uris_of_the_document_get_an_answer() {
    let stage = Stage::new().await;
    stage
        .internet
        .publish(APP, &json!({ "redirect_uris": ["http://127.0.0.1/cb", WEB] }));
    for (redirect_uri, is_good) in [
        (WEB, true),
        ("http://127.0.0.1:54321/cb", true),
        ("http://127.0.0.1:54321/other", false),
        ("http://localhost:54321/cb", false),
        ("https://client.example/cb/", false),
        ("https://app.example/cb", false),
    ] {
        let request = Params::authorize(APP).set("redirect_uri", redirect_uri);
        if is_good {
            stage.scene.pending(&request).await;
        } else {
            let reason = stage.scene.shown(&request).await;
            assert!(
                matches!(reason, PageReason::RedirectUri(_)),
                "{redirect_uri}: {reason}"
            );
        }
    }
}

/// M-160, CM-05, SF-01
#[tokio::test]
async fn what_can_name_no_document_is_unknown_and_nothing_is_fetched() {
    let stage = Stage::new().await;
    for id in [
        "https://app.example/a/../client.json",
        "https://app.example/./client.json",
        "https://app.example/client.json#frag",
        "https://app.example/client.json?",
        "https://app.example",
        "https://app.example/",
        "https://u:p@app.example/client.json",
        "http://app.example/client.json",
        "HTTPS://app.example/client.json",
        "ftp://app.example/client.json",
        "data:application/json,{}",
    ] {
        assert_eq!(stage.shown(id).await, PageReason::UnknownClient, "{id}");
    }
    for id in [
        "https://app.example/a\tb",
        "https://app.example/a b",
        &format!("https://app.example/{}", "a".repeat(8_192)),
    ] {
        assert_eq!(stage.shown(id).await, PageReason::NoClientId, "{id}");
    }
    assert_eq!(stage.internet.asked_at_all(), 0);
}

/// M-161, M-065
#[tokio::test]
async fn three_spellings_are_three_clients() {
    let stage = Stage::new().await;
    let spellings = [
        "https://app.example:443/client.json",
        "https://APP.example/client.json",
        "https://app.example/client.json?v=1",
    ];
    let document = client_document(APP, &json!({ "redirect_uris": [WEB] })).to_string();
    for spelling in spellings {
        // What is found there names the other spelling, so it is not this client's.
        stage.internet.publish_bytes(spelling, document.as_bytes());
        assert_eq!(
            stage.shown(spelling).await,
            PageReason::DocumentUnusable,
            "{spelling}"
        );
        assert_eq!(stage.client(spelling).await, None);
    }
    let tokens = stage.scene.tokens_for(APP).await;
    stage.internet.publish(spellings[0], &json!({}));
    stage.scene.pending(&Params::authorize(spellings[0])).await;
    refused(
        stage.scene.refresh(spellings[0], &tokens).await,
        ErrorCode::InvalidGrant,
    );
}

/// M-068, M-162, M-163, M-164, M-166, M-170, CM-02, CM-07, SF-17
#[tokio::test]
async fn whatever_is_wrong_with_a_document_looks_the_same_and_is_not_kept() {
    let stage = Stage::new().await;
    let good = client_document(APP, &json!({ "redirect_uris": [WEB] }));
    let without = |name: &str| {
        let mut document = good.clone();
        document.as_object_mut().unwrap().remove(name);
        Ok(document.to_string().into_bytes())
    };
    let twice = format!("{{\"redirect_uris\":[\"{WEB}\"],{}", &good.to_string()[1..]);
    let answers: Vec<Result<Vec<u8>, FetchError>> = vec![
        Err(down()),
        Err(FetchError::TimedOut("slow".to_owned())),
        Err(FetchError::Refused(
            "10.0.0.5 is a special-use address".to_owned(),
        )),
        Err(FetchError::BadDocument("status 302".to_owned())),
        Err(FetchError::BadDocument("more than 10240 bytes".to_owned())),
        Ok(Vec::new()),
        Ok(b"[]".to_vec()),
        Ok(b"{\"client_id\":".to_vec()),
        Ok(vec![0xff, 0xfe, b'{', 0]),
        Ok(twice.into_bytes()),
        without("client_id"),
        without("client_name"),
        without("redirect_uris"),
    ];
    for answer in answers {
        stage.internet.put(APP, answer.clone(), None);
        assert_eq!(stage.shown(APP).await, PageReason::DocumentUnusable, "{answer:?}");
        assert_eq!(stage.client(APP).await, None, "{answer:?}");
    }
    assert_eq!(PageReason::DocumentUnusable.status(), 400);
    // First bad, then good.
    stage.internet.publish(APP, &json!({}));
    stage.pending().await;
}

/// M-066, M-165, CM-13
#[tokio::test]
async fn a_copy_counts_as_long_as_its_host_says_between_floor_and_ceiling() {
    for (said, counts) in [
        (None, 300),
        (Some(0), 30),
        (Some(29), 30),
        (Some(3_600), 3_600),
        (Some(315_360_000), DAY),
    ] {
        let stage = Stage::new().await;
        stage.internet.publish_for(APP, &json!({}), said);
        stage.pending().await;
        stage.scene.wait(counts - 1);
        stage.pending().await;
        assert_eq!(stage.internet.asked(APP), 1, "{said:?}: in time");
        stage.scene.wait(1);
        stage.pending().await;
        assert_eq!(stage.internet.asked(APP), 2, "{said:?}: past its time");
    }
    let stage = Stage::with(|settings| {
        settings.client_documents.min_age = Duration::from_secs(5);
        settings.client_documents.max_age = Duration::from_secs(10);
    })
    .await;
    stage.internet.publish_for(APP, &json!({}), Some(3_600));
    stage.pending().await;
    stage.scene.wait(10);
    stage.pending().await;
    assert_eq!(stage.internet.asked(APP), 2);
}

/// M-164, CM-14
#[tokio::test]
async fn while_the_host_is_down_known_people_stay_in_and_nobody_comes_in() {
    let stage = Stage::new().await;
    let tokens = stage.scene.tokens_for(APP).await;
    stage.internet.fail(APP, down());
    stage.pending().await;
    stage.scene.wait(300);
    let out_of_reach = PageReason::DocumentOutOfReach { timed_out: false };
    assert_eq!(
        (stage.shown(APP).await, out_of_reach.status()),
        (out_of_reach, 503)
    );
    let tokens = stage.refresh(&tokens).await.unwrap();
    // Revocation and introspection ask nobody.
    let before = stage.internet.asked_at_all();
    assert!(stage.scene.opens_r1(&tokens).await);
    stage.scene.revoke(APP, "mcpat_x").await.unwrap();
    assert_eq!(stage.internet.asked_at_all(), before);

    // The last good copy stands in for seven days.
    stage.scene.wait(7 * DAY - 301);
    let tokens = stage.refresh(&tokens).await.unwrap();
    stage.scene.wait(1);
    assert_eq!(
        stage.refresh(&tokens).await.unwrap_err(),
        ErrorResponse::unavailable()
    );
    stage.internet.fail(APP, FetchError::TimedOut("slow".to_owned()));
    assert_eq!(
        stage.refresh(&tokens).await.unwrap_err(),
        ErrorResponse::timed_out()
    );
    assert_eq!(stage.shown(APP).await.status(), 504);
    // It cost nothing.
    stage.internet.publish(APP, &json!({}));
    stage.refresh(&tokens).await.unwrap();
}

/// A host that is not to be asked any more, since its name leads elsewhere now, gives nobody another week.
#[tokio::test]
async fn a_refused_address_has_no_last_good_copy() {
    let stage = Stage::new().await;
    let tokens = stage.scene.tokens_for(APP).await;
    stage.scene.wait(300);
    stage
        .internet
        .fail(APP, FetchError::Refused("127.0.0.1".to_owned()));
    assert_eq!(
        stage.refresh(&tokens).await.unwrap_err(),
        ErrorResponse::unavailable()
    );
}

/// CM-08, M-067
#[tokio::test]
async fn a_code_goes_only_where_the_document_says_when_it_is_given() {
    let stage = Stage::new().await;
    let request = Params::authorize(APP);
    let begun = stage.scene.pending(&request).await;
    let elsewhere = "https://evil.example/cb";
    stage
        .internet
        .publish(APP, &json!({ "redirect_uris": [elsewhere] }));
    // As long as the copy counts, what was shown is what counts.
    stage
        .scene
        .server
        .resume(begun.id(), &Scene::browser())
        .await
        .unwrap();
    stage.scene.wait(300);
    stage
        .scene
        .pending(&request.clone().set("redirect_uri", elsewhere))
        .await;
    let reason = stage
        .scene
        .server
        .resume(begun.id(), &Scene::browser())
        .await
        .unwrap_err();
    assert!(matches!(reason, PageReason::RedirectUri(_)), "{reason}");
    let reason = stage.scene.shown(&request).await;
    assert!(matches!(reason, PageReason::RedirectUri(_)), "{reason}");
}

/// P13, M-176: what is remembered, and what makes it forgotten.
#[tokio::test]
async fn an_approval_is_remembered_for_trusted_hosts_on_the_web_until_the_document_changes() {
    let trusted = || DomainTrust::Only([host("app.example")].into());
    for (trust, redirect_uris, is_remembered) in [
        (trusted(), json!([WEB]), true),
        (trusted(), json!([WEB, "http://127.0.0.1/cb"]), false),
        (trusted(), json!([WEB, "com.example.app:/cb"]), false),
        (DomainTrust::Open, json!([WEB]), false),
        (
            DomainTrust::AllBut([host("evil.example")].into()),
            json!([WEB]),
            false,
        ),
    ] {
        let stage = Stage::trusting(trust.clone()).await;
        stage
            .internet
            .publish(APP, &json!({ "redirect_uris": redirect_uris }));
        stage.scene.tokens_for(APP).await;
        assert_eq!(
            stage.is_remembered().await,
            is_remembered,
            "{trust:?} {redirect_uris}"
        );
    }

    let stage = Stage::trusting(trusted()).await;
    stage.scene.tokens_for(APP).await;
    stage.scene.wait(300);
    stage.internet.publish(
        APP,
        &json!({ "client_uri": "https://app.example/new", "software_version": "2" }),
    );
    assert!(stage.is_remembered().await, "nothing that a person decided by");
    stage.scene.wait(300);
    stage
        .internet
        .publish(APP, &json!({ "client_name": "Another name" }));
    assert!(!stage.is_remembered().await, "another name");
    let copy = stage.client(APP).await.unwrap().profile.document.unwrap();
    assert_eq!(copy.changed_at, Some(stage.scene.clock.now()));
    let lines = stage.scene.audit.lines();
    assert!(
        lines.contains(&"client_document Allowed: changed: name".to_owned()),
        "{lines:?}"
    );
    stage.scene.wait(1);
    stage.scene.tokens_for(APP).await;
    assert!(stage.is_remembered().await, "approved under the new name");
}

/// M-177: a host that an administrator allowed is trusted like one that the settings name.
#[tokio::test]
async fn an_allowed_host_is_remembered_in_open_mode() {
    let stage = Stage::new().await;
    stage.scene.tokens_for(APP).await;
    assert!(!stage.is_remembered().await);
    let now = stage.scene.clock.now();
    let allowed = HostDecision::Allowed;
    stage
        .scene
        .store
        .decide_document_host(&host("app.example"), allowed, now)
        .await
        .unwrap();
    assert!(stage.is_remembered().await);
}

/// CM-18, M-177
/// M-100
#[tokio::test]
async fn a_host_that_is_not_let_in_is_never_asked() {
    let only = |name: &str| DomainTrust::Only([host(name)].into());
    for (trust, id) in [
        (only("other.example"), APP),
        (only("example"), APP),
        (only("app.example"), "https://sub.app.example/client.json"),
        (
            only("app.example"),
            "https://app.example.evil.example/client.json",
        ),
        (only("app.example"), "https://evil-app.example/client.json"),
        (only("app.example"), "https://app.example:8443/client.json"),
        (DomainTrust::AllBut([host("app.example")].into()), APP),
        (
            DomainTrust::AllBut([host("app.example")].into()),
            "https://sub.app.example/client.json",
        ),
        (
            DomainTrust::AllBut([host("app.example")].into()),
            "https://APP.example:443/client.json",
        ),
    ] {
        let stage = Stage::trusting(trust.clone()).await;
        stage.internet.publish(id, &json!({}));
        assert_eq!(
            stage.shown(id).await,
            PageReason::ClientNotAllowed,
            "{trust:?} {id}"
        );
        assert_eq!((stage.internet.asked_at_all(), stage.client(id).await), (0, None));
    }
    let off = Stage::with(|settings| settings.client_documents.enabled = false).await;
    assert_eq!(off.shown(APP).await, PageReason::ClientNotAllowed);
    assert_eq!(off.internet.asked_at_all(), 0);
}

/// M-047, M-174, CM-18
#[tokio::test]
async fn metadata_say_whether_a_document_may_name_a_client() {
    for enabled in [true, false] {
        let stage = Stage::with(|settings| settings.client_documents.enabled = enabled).await;
        let metadata: Value =
            serde_json::from_str(&stage.scene.server.metadata().await.unwrap().body()).unwrap();
        assert_eq!(metadata["client_id_metadata_document_supported"], enabled);
    }
}

/// M-177
#[tokio::test]
async fn a_host_that_nobody_decided_about_waits_for_an_administrator() {
    let stage = Stage::trusting(DomainTrust::Ask).await;
    let undecided = PageReason::HostUndecided {
        host: "app.example".to_owned(),
    };
    assert_eq!(
        (stage.shown(APP).await, undecided.status()),
        (undecided.clone(), 403)
    );
    assert_eq!(stage.shown(APP).await, undecided);
    assert_eq!(
        stage.internet.asked_at_all(),
        0,
        "nobody is asked before somebody decided"
    );
    let store = &stage.scene.store;
    let waiting = store.list_document_hosts().await.unwrap();
    assert_eq!(waiting.len(), 1, "it is noted once");
    assert_eq!(
        (&waiting[0].host, waiting[0].decision),
        (&host("app.example"), None)
    );
    let lines = stage.scene.audit.lines();
    assert!(
        lines
            .contains(&"client_document Refused: its host waits for an administrator from now on".to_owned()),
        "{lines:?}"
    );

    let now = stage.scene.clock.now();
    store
        .decide_document_host(&host("app.example"), HostDecision::Allowed, now)
        .await
        .unwrap();
    stage.scene.tokens_for(APP).await;
    assert!(stage.is_remembered().await);
    store
        .decide_document_host(&host("app.example"), HostDecision::Denied, now)
        .await
        .unwrap();
    assert_eq!(stage.shown(APP).await, PageReason::ClientNotAllowed);
}

/// CM-18: who owns a denied name has as many hosts below it as they like.
#[tokio::test]
async fn a_denied_host_takes_along_what_lies_below_it() {
    let stage = Stage::new().await;
    let now = stage.scene.clock.now();
    let decide = async |name: &str, decision| {
        stage
            .scene
            .store
            .decide_document_host(&host(name), decision, now)
            .await
            .unwrap();
    };
    decide("evil.example", HostDecision::Denied).await;
    decide("good.evil.example", HostDecision::Allowed).await;
    for (id, is_let_in) in [
        ("https://evil.example/client.json", false),
        ("https://evil.example:8443/client.json", false),
        ("https://a.b.evil.example/client.json", false),
        ("https://good.evil.example/client.json", true),
        ("https://not-evil.example/client.json", true),
    ] {
        stage.internet.publish(id, &json!({}));
        if is_let_in {
            stage.scene.pending(&Params::authorize(id)).await;
        } else {
            assert_eq!(stage.shown(id).await, PageReason::ClientNotAllowed, "{id}");
            assert_eq!(stage.internet.asked(id), 0, "{id}");
        }
    }
}

/// An embedder that knows a host's reputation.
struct Reputation;

#[async_trait::async_trait]
impl Policy for Reputation {
    async fn document_host_trust(&self, host: &DomainName, _: HostTrust) -> HostTrust {
        if host.as_str() == "app.example" {
            HostTrust::Denied
        } else {
            HostTrust::Trusted
        }
    }
}

/// M-177
#[tokio::test]
async fn a_policy_takes_trust_away_and_gives_none() {
    let mut stage = Stage::new().await;
    let server = &stage.scene.server;
    stage.scene.server = AuthorizationServer::with_policy(
        server.settings().clone(),
        server.ports().clone(),
        Arc::new(Reputation),
    );
    assert_eq!(stage.shown(APP).await, PageReason::ClientNotAllowed);
    let other = "https://other.example/client.json";
    stage.internet.publish(other, &json!({}));
    stage.scene.tokens_for(other).await;
    let pending = stage.scene.pending(&Params::authorize(other)).await;
    assert!(
        !stage
            .scene
            .server
            .is_approved_already(&pending, "u_alice")
            .await
            .unwrap()
    );
}

/// M-064, M-170: strangers make us fetch so often and no more, and lock nobody out by it.
#[tokio::test]
async fn documents_that_nobody_has_seen_are_fetched_so_often_and_no_more() {
    let stage = Stage::with(|settings| settings.client_documents.per_address_per_hour = 3).await;
    stage.pending().await;
    let probe = |number: u32| format!("https://h{number}.example/client.json");
    for number in 0..2 {
        assert_eq!(stage.shown(&probe(number)).await, PageReason::DocumentUnusable);
    }
    for number in 2..5 {
        let reason = stage.shown(&probe(number)).await;
        assert!(matches!(reason, PageReason::TooMany { .. }), "{reason}");
        assert_eq!(stage.internet.asked(&probe(number)), 0);
    }
    stage.scene.wait(300);
    stage.pending().await;
    assert_eq!(
        stage.internet.asked(APP),
        2,
        "a known client's document is not counted"
    );
    stage.scene.wait(3_600);
    assert_eq!(stage.shown(&probe(2)).await, PageReason::DocumentUnusable);

    let stage = Stage::with(|settings| settings.client_documents.per_host_per_hour = 2).await;
    for number in 0..3 {
        let id = format!("https://app.example/{number}");
        let is_limited = matches!(stage.shown(&id).await, PageReason::TooMany { .. });
        assert_eq!(is_limited, number == 2, "{id}");
    }
}

/// CM-19
#[tokio::test]
async fn a_second_installation_does_not_end_the_first() {
    let stage = Stage::new().await;
    let first = stage.scene.tokens_for(APP).await;
    let second = stage.scene.tokens_for(APP).await;
    assert!(stage.scene.opens_r1(&first).await && stage.scene.opens_r1(&second).await);
    stage.refresh(&first).await.unwrap();
    stage.refresh(&second).await.unwrap();
}

/// M-188: a copy that the operator keeps counts where the host refuses servers, and gives way when it does not.
#[tokio::test]
async fn a_pinned_copy_counts_as_long_as_its_host_cannot_be_asked() {
    let stage = Stage::new().await;
    let now = stage.scene.clock.now();
    stage.pending().await;
    let mut profile = stage.client(APP).await.unwrap().profile.clone();
    profile.name = Some("As pinned".to_owned());
    profile.document = Some(DocumentCopy {
        fetched_at: now,
        fresh_until: now,
        changed_at: None,
        source: DocumentSource::Pinned,
    });
    let pin = NewClientDocument {
        id: ClientId::parse(APP).unwrap(),
        profile,
        seen: Some(now),
        ends_tokens: false,
        expires_at: None,
    };
    let put = stage.scene.store.put_client_document(&pin, now).await.unwrap();
    assert_eq!(put, PutClientDocument::Put);
    for error in [down(), FetchError::BadDocument("status 403".to_owned())] {
        stage.internet.fail(APP, error);
        assert_eq!(
            stage.pending().await.client().profile.name.as_deref(),
            Some("As pinned")
        );
    }
    let tokens = stage.scene.tokens_for(APP).await;
    stage.scene.wait(10 * DAY);
    let tokens = stage.refresh(&tokens).await.unwrap();
    stage
        .internet
        .publish(APP, &json!({ "client_name": "As published" }));
    stage.refresh(&tokens).await.unwrap();
    let client = stage.client(APP).await.unwrap();
    assert_eq!(client.profile.name.as_deref(), Some("As published"));
    assert_eq!(
        client.profile.document.unwrap().source,
        DocumentSource::Pinned,
        "it is pinned still"
    );
    assert_eq!(client.expires_at, None);
}

fn key_set(key: &SigningKey) -> Value {
    json!({ "keys": [key.public_jwk()] })
}

fn assertion(stage: &Stage, key: &SigningKey, jti: &str) -> String {
    let now = stage.scene.clock.now().seconds();
    let claims = json!({ "iss": APP, "sub": APP, "aud": ISSUER, "iat": now, "exp": now + 60, "jti": jti });
    key.sign("JWT", &claims).unwrap()
}

fn with_assertion(request: Params, assertion: &str) -> Params {
    request
        .set("client_assertion_type", JWT_CLIENT_ASSERTION_TYPE)
        .set("client_assertion", assertion)
}

async fn redeem(stage: &Stage, key: &SigningKey, jti: &str) -> TokenResponse {
    let code = stage.scene.code_for(APP).await;
    let request = with_assertion(Params::redeem(APP, &code), &assertion(stage, key, jti));
    stage.scene.token_with(None, &request).await.unwrap()
}

fn refresh_with(stage: &Stage, tokens: &TokenResponse, key: &SigningKey, jti: &str) -> Params {
    with_assertion(
        Params::refresh(APP, tokens.refresh_token.as_ref().unwrap().expose()),
        &assertion(stage, key, jti),
    )
}

/// M-063, M-173, M-204
#[tokio::test]
async fn a_document_that_demands_a_key_is_held_to_it() {
    let stage = Stage::new().await;
    let (key, other) = (
        SigningKey::generate(Algorithm::Es256).unwrap(),
        SigningKey::generate(Algorithm::Es256).unwrap(),
    );
    stage.internet.publish(
        APP,
        &json!({ "token_endpoint_auth_method": "private_key_jwt", "jwks": key_set(&key) }),
    );
    let code = stage.scene.code_for(APP).await;
    let request = Params::redeem(APP, &code);
    refused(stage.scene.token(APP, &request).await, ErrorCode::InvalidClient);
    let with_secret = request
        .clone()
        .set("client_secret", "mcpcs_0123456789abcdef0123456789abcdef");
    refused(
        stage.scene.token_with(None, &with_secret).await,
        ErrorCode::InvalidClient,
    );
    let forged = with_assertion(request.clone(), &assertion(&stage, &other, "0"));
    refused(
        stage.scene.token_with(None, &forged).await,
        ErrorCode::InvalidClient,
    );
    // `sub` names the client where `client_id` does not; a second use is a replay.
    let proof = assertion(&stage, &key, "1");
    let unnamed = with_assertion(request.unset("client_id"), &proof);
    let tokens = stage.scene.token_with(None, &unnamed).await.unwrap();
    let replayed = with_assertion(
        Params::refresh(APP, tokens.refresh_token.as_ref().unwrap().expose()),
        &proof,
    );
    refused(
        stage.scene.token_with(None, &replayed).await,
        ErrorCode::InvalidClient,
    );
    stage
        .scene
        .token_with(None, &refresh_with(&stage, &tokens, &key, "2"))
        .await
        .unwrap();
}

/// M-173, M-180: an array that lists `none` beside the key (SEP-3149).
#[tokio::test]
async fn an_optional_assertion_is_verified_when_it_is_there() {
    let stage = Stage::new().await;
    let (key, other) = (
        SigningKey::generate(Algorithm::Es256).unwrap(),
        SigningKey::generate(Algorithm::Es256).unwrap(),
    );
    stage.internet.publish(
        APP,
        &json!({
            "token_endpoint_auth_method": null,
            "token_endpoint_auth_methods_supported": ["none", "private_key_jwt"],
            "jwks": key_set(&key),
        }),
    );
    let tokens = stage.scene.tokens_for(APP).await;
    let forged = refresh_with(&stage, &tokens, &other, "1");
    refused(
        stage.scene.token_with(None, &forged).await,
        ErrorCode::InvalidClient,
    );
    let proven = refresh_with(&stage, &tokens, &key, "2");
    let tokens = stage.scene.token_with(None, &proven).await.unwrap();
    let secret = Params::refresh(APP, tokens.refresh_token.as_ref().unwrap().expose())
        .set("client_secret", "mcpcs_0123456789abcdef0123456789abcdef");
    refused(
        stage.scene.token_with(None, &secret).await,
        ErrorCode::InvalidClient,
    );
    stage.refresh(&tokens).await.unwrap();
}

/// CM-15, M-176: a key that was replaced is good for as long as the copy counts, and the tokens stay.
#[tokio::test]
async fn a_replaced_key_is_refused_once_the_copy_is_past_its_time() {
    let stage = Stage::new().await;
    let (old, new) = (
        SigningKey::generate(Algorithm::Es256).unwrap(),
        SigningKey::generate(Algorithm::Es256).unwrap(),
    );
    let publish = |key| {
        let members = json!({ "token_endpoint_auth_method": "private_key_jwt", "jwks": key_set(key) });
        stage.internet.publish(APP, &members);
    };
    publish(&old);
    let tokens = redeem(&stage, &old, "1").await;
    publish(&new);
    let request = refresh_with(&stage, &tokens, &old, "2");
    let tokens = stage.scene.token_with(None, &request).await.unwrap();
    stage.scene.wait(300);
    let stolen = refresh_with(&stage, &tokens, &old, "3");
    refused(
        stage.scene.token_with(None, &stolen).await,
        ErrorCode::InvalidClient,
    );
    let request = refresh_with(&stage, &tokens, &new, "4");
    stage.scene.token_with(None, &request).await.unwrap();
}

/// M-176
#[tokio::test]
async fn tokens_end_when_a_document_no_longer_demands_its_key() {
    for weaker in [
        json!({}),
        json!({ "token_endpoint_auth_method": null, "token_endpoint_auth_methods_supported": ["none", "private_key_jwt"] }),
    ] {
        let stage = Stage::new().await;
        let key = SigningKey::generate(Algorithm::Es256).unwrap();
        stage.internet.publish(
            APP,
            &json!({ "token_endpoint_auth_method": "private_key_jwt", "jwks": key_set(&key) }),
        );
        let tokens = redeem(&stage, &key, "1").await;
        let mut weaker = weaker;
        if weaker.get("token_endpoint_auth_methods_supported").is_some() {
            weaker["jwks"] = key_set(&key);
        }
        stage.internet.publish(APP, &weaker);
        assert!(stage.scene.opens_r1(&tokens).await);
        stage.scene.wait(300);
        refused(stage.refresh(&tokens).await, ErrorCode::InvalidGrant);
        assert!(!stage.scene.opens_r1(&tokens).await, "access tokens end too");
        let lines = stage.scene.audit.lines();
        assert!(
            lines
                .iter()
                .any(|line| line
                    .starts_with("client_document Alarm: changed, and everything issued to it ended")),
            "{lines:?}"
        );
    }
}

/// M-200
#[tokio::test]
async fn a_document_client_is_no_machine() {
    let stage = Stage::new().await;
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    stage.internet.publish(
        APP,
        &json!({
            "token_endpoint_auth_method": "private_key_jwt", "jwks": key_set(&key),
            "grant_types": ["authorization_code", "client_credentials"],
        }),
    );
    let machine = |jti| {
        with_assertion(
            Params::client_credentials().set("client_id", APP),
            &assertion(&stage, &key, jti),
        )
    };
    // Nobody has let it in yet, and the token endpoint fetches nothing for strangers.
    refused(
        stage.scene.token_with(None, &machine("1")).await,
        ErrorCode::InvalidClient,
    );
    assert_eq!(stage.internet.asked_at_all(), 0);
    stage.pending().await;
    refused(
        stage.scene.token_with(None, &machine("2")).await,
        ErrorCode::UnauthorizedClient,
    );
}

/// RFC 8628 with a client that describes itself (VS Code's document lists the device grant).
#[tokio::test]
async fn a_device_may_be_a_document_client() {
    let stage = Stage::new().await;
    let start = async |id: &str| {
        let body = Params::device_start(id).encoded();
        let form = Form::parse(body.as_bytes()).unwrap();
        let request = FormRequest {
            form: &form,
            authorization: None,
            address: Some(ADDRESS),
        };
        stage.scene.server.device_authorization(request).await
    };
    refused(start(APP).await, ErrorCode::UnauthorizedClient);
    let tv = "https://tv.example/client.json";
    refused(start(tv).await, ErrorCode::InvalidClient);
    let device = "urn:ietf:params:oauth:grant-type:device_code";
    stage.internet.publish(
        tv,
        &json!({ "grant_types": ["authorization_code", device, "refresh_token"] }),
    );
    let begun = start(tv).await.unwrap();
    assert_eq!(stage.internet.asked(tv), 2);
    let poll = stage
        .scene
        .token(tv, &Params::poll(tv, begun.device_code()))
        .await;
    refused(poll, ErrorCode::AuthorizationPending);
    assert_eq!(stage.internet.asked(tv), 2);
}

/// A client that the operator added under a URL is what the operator said, and its URL is never asked.
#[tokio::test]
async fn a_client_that_the_operator_added_is_not_looked_up() {
    let stage = Stage::new().await;
    let added = mcp_authflow_testkit::cast::client(APP, &[WEB]);
    mcp_authflow_testkit::cast::add_client(&*stage.scene.store, &added).await;
    assert!(stage.pending().await.client().is_verified());
    assert_eq!(stage.internet.asked_at_all(), 0);
}
