//! What can be plugged into the handler. What may have to wait is a trait; what only computes is a closure.

use std::{fmt, net::IpAddr, sync::Arc};

use mcp_authflow_types::TokenHash;

use super::{ClientRegistrationRequest, RegisteredClient};
use crate::{
    SlidingWindowRateLimiter,
    port::{
        RateLimit,
        rate_limit::{Admission, Limit},
    },
};

/// A registration request before its body is read. `Debug` shows no header.
#[derive(Clone, Copy)]
pub struct RequestHead<'a> {
    /// The headers in order: name and value.
    pub headers: &'a [(&'a str, &'a str)],
    /// The other end of the connection, as far as it is known.
    pub peer: Option<IpAddr>,
}

impl<'a> RequestHead<'a> {
    /// The values of a header, in order; its name without case.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |(one, _)| one.eq_ignore_ascii_case(name))
            .map(|(_, value)| *value)
    }

    /// The value of a header that comes exactly once.
    pub fn only(&self, name: &str) -> Option<&'a str> {
        let mut values = self.values(name);
        values.next().filter(|_| values.next().is_none())
    }
}

impl fmt::Debug for RequestHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHead")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

/// Why a hook did not do what it was asked; for the log.
pub type HookError = Box<dyn std::error::Error + Send + Sync>;

/// Decides who may register at all, before anything else of the request is looked at. One that lets in whom it should
/// not opens the registry to everybody.
#[async_trait::async_trait]
pub trait RegistrationGate: Send + Sync {
    /// Whether the request may go on.
    async fn admits(&self, head: &RequestHead<'_>) -> bool;
}

/// Counts registrations. One that forgets lets the registry be flooded.
#[async_trait::async_trait]
pub trait RegistrationLimiter: Send + Sync {
    /// Counts a registration against `key` and says whether it is admitted.
    async fn admit(&self, key: &str) -> Admission;
}

/// Any rate limiter, with a limit of your own.
#[async_trait::async_trait]
impl<R: RateLimit + ?Sized> RegistrationLimiter for (Arc<R>, Limit) {
    async fn admit(&self, key: &str) -> Admission {
        self.0.admit(self.1, key).await
    }
}

#[async_trait::async_trait]
impl RegistrationLimiter for SlidingWindowRateLimiter {
    async fn admit(&self, key: &str) -> Admission {
        self.admit(key).await
    }
}

/// Is told of each new client. What fails is logged and changes nothing: the client is registered.
#[async_trait::async_trait]
pub trait AfterRegistration: Send + Sync {
    /// A client was registered. It comes without its secret.
    async fn registered(&self, client: &RegisteredClient) -> Result<(), HookError>;
}

/// Says which address a request counts against; `None` for an unknown one.
pub type ClientAddressResolver = Arc<dyn Fn(&RequestHead<'_>) -> Option<String> + Send + Sync>;

/// Makes other redirect URIs of those that a client asks for.
pub type RedirectUriRewriter = Arc<dyn Fn(Vec<String>) -> Vec<String> + Send + Sync>;

/// Says whether a redirect URI may be registered.
pub type RedirectUriValidator = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// Says what a client is called; `None` for a client without a name.
pub type ClientNameFactory = Arc<dyn Fn(&ClientRegistrationRequest) -> Option<String> + Send + Sync>;

/// Initial access tokens (RFC 7591 §3): whoever holds one may register. Kept as digests, compared in constant time.
///
/// ```
/// use mcp_authflow::registration::InitialAccessTokens;
///
/// let tokens = InitialAccessTokens::new(["one that you gave to a partner, at random"]);
/// assert!(tokens.admit(Some("Bearer one that you gave to a partner, at random")));
/// assert!(!tokens.admit(Some("Bearer a guess")));
/// assert!(!tokens.admit(None));
/// ```
///
/// # Security
/// A plain digest is enough only for tokens that nobody can guess: at least 128 random bits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InitialAccessTokens(Vec<TokenHash>);

impl InitialAccessTokens {
    /// Takes the tokens.
    pub fn new<'a>(tokens: impl IntoIterator<Item = &'a str>) -> Self {
        Self(tokens.into_iter().map(TokenHash::of).collect())
    }

    /// Whether there is none, so that nobody is let in by one.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an `Authorization` header carries one of the tokens.
    pub fn admit(&self, authorization: Option<&str>) -> bool {
        let Some((scheme, token)) = authorization.and_then(|header| header.split_once(' ')) else {
            return false;
        };
        if !scheme.eq_ignore_ascii_case("bearer") {
            return false;
        }
        let presented = TokenHash::of(token);
        // Every one is looked at, so that the time says nothing of which it was.
        self.0.iter().filter(|token| **token == presented).count() > 0
    }
}

#[async_trait::async_trait]
impl RegistrationGate for InitialAccessTokens {
    async fn admits(&self, head: &RequestHead<'_>) -> bool {
        self.admit(head.only("authorization"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6750 §2.1
    #[test]
    fn a_token_counts_whole_and_in_one_header() {
        let tokens = InitialAccessTokens::new(["t0ken", "an0ther"]);
        for good in ["Bearer t0ken", "bearer an0ther"] {
            assert!(tokens.admit(Some(good)), "{good}");
        }
        for bad in [
            "Bearer",
            "Bearer ",
            "Bearer  t0ken",
            "Bearer t0ken ",
            "Bearer t0ke",
            "Basic t0ken",
            "t0ken",
            "",
        ] {
            assert!(!tokens.admit(Some(bad)), "{bad:?}");
        }
        let twice = [
            ("Authorization", "Bearer t0ken"),
            ("authorization", "Bearer t0ken"),
        ];
        let head = RequestHead {
            headers: &twice,
            peer: None,
        };
        assert_eq!(
            (head.only("authorization"), head.values("AUTHORIZATION").count()),
            (None, 2)
        );
        assert!(!format!("{head:?}").contains("t0ken"));
    }
}
