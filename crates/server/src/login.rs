//! Local accounts: signing in, approving, the first account, signing out.
//!
//! | file | what |
//! |---|---|
//! | `interact` | the login and consent pages of an authorization request |
//! | `device` | the page where the code of a device is typed |
//! | `account` | the pages that belong to no request: home, sign-out, first account |
//! | `apps` | the applications that a person has let in, and the way out |
//! | `known_places` | from where accounts were signed in to: nobody elsewhere locks them out there |
//! | `password` | Argon2id on a bounded pool |
//! | `username` | one spelling for each account |
//! | `csrf` | tokens that tie a form to a browser and a page |

mod account;
mod apps;
mod csrf;
mod device;
mod interact;
mod known_places;
pub(crate) mod password;
#[cfg(test)]
mod tests;
pub(crate) mod username;

use std::{net::IpAddr, sync::Arc, time::Duration};

use http::HeaderValue;
use mcp_authflow::{
    AuthorizationServer, PageReason, limiter_key,
    port::{
        AccountStore, Admission, AuditEvent, AuditOutcome, StoreError, audit::AuditAction, rate_limit::Limit,
    },
    record::{Session, User, UserId},
};
use mcp_authflow_axum::{BrowserCookie, BrowserSecret};
use mcp_authflow_jose::ServerKey;
use mcp_authflow_types::{Timestamp, TokenHash};

pub(crate) use self::account::{router, setup_link};
use self::{csrf::Csrf, known_places::KnownPlaces};
use crate::{config::Sessions, pages::Pages};

/// Ten tries an account in ten minutes.
const PER_ACCOUNT: Limit = Limit {
    name: "login_account",
    tries: 10,
    window: Duration::from_secs(600),
};
/// As many from each address from which the account was signed in to lately.
const PER_KNOWN_PLACE: Limit = Limit {
    name: "login_known_place",
    ..PER_ACCOUNT
};
/// Fifty tries an address in ten minutes.
const PER_ADDRESS: Limit = Limit {
    name: "login_address",
    tries: 50,
    window: Duration::from_secs(600),
};

/// Everything that deals with people.
#[derive(Clone)]
pub(crate) struct People {
    inner: Arc<Inner>,
}

struct Inner {
    server: AuthorizationServer,
    accounts: Arc<dyn AccountStore>,
    pages: Pages,
    passwords: password::Passwords,
    csrf: Csrf,
    key: ServerKey,
    cookie: BrowserCookie,
    sessions: Sessions,
    known_places: KnownPlaces,
}

/// Somebody who is signed in.
#[derive(Debug)]
struct SignedIn {
    session: Session,
    user: User,
}

/// How a try to sign in went.
enum SignIn {
    /// It went well: the browser gets this cookie.
    Done(HeaderValue, UserId),
    /// Name or password are wrong; nobody is told which. The account, where the name is one.
    Wrong(Option<UserId>),
    /// Too many tries.
    TooMany(Duration),
    /// Too many passwords wait to be checked.
    Busy,
    /// The store cannot be asked.
    Unavailable(StoreError),
}

impl People {
    pub(crate) fn new(
        server: AuthorizationServer,
        accounts: Arc<dyn AccountStore>,
        pages: Pages,
        key: ServerKey,
        sessions: Sessions,
    ) -> Self {
        let cookie = BrowserCookie::of(&server.settings().issuer);
        let passwords = password::Passwords::new();
        let csrf = Csrf::new(key.clone());
        Self {
            inner: Arc::new(Inner {
                server,
                accounts,
                pages,
                passwords,
                csrf,
                key,
                cookie,
                sessions,
                known_places: KnownPlaces::default(),
            }),
        }
    }

    fn now(&self) -> Timestamp {
        self.inner.server.ports().clock.now()
    }

    fn audit(&self, event: &AuditEvent<'_>) {
        self.inner.server.ports().audit.record(event);
    }

    /// Whoever is signed in in this browser.
    async fn signed_in(&self, browser: &TokenHash) -> Result<Option<SignedIn>, StoreError> {
        let now = self.now();
        let Some((session, user)) = self.inner.accounts.load_session(browser).await? else {
            return Ok(None);
        };
        if !session.is_current(now, self.inner.sessions.idle) {
            return Ok(None);
        }
        if now.since(session.last_seen_at) >= Duration::from_secs(60) {
            self.inner.accounts.touch_session(browser, now).await?;
        }
        Ok(Some(SignedIn { session, user }))
    }

    /// Tries a name and a password. Counting comes before checking; a name that nobody has costs as much time as a wrong
    /// password.
    async fn sign_in(
        &self,
        username: &str,
        password: &str,
        browser: Option<&TokenHash>,
        address: Option<IpAddr>,
    ) -> SignIn {
        let username = username::normalize(username);
        let outcome = self
            .try_sign_in(username.as_deref().ok(), password, browser, address)
            .await;
        let (outcome_of, reason) = match &outcome {
            SignIn::Done(..) => (AuditOutcome::Allowed, "signed in"),
            SignIn::Wrong(_) => (AuditOutcome::Refused, "wrong name or password"),
            SignIn::TooMany(_) => (AuditOutcome::Refused, "too many tries"),
            SignIn::Busy => (AuditOutcome::Refused, "too many passwords wait to be checked"),
            SignIn::Unavailable(_) => (AuditOutcome::Refused, "the store cannot be asked"),
        };
        let mut event = AuditEvent::new(AuditAction::SignIn, outcome_of, reason).with_address(address);
        if let SignIn::Done(_, user) | SignIn::Wrong(Some(user)) = &outcome {
            event = event.with_subject(user.as_str());
        } else if let Ok(username) = &username {
            // Whoever tries names is found by what is tried; the name itself may be a password typed into the wrong box.
            event = event.with_token(&TokenHash::of(username));
        }
        self.audit(&event);
        outcome
    }

    async fn try_sign_in(
        &self,
        username: Option<&str>,
        password: &str,
        browser: Option<&TokenHash>,
        address: Option<IpAddr>,
    ) -> SignIn {
        let limits = &self.inner.server.ports().rate_limit;
        let from = limiter_key(address);
        let account = username.map(|name| {
            if self.inner.known_places.has(name, address) {
                (PER_KNOWN_PLACE, known_places::key(name, address))
            } else {
                (PER_ACCOUNT, name.to_owned())
            }
        });
        let counted = [Some((PER_ADDRESS, from)), account.clone()];
        for (limit, key) in counted.iter().flatten() {
            if let Admission::Refused { retry_after } = limits.admit(*limit, key).await {
                return SignIn::TooMany(retry_after);
            }
        }
        let outcome = self.check(username, password, browser, address).await;
        match (&outcome, account) {
            (SignIn::Done(..), Some((limit, key))) => limits.forgive(limit, &key).await,
            // What could not be checked was no guess.
            (SignIn::Unavailable(_), _) => {
                for (limit, key) in counted.iter().flatten() {
                    limits.take_back(*limit, key).await;
                }
            }
            // Nor was this; but whoever fills the queue from one address is still counted there.
            (SignIn::Busy, Some((limit, key))) => limits.take_back(limit, &key).await,
            _ => {}
        }
        outcome
    }

    /// Checks a name and a password.
    async fn check(
        &self,
        username: Option<&str>,
        password: &str,
        browser: Option<&TokenHash>,
        address: Option<IpAddr>,
    ) -> SignIn {
        let found = match username {
            Some(username) => self.inner.accounts.load_user(username).await,
            None => Ok(None),
        };
        let user = match found {
            Ok(user) => user.filter(|user| user.disabled_at.is_none()),
            Err(error) => return SignIn::Unavailable(error),
        };
        let Some(user) = user else {
            return match self.inner.passwords.check_nothing(password).await {
                Ok(()) => SignIn::Wrong(None),
                Err(password::Busy) => SignIn::Busy,
            };
        };
        match self.inner.passwords.is_right(password, &user.password_hash).await {
            Ok(true) => {}
            Ok(false) => return SignIn::Wrong(Some(user.id)),
            Err(password::Busy) => return SignIn::Busy,
        }
        self.inner.known_places.remember(&user.username, address);
        match self.begin_session(&user, browser).await {
            Ok(Some(cookie)) => SignIn::Done(cookie, user.id),
            // Disabled, or given another password, meanwhile.
            Ok(None) => SignIn::Wrong(Some(user.id)),
            Err(error) => SignIn::Unavailable(error),
        }
    }

    /// Begins a session under a new cookie, whatever cookie the browser had before.
    async fn begin_session(
        &self,
        user: &User,
        browser: Option<&TokenHash>,
    ) -> Result<Option<HeaderValue>, StoreError> {
        let now = self.now();
        let secret = self.new_browser();
        let session = Session {
            hash: secret.hash(),
            user: user.id.clone(),
            subject_generation: 0,
            authenticated_at: now,
            last_seen_at: now,
            expires_at: now + self.inner.sessions.absolute,
        };
        let verified = Some(user.password_hash.as_str());
        let has_begun = self
            .inner
            .accounts
            .begin_session(&session, verified, browser)
            .await?;
        Ok(has_begun.then(|| self.inner.cookie.set(&secret)))
    }

    fn new_browser(&self) -> BrowserSecret {
        BrowserSecret::from_random(self.inner.server.ports().entropy.draw())
    }

    /// Ends a session.
    async fn sign_out(
        &self,
        browser: &TokenHash,
        subject: &str,
        address: Option<IpAddr>,
    ) -> Result<(), StoreError> {
        self.inner.accounts.end_session(browser).await?;
        self.audit(
            &AuditEvent::new(AuditAction::SignOut, AuditOutcome::Allowed, "signed out")
                .with_subject(subject)
                .with_address(address),
        );
        Ok(())
    }
}

/// A store that cannot be asked, as a reason for a page.
fn unavailable(error: StoreError) -> PageReason {
    error.into()
}
