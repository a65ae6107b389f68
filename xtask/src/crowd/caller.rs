//! One task's HTTP client: its calls, and what their answers mean for the history.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use mcp_authflow_testkit::browser::{Browser, Decision, Page, Visit};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{APP, ASKER, MACHINE, PASSWORD, REDIRECT_URI, RESOURCE, SCOPE};

/// A server that hangs is a server without an answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Tokens.
    Granted { access: String, refresh: Option<String> },
    /// A revocation was acknowledged.
    Revoked,
    /// What introspection says.
    Active(bool),
    /// The server understood and said no, in this OAuth error code.
    Refused(String),
    /// No answer, or one that says that nothing is known (503, 504): it may have happened or not.
    Unknown,
}

/// A code that was not redeemed yet.
#[derive(Clone, Debug)]
pub(crate) struct Code {
    pub(crate) code: String,
    verifier: String,
}

/// A caller with an address of its own, so that limits per address see one each.
pub(crate) struct Caller {
    http: reqwest::Client,
    browser: Browser,
    issuer: String,
    username: String,
}

impl Caller {
    pub(crate) fn new(issuer: &str, username: String, address: Ipv4Addr) -> Result<Self> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .local_address(Some(address.into()))
            .timeout(TIMEOUT)
            .build()?;
        let browser = Browser::from_address(address.into())?;
        Ok(Self {
            http,
            browser,
            issuer: issuer.to_owned(),
            username,
        })
    }

    /// Signs in (once) and allows, and returns the code; `None` when the server is gone.
    pub(crate) async fn authorize(&self, verifier: &str) -> Result<Option<Code>> {
        let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(verifier));
        let mut url: url::Url = format!("{}/authorize", self.issuer).parse()?;
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", APP)
            .append_pair("redirect_uri", REDIRECT_URI)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256")
            .append_pair("scope", SCOPE)
            .append_pair("resource", RESOURCE)
            .append_pair("state", "under-load");
        let signed_in = self
            .browser
            .sign_in_and(url.as_str(), &self.username, PASSWORD, Decision::Allow)
            .await;
        match signed_in {
            Ok(redirect) => {
                let code = redirect.parameter("code")?;
                let code = code.with_context(|| format!("no code in {}", redirect.url))?;
                Ok(Some(Code {
                    code,
                    verifier: verifier.to_owned(),
                }))
            }
            Err(error) if error.chain().any(<dyn std::error::Error>::is::<reqwest::Error>) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Starts a device's sign-in, approves it in the browser, and returns the device code.
    pub(crate) async fn approved_device(&self, client_id: &str) -> Result<String> {
        let form = [("client_id", client_id), ("scope", SCOPE), ("resource", RESOURCE)];
        let (status, codes) = send(self.post("/device_authorization").form(&form))
            .await?
            .context("the server is gone")?;
        let text = |name: &str| {
            let text = codes[name].as_str().map(str::to_owned);
            text.with_context(|| format!("no {name} in the answer {status}: {codes}"))
        };
        let page = Self::page(self.browser.open(&text("verification_uri")?).await?)?;
        let page = if page.form_with("step", "login").is_some() {
            let fields = [("username", self.username.as_str()), ("password", PASSWORD)];
            self.submit(&page, "login", &fields).await?
        } else {
            page
        };
        let user_code = text("user_code")?;
        let page = self.submit(&page, "code", &[("user_code", &user_code)]).await?;
        let fields = [("scope", SCOPE), ("decision", "allow")];
        let page = self.submit(&page, "consent", &fields).await?;
        ensure!(
            page.url.path().ends_with("/approved"),
            "the device was not approved: {}",
            page.text
        );
        text("device_code")
    }

    async fn submit(&self, page: &Page, step: &str, fields: &[(&str, &str)]) -> Result<Page> {
        let form = page
            .form_with("step", step)
            .with_context(|| format!("no {step} form on the page: {}", page.text))?
            .clone();
        Self::page(self.browser.submit(page, &form, fields).await?)
    }

    fn page(visit: Visit) -> Result<Page> {
        match visit {
            Visit::Page(page) => Ok(*page),
            Visit::Left(redirect) => bail!("a redirect to {}", redirect.url),
        }
    }

    pub(crate) async fn issue(&self) -> Result<Answer> {
        let form = [
            ("grant_type", "client_credentials"),
            ("scope", SCOPE),
            ("resource", RESOURCE),
        ];
        self.token(
            self.post("/token")
                .basic_auth(MACHINE.0, Some(MACHINE.1))
                .form(&form),
        )
        .await
    }

    pub(crate) async fn redeem(&self, code: &Code) -> Result<Answer> {
        let form = [
            ("grant_type", "authorization_code"),
            ("client_id", APP),
            ("code", &code.code),
            ("code_verifier", &code.verifier),
            ("redirect_uri", REDIRECT_URI),
        ];
        self.token(self.post("/token").form(&form)).await
    }

    pub(crate) async fn rotate(&self, refresh: &str) -> Result<Answer> {
        let form = [
            ("grant_type", "refresh_token"),
            ("client_id", APP),
            ("refresh_token", refresh),
        ];
        self.token(self.post("/token").form(&form)).await
    }

    pub(crate) async fn revoke(&self, token: &str) -> Result<Answer> {
        let form = [("client_id", APP), ("token", token)];
        let answered = send(self.post("/revoke").form(&form)).await?;
        Ok(match answered {
            None => Answer::Unknown,
            Some((200, _)) => Answer::Revoked,
            Some((status, body)) => Answer::Refused(error_code(status, &body)),
        })
    }

    pub(crate) async fn introspect(&self, token: &str) -> Result<Answer> {
        let request = self.post("/introspect").basic_auth(ASKER.0, Some(ASKER.1));
        match send(request.form(&[("token", token)])).await? {
            None => Ok(Answer::Unknown),
            Some((200, body)) => {
                let active = body["active"].as_bool().context("no `active` in the answer")?;
                Ok(Answer::Active(active))
            }
            Some((status, body)) => bail!("introspection answers {status}: {body}"),
        }
    }

    async fn token(&self, request: reqwest::RequestBuilder) -> Result<Answer> {
        Ok(match send(request).await? {
            None => Answer::Unknown,
            Some((200, body)) => Answer::Granted {
                access: body["access_token"]
                    .as_str()
                    .context("no access_token")?
                    .to_owned(),
                refresh: body["refresh_token"].as_str().map(str::to_owned),
            },
            Some((status, body)) => Answer::Refused(error_code(status, &body)),
        })
    }

    fn post(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.post(format!("{}{path}", self.issuer))
    }
}

/// Sends; `None` means that nobody knows whether it happened.
async fn send(request: reqwest::RequestBuilder) -> Result<Option<(u16, Value)>> {
    let Ok(response) = request.send().await else {
        return Ok(None);
    };
    let status = response.status().as_u16();
    let Ok(body) = response.bytes().await else {
        return Ok(None);
    };
    match status {
        503 | 504 => Ok(None),
        // The load would then measure the limiter.
        429 => bail!("the load runs into a rate limit; spread it over more addresses"),
        500 => bail!("the server answers 500: {}", String::from_utf8_lossy(&body)),
        _ => Ok(Some((
            status,
            serde_json::from_slice(&body).unwrap_or(Value::Null),
        ))),
    }
}

fn error_code(status: u16, body: &Value) -> String {
    body["error"]
        .as_str()
        .map_or_else(|| status.to_string(), str::to_owned)
}
