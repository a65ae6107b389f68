//! Two strict client libraries that know nothing of MCP, `oauth4webapi` and `openid-client`.
//!
//! The story is in `judges/openid/story.mjs`; here is the person, the operator and the look from outside.

use anyhow::{Context as _, Result, bail, ensure};
use mcp_authflow_testkit::browser::{Browser, Decision, Page, Visit};
use serde_json::{Value, json};

use super::dialogue::Driver;
use super::house::{House, INTROSPECTION_CLIENT, Keeper, PASSWORD, StoreKind, USERNAME, http};
use super::workshop;

const MACHINE: (&str, &str) = ("machine", "mcpcs_the-machine-of-the-strict-clients-judge");
const DEVICE: &str = "living-room";
/// A client that the operator knows, and so may be told of mistakes by a redirect.
const KNOWN: &str = "known";
/// A resource whose tokens are JWTs.
const FILES: &str = "https://files.test/mcp";
const REDIRECT_URI: &str = "http://127.0.0.1:3999/callback";

/// A library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Library {
    Oauth4webapi,
    OpenidClient,
}

impl Library {
    pub(super) const ALL: [Self; 2] = [Self::Oauth4webapi, Self::OpenidClient];

    /// The package and its version, as the manifest pins it.
    pub(super) fn package(self) -> &'static str {
        match self {
            Self::Oauth4webapi => "oauth4webapi 3.8.8",
            Self::OpenidClient => "openid-client 6.8.9",
        }
    }

    fn script(self) -> &'static str {
        match self {
            Self::Oauth4webapi => "oauth4webapi.mjs",
            Self::OpenidClient => "openid-client.mjs",
        }
    }

    /// The steps of the story, in order, each of them reported once.
    fn steps(self) -> Vec<&'static str> {
        let mut steps = vec!["discovered", "registered", "registration_refused"];
        steps.extend(["code", "refresh", "revocation"]);
        steps.extend(["authorization_refused", "code_replayed"]);
        for _confidential_client in 0..3 {
            steps.extend(["code", "refresh", "revocation"]);
        }
        steps.extend(["introspection", "device", "device_denied"]);
        steps.extend(["client_credentials", "private_key_jwt"]);
        if self == Self::Oauth4webapi {
            steps.extend(["jwt_access_token", "protected_resource"]);
        }
        steps
    }
}

fn bootstrap() -> String {
    let (machine, secret) = MACHINE;
    format!(
        r#"
[[client]]
client_id = "{machine}"
name = "Machine"
client_secret = "{secret}"
token_endpoint_auth_method = "client_secret_basic"
grant_types = ["client_credentials"]
scope = "hello:read files:read"

[[client]]
client_id = "{DEVICE}"
name = "Living Room Player"
token_endpoint_auth_method = "none"
grant_types = ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"]

[[client]]
client_id = "{KNOWN}"
name = "Known"
token_endpoint_auth_method = "none"
redirect_uris = ["{REDIRECT_URI}"]

[[resource]]
uri = "{FILES}"
name = "Files"
introspection_client_id = "files"
introspection_client_secret = "mcpcs_the-server-of-the-files-of-the-strict-judge"

[[resource.scope]]
name = "files:read"
description = "Read your files"
"#
    )
}

/// The whole story of one library, at an issuer with this path.
pub(super) async fn judge(
    keeper: &Keeper<'_>,
    store: StoreKind,
    issuer_path: &str,
    library: Library,
) -> Result<()> {
    let mut house = keeper.serve(store, issuer_path, &bootstrap())?;
    keeper.open_mcp(&mut house, false)?;
    house
        .server
        .run(["resource", "set", FILES, "--access-token-format", "jwt"])?;
    let options = json!({
        "issuer": house.server.issuer(),
        "resource": house.mcp_url,
        "other_resource": FILES,
        "redirect_uri": REDIRECT_URI,
        "secrets": { "hello": INTROSPECTION_CLIENT, "machine": MACHINE, "device": DEVICE, "known": KNOWN },
    });
    let mut command = workshop::node_script("openid", library.script())?;
    command.arg(house.server.issuer()).arg(options.to_string());
    let mut driver = Driver::program(command)?;
    let browser = Browser::new()?;
    for step in library.steps() {
        let line = loop {
            let line = driver.hear().await?;
            if line["step"].is_string() {
                break line;
            }
            serve(&house, &browser, &mut driver, &line).await?;
        };
        ensure!(
            line["step"] == step && line["ok"] == true,
            "instead of `{step}` the driver said {line}"
        );
        look(&house, &mut driver, &line).await.with_context(|| step)?;
    }
    driver.end().await
}

/// Does what the driver asks of the person or of the operator.
async fn serve(house: &House, browser: &Browser, driver: &mut Driver, line: &Value) -> Result<()> {
    let decision = if line["decision"] == "deny" {
        Decision::Deny
    } else {
        Decision::Allow
    };
    if let Some(url) = line["authorize"].as_str() {
        let redirect = browser.sign_in_and(url, USERNAME, PASSWORD, decision).await?;
        driver.say(json!({ "callback": redirect.url })).await
    } else if let Some(url) = line["device"].as_str() {
        decide_device(browser, url, decision).await?;
        driver.say(json!({ "decided": true })).await
    } else if line["machine"].is_object() {
        add_machine(house, &line["machine"])?;
        driver.say(json!({ "added": true })).await
    } else {
        bail!("the driver wants {line}")
    }
}

/// A token that the library takes for good must be so in the resource server's eyes, for this person and resource.
async fn look(house: &House, driver: &mut Driver, line: &Value) -> Result<()> {
    let Some(token) = line["access_token"].as_str() else {
        return Ok(());
    };
    let known = house.introspect(&http()?, token).await?;
    ensure!(
        known["active"] == true
            && known["username"] == USERNAME
            && known["aud"] == house.mcp_url.as_str()
            && known["scope"] == "hello:read",
        "introspection says {known}"
    );
    driver.say(json!({ "looked": true })).await
}

/// Types the code that the address carries, and decides.
async fn decide_device(browser: &Browser, url: &str, decision: Decision<'_>) -> Result<()> {
    let mut page = page(browser.open(url).await?)?;
    for _ in 0..3 {
        let (step, fields): (_, Vec<(&str, &str)>) = if page.form_with("step", "login").is_some() {
            ("login", vec![("username", USERNAME), ("password", PASSWORD)])
        } else if page.form_with("step", "code").is_some() {
            ("code", Vec::new())
        } else {
            let decision = if decision == Decision::Deny {
                "deny"
            } else {
                "allow"
            };
            ("consent", vec![("decision", decision)])
        };
        let form = page.form_with("step", step);
        let form = form
            .with_context(|| format!("no way on: {}", page.describe()))?
            .clone();
        page = self::page(browser.submit(&page, &form, &fields).await?)?;
        if step == "consent" {
            return Ok(());
        }
    }
    bail!("the device page asks again and again: {}", page.describe())
}

fn page(visit: Visit) -> Result<Page> {
    match visit {
        Visit::Page(page) => Ok(*page),
        Visit::Left(redirect) => bail!("the device page left for {}", redirect.url),
    }
}

/// The operator adds a machine with a key beside the running server.
fn add_machine(house: &House, machine: &Value) -> Result<()> {
    let id = machine["id"].as_str().context("no id")?;
    let file = house.server.folder().join(format!("{id}.json"));
    std::fs::write(&file, machine["jwks"].to_string())?;
    let file = file.to_str().context("the folder's name is no text")?;
    let who = ["client", "add", "--name", id, "--id", id];
    let how = ["--token-endpoint-auth-method", "private_key_jwt", "--jwks", file];
    let what = ["--grant-type", "client_credentials", "--scope", "hello:read"];
    house.server.run_all(who.into_iter().chain(how).chain(what))?;
    Ok(())
}
