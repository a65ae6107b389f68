//! A new document, written so that it lints clean.

use mcp_authflow_types::{
    ApplicationType, GrantType, RedirectUri, ResponseType, TokenEndpointAuthMethod, uri::Uri,
};
use serde_json::{Map, Value, json};

use super::{
    lint::{Finding, Severity, lint},
    methods,
};

/// What goes into a new document.
///
/// ```
/// use mcp_authflow::client::metadata_document::{Draft, lint};
///
/// let url = "https://app.example/oauth/client.json";
/// let draft = Draft {
///     client_uri: Some("https://app.example/".to_owned()),
///     ..Draft::new(url, "An app", ["http://127.0.0.1:3118/callback"])
/// };
/// let text = draft.write()?;
/// assert!(text.contains(r#""http://127.0.0.1/callback""#));
/// assert!(lint(url, text.as_bytes()).iter().all(|finding| finding.member != Some("redirect_uris")));
/// # Ok::<(), mcp_authflow::client::metadata_document::InvalidDraft>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// Where it will be served.
    pub client_id: String,
    /// What the client is called.
    pub client_name: String,
    /// Where its answers may go. A port is taken off loopback addresses: any port matches them.
    pub redirect_uris: Vec<String>,
    /// With which keys the client proves itself; absent for one that keeps none.
    pub keys: Option<DraftKeys>,
    /// With keys: requests may come without an assertion.
    pub assertion_is_optional: bool,
    /// Whether devices use it too (RFC 8628).
    pub uses_device_grant: bool,
    /// Its home page.
    pub client_uri: Option<String>,
    /// Its picture: PNG, JPEG, WebP or GIF.
    pub logo_uri: Option<String>,
    /// Its privacy policy.
    pub policy_uri: Option<String>,
    /// Its terms of service.
    pub tos_uri: Option<String>,
    /// Which software it is.
    pub software_id: Option<String>,
    /// Which version of it.
    pub software_version: Option<String>,
}

/// Where the client's public keys are.
#[derive(Clone, Debug)]
pub enum DraftKeys {
    /// In the document: a JWK Set, public keys only.
    Jwks(Value),
    /// At an https address of their own.
    JwksUri(String),
}

/// Why a draft makes no document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(said).collect::<Vec<_>>().join("; "))]
pub struct InvalidDraft(
    /// What is wrong with it: errors alone.
    pub Vec<Finding>,
);

fn said(finding: &Finding) -> String {
    match finding.member {
        Some(member) => format!("{member}: {}", finding.text),
        None => finding.text.clone(),
    }
}

impl Draft {
    /// A public client with these redirect URIs.
    pub fn new<T: Into<String>>(
        client_id: impl Into<String>,
        client_name: impl Into<String>,
        redirect_uris: impl IntoIterator<Item = T>,
    ) -> Self {
        Self {
            client_id: client_id.into(),
            client_name: client_name.into(),
            redirect_uris: redirect_uris.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }

    /// Writes the document: JSON, indented, with a line break at the end.
    ///
    /// # Errors
    /// [`InvalidDraft`] when it would be refused.
    pub fn write(&self) -> Result<String, InvalidDraft> {
        let text = format!("{:#}\n", Value::Object(self.members()));
        let mut findings = lint(&self.client_id, text.as_bytes());
        findings.retain(|finding| finding.severity == Severity::Error);
        if findings.is_empty() {
            Ok(text)
        } else {
            Err(InvalidDraft(findings))
        }
    }

    fn members(&self) -> Map<String, Value> {
        let mut redirect_uris: Vec<String> = Vec::new();
        for uri in self.redirect_uris.iter().map(|uri| without_loopback_port(uri)) {
            if !redirect_uris.contains(&uri) {
                redirect_uris.push(uri);
            }
        }
        let parsed: Vec<_> = redirect_uris
            .iter()
            .filter_map(|uri| RedirectUri::parse(uri).ok())
            .collect();
        let application_type: ApplicationType = RedirectUri::application_type(&parsed);
        let mut grant_types = vec![GrantType::AuthorizationCode, GrantType::RefreshToken];
        if self.uses_device_grant {
            grant_types.push(GrantType::DeviceCode);
        }
        let (method, all_methods) = match (&self.keys, self.assertion_is_optional) {
            (None, _) => (TokenEndpointAuthMethod::None, vec![TokenEndpointAuthMethod::None]),
            (Some(_), false) => (
                TokenEndpointAuthMethod::PrivateKeyJwt,
                vec![TokenEndpointAuthMethod::PrivateKeyJwt],
            ),
            // Servers that read the singular alone would otherwise demand what may be left out.
            (Some(_), true) => (
                TokenEndpointAuthMethod::None,
                vec![
                    TokenEndpointAuthMethod::None,
                    TokenEndpointAuthMethod::PrivateKeyJwt,
                ],
            ),
        };
        let mut members = Map::new();
        let mut put = |name: &str, value: Value| members.insert(name.to_owned(), value);
        put("client_id", json!(self.client_id));
        put("client_name", json!(self.client_name));
        for (name, value) in [
            ("client_uri", &self.client_uri),
            ("logo_uri", &self.logo_uri),
            ("policy_uri", &self.policy_uri),
            ("tos_uri", &self.tos_uri),
            ("software_id", &self.software_id),
            ("software_version", &self.software_version),
        ] {
            if let Some(value) = value {
                put(name, json!(value));
            }
        }
        put("redirect_uris", json!(redirect_uris));
        put("application_type", json!(application_type));
        put("grant_types", json!(grant_types));
        put("response_types", json!([ResponseType::Code]));
        put(methods::SINGULAR, json!(method));
        put(methods::ARRAY, json!(all_methods));
        match &self.keys {
            None => {}
            Some(DraftKeys::Jwks(jwks)) => {
                put("jwks", jwks.clone());
            }
            Some(DraftKeys::JwksUri(uri)) => {
                put("jwks_uri", json!(uri));
            }
        }
        members
    }

    /// What the author should know about the document that [`write`](Self::write) makes.
    pub fn findings(&self) -> Vec<Finding> {
        let text = Value::Object(self.members()).to_string();
        lint(&self.client_id, text.as_bytes())
    }
}

/// RFC 8252 §7.3: "The authorization server MUST allow any port to be specified at the time of the request for loopback IP
/// redirect URIs", so none stands in the document.
fn without_loopback_port(uri: &str) -> String {
    let authority = Uri::parse(uri)
        .filter(|parts| parts.scheme == "http")
        .and_then(|parts| parts.authority)
        .filter(mcp_authflow_types::uri::Authority::is_loopback);
    match authority {
        Some(authority) => match authority.port {
            Some(port) => uri.replacen(&format!("{}:{port}", authority.host), authority.host, 1),
            None => uri.to_owned(),
        },
        None => uri.to_owned(),
    }
}
