//! Client authentication (RFC 6749 §2.3): who is asking, and is it true.
//!
//! ```text
//! Authorization header, form ──▶ Presented::read ──▶ (the store finds the client) ──▶ authenticate ──▶ AuthenticatedClient
//! ```
//!
//! To add a method: a variant of `TokenEndpointAuthMethod`, a file here that reads its credential, an arm in
//! [`authenticate`]. Metadata follow by themselves.

pub(crate) mod attempts;
mod client_secret_basic;
mod client_secret_post;
pub mod private_key_jwt;
mod registered_keys;

use std::sync::Arc;

use mcp_authflow_jose::UnverifiedJws;
use mcp_authflow_types::{
    ClientId, ClientSecret, ErrorCode, ErrorResponse, Form, Timestamp, TokenEndpointAuthMethod, TokenHash,
};

use self::private_key_jwt::{AssertionError, AssertionPolicy, AssertionReason, KeysOutOfReach};
pub use self::{private_key_jwt::JwtClientAuthenticator, registered_keys::RegisteredKeys};
use crate::{
    client::known::{Granted, KnownClients, Leniency},
    port::{Replay, StoreError},
    record::Client,
};

/// What a request presents, before anything is known of the client.
#[derive(Debug)]
pub struct Presented {
    /// Who it says it is.
    pub client_id: ClientId,
    /// What it shows for it.
    pub credential: Credential,
    /// Whether it came by HTTP Basic, and is owed a challenge (RFC 6749 §5.2).
    pub by_basic: bool,
}

/// What a client shows for being who it says it is.
#[derive(Debug)]
pub enum Credential {
    /// Nothing; right for a public client.
    None,
    /// A secret in the `Authorization` header, in each way in which it may be meant: form-decoded, as RFC 6749 §2.3.1
    /// asks, and as it stands, as many clients send it.
    Basic(Vec<ClientSecret>),
    /// A secret in the body.
    Post(ClientSecret),
    /// A signed assertion in the body, read and not proven.
    Assertion(Box<UnverifiedJws>),
}

/// A client that proved who it is, as far as its registration asks. Only [`authenticate`] makes one.
#[derive(Clone, Debug)]
pub struct AuthenticatedClient {
    client: Arc<Client>,
    /// What was let pass for it, being known.
    pub(crate) granted: Option<Granted>,
    has_shown_something: bool,
}

impl AuthenticatedClient {
    /// Whether it proved who it is, by a secret or a key: a public client did not, nor did one that may leave its assertion
    /// out and does. Whatever is given to a client for its own sake needs it.
    pub const fn has_proven_itself(&self) -> bool {
        self.has_shown_something
    }
}

impl std::ops::Deref for AuthenticatedClient {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

/// Why a client is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientAuthReason {
    /// No identifier anywhere.
    #[error("no client_id")]
    NoClientId,
    /// The header is not readable as HTTP Basic.
    #[error("the Authorization header is malformed")]
    MalformedHeader,
    /// The identifier or the secret is malformed.
    #[error("a credential is malformed")]
    MalformedCredential,
    /// Two methods in one request (RFC 6749 §2.3).
    #[error("two client authentication methods")]
    TwoMethods,
    /// Header and body name different clients.
    #[error("header and body name different clients")]
    TwoClients,
    /// There is no such client.
    #[error("unknown client")]
    Unknown,
    /// Its registration has expired.
    #[error("expired client")]
    Expired,
    /// A confidential client shows nothing.
    #[error("no credential")]
    NoCredential,
    /// A public client shows a secret.
    #[error("a secret from a public client")]
    UnexpectedCredential,
    /// The method is not the registered one.
    #[error("another method than registered")]
    WrongMethod,
    /// The secret is wrong.
    #[error("wrong secret")]
    WrongSecret,
    /// The assertion proves nothing.
    #[error("the assertion is refused: {0}")]
    Assertion(AssertionReason),
}

impl ClientAuthReason {
    /// What is said outside.
    pub const fn code(self) -> ErrorCode {
        match self {
            Self::NoClientId | Self::TwoMethods | Self::TwoClients => ErrorCode::InvalidRequest,
            Self::MalformedHeader
            | Self::MalformedCredential
            | Self::Unknown
            | Self::Expired
            | Self::NoCredential
            | Self::UnexpectedCredential
            | Self::WrongMethod
            | Self::WrongSecret
            | Self::Assertion(_) => ErrorCode::InvalidClient,
        }
    }

    /// What is answered.
    pub fn response(self, by_basic: bool) -> ErrorResponse {
        let mut response = ErrorResponse::new(self.code());
        response.basic_challenge = by_basic && self.code() == ErrorCode::InvalidClient;
        response.detail = match self {
            Self::NoClientId => Some("client_id is missing".to_owned()),
            Self::TwoMethods => Some("more than one client authentication method is used".to_owned()),
            Self::TwoClients => Some("the header and the body name different clients".to_owned()),
            _ => None,
        };
        response
    }
}

impl Presented {
    /// Reads what a request presents. An empty secret or assertion counts as none (RFC 6749 §2.3.1, §3.2).
    ///
    /// # Errors
    /// [`ClientAuthReason`]: the reason alone; whether Basic was tried is told by `authorization`.
    pub fn read(
        authorization: Option<&str>,
        form: &Form<'_>,
        policy: &AssertionPolicy,
    ) -> Result<Self, ClientAuthReason> {
        let in_body = client_secret_post::read(form)?;
        let assertion = form.value("client_assertion");
        let assertion_type = form.value("client_assertion_type");
        if assertion.is_some() || assertion_type.is_some() {
            let (client_id, secret) = in_body;
            if authorization.is_some() || secret.is_some() {
                return Err(ClientAuthReason::TwoMethods);
            }
            return Self::read_assertion(
                client_id,
                assertion.unwrap_or_default(),
                assertion_type.unwrap_or_default(),
                policy,
            )
            .map_err(ClientAuthReason::Assertion);
        }
        let Some(header) = authorization else {
            let (client_id, secret) = in_body;
            return Ok(Self {
                client_id: client_id.ok_or(ClientAuthReason::NoClientId)?,
                credential: secret.map_or(Credential::None, Credential::Post),
                by_basic: false,
            });
        };
        let (client_id, secrets) = client_secret_basic::read(header)?;
        match in_body {
            (_, Some(_)) => Err(ClientAuthReason::TwoMethods),
            (Some(other), None) if other != client_id => Err(ClientAuthReason::TwoClients),
            _ => Ok(Self {
                client_id,
                credential: if secrets.is_empty() {
                    Credential::None
                } else {
                    Credential::Basic(secrets)
                },
                by_basic: true,
            }),
        }
    }

    /// RFC 7521 §4.2: `client_id` is optional, "the client is identified by the subject of the assertion"; where it is
    /// there, it must be the same. Whoever the assertion is not about, or for, is refused before a store is asked.
    fn read_assertion(
        client_id: Option<ClientId>,
        assertion: &str,
        assertion_type: &str,
        policy: &AssertionPolicy,
    ) -> Result<Self, AssertionReason> {
        let assertion = private_key_jwt::read(assertion_type, assertion, policy)?;
        let claims = assertion.unverified_claims()?;
        let client_id = match client_id {
            Some(client_id) => client_id,
            None => ClientId::parse(claims.required_text("sub")?).map_err(|_| AssertionReason::Subject)?,
        };
        private_key_jwt::check_identity(claims, client_id.as_str(), policy)?;
        Ok(Self {
            client_id,
            credential: Credential::Assertion(Box::new(assertion)),
            by_basic: false,
        })
    }
}

/// What the methods need besides the client's record.
pub struct AuthenticationContext<'a> {
    /// Whether `client_secret_basic` and `client_secret_post` stand in for each other.
    pub let_basic_and_post_swap: bool,
    /// Clients that are known, and how far each is met.
    pub known_clients: &'a KnownClients,
    /// What is accepted as an assertion.
    pub assertions: &'a AssertionPolicy,
    /// The clients' keys.
    pub keys: &'a RegisteredKeys,
    /// The memory of used assertions.
    pub replay: &'a dyn Replay,
}

/// Why a client is not let in: it did not prove itself, or nobody can tell now.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NotAuthenticated {
    /// It did not prove itself.
    #[error("{0}")]
    Refused(ClientAuthReason),
    /// It cannot be checked now. Answered with 503 or 504; nothing is known against the client.
    #[error("it cannot be checked now: {0}")]
    CannotCheck(StoreError),
    /// It cannot be checked now, since its keys cannot be had. Answered like the last.
    #[error("{0}")]
    KeysOutOfReach(KeysOutOfReach),
}

impl From<ClientAuthReason> for NotAuthenticated {
    fn from(reason: ClientAuthReason) -> Self {
        Self::Refused(reason)
    }
}

impl From<AssertionError> for NotAuthenticated {
    fn from(error: AssertionError) -> Self {
        match error {
            AssertionError::Refused(reason) => Self::Refused(ClientAuthReason::Assertion(reason)),
            AssertionError::CannotCheck(error) => Self::CannotCheck(error),
            AssertionError::KeysOutOfReach(error) => Self::KeysOutOfReach(error),
        }
    }
}

/// Decides whether the client is who it says it is (RFC 6749 §2.3, §3.2.1).
///
/// # Errors
/// [`NotAuthenticated`]
pub async fn authenticate(
    presented: &Presented,
    client: Option<Arc<Client>>,
    context: &AuthenticationContext<'_>,
    now: Timestamp,
) -> Result<AuthenticatedClient, NotAuthenticated> {
    let (client, granted) = expect_method(
        presented,
        client,
        context.let_basic_and_post_swap,
        context.known_clients,
        now,
    )?;
    match &presented.credential {
        Credential::None => {}
        Credential::Basic(secrets) => check_secret(&client, secrets, now)?,
        Credential::Post(secret) => check_secret(&client, std::slice::from_ref(secret), now)?,
        Credential::Assertion(assertion) => {
            let keys = registered_keys::KeysOf {
                keys: client.profile.keys.as_ref(),
                registered: context.keys,
            };
            private_key_jwt::prove(
                assertion,
                client.id.as_str(),
                context.assertions,
                &keys,
                context.replay,
                now.into(),
            )
            .await?;
        }
    }
    let has_shown_something = !matches!(presented.credential, Credential::None);
    Ok(AuthenticatedClient {
        client,
        granted,
        has_shown_something,
    })
}

/// Whether the client is there, and shows what its registration asks for.
fn expect_method(
    presented: &Presented,
    client: Option<Arc<Client>>,
    let_basic_and_post_swap: bool,
    known_clients: &KnownClients,
    now: Timestamp,
) -> Result<(Arc<Client>, Option<Granted>), ClientAuthReason> {
    use ClientAuthReason as No;
    use TokenEndpointAuthMethod as Method;

    // 1. It is there, and still is (RFC 6749 §2.2).
    let client = client.ok_or(No::Unknown)?;
    if !client.is_current(now) {
        return Err(No::Expired);
    }

    // 2. It shows what its registration asks for; a confidential client cannot drop to public by leaving its secret out,
    //    and nothing stands in for a key.
    let registered = client.profile.token_endpoint_auth_method;
    let lets = |leniency| known_clients.lets(&client, leniency);
    let shown = match (&presented.credential, registered) {
        (Credential::None, Method::None) => return Ok((client, None)),
        // SEP-3149: its document lists `none` beside the key.
        (Credential::None, Method::PrivateKeyJwt) if client.profile.assertion_is_optional => {
            return Ok((client, None));
        }
        (Credential::None, Method::PrivateKeyJwt) => {
            let granted = lets(Leniency::AssertionLeftOut).ok_or(No::NoCredential)?;
            return Ok((client, Some(granted)));
        }
        (Credential::None, _) => return Err(No::NoCredential),
        (_, Method::None) => return Err(No::UnexpectedCredential),
        (Credential::Basic(_), _) => Method::ClientSecretBasic,
        (Credential::Post(_), _) => Method::ClientSecretPost,
        (Credential::Assertion(_), _) => Method::PrivateKeyJwt,
    };
    let is_swapped = registered.uses_secret() && shown.uses_secret();
    if shown == registered || (let_basic_and_post_swap && is_swapped) {
        return Ok((client, None));
    }
    let granted = is_swapped
        .then(|| lets(Leniency::SecretInBody))
        .flatten()
        .ok_or(No::WrongMethod)?;
    Ok((client, Some(granted)))
}

/// Whether one of the secrets is the one whose digest is kept, or the one before it while that still counts. Every
/// comparison is made, each in constant time. A missing digest equals nothing.
fn check_secret(client: &Client, secrets: &[ClientSecret], now: Timestamp) -> Result<(), ClientAuthReason> {
    let retired = client
        .retired_secret
        .filter(|(_, until)| !until.has_passed(now))
        .map(|(hash, _)| hash);
    let is_right = secrets
        .iter()
        .map(ClientSecret::hash)
        .fold(false, |found, hash: TokenHash| {
            let current = client.secret.is_some_and(|kept| kept == hash);
            let retired = retired.is_some_and(|kept| kept == hash);
            found | current | retired
        });
    if is_right {
        Ok(())
    } else {
        Err(ClientAuthReason::WrongSecret)
    }
}

/// Lets a client in by what it shows, with no port: for the tests of what comes after.
#[cfg(test)]
pub(crate) fn let_in(
    client: Client,
    credential: Credential,
    now: Timestamp,
) -> Result<AuthenticatedClient, ClientAuthReason> {
    let presented = Presented {
        client_id: client.id.clone(),
        credential,
        by_basic: false,
    };
    let (client, granted) = expect_method(
        &presented,
        Some(Arc::new(client)),
        true,
        &KnownClients::default(),
        now,
    )?;
    if let Credential::Post(secret) = &presented.credential {
        check_secret(&client, std::slice::from_ref(secret), now)?;
    }
    Ok(AuthenticatedClient {
        client,
        granted,
        has_shown_something: !matches!(presented.credential, Credential::None),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use base64::Engine as _;
    use mcp_authflow_types::Issuer;

    use super::*;

    fn basic(pair: &str) -> String {
        format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(pair))
    }

    fn read(header: Option<&str>, body: &str) -> Result<(String, bool), ClientAuthReason> {
        let form = Form::parse(body.as_bytes()).unwrap();
        let policy = AssertionPolicy::for_issuer(&Issuer::parse("https://auth.example").unwrap());
        Presented::read(header, &form, &policy).map(|presented| {
            (
                presented.client_id.to_string(),
                matches!(presented.credential, Credential::None),
            )
        })
    }

    /// RFC 6749 §2.3: "The client MUST NOT use more than one authentication method in each request."
    #[test]
    fn one_method_for_one_client() {
        use ClientAuthReason as No;
        let header = basic("sec:secret");
        assert_eq!(read(Some(&header), ""), Ok(("sec".into(), false)));
        assert_eq!(read(Some(&header), "client_id=sec"), Ok(("sec".into(), false)));
        assert_eq!(
            read(Some(&header), "client_id=sec&client_secret=secret"),
            Err(No::TwoMethods)
        );
        assert_eq!(read(Some(&header), "client_id=other"), Err(No::TwoClients));
        assert_eq!(read(None, ""), Err(No::NoClientId));
        assert_eq!(
            read(None, "client_id=pub&client_secret="),
            Ok(("pub".into(), true))
        );
        for (body, reason) in [
            ("client_assertion=x", AssertionReason::AssertionType),
            ("client_assertion_type=x", AssertionReason::AssertionType),
        ] {
            assert_eq!(
                read(None, &format!("client_id=pub&{body}")),
                Err(No::Assertion(reason))
            );
            for other in [
                format!("{body}&client_secret=x"),
                format!("{body}&client_secret=x&client_id=sec"),
            ] {
                assert_eq!(read(None, &other), Err(No::TwoMethods));
            }
            assert_eq!(read(Some(&header), body), Err(No::TwoMethods));
        }
        assert_eq!(
            read(None, "client_id=pub&client_assertion="),
            Ok(("pub".into(), true))
        );
        assert_eq!(
            read(Some(&header), "client_assertion=&client_assertion_type="),
            Ok(("sec".into(), false))
        );
        assert_eq!(read(Some(&basic("pub:")), ""), Ok(("pub".into(), true)));
    }

    #[test]
    fn a_header_that_is_not_basic_is_refused() {
        for bad in [
            "Basic",
            "Basic ",
            "Basic !!!",
            "Bearer x",
            "Basic c2Vj",
            "",
            "Basic c2VjOnMAeA==",
            "Basic\u{a0}x",
        ] {
            assert!(read(Some(bad), "").is_err(), "{bad}");
        }
        assert!(
            read(
                Some(&format!(
                    "basic {}",
                    base64::prelude::BASE64_STANDARD.encode("a:b")
                )),
                ""
            )
            .is_ok()
        );
    }
}
