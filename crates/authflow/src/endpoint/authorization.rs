//! The authorization endpoint (RFC 6749 §3.1): from a request trusted by nobody to a code for a client.
//!
//! ```text
//! query ─▶ AuthorizationRequest ─▶ Client ─▶ RedirectTarget ─▶ PendingRequest ─▶ Interaction ─▶ Pending ─▶ approve/deny
//!          trusted by nobody        found     proven the client's  narrowed        stored         a person decides
//!          └──────── ShowPage ───────────┘    └───────── SendBack (or ShowPage for strangers) ─────────┘
//! ```
//!
//! Each arrow is a step that the types do not let anyone skip: only
//! [`Client::redirect_target`](crate::record::Client::redirect_target) makes the
//! [`RedirectTarget`](crate::record::RedirectTarget) without which nothing can leave for the client.

mod answer;
mod page_reason;
mod pending;
pub(crate) mod resolve;

use std::net::IpAddr;

use mcp_authflow_types::{ClientId, Form, TokenHash};

use self::{answer::Answering, resolve::read_resources};
pub use self::{
    answer::{Approval, DeviceDecided, SendBack, Ticked},
    page_reason::PageReason,
    pending::{AnswerTo, Pending, PendingResource},
};
use crate::{
    port::{Admission, AuditEvent, AuditOutcome, audit::AuditAction, rate_limit::Limit},
    record::{Interaction, InteractionId, PendingRequest},
    server::{AuthorizationServer, limiter_key},
};

/// Each request is kept for some minutes, so there are bounds on how many one address may start: 600 in ten minutes.
const PER_ADDRESS: Limit = Limit {
    name: "authorize",
    tries: 600,
    window: std::time::Duration::from_secs(600),
};

/// An authorization request as it arrives.
#[derive(Clone, Copy, Debug)]
pub struct AuthorizationRequest<'a> {
    /// The query.
    pub query: &'a Form<'a>,
    /// The digest of the cookie of the browser that asks.
    pub browser: TokenHash,
    /// Where the request came from.
    pub address: Option<IpAddr>,
}

/// What becomes of a request.
#[must_use]
#[derive(Debug)]
pub enum Authorize {
    /// A person has to decide.
    Pending(Box<Pending>),
    /// The answer goes back to the client.
    SendBack(SendBack),
    /// A page of ours is shown; nothing may leave for anywhere.
    ShowPage(PageReason),
}

impl AuthorizationServer {
    /// Takes an authorization request (RFC 6749 §4.1.1). The request is stored for a few minutes under a new identifier;
    /// asking twice harms nothing, so a client may probe the address before it opens the browser.
    pub async fn authorize(&self, request: AuthorizationRequest<'_>) -> Authorize {
        match self.take_request(request).await {
            Ok(authorize) => authorize,
            Err(reason) => {
                self.audit(
                    &AuditEvent::new(AuditAction::Authorize, AuditOutcome::Refused, reason.to_string())
                        .with_address(request.address),
                );
                Authorize::ShowPage(reason)
            }
        }
    }

    async fn take_request(&self, request: AuthorizationRequest<'_>) -> Result<Authorize, PageReason> {
        let now = self.now();
        let query = request.query;
        let limits = &self.ports().rate_limit;
        if let Admission::Refused { retry_after } =
            limits.admit(PER_ADDRESS, &limiter_key(request.address)).await
        {
            return Err(PageReason::TooMany { retry_after });
        }

        // Until client and redirect URI are known there is only a page (RFC 6749 §4.1.2.1).
        for decisive in ["client_id", "redirect_uri"] {
            if query.repeats(decisive) {
                return Err(PageReason::Repeated(decisive));
            }
        }
        let client_id = query.value("client_id").ok_or(PageReason::NoClientId)?;
        let client_id = ClientId::parse(client_id).map_err(|_| PageReason::NoClientId)?;
        let wanted = read_resources(query, self.settings().accept_audience_parameter);
        let known = wanted.as_ref().map_or(&[][..], Vec::as_slice);
        let default = self.settings().default_resource.as_slice();
        let found = self
            .store()
            .load_client_with_resources(&client_id, if known.is_empty() { default } else { known })
            .await?;
        let client = self
            .beginning_client(&client_id, found.client, request.address, now)
            .await?;
        let known = &self.settings().known_clients;
        let (target, granted) = client.redirect_target_or_known(query.value("redirect_uri"), known)?;
        self.note_leniency(granted.as_ref(), &client_id, request.address);

        // From here on a failure may go back to the client.
        let back = Answering {
            issuer: self.settings().issuer.as_str(),
            state: query.value("state"),
        };
        // What is let pass beyond the registered ones is asked about every time.
        let may_be_remembered = granted.is_none() && self.may_be_remembered(&client).await?;
        let resolved = self.resolve(query, &client, may_be_remembered, wanted, &found.resources);
        let (pending_request, resources) = match resolved {
            Ok(resolved) => resolved,
            Err(reason) => {
                self.audit(
                    &AuditEvent::new(AuditAction::Authorize, AuditOutcome::Refused, reason.to_string())
                        .with_client(&client_id)
                        .with_address(request.address),
                );
                return Ok(back.refuse(&client, &target, reason));
            }
        };
        let left_out = pending_request.redirect_uri.is_none();
        let interaction = Interaction {
            id: InteractionId::from_bytes(self.entropy().draw()),
            browser: request.browser,
            client_id: client_id.clone(),
            client_generation: client.generation,
            request: PendingRequest {
                only_redirect_uri: left_out.then(|| target.as_str().to_owned()),
                ..pending_request
            },
            created_at: now,
            expires_at: now + self.settings().lifetimes.interaction,
        };
        self.store().begin_interaction(&interaction).await?;
        self.audit(
            &AuditEvent::new(
                AuditAction::Authorize,
                AuditOutcome::Allowed,
                "waiting for a person",
            )
            .with_client(&client_id)
            .with_address(request.address),
        );
        Ok(Authorize::Pending(Box::new(Pending {
            interaction,
            client,
            answer_to: AnswerTo::Client(target),
            resources,
        })))
    }
}
