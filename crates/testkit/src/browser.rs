//! A browser without a screen: it follows links, keeps cookies and sends the real forms.
//!
//! It is what tests and judges sign in with where no real Chromium is needed. It
//! behaves as browsers do where a server could notice: cookies by their rules,
//! `Origin` and `Sec-Fetch-*` on every navigation, redirects followed only while
//! they stay at the authorization server. The redirect that leaves (to a client's
//! `http://127.0.0.1…`, `https://…` or `cursor://…`) is handed back, not followed.

mod cookies;
mod form;
mod form_action;
mod html;
mod page;

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use http::header::{ACCEPT, CONTENT_TYPE, COOKIE, LOCATION, ORIGIN, REFERRER_POLICY, SET_COOKIE};
use url::Url;

use cookies::Jar;
pub use form::{Control, ControlKind, Form};
pub use page::Page;

/// More redirects in a row than a sign-in ever needs.
const MAX_REDIRECTS: usize = 10;
/// More pages than a sign-in ever shows: setup, login, login again, consent.
const MAX_PAGES: usize = 6;

/// One person's browser: one jar of cookies, one source address.
#[derive(Debug)]
pub struct Browser {
    http: reqwest::Client,
    jar: Mutex<Jar>,
}

/// Where a navigation ended.
#[derive(Debug, Clone)]
pub enum Visit {
    /// On a page of the server.
    Page(Box<Page>),
    /// On a redirect to somewhere else.
    Left(Redirect),
}

/// A redirect that leaves the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// The `Location`, byte for byte.
    pub url: String,
}

/// What the person says on the consent page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision<'a> {
    /// Presses “Allow” with the boxes as they are.
    Allow,
    /// Ticks these scopes and no others, then presses “Allow”.
    AllowOnly(&'a [&'a str]),
    /// Presses “Deny”.
    Deny,
}

impl Browser {
    /// Opens a browser that comes from 127.0.0.1.
    pub fn new() -> Result<Self> {
        Self::build(None)
    }

    /// Opens a browser that comes from this address, such as 127.0.0.7, so that limits per address see a caller of its own.
    pub fn from_address(address: IpAddr) -> Result<Self> {
        Self::build(Some(address))
    }

    fn build(address: Option<IpAddr>) -> Result<Self> {
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .local_address(address)
            .no_proxy()
            .timeout(Duration::from_secs(30))
            .build()?;
        Ok(Self {
            http,
            jar: Mutex::default(),
        })
    }

    /// Types an address into the address bar.
    pub async fn open(&self, url: &str) -> Result<Visit> {
        let url: Url = url.parse().with_context(|| format!("the address {url}"))?;
        self.navigate(self.get(&url, "none"), url).await
    }

    /// Fills in a form of a page and sends it; see [`Form::fill`] for what `fields` may say.
    pub async fn submit(&self, page: &Page, form: &Form, fields: &[(&str, &str)]) -> Result<Visit> {
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form.fill(fields)?)
            .finish();
        let mut url = form.action.clone();
        let site = if url.origin() == page.url.origin() {
            "same-origin"
        } else {
            "cross-site"
        };
        if !form.is_post {
            url.set_query(Some(&body));
            return self.navigate(self.get(&url, site), url).await;
        }
        // Fetch §3.2: a page that asks for no referrer sends its posts with `Origin: null`.
        let hides = page
            .headers
            .get(REFERRER_POLICY)
            .is_some_and(|policy| policy == "no-referrer");
        let origin = if hides {
            "null".to_owned()
        } else {
            page.url.origin().ascii_serialization()
        };
        let request = self
            .with_browser_headers(self.http.post(url.clone()), &url, site)
            .header(ORIGIN, origin)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(body);
        let visit = self.navigate(request, url).await?;
        if let Visit::Left(redirect) = &visit {
            ensure!(
                form_action::allows(&page.headers, &page.url, &redirect.url.parse()?),
                "a browser would not go to {}: the page's form-action does not name it",
                redirect.url
            );
        }
        Ok(visit)
    }

    /// Opens an authorization URL, signs in if asked, decides on consent if asked, and returns the redirect to the client.
    pub async fn sign_in_and(
        &self,
        url: &str,
        username: &str,
        password: &str,
        decision: Decision<'_>,
    ) -> Result<Redirect> {
        let mut visit = self.open(url).await?;
        let mut has_signed_in = false;
        for _ in 0..MAX_PAGES {
            let page = match visit {
                Visit::Left(redirect) => return Ok(redirect),
                Visit::Page(page) => page,
            };
            visit = if let Some(form) = page.form_with("step", "login") {
                ensure!(
                    !has_signed_in,
                    "signing in as `{username}` was refused: {}",
                    page.describe()
                );
                has_signed_in = true;
                self.submit(&page, form, &[("username", username), ("password", password)])
                    .await?
            } else if let Some(form) = page.form_with("step", "consent") {
                self.submit(&page, form, &decision.fields()).await?
            } else {
                bail!("neither a login nor a consent page: {}", page.describe());
            };
        }
        bail!("{MAX_PAGES} pages and still not back at the client, from {url}")
    }

    /// The value of a cookie that a server has set.
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<String> {
        self.jar().value(name).map(str::to_owned)
    }

    /// Puts a cookie into the jar, as an attacker on a neighbouring host could.
    pub fn plant_cookie(&self, url: &str, name: &str, value: &str) -> Result<()> {
        let url: Url = url.parse()?;
        self.jar().plant(&url, name, value);
        Ok(())
    }

    fn get(&self, url: &Url, site: &str) -> reqwest::RequestBuilder {
        self.with_browser_headers(self.http.get(url.clone()), url, site)
    }

    fn with_browser_headers(
        &self,
        request: reqwest::RequestBuilder,
        url: &Url,
        site: &str,
    ) -> reqwest::RequestBuilder {
        let request = request
            .header(ACCEPT, "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")
            .header("sec-fetch-site", site)
            .header("sec-fetch-mode", "navigate")
            .header("sec-fetch-dest", "document")
            .header("sec-fetch-user", "?1");
        match self.jar().header(url) {
            Some(cookies) => request.header(COOKIE, cookies),
            None => request,
        }
    }

    /// Sends a request, then follows redirects as long as they stay at its origin.
    async fn navigate(&self, request: reqwest::RequestBuilder, mut url: Url) -> Result<Visit> {
        let home = url.origin();
        let mut response = request
            .send()
            .await
            .with_context(|| format!("asking for {url}"))?;
        for _ in 0..MAX_REDIRECTS {
            for field in response.headers().get_all(SET_COOKIE) {
                self.jar()
                    .store(&url, field.to_str().context("a Set-Cookie that is not ASCII")?);
            }
            let Some(location) = redirect_of(&response)? else {
                let (status, headers) = (response.status().as_u16(), response.headers().clone());
                let body = response.text().await.with_context(|| format!("reading {url}"))?;
                return Ok(Visit::Page(Box::new(Page::parse(url, status, headers, &body)?)));
            };
            let next = url
                .join(&location)
                .with_context(|| format!("the redirect to `{location}`"))?;
            if next.origin() != home {
                return Ok(Visit::Left(Redirect { url: location }));
            }
            url = next;
            response = self
                .get(&url, "same-origin")
                .send()
                .await
                .with_context(|| format!("asking for {url}"))?;
        }
        bail!("more than {MAX_REDIRECTS} redirects, the last to {url}")
    }

    fn jar(&self) -> std::sync::MutexGuard<'_, Jar> {
        self.jar.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn redirect_of(response: &reqwest::Response) -> Result<Option<String>> {
    match response.status().as_u16() {
        // Both turn a POST into a GET. The others would send the password on.
        302 | 303 => {
            let location = response
                .headers()
                .get(LOCATION)
                .context("a redirect without a Location")?;
            Ok(Some(
                location
                    .to_str()
                    .context("a Location that is not ASCII")?
                    .to_owned(),
            ))
        }
        status @ (301 | 307 | 308) => {
            bail!("a {status} redirect, which would repeat or keep what was sent")
        }
        _ => Ok(None),
    }
}

impl Redirect {
    /// A parameter of the redirect's query; an error when it is there twice.
    pub fn parameter(&self, name: &str) -> Result<Option<String>> {
        let url: Url = self
            .url
            .parse()
            .with_context(|| format!("the redirect {}", self.url))?;
        let mut values = url
            .query_pairs()
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned());
        let first = values.next();
        ensure!(values.next().is_none(), "`{name}` stands twice in {}", self.url);
        Ok(first)
    }
}

impl Decision<'_> {
    fn fields(&self) -> Vec<(&str, &str)> {
        match self {
            Self::Allow => vec![("decision", "allow")],
            Self::AllowOnly(scopes) => scopes
                .iter()
                .map(|scope| ("scope", *scope))
                .chain([("decision", "allow")])
                .collect(),
            Self::Deny => vec![("decision", "deny")],
        }
    }
}

#[cfg(test)]
#[path = "browser/browser_tests.rs"]
mod tests;
