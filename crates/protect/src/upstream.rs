//! The MCP server behind: where it is, or how it is started.

use std::{
    ffi::{OsStr, OsString},
    net::IpAddr,
    path::PathBuf,
    time::Duration,
};

use http::{Uri, uri::Scheme};
use mcp_authflow_types::special_use::{SpecialUse, special_use};

use crate::builder::InvalidProxy;

/// An MCP server that knows nothing of sign-in.
#[derive(Clone, Debug)]
pub struct Upstream {
    pub(crate) kind: Kind,
}

/// In which way the upstream is spoken to.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Http(String),
    Command(Command),
}

/// How the child of one session is started, and how long it lives.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    pub(crate) program: OsString,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) environment: Vec<(OsString, OsString)>,
    pub(crate) folder: Option<PathBuf>,
    pub(crate) max_children: usize,
    pub(crate) idle_after: Duration,
}

impl Upstream {
    /// A server at `url`, which speaks streamable HTTP or the older HTTP with SSE (2024-11-05). The URL is that of its
    /// MCP endpoint (`http://127.0.0.1:9000/mcp`), for the older transport that of its event stream
    /// (`http://127.0.0.1:9000/sse`); a query in it is sent along with every request.
    ///
    /// Plain http is for servers on this machine and in private networks; see
    /// [`dangerous_allow_plain_http`](crate::Builder::dangerous_allow_plain_http).
    pub fn http(url: impl Into<String>) -> Self {
        Self {
            kind: Kind::Http(url.into()),
        }
    }

    /// A server that is started as `program` with `arguments` and spoken to over its standard input and output: one
    /// child a session. It inherits the environment of this process, except what begins with `AUTHFLOW_`, and
    /// `DATABASE_URL` and `REDIS_URL`.
    pub fn command<A: AsRef<OsStr>>(
        program: impl AsRef<OsStr>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        Self {
            kind: Kind::Command(Command {
                program: program.as_ref().to_owned(),
                arguments: arguments
                    .into_iter()
                    .map(|argument| argument.as_ref().to_owned())
                    .collect(),
                environment: Vec::new(),
                folder: None,
                max_children: 64,
                idle_after: Duration::from_secs(10 * 60),
            }),
        }
    }

    /// Adds a variable to the child's environment. No effect on an upstream over HTTP; the same holds for the three
    /// methods below.
    #[must_use]
    pub fn variable(self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.with_command(|command| command.environment.push((name.into(), value.into())))
    }

    /// The folder that the child runs in; default: that of this process.
    #[must_use]
    pub fn folder(self, folder: impl Into<PathBuf>) -> Self {
        self.with_command(|command| command.folder = Some(folder.into()))
    }

    /// The most children at a time; default 64. A session beyond it is answered with 503, unless an idle child of
    /// somebody can be ended for it.
    #[must_use]
    pub fn max_children(self, children: usize) -> Self {
        self.with_command(|command| command.max_children = children)
    }

    /// How long a child lives that nobody asks anything and nobody listens to; default 10 minutes.
    #[must_use]
    pub fn idle_after(self, idle: Duration) -> Self {
        self.with_command(|command| command.idle_after = idle)
    }

    fn with_command(mut self, change: impl FnOnce(&mut Command)) -> Self {
        if let Kind::Command(command) = &mut self.kind {
            change(command);
        }
        self
    }
}

/// The URL of an upstream, taken apart.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) scheme: Scheme,
    /// With the port, as configured.
    pub(crate) authority: http::uri::Authority,
    /// Without a slash at the end, so that what comes below can be appended; empty for the root.
    pub(crate) base: String,
    /// As configured: `/mcp` and `/mcp/` are two endpoints to many frameworks.
    pub(crate) path: String,
    pub(crate) query: Option<String>,
}

impl Endpoint {
    /// Reads an operator's URL.
    pub(crate) fn parse(url: &str, may_be_plain: bool) -> Result<Self, InvalidProxy> {
        let invalid = |why| InvalidProxy::Url {
            url: without_query(url),
            why,
        };
        if url.contains('#') {
            return Err(invalid("it has a fragment"));
        }
        let uri: Uri = url.parse().map_err(|_| invalid("it is no URL"))?;
        let parts = uri.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err(invalid(
                "it has no scheme and host, as in http://127.0.0.1:9000/mcp",
            ));
        };
        if authority.as_str().contains('@') {
            return Err(invalid(
                "it has credentials in it; use a header of its own instead",
            ));
        }
        if authority.host().is_empty() {
            return Err(invalid("it has no host"));
        }
        if scheme != Scheme::HTTPS && scheme != Scheme::HTTP {
            return Err(invalid("its scheme is neither https nor http"));
        }
        if scheme == Scheme::HTTP && !may_be_plain && !is_near(authority.host()) {
            return Err(InvalidProxy::PlainHttp(authority.host().to_owned()));
        }
        let path = parts
            .path_and_query
            .as_ref()
            .map_or("/", |both| both.path())
            .to_owned();
        Ok(Self {
            scheme,
            authority,
            base: path.trim_end_matches('/').to_owned(),
            path,
            query: parts
                .path_and_query
                .and_then(|both| both.query().map(str::to_owned)),
        })
    }

    /// The URL without its query, which may hold an operator's secret: for the log and for `aud`.
    pub(crate) fn shown(&self) -> String {
        format!("{}://{}{}", self.scheme, self.authority, self.path)
    }
}

fn without_query(url: &str) -> String {
    url.split(['?', '#']).next().unwrap_or_default().to_owned()
}

/// Ends of names that the public tree of names does not have.
const PRIVATE_SUFFIXES: [&str; 7] = [
    ".localhost",
    ".local",
    ".internal",
    ".lan",
    ".home.arpa",
    ".svc",
    ".intranet",
];

/// Whether plain http is good enough: the host is this machine, or has an address or a kind of name that exists in private
/// networks only. A name says nothing of where it leads; it is the operator who wrote it.
fn is_near(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        return matches!(
            special_use(address),
            Some(SpecialUse::Loopback | SpecialUse::Private | SpecialUse::Shared | SpecialUse::LinkLocal)
        );
    }
    let name = bare.trim_end_matches('.').to_ascii_lowercase();
    // A name without a dot is one of a container network or a search domain, never one of the public tree.
    !name.contains('.') || PRIVATE_SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn an_upstream_in_plain_http_is_near() {
        for near in [
            "http://127.0.0.1:9000/mcp",
            "http://[::1]:9000/mcp",
            "http://10.1.2.3/",
            "http://172.16.0.9",
            "http://192.168.1.1:8080/mcp",
            "http://[fd00::1]/mcp",
            "http://localhost:9000/sse",
            "http://mcp:8000/mcp",
            "http://mcp.tools.svc/mcp",
            "http://mcp.tools.svc.cluster.local/mcp",
            "http://host.docker.internal:9000/mcp",
            "https://mcp.example/mcp",
        ] {
            assert!(Endpoint::parse(near, false).is_ok(), "{near}");
        }
        for far in [
            "http://mcp.example/mcp",
            "http://8.8.8.8/mcp",
            "http://[2606:4700::1]/mcp",
            "http://localhost.example/",
        ] {
            assert!(
                matches!(Endpoint::parse(far, false), Err(InvalidProxy::PlainHttp(_))),
                "{far}"
            );
            assert!(Endpoint::parse(far, true).is_ok(), "{far}");
        }
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        for bad in [
            "",
            "/mcp",
            "127.0.0.1:9000",
            "ftp://127.0.0.1/",
            "http://u:p@127.0.0.1/",
            "http://127.0.0.1/#f",
            "http:///mcp",
            "http://127.0.0.1/a b",
        ] {
            assert!(
                matches!(Endpoint::parse(bad, true), Err(InvalidProxy::Url { .. })),
                "{bad}"
            );
        }
    }

    #[test]
    fn what_is_shown_of_a_url_leaves_its_query_out() {
        let endpoint = Endpoint::parse("https://mcp.example/mcp?key=secret", false).unwrap();
        assert_eq!(endpoint.shown(), "https://mcp.example/mcp");
        assert_eq!(endpoint.query.as_deref(), Some("key=secret"));
        let error = Endpoint::parse("https://u@mcp.example/mcp?key=secret", false).unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
