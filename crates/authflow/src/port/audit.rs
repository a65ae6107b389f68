//! The audit trail: one structured record for every security decision.

use std::{borrow::Cow, net::IpAddr};

use mcp_authflow_types::ClientId;

use crate::record::GrantId;

/// Takes audit events. It must not block and must not fail: what cannot be written is counted. No event carries a
/// secret; tokens appear as fingerprints.
pub trait Audit: Send + Sync {
    /// Records one event.
    fn record(&self, event: &AuditEvent<'_>);
}

/// How a decision went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditOutcome {
    /// It was allowed and done.
    Allowed,
    /// It was refused.
    Refused,
    /// It looks like an attack, and something was revoked for it.
    Alarm,
}

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuditAction {
    /// An authorization request was taken or refused.
    Authorize,
    /// A person approved or denied.
    Consent,
    /// Tokens were issued for a code.
    RedeemCode,
    /// Tokens were issued for a refresh token.
    Refresh,
    /// A token was issued to a client for itself.
    ClientCredentials,
    /// A device asked for a code.
    DeviceAuthorization,
    /// Somebody typed a device's user code.
    UserCode,
    /// Tokens were issued for a device code.
    RedeemDeviceCode,
    /// A client authenticated, or failed to.
    ClientAuthentication,
    /// A known client was let pass where another would have been refused.
    Leniency,
    /// A token was introspected.
    Introspect,
    /// A token was presented to a resource in this process.
    Call,
    /// A token, grant or client was revoked.
    Revoke,
    /// A client registered itself.
    Register,
    /// A client's metadata document was fetched for the first time, changed, or was refused; or its host waits for an
    /// administrator.
    ClientDocument,
    /// A client read, changed or removed its registration.
    ManageRegistration,
    /// Somebody signed in, or failed to.
    SignIn,
    /// Somebody signed out.
    SignOut,
    /// An account was made or changed.
    Account,
    /// A signing key was made or retired.
    SigningKey,
    /// A token that another program minted was taken in.
    Import,
}

impl AuditAction {
    /// The name in the record.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Authorize => "authorize",
            Self::Consent => "consent",
            Self::RedeemCode => "redeem_code",
            Self::Refresh => "refresh",
            Self::ClientCredentials => "client_credentials",
            Self::DeviceAuthorization => "device_authorization",
            Self::UserCode => "user_code",
            Self::RedeemDeviceCode => "redeem_device_code",
            Self::ClientAuthentication => "client_authentication",
            Self::Leniency => "leniency",
            Self::Introspect => "introspect",
            Self::Call => "call",
            Self::Revoke => "revoke",
            Self::Register => "register",
            Self::ClientDocument => "client_document",
            Self::ManageRegistration => "manage_registration",
            Self::SignIn => "sign_in",
            Self::SignOut => "sign_out",
            Self::SigningKey => "signing_key",
            Self::Import => "import",
            Self::Account => "account",
        }
    }
}

/// One decision: who, which client, which grant, from where, how it went and why.
#[derive(Clone, Debug)]
pub struct AuditEvent<'a> {
    /// What was decided.
    pub action: AuditAction,
    /// How it went.
    pub outcome: AuditOutcome,
    /// Why; a fixed phrase of ours, never the caller's words.
    pub reason: Cow<'static, str>,
    /// The client concerned.
    pub client_id: Option<&'a ClientId>,
    /// The grant concerned.
    pub grant: Option<GrantId>,
    /// The person concerned.
    pub subject: Option<&'a str>,
    /// The token concerned: a fingerprint.
    pub token: Option<String>,
    /// Where the request came from.
    pub address: Option<IpAddr>,
}

impl<'a> AuditEvent<'a> {
    /// Starts a record; the rest is filled in by the `with_` methods.
    pub fn new(action: AuditAction, outcome: AuditOutcome, reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            action,
            outcome,
            reason: reason.into(),
            client_id: None,
            grant: None,
            subject: None,
            token: None,
            address: None,
        }
    }

    /// Names the client.
    #[must_use]
    pub fn with_client(mut self, client_id: &'a ClientId) -> Self {
        self.client_id = Some(client_id);
        self
    }

    /// Names the grant.
    #[must_use]
    pub fn with_grant(mut self, grant: GrantId) -> Self {
        self.grant = Some(grant);
        self
    }

    /// Names the person.
    #[must_use]
    pub fn with_subject(mut self, subject: &'a str) -> Self {
        self.subject = Some(subject);
        self
    }

    /// Names the token, by its fingerprint.
    #[must_use]
    pub fn with_token(mut self, hash: &mcp_authflow_types::TokenHash) -> Self {
        self.token = Some(hash.fingerprint());
        self
    }

    /// Names the address.
    #[must_use]
    pub fn with_address(mut self, address: Option<IpAddr>) -> Self {
        self.address = address;
        self
    }
}
