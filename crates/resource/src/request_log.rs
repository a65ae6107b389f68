//! Writes what comes in and what is answered to the log, for finding out why a client and a server do not get on. Not for
//! production: it must be asked for by a variable, and what may be a secret is masked.
//!
//! ```
//! use mcp_authflow_resource::request_log::{RequestLog, VARIABLE};
//!
//! // Without the variable there is no such layer.
//! assert!(RequestLog::enabled_by(std::env::var(VARIABLE).ok().as_deref()).is_err());
//! let log = RequestLog::enabled_by(Some("1"))?.show_header("x-trace-id");
//! let app: axum::Router = axum::Router::new().layer(log);
//! # let _ = app;
//! # Ok::<(), mcp_authflow_resource::request_log::NotEnabled>(())
//! ```
//!
//! # Security
//! Headers are shown by an allow-list, so that a header nobody thought of is masked; of the query only names are shown,
//! of bodies nothing. `dangerous_…` switches show the rest (CWE-532).

mod body;
mod masking;

use std::{
    fmt,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, request};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;
use tracing::Level;

pub use self::body::LoggedBody;
use self::{
    body::Preview,
    masking::{Masking, on_one_line},
};

/// The variable that must be exactly `1`.
pub const VARIABLE: &str = "MCP_ENABLE_VERBOSE_LOGGING";

/// Headers of which the value is told on its own, for being what MCP clients get wrong.
const KEY_HEADERS: [&str; 5] = [
    "Content-Type",
    "Origin",
    "Host",
    "Mcp-Session-Id",
    "Mcp-Protocol-Version",
];
const RULE: &str = "============================================================";

/// The variable is not `1`, so nothing is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "request logging is for debugging only, since requests carry secrets; set MCP_ENABLE_VERBOSE_LOGGING to exactly 1 to \
     have it, and never in production"
)]
pub struct NotEnabled;

/// A layer that logs each request and the answer to it.
#[derive(Clone)]
pub struct RequestLog {
    masking: Masking,
    shows_bodies: bool,
    sink: Sink,
}

/// Where lines go.
type Sink = Arc<dyn Fn(Level, &str) + Send + Sync>;

/// Where a request comes from, for servers that tell it in no other way; put it into the request's extensions. With the
/// feature `axum` its `ConnectInfo<SocketAddr>` is looked at, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// A service behind the layer.
#[derive(Clone, Debug)]
pub struct RequestLogged<S> {
    inner: S,
    log: RequestLog,
}

impl RequestLog {
    /// The layer, when the value of [`VARIABLE`] says so.
    ///
    /// # Errors
    /// [`NotEnabled`] when it is not set or anything but `1`.
    pub fn enabled_by(variable: Option<&str>) -> Result<Self, NotEnabled> {
        if variable != Some("1") {
            return Err(NotEnabled);
        }
        Ok(Self {
            masking: Masking::default(),
            shows_bodies: false,
            sink: Arc::new(|level, line| {
                if level == Level::ERROR {
                    tracing::error!("{line}");
                } else {
                    tracing::info!("{line}");
                }
            }),
        })
    }

    /// Shows the values of this header, too; adds up. Default: those that say how a request is to be read, none that says
    /// who sends it.
    #[must_use]
    pub fn show_header(mut self, name: &str) -> Self {
        self.masking.show(name);
        self
    }

    /// Shows the first 1,000 bytes of what a POST carries, and the bodies of answers with status 400.
    ///
    /// # Security
    /// Bodies carry tool arguments, client secrets and tokens.
    #[must_use]
    pub fn dangerous_show_bodies(mut self) -> Self {
        self.shows_bodies = true;
        self
    }

    /// Shows every header, and the query with its values.
    ///
    /// # Security
    /// Whoever reads the log can then act as everyone who called.
    #[must_use]
    pub fn dangerous_show_secrets(mut self) -> Self {
        self.masking = Masking::Nothing;
        self
    }

    /// Hands the lines to `write`, with [`Level::INFO`] or [`Level::ERROR`]. Default: they become events of `tracing`.
    #[must_use]
    pub fn write_to(mut self, write: impl Fn(Level, &str) + Send + Sync + 'static) -> Self {
        self.sink = Arc::new(write);
        self
    }

    fn info(&self, line: &str) {
        (self.sink)(Level::INFO, line);
    }

    fn error(&self, line: &str) {
        (self.sink)(Level::ERROR, line);
    }

    fn request(&self, request: &request::Parts) {
        self.info(RULE);
        let path = on_one_line(request.uri.path());
        self.info(&format!("=== Incoming Request: {} {path} ===", request.method));
        if let Some(query) = request.uri.query().filter(|query| !query.is_empty()) {
            self.info(&format!("Query string: {}", self.masking.query(query)));
        }
        self.info(&format!("Client: {}", peer(request)));
        self.info("Headers:");
        for (name, value) in &request.headers {
            self.info(&format!("  {name}: {}", self.masking.header(name, value)));
        }
        self.info("Key MCP headers:");
        for name in KEY_HEADERS {
            let value = request
                .headers
                .iter()
                .filter(|(other, _)| name.eq_ignore_ascii_case(other.as_str()));
            match value.last() {
                None => self.info(&format!("  {name}: NOT SET")),
                Some((header, value)) => {
                    self.info(&format!("  {name}: {}", self.masking.header(header, value)));
                }
            }
        }
        self.info(RULE);
    }

    fn response(&self, status: StatusCode, headers: &HeaderMap, of: &str) {
        self.info(&format!("=== Response: {} for {of} ===", status.as_u16()));
        if status == StatusCode::BAD_REQUEST {
            self.error("!!! 400 Bad Request returned !!!");
            let headers: Vec<String> = headers
                .iter()
                .map(|(name, value)| format!("'{name}': '{}'", self.masking.header(name, value)))
                .collect();
            self.error(&format!("Response headers: {{{}}}", headers.join(", ")));
        }
    }
}

/// As Python prints a pair of address and port.
fn peer(request: &request::Parts) -> String {
    let peer = request.extensions.get::<Peer>().map(|peer| peer.0);
    #[cfg(feature = "axum")]
    let peer = peer.or_else(|| {
        let info = request.extensions.get::<axum::extract::ConnectInfo<SocketAddr>>();
        info.map(|info| info.0)
    });
    peer.map_or_else(
        || "None".to_owned(),
        |peer| format!("('{}', {})", peer.ip(), peer.port()),
    )
}

impl<S> Layer<S> for RequestLog {
    type Service = RequestLogged<S>;

    fn layer(&self, inner: S) -> RequestLogged<S> {
        RequestLogged {
            inner,
            log: self.clone(),
        }
    }
}

impl<S, RequestBody, ResponseBody> Service<Request<RequestBody>> for RequestLogged<S>
where
    S: Service<Request<LoggedBody<RequestBody>>, Response = Response<ResponseBody>>,
    S::Future: Send + 'static,
    RequestBody: Body<Data = Bytes>,
{
    type Response = Response<LoggedBody<ResponseBody>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let (parts, body) = request.into_parts();
        self.log.request(&parts);
        let of = format!("{} {}", parts.method, on_one_line(parts.uri.path()));
        let preview = Preview::of_request(&self.log, parts.method == Method::POST);
        let request = Request::from_parts(parts, LoggedBody::new(body, preview));
        let answering = self.inner.call(request);
        let log = self.log.clone();
        Box::pin(async move {
            let (parts, body) = answering.await?.into_parts();
            log.response(parts.status, &parts.headers, &of);
            let preview = Preview::of_response(&log, parts.status == StatusCode::BAD_REQUEST);
            Ok(Response::from_parts(parts, LoggedBody::new(body, preview)))
        })
    }
}

impl fmt::Debug for RequestLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestLog")
            .field("masking", &self.masking)
            .field("shows_bodies", &self.shows_bodies)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::{convert::Infallible, sync::Mutex};

    use http::HeaderValue;
    use http_body_util::{BodyExt as _, Full};
    use tower::ServiceExt as _;

    use super::*;

    fn log() -> RequestLog {
        RequestLog::enabled_by(Some("1")).unwrap()
    }

    /// Sends the request through the layer to a service that reads it and answers, and tells the lines that are more than
    /// form.
    async fn lines(
        log: RequestLog,
        request: Request<Full<Bytes>>,
        answer: Response<Full<Bytes>>,
    ) -> Vec<String> {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let log = log.write_to({
            let lines = Arc::clone(&lines);
            move |level, line| lines.lock().unwrap().push(format!("{level} {line}"))
        });
        let inner = tower::service_fn(move |request: Request<LoggedBody<Full<Bytes>>>| {
            let answer = answer.clone();
            async move {
                request.into_body().collect().await.unwrap();
                Ok::<_, Infallible>(answer)
            }
        });
        let answer = log.layer(inner).oneshot(request).await.unwrap();
        answer.into_body().collect().await.unwrap();
        let lines = lines.lock().unwrap().clone();
        let is_form = |line: &&String| line.ends_with(RULE) || line.ends_with("NOT SET");
        lines.into_iter().filter(|line| !is_form(&line)).collect()
    }

    /// A path may hold what moves a terminal's cursor (U+009B) or ends a line in a viewer (U+0085).
    #[tokio::test]
    async fn a_path_writes_no_lines_of_the_log() {
        let target = "/a\u{9b}2J\u{85}INFO b";
        let request = request("GET", &target.replace(' ', "%20"))
            .body(Full::default())
            .unwrap();
        let lines = lines(log(), request, Response::new(Full::default())).await;
        for line in &lines {
            assert!(!line.chars().any(char::is_control), "{line:?}");
        }
        assert!(lines[0].contains("INFO%20b"), "{lines:?}");
    }

    fn request(method: &str, target: &str) -> request::Builder {
        Request::builder().method(method).uri(target)
    }

    fn ok() -> Response<Full<Bytes>> {
        Response::new(Full::default())
    }

    /// S-294
    #[test]
    fn only_the_exact_variable_lets_it_be_built() {
        for value in [
            None,
            Some(""),
            Some("0"),
            Some("true"),
            Some("1 "),
            Some("01"),
            Some("yes"),
        ] {
            assert_eq!(RequestLog::enabled_by(value).err(), Some(NotEnabled), "{value:?}");
        }
        assert!(RequestLog::enabled_by(Some("1")).is_ok());
    }

    /// S-295, S-296: nothing that is sent in confidence is in the log.
    #[tokio::test]
    async fn what_may_be_a_secret_is_masked() {
        let sent = request("POST", "/mcp?access_token=hush&code=hush&hush")
            .header("authorization", "Bearer hush")
            .header("cookie", "sid=hush")
            .header("x-new-kind-of-key", "hush")
            .header("referer", "https://app.test/?code=hush")
            .header("content-type", "application/json")
            .extension(Peer("192.0.2.1:5555".parse().unwrap()))
            .body(Full::from("{\"client_secret\":\"hush\"}"))
            .unwrap();
        let answer = Response::builder()
            .status(400)
            .header("set-cookie", "sid=hush")
            .header("location", "https://app.test/?code=hush")
            .header("content-type", "application/json")
            .body(Full::from("hush"))
            .unwrap();
        assert_eq!(
            lines(log(), sent, answer).await,
            [
                "INFO === Incoming Request: POST /mcp ===",
                "INFO Query string: access_token=***&code=***&***",
                "INFO Client: ('192.0.2.1', 5555)",
                "INFO Headers:",
                "INFO   authorization: ***",
                "INFO   cookie: ***",
                "INFO   x-new-kind-of-key: ***",
                "INFO   referer: ***",
                "INFO   content-type: application/json",
                "INFO Key MCP headers:",
                "INFO   Content-Type: application/json",
                "INFO === Response: 400 for POST /mcp ===",
                "ERROR !!! 400 Bad Request returned !!!",
                "ERROR Response headers: {'set-cookie': '***', 'location': '***', 'content-type': 'application/json'}",
            ]
        );
    }

    /// S-295: every line of a header that is sent several times.
    #[tokio::test]
    async fn what_is_asked_for_is_shown() {
        let sent = || {
            request("GET", "/mcp?a=1")
                .header("x-trace", "one")
                .header("x-trace", "two")
                .header("x-key", "k")
                .body(Full::default())
                .unwrap()
        };
        let shown = lines(log().show_header("X-Trace"), sent(), ok()).await;
        let has = |line: &str| shown.iter().any(|shown| shown == line);
        assert!(
            has("INFO   x-trace: one") && has("INFO   x-trace: two") && has("INFO   x-key: ***"),
            "{shown:?}"
        );
        let shown = lines(log().dangerous_show_secrets(), sent(), ok()).await;
        let has = |line: &str| shown.iter().any(|shown| shown == line);
        assert!(
            has("INFO   x-key: k") && has("INFO Query string: a=1"),
            "{shown:?}"
        );
        assert!(has("INFO Client: None"));
    }

    /// S-295
    #[tokio::test]
    async fn bodies_are_shown_when_asked_for_and_cut() {
        let send = |method: &str, body: String, status: u16| {
            let sent = request(method, "/mcp").body(Full::from(body)).unwrap();
            let answer = Response::builder()
                .status(status)
                .body(Full::from("no\nsuch tool"))
                .unwrap();
            lines(log().dangerous_show_bodies(), sent, answer)
        };
        let shown = send("POST", "hello".to_owned(), 400).await;
        assert!(
            shown.contains(&"INFO Request body preview (5 bytes): hello".to_owned()),
            "{shown:?}"
        );
        assert_eq!(shown.last().unwrap(), "ERROR Response body: no\\nsuch tool");
        let shown = send("POST", "é".repeat(600), 200).await;
        let expected = format!(
            "INFO Request body preview (1200 bytes): {}... (truncated/more coming)",
            "é".repeat(500)
        );
        assert!(shown.contains(&expected), "{shown:?}");
        for (method, body) in [("PUT", "hello"), ("POST", "")] {
            let shown = send(method, body.to_owned(), 200).await;
            assert!(!shown.iter().any(|line| line.contains("body")), "{shown:?}");
        }
    }

    /// S-297
    #[tokio::test]
    async fn a_header_that_is_no_text_is_shown_as_far_as_it_is_one() {
        let sent = request("GET", "/mcp")
            .header("user-agent", HeaderValue::from_bytes(b"caf\xe9").unwrap())
            .body(Full::default())
            .unwrap();
        let shown = lines(log(), sent, ok()).await;
        assert!(
            shown.contains(&"INFO   user-agent: caf\u{fffd}".to_owned()),
            "{shown:?}"
        );
    }
}
