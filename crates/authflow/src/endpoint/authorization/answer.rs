//! The answer to an authorization request (RFC 6749 §4.1.2): a code, or an error, at an address proven to be the client's.

use std::net::IpAddr;

use mcp_authflow_types::{
    AuthorizationCode, CodeChallenge, ErrorCode, Scope, Timestamp, scope::OFFLINE_ACCESS,
};

use super::{
    AnswerTo, Authorize, PageReason, Pending, PendingResource,
    resolve::{Reason, offline_scope},
};
use crate::{
    port::{
        AuditEvent, AuditOutcome, StoreError,
        audit::AuditAction,
        store::{CloseInteraction, Closing},
    },
    record::{
        Client, CodeBinding, Grant, GrantId, GrantedResource, Interaction, PendingRequest, RedirectTarget,
    },
    server::AuthorizationServer,
};

/// An answer on its way: to a client, at an address that was proven to be the client's, or to a page of this server that
/// says what was decided about a device. It may carry a code, so `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct SendBack {
    location: String,
}

impl std::fmt::Debug for SendBack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SendBack(…)")
    }
}

impl SendBack {
    /// The address to send the browser to, by 303.
    pub fn location(&self) -> &str {
        &self.location
    }
}

/// What was decided about a device, as the page says that the person sees last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceDecided {
    /// The device is connected.
    Approved,
    /// It is not.
    Denied,
}

impl DeviceDecided {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Approved, Self::Denied];

    /// The path of its page, from the issuer on.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Approved => "/ui/device/approved",
            Self::Denied => "/ui/device/denied",
        }
    }
}

/// What a person approved.
#[derive(Clone, Debug)]
pub struct Approval {
    /// Who: an opaque identifier that never changes; it becomes `sub`.
    pub subject: String,
    /// What the person is called.
    pub username: Option<String>,
    /// The subject's generation as known to the caller; when given, an approval is void once it has moved on.
    pub subject_generation: Option<u32>,
    /// What of the scope asked for the person left ticked.
    pub ticked: Ticked,
}

/// What of the scope asked for a person left ticked. Whatever it says, nothing is granted that was not asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ticked {
    /// All of it.
    Everything,
    /// All of it, by an earlier approval ([`is_approved_already`](AuthorizationServer::is_approved_already)): void when that has
    /// ended by the time of the answer.
    AsBefore,
    /// These tokens, at each resource alike, `offline_access` among them where that was left ticked.
    Tokens(Scope),
    /// These tokens, resource by resource, in the order of [`Pending::resources`].
    AtEach {
        /// The tokens left ticked at each resource.
        scopes: Vec<Scope>,
        /// Whether the client may stay connected while the person is away.
        offline_access: bool,
    },
}

impl Ticked {
    /// What was left ticked at the resource of this number.
    fn at(&self, index: usize) -> Option<&Scope> {
        match self {
            Self::Everything | Self::AsBefore => None,
            Self::Tokens(scope) => Some(scope),
            Self::AtEach { scopes, .. } => Some(scopes.get(index).unwrap_or(const { &Scope::empty() })),
        }
    }

    fn offline_access(&self) -> bool {
        match self {
            Self::Everything | Self::AsBefore => true,
            Self::Tokens(scope) => scope.contains(OFFLINE_ACCESS),
            Self::AtEach { offline_access, .. } => *offline_access,
        }
    }
}

impl AuthorizationServer {
    /// Answers a request with a code (RFC 6749 §4.1.2). Of two answers to one request the first counts.
    ///
    /// # Errors
    /// [`PageReason::Gone`] when the request was answered before, client or person are no longer what they were, or the earlier
    /// approval has ended that was to stand in for this one.
    pub async fn approve(
        &self,
        pending: Pending,
        approval: Approval,
        address: Option<IpAddr>,
    ) -> Result<SendBack, PageReason> {
        let now = self.now();
        let lifetimes = &self.settings().lifetimes;
        let Pending {
            interaction,
            client,
            answer_to,
            resources: described,
        } = &pending;
        let request = &interaction.request;
        let back = Answering {
            issuer: self.settings().issuer.as_str(),
            state: request.state.as_deref(),
        };

        let (resources, offline_access) = left_ticked(request, described, &approval.ticked);
        if resources.is_empty() {
            return self.close_denied(interaction, answer_to, &back, address).await;
        }
        let minted = AuthorizationCode::mint(&self.entropy().draw());
        let code = match (answer_to, &request.code_challenge) {
            (AnswerTo::Client(_), Some(code_challenge)) => CodeBinding {
                hash: minted.hash(),
                expires_at: now + lifetimes.code,
                redirect_uri: request.redirect_uri.clone(),
                code_challenge: Some(
                    CodeChallenge::parse_s256(code_challenge).map_err(|_| PageReason::Gone)?,
                ),
                redeemed_at: None,
            },
            // RFC 8628 §3.4: the device has its code already, and fetches the tokens with that.
            (AnswerTo::Device(device), None) => CodeBinding {
                hash: device.hash,
                expires_at: interaction.expires_at,
                redirect_uri: None,
                code_challenge: None,
                redeemed_at: None,
            },
            _ => return Err(PageReason::Gone),
        };
        let expires_at = now + lifetimes.grant;
        let grant = Grant {
            id: GrantId::from_bytes(self.entropy().draw()),
            client_id: client.id.clone(),
            client_generation: client.generation,
            subject: approval.subject,
            subject_generation: approval.subject_generation.unwrap_or(0),
            username: approval.username,
            resources,
            offline_access,
            created_at: now,
            expires_at,
            code,
            revoked_at: None,
        };
        let closing = Closing::Approve {
            grant: &grant,
            subject_generation: approval.subject_generation,
            keep_client_until: expires_at + lifetimes.unused_client,
        };
        let closed = self.close(interaction, answer_to, closing, now).await?;
        let event = |outcome, reason| {
            AuditEvent::new(AuditAction::Consent, outcome, reason)
                .with_client(&client.id)
                .with_grant(grant.id)
                .with_subject(&grant.subject)
                .with_address(address)
        };
        // Looked at again behind the grant: whoever disconnects the client ends what stood before, and either this one with it or
        // this look. A code that nobody is told is good for nothing.
        let is_remembered = approval.ticked == Ticked::AsBefore && closed == CloseInteraction::Closed;
        if is_remembered && !self.is_approved_already(&pending, &grant.subject).await? {
            self.audit(&event(AuditOutcome::Refused, "the earlier approval has ended"));
            return Err(PageReason::Gone);
        }
        match closed {
            CloseInteraction::Closed => {
                self.audit(&event(AuditOutcome::Allowed, "approved"));
                Ok(match answer_to {
                    AnswerTo::Client(target) => back.send(target, &[("code", minted.expose())]),
                    AnswerTo::Device(_) => self.show_decided(DeviceDecided::Approved),
                })
            }
            CloseInteraction::AlreadyClosed | CloseInteraction::Gone => {
                self.audit(&event(AuditOutcome::Refused, "the request is over"));
                Err(PageReason::Gone)
            }
        }
    }

    /// Answers a request with `access_denied` (RFC 6749 §4.1.2.1): the person said no.
    ///
    /// # Errors
    /// [`PageReason::Gone`] when the request was answered before.
    pub async fn deny(&self, pending: Pending, address: Option<IpAddr>) -> Result<SendBack, PageReason> {
        let Pending {
            interaction,
            answer_to,
            ..
        } = pending;
        let back = Answering {
            issuer: self.settings().issuer.as_str(),
            state: interaction.request.state.as_deref(),
        };
        self.close_denied(&interaction, &answer_to, &back, address).await
    }

    /// Closes an interaction; where a device waits, the device is told in the same step.
    async fn close(
        &self,
        interaction: &Interaction,
        answer_to: &AnswerTo,
        closing: Closing<'_>,
        now: Timestamp,
    ) -> Result<CloseInteraction, StoreError> {
        let (store, id, browser) = (self.store(), interaction.id, &interaction.browser);
        match answer_to {
            AnswerTo::Client(_) => store.close_interaction(id, browser, closing, now).await,
            AnswerTo::Device(device) => store.close_device(&device.hash, id, browser, closing, now).await,
        }
    }

    /// The page that says what was decided about a device. It is the same for every device, and says nothing of it.
    fn show_decided(&self, decided: DeviceDecided) -> SendBack {
        SendBack {
            location: format!("{}{}", self.settings().issuer.path(), decided.path()),
        }
    }

    async fn close_denied(
        &self,
        interaction: &Interaction,
        answer_to: &AnswerTo,
        back: &Answering<'_>,
        address: Option<IpAddr>,
    ) -> Result<SendBack, PageReason> {
        let closed = self
            .close(interaction, answer_to, Closing::Deny, self.now())
            .await?;
        let (reason, answer) = match closed {
            CloseInteraction::Closed => (
                "denied",
                Ok(match answer_to {
                    AnswerTo::Client(target) => back.send_error(target, ErrorCode::AccessDenied),
                    AnswerTo::Device(_) => self.show_decided(DeviceDecided::Denied),
                }),
            ),
            CloseInteraction::AlreadyClosed | CloseInteraction::Gone => {
                ("the request is over", Err(PageReason::Gone))
            }
        };
        self.audit(
            &AuditEvent::new(AuditAction::Consent, AuditOutcome::Refused, reason)
                .with_client(&interaction.client_id)
                .with_address(address),
        );
        answer
    }

    /// Answers a request that said `prompt=none` although a person would have to act: `login_required` or
    /// `consent_required` (OpenID Connect Core §3.1.2.6). Nothing is stored, since nothing was decided.
    pub fn cannot_be_silent(&self, pending: &Pending, code: ErrorCode, address: Option<IpAddr>) -> SendBack {
        self.audit(
            &AuditEvent::new(AuditAction::Consent, AuditOutcome::Refused, code.description())
                .with_client(&pending.interaction.client_id)
                .with_address(address),
        );
        let back = Answering {
            issuer: self.settings().issuer.as_str(),
            state: pending.interaction.request.state.as_deref(),
        };
        match &pending.answer_to {
            AnswerTo::Client(target) => back.send_error(target, code),
            // A device cannot say `prompt=none`: there is no page of which it knows.
            AnswerTo::Device(_) => self.show_decided(DeviceDecided::Denied),
        }
    }
}

/// What every answer carries: `iss` (RFC 9207), and the client's `state` untouched.
pub(super) struct Answering<'a> {
    pub(super) issuer: &'a str,
    pub(super) state: Option<&'a str>,
}

impl Answering<'_> {
    fn send(&self, target: &RedirectTarget, answer: &[(&str, &str)]) -> SendBack {
        let mut parameters = answer.to_vec();
        if let Some(state) = self.state {
            parameters.push(("state", state));
        }
        parameters.push(("iss", self.issuer));
        SendBack {
            location: target.with_query(&parameters),
        }
    }

    fn send_error(&self, target: &RedirectTarget, code: ErrorCode) -> SendBack {
        self.send(
            target,
            &[
                ("error", code.as_str()),
                ("error_description", code.description()),
            ],
        )
    }

    /// A bad request of a client that the operator vouches for goes back to it. A stranger's is shown on a page: sending
    /// browsers on for anyone who registered a minute ago would make this an open redirector (RFC 9700 §4.11.2).
    pub(super) fn refuse(&self, client: &Client, target: &RedirectTarget, reason: Reason) -> Authorize {
        let (code, description) = (reason.code(), reason.description());
        // A `state` that is too long to keep cannot be given back, and without it the client could not trust the answer.
        if client.is_verified() && !matches!(reason, Reason::State) {
            Authorize::SendBack(self.send(
                target,
                &[("error", code.as_str()), ("error_description", description)],
            ))
        } else {
            Authorize::ShowPage(PageReason::Refused {
                code,
                description,
                target: Some(target.as_str().to_owned()),
            })
        }
    }
}

/// What of a request the person left ticked. A resource of whose scope nothing is left falls away. What a scope that was left
/// ticked includes is granted with it, ticked or not: it would be allowed all the same.
fn left_ticked(
    request: &PendingRequest,
    described: &[PendingResource],
    ticked: &Ticked,
) -> (Vec<GrantedResource>, bool) {
    let offline_access = request.offline_access && ticked.offline_access();
    let resources = request
        .resources
        .iter()
        .enumerate()
        .filter_map(|(index, asked)| {
            let wanted = asked.scope.without(OFFLINE_ACCESS);
            let kept = match ticked.at(index) {
                None => wanted.clone(),
                Some(ticked) => {
                    let kept = wanted.narrow_to(ticked);
                    let mut records = described.iter().filter_map(|one| one.record.as_ref());
                    let record = records.find(|record| record.resource == asked.resource);
                    // Nothing that was not asked for: the resource may include more by now than the page said.
                    record.map_or(kept.clone(), |record| record.expand(&kept).narrow_to(&wanted))
                }
            };
            if kept.is_empty() && !wanted.is_empty() {
                return None;
            }
            let says_offline = offline_access && asked.scope.contains(OFFLINE_ACCESS);
            let scope = if says_offline {
                kept.union(&offline_scope())
            } else {
                kept
            };
            Some(GrantedResource {
                resource: asked.resource.clone(),
                scope,
            })
        })
        .collect();
    (resources, offline_access)
}

#[cfg(test)]
mod tests;
