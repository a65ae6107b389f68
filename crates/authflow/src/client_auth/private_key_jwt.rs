//! `private_key_jwt` (RFC 7523 §2.2, §3; RFC 7521 §4.2): a client signs an assertion about itself with a key whose public
//! half is registered, and each assertion is good once.
//!
//! ```text
//! read ──▶ (whose keys?) ──▶ decide ──▶ OneTimeUse ──▶ Replay::record_once ──▶ proven
//! ```
//!
//! [`JwtClientAuthenticator`] does it all for a server of any make. [`read`] and [`decide`] are its pure half: no key is
//! asked for before the assertion was looked at, and nothing is used up before everything else was right.

mod authenticator;

use std::{sync::Arc, time::Duration};

use mcp_authflow_jose::{
    Algorithm, ClaimError, Claims, JwsError, JwsRules, KeySet, NumericDate, UnverifiedJws, VerifyError,
};
use mcp_authflow_types::{ErrorResponse, Issuer};

use crate::port::{
    ClientKeySource, ClientKeysError, Freshness, OneTimeUse, RecordOnce, Replay, ReplayKind, StoreError,
};

pub use self::authenticator::JwtClientAuthenticator;

/// The only `client_assertion_type` that is read (RFC 7523 §2.2).
pub const JWT_CLIENT_ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// `typ` values of an assertion, where it has one: the plain one, and the one of RFC 7523's revision.
const TYPES: &[&str] = &["JWT", "client-authentication+jwt"];

/// The claims without which there is no assertion (RFC 7523 §3), `iat` and `jti` included: one bounds how long it is
/// good, the other that it is good once.
const REQUIRED: [&str; 6] = ["iss", "sub", "aud", "exp", "iat", "jti"];

/// How many characters a `jti` may have.
const MOST_JTI_CHARACTERS: usize = 255;

/// How much longer than an assertion can be accepted its use is remembered, for nodes whose clocks differ.
const MEMORY_MARGIN: Duration = Duration::from_secs(60);

/// What a server accepts as an assertion.
///
/// ```
/// use mcp_authflow::client_auth::private_key_jwt::AssertionPolicy;
/// use mcp_authflow_jose::Algorithm;
/// use mcp_authflow_types::Issuer;
///
/// let issuer = Issuer::parse("https://auth.example/tenant")?;
/// let mut policy = AssertionPolicy::for_issuer(&issuer);
/// policy.rules.algorithms = vec![Algorithm::Es256, Algorithm::EdDsa];
/// assert_eq!(policy.audiences, ["https://auth.example/tenant"]);
/// # Ok::<(), mcp_authflow_types::issuer::InvalidIssuer>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssertionPolicy {
    /// Size, algorithms and `typ` of the token.
    pub rules: JwsRules,
    /// What `aud` may be, compared exactly. The first one also keeps the memory of one server apart from another's, where
    /// they share it: do not change it lightly.
    pub audiences: Vec<String>,
    /// Whether `aud` must name nobody but this server.
    ///
    /// # Security
    /// A client that can be talked into signing for two servers at once hands each of them a key to the other.
    pub single_audience: bool,
    /// How far clocks may differ, either way. A memory in Redis counts on at most 30 s.
    pub leeway: Duration,
    /// How long after `iat` an assertion is good, whatever its `exp` says; the leeway comes on top.
    pub max_age: Duration,
    /// How far `exp` may be after `iat`, and that it is after it. None checks neither.
    pub max_lifetime: Option<Duration>,
    /// Whether `iss`, `aud` and `sub` are looked at before keys are asked for, so that somebody else's assertion, or junk,
    /// causes no work. What is refused is the same either way, the reason told may be another.
    pub identity_before_keys: bool,
}

impl AssertionPolicy {
    /// The policy of the server: `aud` is the issuer and nobody else (RFC 7523bis; for an issuer without a path its twin
    /// with a slash behind, too, which clients make of it), 30 s of leeway, five minutes of life.
    pub fn for_issuer(issuer: &Issuer) -> Self {
        let mut audiences = vec![issuer.to_string()];
        if issuer.path().is_empty() {
            audiences.push(format!("{issuer}/"));
        }
        Self {
            rules: JwsRules {
                types: Some(TYPES),
                ..JwsRules::default()
            },
            audiences,
            single_audience: true,
            leeway: Duration::from_secs(30),
            max_age: Duration::from_secs(300),
            max_lifetime: Some(Duration::from_secs(300)),
            identity_before_keys: true,
        }
    }

    /// The policy of the Python package, for who moves over from it: `aud` holds the token endpoint, 60 s of leeway, five
    /// minutes after `iat` whatever `exp` is, any `typ`, padded parts. EdDSA is accepted besides.
    pub fn like_the_python_package(token_endpoint: &str) -> Self {
        Self {
            rules: JwsRules {
                types: None,
                reads_padding_and_mark: true,
                ..JwsRules::default()
            },
            audiences: vec![token_endpoint.to_owned()],
            single_audience: false,
            leeway: Duration::from_secs(60),
            max_age: Duration::from_secs(300),
            max_lifetime: None,
            identity_before_keys: false,
        }
    }

    /// The names of the accepted algorithms, for metadata (RFC 8414 §2).
    pub fn algorithm_names(&self) -> Vec<&'static str> {
        self.rules
            .algorithms
            .iter()
            .copied()
            .map(Algorithm::as_str)
            .collect()
    }
}

/// Why an assertion is refused. Outside it is always `invalid_client`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AssertionReason {
    /// `client_assertion_type` is missing or another.
    #[error("another client_assertion_type")]
    AssertionType,
    /// There is no assertion.
    #[error("no client_assertion")]
    AssertionMissing,
    /// It is no signed token, or one of another kind.
    #[error("no assertion: {0}")]
    Malformed(JwsError),
    /// `none`, or a shared key.
    #[error("an algorithm that is never accepted")]
    AlgorithmBlocked,
    /// Another algorithm that is not accepted.
    #[error("an algorithm that is not accepted")]
    AlgorithmNotAllowed,
    /// The client has no keys that can be used.
    #[error("the client has no keys that can be used")]
    NoKeys,
    /// No key of the client's has the name, the type and the curve.
    #[error("no key of the client's fits")]
    NoMatchingKey,
    /// The signature is not by one of the client's keys.
    #[error("the signature is wrong")]
    Signature,
    /// A claim is missing, or null.
    #[error("the claim `{0}` is missing")]
    MissingClaim(&'static str),
    /// A claim is of the wrong type.
    #[error("the claim `{0}` has the wrong type")]
    ClaimType(&'static str),
    /// `iat` lies ahead.
    #[error("issued in the future")]
    IssuedInFuture,
    /// `nbf` lies ahead.
    #[error("not yet valid")]
    NotYetValid,
    /// `exp` lies behind.
    #[error("expired")]
    Expired,
    /// `iss` is not the client.
    #[error("another issuer than the client")]
    Issuer,
    /// `aud` is not this server, or not it alone.
    #[error("meant for another server")]
    Audience,
    /// `sub` is not the client.
    #[error("another subject than the client")]
    Subject,
    /// `iat` lies too far behind.
    #[error("issued too long ago")]
    TooOld,
    /// `exp` is not after `iat`, or too long after it.
    #[error("a lifetime that is not accepted")]
    Lifetime,
    /// `jti` is empty or too long.
    #[error("the claim `jti` is empty or too long")]
    JtiLength,
    /// It was used before.
    #[error("used before")]
    Replay,
}

impl AssertionReason {
    /// A name for machines, such as `no_matching_key`: for logs, metrics and tests. It does not go to the client.
    pub const fn code(self) -> &'static str {
        match self {
            Self::AssertionType => "assertion_type",
            Self::AssertionMissing => "assertion_missing",
            Self::Malformed(_) => "malformed",
            Self::AlgorithmBlocked => "alg_blocked",
            Self::AlgorithmNotAllowed => "alg_not_allowed",
            Self::NoKeys => "jwks_unavailable",
            Self::NoMatchingKey => "no_matching_key",
            Self::Signature => "signature",
            Self::MissingClaim(_) => "missing_claim",
            Self::ClaimType(_) => "claim_type",
            Self::IssuedInFuture => "iat_in_future",
            Self::NotYetValid => "nbf_in_future",
            Self::Expired => "expired",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Subject => "subject",
            Self::TooOld => "too_old",
            Self::Lifetime => "lifetime",
            Self::JtiLength => "jti_length",
            Self::Replay => "replay",
        }
    }
}

impl From<JwsError> for AssertionReason {
    fn from(error: JwsError) -> Self {
        match error {
            JwsError::AlgorithmBlocked => Self::AlgorithmBlocked,
            JwsError::AlgorithmNotAllowed => Self::AlgorithmNotAllowed,
            other => Self::Malformed(other),
        }
    }
}

impl From<VerifyError> for AssertionReason {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::NoKey => Self::NoMatchingKey,
            VerifyError::Signature => Self::Signature,
        }
    }
}

impl From<ClaimError> for AssertionReason {
    fn from(error: ClaimError) -> Self {
        match error {
            ClaimError::Missing(name) => Self::MissingClaim(name),
            ClaimError::WrongType(name) => Self::ClaimType(name),
        }
    }
}

/// Why a client is not let in: it is wrong, or nobody can tell now.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AssertionError {
    /// The assertion is refused: `invalid_client`.
    #[error("{0}")]
    Refused(AssertionReason),
    /// It cannot be checked now: the memory of what was used cannot be asked, or has no room. Answered with 503, or 504
    /// where time ran out; the same assertion may do later.
    #[error("the assertion cannot be checked now: {0}")]
    CannotCheck(StoreError),
    /// It cannot be checked now, since the client's keys cannot be had: for the most part, the host of its `jwks_uri` is
    /// away. Answered like the last; it is no fault of ours, and not one for which anybody needs to be woken.
    #[error("{0}")]
    KeysOutOfReach(KeysOutOfReach),
}

/// Why a client's keys cannot be had now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client's keys cannot be had now: {why}")]
pub struct KeysOutOfReach {
    /// For the log.
    pub why: String,
    /// Whether they did not come in time: 504 in place of 503.
    pub timed_out: bool,
}

impl KeysOutOfReach {
    /// What is answered.
    pub fn response(&self) -> ErrorResponse {
        if self.timed_out {
            ErrorResponse::timed_out()
        } else {
            ErrorResponse::unavailable()
        }
    }

    /// A client's host that is away is no error of this server, however often it is asked. What a stranger wrote is quoted.
    pub(crate) fn log(&self, client_id: &str) {
        tracing::warn!(?client_id, why = ?self.why, "a client's keys cannot be had");
    }
}

impl From<AssertionReason> for AssertionError {
    fn from(reason: AssertionReason) -> Self {
        Self::Refused(reason)
    }
}

impl From<ClientKeysError> for AssertionError {
    fn from(error: ClientKeysError) -> Self {
        match error {
            ClientKeysError::None | ClientKeysError::Unusable(_) => Self::Refused(AssertionReason::NoKeys),
            ClientKeysError::Unavailable(why) => Self::KeysOutOfReach(KeysOutOfReach {
                why,
                timed_out: false,
            }),
            ClientKeysError::TimedOut(why) => Self::KeysOutOfReach(KeysOutOfReach { why, timed_out: true }),
        }
    }
}

/// Reads an assertion, without a key: what it says is a claim of whoever sent it.
///
/// # Errors
/// [`AssertionReason`]
pub fn read(
    client_assertion_type: &str,
    client_assertion: &str,
    policy: &AssertionPolicy,
) -> Result<UnverifiedJws, AssertionReason> {
    // 1. RFC 7523 §2.2: "The value of the "client_assertion_type" is "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"."
    if client_assertion_type != JWT_CLIENT_ASSERTION_TYPE {
        return Err(AssertionReason::AssertionType);
    }
    // 2. RFC 7521 §4.2: there is an assertion.
    if client_assertion.is_empty() {
        return Err(AssertionReason::AssertionMissing);
    }
    // 3. RFC 7523 §3: it is a JWT; RFC 8725 §3.1: by an algorithm of ours.
    Ok(UnverifiedJws::parse(client_assertion, &policy.rules)?)
}

/// Looks at who an assertion is about and whom it is for, proven or not (RFC 7523 §3, 1 to 3).
///
/// # Errors
/// [`AssertionReason`]
pub fn check_identity(
    claims: &Claims,
    client_id: &str,
    policy: &AssertionPolicy,
) -> Result<(), AssertionReason> {
    // RFC 7523 §3, 1: "For client authentication, the issuer MUST be the client_id"
    if claims.value("iss").and_then(serde_json::Value::as_str) != Some(client_id) || client_id.is_empty() {
        return Err(AssertionReason::Issuer);
    }
    // RFC 7523 §3, 3: "The authorization server MUST reject any JWT that does not contain its own identity as the intended
    // audience."
    let audience = claims.audience().map_err(|error| match error {
        ClaimError::Missing(name) => AssertionReason::MissingClaim(name),
        ClaimError::WrongType(_) => AssertionReason::Audience,
    })?;
    let is_ours = |one: &&str| policy.audiences.iter().any(|ours| ours == one);
    if !audience.iter().any(is_ours) || policy.single_audience && audience.len() != 1 {
        return Err(AssertionReason::Audience);
    }
    // RFC 7523 §3, 2: "For client authentication, the subject MUST be the "client_id" of the OAuth client."
    if claims.required_text("sub")? != client_id {
        return Err(AssertionReason::Subject);
    }
    Ok(())
}

/// Decides whether an assertion proves that its sender is the client, apart from whether it was used before. What it
/// answers is to be recorded: only then is the client proven.
///
/// # Errors
/// [`AssertionReason`]
pub fn decide(
    assertion: &UnverifiedJws,
    client_id: &str,
    keys: &KeySet,
    policy: &AssertionPolicy,
    now: NumericDate,
) -> Result<OneTimeUse, AssertionReason> {
    use AssertionReason as No;

    // 1. RFC 7523 §3, 9: signed by a key of the client's.
    let claims = assertion.verify(keys)?.claims()?;
    // 2. What has to be there is. Null is nothing.
    for name in REQUIRED {
        if claims.value(name).is_none_or(serde_json::Value::is_null) {
            return Err(No::MissingClaim(name));
        }
    }
    // 3. RFC 7523 §3, 6: issued, and not in the future.
    let issued_at = claims.required_time("iat")?;
    if issued_at.whole() > now + policy.leeway {
        return Err(No::IssuedInFuture);
    }
    // 4. RFC 7523 §3, 5: "The JWT MAY contain an "nbf" (not before) claim".
    if claims
        .time("nbf")?
        .is_some_and(|not_before| not_before.whole() > now + policy.leeway)
    {
        return Err(No::NotYetValid);
    }
    // 5. RFC 7523 §3, 4: "The authorization server MUST reject any JWT with an expiration time that has passed, subject to
    //    allowable clock skew".
    let expires_at = claims.required_time("exp")?.whole();
    if expires_at + policy.leeway <= now {
        return Err(No::Expired);
    }
    // 6. RFC 7523 §3, 1 to 3: about this client, for this server.
    check_identity(claims, client_id, policy)?;
    // 7. RFC 7523 §3, 7: an identifier, of a length that can be kept.
    let jti = claims.required_text("jti")?;
    if jti.is_empty() || jti.chars().count() > MOST_JTI_CHARACTERS {
        return Err(No::JtiLength);
    }
    // 8. RFC 7523 §3, 4: "may reject JWTs with an "exp" claim value that is unreasonably far in the future".
    if policy
        .max_lifetime
        .is_some_and(|most| expires_at <= issued_at || expires_at > issued_at + most)
    {
        return Err(No::Lifetime);
    }
    // 9. RFC 7523 §3, 6: "may reject JWTs with an "iat" claim value that is unreasonably far in the past."
    let last_moment = issued_at + policy.max_age + policy.leeway;
    if now > last_moment {
        return Err(No::TooOld);
    }

    // The first second in which 5 or 9 refuses it, whichever is sooner, by a clock of whole seconds.
    let second = Duration::from_secs(1);
    let forgotten_at = (expires_at + policy.leeway)
        .round_up()
        .min(last_moment.round_down() + second);
    let server = policy.audiences.first().map_or("", String::as_str);
    Ok(OneTimeUse::new(
        ReplayKind::ClientAssertion,
        &format!("{server} {client_id}"),
        jti,
        issued_at.round_down(),
        forgotten_at + MEMORY_MARGIN,
    ))
}

/// Proves a client by its assertion: keys, decision, memory.
pub(super) async fn prove(
    assertion: &UnverifiedJws,
    client_id: &str,
    policy: &AssertionPolicy,
    keys: &dyn ClientKeySource,
    replay: &dyn Replay,
    now: NumericDate,
) -> Result<(), AssertionError> {
    if policy.identity_before_keys {
        let claims = assertion.unverified_claims().map_err(AssertionReason::from)?;
        check_identity(claims, client_id, policy)?;
    }
    let known = keys.client_keys(client_id, Freshness::Cached).await?;
    let decision = match decide(assertion, client_id, &known, policy, now) {
        // The client may have changed its keys. Whoever names one that is not there makes us look; how often, the source
        // bounds.
        Err(reason) if may_be_a_new_key(reason, assertion) => {
            let fresh = keys.client_keys(client_id, Freshness::Refresh).await?;
            if Arc::ptr_eq(&known, &fresh) {
                Err(reason)
            } else {
                decide(assertion, client_id, &fresh, policy, now)
            }
        }
        decision => decision,
    };
    // Last of all, so that a refused assertion is not used up.
    let once = decision?;
    match replay.record_once(&once, now.round_down()).await {
        Ok(RecordOnce::FirstUse) => Ok(()),
        Ok(RecordOnce::Replay) => Err(AssertionReason::Replay.into()),
        // A memory that began a moment ago. Nothing is known against the client: its next assertion will do.
        Ok(RecordOnce::CannotTell) => Err(cannot_check("it may have been used before the memory began")),
        Ok(RecordOnce::Full) => Err(cannot_check("there is no room to remember another assertion")),
        Err(error) => Err(AssertionError::CannotCheck(error)),
    }
}

fn cannot_check(why: &str) -> AssertionError {
    AssertionError::CannotCheck(StoreError::Unavailable(why.to_owned()))
}

/// Whether a newer set may have the key: none fits, or the assertion names none and those at hand did not sign it.
fn may_be_a_new_key(reason: AssertionReason, assertion: &UnverifiedJws) -> bool {
    reason == AssertionReason::NoMatchingKey
        || reason == AssertionReason::Signature && assertion.key_id().is_none()
}

#[cfg(test)]
mod tests;
