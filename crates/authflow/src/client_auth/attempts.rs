//! How often somebody may try to be a client, and who needs no counting: it was right just now.
//!
//! A secret that is guessed is guessed from somewhere, so tries are counted by client *and* address: whoever guesses from
//! elsewhere locks no honest client out. A credential that was right from an address is remembered there, as a digest,
//! and counts no more until it is wrong: an honest client is never refused for what others try from its address, and one
//! that asks often is as fast as it was. Of assertions, each of which is another one, it is remembered for which client
//! one was right.

use std::{
    fmt,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hashlink::LinkedHashMap;
use mcp_authflow_types::{ClientId, ClientSecret, ErrorResponse, TokenHash};

use super::{ClientAuthReason, Credential, NotAuthenticated, Presented, private_key_jwt::AssertionReason};
use crate::{
    port::{Admission, AuditEvent, AuditOutcome, audit::AuditAction, rate_limit::Limit},
    server::{AuthorizationServer, limiter_key},
    settings::Limits,
};

const MINUTE: Duration = Duration::from_secs(60);

/// How many credentials are remembered; those seen longest ago go first. Some 8 MiB.
const MAX_PROVEN: usize = 65_536;

type Digest = [u8; 32];

/// Credentials that were right when they were last shown, each with where from.
#[derive(Default)]
pub(crate) struct Proven(Mutex<LinkedHashMap<Digest, ()>>);

impl Proven {
    fn credentials(&self) -> MutexGuard<'_, LinkedHashMap<Digest, ()>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has(&self, attempt: &Attempt<'_>) -> bool {
        self.credentials().to_back(&attempt.digest).is_some()
    }

    /// The credential was right.
    fn remember(&self, attempt: &Attempt<'_>) {
        let mut credentials = self.credentials();
        credentials.insert(attempt.digest, ());
        if credentials.len() > MAX_PROVEN {
            credentials.pop_front();
        }
    }

    /// The credential was wrong.
    fn forget(&self, attempt: &Attempt<'_>) {
        self.credentials().remove(&attempt.digest);
    }
}

impl fmt::Debug for Proven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proven").finish_non_exhaustive()
    }
}

/// A credential and where it was shown.
#[derive(Debug)]
struct Attempt<'a> {
    digest: Digest,
    is_assertion: bool,
    client_id: &'a ClientId,
    address: Option<IpAddr>,
}

impl<'a> Attempt<'a> {
    /// What is tried, if anything is: who shows nothing guesses nothing.
    fn of(presented: &'a Presented, address: Option<IpAddr>) -> Option<Self> {
        let secrets: &[ClientSecret] = match &presented.credential {
            Credential::None => return None,
            Credential::Basic(secrets) => secrets,
            Credential::Post(secret) => std::slice::from_ref(secret),
            // Each is another one; what counts is whether this client's were right here.
            Credential::Assertion(_) => &[],
        };
        let mut whole = by_client(&presented.client_id, address);
        for secret in secrets {
            for byte in secret.hash().as_bytes() {
                whole.push(char::from(*byte));
            }
        }
        Some(Self {
            digest: *TokenHash::of(&whole).as_bytes(),
            is_assertion: matches!(presented.credential, Credential::Assertion(_)),
            client_id: &presented.client_id,
            address,
        })
    }

    fn counted_against(&self, limits: &Limits) -> [(Limit, String); 2] {
        let of = |name, tries| Limit {
            name,
            tries,
            window: MINUTE,
        };
        [
            (
                of("client_authentication", limits.client_authentications_per_minute),
                by_client(self.client_id, self.address),
            ),
            (
                of(
                    "client_authentication_address",
                    limits.client_authentications_per_address_per_minute,
                ),
                limiter_key(self.address),
            ),
        ]
    }
}

/// A client at an address, as limits count it.
fn by_client(client_id: &ClientId, address: Option<IpAddr>) -> String {
    let mut key = limiter_key(address);
    key.push(' ');
    key.push_str(client_id.as_str());
    key
}

impl AuthorizationServer {
    /// Counts an attempt, before anything is checked; answers what to hand to [`Self::settle`].
    ///
    /// # Errors
    /// `too_many_requests`, when there were too many.
    pub(crate) async fn begin_attempt<'a>(
        &self,
        presented: &'a Presented,
        address: Option<IpAddr>,
    ) -> Result<Option<Begun<'a>>, ErrorResponse> {
        let Some(attempt) = Attempt::of(presented, address) else {
            return Ok(None);
        };
        if self.proven().has(&attempt) {
            return Ok(Some(Begun {
                attempt,
                is_counted: false,
            }));
        }
        let counted = attempt.counted_against(&self.settings().limits);
        for (place, (limit, key)) in counted.iter().enumerate() {
            if let Admission::Refused { retry_after } = self.ports().rate_limit.admit(*limit, key).await {
                // A refused try counts against nobody: who waits as long as told is let in.
                for (limit, key) in &counted[..place] {
                    self.ports().rate_limit.take_back(*limit, key).await;
                }
                self.audit(
                    &AuditEvent::new(
                        AuditAction::ClientAuthentication,
                        AuditOutcome::Refused,
                        "too many attempts",
                    )
                    .with_client(&presented.client_id)
                    .with_address(address),
                );
                return Err(ErrorResponse::too_many_requests(retry_after));
            }
        }
        Ok(Some(Begun {
            attempt,
            is_counted: true,
        }))
    }

    /// Notes what came of an attempt.
    pub(crate) async fn settle(&self, begun: Option<Begun<'_>>, verdict: Verdict) {
        let Some(Begun { attempt, is_counted }) = begun else {
            return;
        };
        match verdict {
            // What was known already was moved ahead when it was asked about.
            Verdict::Right if !is_counted => return,
            Verdict::Right => self.proven().remember(&attempt),
            // Nobody makes an assertion by guessing: a wrong one says nothing of whoever was right here, and may be
            // anybody's who wants that client locked out.
            Verdict::Wrong if attempt.is_assertion => return,
            Verdict::Wrong => return self.proven().forget(&attempt),
            Verdict::NoGuess => {}
        }
        if is_counted {
            for (limit, key) in attempt.counted_against(&self.settings().limits) {
                self.ports().rate_limit.take_back(limit, &key).await;
            }
        }
    }
}

/// An attempt that was let through.
#[derive(Debug)]
pub(crate) struct Begun<'a> {
    attempt: Attempt<'a>,
    is_counted: bool,
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The client is who it says it is.
    Right,
    /// It is not, for all that anybody knows.
    Wrong,
    /// It could not be checked, or it was an assertion that was good once: nobody can make one by guessing.
    NoGuess,
}

impl Verdict {
    pub(crate) fn of<T>(answer: &Result<T, NotAuthenticated>) -> Self {
        match answer {
            Ok(_) => Self::Right,
            Err(
                NotAuthenticated::CannotCheck(_)
                | NotAuthenticated::KeysOutOfReach(_)
                | NotAuthenticated::Refused(ClientAuthReason::Assertion(AssertionReason::Replay)),
            ) => Self::NoGuess,
            Err(NotAuthenticated::Refused(_)) => Self::Wrong,
        }
    }
}
