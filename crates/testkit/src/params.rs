//! Requests that are good, for a test to change in one place.

use base64::Engine as _;

use crate::cast::{R1, secret_of};

/// The verifier of RFC 7636 Appendix B.
pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
/// Its S256 challenge.
pub const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
/// A `state` that has to be encoded to survive.
pub const STATE: &str = "a b&c=d/é";
/// The port on which the native client listens in this run.
pub const NATIVE: &str = "http://127.0.0.1:54321/cb";

/// Parameters of a query or a form, in order.
///
/// ```
/// use mcp_authflow_testkit::params::Params;
///
/// let good = Params::of(&[("code", "a b"), ("client_id", "PUB")]);
/// assert_eq!(good.set("code", "c").and("code", "d").unset("client_id").encoded(), "code=c&code=d");
/// ```
#[derive(Clone, Debug)]
pub struct Params(Vec<(String, String)>);

impl Params {
    /// Takes the pairs as they stand.
    pub fn of(pairs: &[(&str, &str)]) -> Self {
        Self(
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        )
    }

    /// An authorization request of a client of the cast, for `mcp:read` at [`R1`].
    pub fn authorize(client_id: &str) -> Self {
        let redirect_uri = match client_id {
            "PUB" => NATIVE,
            "WEBQ" => "https://client.example/cb?tenant=7",
            "EVIL" => "https://evil.example/cb",
            _ => "https://client.example/cb",
        };
        Self::of(&[
            ("response_type", "code"),
            ("client_id", client_id),
            ("redirect_uri", redirect_uri),
            ("scope", "mcp:read"),
            ("state", STATE),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
            ("resource", R1),
        ])
    }

    /// The token request that redeems a code of [`Params::authorize`].
    pub fn redeem(client_id: &str, code: &str) -> Self {
        let redirect_uri = Self::authorize(client_id).value("redirect_uri").to_owned();
        Self::of(&[
            ("grant_type", "authorization_code"),
            ("code", code),
            ("client_id", client_id),
            ("redirect_uri", &redirect_uri),
            ("code_verifier", VERIFIER),
            ("resource", R1),
        ])
    }

    /// The token request that exchanges a refresh token.
    pub fn refresh(client_id: &str, refresh_token: &str) -> Self {
        Self::of(&[
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh_token),
            ("client_id", client_id),
        ])
    }

    /// The request with which a device begins, for `mcp:read` at [`R1`].
    pub fn device_start(client_id: &str) -> Self {
        Self::of(&[("client_id", client_id), ("scope", "mcp:read"), ("resource", R1)])
    }

    /// The token request with which a device polls.
    pub fn poll(client_id: &str, device_code: &str) -> Self {
        Self::of(&[
            ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
            ("device_code", device_code),
            ("client_id", client_id),
        ])
    }

    /// The token request of a machine, for `svc:sync` at [`R1`].
    pub fn client_credentials() -> Self {
        Self::of(&[
            ("grant_type", "client_credentials"),
            ("scope", "svc:sync"),
            ("resource", R1),
        ])
    }

    /// The first value of the name; empty when there is none.
    pub fn value(&self, name: &str) -> &str {
        self.0
            .iter()
            .find(|(one, _)| one == name)
            .map_or("", |(_, value)| value)
    }

    /// With one value for the name, in its old place where it had one.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        match self.0.iter_mut().find(|(one, _)| one == name) {
            Some((_, old)) => value.clone_into(old),
            None => return self.and(name, value),
        }
        self
    }

    /// With one more value for the name.
    #[must_use]
    pub fn and(mut self, name: &str, value: &str) -> Self {
        self.0.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Without the name.
    #[must_use]
    pub fn unset(mut self, name: &str) -> Self {
        self.0.retain(|(one, _)| one != name);
        self
    }

    /// As `application/x-www-form-urlencoded`.
    pub fn encoded(&self) -> String {
        form_urlencoded::Serializer::new(String::new())
            .extend_pairs(&self.0)
            .finish()
    }
}

/// The `Authorization` header of a client of the cast.
pub fn basic(client_id: &str) -> String {
    basic_pair(&format!("{client_id}:{}", secret_of(client_id)))
}

/// The `Authorization` header with any text in the place of identifier and secret.
pub fn basic_pair(pair: &str) -> String {
    format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(pair))
}
