//! Somebody who uses the server: an application or a person's browser, from an address of its own.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use reqwest::header::{COOKIE, HOST, HeaderMap, LOCATION, ORIGIN, SET_COOKIE};
use serde_json::Value;

/// A connection that hangs for longer is a fault of its own.
const PATIENCE: Duration = Duration::from_secs(15);

/// What came back.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    pub(crate) took: Duration,
}

impl Reply {
    /// Where it leads to.
    pub(crate) fn location(&self) -> Option<&str> {
        self.headers.get(LOCATION)?.to_str().ok()
    }

    /// The body as JSON, or nothing.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    /// The OAuth error code; empty where there is none.
    pub(crate) fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or("").to_owned()
    }

    /// What a reader sees of it, in short.
    pub(crate) fn brief(&self) -> String {
        let mut text = String::new();
        let mut is_tag = false;
        for character in self.body.chars() {
            match character {
                '<' => is_tag = true,
                '>' => (is_tag, text) = (false, text + " "),
                _ if is_tag => {}
                _ => text.push(character),
            }
        }
        let words: Vec<&str> = text.split_whitespace().collect();
        words.join(" ").chars().take(300).collect()
    }

    /// The value of a hidden field of the form of this step.
    fn csrf(&self) -> Result<String> {
        let (_, rest) = self
            .body
            .split_once("name=\"csrf\"")
            .with_context(|| format!("no form on the page ({}): {}", self.status, self.brief()))?;
        let (_, rest) = rest.split_once("value=\"").context("no token in the form")?;
        Ok(rest.split('"').next().unwrap_or("").to_owned())
    }

    /// Whether there is a form for this step.
    pub(crate) fn asks_for(&self, step: &str) -> bool {
        self.body.contains(&format!("value=\"{step}\""))
    }
}

/// Where the server is, and how many connections were made to it from here.
#[derive(Clone, Debug)]
pub(crate) struct Street {
    opened: Arc<AtomicU64>,
    next: Arc<AtomicU32>,
}

impl Street {
    pub(crate) fn new() -> Self {
        Self {
            opened: Arc::default(),
            // Beyond every address that means something.
            next: Arc::new(AtomicU32::new(Ipv4Addr::new(127, 64, 0, 1).to_bits())),
        }
    }

    /// How many connections visitors have made.
    pub(crate) fn opened(&self) -> u64 {
        self.opened.load(Ordering::SeqCst)
    }

    /// Somebody new, at an address that nobody had.
    pub(crate) fn visitor(&self, server: SocketAddr, issuer: &str) -> Result<Visitor> {
        let address = IpAddr::from(Ipv4Addr::from_bits(self.next.fetch_add(1, Ordering::SeqCst)));
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .local_address(address)
            .no_proxy()
            // One connection a request, so that they can be told from the server's own.
            .pool_max_idle_per_host(0)
            .timeout(PATIENCE)
            .build()?;
        Ok(Visitor {
            http,
            server,
            issuer: issuer.to_owned(),
            opened: self.opened.clone(),
            jar: Mutex::default(),
        })
    }
}

/// One application or browser, with its cookies.
pub(crate) struct Visitor {
    http: reqwest::Client,
    server: SocketAddr,
    issuer: String,
    opened: Arc<AtomicU64>,
    jar: Mutex<BTreeMap<String, String>>,
}

impl Visitor {
    /// Asks for a path of the server.
    pub(crate) async fn get(&self, path: &str) -> Result<Reply> {
        self.send(self.http.get(self.url(path))).await
    }

    /// Sends a form.
    pub(crate) async fn post(&self, path: &str, form: &[(&str, &str)]) -> Result<Reply> {
        let request = self.http.post(self.url(path)).header(ORIGIN, &self.issuer);
        self.send(request.form(form)).await
    }

    /// Sends JSON.
    pub(crate) async fn post_json(&self, path: &str, body: &Value) -> Result<Reply> {
        self.send(self.http.post(self.url(path)).json(body)).await
    }

    /// Signs in at a page that asks for it, and returns the page that follows.
    pub(crate) async fn sign_in(&self, path: &str, username: &str, password: &str) -> Result<Reply> {
        let page = self.get(path).await?;
        if !page.asks_for("login") {
            return Ok(page);
        }
        let csrf = page.csrf()?;
        let form = [
            ("csrf", csrf.as_str()),
            ("step", "login"),
            ("username", username),
            ("password", password),
        ];
        let reply = self.post(path, &form).await?;
        ensure!(
            reply.status == 303,
            "signing in was refused ({}): {}",
            reply.status,
            reply.brief()
        );
        self.get(path).await
    }

    /// Allows all that the consent page asks, and returns where it leads to.
    pub(crate) async fn allow(&self, path: &str, page: &Reply) -> Result<Reply> {
        let csrf = page.csrf()?;
        let mut form = vec![
            ("csrf", csrf.as_str()),
            ("step", "consent"),
            ("decision", "allow"),
        ];
        let boxes = page.body.split("name=\"scope\" value=\"").skip(1);
        form.extend(boxes.map(|rest| ("scope", rest.split('"').next().unwrap_or(""))));
        self.post(path, &form).await
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server)
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Reply> {
        let host = self.issuer.trim_start_matches("https://");
        let cookies: Vec<String> = self
            .cookies()
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let mut request = request.header(HOST, host);
        if !cookies.is_empty() {
            request = request.header(COOKIE, cookies.join("; "));
        }
        self.opened.fetch_add(1, Ordering::SeqCst);
        let began = Instant::now();
        let response = request.send().await.context("the server does not answer")?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.text().await.context("the answer broke off")?;
        let took = began.elapsed();
        for field in headers.get_all(SET_COOKIE) {
            let pair = field.to_str()?.split(';').next().unwrap_or("");
            if let Some((name, value)) = pair.split_once('=') {
                self.cookies().insert(name.to_owned(), value.to_owned());
            }
        }
        Ok(Reply {
            status,
            headers,
            body,
            took,
        })
    }

    fn cookies(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        self.jar.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
