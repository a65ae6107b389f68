//! A server with one person, one resource and a few clients; and what a client does with it.

use std::net::IpAddr;

use base64::Engine as _;
use mcp_authflow_testkit::{
    browser::{Browser, Decision, Page, Visit},
    server::{Store, TestServer, TestServerBuilder},
};
use serde_json::Value;
use sha2::Digest as _;

pub(crate) const PASSWORD: &str = "correct horse battery staple";
pub(crate) const RS_SECRET: &str = "resource-server-secret-0123456789abcdef";
pub(crate) const SVC_SECRET: &str = "machine-client-secret-0123456789abcdef";
pub(crate) const VERIFIER: &str = "a-code-verifier-of-more-than-forty-three-characters";
pub(crate) const R1: &str = "https://rs1.test/mcp";

pub(crate) const BOOTSTRAP: &str = r#"
[[user]]
username = "alice"
password = "correct horse battery staple"
display_name = "Alice"
[[user]]
username = "bob"
password = "correct horse battery staple"
[[resource]]
uri = "https://rs1.test/mcp"
name = "Notes"
introspection_client_id = "rs1"
introspection_client_secret = "resource-server-secret-0123456789abcdef"
[[resource.scope]]
name = "mcp:read"
description = "Read your notes"
[[resource.scope]]
name = "mcp:write"
description = "Change your notes"
[[resource]]
uri = "https://rs2.test/mcp"
name = "Calendar"
introspection_client_id = "rs2"
introspection_client_secret = "resource-server-secret-0123456789abcdef"
[[resource.scope]]
name = "mcp:read"
description = "Read your calendar"
[[resource.scope]]
name = "mcp:write"
description = "Change your calendar"
[[client]]
client_id = "web"
name = "Web notes"
redirect_uris = ["https://client.example/cb"]
token_endpoint_auth_method = "none"
[[client]]
client_id = "native"
name = "Native notes"
redirect_uris = ["http://127.0.0.1/cb"]
token_endpoint_auth_method = "none"
[[client]]
client_id = "tv"
name = "Living Room Player"
token_endpoint_auth_method = "none"
grant_types = ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"]
[[client]]
client_id = "svc"
name = "Machine"
token_endpoint_auth_method = "client_secret_basic"
client_secret = "machine-client-secret-0123456789abcdef"
grant_types = ["client_credentials"]
scope = "mcp:read"
"#;

pub(crate) fn builder() -> TestServerBuilder {
    TestServer::builder()
        .binary(env!("CARGO_BIN_EXE_authflow"))
        .store(Store::Sqlite)
        .bootstrap(BOOTSTRAP)
}

/// A running server, and a caller with an address of its own.
pub(crate) struct House {
    pub(crate) server: TestServer,
    pub(crate) http: reqwest::Client,
    address: IpAddr,
}

impl House {
    pub(crate) fn open() -> Self {
        Self::of(builder().start().unwrap())
    }

    pub(crate) fn of(server: TestServer) -> Self {
        let address: IpAddr = "127.0.0.7".parse().unwrap();
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .local_address(address)
            .no_proxy()
            // A server that was killed leaves dead connections behind.
            .pool_max_idle_per_host(0)
            .build()
            .unwrap();
        Self {
            server,
            http,
            address,
        }
    }

    /// Where [`House::http`] comes from.
    pub(crate) const fn address(&self) -> IpAddr {
        self.address
    }

    pub(crate) fn browser(&self) -> Browser {
        Browser::from_address(self.address).unwrap()
    }

    /// A browser somewhere else.
    pub(crate) fn browser_at(address: &str) -> Browser {
        Browser::from_address(address.parse().unwrap()).unwrap()
    }

    /// The address by which a client asks for approval.
    pub(crate) fn authorize_url(&self, client: &str, extra: &str) -> String {
        let redirect = match client {
            "native" => "http%3A%2F%2F127.0.0.1%3A7777%2Fcb",
            _ => "https%3A%2F%2Fclient.example%2Fcb",
        };
        let challenge = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(sha2::Sha256::digest(VERIFIER));
        self.server.url(&format!(
            "/authorize?response_type=code&client_id={client}&redirect_uri={redirect}&state=st%26te&\
             code_challenge={challenge}&code_challenge_method=S256&resource=https%3A%2F%2Frs1.test%2Fmcp&{extra}"
        ))
    }

    /// Signs alice in and lets her approve; answers the code.
    pub(crate) async fn code(&self, browser: &Browser, client: &str, decision: Decision<'_>) -> String {
        let url = self.authorize_url(client, "scope=mcp%3Aread%20mcp%3Awrite");
        let redirect = browser
            .sign_in_and(&url, "alice", PASSWORD, decision)
            .await
            .unwrap();
        redirect.parameter("code").unwrap().expect("a code")
    }

    /// Exchanges a code of `client`'s.
    pub(crate) async fn redeem(&self, client: &str, code: &str) -> (u16, Value) {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("client_id", client),
            ("code_verifier", VERIFIER),
        ];
        self.post("/token", &form).await
    }

    pub(crate) async fn refresh(&self, client: &str, token: &str) -> (u16, Value) {
        self.post(
            "/token",
            &[
                ("grant_type", "refresh_token"),
                ("refresh_token", token),
                ("client_id", client),
            ],
        )
        .await
    }

    pub(crate) async fn post(&self, path: &str, form: &[(&str, &str)]) -> (u16, Value) {
        answer(self.http.post(self.server.url(path)).form(form)).await
    }

    /// Whether the resource server is told that the token is good.
    pub(crate) async fn introspect(&self, token: &str) -> Value {
        let request = self
            .http
            .post(self.server.url("/introspect"))
            .form(&[("token", token)]);
        let (status, value) = answer(request.basic_auth("rs1", Some(RS_SECRET))).await;
        assert_eq!(status, 200, "{value}");
        value
    }
}

/// Sends a request; answers status and JSON (null for none).
pub(crate) async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (
        status,
        serde_json::from_str(&response.text().await.unwrap()).unwrap_or(Value::Null),
    )
}

/// The page on which a visit ended.
pub(crate) fn page(visit: Visit) -> Page {
    match visit {
        Visit::Page(page) => *page,
        Visit::Left(redirect) => panic!("left for {}", redirect.url),
    }
}

pub(crate) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name]
        .as_str()
        .unwrap_or_else(|| panic!("no {name} in {value}"))
}
