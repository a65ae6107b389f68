//! A real browser: headless Chromium, driven by WebDriver, clicking the real buttons.
//!
//! It proves what [`crate::browser`] cannot: that the pages work with their
//! stylesheets and their content security policy, can be used by keyboard, and can be
//! read on a phone and in the dark.

mod check;
mod launch;

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use thirtyfour::{By, WebDriver, WebElement};
use tokio::time::{Instant, sleep};
use url::Url;

use self::launch::{Launched, Processes};
use crate::browser::{Decision, Redirect};

/// How long a page may take to follow a click.
const PAGE_PATIENCE: Duration = Duration::from_secs(30);
/// More pages than a sign-in ever shows.
const MAX_PAGES: usize = 6;

/// A Chromium of one's own, with a fresh profile; both its processes end with it.
#[derive(Debug)]
pub struct Chromium {
    driver: Option<WebDriver>,
    view: Mutex<View>,
    _processes: Processes,
}

/// The window to look through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// Its name, for file names: `phone`, `desktop`.
    pub name: &'static str,
    /// Its width in CSS pixels.
    pub width: u32,
    /// Its height in CSS pixels.
    pub height: u32,
    /// A touch screen that lays pages out as phones do.
    pub is_phone: bool,
}

impl View {
    /// A common phone, held upright.
    pub const PHONE: Self = Self {
        name: "phone",
        width: 390,
        height: 844,
        is_phone: true,
    };
    /// A small laptop's window.
    pub const DESKTOP: Self = Self {
        name: "desktop",
        width: 1280,
        height: 800,
        is_phone: false,
    };
}

/// What `prefers-color-scheme` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Dark text on a light page.
    Light,
    /// Light text on a dark page.
    Dark,
}

impl Scheme {
    /// `light` or `dark`, as in CSS.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }
}

impl Chromium {
    /// Starts Chromium and its driver from these two programs.
    pub async fn start(chromium: &Path, chromedriver: &Path) -> Result<Self> {
        let launched = Launched::try_hard(chromium, chromedriver).await?;
        let this = Self {
            driver: Some(launched.driver),
            view: Mutex::new(View::DESKTOP),
            _processes: launched.processes,
        };
        // A window without the focus would show no autofocus and no caret.
        this.cdp("Emulation.setFocusEmulationEnabled", json!({ "enabled": true }))
            .await?;
        this.set_view(View::DESKTOP, Scheme::Light).await?;
        Ok(this)
    }

    fn driver(&self) -> &WebDriver {
        // It is taken out in `drop` only.
        self.driver
            .as_ref()
            .unwrap_or_else(|| unreachable!("the session ends when this value is dropped"))
    }

    /// Types an address into the address bar and waits for the page.
    pub async fn open(&self, url: &str) -> Result<()> {
        self.driver()
            .goto(url)
            .await
            .with_context(|| format!("opening {url}"))
    }

    /// Where the browser is now.
    pub async fn url(&self) -> Result<Url> {
        Ok(self.driver().current_url().await?)
    }

    /// Makes the window this large and sets `prefers-color-scheme`.
    pub async fn set_view(&self, view: View, scheme: Scheme) -> Result<()> {
        let metrics = json!({
            "width": view.width, "height": view.height, "deviceScaleFactor": 1, "mobile": view.is_phone,
        });
        self.cdp("Emulation.setDeviceMetricsOverride", metrics).await?;
        let features = json!({ "features": [
            { "name": "prefers-color-scheme", "value": scheme.as_str() },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ] });
        self.cdp("Emulation.setEmulatedMedia", features).await?;
        self.settle().await?;
        *self.view.lock().unwrap_or_else(PoisonError::into_inner) = view;
        Ok(())
    }

    /// Lets every transition come to its end, so that nothing is looked at half-way.
    async fn settle(&self) -> Result<()> {
        // Asking for a size makes the browser apply the styles, which is what starts transitions.
        let script = "document.documentElement.offsetWidth; \
            document.getAnimations().forEach((animation) => animation.finish())";
        self.script(script, vec![]).await?;
        Ok(())
    }

    /// A picture of the whole page, also of what lies below the window, as PNG.
    pub async fn picture(&self) -> Result<Vec<u8>> {
        use base64::Engine as _;
        self.settle().await?;
        let options = json!({ "format": "png", "captureBeyondViewport": true, "optimizeForSpeed": false });
        let answer = self.cdp("Page.captureScreenshot", options).await?;
        let data = answer["data"].as_str().context("chromium sent no picture")?;
        Ok(base64::engine::general_purpose::STANDARD.decode(data)?)
    }

    /// Rewrites a piece of the page's text, for pictures that must not change from run to run.
    pub async fn reword(&self, from: &str, to: &str) -> Result<()> {
        let script = "const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT); \
            while (walker.nextNode()) { \
              const node = walker.currentNode; \
              if (node.data.includes(arguments[0])) node.data = node.data.replaceAll(arguments[0], arguments[1]); \
            }";
        self.script(script, vec![json!(from), json!(to)]).await?;
        Ok(())
    }

    /// Forgets every cookie, so that the next visit is a stranger's.
    pub async fn forget_cookies(&self) -> Result<()> {
        self.cdp("Network.clearBrowserCookies", json!({})).await?;
        Ok(())
    }

    /// Types into the fields of the page's form with this hidden `step`, and presses a button of it.
    ///
    /// An empty `decision` presses the form's first button.
    pub async fn fill_and_press(&self, step: &str, fields: &[(&str, &str)], decision: &str) -> Result<()> {
        let form = self
            .form(step)
            .await?
            .with_context(|| format!("the page has no form of the step `{step}`"))?;
        for (name, value) in fields {
            let field = form.find(By::Css(format!("input[name=\"{name}\"]"))).await?;
            field.clear().await?;
            field.send_keys(*value).await?;
        }
        let button = match decision {
            "" => "button, input[type=submit]".to_owned(),
            _ => format!("button[name=decision][value=\"{decision}\"]"),
        };
        self.press(&form.find(By::Css(button)).await?).await
    }

    /// Presses the first button inside the element that this CSS selector finds.
    pub async fn press_in(&self, selector: &str) -> Result<()> {
        let button = By::Css(format!("{selector} button"));
        let button = self
            .driver()
            .find(button)
            .await
            .with_context(|| format!("no button in `{selector}`"))?;
        self.press(&button).await
    }

    /// Follows the link that this CSS selector finds.
    pub async fn follow(&self, selector: &str) -> Result<()> {
        let link = self
            .driver()
            .find(By::Css(selector))
            .await
            .with_context(|| format!("no link `{selector}`"))?;
        self.press(&link).await
    }

    /// The text of the page as it is seen, with runs of white space as one space.
    pub async fn text(&self) -> Result<String> {
        let text = self
            .script("return document.body ? document.body.innerText : ''", vec![])
            .await?;
        let words = text.as_str().unwrap_or_default().split_whitespace();
        Ok(words.collect::<Vec<_>>().join(" "))
    }

    /// Opens an authorization URL, signs in if asked, decides on consent if asked, and returns where the browser was sent.
    ///
    /// Something should listen at the client's redirect URI, or Chromium shows its own error page there.
    pub async fn sign_in_and(
        &self,
        url: &str,
        username: &str,
        password: &str,
        decision: Decision<'_>,
    ) -> Result<Redirect> {
        let home = url.parse::<Url>()?.origin();
        self.open(url).await?;
        let mut has_signed_in = false;
        for _ in 0..MAX_PAGES {
            let here = self.url().await?;
            if here.origin() != home {
                return Ok(Redirect { url: here.into() });
            }
            if self.form("login").await?.is_some() {
                ensure!(
                    !has_signed_in,
                    "signing in as `{username}` was refused: {}",
                    self.describe().await?
                );
                has_signed_in = true;
                self.fill_and_press("login", &[("username", username), ("password", password)], "")
                    .await?;
            } else if self.form("consent").await?.is_some() {
                let pressed = match decision {
                    Decision::Deny => "deny",
                    Decision::Allow => "allow",
                    Decision::AllowOnly(scopes) => {
                        self.tick_only(scopes).await?;
                        "allow"
                    }
                };
                self.fill_and_press("consent", &[], pressed).await?;
            } else {
                bail!("neither a login nor a consent page: {}", self.describe().await?);
            }
        }
        bail!("{MAX_PAGES} pages and still not back at the client, from {url}")
    }

    async fn tick_only(&self, scopes: &[&str]) -> Result<()> {
        for checkbox in self
            .driver()
            .find_all(By::Css("input[type=checkbox][name=scope]"))
            .await?
        {
            let value = checkbox.attr("value").await?.unwrap_or_default();
            if checkbox.is_selected().await? != scopes.contains(&value.as_str()) {
                checkbox.click().await?;
            }
        }
        Ok(())
    }

    /// Says what the browser shows, for an error message.
    pub async fn describe(&self) -> Result<String> {
        let text = self
            .script("return document.body ? document.body.innerText : ''", vec![])
            .await?;
        let text: String = text.as_str().unwrap_or_default().chars().take(600).collect();
        let (url, title) = (self.url().await?, self.driver().title().await?);
        Ok(format!(
            "“{title}” at {url}: {}",
            text.split_whitespace().collect::<Vec<_>>().join(" ")
        ))
    }

    async fn form(&self, step: &str) -> Result<Option<WebElement>> {
        let form = By::Css(format!("form:has(input[name=step][value=\"{step}\"])"));
        Ok(self.driver().find_all(form).await?.into_iter().next())
    }

    /// Presses a button and waits until another page has come.
    async fn press(&self, button: &WebElement) -> Result<()> {
        let words = button.text().await?;
        self.script("window.authflowBefore = true", vec![]).await?;
        button
            .click()
            .await
            .with_context(|| format!("pressing “{words}”"))?;
        let deadline = Instant::now() + PAGE_PATIENCE;
        loop {
            // A script may find no page to run in while the next one is on its way.
            let has_come = self
                .script(
                    "return !window.authflowBefore && document.readyState === 'complete'",
                    vec![],
                )
                .await
                .is_ok_and(|answer| answer == json!(true));
            if has_come {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let complaints = self.complaints().await?.join("; ");
                bail!(
                    "nothing came after pressing “{words}”: {}; {complaints}",
                    self.describe().await?
                );
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn script(&self, script: &str, arguments: Vec<Value>) -> Result<Value> {
        Ok(self.driver().execute(script, arguments).await?.json().clone())
    }

    async fn cdp(&self, command: &str, parameters: Value) -> Result<Value> {
        self.driver()
            .cdp()
            .send_raw(command, parameters)
            .await
            .with_context(|| command.to_owned())
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // The session ends with the processes; asking for its end first would block a runtime thread.
        if let Some(driver) = self.driver.take() {
            let _ = driver.leak();
        }
    }
}
