//! The login and consent pages of an authorization request: what [`Interact`] asks for.

use std::time::Duration;

use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, Method, request::Parts};
use mcp_authflow::{
    AnswerTo, Approval, DeviceDecided, PageReason, Pending, PendingResource, Ticked,
    port::{rate_limit::retry_after_seconds, store::GrantQuery},
    record::{Client, ClientOrigin, ResourceRecord},
};
use mcp_authflow_axum::{DeviceOutcome, DeviceVisit, Interact, Outcome, Visit};
use mcp_authflow_types::{Form, Prompt, Scope, ScopeToken, Timestamp, scope::OFFLINE_ACCESS};

use super::{People, SignIn, SignedIn, apps::percent_encoded, unavailable};
use crate::{
    http::request_id::RequestId,
    pages::{
        Account, Acquaintance, Application, ConsentProblem, ConsentView, Destination, DeviceView, ErrorView,
        Identity, LoginProblem, LoginView, OneLine, Problem, ResourceView, ScopeView,
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
            PageReason::ClientNotAllowed => Problem::ClientNotAllowed,
            PageReason::HostUndecided { .. } => Problem::HostUndecided,
            PageReason::DocumentUnusable => Problem::DocumentUnusable,
            PageReason::DocumentOutOfReach { timed_out } => Problem::DocumentOutOfReach {
                timed_out: *timed_out,
            },
            // Most often the second click of a double one; the first has been answered.
            PageReason::Gone if parts.method == Method::POST => Problem::AlreadyAnswered,
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
        if let PageReason::HostUndecided { host } = reason {
            view.host = Some(OneLine::long(host));
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
                        .await?
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
                self.take_decision(pending, visit, who, &form).await
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
            return Ok(Outcome::Approve(approval(who, Ticked::AsBefore)));
        }
        if is_silent {
            return Ok(Outcome::ConsentRequired);
        }
        Ok(Outcome::Show(
            self.consent_page(pending, visit, &who, None).await?,
        ))
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

    async fn take_decision(
        &self,
        pending: &Pending,
        visit: &Visit,
        who: SignedIn,
        form: &Form<'_>,
    ) -> Result<Outcome, PageReason> {
        Ok(match form.value("decision") {
            Some("deny") => Outcome::Deny,
            Some("allow") => {
                let (scopes, offline_access) = read_ticked(pending, form);
                let asks_for_scope = pending
                    .resources()
                    .iter()
                    .any(|one| !one.asked.scope.without(OFFLINE_ACCESS).is_empty());
                if asks_for_scope && scopes.iter().all(Scope::is_empty) {
                    let problem = Some(ConsentProblem::NothingChosen);
                    return Ok(Outcome::Show(
                        self.consent_page(pending, visit, &who, problem).await?,
                    ));
                }
                Outcome::Approve(approval(
                    who,
                    Ticked::AtEach {
                        scopes,
                        offline_access,
                    },
                ))
            }
            _ => Outcome::Show(self.consent_page(pending, visit, &who, None).await?),
        })
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
            application: Some(self.application(pending)),
            is_for_account: false,
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

    async fn consent_page(
        &self,
        pending: &Pending,
        visit: &Visit,
        who: &SignedIn,
        problem: Option<ConsentProblem>,
    ) -> Result<Response, PageReason> {
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
                    .map(|token| {
                        let value = box_value(pending, index, token);
                        scope_view(one.record.as_deref(), token, value, &one.asked.scope)
                    })
                    .collect(),
            })
            .collect();
        let view = ConsentView {
            action: visit.page.clone(),
            csrf: self.inner.csrf.token(&visit.browser, &visit.page),
            application: self.application(pending),
            acquaintance: self.acquaintance(pending, who).await?,
            destination: destination(pending),
            device: self.device_view(pending),
            account: account(who),
            resources,
            offline_access: pending.offline_access().then_some(true),
            problem,
        };
        Ok(self.inner.pages.consent(&view).into_response())
    }
}

impl People {
    /// Who asks.
    fn application(&self, pending: &Pending) -> Application {
        let mut application = identify(
            pending.client(),
            self.inner.server.settings().issuer.path(),
            self.now(),
        );
        // Nobody may be signed in yet: then the request that waits says why the logo is asked for.
        if let Some(logo) = &mut application.logo {
            *logo = format!("{logo}?interaction={}", pending.id());
        }
        application
    }

    /// How well the client is known, here and to this person.
    async fn acquaintance(&self, pending: &Pending, who: &SignedIn) -> Result<Acquaintance, PageReason> {
        let (client, now) = (pending.client(), self.now());
        if client.is_verified() {
            return Ok(Acquaintance::default());
        }
        let query = GrantQuery {
            client: Some(client.id.clone()),
            ..GrantQuery::of(who.user.id.as_str())
        };
        let store = &self.inner.server.ports().store;
        let last_allowed = store
            .list_grants(&query, 1, now)
            .await
            .map_err(unavailable)?
            .first()
            .map(|last| last.grant.created_at);
        Ok(acquaintance(client, last_allowed, now))
    }

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

/// Who a client is: what is known of it large, what it says of itself small.
pub(super) fn identify(client: &Client, base_path: &str, now: Timestamp) -> Application {
    let name = client.profile.name.as_deref();
    let client_id = OneLine::long(client.id.as_str());
    let (identity, claimed_name) = match client.profile.origin {
        ClientOrigin::Operator => {
            let name = name.map_or_else(|| client_id.clone(), OneLine::name);
            (Identity::Operator { name }, None)
        }
        ClientOrigin::MetadataDocument => {
            let host = client
                .document_host()
                .map_or_else(|| client_id.clone(), OneLine::long);
            (Identity::MetadataDocument { host }, OneLine::optional_name(name))
        }
        ClientOrigin::Registration => {
            let seconds_ago = Some(now.since(client.created_at).as_secs());
            (
                Identity::SelfRegistered { seconds_ago },
                OneLine::optional_name(name),
            )
        }
    };
    // A picture is as easily borrowed as a name, so nobody has one who has nothing else.
    let may_have_logo =
        client.profile.origin != ClientOrigin::Registration && client.profile.logo_uri.is_some();
    let logo = may_have_logo.then(|| {
        format!(
            "{base_path}/ui/client-logo/{}",
            percent_encoded(client.id.as_str())
        )
    });
    Application {
        identity,
        claimed_name,
        client_id,
        logo,
    }
}

/// Within this time after it was first seen or has changed, a client known by a document is marked so.
const IS_NEW: Duration = Duration::from_secs(86_400);
/// A change is told to whoever has never allowed the client within this time.
const CHANGED_LATELY: Duration = Duration::from_secs(30 * 86_400);

/// How well a client is known that nobody vouches for (M-100, M-171, M-176).
fn acquaintance(client: &Client, last_allowed: Option<Timestamp>, now: Timestamp) -> Acquaintance {
    let document = client.profile.document.as_ref();
    let is_told = |changed_at: &Timestamp| match last_allowed {
        Some(last_allowed) => *changed_at > last_allowed,
        None => now.since(*changed_at) < CHANGED_LATELY,
    };
    Acquaintance {
        is_first_time: last_allowed.is_none(),
        first_seen_seconds_ago: document
            .map(|_| now.since(client.created_at))
            .filter(|age| *age < IS_NEW)
            .map(|age| age.as_secs()),
        changed_seconds_ago: document
            .and_then(|copy| copy.changed_at)
            .filter(is_told)
            .map(|changed_at| now.since(changed_at).as_secs()),
    }
}

/// How many tools of a scope are named.
const TOOLS_NAMED: usize = 6;

/// A scope with all that its resource says of it. What it includes by now is named only where it is among `all`, which is what
/// was asked for or granted: nobody has what was included later.
pub(super) fn scope_view(
    record: Option<&ResourceRecord>,
    token: &ScopeToken,
    value: String,
    all: &Scope,
) -> ScopeView {
    let known = record.and_then(|record| record.description_of(token.as_str()));
    let tools = known.map(|scope| &*scope.tools).unwrap_or_default();
    let includes = record
        .map(|record| record.expand(&Scope::from_iter([token.clone()])))
        .unwrap_or_default()
        .narrow_to(all)
        .without(token.as_str())
        .iter()
        .map(|narrower| {
            let words = record.and_then(|record| record.describe(narrower.as_str()));
            OneLine::long(words.unwrap_or(narrower.as_str()))
        })
        .collect();
    ScopeView {
        token: token.to_string(),
        value,
        description: known.map(|scope| OneLine::long(&scope.description)),
        checked: true,
        tools: tools
            .iter()
            .take(TOOLS_NAMED)
            .map(|name| OneLine::name(name))
            .collect(),
        more_tools: tools.len().saturating_sub(TOOLS_NAMED),
        includes,
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use mcp_authflow::record::{
        AccessTokenFormat, ClientProfile, DocumentCopy, DocumentSource, ScopeDescription,
    };
    use mcp_authflow_types::{ClientId, Resource};

    use super::*;

    const NOW: i64 = 100_000_000;
    const DAY: i64 = 86_400;

    fn at(days_ago: i64) -> Timestamp {
        Timestamp::from_seconds(NOW - days_ago * DAY)
    }

    fn client(origin: ClientOrigin, seen_days_ago: i64, changed_days_ago: Option<i64>) -> Client {
        let document = (origin == ClientOrigin::MetadataDocument).then(|| DocumentCopy {
            fetched_at: at(0),
            fresh_until: at(0),
            changed_at: changed_days_ago.map(at),
            source: DocumentSource::Fetched,
        });
        Client {
            id: ClientId::parse("https://app.example/client.json").unwrap(),
            generation: 0,
            secret: None,
            retired_secret: None,
            created_at: at(seen_days_ago),
            expires_at: None,
            profile: ClientProfile {
                name: Some("Your Bank".to_owned()),
                logo_uri: Some("https://app.example/logo.png".to_owned()),
                document,
                ..ClientProfile::new(origin)
            },
        }
    }

    /// M-176
    #[test]
    fn a_change_is_told_to_whom_it_is_new() {
        let told = |changed: i64, allowed: Option<i64>| {
            let client = client(ClientOrigin::MetadataDocument, 90, Some(changed));
            acquaintance(&client, allowed.map(at), at(0))
                .changed_seconds_ago
                .is_some()
        };
        assert!(told(3, Some(5)), "since the last approval");
        assert!(told(60, Some(70)), "however long ago that is");
        assert!(!told(5, Some(3)), "approved as it is now");
        assert!(told(3, None), "lately, to whoever never allowed it");
        assert!(!told(60, None), "long ago");
    }

    /// M-100, M-171
    #[test]
    fn what_nobody_has_seen_before_is_marked_new() {
        let marks = |origin, seen: i64, allowed: Option<i64>| {
            let marks = acquaintance(&client(origin, seen, None), allowed.map(at), at(0));
            (marks.is_first_time, marks.first_seen_seconds_ago.is_some())
        };
        assert_eq!(marks(ClientOrigin::MetadataDocument, 0, None), (true, true));
        assert_eq!(marks(ClientOrigin::MetadataDocument, 2, Some(1)), (false, false));
        // Its page says when it registered itself.
        assert_eq!(marks(ClientOrigin::Registration, 0, None), (true, false));
    }

    /// P4: what a scope includes since it was asked for, or granted, is not said to be allowed.
    #[test]
    fn a_scope_is_not_said_to_include_what_came_to_it_later() {
        let scope = |text: &str| Scope::parse(text).unwrap();
        let described = |token: &str, words: &str, includes: &str| ScopeDescription {
            includes: scope(includes),
            ..ScopeDescription::new(ScopeToken::parse(token).unwrap(), words)
        };
        let record = ResourceRecord {
            resource: Resource::parse("https://rs.example/mcp").unwrap(),
            name: "Notes".to_owned(),
            scopes: vec![
                described("write", "Change notes", "read delete"),
                described("read", "Read notes", ""),
                described("delete", "Delete notes", ""),
            ],
            access_token_format: AccessTokenFormat::Opaque,
            created_at: at(0),
        };
        let write = ScopeToken::parse("write").unwrap();
        let includes = |all: &str| {
            let view = scope_view(Some(&record), &write, String::new(), &scope(all));
            let words = view.includes.iter().map(ToString::to_string);
            words.collect::<Vec<_>>()
        };
        assert_eq!(includes("read write"), ["Read notes"]);
        assert_eq!(includes("write"), [""; 0]);
        assert_eq!(includes("delete read write"), ["Delete notes", "Read notes"]);
    }

    /// CD-12, CM-12: the name and the picture of a client are its own choice.
    #[test]
    fn only_who_is_known_by_more_than_a_name_has_a_large_name_or_a_picture() {
        let shown = |origin| identify(&client(origin, 0, None), "/tenant", at(0));
        let operator = shown(ClientOrigin::Operator);
        assert!(matches!(operator.identity, Identity::Operator { name } if name.to_string() == "Your Bank"));
        assert!(operator.claimed_name.is_none());
        let document = shown(ClientOrigin::MetadataDocument);
        assert!(
            matches!(document.identity, Identity::MetadataDocument { host } if host.to_string() == "app.example")
        );
        assert!(document.claimed_name.is_some());
        assert_eq!(
            document.logo.as_deref(),
            Some("/tenant/ui/client-logo/https%3A%2F%2Fapp.example%2Fclient.json")
        );
        let stranger = shown(ClientOrigin::Registration);
        assert!(matches!(stranger.identity, Identity::SelfRegistered { .. }));
        assert!(stranger.claimed_name.is_some() && stranger.logo.is_none());
    }
}
