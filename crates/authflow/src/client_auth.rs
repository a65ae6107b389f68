//! Client authentication (RFC 6749 §2.3): who is asking, and is it true.
//!
//! ```text
//! Authorization header, form ──▶ Presented::read ──▶ (the store finds the client) ──▶ authenticate ──▶ AuthenticatedClient
//! ```
//!
//! To add a method: a variant of `TokenEndpointAuthMethod`, a file here that reads its credential, an arm in
//! [`authenticate`]. Metadata follow by themselves.

mod client_secret_basic;
mod client_secret_post;

use std::sync::Arc;

use mcp_authflow_types::{
    ClientId, ClientSecret, ErrorCode, ErrorResponse, Form, Timestamp, TokenEndpointAuthMethod, TokenHash,
};

use crate::record::Client;

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
}

/// A client that proved who it is, as far as its registration asks. Only [`authenticate`] makes one.
#[derive(Clone, Debug)]
pub struct AuthenticatedClient(Arc<Client>);

impl std::ops::Deref for AuthenticatedClient {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.0
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
    /// A method that is not built.
    #[error("an unsupported client authentication method")]
    UnsupportedMethod,
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
}

impl ClientAuthReason {
    /// What is said outside.
    pub const fn code(self) -> ErrorCode {
        match self {
            Self::NoClientId | Self::TwoMethods | Self::TwoClients => ErrorCode::InvalidRequest,
            Self::MalformedHeader
            | Self::MalformedCredential
            | Self::UnsupportedMethod
            | Self::Unknown
            | Self::Expired
            | Self::NoCredential
            | Self::UnexpectedCredential
            | Self::WrongMethod
            | Self::WrongSecret => ErrorCode::InvalidClient,
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
    /// Reads what a request presents. An empty secret counts as none (RFC 6749 §2.3.1).
    ///
    /// # Errors
    /// [`ClientAuthReason`]: the reason alone; whether Basic was tried is told by `authorization`.
    pub fn read(authorization: Option<&str>, form: &Form<'_>) -> Result<Self, ClientAuthReason> {
        if form.value("client_assertion").is_some() || form.value("client_assertion_type").is_some() {
            return Err(ClientAuthReason::UnsupportedMethod);
        }
        let in_body = client_secret_post::read(form)?;
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
}

/// Decides whether the client is who it says it is (RFC 6749 §2.3, §3.2.1).
///
/// # Errors
/// [`ClientAuthReason`]
pub fn authenticate(
    presented: &Presented,
    client: Option<Arc<Client>>,
    let_basic_and_post_swap: bool,
    now: Timestamp,
) -> Result<AuthenticatedClient, ClientAuthReason> {
    use ClientAuthReason as No;
    use TokenEndpointAuthMethod as Method;

    // 1. It is there, and still is (RFC 6749 §2.2).
    let client = client.ok_or(No::Unknown)?;
    if !client.is_current(now) {
        return Err(No::Expired);
    }

    // 2. It shows what its registration asks for; a confidential client cannot drop to public by leaving its secret out.
    let registered = client.profile.token_endpoint_auth_method;
    let (shown, secrets) = match (&presented.credential, registered) {
        (Credential::None, Method::None) => return Ok(AuthenticatedClient(client)),
        (Credential::None, _) => return Err(No::NoCredential),
        (_, Method::None) => return Err(No::UnexpectedCredential),
        (Credential::Basic(secrets), _) => (Method::ClientSecretBasic, secrets.as_slice()),
        (Credential::Post(secret), _) => (Method::ClientSecretPost, std::slice::from_ref(secret)),
    };
    if shown != registered && !(let_basic_and_post_swap && registered.uses_secret()) {
        return Err(No::WrongMethod);
    }

    // 3. The secret is the one whose digest is kept, or the one before it while that still counts. Every comparison is
    //    made, each in constant time. A missing digest equals nothing.
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
        Ok(AuthenticatedClient(client))
    } else {
        Err(No::WrongSecret)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use base64::Engine as _;

    use super::*;

    fn basic(pair: &str) -> String {
        format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(pair))
    }

    fn read(header: Option<&str>, body: &str) -> Result<(String, bool), ClientAuthReason> {
        let form = Form::parse(body.as_bytes()).unwrap();
        Presented::read(header, &form).map(|presented| {
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
        assert_eq!(
            read(None, "client_id=pub&client_assertion=x"),
            Err(No::UnsupportedMethod)
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
