//! The device authorization endpoint (RFC 8628 §3.1), and the user code that a person types (§3.3).
//!
//! ```text
//! device                                                person, in a browser
//! POST /device_authorization ─▶ DeviceCodeRecord ◀──── user code typed: enter_user_code
//!                                     │ claimed by this browser, as an Interaction
//!                                     ▼
//! POST /token (polls) ◀──── Grant ◀── approve / deny, on the page where every request is decided
//! ```

use std::{net::IpAddr, sync::Arc};

use mcp_authflow_types::{
    ClientId, DeviceAuthorizationResponse, DeviceCode, ErrorCode, ErrorResponse, Form, GrantType, Resource,
    Scope, Timestamp, TokenHash, UserCode, device_authorization::DeviceAuthorization,
};

use super::authorization::resolve::{self, narrow, read_resources};
use crate::{
    client::resolve::is_document_client,
    client_auth::AuthenticatedClient,
    grant::device_code::poll::DeviceStatus,
    port::{
        Admission, AuditEvent, AuditOutcome, StoreError,
        audit::AuditAction,
        rate_limit::Limit,
        store::{BeginDevice, ClaimDevice, ClientWithResources},
    },
    record::{
        Client, DeviceCodeRecord, DeviceOrigin, DeviceRequest, Interaction, InteractionId, PendingRequest,
        ResourceRecord,
    },
    server::{AuthorizationServer, FormRequest, limiter_key},
};

const TEN_MINUTES: std::time::Duration = std::time::Duration::from_secs(600);

/// Each code is kept for ten minutes, so there are bounds on how many one address may ask for …
const PER_ADDRESS: Limit = Limit {
    name: "device_authorization_address",
    tries: 60,
    window: TEN_MINUTES,
};
/// … and on how many live codes there are of one client.
const PER_CLIENT: Limit = Limit {
    name: "device_authorization_client",
    tries: 10_000,
    window: TEN_MINUTES,
};
/// Five wrong codes typed by one person, or in one browser where nobody is signed in (RFC 8628 §5.1).
const TYPED_BY_ONE: Limit = Limit {
    name: "user_code",
    tries: 5,
    window: TEN_MINUTES,
};
/// Twenty wrong ones typed from one address: several people may sit behind it.
const TYPED_FROM_ADDRESS: Limit = Limit {
    name: "user_code_address",
    tries: 20,
    window: TEN_MINUTES,
};
/// All wrong ones that are typed while one code lives, from however many addresses: 10,000 of 20^8 hit one given code with
/// a chance of less than 2^-21.
const TYPED_BY_ALL: Limit = Limit {
    name: "user_code_all",
    tries: 10_000,
    window: TEN_MINUTES,
};

/// Right codes are no guesses and are not counted among them, but each stores a request: so often one device is asked about.
const PER_DEVICE: Limit = Limit {
    name: "user_code_device",
    tries: 20,
    window: TEN_MINUTES,
};

/// How often a user code is drawn when there is one like it. With 10,000 live codes one draw in 2.5 million is taken.
const MOST_DRAWS: usize = 4;

/// The page where a person types the code, from the issuer on.
const VERIFICATION_PAGE: &str = "/ui/device";

/// A user code that a person typed.
#[derive(Clone, Copy)]
pub struct UserCodeEntry<'a> {
    /// What was typed, as it came.
    pub user_code: &'a str,
    /// The digest of the browser's cookie: the device becomes this browser's to decide about.
    pub browser: TokenHash,
    /// Who is signed in there, where that is known. Tries are counted against the person then, and not against a cookie
    /// that can be thrown away.
    pub subject: Option<&'a str>,
    /// Where the request came from.
    pub address: Option<IpAddr>,
}

impl std::fmt::Debug for UserCodeEntry<'_> {
    /// Does not show the code.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserCodeEntry")
            .field("subject", &self.subject)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// Why a user code leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UserCodeProblem {
    /// It is malformed, unknown, expired, used, or another browser was first: which of these, nobody is told.
    #[error("no device waits with this code")]
    Unknown,
    /// Too many codes were typed.
    #[error("too many codes were tried")]
    TooMany {
        /// How long until another is taken.
        retry_after: std::time::Duration,
    },
    /// The store cannot be asked (503), or did not answer in time (504).
    #[error("the server cannot answer at the moment")]
    Unavailable {
        /// Whether it did not answer in time.
        timed_out: bool,
    },
}

impl From<StoreError> for UserCodeProblem {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "the store cannot be asked");
        Self::Unavailable {
            timed_out: matches!(error, StoreError::TimedOut(_)),
        }
    }
}

/// Why a device gets no code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Reason {
    #[error("this client may not use the device grant")]
    GrantNotAllowed,
    #[error("{0}")]
    Request(#[from] resolve::Reason),
    #[error("every user code that was drawn is taken")]
    NoUserCode,
}

impl Reason {
    fn response(self) -> ErrorResponse {
        match self {
            Self::GrantNotAllowed => ErrorCode::UnauthorizedClient.into(),
            Self::Request(reason) => reason.code().into(),
            Self::NoUserCode => ErrorResponse::unavailable(),
        }
    }
}

impl AuthorizationServer {
    /// Gives a device a code to poll with, and one for a person to type (RFC 8628 §3.1, §3.2). The client authenticates as
    /// it is registered; its scope is narrowed silently, as at the authorization endpoint.
    ///
    /// # Errors
    /// `invalid_client` when the client did not prove itself, `unauthorized_client` when it may not use the grant,
    /// `invalid_target` and `invalid_scope` when nothing of what it asks for can be had, `too_many_requests`, and
    /// `temporarily_unavailable` when the store cannot be asked.
    pub async fn device_authorization(
        &self,
        request: FormRequest<'_>,
    ) -> Result<DeviceAuthorizationResponse, ErrorResponse> {
        let now = self.now();
        let limits = &self.ports().rate_limit;
        if let Admission::Refused { retry_after } =
            limits.admit(PER_ADDRESS, &limiter_key(request.address)).await
        {
            return Err(ErrorResponse::too_many_requests(retry_after));
        }
        if let Some(name) = request.form.repeated() {
            return Err(ErrorResponse::repeated(name));
        }
        let presented = self.presented(request)?;
        let wanted = read_resources(request.form, self.settings().accept_audience_parameter);
        let known = wanted.as_ref().map_or(&[][..], Vec::as_slice);
        let default = self.settings().default_resource.as_slice();
        let ClientWithResources { client, resources } = self
            .store()
            .load_client_with_resources(
                &presented.client_id,
                if known.is_empty() { default } else { known },
            )
            .await?;
        let client = self
            .beginning_device_client(&presented.client_id, client, request.address, now)
            .await?;
        let client = self.authenticated(&presented, client, request, now).await?;
        if let Admission::Refused { retry_after } = limits.admit(PER_CLIENT, client.id.as_str()).await {
            return Err(ErrorResponse::too_many_requests(retry_after));
        }
        let begun = match self.ask_for(&client, request.form, wanted, &resources) {
            Ok(asked) => self.begin_device(&client, asked, request.address, now).await?,
            Err(reason) => Err(reason),
        };
        let (outcome, said) = match &begun {
            Ok(_) => (AuditOutcome::Allowed, "waiting for a person".into()),
            Err(reason) => (AuditOutcome::Refused, reason.to_string().into()),
        };
        let said: std::borrow::Cow<'static, str> = said;
        self.audit(
            &AuditEvent::new(AuditAction::DeviceAuthorization, outcome, said)
                .with_client(&client.id)
                .with_address(request.address),
        );
        begun.map_err(Reason::response)
    }

    /// Looks a client that describes itself up anew where that is due. Others are judged with their credential.
    async fn beginning_device_client(
        &self,
        id: &ClientId,
        known: Option<Arc<Client>>,
        address: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Option<Arc<Client>>, ErrorResponse> {
        if !is_document_client(id, known.as_deref()) {
            return Ok(known);
        }
        self.beginning_client(id, known, address, now)
            .await
            .map(Some)
            .map_err(|why| {
                self.audit(
                    &AuditEvent::new(
                        AuditAction::DeviceAuthorization,
                        AuditOutcome::Refused,
                        why.to_string(),
                    )
                    .with_client(id)
                    .with_address(address),
                );
                why.into()
            })
    }

    /// What a client asks for, by the rules of the authorization endpoint.
    fn ask_for(
        &self,
        client: &AuthenticatedClient,
        form: &Form<'_>,
        wanted: Result<Vec<Resource>, resolve::Reason>,
        found: &[Arc<ResourceRecord>],
    ) -> Result<DeviceRequest, Reason> {
        // 1. RFC 8628 §3.1: a client that is registered for it.
        if !client.may_use(GrantType::DeviceCode) {
            return Err(Reason::GrantNotAllowed);
        }
        // 2. RFC 8707 §2: resources that are known, or on loopback where that is enough.
        let resources = self.resolve_resources(client, &wanted?, found)?;
        // 3. RFC 6749 §3.3: narrowed silently, refused only when nothing is left.
        let asked = form
            .value("scope")
            .map(Scope::parse_asked)
            .transpose()
            .map_err(|_| resolve::Reason::Scope)?
            .unwrap_or_default();
        let resources = narrow(client, &asked, resources)?;
        Ok(DeviceRequest {
            resources: resources.into_iter().map(|one| one.asked).collect(),
            offline_access: client.may_use(GrantType::RefreshToken),
            address: None,
        })
    }

    async fn begin_device(
        &self,
        client: &AuthenticatedClient,
        asked: DeviceRequest,
        address: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Result<DeviceAuthorizationResponse, Reason>, ErrorResponse> {
        let device_code = DeviceCode::mint(&self.entropy().draw());
        let lifetime = self.settings().lifetimes.device_code;
        let interval = self.settings().device_poll_interval;
        let mut record = DeviceCodeRecord {
            hash: device_code.hash(),
            user_code: device_code.hash(),
            client_id: client.id.clone(),
            client_generation: client.generation,
            request: DeviceRequest { address, ..asked },
            created_at: now,
            expires_at: now + lifetime,
            interval,
            last_poll_at: None,
            status: DeviceStatus::Pending,
        };
        for _ in 0..MOST_DRAWS {
            let user_code = UserCode::generate(&mut |bytes| self.entropy().fill(bytes));
            record.user_code = self.user_code_digest(&user_code);
            match self.store().begin_device(&record).await? {
                BeginDevice::UserCodeTaken => continue,
                BeginDevice::Begun => {}
            }
            let issuer = &self.settings().issuer;
            let verification_uri = issuer.endpoint(VERIFICATION_PAGE);
            let response = DeviceAuthorization {
                code_parameter: "user_code",
                expires_in: lifetime,
                interval,
                ..DeviceAuthorization::new(device_code.expose(), user_code.expose(), &verification_uri)
            };
            // An issuer is https or on loopback, and settings are whole seconds; whoever sets others learns it here.
            return response.build().map(Ok).map_err(|error| {
                tracing::error!(%error, "no device can be answered");
                ErrorCode::ServerError.into()
            });
        }
        Ok(Err(Reason::NoUserCode))
    }

    /// Takes a user code that a person typed (RFC 8628 §3.3): the device becomes this browser's to decide about, and what
    /// is answered is the interaction in which that happens: show it as any other that waits,
    /// [`resume`](Self::resume) finds it.
    ///
    /// Tries are counted before anything is looked up, and right ones taken back, as are those that could not be checked: five
    /// wrong ones a person (or browser) and twenty an address in ten minutes. Whoever has right codes of their own gains no
    /// guess by typing them in between.
    ///
    /// # Errors
    /// [`UserCodeProblem`]; whatever is wrong with a code looks alike and costs one look-up.
    pub async fn enter_user_code(&self, entry: UserCodeEntry<'_>) -> Result<InteractionId, UserCodeProblem> {
        let entered = self.try_user_code(entry).await;
        let (outcome, reason, client) = match &entered {
            Ok((_, client)) => (AuditOutcome::Allowed, "entered".to_owned(), Some(client)),
            Err(problem) => (AuditOutcome::Refused, problem.to_string(), None),
        };
        let mut event = AuditEvent::new(AuditAction::UserCode, outcome, reason).with_address(entry.address);
        event.client_id = client;
        event.subject = entry.subject;
        self.audit(&event);
        entered.map(|(id, _)| id)
    }

    async fn try_user_code(
        &self,
        entry: UserCodeEntry<'_>,
    ) -> Result<(InteractionId, ClientId), UserCodeProblem> {
        let limits = &self.ports().rate_limit;
        let by = match entry.subject {
            Some(subject) => format!("subject {subject}"),
            None => format!(
                "browser {}",
                mcp_authflow_types::hex::encode(entry.browser.as_bytes())
            ),
        };
        let from = limiter_key(entry.address);
        let counted = [
            (TYPED_BY_ONE, by.as_str()),
            (TYPED_FROM_ADDRESS, from.as_str()),
            (TYPED_BY_ALL, "all"),
        ];
        for (limit, key) in counted {
            if let Admission::Refused { retry_after } = limits.admit(limit, key).await {
                return Err(UserCodeProblem::TooMany { retry_after });
            }
        }
        let claimed = self.claim_device(entry).await;
        // What could not be checked was no guess.
        if matches!(claimed, Ok(_) | Err(UserCodeProblem::Unavailable { .. })) {
            for (limit, key) in counted {
                limits.take_back(limit, key).await;
            }
        }
        claimed
    }

    /// Claims the device of a user code for the browser in which it was typed.
    async fn claim_device(
        &self,
        entry: UserCodeEntry<'_>,
    ) -> Result<(InteractionId, ClientId), UserCodeProblem> {
        let now = self.now();
        let user_code = UserCode::read(entry.user_code).map_err(|_| UserCodeProblem::Unknown)?;
        let digest = self.user_code_digest(&user_code);
        let device = self
            .store()
            .find_device(&digest, &entry.browser, now)
            .await?
            .ok_or(UserCodeProblem::Unknown)?;
        let key = mcp_authflow_types::hex::encode(device.hash.as_bytes());
        if let Admission::Refused { retry_after } = self.ports().rate_limit.admit(PER_DEVICE, &key).await {
            return Err(UserCodeProblem::TooMany { retry_after });
        }
        let interaction = Interaction {
            id: InteractionId::from_bytes(self.entropy().draw()),
            browser: entry.browser,
            client_id: device.client_id.clone(),
            client_generation: device.client_generation,
            request: PendingRequest {
                redirect_uri: None,
                only_redirect_uri: None,
                state: None,
                code_challenge: None,
                device: Some(DeviceOrigin {
                    hash: device.hash,
                    address: device.request.address,
                    asked_at: device.created_at,
                }),
                resources: device.request.resources,
                offline_access: device.request.offline_access,
                prompt: Vec::new(),
                max_age: None,
                login_hint: None,
            },
            created_at: now,
            expires_at: device.expires_at,
        };
        match self.store().claim_device(&device.hash, &interaction, now).await? {
            ClaimDevice::Claimed => Ok((interaction.id, device.client_id)),
            ClaimDevice::Gone => Err(UserCodeProblem::Unknown),
        }
    }

    /// The form in which a store knows a user code: keyed, since all codes there are could be tried out in seconds.
    fn user_code_digest(&self, user_code: &UserCode) -> TokenHash {
        TokenHash::from_bytes(
            self.ports()
                .key
                .digest("user code", &[user_code.expose().as_bytes()]),
        )
    }
}
