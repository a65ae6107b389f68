//! Upstreams, the front, and requests.

use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Body};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use mcp_authflow_protect::{CannotSign, Identity, IdentitySigner, Proxy, Upstream};
use mcp_authflow_resource::{
    ClientId, Protect, ProtectedResource, Timestamp, TokenVerifier, VerifiedToken, VerifyError,
};
use serde_json::Value;
use tokio::net::TcpListener;
use tower::{Layer as _, ServiceExt as _};

pub(crate) const RESOURCE: &str = "https://mcp.test/mcp";
/// Nothing that is awaited takes this long unless something is broken.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// Takes `NAME.CLIENT` for the token of that person through that client; one that begins with `brief` ends in a second.
struct Names;

#[async_trait::async_trait]
impl TokenVerifier for Names {
    async fn verify(&self, token: &str) -> Result<VerifiedToken, VerifyError> {
        let (name, client) = token.split_once('.').ok_or(VerifyError::Inactive)?;
        let mut verified = VerifiedToken::default();
        verified.subject = Some(name.to_owned());
        verified.client_id = ClientId::parse(client).ok();
        verified.audience = vec![RESOURCE.to_owned()];
        if name.starts_with("unsubjected") {
            verified.username = verified.subject.take();
        }
        if name.starts_with("brief") {
            // The layer still accepts it, for the last second of its leeway.
            let end = i64::try_from(since_epoch().as_secs()).unwrap() - 28;
            verified.expires_at = Some(Timestamp::from_seconds(end));
        }
        Ok(verified)
    }
}

#[expect(clippy::disallowed_methods, reason = "the layer here has the system's clock")]
fn since_epoch() -> Duration {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
}

/// Signs by saying it in words, which shows what would be signed.
pub(crate) struct Plain;

#[async_trait::async_trait]
impl IdentitySigner for Plain {
    async fn sign(&self, identity: Identity) -> Result<HeaderValue, CannotSign> {
        let said = format!(
            "signed:{}:{}",
            identity.subject.unwrap_or_default(),
            identity.audience
        );
        HeaderValue::try_from(said).map_err(|error| CannotSign(error.to_string()))
    }
}

pub(crate) fn protect() -> Protect {
    ProtectedResource::builder(RESOURCE, "https://auth.test")
        .verify_with(Names)
        .build()
        .unwrap()
}

/// The proxy behind the layer; cheap to clone.
#[derive(Clone)]
pub(crate) struct Front {
    pub(crate) proxy: Proxy,
    protect: Protect,
}

impl Front {
    pub(crate) fn of(proxy: Proxy) -> Self {
        Self {
            proxy,
            protect: protect(),
        }
    }

    pub(crate) fn before(url: &str) -> Self {
        Self::of(Proxy::builder(Upstream::http(url)).build().unwrap())
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Response<Body> {
        let service = self.protect.layer(self.proxy.clone());
        service.oneshot(request).await.unwrap().map(Body::new)
    }

    /// Listens on loopback, as the program does.
    pub(crate) async fn listen(&self) -> SocketAddr {
        serve(Router::new().fallback_service(self.protect.layer(self.proxy.clone()))).await
    }
}

/// Serves on a port of its own for as long as the test runs.
#[expect(
    clippy::disallowed_methods,
    reason = "a server that lives as long as its test needs no header timeout"
)]
pub(crate) async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// What an upstream was asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

/// A server that notes what it is asked and answers with what `answer` makes.
pub(crate) struct Recorder {
    pub(crate) address: SocketAddr,
    pub(crate) asked: Arc<Mutex<Vec<Asked>>>,
}

impl Recorder {
    pub(crate) async fn start(
        answer: impl Fn(&Asked) -> Response<Body> + Clone + Send + Sync + 'static,
    ) -> Self {
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let seen = Arc::clone(&asked);
        let app = Router::new().fallback(move |request: Request<Body>| async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.unwrap();
            let trailers = body.trailers().cloned();
            let one = Asked {
                method: parts.method,
                target: parts.uri.to_string(),
                headers: parts.headers,
                body: body.to_bytes(),
                trailers,
            };
            let answered = answer(&one);
            seen.lock().unwrap().push(one);
            answered
        });
        let address = serve(app).await;
        Self { address, asked }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn last(&self) -> Asked {
        self.asked.lock().unwrap().last().cloned().unwrap()
    }

    pub(crate) fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

pub(crate) fn ok() -> Response<Body> {
    answer(
        200,
        &[("content-type", "application/json")],
        r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
    )
}

pub(crate) fn answer(status: u16, headers: &[(&str, &str)], body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(body.into()).unwrap()
}

/// A request of alice's through client c1.
pub(crate) fn request(method: &str, path: &str, body: impl Into<Body>) -> Request<Body> {
    request_of("alice.c1", method, path, body)
}

pub(crate) fn request_of(token: &str, method: &str, path: &str, body: impl Into<Body>) -> Request<Body> {
    let request = Request::builder().method(method).uri(path);
    let request = request
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream");
    request.body(body.into()).unwrap()
}

/// The same request, of a client that understands no events.
pub(crate) fn without_events(mut request: Request<Body>) -> Request<Body> {
    let json = HeaderValue::from_static("application/json");
    request.headers_mut().insert("accept", json);
    request
}

pub(crate) fn with(mut request: Request<Body>, headers: &[(&str, &str)]) -> Request<Body> {
    for (name, value) in headers {
        let name = http::HeaderName::try_from(*name).unwrap();
        request
            .headers_mut()
            .append(name, HeaderValue::try_from(*value).unwrap());
    }
    request
}

pub(crate) async fn text(response: Response<Body>) -> (StatusCode, String) {
    let status = response.status();
    let body = within(response.into_body().collect()).await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

/// The answer, which a busy machine may have sent as an event.
pub(crate) async fn json(response: Response<Body>) -> (StatusCode, Value) {
    let is_events = response.headers()["content-type"] == "text/event-stream";
    let (status, text) = text(response).await;
    let mut document = text.as_str();
    if is_events {
        let mut events = text.lines().filter_map(|line| line.strip_prefix("data: "));
        document = events.next_back().unwrap_or_default();
    }
    let value = serde_json::from_str(document).unwrap_or_else(|_| panic!("no JSON: {text}"));
    (status, value)
}

/// What is awaited comes, or the test fails.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(DEADLINE, future).await.expect("in time")
}

/// Waits until it is so, or the test fails.
pub(crate) async fn until(mut is_so: impl FnMut() -> bool) {
    within(async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// The next bytes of a body.
pub(crate) async fn next(body: &mut Body) -> Option<String> {
    let frame = within(body.frame()).await?.unwrap();
    Some(String::from_utf8_lossy(&frame.into_data().unwrap()).into_owned())
}

/// A body that a test writes to.
pub(crate) fn channel() -> (tokio::sync::mpsc::Sender<Bytes>, Body) {
    let (sender, mut receiver) = tokio::sync::mpsc::channel::<Bytes>(1);
    let stream = futures_util::stream::poll_fn(move |context| {
        receiver
            .poll_recv(context)
            .map(|bytes| bytes.map(Ok::<_, Infallible>))
    });
    (sender, Body::from_stream(stream))
}
