//! Who signs in: the testkit's browser, or a real Chromium.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result};
use axum::Router;
use mcp_authflow_testkit::browser::{Browser, Decision, Redirect};
use mcp_authflow_testkit::chromium::Chromium;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::house::{PASSWORD, USERNAME};
use crate::provide;

/// A person with a browser.
#[derive(Debug)]
pub(super) enum Person {
    /// Submits the real forms.
    Forms(Browser),
    /// Clicks the real buttons.
    Chromium(Box<Chromium>),
}

impl Person {
    pub(super) async fn arrive(is_in_chromium: bool) -> Result<Self> {
        if !is_in_chromium {
            return Ok(Self::Forms(Browser::new()?));
        }
        let programs = provide::chromium::provide()?;
        let chromium = Chromium::start(&programs.chromium, &programs.chromedriver).await?;
        Ok(Self::Chromium(Box::new(chromium)))
    }

    /// Goes where a client sends them, signs in, decides, and says where they were sent back to.
    pub(super) async fn sign_in(&self, url: &str, decision: Decision<'_>) -> Result<Redirect> {
        match self {
            Self::Forms(browser) => browser.sign_in_and(url, USERNAME, PASSWORD, decision).await,
            Self::Chromium(chromium) => chromium.sign_in_and(url, USERNAME, PASSWORD, decision).await,
        }
    }
}

/// Where a client on this machine waits for its callback.
///
/// A page stands there, so that a real browser that is sent there finds one.
#[derive(Debug)]
pub(super) struct CallbackPage {
    pub(super) port: u16,
    task: JoinHandle<()>,
}

impl CallbackPage {
    pub(super) async fn open() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .context("no port for the callback")?;
        let port = listener.local_addr()?.port();
        let page = Router::new().fallback(|| async { "You may close this window." });
        let task = tokio::spawn(async move {
            // It ends with the listener only, and then nobody asks any more.
            let _ = axum::serve(listener, page).await;
        });
        Ok(Self { port, task })
    }
}

impl Drop for CallbackPage {
    fn drop(&mut self) {
        self.task.abort();
    }
}
