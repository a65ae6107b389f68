//! The two servers, with the same clients, person and resource.

use std::net::{IpAddr, Ipv4Addr};
use std::process::Stdio;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use mcp_authflow_testkit::browser::{Browser, Decision};
use mcp_authflow_testkit::service::port::free_port;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;

use crate::judge::house::{House, INTROSPECTION_CLIENT, PASSWORD, USERNAME};
use crate::judge::workshop;

pub(super) const REDIRECT_URI: &str = "https://client.example/cb";
pub(super) const SECRET: &str = "the-confidential-client-s-secret-0123456789";
const LOOPBACK: &str = "http://127.0.0.1/cb";
const CODE: &[&str] = &["authorization_code", "refresh_token"];
const DEVICE: &[&str] = &["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"];
const PATIENCE: Duration = Duration::from_secs(60);

/// A client that both servers know.
struct Fixture {
    id: &'static str,
    redirect_uri: Option<&'static str>,
    is_confidential: bool,
    grant_types: &'static [&'static str],
    scope: Option<&'static str>,
}

const FIXTURES: [Fixture; 6] = [
    Fixture {
        id: "web",
        redirect_uri: Some(REDIRECT_URI),
        is_confidential: false,
        grant_types: CODE,
        scope: None,
    },
    Fixture {
        id: "web2",
        redirect_uri: Some(REDIRECT_URI),
        is_confidential: false,
        grant_types: CODE,
        scope: None,
    },
    Fixture {
        id: "native",
        redirect_uri: Some(LOOPBACK),
        is_confidential: false,
        grant_types: CODE,
        scope: None,
    },
    Fixture {
        id: "sec",
        redirect_uri: Some(REDIRECT_URI),
        is_confidential: true,
        grant_types: CODE,
        scope: None,
    },
    Fixture {
        id: "svc",
        redirect_uri: None,
        is_confidential: true,
        grant_types: &["client_credentials"],
        scope: Some("hello:read"),
    },
    Fixture {
        id: "tv",
        redirect_uri: None,
        is_confidential: false,
        grant_types: DEVICE,
        scope: None,
    },
];

impl Fixture {
    fn method(&self) -> &'static str {
        if self.is_confidential {
            "client_secret_basic"
        } else {
            "none"
        }
    }

    /// As our bootstrap file says it.
    fn to_toml(&self) -> String {
        let Self { id, .. } = self;
        let mut lines = vec![
            "[[client]]".to_owned(),
            format!("client_id = {id:?}\nname = {id:?}"),
            format!("token_endpoint_auth_method = {:?}", self.method()),
            format!("grant_types = {:?}", self.grant_types),
        ];
        if let Some(uri) = self.redirect_uri {
            lines.push(format!("redirect_uris = [{uri:?}]"));
        }
        if self.is_confidential {
            lines.push(format!("client_secret = {SECRET:?}"));
        }
        if let Some(scope) = self.scope {
            lines.push(format!("scope = {scope:?}"));
        }
        lines.join("\n")
    }

    /// As `oidc-provider` says it.
    fn to_json(&self) -> Value {
        let has_code = self.grant_types.contains(&"authorization_code");
        let mut client = json!({
            "client_id": self.id,
            "token_endpoint_auth_method": self.method(),
            "grant_types": self.grant_types,
            "redirect_uris": self.redirect_uri.as_slice(),
            "response_types": if has_code { &["code"][..] } else { &[] },
            "application_type": if self.redirect_uri == Some(LOOPBACK) { "native" } else { "web" },
        });
        if self.is_confidential {
            client["client_secret"] = SECRET.into();
        }
        if let Some(scope) = self.scope {
            client["scope"] = scope.into();
        }
        client
    }
}

/// The clients, for our bootstrap file.
pub(super) fn bootstrap() -> String {
    FIXTURES
        .iter()
        .map(Fixture::to_toml)
        .collect::<Vec<_>>()
        .join("\n")
}

/// A server to send requests to.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) issuer: String,
    pub(super) resource: String,
    pub(super) metadata: Value,
    /// Each request comes from an address of its own, so that no limit for one caller is met.
    next_address: AtomicU8,
}

impl Side {
    pub(super) async fn ours(house: &House) -> Result<Self> {
        Self::discover(house.server.issuer(), &house.mcp_url).await
    }

    async fn discover(issuer: &str, resource: &str) -> Result<Self> {
        let mut side = Self {
            issuer: issuer.to_owned(),
            resource: resource.to_owned(),
            metadata: Value::Null,
            next_address: AtomicU8::new(1),
        };
        let url = format!("{issuer}/.well-known/oauth-authorization-server");
        side.metadata = side.http()?.get(url).send().await?.json().await?;
        ensure!(
            side.metadata["issuer"] == issuer,
            "the metadata say {}",
            side.metadata["issuer"]
        );
        Ok(side)
    }

    /// Where this endpoint is, by the name that RFC 8414 gives it.
    pub(super) fn endpoint(&self, name: &str) -> Result<String> {
        let url = self.metadata[format!("{name}_endpoint")].as_str();
        Ok(url.with_context(|| format!("no {name} endpoint"))?.to_owned())
    }

    fn address(&self) -> IpAddr {
        let number = self.next_address.fetch_add(1, Ordering::Relaxed);
        Ipv4Addr::new(127, 0, 1, number.max(1)).into()
    }

    pub(super) fn http(&self) -> Result<reqwest::Client> {
        Ok(reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .local_address(self.address())
            .timeout(Duration::from_secs(30))
            .build()?)
    }

    /// The address to authorize at, with these parameters.
    pub(super) fn authorize_url(&self, parameters: &[(&str, &str)]) -> Result<String> {
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(parameters)
            .finish();
        Ok(format!("{}?{query}", self.endpoint("authorization")?))
    }

    /// The person signs in and allows what is asked; answers where they are sent.
    pub(super) async fn sign_in(&self, parameters: &[(&str, &str)]) -> Result<String> {
        let browser = Browser::from_address(self.address())?;
        let url = self.authorize_url(parameters)?;
        let redirect = browser
            .sign_in_and(&url, USERNAME, PASSWORD, Decision::Allow)
            .await?;
        Ok(redirect.url)
    }
}

/// Starts `oidc-provider`; it is killed by its pid when the process is dropped.
pub(super) async fn start_reference(resource: &str) -> Result<(Side, Child)> {
    let port = free_port()?;
    let (id, secret) = INTROSPECTION_CLIENT;
    let resource_server = json!({
        "client_id": id, "client_secret": secret, "token_endpoint_auth_method": "client_secret_basic",
        "grant_types": [], "response_types": [], "redirect_uris": [],
    });
    let clients: Vec<Value> = FIXTURES
        .iter()
        .map(Fixture::to_json)
        .chain([resource_server])
        .collect();
    let options = json!({
        "port": port,
        "resource": resource,
        "scopes": ["hello:read", "hello:write"],
        "clients": clients,
    });
    let mut child = workshop::node_script("oidc-provider", "server.mjs")?
        .arg(options.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start oidc-provider")?;
    let stdout = child.stdout.take().context("no stdout")?;
    let line = tokio::time::timeout(PATIENCE, BufReader::new(stdout).lines().next_line()).await;
    let line = line
        .context("oidc-provider does not start")??
        .context("oidc-provider ended at once")?;
    let said: Value = serde_json::from_str(&line)?;
    let issuer = said["listening"].as_str().context("no issuer")?;
    Ok((Side::discover(issuer, resource).await?, child))
}
