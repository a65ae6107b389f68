//! The page where a person types the code of a device (RFC 8628 §3.3), and the one that says what was decided.
//!
//! Signing in comes first: nobody types codes, and so guesses them, without an account. A right code leads on to the page
//! on which every request is decided.

use axum::response::{IntoResponse as _, Response};
use http::Method;
use mcp_authflow::{DeviceDecided, PageReason, UserCodeProblem, port::rate_limit::retry_after_seconds};
use mcp_authflow_axum::{DeviceOutcome, DeviceVisit, Interact as _};
use mcp_authflow_types::{Form, UserCode};

use super::{People, SignIn, SignedIn, account::see_other, interact::account, unavailable};
use crate::pages::{DeviceCodeProblem, DeviceCodeView, DeviceDecidedView, LoginProblem, LoginView, OneLine};

impl People {
    /// One visit of the page.
    pub(super) async fn visit_device(&self, device: &DeviceVisit) -> DeviceOutcome {
        match self.handle_device(device).await {
            Ok(outcome) => outcome,
            Err(reason) => DeviceOutcome::Show(self.refuse(&reason, &device.visit.parts).await),
        }
    }

    async fn handle_device(&self, device: &DeviceVisit) -> Result<DeviceOutcome, PageReason> {
        let visit = &device.visit;
        let who = self.signed_in(&visit.browser).await.map_err(unavailable)?;
        if let Some(problem) = &device.problem {
            let problem = match problem {
                UserCodeProblem::TooMany { retry_after } => DeviceCodeProblem::TooManyTries {
                    retry_after_seconds: retry_after_seconds(*retry_after),
                },
                UserCodeProblem::Unavailable { timed_out } => {
                    return Err(PageReason::Unavailable {
                        timed_out: *timed_out,
                    });
                }
                _ => DeviceCodeProblem::Unknown,
            };
            return Ok(self.show_device(device, who.as_ref(), Some(problem)));
        }
        if visit.parts.method != Method::POST {
            return Ok(self.show_device(device, who.as_ref(), None));
        }
        let form = Form::parse(&visit.body).map_err(|_| PageReason::Gone)?;
        if !self
            .inner
            .csrf
            .is_right(&visit.browser, &visit.page, form.value("csrf"))
        {
            return Ok(match &who {
                Some(who) => self.code_page(device, who, Some(DeviceCodeProblem::FormExpired)),
                None => self.device_login(device, "", Some(LoginProblem::FormExpired)),
            });
        }
        match (form.value("step"), who) {
            (Some("login"), _) => {
                let username = form.value("username").unwrap_or_default();
                let password = form.value("password").unwrap_or_default();
                Ok(self.take_device_login(device, username, password).await)
            }
            (Some("sign_out"), Some(who)) => {
                self.sign_out(&visit.browser, who.user.id.as_str(), visit.address)
                    .await
                    .map_err(unavailable)?;
                Ok(DeviceOutcome::Show(see_other(&here(device), None)))
            }
            (Some("code"), Some(who)) => Ok(DeviceOutcome::Enter {
                user_code: device.user_code.clone().unwrap_or_default(),
                subject: Some(who.user.id.to_string()),
            }),
            (_, who) => Ok(self.show_device(device, who.as_ref(), None)),
        }
    }

    /// The form for the code, or for signing in before it.
    fn show_device(
        &self,
        device: &DeviceVisit,
        who: Option<&SignedIn>,
        problem: Option<DeviceCodeProblem>,
    ) -> DeviceOutcome {
        match who {
            Some(who) => self.code_page(device, who, problem),
            None => self.device_login(device, "", None),
        }
    }

    fn code_page(
        &self,
        device: &DeviceVisit,
        who: &SignedIn,
        problem: Option<DeviceCodeProblem>,
    ) -> DeviceOutcome {
        let visit = &device.visit;
        let typed = device.user_code.as_deref().unwrap_or_default();
        let code = UserCode::read(typed).ok();
        let is_brought = visit.parts.method != Method::POST && code.is_some();
        let user_code = match &code {
            Some(code) => OneLine::name(code.expose()),
            // What somebody typed wrongly is shown again; what came with a link and is no code is not.
            None if visit.parts.method == Method::POST => OneLine::name(typed),
            None => OneLine::name(""),
        };
        let view = DeviceCodeView {
            action: visit.page.clone(),
            csrf: self.inner.csrf.token(&visit.browser, &visit.page),
            account: account(who),
            user_code,
            is_brought,
            problem,
        };
        DeviceOutcome::Show(self.inner.pages.device(&view).into_response())
    }

    fn device_login(
        &self,
        device: &DeviceVisit,
        username: &str,
        problem: Option<LoginProblem>,
    ) -> DeviceOutcome {
        let visit = &device.visit;
        let view = LoginView {
            action: here(device),
            csrf: self.inner.csrf.token(&visit.browser, &visit.page),
            application: None,
            is_for_account: false,
            destination: None,
            username: username.to_owned(),
            problem,
        };
        DeviceOutcome::Show(self.inner.pages.login(&view).into_response())
    }

    async fn take_device_login(&self, device: &DeviceVisit, username: &str, password: &str) -> DeviceOutcome {
        let visit = &device.visit;
        let problem = match self
            .sign_in(username, password, Some(&visit.browser), visit.address)
            .await
        {
            SignIn::Done(cookie, _) => return DeviceOutcome::Show(see_other(&here(device), Some(cookie))),
            SignIn::Wrong(_) => LoginProblem::WrongCredentials,
            SignIn::Busy => LoginProblem::Unavailable,
            SignIn::TooMany(wait) => LoginProblem::TooManyTries {
                retry_after_seconds: retry_after_seconds(wait),
            },
            SignIn::Unavailable(error) => {
                return DeviceOutcome::Show(self.refuse(&unavailable(error), &visit.parts).await);
            }
        };
        self.device_login(device, username, Some(problem))
    }

    /// What was decided.
    pub(super) fn device_decided_page(&self, decided: DeviceDecided) -> Response {
        let is_approved = decided == DeviceDecided::Approved;
        self.inner
            .pages
            .device_decided(DeviceDecidedView { is_approved })
            .into_response()
    }
}

/// The page's own address, with the code that came with it, where that is one: it outlives signing in.
fn here(device: &DeviceVisit) -> String {
    let visit = &device.visit;
    let query = Form::parse(visit.parts.uri.query().unwrap_or_default().as_bytes()).unwrap_or_default();
    match query
        .value("user_code")
        .and_then(|typed| UserCode::read(typed).ok())
    {
        Some(code) => format!("{}?user_code={}", visit.page, code.expose()),
        None => visit.page.clone(),
    }
}
