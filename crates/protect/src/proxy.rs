//! The service: a request of a known caller in, the upstream's answer out.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::body::Body;
use http::{Method, Request, Response, request::Parts};
use mcp_authflow_resource::Caller;
use tower_service::Service;

use crate::{
    Builder, Identity, IdentitySigner, Upstream,
    http::HttpUpstream,
    listening::{IsSession, Listening},
    stdio::StdioUpstream,
    trouble::{AnswerTo, Trouble},
};

/// Passes the requests of known callers on to an MCP server.
///
/// Cheap to clone: clones share connections, sessions and children.
///
/// # Security
/// It asks nobody for a token. Put [`Protect`](mcp_authflow_resource::Protect) in front; a request without a
/// [`Caller`] in its extensions is answered with 500.
#[derive(Clone)]
pub struct Proxy {
    settings: Arc<Settings>,
}

pub(crate) struct Settings {
    /// Of the endpoint on our side, without a slash at the end.
    pub(crate) path: String,
    pub(crate) way: Way,
    pub(crate) identity: Option<Arc<dyn IdentitySigner>>,
    pub(crate) audience: String,
}

/// To an upstream.
pub(crate) enum Way {
    Http(Box<HttpUpstream>),
    Stdio(StdioUpstream),
}

/// A request that may be passed on: whose it is, where it goes, and what the upstream is told of its caller.
pub(crate) struct Admitted {
    pub(crate) caller: Caller,
    /// Of the endpoint on our side.
    pub(crate) public_path: String,
    /// Below the endpoint: empty, or beginning with a slash.
    pub(crate) rest: String,
    pub(crate) identity: Option<http::HeaderValue>,
    /// Whether the answer turned out to be a whole session.
    pub(crate) is_session: IsSession,
}

impl Proxy {
    /// Begins the settings of a proxy in front of `upstream`.
    pub fn builder(upstream: Upstream) -> Builder {
        Builder::new(upstream)
    }

    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings: Arc::new(settings),
        }
    }

    /// For whom identities are meant: the `aud` of the signed header.
    pub fn identity_audience(&self) -> &str {
        &self.settings.audience
    }

    /// Ends what outlives requests: the children of an upstream that is a command. Call it before the program ends; it
    /// takes 6 s at most, and no time for an upstream over HTTP.
    pub async fn shut_down(&self) {
        match &self.settings.way {
            Way::Http(_) => {}
            Way::Stdio(upstream) => upstream.shut_down().await,
        }
    }

    /// Passes one request on.
    pub async fn pass(&self, request: Request<Body>) -> Response<Body> {
        let answer_to = AnswerTo::of(&request);
        let (parts, body) = request.into_parts();
        let result = self.pass_admitted(parts, body).await;
        result.unwrap_or_else(|trouble| trouble.answer(&answer_to))
    }

    async fn pass_admitted(&self, request: Parts, body: Body) -> Result<Response<Body>, Trouble> {
        let admitted = self.settings.admit(&request).await?;
        let listener =
            (request.method == Method::GET).then(|| (admitted.caller.clone(), admitted.is_session.clone()));
        let answer = match &self.settings.way {
            Way::Http(upstream) => upstream.pass(admitted, request, body).await?,
            Way::Stdio(upstream) => upstream.pass(admitted, request, body).await?,
        };
        Ok(match listener {
            Some((caller, is_session)) => {
                answer.map(|body| Listening::until_the_token_ends(body, &caller, is_session))
            }
            None => answer,
        })
    }
}

impl Settings {
    async fn admit(&self, request: &Parts) -> Result<Admitted, Trouble> {
        // 1. Nobody is let through by a front that was forgotten.
        let caller = Caller::of(&request.extensions).ok_or(Trouble::NoCaller)?;
        // 2. Only the endpoint and what lies below it.
        let rest = below(&self.path, request.uri.path())?;
        // 3. What the upstream may know of the caller.
        let identity = match &self.identity {
            Some(signer) => {
                let identity = Identity::of(caller, &self.audience);
                let mut value = signer.sign(identity).await.map_err(Trouble::CannotSign)?;
                value.set_sensitive(true);
                Some(value)
            }
            None => None,
        };
        Ok(Admitted {
            caller: caller.clone(),
            public_path: self.path.clone(),
            rest: rest.to_owned(),
            identity,
            is_session: IsSession::default(),
        })
    }
}

/// Ways to hide a dot, a slash or the end of a name: escapes of them and of the semicolon, which Java's servers cut off
/// with what follows; escapes of escapes, for the hop behind the upstream; overlong UTF-8 and the escapes of old IIS.
const HIDING: [&str; 13] = [
    "%2e", "%2f", "%5c", "%3b", "%25", "%00", "%09", "%0a", "%0d", "%c0", "%c1", "%u", "\\",
];

/// The part of `path` below `endpoint`, if it is there and nobody can read it as a way out.
fn below<'a>(endpoint: &str, path: &'a str) -> Result<&'a str, Trouble> {
    let rest = path.strip_prefix(endpoint).ok_or(Trouble::OtherPath)?;
    if !rest.is_empty() && !rest.starts_with('/') {
        return Err(Trouble::OtherPath);
    }
    // Upstreams decode escapes and resolve dots as they like: what any of them could take for `..` goes to none.
    let lower = rest.to_ascii_lowercase();
    let is_hidden = HIDING.iter().any(|way| lower.contains(way));
    let has_dots = rest.split('/').any(|segment| {
        let name = segment.split(';').next().unwrap_or_default();
        name == "." || name == ".."
    });
    if is_hidden || has_dots || rest.contains("//") {
        return Err(Trouble::OtherPath);
    }
    Ok(rest)
}

impl Service<Request<Body>> for Proxy {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let proxy = self.clone();
        Box::pin(async move { Ok(proxy.pass(request).await) })
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("path", &self.settings.path)
            .field("audience", &self.settings.audience)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_endpoint_and_what_is_below_it_is_passed_on() {
        for (path, rest) in [
            ("/mcp", Some("")),
            ("/mcp/", Some("/")),
            ("/mcp/messages", Some("/messages")),
            ("/mcp/a/b.c", Some("/a/b.c")),
            ("/mcp/..a", Some("/..a")),
            ("/mcpx", None),
            ("/other", None),
            ("/mcp/../admin", None),
            ("/mcp/..", None),
            ("/mcp/.", None),
            ("/mcp/..;x/admin", None),
            ("/mcp/%2e%2e/admin", None),
            ("/mcp/%2E./admin", None),
            ("/mcp/..%2fadmin", None),
            ("/mcp/..%5Cadmin", None),
            ("/mcp/..\\admin", None),
            ("/mcp//admin", None),
            ("/mcp/%00", None),
            ("/mcp/..%3b/admin", None),
            ("/mcp/..%3Bx/admin", None),
            ("/mcp/%252e%252E/admin", None),
            ("/mcp/%c0%ae%c0%ae/admin", None),
            ("/mcp/%u002e%u002e/admin", None),
            ("/mcp/.%09./admin", None),
            ("/mcp/caf%C3%A9", Some("/caf%C3%A9")),
        ] {
            assert_eq!(below("/mcp", path).ok(), rest, "{path}");
        }
        assert_eq!(below("", "/anything").ok(), Some("/anything"));
    }
}
