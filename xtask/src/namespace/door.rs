//! The ways in which a stranger can make the server ask an address of his choice.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use mcp_authflow_jose::SigningKey;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::house::{ISSUER, RESOURCE, SCOPE};
use super::peers::Contact;
use super::visitor::{Reply, Visitor};

pub(crate) const VERIFIER: &str = "a-verifier-of-the-right-length-that-everybody-here-uses";
/// RFC 7523 §2.2
pub(crate) const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
pub(crate) const REDIRECT_URI: &str = "https://client.test/cb";

/// A way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// `jwks_uri` of a client that registers itself (RFC 7591 §2), at its first assertion.
    KeySet,
    /// The identifier of a client that is the address of its metadata.
    Document,
}

impl Door {
    pub(crate) const ALL: [Self; 2] = [Self::KeySet, Self::Document];

    /// A word that may be part of a host or path.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::KeySet => "keys",
            Self::Document => "client",
        }
    }

    /// The path of a document of this kind.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::KeySet => "/jwks",
            Self::Document => "/client.json",
        }
    }

    /// More bytes than such a document may have.
    pub(crate) fn too_many_bytes(self) -> usize {
        match self {
            Self::KeySet => 64 * 1_024 + 1,
            Self::Document => 10 * 1_024 + 1,
        }
    }
}

/// What came of a try.
#[derive(Clone, Debug)]
pub(crate) struct Tried {
    pub(crate) door: Door,
    pub(crate) url: String,
    pub(crate) reply: Reply,
    /// Refused when the address was registered, and never to be used.
    pub(crate) at_registration: bool,
    /// How many connections the server began, to wherever.
    pub(crate) dialled: u64,
    /// Who of those that listen was meant.
    pub(crate) contacts: Vec<Contact>,
}

impl Tried {
    /// Whether the server believed the document.
    pub(crate) fn is_through(&self) -> bool {
        match self.door {
            // The client was authenticated, and only the code is wrong.
            Door::KeySet => self.reply.error() == "invalid_grant",
            Door::Document => {
                self.reply.status == 303
                    && self
                        .reply
                        .location()
                        .is_some_and(|location| location.contains("/ui/interaction/"))
            }
        }
    }

    pub(crate) fn took(&self) -> Duration {
        self.reply.took
    }

    /// The answer without what differs from one request to the next.
    pub(crate) fn text(&self) -> String {
        let mut text = self.reply.body.clone();
        if let Some(id) = self
            .reply
            .headers
            .get("x-request-id")
            .and_then(|id| id.to_str().ok())
        {
            text = text.replace(id, "REFERENCE");
        }
        text
    }

    /// The try in one line.
    pub(crate) fn describe(&self) -> String {
        format!(
            "{:?} {}: {} {} {}, {} dialled {:?}, {:.1} s",
            self.door,
            self.url.chars().take(120).collect::<String>(),
            self.reply.status,
            self.reply.error(),
            self.reply.location().unwrap_or(""),
            self.dialled,
            self.contacts
                .iter()
                .map(|contact| contact.to.to_string())
                .collect::<Vec<_>>(),
            self.took().as_secs_f64()
        )
    }
}

/// The path of a good authorization request of this client.
pub(crate) fn authorize_path(client_id: &str, redirect_uri: &str) -> String {
    let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("response_type", "code")
        .append_pair("client_id", client_id)
        .append_pair("redirect_uri", redirect_uri)
        .append_pair("code_challenge", &challenge)
        .append_pair("code_challenge_method", "S256")
        .append_pair("scope", SCOPE)
        .append_pair("resource", RESOURCE)
        .append_pair("state", "s")
        .finish();
    format!("/authorize?{query}")
}

/// Registers a client with `private_key_jwt` and these members, and returns its identifier or how it was refused.
pub(crate) async fn register(visitor: &Visitor, members: &Value) -> Result<Result<String, Reply>> {
    let mut body = json!({
        "client_name": "Robot",
        "redirect_uris": [REDIRECT_URI],
        "token_endpoint_auth_method": "private_key_jwt",
        "grant_types": ["authorization_code", "refresh_token"],
    });
    for (name, value) in members.as_object().context("members are an object")? {
        body[name] = value.clone();
    }
    let reply = visitor.post_json("/register", &body).await?;
    if reply.status != 201 {
        return Ok(Err(reply));
    }
    let id = reply.json()["client_id"].as_str().map(str::to_owned);
    Ok(Ok(id.context("no client_id in the answer")?))
}

/// An assertion of this client, by this key, with these members in its header (RFC 7523 §3).
pub(crate) fn assertion(client_id: &str, key: &SigningKey, header: &Value) -> Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let seconds = now.as_secs();
    let claims = json!({
        "iss": client_id, "sub": client_id, "aud": ISSUER,
        "iat": seconds, "exp": seconds + 60, "jti": format!("{client_id}-{}", now.as_nanos()),
    });
    let mut fields = json!({"alg": "ES256", "typ": "JWT", "kid": key.key_id()});
    for (name, value) in header.as_object().context("a header is an object")? {
        fields[name] = value.clone();
    }
    Ok(key.sign_as(&fields, claims.to_string().as_bytes())?)
}

/// Authenticates with an assertion, in order to redeem a code that does not exist.
pub(crate) async fn show(visitor: &Visitor, client_id: &str, assertion: &str) -> Result<Reply> {
    let form = [
        ("grant_type", "authorization_code"),
        ("code", "mcpac_there-is-no-such-code-and-there-never-was-one"),
        ("code_verifier", VERIFIER),
        ("redirect_uri", REDIRECT_URI),
        ("client_id", client_id),
        ("client_assertion_type", JWT_BEARER),
        ("client_assertion", assertion),
    ];
    visitor.post("/token", &form).await
}
