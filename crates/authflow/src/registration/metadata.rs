//! What a client asks for, and what it gets.

use std::fmt;

use mcp_authflow_types::{ClientSecret, Timestamp};
use serde_json::{Map, Value, json};

/// A registration as a [`ClientRegistry`](super::ClientRegistry) is asked to make it: judged, rewritten and complete.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClientRegistrationRequest {
    /// What the client calls itself: a claim, or what [`client_name`](super::RegistrationHandlerBuilder::client_name) made
    /// of it.
    pub client_name: Option<String>,
    /// Where answers may go.
    pub redirect_uris: Vec<String>,
    /// The grants it may use.
    pub grant_types: Vec<String>,
    /// The response types it may use.
    pub response_types: Vec<String>,
    /// How it authenticates at the token endpoint.
    pub token_endpoint_auth_method: String,
    /// The scope it may ask for, tokens with blanks between.
    pub scope: String,
    /// Further metadata. By [`RegistrationRules::Standard`](super::RegistrationRules) only members that RFC 7591 names,
    /// checked; otherwise every other member, as it came: the client's own words.
    pub extra: Map<String, Value>,
}

impl ClientRegistrationRequest {
    /// Whether the client keeps no secret and has no key: its method is `none`.
    pub fn is_public_client(&self) -> bool {
        self.token_endpoint_auth_method == "none"
    }
}

/// A client as a registry keeps it: everything but its secret.
#[derive(Clone, Debug, PartialEq)]
pub struct RegisteredClient {
    /// Its identifier.
    pub client_id: String,
    /// When the registration was made.
    pub client_id_issued_at: Timestamp,
    /// When its secret ends; absent when never.
    pub client_secret_expires_at: Option<Timestamp>,
    /// What was registered.
    pub metadata: ClientRegistrationRequest,
}

/// A client at the moment of its registration: with the secret, which is shown this once.
#[derive(Clone)]
pub struct IssuedClient {
    /// The client.
    pub client: RegisteredClient,
    /// Its secret; absent for a public client, and for one that signs with a key of its own.
    pub client_secret: Option<ClientSecret>,
}

impl fmt::Debug for IssuedClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedClient")
            .field("client", &self.client)
            .field("client_secret", &self.client_secret.as_ref().map(|_| "…"))
            .finish()
    }
}

/// Members of an answer that are the server's to say, whatever a client sent under their names.
const OWN_MEMBERS: &[&str] = &[
    "client_id",
    "client_secret",
    "client_id_issued_at",
    "client_secret_expires_at",
    "registration_access_token",
    "registration_client_uri",
    "redirect_uris",
    "response_types",
    "grant_types",
    "token_endpoint_auth_method",
    "client_name",
    "scope",
];

impl IssuedClient {
    /// The answer's body (RFC 7591 §3.2.1), its members in a fixed order.
    pub(super) fn body(&self, with_extra: bool) -> String {
        let (client, metadata) = (&self.client, &self.client.metadata);
        let mut members = vec![
            ("client_id", json!(client.client_id)),
            ("client_id_issued_at", json!(client.client_id_issued_at)),
            ("redirect_uris", json!(metadata.redirect_uris)),
            ("response_types", json!(metadata.response_types)),
            ("grant_types", json!(metadata.grant_types)),
            (
                "token_endpoint_auth_method",
                json!(metadata.token_endpoint_auth_method),
            ),
        ];
        if let Some(name) = &metadata.client_name {
            members.push(("client_name", json!(name)));
        }
        members.push(("scope", json!(metadata.scope)));
        if let Some(secret) = &self.client_secret {
            members.push(("client_secret", json!(secret.expose())));
            let end = client.client_secret_expires_at.map_or(0, Timestamp::seconds);
            members.push(("client_secret_expires_at", json!(end)));
        }
        if with_extra {
            let extra = metadata
                .extra
                .iter()
                .map(|(name, value)| (name.as_str(), value.clone()));
            members.extend(extra.filter(|(name, _)| !OWN_MEMBERS.contains(name)));
        }
        let members: Vec<String> = members
            .into_iter()
            .map(|(name, value)| format!("{}:{value}", Value::from(name)))
            .collect();
        format!("{{{}}}", members.join(","))
    }
}
