//! The protected resource metadata document: tells a client which authorization server issues tokens for this resource
//! (RFC 9728).

use mcp_authflow_types::{Issuer, Resource, Scope, uri::Uri};

/// What the resource says of itself, and where.
///
/// ```
/// use mcp_authflow_resource::{Issuer, Resource, ResourceMetadata, Scope};
///
/// let resource = Resource::parse("https://mcp.example/mcp")?;
/// let metadata = ResourceMetadata::new(resource, Issuer::parse("https://auth.example")?, &Scope::empty(), None);
/// assert_eq!(metadata.url(), "https://mcp.example/.well-known/oauth-protected-resource/mcp");
/// assert_eq!(
///     metadata.body(),
///     r#"{"resource":"https://mcp.example/mcp","authorization_servers":["https://auth.example"],"bearer_methods_supported":["header"]}"#
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct ResourceMetadata {
    resource: Resource,
    authorization_server: Issuer,
    other_authorization_servers: Vec<Issuer>,
    scopes_supported: Scope,
    resource_name: Option<String>,
    documentation: Option<String>,
}

/// The page for developers is no https or http address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the documentation {0:?} is no https or http address of a page")]
pub struct InvalidDocumentation(String);

/// The well-known path, for a resource without a path, and before the path of any other (RFC 9728 §3).
pub const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

impl ResourceMetadata {
    /// Puts the document together.
    ///
    /// `scopes_supported` must not hold `offline_access`, which belongs to the authorization server; it is left out
    /// here, and [`Builder::build`](crate::Builder::build) refuses it with an explanation.
    pub fn new(
        resource: Resource,
        authorization_server: Issuer,
        scopes_supported: &Scope,
        resource_name: Option<String>,
    ) -> Self {
        Self {
            scopes_supported: scopes_supported.without(mcp_authflow_types::scope::OFFLINE_ACCESS),
            resource,
            authorization_server,
            other_authorization_servers: Vec::new(),
            resource_name,
            documentation: None,
        }
    }

    /// Names one more authorization server whose tokens are accepted (RFC 9728 §2, `authorization_servers`). Clients take
    /// the first one unless they know a later one.
    #[must_use]
    pub fn with_authorization_server(mut self, issuer: Issuer) -> Self {
        self.other_authorization_servers.push(issuer);
        self
    }

    /// Names a page for developers (RFC 9728 §2, `resource_documentation`).
    ///
    /// # Errors
    /// [`InvalidDocumentation`] when it is no https or http address: clients show it as a link.
    pub fn with_documentation(mut self, url: impl Into<String>) -> Result<Self, InvalidDocumentation> {
        let url = url.into();
        if !is_web_address(&url) {
            return Err(InvalidDocumentation(url));
        }
        self.documentation = Some(url);
        Ok(self)
    }

    /// The resource, as spelled.
    pub fn resource(&self) -> &Resource {
        &self.resource
    }

    /// The authorization server that is named first.
    pub fn authorization_server(&self) -> &Issuer {
        &self.authorization_server
    }

    /// The absolute URL of the document: the well-known path put between host and path (RFC 9728 §3.1).
    pub fn url(&self) -> String {
        let (origin, path, query) = self.split();
        match query {
            None => format!("{origin}{WELL_KNOWN}{path}"),
            Some(query) => format!("{origin}{WELL_KNOWN}{path}?{query}"),
        }
    }

    /// The paths at which the document is found: path-inserted, the same without a slash at its end (some clients take
    /// it off), and at the root.
    pub fn well_known_paths(&self) -> Vec<String> {
        let mut paths = self.inserted_paths();
        paths.push(WELL_KNOWN.to_owned());
        paths.dedup();
        paths
    }

    /// The path-inserted ones of them, as spelled first.
    pub(crate) fn inserted_paths(&self) -> Vec<String> {
        let path = self.path();
        let mut paths = vec![
            format!("{WELL_KNOWN}{path}"),
            format!("{WELL_KNOWN}{}", path.trim_end_matches('/')),
        ];
        paths.dedup();
        paths
    }

    /// The resource's path; empty for a bare host, with or without its slash.
    pub(crate) fn path(&self) -> &str {
        self.split().1
    }

    /// The JSON document. `resource` and the issuer are byte for byte as configured; members with nothing to say
    /// are left out.
    pub fn body(&self) -> String {
        #[derive(serde::Serialize)]
        struct Body<'a> {
            resource: &'a str,
            authorization_servers: Vec<&'a str>,
            #[serde(skip_serializing_if = "Vec::is_empty")]
            scopes_supported: Vec<&'a str>,
            bearer_methods_supported: [&'static str; 1],
            #[serde(skip_serializing_if = "Option::is_none")]
            resource_name: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            resource_documentation: Option<&'a str>,
        }
        let body = Body {
            resource: self.resource.as_str(),
            authorization_servers: std::iter::once(&self.authorization_server)
                .chain(&self.other_authorization_servers)
                .map(Issuer::as_str)
                .collect(),
            scopes_supported: self
                .scopes_supported
                .iter()
                .map(mcp_authflow_types::ScopeToken::as_str)
                .collect(),
            bearer_methods_supported: ["header"],
            resource_name: self.resource_name.as_deref(),
            resource_documentation: self.documentation.as_deref(),
        };
        // Strings and lists of strings cannot fail to serialize.
        serde_json::to_string(&body).unwrap_or_default()
    }

    /// Origin, path and query as spelled; the path is empty for a bare host, with or without its slash.
    fn split(&self) -> (&str, &str, Option<&str>) {
        let text = self.resource.as_str();
        let (before_query, query) = match text.split_once('?') {
            Some((before, query)) => (before, Some(query)),
            None => (text, None),
        };
        let host_at = before_query.find("://").map_or(0, |at| at + 3);
        let path_at = before_query[host_at..]
            .find('/')
            .map_or(before_query.len(), |at| host_at + at);
        let (origin, path) = before_query.split_at(path_at);
        (origin, if path == "/" { "" } else { path }, query)
    }
}

/// Whether a person can follow it with a browser: no `javascript:`, no file.
pub(crate) fn is_web_address(url: &str) -> bool {
    Uri::parse(url).is_some_and(|uri| {
        matches!(uri.scheme.to_ascii_lowercase().as_str(), "https" | "http")
            && uri.authority.is_some_and(|authority| !authority.host.is_empty())
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn metadata(resource: &str) -> ResourceMetadata {
        ResourceMetadata::new(
            Resource::parse(resource).unwrap(),
            Issuer::parse("https://auth.test/tenant").unwrap(),
            &Scope::parse("b a").unwrap(),
            Some("Notes".to_owned()),
        )
    }

    /// M-010, M-013: no slash gained or lost, no case folded.
    #[test]
    fn the_document_says_the_resource_byte_for_byte() {
        for resource in [
            "https://rs.test",
            "https://rs.test/",
            "https://RS.test:443/Mcp/",
            "http://127.0.0.1:8001/mcp?x=1",
        ] {
            assert_eq!(
                metadata(resource).body(),
                format!(
                    r#"{{"resource":"{resource}","authorization_servers":["https://auth.test/tenant"],"scopes_supported":["a","b"],"bearer_methods_supported":["header"],"resource_name":"Notes"}}"#
                )
            );
        }
    }

    /// M-011, M-012, RFC 9728 §3.1
    #[test]
    fn the_well_known_path_goes_between_host_and_path() {
        for (resource, url, paths) in [
            (
                "https://rs.test",
                "https://rs.test/.well-known/oauth-protected-resource",
                vec![""],
            ),
            (
                "https://rs.test/",
                "https://rs.test/.well-known/oauth-protected-resource",
                vec![""],
            ),
            (
                "https://rs.test:8443/a/mcp",
                "https://rs.test:8443/.well-known/oauth-protected-resource/a/mcp",
                vec!["/a/mcp", ""],
            ),
            (
                "https://rs.test/mcp/",
                "https://rs.test/.well-known/oauth-protected-resource/mcp/",
                vec!["/mcp/", "/mcp", ""],
            ),
            (
                "https://rs.test/mcp?k=v/w",
                "https://rs.test/.well-known/oauth-protected-resource/mcp?k=v/w",
                vec!["/mcp", ""],
            ),
        ] {
            let metadata = metadata(resource);
            assert_eq!(metadata.url(), url);
            let paths: Vec<_> = paths.iter().map(|path| format!("{WELL_KNOWN}{path}")).collect();
            assert_eq!(metadata.well_known_paths(), paths, "{resource}");
        }
    }

    /// M-018
    #[test]
    fn offline_access_is_never_offered() {
        let metadata = ResourceMetadata::new(
            Resource::parse("https://rs.test").unwrap(),
            Issuer::parse("https://auth.test").unwrap(),
            &Scope::parse("offline_access").unwrap(),
            None,
        );
        assert!(
            !metadata.body().contains("scopes_supported"),
            "{}",
            metadata.body()
        );
    }
    /// S-250: a link that a browser would run is no documentation.
    #[test]
    fn the_documentation_is_a_page() {
        let bare = || metadata("https://rs.test");
        let page = bare().with_documentation("https://docs.test/mcp?a=b#c").unwrap();
        assert!(
            page.body()
                .ends_with(r#","resource_documentation":"https://docs.test/mcp?a=b#c"}"#)
        );
        for bad in [
            "",
            "javascript:alert(1)",
            "file:///etc/passwd",
            "docs.test",
            "https://",
            "data:text/html,x",
        ] {
            assert_eq!(
                bare().with_documentation(bad).unwrap_err(),
                InvalidDocumentation(bad.to_owned())
            );
        }
    }
}
