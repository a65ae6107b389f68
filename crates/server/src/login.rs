//! Local accounts: signing in, approving, the first account, signing out.
//!
//! | file | what |
//! |---|---|
//! | `interact` | the login and consent pages of an authorization request |
//! | `account` | the pages that belong to no request: home, sign-out, first account |
//! | `password` | Argon2id on a bounded pool |
//! | `username` | one spelling for each account |
//! | `csrf` | tokens that tie a form to a browser and a page |

mod account;
mod csrf;
mod interact;
pub(crate) mod password;
pub(crate) mod username;

use std::{net::IpAddr, sync::Arc, time::Duration};

use http::HeaderValue;
use mcp_authflow::{
    AuthorizationServer, PageReason, limiter_key,
    port::{
        AccountStore, Admission, AuditEvent, AuditOutcome, StoreError, audit::AuditAction, rate_limit::Limit,
    },
    record::{Session, User},
};
use mcp_authflow_axum::{BrowserCookie, BrowserSecret};
use mcp_authflow_jose::ServerKey;
use mcp_authflow_types::{Timestamp, TokenHash};

pub(crate) use self::account::{router, setup_link};
use self::csrf::Csrf;
use crate::{config::Sessions, pages::Pages};

/// Ten tries an account in ten minutes.
const PER_ACCOUNT: Limit = Limit {
    name: "login_account",
    tries: 10,
    window: Duration::from_secs(600),
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
    Done(HeaderValue),
    /// Name or password are wrong; nobody is told which.
    Wrong,
    /// Too many tries.
    TooMany(Duration),
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
        let refused = |reason| {
            self.audit(
                &AuditEvent::new(AuditAction::SignIn, AuditOutcome::Refused, reason).with_address(address),
            );
        };
        let Ok(username) = username::normalize(username) else {
            self.inner.passwords.check_nothing(password).await;
            refused("a name that no account can have");
            return SignIn::Wrong;
        };
        let limits = &self.inner.server.ports().rate_limit;
        for (limit, key) in [
            (PER_ADDRESS, limiter_key(address)),
            (PER_ACCOUNT, username.clone()),
        ] {
            if let Admission::Refused { retry_after } = limits.admit(limit, &key).await {
                refused("too many tries");
                return SignIn::TooMany(retry_after);
            }
        }
        let user = match self.inner.accounts.load_user(&username).await {
            Ok(user) => user.filter(|user| user.disabled_at.is_none()),
            Err(error) => return SignIn::Unavailable(error),
        };
        let Some(user) = user else {
            self.inner.passwords.check_nothing(password).await;
            refused("no such account, or a disabled one");
            return SignIn::Wrong;
        };
        if !self.inner.passwords.is_right(password, &user.password_hash).await {
            refused("wrong password");
            return SignIn::Wrong;
        }
        limits.forgive(PER_ACCOUNT, &username).await;
        match self.begin_session(&user, browser).await {
            Ok(Some(cookie)) => {
                self.audit(
                    &AuditEvent::new(AuditAction::SignIn, AuditOutcome::Allowed, "signed in")
                        .with_subject(user.id.as_str())
                        .with_address(address),
                );
                SignIn::Done(cookie)
            }
            Ok(None) => {
                refused("the account was disabled meanwhile");
                SignIn::Wrong
            }
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
        let has_begun = self.inner.accounts.begin_session(&session, browser).await?;
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
