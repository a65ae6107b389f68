//! Verifies a JWT access token (RFC 9068) by its signature, with no question to anybody as long as the issuer's keys are at
//! hand.
//!
//! | file | what |
//! |---|---|
//! | `jwt.rs` | what a token must be, in order, and the cheapest first |
//! | `issuer_keys` | the issuer's keys: fetched, kept, renewed, never asked for in a storm |
//! | `key_address` | where they are, and how they are brought |
//! | `key_times` | how long keys are kept |
//! | `proven` | the tokens whose signature was seen to be right, so that it is computed once |
//!
//! A signature says that a token was good when it was issued. One that was revoked since is good until it expires (ten
//! minutes by default at our server): where that is too long, use [`Introspection`](super::Introspection).

mod issuer_keys;
mod key_address;
mod key_times;
mod proven;

use std::{fmt, sync::Arc, time::Duration};

use mcp_authflow_jose::{
    Algorithm, ClaimError, Claims, JwsError, JwsRules, KeySet, NumericDate, UnverifiedJws,
    VerifyError as SignatureError,
};
use mcp_authflow_types::{ClientId, Issuer, Scope, Timestamp, TokenHash, issuer::InvalidIssuer};

pub use self::key_times::KeyTimes;
use self::{
    issuer_keys::{IssuerKeys, RemoteKeys},
    proven::Proven,
};
use super::{CLOCK_SKEW, CannotCheck, TokenVerifier, VerifiedToken, VerifyError};
use crate::{
    clock::{Clock, Monotonic},
    outbound::InvalidEndpoint,
};

/// The `typ` of an access token (RFC 9068 §2.1). It is what tells one from an ID token or an assertion of the same issuer.
const TYPES: &[&str] = &["at+jwt"];
/// The longest token read. Ours have some 600 bytes; servers refuse headers of more than 8 to 32 KiB.
const MAX_TOKEN_BYTES: usize = 16 * 1_024;

/// Verifies the JWT access tokens of one issuer.
///
/// ```no_run
/// use mcp_authflow_resource::{ProtectedResource, verify::JwtVerifier};
///
/// let tokens = JwtVerifier::builder("https://auth.example").build()?;
/// let protect = ProtectedResource::builder("https://mcp.example/mcp", "https://auth.example")
///     .verify_with(tokens)
///     .build()?;
/// # let _ = protect;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Where the issuer's keys are is read from its metadata (RFC 8414 §2, `jwks_uri`), unless it is said.
///
/// # Security
/// - Algorithms with a shared key do not exist here, and a key only fits its own algorithm, so nothing can be confused.
/// - `typ` has to be `at+jwt`; `iss` the issuer, byte for byte; `exp`, `aud`, `sub`, `client_id`, `iat` and `jti` have to be
///   there with their types (RFC 9068 §2.2). Whether the audience is *this* server is judged by the layer.
/// - No address is taken from a token: `jku`, `x5u`, `jwk` and `x5c` are not read, `kid` is a name within the issuer's set.
/// - When the keys cannot be had, the answer is [`VerifyError::CannotCheck`].
#[derive(Debug)]
pub struct JwtVerifier {
    issuer: Issuer,
    rules: JwsRules,
    keys: IssuerKeys,
    proven: Proven,
    clock: Clock,
}

/// Why the verification of JWTs cannot be set up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidJwtVerification {
    /// The issuer is none.
    #[error(transparent)]
    Issuer(#[from] InvalidIssuer),
    /// The keys are at no address that may be asked.
    #[error("the issuer's keys cannot be fetched: {0}")]
    Keys(#[from] InvalidEndpoint),
    /// No algorithm is accepted, so no token would be.
    #[error("name at least one signature algorithm")]
    NoAlgorithm,
    /// A time that makes no sense.
    #[error("keys are kept for at least a second, and not thrown away before they are renewed")]
    Times,
}

/// The settings of a [`JwtVerifier`].
#[must_use = "nothing is verified before `build`"]
pub struct JwtVerifierBuilder {
    issuer: String,
    source: Source,
    algorithms: Vec<Algorithm>,
    times: KeyTimes,
    clock: Clock,
    monotonic: Monotonic,
}

enum Source {
    Metadata,
    Address(String),
    Fixed(KeySet),
}

impl JwtVerifier {
    /// Begins the verification of this issuer's tokens; the issuer is compared byte for byte.
    pub fn builder(issuer: impl Into<String>) -> JwtVerifierBuilder {
        JwtVerifierBuilder {
            issuer: issuer.into(),
            source: Source::Metadata,
            algorithms: Algorithm::ALL.to_vec(),
            times: KeyTimes::default(),
            clock: Clock::system(),
            monotonic: Monotonic::system(),
        }
    }

    /// Whose tokens these are.
    pub const fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// Fetches the issuer's keys, unless they are at hand, and says how many there are: for a program's start, so that a
    /// mistake is seen then and the first caller does not wait.
    ///
    /// # Errors
    /// [`CannotCheck`]: they cannot be had for now. They are asked for again when a token needs them.
    pub async fn fetch_keys(&self) -> Result<usize, CannotCheck> {
        self.keys.look().await
    }

    /// The checks that cost no key, so that no stranger's token makes us ask for one.
    fn look_at<'a>(&self, jws: &'a UnverifiedJws) -> Result<&'a Claims, Unproven> {
        // RFC 9068 §4: "The resource server MUST validate that … the iss claim … exactly matches".
        let claims = jws.unverified_claims()?;
        if claims.required_text("iss")? != self.issuer.as_str() {
            return Err(Unproven::OtherIssuer);
        }
        // RFC 9068 §4: "The current time MUST be before the time represented by the exp claim".
        let now = NumericDate::from(self.clock.now());
        if claims.required_time("exp")? + CLOCK_SKEW <= now {
            return Err(Unproven::Expired);
        }
        Ok(claims)
    }
}

/// Why a token is not a good one. For the log, and no more: outside they are all alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Unproven {
    #[error("{0}")]
    Form(#[from] JwsError),
    #[error("{0}")]
    Claim(#[from] ClaimError),
    #[error("the claim `{0}` is none")]
    Malformed(&'static str),
    #[error("it was issued by somebody else")]
    OtherIssuer,
    #[error("it has expired")]
    Expired,
    #[error("{0}")]
    Signature(#[from] SignatureError),
}

#[async_trait::async_trait]
impl TokenVerifier for JwtVerifier {
    async fn verify(&self, token: &str) -> Result<VerifiedToken, VerifyError> {
        // 1. Seen before, with a signature that one of the keys in use made.
        let hash = TokenHash::of(token);
        if let Some(verified) = self
            .keys
            .at_hand()
            .and_then(|keys| self.proven.find(&hash, &keys))
        {
            return Ok(verified);
        }
        let refused = |why: Unproven| {
            tracing::debug!(issuer = %self.issuer, token = hash.fingerprint(), %why, "JWT refused");
            VerifyError::Inactive
        };
        // 2. RFC 7515, RFC 9068 §2.1: form, algorithm, type. 3. Issuer and expiry.
        let jws = UnverifiedJws::parse(token, &self.rules).map_err(|why| refused(why.into()))?;
        let claims = self.look_at(&jws).map_err(refused)?;
        // 4. RFC 9068 §4: the signature, by one of the issuer's keys.
        let keys = self.keys.which_may_have_signed(&jws).await?;
        jws.verify(&keys).map_err(|why| refused(why.into()))?;
        // 5. What it says, each with its type.
        let verified = read(claims).map_err(refused)?;
        self.proven.remember(hash, &keys, &verified);
        Ok(verified)
    }
}

/// Reads the claims (RFC 9068 §2.2, §2.2.3). Those that are required there are required here.
fn read(claims: &Claims) -> Result<VerifiedToken, Unproven> {
    let client_id =
        ClientId::parse(claims.required_text("client_id")?).map_err(|_| Unproven::Malformed("client_id"))?;
    let scope =
        Scope::parse(claims.text("scope")?.unwrap_or_default()).map_err(|_| Unproven::Malformed("scope"))?;
    let later = |date: NumericDate| date.round_up();
    let earlier = |date: NumericDate| date.round_down();
    Ok(VerifiedToken {
        subject: Some(claims.required_text("sub")?.to_owned()),
        client_id: Some(client_id),
        username: claims.text("username")?.map(str::to_owned),
        scope,
        audience: claims.audience()?.into_iter().map(str::to_owned).collect(),
        resource: None,
        issuer: Some(claims.required_text("iss")?.to_owned()),
        // RFC 9068 says nothing of DPoP but by `cnf`; what has none is a bearer token.
        token_type: None,
        expires_at: Some(earlier(claims.required_time("exp")?)),
        not_before: claims.time("nbf")?.map(later),
        issued_at: Some(earlier(claims.required_time("iat")?)),
        is_sender_constrained: claims.value("cnf").is_some(),
        token_id: Some(claims.required_text("jti")?.to_owned()),
        claims: claims.members().clone().into(),
    })
}

impl JwtVerifierBuilder {
    /// Where the issuer's keys are, instead of asking its metadata. https, or http on loopback.
    pub fn jwks_uri(mut self, url: impl Into<String>) -> Self {
        self.source = Source::Address(url.into());
        self
    }

    /// The keys themselves: nothing is fetched, and nothing changes.
    pub fn keys(mut self, keys: KeySet) -> Self {
        self.source = Source::Fixed(keys);
        self
    }

    /// The algorithms accepted. Default: every one that is built, all of them with a key pair.
    pub fn algorithms(mut self, accepted: impl IntoIterator<Item = Algorithm>) -> Self {
        self.algorithms = accepted.into_iter().collect();
        self
    }

    /// How long keys are kept. Default: [`KeyTimes::default`].
    pub const fn key_times(mut self, times: KeyTimes) -> Self {
        self.times = times;
        self
    }

    /// Tells the time of day. Default: the system's clock. For tests.
    pub fn clock(mut self, now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        self.clock = Clock::new(now);
        self
    }

    /// Tells the time that has passed since any fixed moment; must never go back. Default: the system's monotonic clock.
    /// For tests.
    pub fn monotonic_clock(mut self, now: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        self.monotonic = Monotonic::new(now);
        self
    }

    /// Judges the settings. Nothing is fetched yet.
    ///
    /// # Errors
    /// [`InvalidJwtVerification`]
    pub fn build(self) -> Result<JwtVerifier, InvalidJwtVerification> {
        let issuer = Issuer::parse(&self.issuer)?;
        if self.algorithms.is_empty() {
            return Err(InvalidJwtVerification::NoAlgorithm);
        }
        if !self.times.are_sensible() {
            return Err(InvalidJwtVerification::Times);
        }
        let keys = match self.source {
            Source::Fixed(keys) => IssuerKeys::Fixed(Arc::new(keys)),
            Source::Metadata => IssuerKeys::Remote(Arc::new(RemoteKeys::of_issuer(
                &issuer,
                self.times,
                self.monotonic,
            )?)),
            Source::Address(url) => IssuerKeys::Remote(Arc::new(RemoteKeys::at(
                &issuer,
                &url,
                self.times,
                self.monotonic,
            )?)),
        };
        Ok(JwtVerifier {
            issuer,
            rules: JwsRules {
                max_bytes: MAX_TOKEN_BYTES,
                algorithms: self.algorithms,
                types: Some(TYPES),
                requires_type: true,
                ..JwsRules::default()
            },
            keys,
            proven: Proven::default(),
            clock: self.clock,
        })
    }
}

impl fmt::Debug for JwtVerifierBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtVerifierBuilder")
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}
