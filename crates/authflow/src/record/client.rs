//! A client: who it is, where its answers may go, what it may ask for.

use mcp_authflow_types::{
    ApplicationType, ClientId, GrantType, RedirectUri, Resource, Scope, Timestamp, TokenEndpointAuthMethod,
    TokenHash, redirect_uri::RedirectHost,
};

use crate::client::known::{Granted, KnownClients};

/// A client as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its identifier.
    pub id: ClientId,
    /// Raised by `revoke_client` and `remove_client`; what was issued under an older one is dead.
    pub generation: u32,
    /// The digest of its secret; absent for public clients.
    pub secret: Option<TokenHash>,
    /// The digest of the secret before the last rotation, good until the moment beside it.
    pub retired_secret: Option<(TokenHash, Timestamp)>,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it counts as unknown: set for self-registered clients, and moved ahead by each approval.
    pub expires_at: Option<Timestamp>,
    /// Everything else.
    pub profile: ClientProfile,
}

/// What a client is called and what it may do. A store keeps it as one JSON document.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ClientProfile {
    /// Who vouches for it.
    pub origin: ClientOrigin,
    /// Its name: given by the operator, or claimed by itself, as `origin` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its home page, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// Where its logo is, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logo_uri: Option<String>,
    /// Its privacy policy, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_uri: Option<String>,
    /// Its terms of service, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tos_uri: Option<String>,
    /// Where its answers may go.
    #[serde(default)]
    pub redirect_uris: Vec<RedirectUri>,
    /// The grants it may use.
    #[serde(default)]
    pub grant_types: Vec<GrantType>,
    /// How it authenticates.
    pub token_endpoint_auth_method: TokenEndpointAuthMethod,
    /// Whether it may leave its assertion out: its document lists `none` beside `private_key_jwt`. An assertion that is
    /// there is always verified.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub assertion_is_optional: bool,
    /// The public keys with which it proves itself, for `private_key_jwt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<ClientKeys>,
    /// The most it may be granted, when the operator set a ceiling. For client_credentials there is nothing without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// The resources it may use; empty means all.
    #[serde(default)]
    pub resources: Vec<Resource>,
    /// The resource it protects: such a client introspects that resource's tokens, and gets none itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub introspects: Option<Resource>,
    /// Web or native.
    pub application_type: ApplicationType,
    /// Which software it is, as it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub software_id: Option<String>,
    /// Which version of it, as it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub software_version: Option<String>,
    /// Which copy of its metadata document all this was read from; absent for clients without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<DocumentCopy>,
}

/// A copy of a client's metadata document: the last good one that any node fetched, or one that the operator put there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DocumentCopy {
    /// When its host was asked for it, or, for one that was put there, when that was.
    pub fetched_at: Timestamp,
    /// Until when it counts without asking its host again: what the host's cache headers say, between a floor and a
    /// ceiling.
    pub fresh_until: Timestamp,
    /// When the document last changed in a way that a person has to be asked about again; absent as long as it never did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_at: Option<Timestamp>,
    /// Where it is from.
    pub source: DocumentSource,
}

/// Where a copy of a metadata document is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DocumentSource {
    /// Its own host.
    Fetched,
    /// The operator put it there, for a host that refuses servers. What the host says still replaces it whenever the host
    /// can be asked; until then it stays good, however old it is.
    Pinned,
}

/// Where a client's public keys are (RFC 7591 §2): in its record, or at an address of its own; never both.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientKeys {
    /// A JWK Set (RFC 7517 §5), as JSON text.
    Jwks(String),
    /// The https address of one; the client rotates its keys there without telling anybody.
    JwksUri(String),
}

/// Who vouches for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientOrigin {
    /// The operator wrote it down: its name is a fact.
    Operator,
    /// It registered itself (RFC 7591): its name is a claim.
    Registration,
    /// It describes itself in a document at the URL that is its identifier: the host is a fact, the name is a claim.
    MetadataDocument,
}

impl ClientProfile {
    /// The profile of a public web client that may do nothing yet. With struct update, so that a member that is added one
    /// day needs no change where it does not matter.
    ///
    /// ```
    /// use mcp_authflow::record::{ClientOrigin, ClientProfile};
    /// use mcp_authflow_types::GrantType;
    ///
    /// let profile = ClientProfile {
    ///     name: Some("Notes".to_owned()),
    ///     grant_types: vec![GrantType::AuthorizationCode],
    ///     ..ClientProfile::new(ClientOrigin::Operator)
    /// };
    /// assert!(profile.redirect_uris.is_empty());
    /// ```
    pub const fn new(origin: ClientOrigin) -> Self {
        Self {
            origin,
            name: None,
            uri: None,
            logo_uri: None,
            policy_uri: None,
            tos_uri: None,
            redirect_uris: Vec::new(),
            grant_types: Vec::new(),
            token_endpoint_auth_method: TokenEndpointAuthMethod::None,
            assertion_is_optional: false,
            keys: None,
            scope: None,
            resources: Vec::new(),
            introspects: None,
            application_type: ApplicationType::Web,
            software_id: None,
            software_version: None,
            document: None,
        }
    }
}

/// A redirect URI that was proven to be the client's. Only [`Client::redirect_target`] and its like make one, and only with one in
/// hand can an answer leave for the client: this is what keeps the server from being an open redirector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirectTarget {
    uri: String,
}

/// Why a redirect URI is not the client's. Answered by a page, never by a redirect (RFC 6749 §4.1.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotItsRedirectUri {
    /// The client has no redirect URI at all.
    #[error("the client has no redirect URI")]
    NoneRegistered,
    /// None was sent and there is not exactly one to fall back on.
    #[error("redirect_uri is missing and the client has several")]
    Missing,
    /// What was sent matches none.
    #[error("redirect_uri is not registered for this client")]
    Unregistered,
}

impl Client {
    /// Whether the client still counts at `now`.
    pub fn is_current(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| !end.has_passed(now))
    }

    /// Proves that a redirect URI is this client's.
    ///
    /// # Errors
    /// [`NotItsRedirectUri`]
    pub fn redirect_target(&self, presented: Option<&str>) -> Result<RedirectTarget, NotItsRedirectUri> {
        let registered = &self.profile.redirect_uris;
        match (presented, registered.as_slice()) {
            (_, []) => Err(NotItsRedirectUri::NoneRegistered),
            (None, [only]) => Ok(RedirectTarget {
                uri: only.to_string(),
            }),
            (None, _) => Err(NotItsRedirectUri::Missing),
            (Some(presented), registered) => registered
                .iter()
                .any(|uri| uri.matches(presented))
                .then(|| RedirectTarget {
                    uri: presented.to_owned(),
                })
                .ok_or(NotItsRedirectUri::Unregistered),
        }
    }

    /// The host that its metadata document is at, with the port where one is named, as written in its identifier: what a
    /// person is shown. Absent for clients without a document.
    pub fn document_host(&self) -> Option<&str> {
        if self.profile.origin != ClientOrigin::MetadataDocument {
            return None;
        }
        self.id
            .as_str()
            .strip_prefix("https://")?
            .split(['/', '?'])
            .next()
    }

    /// The same, and for a client that the table knows also the redirect URIs that it uses without having registered them;
    /// what was let pass has to be written down.
    ///
    /// # Errors
    /// [`NotItsRedirectUri`]
    pub fn redirect_target_or_known(
        &self,
        presented: Option<&str>,
        known: &KnownClients,
    ) -> Result<(RedirectTarget, Option<Granted>), NotItsRedirectUri> {
        match (self.redirect_target(presented), presented) {
            (Err(NotItsRedirectUri::Unregistered), Some(presented)) => {
                let granted = known
                    .lets_redirect(self, presented)
                    .ok_or(NotItsRedirectUri::Unregistered)?;
                let uri = presented.to_owned();
                Ok((RedirectTarget { uri }, Some(granted)))
            }
            (target, _) => Ok((target?, None)),
        }
    }

    /// Whether the operator vouches for it.
    pub fn is_verified(&self) -> bool {
        self.profile.origin == ClientOrigin::Operator
    }

    /// Whether it has to prove itself, with a secret or a private key.
    pub fn is_confidential(&self) -> bool {
        self.profile.token_endpoint_auth_method != TokenEndpointAuthMethod::None
            && !self.profile.assertion_is_optional
    }

    /// Whether an earlier approval may be remembered for it: the operator vouches for it, and nobody else can receive
    /// what is sent to it, because every redirect leads to an https host. Clients on loopback or a private-use scheme and
    /// self-registered ones are asked about every time.
    pub fn can_prove_itself(&self) -> bool {
        let uris = &self.profile.redirect_uris;
        self.is_verified() && !uris.is_empty() && uris.iter().all(RedirectUri::is_web)
    }

    /// Whether all its redirects lead to this computer.
    pub fn is_loopback_only(&self) -> bool {
        let uris = &self.profile.redirect_uris;
        !uris.is_empty()
            && uris
                .iter()
                .all(|uri| matches!(uri.host(), RedirectHost::Loopback(_)))
    }

    /// Whether it may use the grant.
    pub fn may_use(&self, grant_type: GrantType) -> bool {
        self.profile.grant_types.contains(&grant_type)
    }

    /// Whether it may use the resource.
    pub fn may_reach(&self, resource: &Resource) -> bool {
        self.profile.resources.is_empty() || self.profile.resources.contains(resource)
    }

    /// What of the scope lies under the operator's ceiling.
    #[must_use]
    pub fn under_ceiling(&self, scope: &Scope) -> Scope {
        match &self.profile.scope {
            Some(ceiling) => scope.narrow_to(ceiling),
            None => scope.clone(),
        }
    }
}

impl RedirectTarget {
    /// Where it leads, as text.
    pub fn as_str(&self) -> &str {
        &self.uri
    }

    /// Whom a person is told about.
    pub fn host(&self) -> RedirectHost<'_> {
        mcp_authflow_types::redirect_uri::redirect_host(&self.uri)
    }

    /// The address with an answer in its query (RFC 6749 §4.1.2).
    pub fn with_query(&self, parameters: &[(&str, &str)]) -> String {
        let mut url = self.uri.clone();
        let mut joint = if url.contains('?') { '&' } else { '?' };
        for (name, value) in parameters {
            url.push(joint);
            url.push_str(name);
            url.push('=');
            push_encoded(&mut url, value);
            joint = '&';
        }
        url
    }
}

/// Percent-encodes everything but RFC 3986 §2.3's unreserved characters.
fn push_encoded(url: &mut String, value: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            url.push(char::from(byte));
        } else {
            url.push('%');
            url.push(char::from(HEX[usize::from(byte >> 4)]));
            url.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn client(origin: ClientOrigin, redirect_uris: &[&str]) -> Client {
        Client {
            id: ClientId::parse("c").unwrap(),
            generation: 0,
            secret: None,
            retired_secret: None,
            created_at: Timestamp::from_seconds(0),
            expires_at: None,
            profile: ClientProfile {
                redirect_uris: redirect_uris
                    .iter()
                    .map(|uri| RedirectUri::parse(uri).unwrap())
                    .collect(),
                grant_types: vec![GrantType::AuthorizationCode],
                ..ClientProfile::new(origin)
            },
        }
    }

    #[test]
    fn a_redirect_uri_may_be_left_out_only_when_there_is_exactly_one() {
        use NotItsRedirectUri as No;
        let one = client(ClientOrigin::Operator, &["https://a.example/cb"]);
        assert_eq!(
            one.redirect_target(None).unwrap().as_str(),
            "https://a.example/cb"
        );
        let two = client(
            ClientOrigin::Operator,
            &["https://a.example/cb", "https://b.example/cb"],
        );
        assert_eq!(two.redirect_target(None), Err(No::Missing));
        assert_eq!(
            two.redirect_target(Some("https://c.example/cb")),
            Err(No::Unregistered)
        );
        assert_eq!(
            client(ClientOrigin::Operator, &[]).redirect_target(None),
            Err(No::NoneRegistered)
        );
    }

    #[test]
    fn an_answer_joins_the_query_that_is_there() {
        let target = client(ClientOrigin::Operator, &["https://a.example/cb?tenant=7"])
            .redirect_target(None)
            .unwrap();
        assert_eq!(
            target.with_query(&[("code", "a b"), ("iss", "https://x")]),
            "https://a.example/cb?tenant=7&code=a%20b&iss=https%3A%2F%2Fx"
        );
    }

    /// P13
    #[test]
    fn only_a_vouched_for_client_on_https_can_prove_itself() {
        assert!(client(ClientOrigin::Operator, &["https://a.example/cb"]).can_prove_itself());
        for (origin, uri) in [
            (ClientOrigin::Registration, "https://a.example/cb"),
            (ClientOrigin::Operator, "http://127.0.0.1/cb"),
            (ClientOrigin::Operator, "cursor://x/cb"),
            (ClientOrigin::Operator, "https://localhost/cb"),
        ] {
            assert!(!client(origin, &[uri]).can_prove_itself(), "{uri}");
        }
    }
}
