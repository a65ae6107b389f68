//! A person stays in charge, in a real browser, on a phone and a desktop: signs in, lets a client in, sees it among the
//! connected applications, disconnects it, and the client's next call is refused.

use anyhow::{Context as _, Result, ensure};
use mcp_authflow_testkit::browser::Decision;
use mcp_authflow_testkit::chromium::{Chromium, Scheme, View};
use serde_json::Value;

use super::super::house::{PASSWORD, USERNAME, http};
use super::super::person::CallbackPage;
use super::scenes::{CODE_VERIFIER, INTROSPECTOR, MAIL, Stage};

/// Walks the whole way at one size of window.
pub(super) async fn walk(chromium: &Chromium, stage: &Stage, view: View) -> Result<()> {
    chromium.set_view(view, Scheme::Light).await?;
    chromium.forget_cookies().await?;
    let callback = CallbackPage::open().await?;
    let redirect_uri = format!("http://127.0.0.1:{}/callback", callback.port);
    let client = stage.register("Pocket Helper", &redirect_uri).await?;

    // 1. The person lets it in, and it fetches its tokens.
    let url = stage.authorize(&client, &redirect_uri, MAIL, "mail:read mail:search")?;
    let left = chromium
        .sign_in_and(&url, USERNAME, PASSWORD, Decision::Allow)
        .await?;
    let code = left.parameter("code")?.context("no code")?;
    let tokens = Tokens::of(
        &stage
            .token(&[
                ("grant_type", "authorization_code"),
                ("code", &code),
                ("redirect_uri", &redirect_uri),
                ("client_id", &client),
                ("code_verifier", CODE_VERIFIER),
            ])
            .await?,
    )?;
    ensure!(stage.is_active(&tokens.access).await?, "the token is good before");

    // 2. The person finds it, from the account's page on, and disconnects it.
    chromium.open(&stage.url("/ui/")).await?;
    chromium.follow("a[href$=\"/ui/apps\"]").await?;
    let listed = chromium.text().await?;
    for said in ["Pocket Helper", &client, "Read your messages", "from 127.0.0.1"] {
        ensure!(listed.contains(said), "`{said}` is not in: {listed}");
    }
    let faults = chromium.faults().await?;
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    let disconnect = format!("a[href$=\"/ui/apps/disconnect?client={client}\"]");
    chromium.follow(&disconnect).await?;
    let asked = chromium.text().await?;
    ensure!(asked.contains("Disconnect this application?"), "{asked}");
    ensure!(stage.is_active(&tokens.access).await?, "asking ends nothing");
    chromium.press_in("form[action$=\"/ui/apps/disconnect\"]").await?;
    let after = chromium.text().await?;
    ensure!(after.contains("It can no longer act for you"), "{after}");
    ensure!(!after.contains(&client), "it is still there: {after}");

    // 3. Its next calls are refused.
    ensure!(
        !stage.is_active(&tokens.access).await?,
        "the access token lives on"
    );
    let (status, answer) = stage
        .try_token(&[
            ("grant_type", "refresh_token"),
            ("refresh_token", &tokens.refresh),
            ("client_id", &client),
        ])
        .await?;
    ensure!(
        status == 400 && answer["error"] == "invalid_grant",
        "the refresh token answered {status}: {answer}"
    );
    Ok(())
}

struct Tokens {
    access: String,
    refresh: String,
}

impl Tokens {
    fn of(answer: &Value) -> Result<Self> {
        let member = |name: &str| {
            let value = answer[name].as_str().map(str::to_owned);
            value.with_context(|| format!("no {name} in {answer}"))
        };
        Ok(Self {
            access: member("access_token")?,
            refresh: member("refresh_token")?,
        })
    }
}

impl Stage {
    /// What the token endpoint answers when it grants.
    pub(super) async fn token(&self, form: &[(&str, &str)]) -> Result<Value> {
        let (status, answer) = self.try_token(form).await?;
        ensure!(status == 200, "the token endpoint answered {status}: {answer}");
        Ok(answer)
    }

    /// What the token endpoint answers.
    async fn try_token(&self, form: &[(&str, &str)]) -> Result<(u16, Value)> {
        let response = http()?.post(self.url("/token")).form(form).send().await?;
        let status = response.status().as_u16();
        Ok((status, serde_json::from_str(&response.text().await?)?))
    }

    /// Whether the resource is told that a token is good.
    async fn is_active(&self, token: &str) -> Result<bool> {
        let response = http()?
            .post(self.url("/introspect"))
            .basic_auth(INTROSPECTOR.0, Some(INTROSPECTOR.1))
            .form(&[("token", token)])
            .send()
            .await?;
        let answer: Value = serde_json::from_str(&response.text().await?)?;
        answer["active"]
            .as_bool()
            .with_context(|| format!("no answer: {answer}"))
    }
}
