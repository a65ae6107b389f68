//! The pages a person sees: sign in, allow or deny, first account, errors.
//!
//! Every page is a struct of plain facts (`LoginView`, `ConsentView`, …), one template in `templates/`, and
//! one method of [`Pages`] that turns the one into the other. Pages carry no script, no inline style and nothing
//! from elsewhere; turning a [`Page`] into a response adds the headers that hold browsers to that.
//!
//! ```text
//! record ──▶ view struct ──▶ Pages::consent ──▶ Page { status, html, form_targets } ──▶ Response
//!            (OneLine: client's words made harmless)            (CSP, no-store, no framing)
//! ```
//!
//! To add a page: a view struct in a file of its own, a template in `templates/`, a line in [`BUILT_IN`], a method
//! here, and a sample in `rehearsal`.

mod apps;
mod asset;
mod consent;
mod csp;
mod destination;
mod device;
mod error;
mod home;
mod login;
mod one_line;
mod page;
mod rehearsal;
mod setup;
#[cfg(test)]
mod tests;

use std::path::Path;

use axum::response::Response;
use http::StatusCode;
use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, UndefinedBehavior, context};
use serde::Serialize;

pub(crate) use apps::{
    AppView, AppsView, DisconnectView, GrantView, LastUseView, Paging, SignOutEverywhereView, SignedOut,
};
use asset::Assets;
pub(crate) use consent::{Acquaintance, ConsentProblem, ConsentView, DeviceView, ResourceView, ScopeView};
pub(crate) use destination::Destination;
pub(crate) use device::{DeviceCodeProblem, DeviceCodeView, DeviceDecidedView};
pub(crate) use error::{ErrorView, Problem};
pub(crate) use home::{Account, HomeView};
pub(crate) use login::{Application, Identity, LoginProblem, LoginView};
pub(crate) use one_line::OneLine;
pub(crate) use page::Page;
pub(crate) use setup::{SetupProblem, SetupView};

/// The templates that come with the program; a file of the same name in the operator's folder replaces one.
const BUILT_IN: [(&str, &str); 14] = [
    ("base.html", include_str!("../../templates/base.html")),
    ("icons.html", include_str!("../../templates/icons.html")),
    ("parts.html", include_str!("../../templates/parts.html")),
    ("login.html", include_str!("../../templates/login.html")),
    ("consent.html", include_str!("../../templates/consent.html")),
    ("device.html", include_str!("../../templates/device.html")),
    (
        "device_decided.html",
        include_str!("../../templates/device_decided.html"),
    ),
    ("error.html", include_str!("../../templates/error.html")),
    ("signed_out.html", include_str!("../../templates/signed_out.html")),
    ("home.html", include_str!("../../templates/home.html")),
    ("setup.html", include_str!("../../templates/setup.html")),
    ("apps.html", include_str!("../../templates/apps.html")),
    ("disconnect.html", include_str!("../../templates/disconnect.html")),
    (
        "sign_out_everywhere.html",
        include_str!("../../templates/sign_out_everywhere.html"),
    ),
];

/// What every page says about the server it belongs to.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    /// The name shown at the top of each page, `authflow` unless the operator chose another.
    pub(crate) name: OneLine,
    /// The host (and port, if not the default) people should see in their address bar.
    pub(crate) host: OneLine,
    /// The issuer's path without a trailing slash; empty when the issuer has none.
    pub(crate) base_path: String,
}

/// Why the pages could not be prepared; each names the file to look at.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PagesError {
    /// A file of the operator's folder exists and cannot be read.
    #[error("cannot read the page template {path}: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A template does not parse, or fails on a sample of what it will have to show.
    #[error("the page template {name} is broken: {source}; mend it or remove it to use the built-in one")]
    Broken {
        /// The template.
        name: String,
        /// Where and why.
        source: minijinja::Error,
    },
}

/// Renders every page; built once at the start and shared.
#[derive(Debug)]
pub(crate) struct Pages {
    templates: Environment<'static>,
    assets: Assets,
}

impl Pages {
    /// Compiles the templates and, so that a broken one is found now and not in front of a person, renders each page
    /// on samples.
    ///
    /// `templates_dir` holds the operator's replacements: any of the files in `templates/`, the stylesheet
    /// `authflow.css` included. What is not there is taken from the program.
    pub(crate) fn new(site: &Site, templates_dir: Option<&Path>) -> Result<Self, PagesError> {
        let stylesheet = replacement(templates_dir, asset::STYLESHEET)?;
        let assets = Assets::new(stylesheet);

        let mut templates = Environment::new();
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        templates.set_auto_escape_callback(|_| AutoEscape::Html);
        templates.set_formatter(write_escaped);
        // Nothing may vouch for its own text, in an operator's template neither.
        templates.remove_filter("safe");
        templates.add_filter("ago", ago);
        templates.add_filter("one_line", |text: &str| OneLine::long(text).to_string());
        templates.add_global(
            "site",
            Value::from(Serde(SiteFacts {
                name: &site.name,
                host: &site.host,
                base_path: &site.base_path,
                stylesheet: assets.path(&site.base_path, assets.stylesheet_name()),
                icon: assets.path(&site.base_path, assets.icon_name()),
            })),
        );
        for (name, built_in) in BUILT_IN {
            let added = match replacement(templates_dir, name)? {
                Some(own) => templates.add_template_owned(name, own),
                None => templates.add_template(name, built_in),
            };
            added.map_err(|source| PagesError::Broken {
                name: name.to_owned(),
                source,
            })?;
        }

        let pages = Self { templates, assets };
        pages.rehearse()?;
        Ok(pages)
    }

    /// The sign-in form, and what went wrong with the last try.
    pub(crate) fn login(&self, view: &LoginView) -> Page {
        let status = view.problem.as_ref().map_or(StatusCode::OK, LoginProblem::status);
        let notice = view.problem.as_ref().map(LoginProblem::notice);
        self.page(status, "login.html", view, notice.as_ref())
            .in_a_pop_up()
            .retry_after(view.problem.as_ref().and_then(LoginProblem::retry_after))
    }

    /// The question whether an application may act for the person who is signed in.
    pub(crate) fn consent(&self, view: &ConsentView) -> Page {
        let status = view.problem.map_or(StatusCode::OK, ConsentProblem::status);
        let notice = view.problem.map(ConsentProblem::notice);
        let page = self.page(status, "consent.html", view, notice.as_ref());
        // Chromium applies `form-action` to the redirect that answers the form, so the client's address must be in it.
        let destination = view.destination.iter();
        page.in_a_pop_up()
            .form_targets(destination.flat_map(Destination::form_targets))
    }

    /// The form for the code that a device shows, and what was wrong with the last try.
    pub(crate) fn device(&self, view: &DeviceCodeView) -> Page {
        let status = view.problem.map_or(StatusCode::OK, DeviceCodeProblem::status);
        let notice = view.problem.map(DeviceCodeProblem::notice);
        self.page(status, "device.html", view, notice.as_ref())
            .retry_after(view.problem.and_then(DeviceCodeProblem::retry_after))
    }

    /// What was decided about a device.
    pub(crate) fn device_decided(&self, view: DeviceDecidedView) -> Page {
        self.page(StatusCode::OK, "device_decided.html", &view, None)
    }

    /// What went wrong and what to do about it; every error of an HTML path.
    pub(crate) fn error(&self, view: &ErrorView) -> Page {
        let told = Told {
            view,
            words: view.problem.words(),
        };
        self.page(view.problem.status(), "error.html", &told, None)
            .retry_after(view.problem.retry_after())
    }

    /// The page after signing out.
    pub(crate) fn signed_out(&self, what: SignedOut) -> Page {
        self.page(StatusCode::OK, "signed_out.html", &what, None)
    }

    /// The applications that a person has let in.
    pub(crate) fn apps(&self, view: &AppsView) -> Page {
        self.page(StatusCode::OK, "apps.html", view, None)
    }

    /// The question whether to disconnect one of them.
    pub(crate) fn disconnect(&self, view: &DisconnectView) -> Page {
        self.page(StatusCode::OK, "disconnect.html", view, None)
    }

    /// The question whether to sign out in every browser.
    pub(crate) fn sign_out_everywhere(&self, view: &SignOutEverywhereView) -> Page {
        self.page(StatusCode::OK, "sign_out_everywhere.html", view, None)
    }

    /// Who is signed in here, with a way out; or, signed out, where to start.
    pub(crate) fn home(&self, view: &HomeView) -> Page {
        self.page(StatusCode::OK, "home.html", view, None)
    }

    /// The form that makes the first account.
    pub(crate) fn setup(&self, view: &SetupView) -> Page {
        let status = view.problem.map_or(StatusCode::OK, SetupProblem::status);
        let notice = view.problem.map(SetupProblem::notice);
        self.page(status, "setup.html", view, notice.as_ref())
    }

    /// Answers `GET <base_path>/ui/assets/{name}`: the stylesheet or the icon, or nothing for any other name.
    pub(crate) fn asset(&self, name: &str) -> Option<Response> {
        self.assets.response(name)
    }

    fn page(
        &self,
        status: StatusCode,
        template: &str,
        view: &impl Serialize,
        notice: Option<&Notice>,
    ) -> Page {
        match self.render(template, view, notice) {
            Ok(html) => Page::new(status, html),
            Err(error) => {
                tracing::error!(template, %error, "a page could not be rendered");
                Page::plain()
            }
        }
    }

    fn render(
        &self,
        template: &str,
        view: &impl Serialize,
        notice: Option<&Notice>,
    ) -> Result<String, minijinja::Error> {
        let view = Value::from(Serde(view));
        let notice = Value::from(Serde(notice));
        self.templates
            .get_template(template)?
            .render(context! { view, notice })
    }
}

/// One sentence about a form that was sent back, and the field it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Notice {
    /// The sentence, ours and never the client's.
    text: String,
    /// The `id`s of the fields to mark.
    fields: &'static [&'static str],
}

/// [`Site`] as templates see it, with the addresses of our two assets.
#[derive(Serialize)]
struct SiteFacts<'a> {
    name: &'a OneLine,
    host: &'a OneLine,
    base_path: &'a str,
    stylesheet: String,
    icon: String,
}

/// An error view together with the words its problem is told in.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    view: &'a ErrorView,
    words: error::Words,
}

/// The operator's file of this name, if there is one.
fn replacement(dir: Option<&Path>, name: &str) -> Result<Option<String>, PagesError> {
    let Some(path) = dir.map(|dir| dir.join(name)) else {
        return Ok(None);
    };
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(PagesError::Unreadable {
            path: path.display().to_string(),
            source,
        }),
    }
}

/// Writes a value as HTML text that is also safe inside a quoted attribute.
///
/// Ours and not the library's because that one writes `/` as an entity, which makes every address in the page
/// unreadable and gains nothing inside quotes. What a macro returned is markup already; nothing else can be, since the
/// `safe` filter is gone. A `none` that is printed is a template's mistake and fails like an unknown name.
fn write_escaped(
    out: &mut minijinja::Output,
    _: &mut minijinja::State,
    value: &Value,
) -> Result<(), minijinja::Error> {
    if value.is_none() {
        return Err(minijinja::Error::new(
            minijinja::ErrorKind::UndefinedError,
            "a missing value is printed",
        ));
    }
    let text = match value.as_str() {
        Some(markup) if value.is_safe() => return Ok(out.write_str(markup)?),
        Some(text) => text.to_owned(),
        None => value.to_string(),
    };
    let mut rest = text.as_str();
    while let Some(at) = rest.find(['&', '<', '>', '"', '\'', '`']) {
        let (plain, special) = rest.split_at(at);
        out.write_str(plain)?;
        out.write_str(match special.as_bytes().first() {
            Some(b'&') => "&amp;",
            Some(b'<') => "&lt;",
            Some(b'>') => "&gt;",
            Some(b'"') => "&quot;",
            Some(b'\'') => "&#39;",
            _ => "&#96;",
        })?;
        // All of them are one byte long.
        rest = &special[1..];
    }
    Ok(out.write_str(rest)?)
}

/// The template filter that says a number of seconds as people do: "3 minutes ago".
fn ago(seconds: u64) -> String {
    let (count, unit) = match seconds {
        0..60 => return "just now".to_owned(),
        60..3_600 => (seconds / 60, "minute"),
        3_600..86_400 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural} ago")
}
