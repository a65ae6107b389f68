//! A server in memory whose clock stands still, with everybody of the cast, so that a test reads as a story.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use mcp_authflow::{
    Approval, AuthorizationRequest, AuthorizationServer, Authorize, FormRequest, PageReason, Pending, Ports,
    SendBack, ServerKey, Settings,
    memory::MemoryRateLimit,
    port::{Clock as _, NoFetch},
};
use mcp_authflow_testkit::{
    audit_log::AuditLog,
    cast,
    failing_store::FailingStore,
    manual_clock::ManualClock,
    params::{Params, basic},
    seeded_entropy::SeededEntropy,
};
use mcp_authflow_types::{
    ErrorResponse, Form, Issuer, Scope, Timestamp, TokenHash, TokenResponse,
    introspection::IntrospectionResponse,
};

/// The issuer of every scene that names no other.
pub(crate) const ISSUER: &str = "https://auth.example";
/// When every scene begins.
pub(crate) const BEGINS_AT: Timestamp = Timestamp::from_seconds(1_790_000_000);
/// Where every request comes from.
pub(crate) const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));

pub(crate) struct Scene {
    pub(crate) server: AuthorizationServer,
    pub(crate) store: Arc<FailingStore>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) audit: Arc<AuditLog>,
}

/// An answer at the client's redirect URI.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) location: String,
    pub(crate) pairs: Vec<(String, String)>,
}

impl Answer {
    pub(crate) fn of(answer: &SendBack) -> Self {
        let (location, query) = answer.location().split_once('?').unwrap();
        Self {
            location: location.to_owned(),
            pairs: form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        }
    }

    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        let mut values = self.pairs.iter().filter(|(one, _)| one == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert_eq!(values.next(), None, "{name} comes once");
        value
    }
}

impl Scene {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::at(ISSUER, change).await
    }

    /// A scene of another issuer.
    pub(crate) async fn at(issuer: &str, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::new(Issuer::parse(issuer).unwrap());
        change(&mut settings);
        let (store, clock) = (
            Arc::new(FailingStore::default()),
            Arc::new(ManualClock::at(BEGINS_AT)),
        );
        let audit = Arc::new(AuditLog::default());
        cast::enter(&*store, clock.now()).await;
        let ports = Ports {
            store: store.clone(),
            clock: clock.clone(),
            entropy: Arc::new(SeededEntropy::new(1)),
            audit: audit.clone(),
            key: ServerKey::from_bytes([7; 32]),
            rate_limit: Arc::new(MemoryRateLimit::new(clock.clone())),
            replay: None,
            old_tokens: None,
            fetch: Arc::new(NoFetch),
        };
        Self {
            server: AuthorizationServer::new(settings, ports),
            store,
            clock,
            audit,
        }
    }

    pub(crate) fn wait(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// The browser in which alice sits.
    pub(crate) fn browser() -> TokenHash {
        TokenHash::of("alice's browser")
    }

    pub(crate) fn alice() -> Approval {
        Approval {
            subject: "u_alice".to_owned(),
            username: Some("alice".to_owned()),
            subject_generation: Some(0),
            ticked: mcp_authflow::Ticked::Everything,
        }
    }

    /// Alice, who leaves only this ticked.
    pub(crate) fn alice_ticks(scope: &str) -> Approval {
        Approval {
            ticked: mcp_authflow::Ticked::Tokens(Scope::parse(scope).unwrap()),
            ..Self::alice()
        }
    }

    pub(crate) async fn authorize(&self, request: &Params) -> Authorize {
        let query = request.encoded();
        let request = AuthorizationRequest {
            query: &Form::parse(query.as_bytes()).unwrap(),
            browser: Self::browser(),
            address: Some(ADDRESS),
        };
        self.server.authorize(request).await
    }

    /// A request that waits for alice.
    pub(crate) async fn pending(&self, request: &Params) -> Pending {
        match self.authorize(request).await {
            Authorize::Pending(pending) => *pending,
            other => panic!("{request:?} is answered at once: {other:?}"),
        }
    }

    /// A request that is sent back.
    pub(crate) async fn sent_back(&self, request: &Params) -> Answer {
        match self.authorize(request).await {
            Authorize::SendBack(answer) => Answer::of(&answer),
            other => panic!("{request:?} is not sent back: {other:?}"),
        }
    }

    /// A request that gets a page.
    pub(crate) async fn shown(&self, request: &Params) -> PageReason {
        match self.authorize(request).await {
            Authorize::ShowPage(reason) => reason,
            other => panic!("{request:?} gets no page: {other:?}"),
        }
    }

    /// The code that comes of an approval.
    pub(crate) async fn code(&self, request: &Params, approval: Approval) -> String {
        let pending = self.pending(request).await;
        let answer = self
            .server
            .approve(pending, approval, Some(ADDRESS))
            .await
            .unwrap();
        Answer::of(&answer).value("code").unwrap().to_owned()
    }

    /// The code that comes when alice approves everything that a client of the cast asks for.
    pub(crate) async fn code_for(&self, client_id: &str) -> String {
        self.code(&Params::authorize(client_id), Self::alice()).await
    }

    /// The tokens of that code.
    pub(crate) async fn tokens_for(&self, client_id: &str) -> TokenResponse {
        let code = self.code_for(client_id).await;
        self.token(client_id, &Params::redeem(client_id, &code))
            .await
            .unwrap()
    }

    /// A token request of a client of the cast, with its secret where it has one.
    pub(crate) async fn token(
        &self,
        client_id: &str,
        request: &Params,
    ) -> Result<TokenResponse, ErrorResponse> {
        let header = Self::header_of(client_id);
        self.token_with(header.as_deref(), request).await
    }

    pub(crate) async fn token_with(
        &self,
        authorization: Option<&str>,
        request: &Params,
    ) -> Result<TokenResponse, ErrorResponse> {
        let body = request.encoded();
        let form = Form::parse(body.as_bytes()).unwrap();
        self.server.token(Self::form_request(&form, authorization)).await
    }

    pub(crate) async fn refresh(
        &self,
        client_id: &str,
        tokens: &TokenResponse,
    ) -> Result<TokenResponse, ErrorResponse> {
        self.token(client_id, &Params::refresh(client_id, refresh_token(tokens)))
            .await
    }

    pub(crate) async fn revoke(&self, client_id: &str, token: &str) -> Result<(), ErrorResponse> {
        let request = Params::of(&[("token", token), ("client_id", client_id)]);
        self.revoke_with(Self::header_of(client_id).as_deref(), &request)
            .await
    }

    pub(crate) async fn revoke_with(
        &self,
        authorization: Option<&str>,
        request: &Params,
    ) -> Result<(), ErrorResponse> {
        let body = request.encoded();
        let form = Form::parse(body.as_bytes()).unwrap();
        self.server.revoke(Self::form_request(&form, authorization)).await
    }

    pub(crate) async fn introspect(
        &self,
        caller: &str,
        token: &str,
    ) -> Result<IntrospectionResponse, ErrorResponse> {
        self.introspect_with(Some(&basic(caller)), &Params::of(&[("token", token)]))
            .await
    }

    pub(crate) async fn introspect_with(
        &self,
        authorization: Option<&str>,
        request: &Params,
    ) -> Result<IntrospectionResponse, ErrorResponse> {
        let body = request.encoded();
        let form = Form::parse(body.as_bytes()).unwrap();
        self.server
            .introspect(Self::form_request(&form, authorization))
            .await
    }

    /// Whether the first resource would let this access token in.
    pub(crate) async fn opens_r1(&self, tokens: &TokenResponse) -> bool {
        let answer = self
            .introspect("RS1", tokens.access_token.expose())
            .await
            .unwrap();
        answer != IntrospectionResponse::Inactive
    }

    fn form_request<'a>(form: &'a Form<'a>, authorization: Option<&'a str>) -> FormRequest<'a> {
        FormRequest {
            form,
            authorization,
            address: Some(ADDRESS),
        }
    }

    fn header_of(client_id: &str) -> Option<String> {
        matches!(
            client_id,
            "SEC" | "SEC2" | "SECX" | "POST" | "SVC" | "DEVC" | "RS1" | "RS2"
        )
        .then(|| basic(client_id))
    }
}

/// The refresh token of an answer.
pub(crate) fn refresh_token(tokens: &TokenResponse) -> &str {
    tokens.refresh_token.as_ref().unwrap().expose()
}

/// What a refusal looks like outside.
pub(crate) fn refused<T: std::fmt::Debug>(
    result: Result<T, ErrorResponse>,
    code: mcp_authflow_types::ErrorCode,
) {
    assert_eq!(result.unwrap_err(), ErrorResponse::new(code));
}

/// What a client that tried HTTP Basic is answered when it is not let in (RFC 6749 §5.2).
pub(crate) fn challenged<T: std::fmt::Debug>(result: Result<T, ErrorResponse>) {
    let challenge = ErrorResponse {
        basic_challenge: true,
        ..mcp_authflow_types::ErrorCode::InvalidClient.into()
    };
    assert_eq!(result.unwrap_err(), challenge);
}
