//! An interaction: an authorization request, found good, that waits for a person in one browser.

use std::net::IpAddr;

use mcp_authflow_types::{ClientId, Prompt, Timestamp, TokenHash};

use super::{GrantedResource, identifier::random_identifier};

random_identifier! {
    /// An interaction's identifier: 128 random bits, in the address of its pages. It opens nothing by itself: the browser
    /// that started the interaction must come with it.
    InteractionId
}

/// A request that waits for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interaction {
    /// Its identifier.
    pub id: InteractionId,
    /// The digest of the cookie of the browser that started it.
    pub browser: TokenHash,
    /// Who asks.
    pub client_id: ClientId,
    /// The client's generation when it asked.
    pub client_generation: u32,
    /// What it asks for.
    pub request: PendingRequest,
    /// When it asked.
    pub created_at: Timestamp,
    /// From when on it is no good.
    pub expires_at: Timestamp,
}

/// What a client asks for, resolved and narrowed: the person sees this, and nothing sent later changes it. A store
/// keeps it as one JSON document.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PendingRequest {
    /// The redirect URI as sent; absent when the client left it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect_uri: Option<String>,
    /// Where the answer goes of a client that left it out: its only redirect URI when the request came in. What a person saw
    /// is not another one by the time of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only_redirect_uri: Option<String>,
    /// The client's `state`, returned untouched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// SHA-256 of the code verifier, base64url as it came; absent for a device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_challenge: Option<String>,
    /// The device that waits for the answer, where it is one (RFC 8628).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceOrigin>,
    /// Each resource with the scope that can be granted there.
    pub resources: Vec<GrantedResource>,
    /// Whether the client would stay connected while the person is away: whether it may use refresh tokens at all.
    pub offline_access: bool,
    /// How the person is to be prompted.
    #[serde(default)]
    pub prompt: Vec<Prompt>,
    /// How many seconds ago the person may have signed in (OpenID Connect Core §3.1.2.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<u32>,
    /// Whom the client expects to sign in: fills the form, proves nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login_hint: Option<String>,
}

/// The device for which a person decides, and what can be told of it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DeviceOrigin {
    /// The device code's digest.
    #[serde(with = "digest_as_text")]
    pub hash: TokenHash,
    /// Where the device asked from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// When it asked.
    pub asked_at: Timestamp,
}

impl PendingRequest {
    /// Whether the client asked for this prompt.
    pub fn prompts(&self, prompt: Prompt) -> bool {
        self.prompt.contains(&prompt)
    }
}

mod digest_as_text {
    use mcp_authflow_types::{TokenHash, hex};

    pub(super) fn serialize<S: serde::Serializer>(
        hash: &TokenHash,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(hash.as_bytes()))
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<TokenHash, D::Error> {
        let text = <String as serde::Deserialize>::deserialize(deserializer)?;
        hex::decode(&text)
            .map(TokenHash::from_bytes)
            .ok_or_else(|| serde::de::Error::custom("not a digest"))
    }
}
