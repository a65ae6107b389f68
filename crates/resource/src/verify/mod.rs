//! The port through which the layer asks whether a token is good.
//!
//! [`introspection`] asks the authorization server that issued it; [`jwt`] checks its signature; [`cache`] remembers for a
//! short time what either said, and `issuers` hands a token to the verifier of the issuer that it names. To verify in
//! another way, implement [`TokenVerifier`] and hand it to [`Builder::verify_with`](crate::Builder::verify_with).

use std::{sync::Arc, time::Duration};

use mcp_authflow_types::{ClientId, Scope, Timestamp};
use serde_json::{Map, Value};

pub mod cache;
pub mod introspection;
pub(crate) mod issuers;
pub mod jwt;

pub use cache::{Cached, Caching};
pub use introspection::{ClientAuthentication, Introspection};
pub use jwt::{InvalidJwtVerification, JwtVerifier, JwtVerifierBuilder, KeyTimes};

/// Says whether an access token is genuine and alive, and what its issuer says of it.
///
/// It does *not* say whether the token is good here: audience, issuer, expiry and scope are judged by the layer, on the
/// facts in [`VerifiedToken`].
///
/// # Security
/// A wrong `Ok` lets a stranger in. A wrong [`VerifyError::Inactive`] makes a client throw away a good token and sign
/// its person in again. Where the truth is unknown, the one right answer is [`VerifyError::CannotCheck`].
#[async_trait::async_trait]
pub trait TokenVerifier: Send + Sync {
    /// Checks the token; must answer within a bounded time, because a request waits for it.
    ///
    /// # Errors
    /// [`VerifyError`]
    async fn verify(&self, token: &str) -> Result<VerifiedToken, VerifyError>;
}

#[async_trait::async_trait]
impl<V: TokenVerifier + ?Sized> TokenVerifier for Arc<V> {
    async fn verify(&self, token: &str) -> Result<VerifiedToken, VerifyError> {
        (**self).verify(token).await
    }
}

/// What the issuer says of a live access token.
///
/// The default says nothing at all, and so is good nowhere: it names no audience.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifiedToken {
    /// On whose behalf the token was issued (`sub`).
    pub subject: Option<String>,
    /// To which client (`client_id`).
    pub client_id: Option<ClientId>,
    /// The person's name for showing (`username`). Not an identifier: it may change hands.
    pub username: Option<String>,
    /// What the token allows (`scope`); empty when absent.
    pub scope: Scope,
    /// For whom the token is meant, as spelled (`aud`); empty when absent.
    pub audience: Vec<String>,
    /// The one of them that is this resource (S-235). A verifier leaves it empty; the layer fills it in when it lets the
    /// token in.
    pub resource: Option<String>,
    /// Who issued it, as spelled (`iss`).
    pub issuer: Option<String>,
    /// How it is to be presented, as spelled (`token_type`).
    pub token_type: Option<String>,
    /// From when on it is no good (`exp`).
    pub expires_at: Option<Timestamp>,
    /// Until when it is not good yet (`nbf`).
    pub not_before: Option<Timestamp>,
    /// Since when it exists (`iat`).
    pub issued_at: Option<Timestamp>,
    /// Whether it is bound to a key of the sender's (`cnf`: RFC 9449, RFC 8705), and thus is no bearer token.
    pub is_sender_constrained: bool,
    /// Its identifier, unique with its issuer (`jti`).
    pub token_id: Option<String>,
    /// Everything that was said, the members above included, as it was spelled: for what an issuer says beyond the RFCs.
    /// Shared, so that a copy costs nothing.
    pub claims: Arc<Map<String, Value>>,
}

/// How far the issuer's clock may be off ours, and so for how long a token is let in beyond its `exp`: half a minute, the
/// same as for any claim signed elsewhere (P6).
pub const CLOCK_SKEW: Duration = Duration::from_secs(30);

impl VerifiedToken {
    /// Whether its `exp` has come, more than half a minute ago (RFC 7519 §4.1.4, S-238). The layer checks it.
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expires_at
            .is_some_and(|end| (end + CLOCK_SKEW).has_passed(now))
    }

    /// Whether its `nbf` is to come, in more than half a minute (RFC 7519 §4.1.5, S-238). The layer checks it.
    pub fn is_not_yet_valid(&self, now: Timestamp) -> bool {
        self.not_before
            .is_some_and(|start| !(start - CLOCK_SKEW).has_passed(now))
    }

    /// The scope as it was spelled, in its order and with its repetitions, from a text or a list (S-237): for showing, and
    /// for who moves over from the Python package. What the token allows is [`scope`](Self::scope), which holds only what
    /// RFC 6749 §3.3 calls a scope token.
    pub fn scope_as_said(&self) -> Vec<&str> {
        scope_as_said(&self.claims)
    }
}

/// A text is split where there is white space; the texts of a list are taken as they are; anything else is none.
pub(crate) fn scope_as_said(claims: &Map<String, Value>) -> Vec<&str> {
    match claims.get("scope") {
        Some(Value::String(text)) => text
            // The separators U+001C to U+001F count as white space in Python, and are no part of a scope token.
            .split(|c: char| c.is_whitespace() || matches!(c, '\x1c'..='\x1f'))
            .filter(|token| !token.is_empty())
            .collect(),
        Some(Value::Array(members)) => members.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// Why a token was not verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// Unknown, malformed, expired or revoked, by the word of somebody who knows.
    #[error("the token is unknown, expired or revoked")]
    Inactive,
    /// Nobody can say at the moment.
    #[error("the token cannot be checked: {0}")]
    CannotCheck(#[from] CannotCheck),
}

/// Why a token could not be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotCheck {
    /// The authorization server cannot be reached, in time or at all, or answers with an error, or has no keys. Answered
    /// with 503.
    #[error("the authorization server cannot be reached or answers with an error")]
    Refused,
    /// It took the question and did not answer in time. Answered with 504.
    #[error("the authorization server did not answer in time")]
    TimedOut,
    /// It answered something that makes no sense. Answered with 503.
    #[error("the authorization server's answer makes no sense")]
    BadAnswer,
    /// It does not take our credentials: a mistake in the settings, which asking again does not mend. Answered with 503.
    #[error("the authorization server does not accept the credentials of this resource")]
    Misconfigured,
}
