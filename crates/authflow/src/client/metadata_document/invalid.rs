//! Why a document is not a client.

use mcp_authflow_types::redirect_uri::InvalidRedirectUri;

use crate::registration::InvalidKeys;

/// Which rule a document breaks. The names in the texts are ours, never the author's, so they may be shown and logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidDocument {
    /// The identifier names no document: not https, no path, dot segments, a fragment, user information (draft §3).
    #[error("the client id is not an https URL with a path that can name a document")]
    BadClientId,
    /// Not one JSON object in UTF-8, or one with repeated names or more than 32 levels (RFC 8259 §4).
    #[error("the document is not one JSON object in UTF-8 without repeated names")]
    NotAnObject,
    /// `client_id` differs from the URL by at least one byte (draft §4.1: "MUST match … using simple string comparison").
    #[error("client_id is not the URL of the document, byte for byte")]
    AnotherClientId,
    /// A member that MCP asks for is not there, or empty.
    #[error("{0} is missing or empty")]
    Missing(&'static str),
    /// A member has the wrong JSON type.
    #[error("{0} has the wrong type")]
    WrongType(&'static str),
    /// A text has more bytes than are read.
    #[error("{0} is too long")]
    TooLong(&'static str),
    /// A text holds control characters, or some that turn the direction of what follows.
    #[error("{0} holds characters that control text instead of being text")]
    ControlCharacter(&'static str),
    /// Nothing of the name can be seen.
    #[error("client_name has no visible character")]
    InvisibleName,
    /// A secret in a public document is none (draft §4.1): a member `client_secret` or one that begins so.
    #[error("{0} must not stand in a document that everybody can read")]
    Secret(&'static str),
    /// A method of authentication that needs a shared secret (draft §4.1).
    #[error("{0} names a method that needs a shared secret, and a public document has none")]
    SharedSecretMethod(&'static str),
    /// No method is known here: neither `none` nor `private_key_jwt`.
    #[error("{0} names neither none nor private_key_jwt")]
    NoCommonMethod(&'static str),
    /// The keys are not to be used: private ones, both places named, none where one is needed.
    #[error(transparent)]
    BadKeys(#[from] InvalidKeys),
    /// The keys are at an address that nobody here would ask.
    #[error("jwks_uri does not lead to a public https address")]
    JwksUriNotPublic,
    /// More redirect URIs than are taken.
    #[error("redirect_uris has more than 20 entries")]
    TooManyRedirectUris,
    /// A redirect URI that may not be registered either.
    #[error("redirect_uris holds one that cannot be used: {0}")]
    BadRedirectUri(#[from] InvalidRedirectUri),
    /// A private-use scheme proves nothing about who answers, so it is for clients that need no key (RFC 8252 §8.4).
    #[error("redirect_uris holds a private-use scheme, which does not go with private_key_jwt alone")]
    AppOfConfidentialClient,
    /// No grant among the asked ones that a person's approval feeds.
    #[error("grant_types names neither authorization_code nor the device grant")]
    NoGrant,
    /// Another response type than `code`, with the grant that has one.
    #[error("response_types does not name code")]
    NoResponseType,
    /// `scope` is no list of tokens (RFC 6749 §3.3).
    #[error("scope is malformed")]
    MalformedScope,
}

impl InvalidDocument {
    /// The member that is at fault; `None` where it is the whole.
    pub fn member(self) -> Option<&'static str> {
        match self {
            Self::BadClientId | Self::AnotherClientId => Some("client_id"),
            Self::NotAnObject => None,
            Self::Missing(name)
            | Self::WrongType(name)
            | Self::TooLong(name)
            | Self::ControlCharacter(name)
            | Self::Secret(name)
            | Self::SharedSecretMethod(name)
            | Self::NoCommonMethod(name) => Some(name),
            Self::InvisibleName => Some("client_name"),
            Self::BadKeys(InvalidKeys::BadUri) | Self::JwksUriNotPublic => Some("jwks_uri"),
            Self::BadKeys(_) => Some("jwks"),
            Self::TooManyRedirectUris | Self::BadRedirectUri(_) | Self::AppOfConfidentialClient => {
                Some("redirect_uris")
            }
            Self::NoGrant => Some("grant_types"),
            Self::NoResponseType => Some("response_types"),
            Self::MalformedScope => Some("scope"),
        }
    }
}
