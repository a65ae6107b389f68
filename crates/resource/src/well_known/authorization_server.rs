//! The authorization server's metadata at the resource's host: for clients of MCP 2025-03-26, which know no resource
//! metadata and look for it here.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Response, header, request::Parts};
use mcp_authflow_types::{ErrorResponse, Issuer};
use tokio::sync::Mutex;

use super::document::{CACHE_CONTROL, Document};
use crate::{
    clock::Monotonic,
    issuer_metadata::IssuerMetadata,
    outbound::{InvalidEndpoint, Outbound, OutboundSettings},
    refusal::json,
    verify::CannotCheck,
};

/// How long a copy is given out before the server is asked again.
const FRESH: Duration = Duration::from_secs(300);
/// How long a copy stands in for a server that cannot be asked.
const LAST_GOOD: Duration = Duration::from_secs(3_600);
/// How long after a failure the server is left alone: a crowd of clients costs it one question.
const PAUSE: Duration = Duration::from_secs(5);

/// Whether the resource's host answers for the authorization server's metadata, at
/// `/.well-known/oauth-authorization-server` and `/.well-known/openid-configuration`, both also with the resource's path
/// behind. Default: it does not, and answers a JSON 404.
///
/// Clients of MCP 2025-06-18 and later read the resource's own metadata and need none of this. Those of 2025-03-26 look
/// for the authorization server at the host of the MCP server, and when there is nothing guess `/authorize` and `/token`
/// there.
///
/// # Security
/// What is answered is always what the authorization server says itself, with its own `issuer`; nothing is guessed. A
/// client that checks it (RFC 8414 §3.3: the issuer must be the one whose address was asked, or the document "MUST NOT
/// be used") refuses it here and must: such clients are to be led by the resource metadata.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthorizationServerAliases {
    /// There is no such document here.
    #[default]
    Off,
    /// A redirect (307) to the authorization server's own address of the document.
    Redirect,
    /// A copy, fetched when it is first asked for and again after five minutes, for clients that follow no redirects.
    /// While the server cannot be asked, the last good copy stands in for an hour; then the answer is 503 or 504.
    Copy,
}

/// What is answered at one of the addresses.
#[derive(Debug)]
pub(super) enum Alias {
    Redirect(HeaderValue),
    Copy(Arc<MetadataCopy>),
}

impl AuthorizationServerAliases {
    /// The addresses at this host that `path` makes, each with its answer.
    pub(super) fn of(
        self,
        issuer: &Issuer,
        outbound: &OutboundSettings,
        path: &str,
    ) -> Result<Vec<(String, Arc<Alias>)>, InvalidEndpoint> {
        let [oauth, openid] = own_addresses(issuer);
        let paths = ["oauth-authorization-server", "openid-configuration"]
            .map(|name| format!("/.well-known/{name}{}", path.trim_end_matches('/')));
        let answers = match self {
            Self::Off => return Ok(Vec::new()),
            Self::Redirect => [oauth, openid].map(|address| {
                // An issuer is plain ASCII.
                Alias::Redirect(HeaderValue::try_from(address).unwrap_or(HeaderValue::from_static("")))
            }),
            Self::Copy => {
                let copy = Arc::new(MetadataCopy::of(
                    issuer.clone(),
                    outbound.clone(),
                    Monotonic::system(),
                )?);
                [Alias::Copy(Arc::clone(&copy)), Alias::Copy(copy)]
            }
        };
        Ok(paths.into_iter().zip(answers.map(Arc::new)).collect())
    }
}

/// Where the server itself publishes (RFC 8414 §3.1; OpenID Connect Discovery §4).
fn own_addresses(issuer: &Issuer) -> [String; 2] {
    [
        format!(
            "{}/.well-known/oauth-authorization-server{}",
            issuer.origin(),
            issuer.path()
        ),
        issuer.endpoint("/.well-known/openid-configuration"),
    ]
}

impl Alias {
    /// The answer to GET or HEAD.
    pub(super) async fn answer(&self, request: &Parts) -> Response<Bytes> {
        match self {
            Self::Redirect(location) => {
                let mut answer = json(307, String::new());
                let headers = answer.headers_mut();
                headers.remove(header::CONTENT_TYPE);
                headers.insert(header::CACHE_CONTROL, CACHE_CONTROL);
                headers.insert(header::LOCATION, location.clone());
                answer
            }
            Self::Copy(copy) => match copy.document().await {
                Ok(document) => document.answer(request),
                Err(why) => unavailable(why, request.method == Method::HEAD),
            },
        }
    }
}

fn unavailable(why: CannotCheck, is_head: bool) -> Response<Bytes> {
    let error = match why {
        CannotCheck::TimedOut => ErrorResponse::timed_out(),
        CannotCheck::Refused | CannotCheck::BadAnswer | CannotCheck::Misconfigured => {
            ErrorResponse::unavailable()
        }
    };
    let body = if is_head { String::new() } else { error.body() };
    let mut answer = json(error.status(), body);
    if let Some(after) = error.retry_after {
        let after = after.as_secs().max(1);
        answer.headers_mut().insert(header::RETRY_AFTER, after.into());
    }
    answer
}

/// The server's metadata as it was last read.
#[derive(Debug)]
pub(super) struct MetadataCopy {
    issuer: Issuer,
    outbound: Outbound,
    clock: Monotonic,
    /// Held while the server is asked: whoever comes meanwhile waits for the same answer.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    copy: Option<(Document, Duration)>,
    failure: Option<(CannotCheck, Duration)>,
}

impl MetadataCopy {
    fn of(issuer: Issuer, outbound: OutboundSettings, clock: Monotonic) -> Result<Self, InvalidEndpoint> {
        let outbound = Outbound::new(outbound);
        outbound.endpoint(issuer.as_str())?;
        Ok(Self {
            issuer,
            outbound,
            clock,
            state: Mutex::default(),
        })
    }

    async fn document(&self) -> Result<Document, CannotCheck> {
        let mut state = self.state.lock().await;
        let now = self.clock.now();
        let age_since = |at: Duration| now.saturating_sub(at);
        if let Some((document, at)) = &state.copy
            && age_since(*at) < FRESH
        {
            return Ok(document.clone());
        }
        let failure = match state.failure {
            Some((why, at)) if age_since(at) < PAUSE => why,
            _ => match self.fetch().await {
                Ok(document) => {
                    *state = State {
                        copy: Some((document.clone(), self.clock.now())),
                        failure: None,
                    };
                    return Ok(document);
                }
                Err(why) => {
                    state.failure = Some((why, self.clock.now()));
                    why
                }
            },
        };
        match &state.copy {
            Some((document, at)) if age_since(*at) < LAST_GOOD => Ok(document.clone()),
            _ => Err(failure),
        }
    }

    async fn fetch(&self) -> Result<Document, CannotCheck> {
        let metadata = IssuerMetadata::ask(&self.outbound, &self.issuer).await?;
        Ok(Document::new(metadata.body().clone()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::sync::{
        Mutex as StdMutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    };

    use axum::{
        Router,
        http::{Request, StatusCode, Uri},
    };

    use super::*;

    /// An authorization server that answers what it is told to, and counts.
    struct Server {
        issuer: Issuer,
        asked: Arc<AtomicUsize>,
        says: Arc<StdMutex<(u16, String)>>,
    }

    impl Server {
        /// Publishes at the one address only.
        #[expect(
            clippy::disallowed_methods,
            reason = "a server that lives as long as its test"
        )]
        async fn publishing_at(path: &'static str) -> Self {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let issuer = format!("http://{}/tenant", listener.local_addr().unwrap());
            let says = Arc::new(StdMutex::new((200, format!(r#"{{"issuer":"{issuer}", "x":1}}"#))));
            let asked = Arc::new(AtomicUsize::new(0));
            let (says_here, asked_here) = (Arc::clone(&says), Arc::clone(&asked));
            let app = Router::new().fallback(move |uri: Uri| {
                let says = says_here.lock().unwrap().clone();
                let is_there = uri.path() == path;
                asked_here.fetch_add(1, Ordering::SeqCst);
                async move {
                    let (status, body) = if is_there { says } else { (404, String::new()) };
                    (StatusCode::from_u16(status).unwrap(), body)
                }
            });
            tokio::spawn(async move { axum::serve(listener, app).await });
            Self {
                issuer: Issuer::parse(&issuer).unwrap(),
                asked,
                says,
            }
        }

        fn says(&self, status: u16, body: &str) {
            *self.says.lock().unwrap() = (status, body.to_owned());
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::SeqCst)
        }
    }

    fn copy_of(server: &Server) -> (MetadataCopy, Arc<AtomicU64>) {
        let seconds = Arc::new(AtomicU64::new(0));
        let clock = Arc::clone(&seconds);
        let clock = Monotonic::new(move || Duration::from_secs(clock.load(Ordering::SeqCst)));
        (
            MetadataCopy::of(server.issuer.clone(), OutboundSettings::default(), clock).unwrap(),
            seconds,
        )
    }

    const OAUTH: &str = "/.well-known/oauth-authorization-server/tenant";
    const OPENID: &str = "/tenant/.well-known/openid-configuration";

    async fn status(copy: &MetadataCopy) -> Result<String, CannotCheck> {
        let request = Request::get("/").body(()).unwrap().into_parts().0;
        let document = copy.document().await?;
        Ok(String::from_utf8(document.answer(&request).into_body().to_vec()).unwrap())
    }

    /// S-251: what the server says, byte for byte, from the first of its addresses or the last.
    #[tokio::test]
    async fn a_copy_is_what_the_server_says_and_is_fetched_once_in_five_minutes() {
        for (path, questions) in [(OAUTH, 1), (OPENID, 4)] {
            let server = Server::publishing_at(path).await;
            let (copy, seconds) = copy_of(&server);
            let said = format!(r#"{{"issuer":"{}", "x":1}}"#, server.issuer.as_str());
            for second in [0, 1, 299] {
                seconds.store(second, Ordering::SeqCst);
                assert_eq!(status(&copy).await, Ok(said.clone()));
            }
            assert_eq!(server.asked(), questions);
            let changed = format!(r#"{{"issuer":"{}","x":2}}"#, server.issuer.as_str());
            server.says(200, &changed);
            seconds.store(301, Ordering::SeqCst);
            assert_eq!(status(&copy).await, Ok(changed));
            assert_eq!(server.asked(), 2 * questions);
        }
    }

    /// S-251, RFC 8414 §3.3
    #[tokio::test]
    async fn what_is_no_metadata_of_the_issuer_is_not_given_out() {
        let server = Server::publishing_at(OAUTH).await;
        let slash = format!(r#"{{"issuer":"{}/"}}"#, server.issuer.as_str());
        for (code, body, why) in [
            (200, slash.as_str(), CannotCheck::BadAnswer),
            (200, r#"{"issuer":"https://evil.test"}"#, CannotCheck::BadAnswer),
            (200, r#"{"issuer":["x"]}"#, CannotCheck::BadAnswer),
            (200, "<html>", CannotCheck::BadAnswer),
            (404, "", CannotCheck::BadAnswer),
            (302, "", CannotCheck::BadAnswer),
            (503, "", CannotCheck::Refused),
        ] {
            server.says(code, body);
            let (copy, _) = copy_of(&server);
            assert_eq!(status(&copy).await, Err(why), "{code} {body}");
        }
    }

    #[tokio::test]
    async fn while_the_server_cannot_be_asked_the_last_copy_stands_in_for_an_hour() {
        let server = Server::publishing_at(OAUTH).await;
        let (copy, seconds) = copy_of(&server);
        let said = status(&copy).await.unwrap();
        server.says(500, "");
        for (second, questions) in [(300, 2), (304, 2), (305, 3), (3_599, 4)] {
            seconds.store(second, Ordering::SeqCst);
            assert_eq!(status(&copy).await, Ok(said.clone()), "{second}");
            assert_eq!(server.asked(), questions, "{second}");
        }
        seconds.store(3_605, Ordering::SeqCst);
        assert_eq!(status(&copy).await, Err(CannotCheck::Refused));
        assert_eq!(unavailable(CannotCheck::Refused, false).status(), 503);
        assert_eq!(unavailable(CannotCheck::TimedOut, false).status(), 504);
    }
}
