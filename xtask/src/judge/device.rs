//! A device without a browser gets in, and a person with a real one lets it (RFC 8628).

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use mcp_authflow_testkit::chromium::Chromium;
use serde_json::{Value, json};

use super::house::{House, Keeper, PASSWORD, StoreKind, USERNAME, http};
use crate::provide;

const CLIENT: &str = "living-room";

const BOOTSTRAP: &str = r#"
[[client]]
client_id = "living-room"
name = "Living Room Player"
token_endpoint_auth_method = "none"
grant_types = ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"]
"#;

/// How long a device polls here at most.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a device is given (RFC 8628 §3.2).
pub(super) struct Codes {
    pub(super) device_code: String,
    pub(super) user_code: String,
    pub(super) verification_uri_complete: String,
    pub(super) interval: u64,
}

impl Codes {
    /// Asks as a device does.
    pub(super) async fn ask(http: &reqwest::Client, url: &str, form: &[(&str, &str)]) -> Result<Self> {
        let response = http.post(url).form(form).send().await?;
        let status = response.status();
        let text = response.text().await?;
        ensure!(status == 200, "the device endpoint answered {status}: {text}");
        let codes: Value = serde_json::from_str(&text)?;
        let member = |name: &str| {
            let value = codes[name].as_str().map(str::to_owned);
            value.with_context(|| format!("no {name} in {codes}"))
        };
        Ok(Self {
            device_code: member("device_code")?,
            user_code: member("user_code")?,
            verification_uri_complete: member("verification_uri_complete")?,
            interval: codes["interval"].as_u64().context("no interval")?,
        })
    }
}

/// The whole way: approved by one device, denied to another; each told so by polling as the RFC asks.
pub(super) async fn judge(keeper: &Keeper<'_>, store: StoreKind) -> Result<()> {
    let house = keeper.serve(store, "", BOOTSTRAP)?;
    let http = http()?;
    let programs = provide::chromium::provide()?;
    let chromium = Chromium::start(&programs.chromium, &programs.chromedriver).await?;

    // 1. The code of the QR code is filled in and sent by nobody but the person.
    let codes = begin(&house, &http).await?;
    ensure!(
        poll(&house, &http, &codes).await? == Told::Wait,
        "nobody has decided yet"
    );
    let waiting = tokio::spawn(wait(
        house.server.url("/token"),
        http.clone(),
        codes.device_code.clone(),
        codes.interval,
    ));
    chromium.open(&codes.verification_uri_complete).await?;
    let fields = [("username", USERNAME), ("password", PASSWORD)];
    chromium.fill_and_press("login", &fields, "").await?;
    let page = chromium.describe().await?;
    ensure!(page.contains("Does your device show"), "after signing in: {page}");
    chromium.fill_and_press("code", &[], "").await?;
    let page = chromium.describe().await?;
    for said in ["Living Room Player", "device whose code you typed", "127.0.0.1"] {
        ensure!(page.contains(said), "`{said}` is not on the page: {page}");
    }
    chromium.fill_and_press("consent", &[], "allow").await?;
    let page = chromium.describe().await?;
    ensure!(page.contains("Device connected"), "after allowing: {page}");
    let Told::Tokens(tokens) = waiting.await?? else {
        bail!("the device did not get its tokens");
    };
    let token = tokens["access_token"].as_str().context("no access_token")?;
    let known = house.introspect(&http, token).await?;
    ensure!(
        known["active"] == json!(true) && known["client_id"] == json!(CLIENT),
        "the token is {known}"
    );
    ensure!(
        tokens["refresh_token"].is_string(),
        "no refresh token in {tokens}"
    );

    // 2. Once: a second redemption and a second typing get nothing.
    tokio::time::sleep(Duration::from_secs(codes.interval)).await;
    ensure!(
        poll(&house, &http, &codes).await? == Told::No("invalid_grant".to_owned()),
        "a used device code is no good"
    );
    let known = house.introspect(&http, token).await?;
    ensure!(known["active"] == json!(true), "a replay ended the grant");
    chromium.open(&house.server.url("/ui/device")).await?;
    chromium
        .fill_and_press("code", &[("user_code", &codes.user_code)], "")
        .await?;
    let page = chromium.describe().await?;
    ensure!(page.contains("No device is waiting"), "a used code: {page}");

    // 3. Another device, typed in small letters, and denied.
    let codes = begin(&house, &http).await?;
    let typed = codes.user_code.to_lowercase().replace('-', " ");
    chromium.open(&house.server.url("/ui/device")).await?;
    chromium
        .fill_and_press("code", &[("user_code", &typed)], "")
        .await?;
    chromium.fill_and_press("consent", &[], "deny").await?;
    let page = chromium.describe().await?;
    ensure!(page.contains("Device not connected"), "after denying: {page}");
    ensure!(
        poll(&house, &http, &codes).await? == Told::No("access_denied".to_owned()),
        "a denied device is told so"
    );
    // And one that does not wait is told to.
    ensure!(
        poll(&house, &http, &codes).await? == Told::No("slow_down".to_owned()),
        "a device that hurries is slowed down"
    );
    Ok(())
}

async fn begin(house: &House, http: &reqwest::Client) -> Result<Codes> {
    let form = [
        ("client_id", CLIENT),
        ("resource", house.mcp_url.as_str()),
        ("scope", "hello:read"),
    ];
    Codes::ask(http, &house.server.url("/device_authorization"), &form).await
}

/// What a device is told.
#[derive(Debug, PartialEq)]
enum Told {
    Wait,
    Tokens(Value),
    No(String),
}

async fn poll(house: &House, http: &reqwest::Client, codes: &Codes) -> Result<Told> {
    poll_at(&house.server.url("/token"), http, &codes.device_code).await
}

async fn poll_at(url: &str, http: &reqwest::Client, device_code: &str) -> Result<Told> {
    let form = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
        ("device_code", device_code),
        ("client_id", CLIENT),
    ];
    let response = http.post(url).form(&form).send().await?;
    let status = response.status().as_u16();
    let answer: Value = response.json().await?;
    match (status, answer["error"].as_str()) {
        (200, None) => Ok(Told::Tokens(answer)),
        (400, Some("authorization_pending")) => Ok(Told::Wait),
        (400, Some(error)) => Ok(Told::No(error.to_owned())),
        _ => bail!("a poll was answered {status}: {answer}"),
    }
}

/// Polls as RFC 8628 §3.5 asks, until somebody has decided.
async fn wait(url: String, http: reqwest::Client, device_code: String, interval: u64) -> Result<Told> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        tokio::time::sleep(Duration::from_secs(interval)).await;
        match poll_at(&url, &http, &device_code).await? {
            Told::Wait => {}
            told => return Ok(told),
        }
    }
    bail!("nobody decided within {PATIENCE:?}")
}
