//! A running `authflow protect`, and what a client does with it.

use std::{
    net::IpAddr,
    path::Path,
    process::{Command, ExitStatus},
    time::Duration,
};

use base64::Engine as _;
use mcp_authflow_testkit::{
    browser::{Browser, Decision},
    service::{
        port::free_port,
        process::{OwnedProcess, StopSignal},
    },
};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use sha2::Digest as _;
use tempfile::TempDir;

use crate::house::{PASSWORD, VERIFIER, answer, text};

const ALICE: &str = "[[user]]\nusername = \"alice\"\npassword = \"correct horse battery staple\"\n";
const CALLBACK: &str = "http://127.0.0.1:7777/cb";

/// A gateway that is started; it ends with this value.
pub(crate) struct Gateway {
    // Dropped in this order: first the process ends, then its folder goes.
    process: OwnedProcess,
    pub(crate) folder: TempDir,
    pub(crate) origin: String,
    pub(crate) http: reqwest::Client,
    address: IpAddr,
}

/// What it is started with.
#[derive(Default)]
pub(crate) struct Start<'a> {
    pub(crate) arguments: Vec<&'a str>,
    pub(crate) config: &'a str,
    pub(crate) behind: Vec<&'a str>,
    /// Where it listens; else anywhere.
    pub(crate) port: Option<u16>,
    /// Without accounts of its own.
    pub(crate) is_beside_another: bool,
}

impl<'a> Start<'a> {
    pub(crate) fn before(url: &'a str) -> Self {
        Self {
            behind: vec![url],
            ..Self::default()
        }
    }

    pub(crate) fn config(mut self, config: &'a str) -> Self {
        self.config = config;
        self
    }

    pub(crate) fn run(self) -> anyhow::Result<Gateway> {
        let folder = tempfile::Builder::new().prefix("authflow-protect-").tempdir()?;
        self.run_in(folder)
    }

    pub(crate) fn run_in(self, folder: TempDir) -> anyhow::Result<Gateway> {
        let port = match self.port {
            Some(port) => port,
            None => free_port()?,
        };
        let mut command = command(folder.path());
        command.args(["protect", "--listen", &format!("127.0.0.1:{port}")]);
        std::fs::write(folder.path().join("authflow.toml"), self.config)?;
        if !self.is_beside_another {
            std::fs::write(folder.path().join("bootstrap.toml"), ALICE)?;
            command.args(["--bootstrap", "bootstrap.toml"]);
        }
        command.args(&self.arguments).args(&self.behind);
        let mut process = OwnedProcess::spawn(
            "authflow protect",
            &mut command,
            StopSignal::Terminate,
            Some(folder.path()),
        )?;
        process.wait_until("listening on", Duration::from_secs(60))?;
        let address: IpAddr = "127.0.0.9".parse()?;
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .local_address(address)
            .no_proxy()
            .build()?;
        Ok(Gateway {
            process,
            folder,
            origin: format!("http://127.0.0.1:{port}"),
            http,
            address,
        })
    }
}

/// The binary in a folder of its own.
#[expect(
    clippy::disallowed_methods,
    reason = "what the tests' own environment sets is no setting of the gateway"
)]
pub(crate) fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_authflow"));
    for (name, _) in std::env::vars_os() {
        let is_setting = name.to_str().is_some_and(|name| name.starts_with("AUTHFLOW_"));
        if is_setting
            || ["DATABASE_URL", "REDIS_URL", "ALLOWED_MCP_ORIGINS"]
                .iter()
                .any(|one| name == *one)
        {
            command.env_remove(name);
        }
    }
    command.current_dir(folder).arg("--data-dir").arg(folder);
    command
}

/// A client with an access token.
pub(crate) struct Client<'a> {
    gateway: &'a Gateway,
    pub(crate) token: String,
    pub(crate) scope: String,
    pub(crate) id: String,
}

impl Gateway {
    pub(crate) fn endpoint(&self) -> String {
        format!("{}/mcp", self.origin)
    }

    pub(crate) fn output(&self) -> String {
        self.process.output().text()
    }

    pub(crate) fn wait_for_output(&self, needle: &str) -> bool {
        self.process
            .output()
            .wait_for(needle, Duration::from_secs(30))
            .is_some()
    }

    pub(crate) fn stop(&mut self) -> anyhow::Result<ExitStatus> {
        self.process.stop(Duration::from_secs(30))
    }

    /// What a gateway that was stopped leaves behind.
    pub(crate) fn into_folder(self) -> TempDir {
        self.folder
    }

    /// Asks something of the endpoint, without a token.
    pub(crate) async fn ask(&self, method: Method, path: &str) -> Response {
        self.http
            .request(method, format!("{}{path}", self.origin))
            .header("accept", "application/json, text/event-stream")
            .send()
            .await
            .unwrap()
    }

    /// Goes the whole way of an MCP client: challenge, metadata, registration, sign-in, token. Asks for the scopes of the
    /// challenge, unless it is told which.
    pub(crate) async fn sign_in(&self, scope: Option<&str>) -> Client<'_> {
        self.sign_in_for(&self.endpoint(), scope).await
    }

    /// The same, for a token that is meant for this resource.
    pub(crate) async fn sign_in_for(&self, for_resource: &str, scope: Option<&str>) -> Client<'_> {
        let challenge = self.ask(Method::POST, "/mcp").await;
        assert_eq!(challenge.status(), 401);
        let challenge = challenge.headers()["www-authenticate"]
            .to_str()
            .unwrap()
            .to_owned();
        let parameter = |name: &str| {
            let (_, rest) = challenge.split_once(&format!("{name}=\"")).unwrap();
            rest.split_once('"').unwrap().0.to_owned()
        };
        let (status, resource) = answer(self.http.get(parameter("resource_metadata"))).await;
        assert_eq!((status, text(&resource, "resource")), (200, &*self.endpoint()));
        let issuer = resource["authorization_servers"][0].as_str().unwrap().to_owned();
        let metadata = format!("{issuer}/.well-known/oauth-authorization-server");
        let (status, server) = answer(self.http.get(metadata)).await;
        assert_eq!((status, text(&server, "issuer")), (200, &*issuer));
        let registration = json!({ "client_name": "Test client", "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none" });
        let request = self
            .http
            .post(text(&server, "registration_endpoint"))
            .json(&registration);
        let (status, client) = answer(request).await;
        assert_eq!(status, 201, "{client}");
        let client_id = text(&client, "client_id").to_owned();

        let scope = scope.map_or_else(|| parameter("scope"), str::to_owned);
        let challenge = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(sha2::Sha256::digest(VERIFIER));
        let url = reqwest::Url::parse_with_params(
            text(&server, "authorization_endpoint"),
            [
                ("response_type", "code"),
                ("client_id", &client_id),
                ("redirect_uri", CALLBACK),
                ("state", "s"),
                ("code_challenge", &challenge),
                ("code_challenge_method", "S256"),
                ("resource", for_resource),
                ("scope", &scope),
            ],
        )
        .unwrap();
        let browser = Browser::from_address(self.address).unwrap();
        let redirect = browser
            .sign_in_and(url.as_str(), "alice", PASSWORD, Decision::Allow)
            .await
            .unwrap();
        let code = redirect.parameter("code").unwrap().expect("a code");
        let form = [
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("client_id", &client_id),
            ("code_verifier", VERIFIER),
            ("redirect_uri", CALLBACK),
        ];
        let (status, tokens) = answer(self.http.post(text(&server, "token_endpoint")).form(&form)).await;
        assert_eq!(status, 200, "{tokens}");
        Client {
            gateway: self,
            token: text(&tokens, "access_token").to_owned(),
            scope: text(&tokens, "scope").to_owned(),
            id: client_id,
        }
    }

    /// A client that got its token elsewhere.
    pub(crate) fn client(&self, token: &str) -> Client<'_> {
        Client {
            gateway: self,
            token: token.to_owned(),
            scope: String::new(),
            id: String::new(),
        }
    }
}

impl Client<'_> {
    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.gateway
            .http
            .request(method, format!("{}{path}", self.gateway.origin))
            .bearer_auth(&self.token)
            .header("accept", "application/json, text/event-stream")
    }

    pub(crate) async fn post(&self, message: &Value) -> Response {
        self.request(Method::POST, "/mcp")
            .json(message)
            .send()
            .await
            .unwrap()
    }

    /// Calls a tool.
    pub(crate) async fn call(&self, tool: &str, arguments: Value) -> Response {
        let params = json!({ "name": tool, "arguments": arguments });
        self.post(&json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params }))
            .await
    }
}
