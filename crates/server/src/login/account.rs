//! The pages that belong to no authorization request: home, sign-out, the first account, the stylesheet.

use axum::{
    Router,
    body::Body,
    extract::{Path, Request, State},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use http::{HeaderValue, header, request::Parts};
use mcp_authflow::{
    port::{AuditEvent, AuditOutcome, StoreError, audit::AuditAction, store::AddUser},
    record::{User, UserId},
};
use mcp_authflow_axum::{client_address, is_form, is_same_origin, read_body};
use mcp_authflow_jose::ServerKey;
use mcp_authflow_types::{Form, Issuer, TokenHash, hex};

use super::{
    People, apps,
    interact::account,
    password::{self, UnusablePassword},
    username,
};
use crate::{
    http::request_id::RequestId,
    pages::{ErrorView, HomeView, OneLine, Problem, SetupProblem, SetupView, SignedOut},
};

const SETUP: &str = "first account";

/// The routes.
pub(crate) fn router(people: People) -> Router {
    let base = people.inner.server.settings().issuer.path().to_owned();
    let at = |path: &str| format!("{base}{path}");
    Router::new()
        .route(&at("/ui/"), get(home))
        .route(&at("/ui/sign-out"), post(sign_out))
        .route(&at("/ui/apps"), get(apps::show).post(apps::sign_in))
        .route(
            &at("/ui/apps/disconnect"),
            get(apps::ask_to_disconnect).post(apps::disconnect),
        )
        .route(
            &at("/ui/sign-out-everywhere"),
            get(apps::ask_to_sign_out_everywhere).post(apps::sign_out_everywhere),
        )
        .route(&at("/ui/setup"), get(show_setup).post(take_setup))
        .route(&at("/ui/assets/{name}"), get(asset))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(people)
}

/// The link by which the first account is made: good only while there is none, the same on every node and at every
/// start, so that it can be printed again.
pub(crate) fn setup_link(issuer: &Issuer, key: &ServerKey) -> String {
    let token = key.digest(SETUP, &[issuer.as_str().as_bytes()]);
    format!("{}?token={}", issuer.endpoint("/ui/setup"), hex::encode(&token))
}

async fn home(State(people): State<People>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let browser = people.browser(&parts);
    let who = match &browser {
        Some(browser) => match people.signed_in(browser).await {
            Ok(who) => who,
            Err(error) => return people.unavailable(&error, &parts),
        },
        None => None,
    };
    let page = people.path("/ui/sign-out");
    let csrf = browser
        .map(|browser| people.inner.csrf.token(&browser, &page))
        .unwrap_or_default();
    let view = HomeView {
        account: who.as_ref().map(account),
        csrf,
    };
    people.inner.pages.home(&view).into_response()
}

async fn sign_out(State(people): State<People>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Some(form) = people.read_form(&parts, body).await else {
        return people.error(Problem::FormRefused, &parts);
    };
    let form = Form::parse(&form).unwrap_or_default();
    let browser = people.browser(&parts);
    let page = people.path("/ui/sign-out");
    let Some(browser) =
        browser.filter(|browser| people.inner.csrf.is_right(browser, &page, form.value("csrf")))
    else {
        return people.error(Problem::FormRefused, &parts);
    };
    let signed_out = match people.signed_in(&browser).await {
        Ok(Some(who)) => {
            people
                .sign_out(&browser, who.user.id.as_str(), client_address(&parts))
                .await
        }
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    if let Err(error) = signed_out {
        return people.unavailable(&error, &parts);
    }
    people.signed_out(SignedOut::Here)
}

async fn show_setup(State(people): State<People>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    match people.may_set_up(&parts).await {
        Ok(true) => people.setup_page(&parts, "", None),
        Ok(false) => people.error(Problem::SetupLinkUsed, &parts),
        Err(error) => people.unavailable(&error, &parts),
    }
}

async fn take_setup(State(people): State<People>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    match people.may_set_up(&parts).await {
        Ok(true) => {}
        Ok(false) => return people.error(Problem::SetupLinkUsed, &parts),
        Err(error) => return people.unavailable(&error, &parts),
    }
    let Some(body) = people.read_form(&parts, body).await else {
        return people.error(Problem::FormRefused, &parts);
    };
    let form = Form::parse(&body).unwrap_or_default();
    let browser = people.browser(&parts);
    let is_right = |browser| {
        people
            .inner
            .csrf
            .is_right(&browser, &people.path("/ui/setup"), form.value("csrf"))
    };
    let typed = form.value("username").unwrap_or_default();
    if !browser.is_some_and(is_right) {
        return people.setup_page(&parts, typed, Some(SetupProblem::FormExpired));
    }
    let password = form.value("password").unwrap_or_default();
    let problem = match (username::normalize(typed), password::check_length(password)) {
        (Err(_), _) => Some(SetupProblem::UsernameUnusable),
        (_, Err(UnusablePassword::TooShort)) => Some(SetupProblem::PasswordTooShort),
        (_, Err(UnusablePassword::TooLong)) => Some(SetupProblem::PasswordTooLong),
        _ if form.value("password_again") != Some(password) => Some(SetupProblem::PasswordsDiffer),
        _ => None,
    };
    if problem.is_some() {
        return people.setup_page(&parts, typed, problem);
    }
    let Ok(password_hash) = people.inner.passwords.hash(password).await else {
        return people.error(Problem::Internal, &parts);
    };
    let user = User {
        id: UserId::from_random(people.inner.server.ports().entropy.draw()),
        username: username::normalize(typed).unwrap_or_default(),
        display_name: None,
        password_hash,
        is_admin: true,
        created_at: people.now(),
        disabled_at: None,
    };
    match people.inner.accounts.add_user(&user, true).await {
        Ok(AddUser::Added) => {}
        Ok(AddUser::Taken | AddUser::NotTheFirst) => return people.error(Problem::SetupLinkUsed, &parts),
        Err(error) => return people.unavailable(&error, &parts),
    }
    people.audit(
        &AuditEvent::new(
            AuditAction::Account,
            AuditOutcome::Allowed,
            "the first account was made",
        )
        .with_subject(user.id.as_str())
        .with_address(client_address(&parts)),
    );
    match people.begin_session(&user, browser.as_ref()).await {
        Ok(cookie) => see_other(&people.path("/ui/"), cookie),
        Err(error) => people.unavailable(&error, &parts),
    }
}

async fn asset(State(people): State<People>, Path(name): Path<String>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    people
        .inner
        .pages
        .asset(&name)
        .unwrap_or_else(|| people.error(Problem::NotFound, &parts))
}

async fn not_found(State(people): State<People>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    people.error(Problem::NotFound, &parts)
}

async fn method_not_allowed(State(people): State<People>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    people.error(Problem::MethodNotAllowed, &parts)
}

impl People {
    pub(super) fn path(&self, path: &str) -> String {
        format!("{}{path}", self.inner.server.settings().issuer.path())
    }

    pub(super) fn browser(&self, parts: &Parts) -> Option<TokenHash> {
        self.inner.cookie.read(&parts.headers).map(|secret| secret.hash())
    }

    /// The body of a form that a page of this server sent.
    pub(super) async fn read_form(&self, parts: &Parts, body: Body) -> Option<axum::body::Bytes> {
        let origin = self.inner.server.settings().issuer.origin();
        if !is_form(&parts.headers) || !is_same_origin(origin, &parts.headers) {
            return None;
        }
        read_body(body).await.ok()
    }

    /// Whether the request carries the link's token and there is still no account.
    async fn may_set_up(&self, parts: &Parts) -> Result<bool, StoreError> {
        let query = Form::parse(parts.uri.query().unwrap_or_default().as_bytes()).unwrap_or_default();
        let issuer = self.inner.server.settings().issuer.as_str();
        let is_right = query
            .value("token")
            .and_then(hex::decode::<32>)
            .is_some_and(|token| self.inner.key.is_digest(SETUP, &[issuer.as_bytes()], &token));
        Ok(is_right && !self.inner.accounts.has_users().await?)
    }

    fn setup_page(&self, parts: &Parts, username: &str, problem: Option<SetupProblem>) -> Response {
        let known = self.inner.cookie.read(&parts.headers);
        let is_new = known.is_none();
        let secret = known.unwrap_or_else(|| self.new_browser());
        let query = parts.uri.query().unwrap_or_default();
        let view = SetupView {
            action: format!("{}?{query}", self.path("/ui/setup")),
            csrf: self.inner.csrf.token(&secret.hash(), &self.path("/ui/setup")),
            username: username.to_owned(),
            problem,
        };
        let mut response = self.inner.pages.setup(&view).into_response();
        if is_new {
            response
                .headers_mut()
                .insert(header::SET_COOKIE, self.inner.cookie.set(&secret));
        }
        response
    }

    pub(super) fn error(&self, problem: Problem, parts: &Parts) -> Response {
        let mut view = ErrorView::new(problem);
        view.request_id = parts
            .extensions
            .get::<RequestId>()
            .map(|id| OneLine::name(&id.to_string()));
        self.inner.pages.error(&view).into_response()
    }

    pub(super) fn unavailable(&self, error: &StoreError, parts: &Parts) -> Response {
        tracing::error!(%error, "the store cannot be asked");
        let timed_out = matches!(error, StoreError::TimedOut(_));
        self.error(
            if timed_out {
                Problem::TimedOut
            } else {
                Problem::Unavailable
            },
            parts,
        )
    }
}

/// Sends the browser on by GET, with a cookie where there is one.
pub(super) fn see_other(location: &str, cookie: Option<HeaderValue>) -> Response {
    let mut response = mcp_authflow_axum::see_other(location);
    if let Some(cookie) = cookie {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}
