//! The applications that a person has let in: seeing them, disconnecting one, and signing out everywhere.
//!
//! | page | what |
//! |---|---|
//! | `GET /ui/apps` | every application with a standing approval of this person; signing in, for whoever is not |
//! | `/ui/apps/disconnect?client=…` | asks, and by POST ends every grant of this person to that client |
//! | `/ui/sign-out-everywhere` | asks, and by POST ends all sessions, or those and every grant |
//!
//! Every look-up and every change names the person who is signed in, so an identifier of somebody else's is the same as
//! one that nobody has. Administrators see their own here, too.

use std::time::Duration;

use axum::{
    extract::{Request, State},
    response::{IntoResponse as _, Response},
};
use http::{header, request::Parts};
use mcp_authflow::{
    port::{
        AuditEvent, AuditOutcome, StoreError,
        audit::AuditAction,
        rate_limit::retry_after_seconds,
        store::{GrantQuery, GrantSummary},
    },
    record::{AccessTokenFormat, ResourceRecord},
};
use mcp_authflow_axum::client_address;
use mcp_authflow_types::{ClientId, Form, Timestamp, TokenHash, scope::OFFLINE_ACCESS};

use super::{
    People, SignIn, SignedIn,
    account::see_other,
    interact::{account, identify, scope_view},
};
use crate::pages::{
    AppView, AppsView, DisconnectView, GrantView, LastUseView, LoginProblem, LoginView, OneLine, Paging,
    Problem, ResourceView, SignOutEverywhereView, SignedOut,
};

const APPS: &str = "/ui/apps";
const DISCONNECT: &str = "/ui/apps/disconnect";
const SIGN_OUT_EVERYWHERE: &str = "/ui/sign-out-everywhere";
/// What the token stands for that says "it is done" after a disconnection; without one, nobody's link says so.
const DISCONNECTED: &str = "/ui/apps disconnected";

/// How many applications a page shows.
const APPS_A_PAGE: usize = 20;
/// How many approvals of one application are shown.
const GRANTS_AN_APP: usize = 5;
/// How many approvals are read for a page: whoever has more sees the newest.
const GRANTS_READ: u32 = 1_000;

/// What is signed in here, or the answer for whoever is not.
type OrAnswer<T> = Result<T, Response>;

/// `GET /ui/apps`.
pub(super) async fn show(State(people): State<People>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let (browser, who) = match people.who(&parts).await {
        Ok(Some(found)) => found,
        Ok(None) => return people.apps_login(&parts, "", None),
        Err(error) => return people.unavailable(&error, &parts),
    };
    match people.apps_page(&parts, &browser, &who).await {
        Ok(page) => page,
        Err(error) => people.unavailable(&error, &parts),
    }
}

/// `POST /ui/apps`: the sign-in form.
pub(super) async fn sign_in(State(people): State<People>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Some(body) = people.read_form(&parts, body).await else {
        return people.error(Problem::FormRefused, &parts);
    };
    let form = Form::parse(&body).unwrap_or_default();
    let page = people.path(APPS);
    let browser = people.browser(&parts);
    let Some(browser) =
        browser.filter(|browser| people.inner.csrf.is_right(browser, &page, form.value("csrf")))
    else {
        return people.apps_login(&parts, "", Some(LoginProblem::FormExpired));
    };
    let username = form.value("username").unwrap_or_default();
    let password = form.value("password").unwrap_or_default();
    let address = client_address(&parts);
    let problem = match people.sign_in(username, password, Some(&browser), address).await {
        SignIn::Done(cookie, _) => return see_other(&page, Some(cookie)),
        SignIn::Wrong(_) => LoginProblem::WrongCredentials,
        SignIn::Busy => LoginProblem::Unavailable,
        SignIn::TooMany(wait) => LoginProblem::TooManyTries {
            retry_after_seconds: retry_after_seconds(wait),
        },
        SignIn::Unavailable(error) => return people.unavailable(&error, &parts),
    };
    people.apps_login(&parts, username, Some(problem))
}

/// `GET /ui/apps/disconnect?client=…`.
pub(super) async fn ask_to_disconnect(State(people): State<People>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let (browser, who) = match people.who_or_sign_in(&parts).await {
        Ok(found) => found,
        Err(answer) => return answer,
    };
    let query = Form::parse(parts.uri.query().unwrap_or_default().as_bytes()).unwrap_or_default();
    let Some(client) = query.value("client").and_then(|id| ClientId::parse(id).ok()) else {
        return see_other(&people.path(APPS), None);
    };
    match people.disconnect_page(&browser, &who, &client).await {
        Ok(Some(page)) => page,
        // Nobody's, somebody else's, or over: all the same.
        Ok(None) => see_other(&people.path(APPS), None),
        Err(error) => people.unavailable(&error, &parts),
    }
}

/// `POST /ui/apps/disconnect`.
pub(super) async fn disconnect(State(people): State<People>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Some(body) = people.read_form(&parts, body).await else {
        return people.error(Problem::FormRefused, &parts);
    };
    let form = Form::parse(&body).unwrap_or_default();
    let (browser, who) = match people.who_or_sign_in(&parts).await {
        Ok(found) => found,
        Err(answer) => return answer,
    };
    let client = form.value("client").and_then(|id| ClientId::parse(id).ok());
    let Some(client) = client.filter(|client| {
        let page = disconnection_of(client);
        people.inner.csrf.is_right(&browser, &page, form.value("csrf"))
    }) else {
        return people.error(Problem::FormRefused, &parts);
    };
    let subject = who.user.id.as_str();
    let store = &people.inner.server.ports().store;
    let ended = match store.revoke_client_grants(subject, &client, people.now()).await {
        Ok(ended) => ended,
        Err(error) => return people.unavailable(&error, &parts),
    };
    if ended > 0 {
        people.audit(
            &AuditEvent::new(
                AuditAction::Revoke,
                AuditOutcome::Allowed,
                "the person disconnected the client",
            )
            .with_client(&client)
            .with_subject(subject)
            .with_address(client_address(&parts)),
        );
    }
    let done = people.inner.csrf.token(&browser, DISCONNECTED);
    see_other(&format!("{}?done={done}", people.path(APPS)), None)
}

/// `GET /ui/sign-out-everywhere`.
pub(super) async fn ask_to_sign_out_everywhere(State(people): State<People>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let (browser, who) = match people.who_or_sign_in(&parts).await {
        Ok(found) => found,
        Err(answer) => return answer,
    };
    let listed = match people.connected(who.user.id.as_str(), None).await {
        Ok(listed) => listed,
        Err(error) => return people.unavailable(&error, &parts),
    };
    let action = people.path(SIGN_OUT_EVERYWHERE);
    let view = SignOutEverywhereView {
        csrf: people.inner.csrf.token(&browser, &action),
        action,
        account: account(&who),
        apps: by_client(listed).len(),
    };
    people.inner.pages.sign_out_everywhere(&view).into_response()
}

/// `POST /ui/sign-out-everywhere`.
pub(super) async fn sign_out_everywhere(State(people): State<People>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Some(body) = people.read_form(&parts, body).await else {
        return people.error(Problem::FormRefused, &parts);
    };
    let form = Form::parse(&body).unwrap_or_default();
    let (browser, who) = match people.who_or_sign_in(&parts).await {
        Ok(found) => found,
        Err(answer) => return answer,
    };
    let page = people.path(SIGN_OUT_EVERYWHERE);
    if !people.inner.csrf.is_right(&browser, &page, form.value("csrf")) {
        return people.error(Problem::FormRefused, &parts);
    }
    let subject = who.user.id.as_str();
    let (what, words, ended) = match form.value("what") {
        Some("sessions") => (
            SignedOut::Everywhere,
            "signed out everywhere",
            people
                .inner
                .accounts
                .end_sessions_of(&who.user.id)
                .await
                .map(drop),
        ),
        Some("everything") => (
            SignedOut::Everything,
            "signed out everywhere, and every client disconnected",
            // A generation raised ends sessions, grants, and what is being issued.
            people
                .inner
                .server
                .ports()
                .store
                .revoke_subject(subject)
                .await
                .map(drop),
        ),
        _ => return see_other(&page, None),
    };
    if let Err(error) = ended {
        return people.unavailable(&error, &parts);
    }
    people.audit(
        &AuditEvent::new(AuditAction::SignOut, AuditOutcome::Allowed, words)
            .with_subject(subject)
            .with_address(client_address(&parts)),
    );
    people.signed_out(what)
}

impl People {
    /// Who is signed in in the browser of a request.
    async fn who(&self, parts: &Parts) -> Result<Option<(TokenHash, SignedIn)>, StoreError> {
        let Some(browser) = self.browser(parts) else {
            return Ok(None);
        };
        Ok(self.signed_in(&browser).await?.map(|who| (browser, who)))
    }

    /// The same, or the way to the sign-in form.
    async fn who_or_sign_in(&self, parts: &Parts) -> OrAnswer<(TokenHash, SignedIn)> {
        match self.who(parts).await {
            Ok(Some(found)) => Ok(found),
            Ok(None) => Err(see_other(&self.path(APPS), None)),
            Err(error) => Err(self.unavailable(&error, parts)),
        }
    }

    /// The page that says so, in a browser without a session.
    pub(super) fn signed_out(&self, what: SignedOut) -> Response {
        let mut response = self.inner.pages.signed_out(what).into_response();
        response
            .headers_mut()
            .insert(header::SET_COOKIE, self.inner.cookie.clear());
        response
    }

    fn apps_login(&self, parts: &Parts, username: &str, problem: Option<LoginProblem>) -> Response {
        let known = self.inner.cookie.read(&parts.headers);
        let is_new = known.is_none();
        let secret = known.unwrap_or_else(|| self.new_browser());
        let action = self.path(APPS);
        let view = LoginView {
            csrf: self.inner.csrf.token(&secret.hash(), &action),
            action,
            application: None,
            is_for_account: true,
            destination: None,
            username: username.to_owned(),
            problem,
        };
        let mut response = self.inner.pages.login(&view).into_response();
        if is_new {
            response
                .headers_mut()
                .insert(header::SET_COOKIE, self.inner.cookie.set(&secret));
        }
        response
    }

    /// The standing approvals of a person, the newest first.
    async fn connected(
        &self,
        subject: &str,
        client: Option<&ClientId>,
    ) -> Result<Vec<GrantSummary>, StoreError> {
        let query = GrantQuery {
            client: client.cloned(),
            only_connected: true,
            ..GrantQuery::of(subject)
        };
        let store = &self.inner.server.ports().store;
        store.list_grants(&query, GRANTS_READ, self.now()).await
    }

    async fn apps_page(
        &self,
        parts: &Parts,
        browser: &TokenHash,
        who: &SignedIn,
    ) -> Result<Response, StoreError> {
        let query = Form::parse(parts.uri.query().unwrap_or_default().as_bytes()).unwrap_or_default();
        let listed = self.connected(who.user.id.as_str(), None).await?;
        let is_cut = listed.len() >= GRANTS_READ as usize;
        let clients = by_client(listed);
        let total = clients.len();
        let pages = total.div_ceil(APPS_A_PAGE).max(1);
        let asked = query.value("page").and_then(|page| page.parse().ok());
        let page = asked.unwrap_or(1_usize).clamp(1, pages);
        let address = |page: usize| format!("{}?page={page}", self.path(APPS));

        let resources = self.inner.server.ports().store.list_resources().await?;
        let mut apps = Vec::new();
        for (client, grants) in clients
            .into_iter()
            .skip((page - 1) * APPS_A_PAGE)
            .take(APPS_A_PAGE)
        {
            apps.extend(self.app_view(&client, &grants, &resources).await?);
        }
        mark_shared_names(&mut apps);
        let view = AppsView {
            account: account(who),
            apps,
            total,
            is_cut,
            paging: Paging {
                page,
                pages,
                newer: (page > 1).then(|| address(page - 1)),
                older: (page < pages).then(|| address(page + 1)),
            },
            has_disconnected: self
                .inner
                .csrf
                .is_right(browser, DISCONNECTED, query.value("done")),
        };
        Ok(self.inner.pages.apps(&view).into_response())
    }

    async fn disconnect_page(
        &self,
        browser: &TokenHash,
        who: &SignedIn,
        client: &ClientId,
    ) -> Result<Option<Response>, StoreError> {
        let grants = self.connected(who.user.id.as_str(), Some(client)).await?;
        if grants.is_empty() {
            return Ok(None);
        }
        let resources = self.inner.server.ports().store.list_resources().await?;
        let Some(app) = self.app_view(client, &grants, &resources).await? else {
            return Ok(None);
        };
        let is_signed = |summary: &GrantSummary| {
            summary.grant.resources.iter().any(|one| {
                resources.iter().any(|record| {
                    record.resource == one.resource && record.access_token_format != AccessTokenFormat::Opaque
                })
            })
        };
        let life = self.inner.server.settings().lifetimes.access_token;
        let view = DisconnectView {
            action: self.path(DISCONNECT),
            csrf: self.inner.csrf.token(browser, &disconnection_of(client)),
            client: client.to_string(),
            account: account(who),
            app,
            minutes_at_most: grants.iter().any(is_signed).then(|| life.as_secs().div_ceil(60)),
        };
        Ok(Some(self.inner.pages.disconnect(&view).into_response()))
    }

    /// An application with what it was allowed; nothing where it is gone by now.
    async fn app_view(
        &self,
        id: &ClientId,
        grants: &[GrantSummary],
        resources: &[ResourceRecord],
    ) -> Result<Option<AppView>, StoreError> {
        let Some(client) = self.inner.server.ports().store.load_client(id).await? else {
            return Ok(None);
        };
        let now = self.now();
        let shown = grants.iter().take(GRANTS_AN_APP);
        Ok(Some(AppView {
            application: identify(&client, self.inner.server.settings().issuer.path(), now),
            shares_its_name: false,
            disconnect: format!(
                "{}?client={}",
                self.path(DISCONNECT),
                percent_encoded(id.as_str())
            ),
            grants: shown
                .map(|summary| self.grant_view(summary, resources, now))
                .collect(),
            more_grants: grants.len().saturating_sub(GRANTS_AN_APP),
        }))
    }

    fn grant_view(&self, summary: &GrantSummary, resources: &[ResourceRecord], now: Timestamp) -> GrantView {
        let GrantSummary { grant, last_used, .. } = summary;
        let lifetimes = &self.inner.server.settings().lifetimes;
        let life = if grant.offline_access {
            lifetimes.refresh_idle
        } else {
            lifetimes.access_token
        };
        let ago = |at: Timestamp| now.since(at).as_secs();
        GrantView {
            resources: grant
                .resources
                .iter()
                .map(|one| {
                    let record = resources.iter().find(|record| record.resource == one.resource);
                    ResourceView {
                        name: record.map(|record| OneLine::name(&record.name)),
                        uri: OneLine::long(one.resource.as_str()),
                        scopes: one
                            .scope
                            .without(OFFLINE_ACCESS)
                            .iter()
                            .map(|token| scope_view(record, token, token.to_string(), &one.scope))
                            .collect(),
                    }
                })
                .collect(),
            allowed_seconds_ago: ago(grant.created_at),
            last_used: last_used.map(|used| LastUseView {
                seconds_ago: ago(used.at),
                address: used.address.map(|address| OneLine::name(&address.to_string())),
            }),
            offline_access: grant.offline_access,
            is_active: last_used.is_some_and(|used| is_alive(used.at, life, now)),
        }
    }
}

/// Whether what was fetched at a moment is still good.
fn is_alive(fetched_at: Timestamp, life: Duration, now: Timestamp) -> bool {
    !(fetched_at + life).has_passed(now)
}

/// What a form that disconnects a client is about; its token is good for no other.
fn disconnection_of(client: &ClientId) -> String {
    format!("{DISCONNECT} {client}")
}

/// Grants under their client, in the order in which each client comes first.
fn by_client(grants: Vec<GrantSummary>) -> Vec<(ClientId, Vec<GrantSummary>)> {
    let mut clients: Vec<(ClientId, Vec<GrantSummary>)> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for summary in grants {
        let id = summary.grant.client_id.clone();
        let place = *places.entry(id.clone()).or_insert_with(|| {
            clients.push((id, Vec::new()));
            clients.len() - 1
        });
        clients[place].1.push(summary);
    }
    clients
}

/// Marks those that give themselves the same name as another, however it is capitalised and spaced.
fn mark_shared_names(apps: &mut [AppView]) {
    let names: Vec<Option<String>> = apps
        .iter()
        .map(|app| {
            let name = app.application.claimed_name.as_ref()?.to_string();
            Some(name.split_whitespace().collect::<String>().to_lowercase())
        })
        .collect();
    for (app, name) in apps.iter_mut().zip(&names) {
        app.shares_its_name = name.is_some() && names.iter().filter(|other| *other == name).count() > 1;
    }
}

/// Text as a part of an address (RFC 3986 §2.1): everything but unreserved characters is spelled out.
pub(super) fn percent_encoded(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut address, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            address.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(address, "%{byte:02X}");
        }
        address
    })
}
