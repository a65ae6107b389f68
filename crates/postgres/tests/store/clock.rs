//! Nodes whose clocks are off: PostgreSQL's alone says how long ago a refresh token was spent.

use std::{sync::Arc, time::Duration};

use mcp_authflow::{
    AuthorizationServer, FormRequest, Ports, ServerKey, Settings,
    memory::MemoryRateLimit,
    port::{
        NoFetch,
        store::{GrantStore as _, RedeemCode},
    },
    record::{GrantId, RefreshTokenRecord},
};
use mcp_authflow_postgres::PostgresStore;
use mcp_authflow_testkit::{
    audit_log::AuditLog,
    contract::{sample, scene::Scene},
    manual_clock::ManualClock,
    params::Params,
    seeded_entropy::SeededEntropy,
};
use mcp_authflow_types::{
    ClientId, ErrorCode, ErrorResponse, Form, Issuer, RefreshToken, Timestamp, TokenResponse,
};

use crate::support::fresh_store;

/// A node with a clock of its own that stands still.
struct Node {
    server: AuthorizationServer,
    client: ClientId,
    audit: Arc<AuditLog>,
}

impl Node {
    fn at(now: Timestamp, window: Duration, store: &PostgresStore, client: &ClientId) -> Self {
        let mut settings = Settings::new(Issuer::parse("https://auth.example").unwrap());
        settings.lifetimes.refresh_retry_window = window;
        let (clock, audit) = (Arc::new(ManualClock::at(now)), Arc::new(AuditLog::default()));
        let ports = Ports {
            store: Arc::new(store.clone()),
            clock: clock.clone(),
            entropy: Arc::new(SeededEntropy::new(sample::number())),
            audit: audit.clone(),
            key: ServerKey::from_bytes([7; 32]),
            rate_limit: Arc::new(MemoryRateLimit::new(clock)),
            replay: None,
            old_tokens: None,
            fetch: Arc::new(NoFetch),
        };
        Self {
            server: AuthorizationServer::new(settings, ports),
            client: client.clone(),
            audit,
        }
    }

    async fn refresh(&self, token: &RefreshToken) -> Result<TokenResponse, ErrorResponse> {
        let body = Params::refresh(self.client.as_str(), token.expose())
            .unset("resource")
            .encoded();
        self.server
            .token(FormRequest {
                form: &Form::parse(body.as_bytes()).unwrap(),
                authorization: None,
                address: None,
            })
            .await
    }
}

/// A client that holds a refresh token.
async fn with_refresh_token(store: &PostgresStore) -> (ClientId, GrantId, RefreshToken) {
    let scene = Scene::approved(store).await;
    let token = RefreshToken::mint(&[7; 32], scene.grant.expires_at);
    let mut tokens = sample::tokens(&scene.grant);
    tokens.refresh_token = Some(RefreshTokenRecord {
        hash: token.hash(),
        bucket: token.bucket(),
        ..sample::refresh_token(&scene.grant)
    });
    let answer = store
        .redeem_code(&scene.grant.code.hash, &tokens, sample::now())
        .await
        .unwrap();
    assert_eq!(answer, RedeemCode::Redeemed);
    (scene.client.id, scene.grant.id, token)
}

/// RT-18, P5: nobody is signed out by a node that believes the window long over.
#[tokio::test(flavor = "multi_thread")]
async fn a_retry_is_answered_however_far_off_the_nodes_clock_is() {
    let store = fresh_store().await;
    let (client, _, token) = with_refresh_token(&store).await;
    let window = Duration::from_secs(300);
    let first = Node::at(sample::now(), window, &store, &client);
    let answer = first.refresh(&token).await.unwrap();
    for off in [-3_600, -301, 301, 3_600] {
        let node = Node::at(sample::in_seconds(off), window, &store, &client);
        let again = node.refresh(&token).await.unwrap();
        assert_eq!(again.access_token.expose(), answer.access_token.expose());
        let (one, other) = (again.refresh_token.unwrap(), answer.refresh_token.as_ref());
        assert_eq!(one.expose(), other.unwrap().expose());
    }
}

/// RT-18, P5: no thief is served by a node that believes the window still open.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_reuse_though_the_nodes_clock_stands_still() {
    let store = fresh_store().await;
    let (client, grant, token) = with_refresh_token(&store).await;
    let node = Node::at(sample::in_seconds(-60), Duration::from_secs(1), &store, &client);
    let answer = node.refresh(&token).await.unwrap();
    sample::until_passed(sample::in_seconds(1)).await;
    node.audit.drain();
    let replay = node.refresh(&token).await;
    assert_eq!(replay.unwrap_err().code, ErrorCode::InvalidGrant);
    assert_eq!(
        node.audit.lines(),
        ["refresh Alarm: the refresh token was used before"]
    );
    let is_over = node.refresh(&answer.refresh_token.unwrap()).await;
    assert_eq!(is_over.unwrap_err().code, ErrorCode::InvalidGrant);
    assert!(
        !store.revoke_grant(grant, sample::now()).await.unwrap(),
        "it is revoked"
    );
}
