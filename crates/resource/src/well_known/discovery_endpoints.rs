//! The five routes that the Python package's `register_oauth_discovery_endpoints` adds to a server, answer for answer: for a
//! deployment that moves and has clients that rest on them.
//!
//! Two of them are of the resource; three answer, at the resource's host, for an authorization server whose endpoints are
//! guessed from its address. [`Discovery`](super::Discovery) and
//! [`AuthorizationServerAliases`](super::AuthorizationServerAliases) are what to use for anything new.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, header, request::Parts};
use mcp_authflow_types::{
    Issuer, Resource, ScopeToken,
    cors::{CorsPolicy, CorsRequest},
    issuer::InvalidIssuer,
    resource::InvalidResource,
    scope::InvalidScope,
};
use tower_layer::Layer;

use super::{WithDocuments, before::Answers};
use crate::metadata::is_web_address;

/// What a resource offers when nothing is said.
pub const DEFAULT_SCOPES: [&str; 1] = ["read"];

/// Makes the CORS headers of an answer from the request's head.
#[derive(Clone)]
pub struct CorsHeaderBuilder(Arc<BuildHeaders>);

type BuildHeaders = dyn Fn(&Parts) -> Vec<(HeaderName, HeaderValue)> + Send + Sync;

/// What is said about the resource beside the two addresses. All of it may be left out.
#[derive(Clone, Debug, Default)]
pub struct DiscoverySettings {
    /// The scopes that are offered, in this order. Default: [`DEFAULT_SCOPES`].
    pub scopes: Option<Vec<String>>,
    /// Headers for the three documents of the authorization server, which then take OPTIONS, too. Default: none.
    pub cors: Option<CorsHeaderBuilder>,
    /// A page for developers. Default, and when empty: none.
    pub resource_documentation: Option<String>,
}

/// Why the documents cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidDiscoveryEndpoints {
    /// The server's address is none.
    #[error("the server's address: {0}")]
    Resource(#[from] InvalidResource),
    /// The authorization server's address is no issuer.
    #[error("the authorization server's address: {0}")]
    Issuer(#[from] InvalidIssuer),
    /// A scope is none.
    #[error("a scope: {0}")]
    Scope(#[from] InvalidScope),
    /// The documentation is no https or http address.
    #[error("`{0}` is no https or http address of a page")]
    Documentation(String),
}

/// A layer with the five routes; all other requests go on.
///
/// ```
/// use mcp_authflow_resource::well_known::{DiscoveryEndpoints, DiscoverySettings};
///
/// let endpoints = DiscoveryEndpoints::new("https://mcp.example/", "https://auth.example", DiscoverySettings::default())?;
/// assert_eq!(
///     endpoints.protected_resource_metadata(),
///     r#"{"resource":"https://mcp.example","authorization_servers":["https://auth.example"],"scopes_supported":["read"],"bearer_methods_supported":["header"]}"#
/// );
/// let app: axum::Router = axum::Router::new().layer(endpoints);
/// # let _ = app;
/// # Ok::<(), mcp_authflow_resource::well_known::InvalidDiscoveryEndpoints>(())
/// ```
#[derive(Clone)]
pub struct DiscoveryEndpoints {
    routes: Arc<Routes>,
}

struct Routes {
    protected_resource: String,
    authorization_server: String,
    authorization_server_of_mcp: String,
    cors: Option<CorsHeaderBuilder>,
}

impl CorsHeaderBuilder {
    /// Calls `build` for every answer.
    pub fn new(build: impl Fn(&Parts) -> Vec<(HeaderName, HeaderValue)> + Send + Sync + 'static) -> Self {
        Self(Arc::new(build))
    }
}

impl From<CorsPolicy> for CorsHeaderBuilder {
    fn from(policy: CorsPolicy) -> Self {
        Self::new(move |request| {
            let origins = request.headers.get_all(header::ORIGIN).iter();
            let origins: Vec<&str> = origins
                .map(|origin| origin.to_str().unwrap_or_default())
                .collect();
            let headers = policy.headers(CorsRequest {
                origins: &origins,
                is_preflight: request.method == Method::OPTIONS
                    && request
                        .headers
                        .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD),
            });
            headers
                .into_iter()
                .filter_map(|(name, value)| {
                    Some((
                        HeaderName::try_from(name).ok()?,
                        HeaderValue::try_from(value).ok()?,
                    ))
                })
                .collect()
        })
    }
}

impl fmt::Debug for CorsHeaderBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CorsHeaderBuilder")
    }
}

impl DiscoveryEndpoints {
    /// Makes the documents. Slashes at the ends of both addresses are taken off.
    ///
    /// # Errors
    /// [`InvalidDiscoveryEndpoints`]; nothing is published that is no address or no scope.
    pub fn new(
        server_url: &str,
        auth_server_public_url: &str,
        settings: DiscoverySettings,
    ) -> Result<Self, InvalidDiscoveryEndpoints> {
        let resource = Resource::parse(server_url.trim_end_matches('/'))?;
        let issuer = Issuer::parse(auth_server_public_url.trim_end_matches('/'))?;
        let scopes = settings
            .scopes
            .unwrap_or_else(|| DEFAULT_SCOPES.map(str::to_owned).to_vec());
        for scope in &scopes {
            ScopeToken::parse(scope)?;
        }
        let documentation = settings.resource_documentation.filter(|url| !url.is_empty());
        if let Some(url) = documentation.as_deref().filter(|url| !is_web_address(url)) {
            return Err(InvalidDiscoveryEndpoints::Documentation(url.to_owned()));
        }
        Ok(Self {
            routes: Arc::new(Routes {
                protected_resource: protected_resource_metadata(
                    &resource,
                    &issuer,
                    &scopes,
                    documentation.as_deref(),
                ),
                authorization_server: authorization_server_metadata(&issuer, &scopes, None),
                authorization_server_of_mcp: authorization_server_metadata(&issuer, &scopes, Some(&resource)),
                cors: settings.cors,
            }),
        })
    }

    /// The document of the resource.
    pub fn protected_resource_metadata(&self) -> &str {
        &self.routes.protected_resource
    }

    /// The document of the authorization server, as guessed from its address.
    pub fn authorization_server_metadata(&self) -> &str {
        &self.routes.authorization_server
    }
}

fn protected_resource_metadata(
    resource: &Resource,
    issuer: &Issuer,
    scopes: &[String],
    documentation: Option<&str>,
) -> String {
    #[derive(serde::Serialize)]
    struct Metadata<'a> {
        resource: &'a str,
        authorization_servers: [&'a str; 1],
        scopes_supported: &'a [String],
        bearer_methods_supported: [&'static str; 1],
        #[serde(skip_serializing_if = "Option::is_none")]
        resource_documentation: Option<&'a str>,
    }
    let metadata = Metadata {
        resource: resource.as_str(),
        authorization_servers: [issuer.as_str()],
        scopes_supported: scopes,
        bearer_methods_supported: ["header"],
        resource_documentation: documentation,
    };
    // Texts and lists of texts cannot fail to serialize.
    serde_json::to_string(&metadata).unwrap_or_default()
}

fn authorization_server_metadata(issuer: &Issuer, scopes: &[String], of: Option<&Resource>) -> String {
    #[derive(serde::Serialize)]
    struct Metadata<'a> {
        issuer: &'a str,
        authorization_endpoint: String,
        token_endpoint: String,
        introspection_endpoint: String,
        registration_endpoint: String,
        revocation_endpoint: String,
        scopes_supported: &'a [String],
        response_types_supported: [&'static str; 1],
        grant_types_supported: [&'static str; 3],
        token_endpoint_auth_methods_supported: [&'static str; 1],
        code_challenge_methods_supported: [&'static str; 1],
        #[serde(skip_serializing_if = "Option::is_none")]
        resource: Option<&'a str>,
    }
    let metadata = Metadata {
        issuer: issuer.as_str(),
        authorization_endpoint: issuer.endpoint("/authorize"),
        token_endpoint: issuer.endpoint("/token"),
        introspection_endpoint: issuer.endpoint("/introspect"),
        registration_endpoint: issuer.endpoint("/register"),
        revocation_endpoint: issuer.endpoint("/revoke"),
        scopes_supported: scopes,
        response_types_supported: ["code"],
        grant_types_supported: [
            "authorization_code",
            "refresh_token",
            "urn:ietf:params:oauth:grant-type:device_code",
        ],
        token_endpoint_auth_methods_supported: ["client_secret_post"],
        code_challenge_methods_supported: ["S256"],
        resource: of.map(Resource::as_str),
    };
    serde_json::to_string(&metadata).unwrap_or_default()
}

impl Routes {
    /// The document at a path, and whether it is one with CORS.
    fn at(&self, path: &str) -> Option<(&str, bool)> {
        match path {
            "/.well-known/oauth-protected-resource" | "/mcp/.well-known/oauth-protected-resource" => {
                Some((&self.protected_resource, false))
            }
            "/.well-known/oauth-authorization-server" | "/.well-known/openid-configuration" => {
                Some((&self.authorization_server, true))
            }
            "/.well-known/oauth-authorization-server/mcp" => Some((&self.authorization_server_of_mcp, true)),
            _ => None,
        }
    }

    fn answer_at(&self, request: &Parts) -> Option<Response<Bytes>> {
        let path = request.uri.path();
        let Some((document, has_cors)) = self.at(path) else {
            let bare = path.trim_end_matches('/');
            return (path.ends_with('/') && self.at(bare).is_some())
                .then(|| elsewhere(bare, request.uri.query()));
        };
        let cors = self.cors.as_ref().filter(|_| has_cors);
        let body = match (&request.method, cors) {
            (&Method::GET, _) => document,
            (&Method::HEAD, _) => "",
            (&Method::OPTIONS, Some(_)) => "{}",
            (_, cors) => {
                let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
                let allow = if cors.is_some() {
                    "GET, HEAD, OPTIONS"
                } else {
                    "GET, HEAD"
                };
                answer
                    .headers_mut()
                    .insert(header::ALLOW, HeaderValue::from_static(allow));
                return Some(answer);
            }
        };
        let mut answer = Response::new(Bytes::copy_from_slice(body.as_bytes()));
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(cors) = cors {
            headers.extend(cors.0(request));
        }
        Some(answer)
    }
}

/// The same path without slashes at its end. Only the path is named: a host copied from the request could be anybody's.
fn elsewhere(path: &str, query: Option<&str>) -> Response<Bytes> {
    let target = match query {
        None => path.to_owned(),
        Some(query) => format!("{path}?{query}"),
    };
    let mut answer = Response::new(Bytes::new());
    *answer.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    if let Ok(target) = HeaderValue::try_from(target) {
        answer.headers_mut().insert(header::LOCATION, target);
    }
    answer
}

fn text(status: StatusCode, body: &'static str) -> Response<Bytes> {
    let mut answer = Response::new(Bytes::from_static(body.as_bytes()));
    *answer.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

#[async_trait]
impl Answers for Routes {
    async fn answer(&self, request: &Parts) -> Option<Response<Bytes>> {
        self.answer_at(request)
    }
}

impl<S> Layer<S> for DiscoveryEndpoints {
    type Service = WithDocuments<S>;

    fn layer(&self, inner: S) -> WithDocuments<S> {
        let documents: Arc<dyn Answers> = Arc::<Routes>::clone(&self.routes);
        WithDocuments::new(inner, documents)
    }
}

impl fmt::Debug for DiscoveryEndpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiscoveryEndpoints")
            .field("protected_resource", &self.routes.protected_resource)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use http::Request;

    use super::*;

    fn new(
        server: &str,
        issuer: &str,
        scopes: &[&str],
        page: &str,
    ) -> Result<DiscoveryEndpoints, InvalidDiscoveryEndpoints> {
        let settings = DiscoverySettings {
            scopes: Some(scopes.iter().map(|scope| (*scope).to_owned()).collect()),
            resource_documentation: Some(page.to_owned()),
            ..DiscoverySettings::default()
        };
        DiscoveryEndpoints::new(server, issuer, settings)
    }

    /// S-249
    #[test]
    fn what_is_no_address_and_no_scope_is_not_published() {
        let (server, issuer) = ("https://mcp.example/mcp//", "https://auth.example/");
        let made = new(server, issuer, &[], "").unwrap();
        assert!(
            made.protected_resource_metadata()
                .contains(r#""resource":"https://mcp.example/mcp","#)
        );
        assert!(
            made.authorization_server_metadata()
                .contains(r#""scopes_supported":[],"#)
        );
        for bad in [
            new("", issuer, &[], ""),
            new("https://mcp.example/#f", issuer, &[], ""),
            new(server, "auth.example", &[], ""),
            new(server, "http://auth.example", &[], ""),
            new(server, issuer, &["a", "é"], ""),
            new(server, issuer, &["a b"], ""),
            new(server, issuer, &[], "javascript:x"),
        ] {
            assert!(bad.is_err(), "{bad:?}");
        }
    }

    /// S-255, HH-01: the redirect leads to the path and to no host.
    #[test]
    fn a_slash_at_the_end_leads_to_the_document_whatever_the_host_says() {
        let routes = new("https://mcp.example", "https://auth.example", &[], "")
            .unwrap()
            .routes;
        let ask = |path: &str| {
            let request = Request::get(path)
                .header("host", "evil.example")
                .body(())
                .unwrap();
            routes.answer_at(&request.into_parts().0)
        };
        let answer = ask("/.well-known/openid-configuration//?a=b").unwrap();
        assert_eq!(answer.status(), 307);
        assert_eq!(
            answer.headers()["location"],
            "/.well-known/openid-configuration?a=b"
        );
        assert!(ask("/.well-known/other/").is_none());
    }
}
