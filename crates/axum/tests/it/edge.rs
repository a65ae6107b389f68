//! The router in this process, with everybody of the cast, and a person who does what the form says.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{Router, body::Body, response::IntoResponse as _};
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use mcp_authflow::{
    Approval, AuthorizationServer, Pending, Ports, ServerKey, Settings,
    memory::MemoryRateLimit,
    port::{Clock as _, NoFetch},
};
use mcp_authflow_axum::{ClientAddress, Interact, Outcome, Visit, router};
use mcp_authflow_testkit::{
    audit_log::AuditLog,
    cast,
    failing_store::FailingStore,
    manual_clock::ManualClock,
    params::{Params, basic},
    seeded_entropy::SeededEntropy,
};
use mcp_authflow_types::{Issuer, Timestamp};
use tower::ServiceExt as _;

/// The issuer of every edge that names no other.
pub(crate) const ISSUER: &str = "https://auth.example";
/// How the cookie is called there.
pub(crate) const COOKIE: &str = "__Host-authflow";

pub(crate) struct Edge {
    pub(crate) router: Router,
    pub(crate) store: Arc<FailingStore>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) audit: Arc<AuditLog>,
    visits: Arc<AtomicUsize>,
}

/// An answer, whole.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

/// Does what the form says, and shows a page to whoever comes without one.
struct Person {
    visits: Arc<AtomicUsize>,
}

#[async_trait::async_trait]
impl Interact for Person {
    async fn interact(&self, _: &Pending, visit: Visit) -> Outcome {
        self.visits.fetch_add(1, Ordering::SeqCst);
        assert!(format!("{visit:?}").len() < 200, "{visit:?} shows too much");
        match &*visit.body {
            b"decision=allow" => Outcome::Approve(Approval {
                subject: "u_alice".to_owned(),
                username: Some("alice".to_owned()),
                subject_generation: None,
                ticked: mcp_authflow::Ticked::Everything,
            }),
            b"decision=deny" => Outcome::Deny,
            b"decision=sign-in-first" => Outcome::LoginRequired,
            b"decision=ask-first" => Outcome::ConsentRequired,
            _ => Outcome::Show(format!("{} {}", visit.parts.method, visit.page).into_response()),
        }
    }
}

impl Edge {
    pub(crate) async fn new() -> Self {
        Self::at(ISSUER).await
    }

    pub(crate) async fn at(issuer: &str) -> Self {
        Self::made(Settings::new(Issuer::parse(issuer).unwrap())).await
    }

    /// An edge with other settings.
    pub(crate) async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::new(Issuer::parse(ISSUER).unwrap());
        change(&mut settings);
        Self::made(settings).await
    }

    async fn made(settings: Settings) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(1_790_000_000)));
        let store = Arc::new(FailingStore::default());
        cast::enter(&*store, clock.now()).await;
        let visits = Arc::new(AtomicUsize::new(0));
        let audit = Arc::new(AuditLog::default());
        let ports = Ports {
            store: store.clone(),
            clock: clock.clone(),
            entropy: Arc::new(SeededEntropy::new(2)),
            audit: audit.clone(),
            key: ServerKey::from_bytes([7; 32]),
            rate_limit: Arc::new(MemoryRateLimit::new(clock.clone())),
            replay: None,
            old_tokens: None,
            fetch: Arc::new(NoFetch),
        };
        let server = AuthorizationServer::new(settings, ports);
        let person = Person {
            visits: visits.clone(),
        };
        Self {
            router: router(server, person),
            store,
            clock,
            audit,
            visits,
        }
    }

    /// How often the person was asked since the last time.
    pub(crate) fn visits(&self) -> usize {
        self.visits.swap(0, Ordering::SeqCst)
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Reply {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(request("GET", path).body(Body::empty()).unwrap()).await
    }

    /// An authorization request, from a browser that has this cookie.
    pub(crate) async fn authorize(&self, params: &Params, cookie: Option<&str>) -> Reply {
        let mut request = request("GET", &format!("/authorize?{}", params.encoded()));
        if let Some(cookie) = cookie {
            request = request.header(header::COOKIE, cookie);
        }
        self.send(request.body(Body::empty()).unwrap()).await
    }

    /// A form, with the secret of a client of the cast where one is named.
    pub(crate) async fn post(&self, path: &str, client_id: Option<&str>, params: &Params) -> Reply {
        let mut request = form(path);
        if let Some(client_id) = client_id {
            request = request.header(header::AUTHORIZATION, basic(client_id));
        }
        self.send(request.body(Body::from(params.encoded())).unwrap())
            .await
    }

    /// A request that waits: the page that it waits at, and the cookie of its browser.
    pub(crate) async fn waiting(&self, params: &Params) -> (String, String) {
        let reply = self.authorize(params, None).await;
        assert_eq!(reply.status, StatusCode::SEE_OTHER, "{reply}");
        let cookie = reply.header("set-cookie").split(';').next().unwrap().to_owned();
        (reply.header("location").to_owned(), cookie)
    }

    /// What the form of such a page, sent by this browser, leads to.
    pub(crate) async fn decide(&self, (page, cookie): &(String, String), decision: &str) -> Reply {
        let request = form(page)
            .header(header::COOKIE, cookie)
            .header("sec-fetch-site", "same-origin")
            .header(header::ORIGIN, ISSUER)
            .body(Body::from(format!("decision={decision}")));
        self.send(request.unwrap()).await
    }

    /// The tokens that a client of the cast gets when alice approves.
    pub(crate) async fn tokens_for(&self, client_id: &str) -> serde_json::Value {
        let waiting = self.waiting(&Params::authorize(client_id)).await;
        let reply = self.decide(&waiting, "allow").await;
        let (_, query) = reply.header("location").split_once("?code=").unwrap();
        let code = query.split('&').next().unwrap();
        let reply = self.post("/token", None, &Params::redeem(client_id, code)).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply}");
        reply.json()
    }
}

impl Reply {
    /// The one value of a header; empty when there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next().map_or("", |value| value.to_str().unwrap());
        assert!(values.next().is_none(), "{name} comes once");
        value
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        assert_eq!(self.header("content-type"), "application/json");
        serde_json::from_str(&self.body).unwrap()
    }

    /// Asserts an error in JSON: status and code.
    #[track_caller]
    pub(crate) fn assert_error(&self, status: u16, code: &str) {
        assert_eq!(
            (self.status.as_u16(), self.json()["error"].as_str()),
            (status, Some(code)),
            "{self}"
        );
        assert_eq!(self.header("cache-control"), "no-store");
    }

    /// Asserts a page: nothing leaves for anywhere.
    #[track_caller]
    pub(crate) fn assert_page(&self, status: u16) {
        assert_eq!(self.status.as_u16(), status, "{self}");
        assert_eq!(self.header("content-type"), "text/html; charset=utf-8");
        for absent in ["location", "set-cookie", "access-control-allow-origin"] {
            assert_eq!(self.header(absent), "", "{absent}");
        }
        for (name, value) in [
            ("cache-control", "no-store"),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "DENY"),
            ("x-content-type-options", "nosniff"),
            (
                "content-security-policy",
                "default-src 'none'; base-uri 'none'; frame-ancestors 'none'",
            ),
        ] {
            assert_eq!(self.header(name), value, "{name}");
        }
    }
}

impl fmt::Display for Reply {
    /// As it goes over the wire, its headers in the order of their names, the length of the body apart.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut headers: Vec<String> = self
            .headers
            .iter()
            .filter(|(name, _)| *name != header::CONTENT_LENGTH)
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap_or("…")))
            .collect();
        headers.sort();
        write!(f, "{}\n{}\n\n{}", self.status, headers.join("\n"), self.body)
    }
}

/// A request from one address.
pub(crate) fn request(method: &str, path: &str) -> http::request::Builder {
    Request::builder()
        .method(Method::from_bytes(method.as_bytes()).unwrap())
        .uri(path)
        .extension(ClientAddress(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9))))
}

/// A form request.
pub(crate) fn form(path: &str) -> http::request::Builder {
    request("POST", path).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
}
