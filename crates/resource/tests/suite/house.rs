//! A protected service, and how a test calls it.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::body::Body;
use http::{HeaderMap, Request, Response, StatusCode};
use mcp_authflow_resource::{Builder, Caller, Protect, ProtectedResource, Timestamp};
use mcp_authflow_types::{
    ClientId, Resource, Scope,
    introspection::{ActiveToken, IntrospectionResponse},
};
use tower::{Layer as _, ServiceExt as _};

use crate::peer::{Answer, Peer};

pub(crate) const RESOURCE: &str = "https://rs.test/mcp";
pub(crate) const RESOURCE_METADATA: &str = "https://rs.test/.well-known/oauth-protected-resource/mcp";
pub(crate) const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
pub(crate) const DESCRIPTION: &str = "the access token is missing, expired, revoked or not for this server";

/// An answer as the test sees it.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next().map(|value| value.to_str().unwrap());
        assert_eq!(values.next(), None, "{name} is given twice");
        value
    }
}

/// A service behind the layer that says who calls, and counts how often it ran.
#[derive(Clone)]
pub(crate) struct House {
    protect: Protect,
    runs: Arc<AtomicUsize>,
}

impl House {
    pub(crate) fn behind(protect: Protect) -> Self {
        let runs = Arc::default();
        Self { protect, runs }
    }

    pub(crate) async fn call(&self, request: Request<Body>) -> Seen {
        let runs = Arc::clone(&self.runs);
        let inner = tower::service_fn(move |request: Request<Body>| {
            runs.fetch_add(1, Ordering::SeqCst);
            async move { Ok::<_, Infallible>(who_calls(&request)) }
        });
        let response = self.protect.layer(inner).oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(Body::new(body), 1 << 16).await.unwrap();
        Seen {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    /// POST to the MCP endpoint with this token.
    pub(crate) async fn call_with(&self, token: &str) -> Seen {
        self.call(post(&[("authorization", &format!("Bearer {token}"))]))
            .await
    }

    pub(crate) fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }
}

pub(crate) fn request(method: &str, target: &str, headers: &[(&str, &str)]) -> Request<Body> {
    headers
        .iter()
        .fold(
            Request::builder().method(method).uri(target),
            |request, (name, value)| request.header(*name, *value),
        )
        .body(Body::empty())
        .unwrap()
}

pub(crate) fn post(headers: &[(&str, &str)]) -> Request<Body> {
    request("POST", "/mcp", headers)
}

/// The settings with which most tests begin.
pub(crate) fn settings(issuer: &str) -> Builder {
    ProtectedResource::builder(RESOURCE, issuer)
        .introspect_with("rs", "secret")
        .introspection_time_limit(Duration::from_millis(500))
        .require_scope("read write")
        .clock(|| NOW)
}

/// A house whose authorization server says the same of every token.
pub(crate) async fn house_where(answer: Answer) -> (House, Peer) {
    let peer = Peer::start(move |_| answer.clone()).await;
    let house = House::behind(settings(&peer.issuer).build().unwrap());
    (house, peer)
}

/// What our server says of a token that is good in every way.
pub(crate) fn good_answer() -> String {
    IntrospectionResponse::Active(ActiveToken {
        scope: Scope::parse("read write").unwrap(),
        client_id: ClientId::parse("c1").unwrap(),
        subject: "u1".to_owned(),
        audience: Resource::parse(RESOURCE).unwrap(),
        issuer: String::new(),
        expires_at: NOW + Duration::from_secs(600),
        issued_at: NOW,
        username: Some("alice".to_owned()),
    })
    .body()
    .replace(r#","iss":"""#, "")
}

/// The good answer with one member set to another JSON value.
pub(crate) fn answer_with(member: &str, value: serde_json::Value) -> Answer {
    let mut answer: serde_json::Value = serde_json::from_str(&good_answer()).unwrap();
    answer[member] = value;
    Answer::Ok(answer.to_string())
}

fn who_calls(request: &Request<Body>) -> Response<Body> {
    let caller = Caller::of(request.extensions()).unwrap();
    let token_is_here = request
        .headers()
        .values()
        .any(|value| value.as_bytes().starts_with(b"Bearer"));
    let text = format!(
        "{} {} {} {} {} {token_is_here}",
        caller.subject().unwrap_or("-"),
        caller.username().unwrap_or("-"),
        caller.client_id().map_or("-", ClientId::as_str),
        caller.scope(),
        caller.expires_at().map_or(0, Timestamp::seconds),
    );
    Response::builder()
        .header("vary", "Accept")
        .body(Body::from(text))
        .unwrap()
}
