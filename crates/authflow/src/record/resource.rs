//! A protected resource: an MCP server whose tokens we issue, with its scopes in plain words.

use mcp_authflow_types::{Resource, Scope, ScopeToken, Timestamp};

/// A registered resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceRecord {
    /// Its identifier, in the spelling that becomes `aud`.
    pub resource: Resource,
    /// What people call it.
    pub name: String,
    /// What can be allowed there, in the order in which it is shown.
    pub scopes: Vec<ScopeDescription>,
    /// When it was registered.
    pub created_at: Timestamp,
}

/// A scope in plain words. A store keeps the list of them as one JSON document.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ScopeDescription {
    /// The token.
    #[serde(with = "token_as_text")]
    pub token: ScopeToken,
    /// What it allows, said to the person who is asked for it.
    pub description: String,
}

impl ResourceRecord {
    /// Everything that can be allowed there.
    pub fn scope(&self) -> Scope {
        self.scopes.iter().map(|scope| scope.token.clone()).collect()
    }

    /// What a scope token means there.
    pub fn describe(&self, token: &str) -> Option<&str> {
        self.scopes
            .iter()
            .find(|scope| scope.token.as_str() == token)
            .map(|scope| scope.description.as_str())
    }
}

mod token_as_text {
    use super::ScopeToken;

    pub(super) fn serialize<S: serde::Serializer>(
        token: &ScopeToken,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(token.as_str())
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<ScopeToken, D::Error> {
        let text = <String as serde::Deserialize>::deserialize(deserializer)?;
        ScopeToken::parse(&text).map_err(serde::de::Error::custom)
    }
}
