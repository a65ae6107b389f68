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
    /// The narrower scopes of the same resource that it includes: who is granted this one is granted those, and they are
    /// spelled out wherever it is. What they include is included too.
    #[serde(default, skip_serializing_if = "Scope::is_empty")]
    pub includes: Scope,
}

/// Why the scopes of a resource cannot include one another as they say.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidInclusion {
    /// A scope includes one that the resource does not have.
    #[error("the scope {0} includes {1}, which is no scope of this resource")]
    Unknown(ScopeToken, ScopeToken),
    /// A scope includes itself, so that all scopes on the way are worth the same.
    #[error("the scope {0} includes itself: leave out one of the steps that lead back to it")]
    Cycle(ScopeToken),
}

impl ScopeDescription {
    /// A scope with what it allows; of its tools nothing is known, and it includes no other.
    ///
    /// ```
    /// use mcp_authflow::record::ScopeDescription;
    /// use mcp_authflow_types::ScopeToken;
    ///
    /// let mut scope = ScopeDescription::new(ScopeToken::parse("notes:read")?, "Read your notes");
    /// scope.tools = vec!["list_notes".to_owned(), "read_note".to_owned()];
    /// # Ok::<(), mcp_authflow_types::scope::InvalidScope>(())
    /// ```
    pub fn new(token: ScopeToken, description: impl Into<String>) -> Self {
        Self {
            token,
            description: description.into(),
            tools: Vec::new(),
            includes: Scope::empty(),
        }
    }
}

impl ResourceRecord {
    /// Checks that scopes include scopes of the same resource, and never themselves. To be asked before a resource is
    /// registered.
    ///
    /// # Errors
    /// [`InvalidInclusion`]
    pub fn check_inclusions(scopes: &[ScopeDescription]) -> Result<(), InvalidInclusion> {
        for scope in scopes {
            let is_known = |token: &ScopeToken| scopes.iter().any(|one| one.token == *token);
            if let Some(unknown) = scope.includes.iter().find(|token| !is_known(token)) {
                return Err(InvalidInclusion::Unknown(scope.token.clone(), unknown.clone()));
            }
            if included(scopes, &scope.includes).contains(scope.token.as_str()) {
                return Err(InvalidInclusion::Cycle(scope.token.clone()));
            }
        }
        Ok(())
    }

    /// The scope with everything that it includes at this resource.
    ///
    /// ```
    /// # use mcp_authflow::record::{AccessTokenFormat, ResourceRecord, ScopeDescription};
    /// # use mcp_authflow_types::{Resource, Scope, ScopeToken, Timestamp};
    /// let mut write = ScopeDescription::new(ScopeToken::parse("write")?, "Change your notes");
    /// write.includes = Scope::parse("read")?;
    /// let notes = ResourceRecord {
    ///     resource: Resource::parse("https://notes.example/mcp")?,
    ///     name: "Notes".to_owned(),
    ///     scopes: vec![ScopeDescription::new(ScopeToken::parse("read")?, "Read your notes"), write],
    ///     access_token_format: AccessTokenFormat::Opaque,
    ///     created_at: Timestamp::from_seconds(0),
    /// };
    /// assert_eq!(notes.expand(&Scope::parse("write")?).to_string(), "read write");
    /// assert_eq!(notes.expand(&Scope::parse("read")?).to_string(), "read");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn expand(&self, scope: &Scope) -> Scope {
        if self.scopes.iter().all(|one| one.includes.is_empty()) {
            return scope.clone();
        }
        included(&self.scopes, scope)
    }

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

/// A scope with what it includes, near and far. It ends wherever the inclusions lead, since it adds no token twice.
fn included(scopes: &[ScopeDescription], scope: &Scope) -> Scope {
    let mut all = scope.clone();
    loop {
        let wider = scopes
            .iter()
            .filter(|one| all.contains(one.token.as_str()))
            .fold(all.clone(), |wider, one| wider.union(&one.includes));
        if wider == all {
            return all;
        }
        all = wider;
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn scopes(inclusions: &[(&str, &str)]) -> Vec<ScopeDescription> {
        let read = |(token, includes): &(&str, &str)| ScopeDescription {
            includes: Scope::parse(includes).unwrap(),
            ..ScopeDescription::new(ScopeToken::parse(token).unwrap(), "May do it")
        };
        inclusions.iter().map(read).collect()
    }

    /// M-027
    #[test]
    fn inclusions_are_followed_to_their_ends() {
        let scopes = scopes(&[
            ("admin", "write audit"),
            ("write", "read"),
            ("audit", "read"),
            ("read", ""),
        ]);
        assert_eq!(ResourceRecord::check_inclusions(&scopes), Ok(()));
        let expand = |text: &str| included(&scopes, &Scope::parse(text).unwrap()).to_string();
        assert_eq!(expand("admin"), "admin audit read write");
        assert_eq!(expand("write"), "read write");
        assert_eq!(expand("read other"), "other read");
        assert_eq!(expand(""), "");
    }

    #[test]
    fn circles_and_scopes_that_are_not_there_are_refused() {
        let check = |inclusions: &[(&str, &str)]| ResourceRecord::check_inclusions(&scopes(inclusions));
        for circle in [
            &[("a", "a")][..],
            &[("a", "b"), ("b", "a")],
            &[("x", "a"), ("a", "b"), ("b", "c"), ("c", "a")],
        ] {
            assert!(
                matches!(check(circle), Err(InvalidInclusion::Cycle(_))),
                "{circle:?}"
            );
        }
        let unknown = check(&[("a", "b")]).unwrap_err();
        assert_eq!(
            unknown.to_string(),
            "the scope a includes b, which is no scope of this resource"
        );
    }

    #[test]
    fn a_list_that_was_kept_before_is_read_and_an_empty_one_is_not_written() {
        let old = r#"[{"token":"a","description":"May do it"}]"#;
        let read: Vec<ScopeDescription> = serde_json::from_str(old).unwrap();
        assert_eq!(read, scopes(&[("a", "")]));
        assert_eq!(serde_json::to_string(&read).unwrap(), old);
        let text = serde_json::to_string(&scopes(&[("a", "b c")])).unwrap();
        assert_eq!(
            text,
            r#"[{"token":"a","description":"May do it","includes":"b c"}]"#
        );
    }
}
