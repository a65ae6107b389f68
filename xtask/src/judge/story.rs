//! The story that every client library must be able to live through, seen from outside.

use anyhow::{Context as _, Result, bail, ensure};
use mcp_authflow_testkit::browser::Decision;
use mcp_authflow_testkit::service::port::free_port;
use serde_json::{Value, json};
use url::Url;

use super::client::Client;
use super::dialogue::Driver;
use super::house::{USERNAME, http};
use super::person::{CallbackPage, Person};
use super::registration::Identity;
use super::site::{Site, Stream};

/// Discovery, registration, sign-in, tokens, a tool call, a refresh, and refusal after revocation.
pub(super) async fn allowed(site: &Site, client: Client, person: &Person) -> Result<()> {
    allowed_as(site, client, &Identity::Registers, person).await
}

/// The same for a client that has this identity.
pub(super) async fn allowed_as(
    site: &Site,
    client: Client,
    identity: &Identity,
    person: &Person,
) -> Result<()> {
    let http = http()?;
    let (redirect_uri, _page) = callback(client).await?;
    let mut driver = client.drive(site, &redirect_uri, identity, false)?;

    let client_id = sign_in(site, &mut driver, person, &redirect_uri, Decision::Allow).await?;
    identity.check(&client_id)?;
    let authorized = driver.step("authorized").await?;
    let first = check_tokens(site, &http, &authorized, &client_id).await?;
    let tools = driver.step("listed").await?;
    ensure!(
        tools["tools"].as_array().is_some_and(|tools| !tools.is_empty()),
        "no tools: {tools}"
    );
    check_answer(site, &driver.step("called").await?)?;
    if let Some(stream) = &site.play.stream {
        check_stream(stream, &driver.step("streamed").await?)?;
    }
    let mut before_refresh = first;
    if let Some(step_up) = site.play.step_up.as_ref().filter(|_| client.steps_up()) {
        go(
            site,
            &mut driver,
            person,
            &client_id,
            &redirect_uri,
            Decision::Allow,
        )
        .await?;
        let stepped_up = driver.step("stepped_up").await?;
        before_refresh = check_tokens(site, &http, &stepped_up, &client_id).await?;
        ensure!(
            has_scope(&stepped_up["tokens"], step_up.scope),
            "after the step-up the client holds {}",
            stepped_up["tokens"]["scope"]
        );
        if let Some(answer) = site.introspect(&http, &before_refresh.access_token).await? {
            ensure!(
                has_scope(&answer, step_up.scope),
                "after the step-up introspection says {answer}"
            );
        }
    }
    check_answer(site, &driver.step("called_again").await?)?;
    let refreshed = driver.step("refreshed").await?;
    let second = check_tokens(site, &http, &refreshed, &client_id).await?;
    ensure!(
        before_refresh.access_token != second.access_token,
        "the refresh gave the same access token"
    );
    ensure!(
        before_refresh.refresh_token != second.refresh_token,
        "the refresh token was not rotated"
    );

    revoke(site, &http, &refreshed["client"], &second.refresh_token).await?;
    if let Some(answer) = site.introspect(&http, &second.access_token).await? {
        ensure!(
            answer == json!({ "active": false }),
            "after revocation introspection says {answer}"
        );
    }
    driver.say(json!({ "revoked": true })).await?;
    driver.step("revoked_refused").await?;
    driver.end().await
}

/// The person says no: the client hears `access_denied` and gets nothing.
pub(super) async fn denied(site: &Site, client: Client, person: &Person) -> Result<()> {
    let (redirect_uri, _page) = callback(client).await?;
    let mut driver = client.drive(site, &redirect_uri, &Identity::Registers, true)?;
    sign_in(site, &mut driver, person, &redirect_uri, Decision::Deny).await?;
    let denied = driver.step("denied").await?;
    ensure!(denied["error"] == "access_denied", "the client reports {denied}");
    driver.end().await
}

/// Where the client wants the person back, and the page that stands there unless it has one of its own.
async fn callback(client: Client) -> Result<(String, Option<CallbackPage>)> {
    if client.has_own_callback_page() {
        return Ok((client.redirect_uri(free_port()?), None));
    }
    let page = CallbackPage::open().await?;
    Ok((client.redirect_uri(page.port), Some(page)))
}

/// Hears of the registration, then takes the person through the pages; returns the client's id.
async fn sign_in(
    site: &Site,
    driver: &mut Driver,
    person: &Person,
    redirect_uri: &str,
    decision: Decision<'_>,
) -> Result<String> {
    let registered = driver.step("registered").await?;
    let client_id = registered["client_id"]
        .as_str()
        .context("no client_id")?
        .to_owned();
    go(site, driver, person, &client_id, redirect_uri, decision).await?;
    Ok(client_id)
}

/// Takes the driver's authorization URL to the person and the callback back.
async fn go(
    site: &Site,
    driver: &mut Driver,
    person: &Person,
    client_id: &str,
    redirect_uri: &str,
    decision: Decision<'_>,
) -> Result<()> {
    let line = driver.hear().await?;
    let Some(authorize) = line["authorize"].as_str() else {
        bail!("instead of an authorization URL: {line}")
    };
    let url: Url = authorize.parse()?;
    ensure!(
        authorize.starts_with(&site.url("/authorize?")),
        "the client goes to {authorize}"
    );
    for (name, wanted) in [
        ("response_type", "code"),
        ("client_id", client_id),
        ("code_challenge_method", "S256"),
        ("redirect_uri", redirect_uri),
        ("resource", &site.mcp_url),
    ] {
        let value = url
            .query_pairs()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned());
        ensure!(
            value.as_deref() == Some(wanted),
            "the client sends {name}={value:?} instead of {wanted}"
        );
    }
    let redirect = person.sign_in(authorize, decision).await?;
    ensure!(
        redirect.url.starts_with(&format!("{redirect_uri}?")),
        "the browser was sent to {}",
        redirect.url
    );
    let iss = redirect.parameter("iss")?;
    ensure!(
        iss.as_deref() == Some(site.issuer.as_str()),
        "the redirect carries iss={iss:?}"
    );
    driver.say(json!({ "callback": redirect.url })).await
}

/// The tool did what it is for; `hello` greets whom the token speaks for.
fn check_answer(site: &Site, called: &Value) -> Result<()> {
    let text = called["text"].as_str().unwrap_or_default();
    let wanted = &site.play.answer;
    ensure!(
        text.contains(wanted.as_str()),
        "the tool said `{text}` instead of `{wanted}`"
    );
    Ok(())
}

/// The tool ends only after the client's answer, which comes after the third event: whoever collects events cannot end it.
fn check_stream(stream: &Stream, streamed: &Value) -> Result<()> {
    let text = streamed["text"].as_str().unwrap_or_default();
    let heard = streamed["heard"].as_u64().unwrap_or_default();
    ensure!(
        text.contains(stream.end) && heard >= 3 && streamed["answered"].is_string(),
        "after {heard} events the slow tool said `{text}`: {streamed}"
    );
    Ok(())
}

fn has_scope(answer: &Value, scope: &str) -> bool {
    answer["scope"]
        .as_str()
        .is_some_and(|granted| granted.split(' ').any(|granted| granted == scope))
}

struct Tokens {
    access_token: String,
    refresh_token: String,
}

/// What the client holds must be what the server says it holds.
async fn check_tokens(site: &Site, http: &reqwest::Client, step: &Value, client_id: &str) -> Result<Tokens> {
    let token = |name: &str| {
        step["tokens"][name]
            .as_str()
            .map(str::to_owned)
            .with_context(|| format!("no {name}"))
    };
    let tokens = Tokens {
        access_token: token("access_token")?,
        refresh_token: token("refresh_token")?,
    };
    ensure!(
        step["client"]["client_id"] == client_id,
        "the client changed its id in {}",
        step["client"]
    );
    ensure!(
        tokens.access_token.starts_with("mcpat_"),
        "an access token without its prefix"
    );
    ensure!(
        tokens.refresh_token.starts_with("mcprt_"),
        "a refresh token without its prefix"
    );
    if let Some(answer) = site.introspect(http, &tokens.access_token).await? {
        let is_right = answer["active"] == true
            && answer["client_id"] == client_id
            && answer["aud"] == json!(site.mcp_url)
            && answer["username"] == USERNAME
            && has_scope(&answer, "hello:read");
        ensure!(is_right, "introspection says {answer}");
    }
    Ok(tokens)
}

/// RFC 7009, with the client's own credentials.
async fn revoke(site: &Site, http: &reqwest::Client, client: &Value, token: &str) -> Result<()> {
    let client_id = client["client_id"].as_str().context("no client_id")?;
    let secret = client["client_secret"].as_str();
    let mut form = vec![("token", token), ("token_type_hint", "refresh_token")];
    let mut request = http.post(site.url("/revoke"));
    match (client["token_endpoint_auth_method"].as_str(), secret) {
        (Some("client_secret_basic"), Some(secret)) => request = request.basic_auth(client_id, Some(secret)),
        (Some("client_secret_post"), Some(secret)) => {
            form.extend([("client_id", client_id), ("client_secret", secret)]);
        }
        _ => form.push(("client_id", client_id)),
    }
    let response = request.form(&form).send().await?;
    let status = response.status();
    ensure!(
        status == 200,
        "revocation answered {status}: {}",
        response.text().await?
    );
    Ok(())
}
