//! What a change of a registration (RFC 7592) does to what was granted and to what waits.

use mcp_authflow::{ManageRegistration, PageReason};
use mcp_authflow_testkit::params::Params;
use mcp_authflow_types::{ErrorCode, ErrorResponse, TokenResponse};
use serde_json::{Value, json};

use crate::{
    registration::{good, register, with},
    scene::{ADDRESS, Answer, Scene},
};

/// A client that registered itself, let in by alice.
struct Client {
    scene: Scene,
    told: Value,
}

impl Client {
    async fn new(registration: &Value) -> Self {
        let scene = Scene::new().await;
        let told = register(&scene, registration).await.unwrap();
        Self { scene, told }
    }

    fn id(&self) -> &str {
        self.told["client_id"].as_str().unwrap()
    }

    fn authorize(&self) -> Params {
        Params::authorize("WEB").set("client_id", self.id())
    }

    async fn tokens(&self) -> TokenResponse {
        let code = self.scene.code(&self.authorize(), Scene::alice()).await;
        self.redeem(&code).await
    }

    async fn redeem(&self, code: &str) -> TokenResponse {
        let mut redeem = Params::redeem("WEB", code).set("client_id", self.id());
        if let Some(secret) = self.told["client_secret"].as_str() {
            redeem = redeem.set("client_secret", secret);
        }
        self.scene.token_with(None, &redeem).await.unwrap()
    }

    fn header(&self) -> String {
        format!(
            "Bearer {}",
            self.told["registration_access_token"].as_str().unwrap()
        )
    }

    async fn remove(&self) -> Result<(), ErrorResponse> {
        let header = self.header();
        self.scene.server.remove_registration(self.request(&header)).await
    }

    fn request<'a>(&'a self, header: &'a str) -> ManageRegistration<'a> {
        ManageRegistration {
            client_id: self.id(),
            authorization: Some(header),
            address: Some(ADDRESS),
        }
    }

    async fn change(&self, mut to: Value) {
        to["client_id"] = self.told["client_id"].clone();
        let (header, body) = (self.header(), to.to_string());
        let request = self.request(&header);
        let changed = self
            .scene
            .server
            .update_registration(request, body.as_bytes())
            .await;
        assert!(changed.is_ok(), "{changed:?}");
    }
}

fn confidential() -> Value {
    with("token_endpoint_auth_method", json!("client_secret_post"))
}

/// DC-16: requests that are open die with their redirect URI; codes that are out go to nobody else.
#[tokio::test]
async fn an_open_request_dies_when_its_redirect_uri_is_gone() {
    let client = Client::new(&good()).await;
    let code = client.scene.code(&client.authorize(), Scene::alice()).await;
    let open = client.scene.pending(&client.authorize()).await;
    let mut moved = good();
    moved["redirect_uris"] = json!(["https://evil.example/cb"]);
    client.change(moved).await;

    let again = client.scene.server.resume(open.id(), &Scene::browser()).await;
    assert!(matches!(again, Err(PageReason::RedirectUri(_))), "{again:?}");
    let elsewhere = client.authorize().set("redirect_uri", "https://evil.example/cb");
    let answer = client.scene.pending(&elsewhere).await;
    let silent = client
        .scene
        .server
        .is_approved_already(&answer, "u_alice")
        .await
        .unwrap();
    assert!(!silent, "the new address needs a new approval");
    let stolen = Params::redeem("WEB", &code)
        .set("client_id", client.id())
        .set("redirect_uri", "https://evil.example/cb");
    let refused = client.scene.token_with(None, &stolen).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidGrant);
}

/// DC-16: a request that leaves its redirect URI out means the one that the person is shown, not the one that is
/// registered by the time of the click.
#[tokio::test]
async fn a_redirect_uri_that_was_left_out_is_not_swapped_under_the_consent_page() {
    let client = Client::new(&good()).await;
    let asked = client.authorize().unset("redirect_uri");
    let open = client.scene.pending(&asked).await;
    let shown = open.answer_to().target().unwrap();
    assert_eq!(shown.as_str(), "https://client.example/cb");
    let resume = async || client.scene.server.resume(open.id(), &Scene::browser()).await;
    assert!(resume().await.is_ok());
    let mut moved = good();
    moved["redirect_uris"] = json!(["https://evil.example/cb"]);
    client.change(moved).await;
    let again = resume().await;
    assert!(matches!(again, Err(PageReason::Gone)), "{again:?}");
}

/// An approval that was given before the change is answered at the old address or not at all.
#[tokio::test]
async fn an_approval_under_way_never_reaches_the_new_address() {
    let client = Client::new(&good()).await;
    let open = client.scene.pending(&client.authorize()).await;
    let mut moved = good();
    moved["redirect_uris"] = json!(["https://evil.example/cb"]);
    client.change(moved).await;
    match client
        .scene
        .server
        .approve(open, Scene::alice(), Some(ADDRESS))
        .await
    {
        Ok(answer) => assert_eq!(Answer::of(&answer).location, "https://client.example/cb"),
        Err(reason) => assert!(matches!(reason, PageReason::Gone)),
    }
}

/// M-176 of documents, kept for registrations alike: less proof ends what was issued.
#[tokio::test]
async fn giving_up_the_secret_ends_what_was_issued() {
    let client = Client::new(&confidential()).await;
    let tokens = client.tokens().await;
    let mut renamed = confidential();
    renamed["client_name"] = json!("Another name");
    client.change(renamed).await;
    assert!(
        client.scene.opens_r1(&tokens).await,
        "another name proves as much"
    );

    client.change(good()).await;
    assert!(!client.scene.opens_r1(&tokens).await);
    let refresh =
        Params::refresh("WEB", tokens.refresh_token.as_ref().unwrap().expose()).set("client_id", client.id());
    let refused = client.scene.token_with(None, &refresh).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidGrant);
}

/// RFC 7592 §2.3: "… immediately invalidate all existing authorization grants and currently active access tokens".
#[tokio::test]
async fn a_removed_registration_ends_everything_beneath_it() {
    let client = Client::new(&good()).await;
    let tokens = client.tokens().await;
    assert!(client.scene.opens_r1(&tokens).await);
    let open = client.scene.pending(&client.authorize()).await;
    client.scene.audit.drain();
    client.remove().await.unwrap();
    assert_eq!(
        client.scene.audit.lines(),
        ["manage_registration Allowed: removed"]
    );
    assert!(!client.scene.opens_r1(&tokens).await);
    let again = client.scene.server.resume(open.id(), &Scene::browser()).await;
    assert!(matches!(again, Err(PageReason::Gone)), "{again:?}");
}

/// What is asked of whom: the store is asked, or the answer says so.
#[tokio::test]
async fn a_store_that_does_not_answer_removes_nothing_and_says_so() {
    use mcp_authflow_testkit::failing_store::Fault;

    let client = Client::new(&good()).await;
    for verb in ["load_registration", "remove_client"] {
        client.scene.store.fail(verb, Fault::Refuses);
        let refused = client.remove().await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::TemporarilyUnavailable, "{verb}");
        client.scene.store.heal();
    }
    let header = client.header();
    client
        .scene
        .server
        .read_registration(client.request(&header))
        .await
        .unwrap();
}
