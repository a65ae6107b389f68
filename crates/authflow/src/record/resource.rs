//! A protected resource: an MCP server whose tokens we issue, with its scopes in plain words.

use mcp_authflow_types::{Resource, Scope, ScopeToken, Timestamp};

use super::SigningAlgorithm;

/// A registered resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceRecord {
    /// Its identifier, in the spelling that becomes `aud`.
    pub resource: Resource,
    /// What people call it.
    pub name: String,
    /// What can be allowed there, in the order in which it is shown.
    pub scopes: Vec<ScopeDescription>,
    /// How access tokens for it are made.
    pub access_token_format: AccessTokenFormat,
    /// When it was registered.
    pub created_at: Timestamp,
}

/// How access tokens for a resource are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccessTokenFormat {
    /// Random text that only this server can tell about: whoever gets one asks, and a revocation counts at once.
    #[default]
    Opaque,
    /// A JWT (RFC 9068) that says by itself what it is good for, until it expires; signed by this algorithm.
    Jwt(SigningAlgorithm),
}

impl AccessTokenFormat {
    /// The algorithm of a JWT.
    pub const fn algorithm(self) -> Option<SigningAlgorithm> {
        match self {
            Self::Opaque => None,
            Self::Jwt(algorithm) => Some(algorithm),
        }
    }

    /// The name in configurations: `opaque` or `jwt`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Opaque => "opaque",
            Self::Jwt(_) => "jwt",
        }
    }

    /// A JWT by this algorithm; opaque without one. What a store keeps.
    pub fn by(algorithm: Option<SigningAlgorithm>) -> Self {
        algorithm.map_or(Self::Opaque, Self::Jwt)
    }
}

/// A scope in plain words. A store keeps the list of them as one JSON document.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ScopeDescription {
    /// The token.
    #[serde(with = "token_as_text")]
    pub token: ScopeToken,
    /// What it allows, said to the person who is asked for it.
    pub description: String,
    /// The tools that it opens at the resource, by name, as far as they are known. Shown to the person, and nothing else:
    /// it is the resource that holds callers to them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<String>,
}

impl ScopeDescription {
    /// A scope with what it allows; of its tools nothing is known.
    ///
    /// ```
    /// use mcp_authflow::record::ScopeDescription;
    /// use mcp_authflow_types::ScopeToken;
    ///
    /// let mut scope = ScopeDescription::new(ScopeToken::parse("notes:read")?, "Read your notes");
    /// scope.tools = vec!["list_notes".to_owned(), "read_note".to_owned()];
    /// # Ok::<(), mcp_authflow_types::InvalidScope>(())
    /// ```
    pub fn new(token: ScopeToken, description: impl Into<String>) -> Self {
        Self {
            token,
            description: description.into(),
            tools: Vec::new(),
        }
    }
}

impl ResourceRecord {
    /// Everything that can be allowed there.
    pub fn scope(&self) -> Scope {
        self.scopes.iter().map(|scope| scope.token.clone()).collect()
    }

    /// What a scope token means there.
    pub fn describe(&self, token: &str) -> Option<&str> {
        self.description_of(token).map(|scope| scope.description.as_str())
    }

    /// All that is known of a scope token there.
    pub fn description_of(&self, token: &str) -> Option<&ScopeDescription> {
        self.scopes.iter().find(|scope| scope.token.as_str() == token)
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
