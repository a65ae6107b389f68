//! Verifies a token by asking the authorization server about it (RFC 7662).
//!
//! One POST a token, over kept-alive connections, with a limit on time and size; see [`Outbound`]. Nothing is cached: a
//! revoked token is refused from the next request on. [`Cached`](super::Cached) trades that for fewer questions. No
//! redirect is followed, no proxy is read from the environment, and no address is ever taken from a token.
//!
//! | file | what |
//! |---|---|
//! | `client_authentication` | how the resource proves who it is |
//! | `answer` | what the authorization server says |

mod answer;
mod client_authentication;

use std::fmt;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use mcp_authflow_types::Timestamp;

use self::client_authentication::Credentials;
pub use self::client_authentication::{ClientAuthentication, Credential, InvalidClientAuthentication};
use super::{CannotCheck, TokenVerifier, VerifiedToken, VerifyError};
use crate::{
    clock::Clock,
    outbound::{Endpoint, InvalidEndpoint, Outbound, OutboundSettings},
};

/// The longest token asked about, in bytes. Signed tokens with many claims reach a few thousand, and servers cut headers
/// off at 8 to 32 KiB anyway.
const MAX_TOKEN_BYTES: usize = 16 * 1_024;

/// Asks one introspection endpoint.
///
/// ```
/// use mcp_authflow_resource::verify::{ClientAuthentication, Introspection};
///
/// let verifier = Introspection::new(
///     "https://auth.example/introspect",
///     ClientAuthentication::client_secret_basic("hello-mcp", "the secret that `authflow resource add` printed"),
/// )?;
/// # Ok::<(), mcp_authflow_resource::verify::introspection::InvalidIntrospection>(())
/// ```
///
/// # Security
/// See [`Outbound`]: https is always verified, and plain http is for loopback only, because the resource's credentials
/// and the tokens travel in it.
pub struct Introspection {
    endpoint: Endpoint,
    credentials: Credentials,
    outbound: Outbound,
    clock: Clock,
}

/// Why introspection cannot be set up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidIntrospection {
    /// The endpoint is none that may be asked.
    #[error("the introspection endpoint: {0}")]
    Endpoint(#[from] InvalidEndpoint),
    /// The resource could not prove who it is.
    #[error(transparent)]
    ClientAuthentication(#[from] InvalidClientAuthentication),
    /// The client id is empty, too long or not printable.
    #[error("the introspection client id is 1 to 2048 printable ASCII characters")]
    ClientId,
    /// The client secret is empty, too long or not printable.
    #[error("the introspection client secret is 1 to 512 printable ASCII characters")]
    ClientSecret,
}

impl Introspection {
    /// Prepares to ask `endpoint`. Nothing is dialled yet.
    ///
    /// # Errors
    /// [`InvalidIntrospection`]
    pub fn new(endpoint: &str, authentication: ClientAuthentication) -> Result<Self, InvalidIntrospection> {
        Self::through(
            Outbound::new(OutboundSettings::default()),
            endpoint,
            authentication,
        )
    }

    /// The same through a client with settings of its own.
    ///
    /// # Errors
    /// [`InvalidIntrospection`]
    pub fn through(
        outbound: Outbound,
        endpoint: &str,
        authentication: ClientAuthentication,
    ) -> Result<Self, InvalidIntrospection> {
        Ok(Self {
            endpoint: outbound.endpoint(endpoint)?,
            credentials: Credentials::prepare(authentication)?,
            outbound,
            clock: Clock::system(),
        })
    }

    /// How long one question may take in all. Default: 2 s.
    #[must_use]
    pub fn with_time_limit(mut self, limit: std::time::Duration) -> Self {
        self.outbound = self.outbound.with_time_limit(limit);
        self
    }

    /// Tells the time, which goes into `private_key_jwt`. Default: the system's clock. For tests.
    #[must_use]
    pub fn with_clock(self, now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        self.at(Clock::new(now))
    }

    pub(crate) fn at(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// RFC 7662 §2.1
    fn request(&self, token: &str) -> Result<Request<Full<Bytes>>, CannotCheck> {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("token", token);
        let authorization = self
            .credentials
            .present(&mut form, self.clock.now())
            .map_err(|error| {
                tracing::error!(%error, "the resource cannot prove who it is to the introspection endpoint");
                CannotCheck::Misconfigured
            })?;
        let mut request = Request::new(Full::from(form.finish()));
        *request.method_mut() = Method::POST;
        request.uri_mut().clone_from(self.endpoint.uri());
        let headers = request.headers_mut();
        headers.extend(authorization.map(|value| (header::AUTHORIZATION, value)));
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        Ok(request)
    }

    /// What follows from an answer (RFC 7662 §2.2, §2.3).
    fn judge(&self, answer: &Response<Bytes>) -> Result<VerifiedToken, VerifyError> {
        let endpoint = self.endpoint.uri();
        let status = answer.status();
        if status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN {
            tracing::error!(
                %endpoint, %status,
                "introspection refused: check the credentials with which this resource asks"
            );
            return Err(CannotCheck::Misconfigured.into());
        }
        if status != StatusCode::OK {
            let hint = if status.is_redirection() {
                ": redirects are not followed"
            } else {
                ""
            };
            tracing::warn!(%endpoint, %status, "introspection refused{hint}");
            return Err(CannotCheck::Refused.into());
        }
        if !answer::is_json(answer.headers()) {
            tracing::warn!(%endpoint, "introspection answer is not application/json");
            return Err(CannotCheck::BadAnswer.into());
        }
        answer::read(answer.body()).inspect_err(|error| {
            if let VerifyError::CannotCheck(_) = error {
                tracing::warn!(%endpoint, "introspection answer is none that RFC 7662 knows");
            }
        })
    }
}

#[async_trait::async_trait]
impl TokenVerifier for Introspection {
    async fn verify(&self, token: &str) -> Result<VerifiedToken, VerifyError> {
        // S-225: what cannot be a token is none, and nobody needs to be asked about it.
        if !is_possible(token) {
            return Err(VerifyError::Inactive);
        }
        let answer = self.outbound.send_made(|| self.request(token)).await?;
        self.judge(&answer)
    }
}

/// RFC 6749 Appendix A.12: `access-token = 1*VSCHAR`, and a length that servers pass on.
fn is_possible(token: &str) -> bool {
    (1..=MAX_TOKEN_BYTES).contains(&token.len()) && token.bytes().all(|b| matches!(b, b' '..=b'~'))
}

impl fmt::Debug for Introspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Introspection")
            .field("endpoint", self.endpoint.uri())
            .field("credentials", &self.credentials)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    /// S-225: the endpoint would refuse a connection, so an answer shows that nobody was asked.
    #[tokio::test]
    async fn what_cannot_be_a_token_is_refused_without_a_question() {
        let verifier =
            Introspection::new("http://127.0.0.1:1/introspect", ClientAuthentication::None).unwrap();
        let long = "a".repeat(MAX_TOKEN_BYTES + 1);
        for none in ["", "a\r\nb", "a\0", "é", "a\u{7f}", &long] {
            assert_eq!(
                verifier.verify(none).await,
                Err(VerifyError::Inactive),
                "{none:?}"
            );
        }
        for one in ["a", "a b", &long[1..]] {
            let outcome = verifier.verify(one).await;
            assert_eq!(outcome, Err(CannotCheck::Refused.into()), "{one:?}");
        }
    }

    /// S-222, S-224: found while the program starts.
    #[test]
    fn an_endpoint_that_may_not_be_asked_is_no_verifier() {
        for bad in ["http://auth.test/introspect", "", "https://10.0.0.1/introspect"] {
            let refused = Introspection::new(bad, ClientAuthentication::None).unwrap_err();
            assert_eq!(refused, InvalidEndpoint::Address(bad.to_owned()).into());
        }
    }
}
