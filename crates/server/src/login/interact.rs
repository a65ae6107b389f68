//! The login and consent pages of an authorization request: what [`Interact`] asks for.

use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, Method, request::Parts};
use mcp_authflow::{
    AnswerTo, Approval, DeviceDecided, PageReason, Pending, PendingResource, Ticked,
    port::rate_limit::retry_after_seconds,
};
use mcp_authflow_axum::{DeviceOutcome, DeviceVisit, Interact, Outcome, Visit};
use mcp_authflow_types::{Form, Prompt, Scope, ScopeToken, scope::OFFLINE_ACCESS};

use super::{People, SignIn, SignedIn, unavailable};
use crate::{
    http::request_id::RequestId,
    pages::{
        Account, Application, ConsentProblem, ConsentView, Destination, DeviceView, ErrorView, Identity,
        LoginProblem, LoginView, OneLine, Problem, ResourceView, ScopeView,
    },
};

#[async_trait::async_trait]
impl Interact for People {
    async fn interact(&self, pending: &Pending, visit: Visit) -> Outcome {
        match self.handle(pending, &visit).await {
            Ok(outcome) => outcome,
            Err(reason) => Outcome::Show(self.refuse(&reason, &visit.parts).await),
        }
    }

    async fn device(&self, device: &DeviceVisit) -> DeviceOutcome {
        self.visit_device(device).await
    }

    async fn device_decided(&self, decided: DeviceDecided, _parts: &Parts) -> Response {
        self.device_decided_page(decided)
    }

    async fn refuse(&self, reason: &PageReason, parts: &Parts) -> Response {
        let problem = match reason {
            PageReason::UnknownClient | PageReason::NoClientId => Problem::UnknownClient,
            PageReason::RedirectUri(_) => Problem::UnknownRedirect,
            PageReason::Gone => Problem::RequestEnded,
            PageReason::TooMany { retry_after } => Problem::TooManyRequests {
                retry_after_seconds: retry_after_seconds(*retry_after),
            },
            PageReason::Unavailable { timed_out: true } => Problem::TimedOut,
            PageReason::Unavailable { timed_out: false } => Problem::Unavailable,
            _ => Problem::BadRequest,
        };
        let mut view = ErrorView::new(problem);
        if let PageReason::Refused { .. } | PageReason::Repeated(_) | PageReason::RedirectUri(_) = reason {
            view.detail = Some(OneLine::long(&reason.to_string()));
        }
        if let PageReason::Refused {
            target: Some(target), ..
        } = reason
        {
            view.destination = Some(Destination::of(target));
        }
        view.request_id = parts
            .extensions
            .get::<RequestId>()
            .map(|id| OneLine::name(&id.to_string()));
        self.inner.pages.error(&view).into_response()
    }
}

impl People {
    async fn handle(&self, pending: &Pending, visit: &Visit) -> Result<Outcome, PageReason> {
        let signed_in = self.signed_in(&visit.browser).await.map_err(unavailable)?;
        if visit.parts.method != Method::POST {
            return self.look(pending, visit, signed_in).await;
        }
        let form = Form::parse(&visit.body).map_err(|_| PageReason::Gone)?;
        let csrf = form.value("csrf");
        if !self.inner.csrf.is_right(&visit.browser, &visit.page, csrf) {
            let page = match signed_in {
                Some(who) if !Self::must_sign_in(pending, Some(&who)) => {
                    self.consent_page(pending, visit, &who, Some(ConsentProblem::FormExpired))
                }
                _ => self.login_page(pending, visit, None, Some(LoginProblem::FormExpired)),
            };
            return Ok(Outcome::Show(page));
        }
        match (form.value("step"), signed_in) {
            (Some("login"), _) => Ok(Outcome::Show(self.take_login(pending, visit, &form).await)),
            (Some("sign_out"), Some(who)) => {
                self.sign_out(&visit.browser, who.user.id.as_str(), visit.address)
                    .await
                    .map_err(unavailable)?;
                Ok(Outcome::Show(see_page(visit, None)))
            }
            (Some("consent"), Some(who)) if !Self::must_sign_in(pending, Some(&who)) => {
                Ok(self.take_decision(pending, visit, who, &form))
            }
            (_, signed_in) => self.look(pending, visit, signed_in).await,
        }
    }

    /// What a visit by GET sees: the login form, the consent form, or nothing, where an earlier approval stands.
    async fn look(
        &self,
        pending: &Pending,
        visit: &Visit,
        signed_in: Option<SignedIn>,
    ) -> Result<Outcome, PageReason> {
        let is_silent = pending.interaction().request.prompts(Prompt::None);
        let who = match signed_in {
            Some(who) if !Self::must_sign_in(pending, Some(&who)) => who,
            _ if is_silent => return Ok(Outcome::LoginRequired),
            _ => return Ok(Outcome::Show(self.login_page(pending, visit, None, None))),
        };
        if self
            .inner
            .server
            .is_approved_already(pending, who.user.id.as_str())
            .await?
        {
            return Ok(Outcome::Approve(approval(who, Ticked::Everything)));
        }
        if is_silent {
            return Ok(Outcome::ConsentRequired);
        }
        Ok(Outcome::Show(self.consent_page(pending, visit, &who, None)))
    }

    /// Whether the password has to be given (again): nobody is signed in, or the client asks for it (OpenID Connect Core
    /// §3.1.2.1: `prompt=login`, `max_age`).
    fn must_sign_in(pending: &Pending, who: Option<&SignedIn>) -> bool {
        let Some(who) = who else { return true };
        let (interaction, authenticated_at) = (pending.interaction(), who.session.authenticated_at);
        let request = &interaction.request;
        let asks_anew = request.prompts(Prompt::Login) || request.prompts(Prompt::SelectAccount);
        let elapsed = interaction.created_at.since(authenticated_at).as_secs();
        // Zero is not a matter of seconds: it asks for the password as `prompt=login` does.
        let is_too_old = request
            .max_age
            .is_some_and(|age| age == 0 || elapsed > u64::from(age));
        // Whoever signed in for this request has signed in, however small `max_age` is and however long the choice takes.
        // Whole seconds: a sign-in in the very second of the request may be an earlier one, so it does not count.
        let is_from_before = authenticated_at <= interaction.created_at;
        is_from_before && (asks_anew || is_too_old)
    }

    async fn take_login(&self, pending: &Pending, visit: &Visit, form: &Form<'_>) -> Response {
        let username = form.value("username").unwrap_or_default();
        let password = form.value("password").unwrap_or_default();
        let problem = match self
            .sign_in(username, password, Some(&visit.browser), visit.address)
            .await
        {
            SignIn::Done(cookie, _) => return see_page(visit, Some(cookie)),
            SignIn::Wrong(_) => LoginProblem::WrongCredentials,
            SignIn::Busy => LoginProblem::Unavailable,
            SignIn::TooMany(wait) => LoginProblem::TooManyTries {
                retry_after_seconds: retry_after_seconds(wait),
            },
            SignIn::Unavailable(error) => {
                return self.refuse(&unavailable(error), &visit.parts).await;
            }
        };
        self.login_page(pending, visit, Some(username), Some(problem))
    }

    fn take_decision(&self, pending: &Pending, visit: &Visit, who: SignedIn, form: &Form<'_>) -> Outcome {
        match form.value("decision") {
            Some("deny") => Outcome::Deny,
            Some("allow") => {
                let (scopes, offline_access) = read_ticked(pending, form);
                let asks_for_scope = pending
                    .resources()
                    .iter()
                    .any(|one| !one.asked.scope.without(OFFLINE_ACCESS).is_empty());
                if asks_for_scope && scopes.iter().all(Scope::is_empty) {
                    let problem = Some(ConsentProblem::NothingChosen);
                    return Outcome::Show(self.consent_page(pending, visit, &who, problem));
                }
                Outcome::Approve(approval(
                    who,
                    Ticked::AtEach {
                        scopes,
                        offline_access,
                    },
                ))
            }
            _ => Outcome::Show(self.consent_page(pending, visit, &who, None)),
        }
    }

    fn login_page(
        &self,
        pending: &Pending,
        visit: &Visit,
        username: Option<&str>,
        problem: Option<LoginProblem>,
    ) -> Response {
        let hint = username.or(pending.interaction().request.login_hint.as_deref());
        let view = LoginView {
            action: visit.page.clone(),
            csrf: self.inner.csrf.token(&visit.browser, &visit.page),
            application: Some(application(pending, self.now())),
            destination: destination(pending),
            username: hint.unwrap_or_default().to_owned(),
            problem,
        };
        let mut page = self.inner.pages.login(&view);
        // An earlier approval may let the redirect that follows a sign-in lead straight to the client.
        page.form_targets
            .extend(view.destination.iter().flat_map(Destination::form_targets));
        page.into_response()
    }

    fn consent_page(
        &self,
        pending: &Pending,
        visit: &Visit,
        who: &SignedIn,
        problem: Option<ConsentProblem>,
    ) -> Response {
        let resources = pending
            .resources()
            .iter()
            .enumerate()
            .map(|(index, one)| ResourceView {
                name: one.record.as_ref().map(|record| OneLine::name(&record.name)),
                uri: OneLine::long(one.asked.resource.as_str()),
                scopes: one
                    .asked
                    .scope
                    .without(OFFLINE_ACCESS)
                    .iter()
                    .map(|token| ScopeView {
                        value: box_value(pending, index, token),
                        token: token.to_string(),
                        description: one
                            .record
                            .as_ref()
                            .and_then(|record| record.describe(token.as_str()))
                            .map(OneLine::long),
                        checked: true,
                    })
                    .collect(),
            })
            .collect();
        let view = ConsentView {
            action: visit.page.clone(),
            csrf: self.inner.csrf.token(&visit.browser, &visit.page),
            application: application(pending, self.now()),
            destination: destination(pending),
            device: self.device_view(pending),
            account: account(who),
            resources,
            offline_access: pending.offline_access().then_some(true),
            problem,
        };
        self.inner.pages.consent(&view).into_response()
    }
}

impl People {
    /// What can be told of the device that waits, where one does.
    fn device_view(&self, pending: &Pending) -> Option<DeviceView> {
        match pending.answer_to() {
            AnswerTo::Client(_) => None,
            AnswerTo::Device(device) => Some(DeviceView {
                address: device.address.map(|address| OneLine::name(&address.to_string())),
                seconds_ago: self.now().since(device.asked_at).as_secs(),
            }),
        }
    }
}

/// Where the browser is sent afterwards, unless a device waits.
fn destination(pending: &Pending) -> Option<Destination> {
    pending
        .answer_to()
        .target()
        .map(|target| Destination::of(target.as_str()))
}

/// Who is signed in, for a page.
pub(super) fn account(who: &SignedIn) -> Account {
    Account {
        username: OneLine::name(&who.user.username),
        display_name: OneLine::optional_name(who.user.display_name.as_deref()),
        is_admin: who.user.is_admin,
    }
}

/// Who asks: what the operator says of it large, what it says of itself small.
fn application(pending: &Pending, now: mcp_authflow_types::Timestamp) -> Application {
    let client = pending.client();
    let name = client.profile.name.as_deref();
    let client_id = OneLine::long(client.id.as_str());
    if client.is_verified() {
        let name = name.map_or_else(|| client_id.clone(), OneLine::name);
        Application {
            identity: Identity::Operator { name },
            claimed_name: None,
            client_id,
        }
    } else {
        let seconds_ago = Some(now.since(client.created_at).as_secs());
        let claimed_name = OneLine::optional_name(name);
        Application {
            identity: Identity::SelfRegistered { seconds_ago },
            claimed_name,
            client_id,
        }
    }
}

fn approval(who: SignedIn, ticked: Ticked) -> Approval {
    Approval {
        subject: who.user.id.to_string(),
        username: Some(who.user.username),
        subject_generation: Some(who.session.subject_generation),
        ticked,
    }
}

/// The value of a scope's box: the token; behind the number of its resource where several resources have that token, so
/// that each of the boxes can be unticked by itself. A token holds no space.
fn box_value(pending: &Pending, index: usize, token: &ScopeToken) -> String {
    let has_token = |one: &&PendingResource| one.asked.scope.contains(token.as_str());
    if pending.resources().iter().filter(has_token).count() > 1 {
        format!("{index} {token}")
    } else {
        token.to_string()
    }
}

/// What was left ticked at each resource, and whether the client may stay connected.
fn read_ticked(pending: &Pending, form: &Form<'_>) -> (Vec<Scope>, bool) {
    let is_ticked = |value: &str| form.values("scope").any(|ticked| ticked == value);
    let scopes = pending
        .resources()
        .iter()
        .enumerate()
        .map(|(index, one)| {
            let asked = one.asked.scope.without(OFFLINE_ACCESS);
            asked
                .iter()
                .filter(|token| is_ticked(&box_value(pending, index, token)))
                .cloned()
                .collect()
        })
        .collect();
    (scopes, is_ticked(OFFLINE_ACCESS))
}

/// Sends the browser to the same page by GET, so that a reload sends no form twice.
fn see_page(visit: &Visit, cookie: Option<HeaderValue>) -> Response {
    super::account::see_other(&visit.page, cookie)
}
