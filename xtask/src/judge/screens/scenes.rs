//! The pages, and how a person gets to each of them.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use mcp_authflow_testkit::browser::{Browser, Decision};
use mcp_authflow_testkit::chromium::Chromium;
use mcp_authflow_testkit::document_host::{DocumentHost, Served};
use mcp_authflow_testkit::server::{Store, TestServer};
use url::Url;

use super::super::device::Codes;
use super::super::house::{House, Keeper, PASSWORD, StoreKind, USERNAME, http};
use super::picture;

/// A resource with the name and the scopes of a real one, so that the pictures look like life.
const BOOTSTRAP: &str = r#"
[[user]]
username = "bob"
password = "correct horse battery staple"

[[client]]
client_id = "notebook"
name = "Research Notebook"
redirect_uris = ["https://notebook.example/oauth/callback"]
token_endpoint_auth_method = "none"
grant_types = ["authorization_code", "refresh_token"]

[[client]]
client_id = "living-room"
name = "Living Room Player"
token_endpoint_auth_method = "none"
grant_types = ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"]

[[resource]]
uri = "https://mail.example/mcp"
name = "Example Mail"
introspection_client_id = "example-mail"
introspection_client_secret = "mcpcs_only-for-pictures-only-for-pictures"

[[resource.scope]]
name = "mail:read"
description = "Read your messages and their attachments"
tools = ["list_messages", "read_message", "read_attachment", "list_folders", "count_unread", "read_headers", "read_thread"]

[[resource.scope]]
name = "mail:search"
description = "Search in all your folders"
tools = ["search_messages"]

[[resource.scope]]
name = "mail:draft"
description = "Write drafts, without sending them"

[[resource.scope]]
name = "mail:send"
description = "Send messages in your name"

[[resource.scope]]
name = "mail:delete"
description = "Delete messages for good, also those in shared folders that others rely on"

[[resource.scope]]
name = "calendar:read"
description = "See your appointments and who takes part in them"

[[resource.scope]]
name = "calendar:write"
description = "Make, move and cancel appointments"

[[resource.scope]]
name = "contacts:read"
description = "See your address book"

[[resource.scope]]
name = "contacts:write"
description = "Change your address book"

[[resource.scope]]
name = "settings:forwarding"
description = "Change where your mail is forwarded to"
"#;

/// The resource of the pictures.
pub(super) const MAIL: &str = "https://mail.example/mcp";
/// With what it asks about tokens.
pub(super) const INTROSPECTOR: (&str, &str) = ("example-mail", "mcpcs_only-for-pictures-only-for-pictures");

/// RFC 7636 appendix B.
const CODE_CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// The verifier of it.
pub(super) const CODE_VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

/// A page in one of its states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scene {
    Login,
    LoginRefused,
    ConsentRegistered,
    ConsentLoopback,
    ConsentPrivateScheme,
    ConsentManyScopes,
    ConsentDocument,
    DeviceLogin,
    Device,
    DeviceCodeBrought,
    DeviceCodeUnknown,
    ConsentDevice,
    DeviceApproved,
    DeviceDenied,
    DeviceTooMany,
    Error,
    Home,
    HomeOfNobody,
    AppsLogin,
    AppsNone,
    Apps,
    AppsDisconnect,
    AppsDisconnected,
    SignOutEverywhere,
    SignedOutEverywhere,
    SignedOut,
    Setup,
}

/// The servers that the pages come from.
#[derive(Debug)]
pub(super) struct Stage {
    house: House,
    /// Whether some clients have been let in.
    connected: tokio::sync::OnceCell<()>,
    /// Where a client's document lies, and a server that may fetch it.
    documents: DocumentHost,
    reader: TestServer,
    /// A server without any account, which therefore offers to make the first.
    untouched: TestServer,
}

impl Stage {
    pub(super) fn build(binary: PathBuf) -> Result<Self> {
        let untouched = TestServer::builder()
            .binary(&binary)
            .store(Store::Sqlite)
            .start()?;
        let documents = DocumentHost::start()?;
        let reader = TestServer::builder()
            .binary(&binary)
            .store(Store::Sqlite)
            .bootstrap(format!("{}{BOOTSTRAP}", super::super::house::person()))
            .env("SSL_CERT_FILE", documents.ca_file().display().to_string())
            .start()?;
        let keeper = Keeper {
            binary,
            postgres: None,
        };
        Ok(Self {
            house: keeper.serve(StoreKind::Sqlite, "", BOOTSTRAP)?,
            connected: tokio::sync::OnceCell::new(),
            documents,
            reader,
            untouched,
        })
    }

    /// Where its servers listen.
    pub(super) fn ports(&self) -> [u16; 3] {
        [
            self.house.server.port(),
            self.untouched.port(),
            self.reader.port(),
        ]
    }

    /// The host of the client's document, with its port.
    pub(super) fn document_host(&self) -> String {
        format!("127.0.0.1:{}", self.documents.address().port())
    }

    /// An authorization request as a client would make it.
    pub(super) fn authorize(
        &self,
        client_id: &str,
        redirect_uri: &str,
        resource: &str,
        scope: &str,
    ) -> Result<String> {
        authorize_at(&self.url("/authorize"), client_id, redirect_uri, resource, scope)
    }

    /// Registers a client as its own library would, and returns its id.
    pub(super) async fn register(&self, name: &str, redirect_uri: &str) -> Result<String> {
        let response = http()?
            .post(self.house.server.url("/register"))
            .json(&serde_json::json!({
                "client_name": name,
                "redirect_uris": [redirect_uri],
                "token_endpoint_auth_method": "none",
                "grant_types": ["authorization_code", "refresh_token"],
            }))
            .send()
            .await?;
        let status = response.status();
        let text = response.text().await?;
        ensure!(status == 201, "registration answered {status}: {text}");
        let client: serde_json::Value = serde_json::from_str(&text)?;
        Ok(client["client_id"].as_str().context("no client_id")?.to_owned())
    }

    /// Lets a client of the operator's and one that registered itself in; each fetches its tokens.
    async fn connect(&self) -> Result<()> {
        let person = Browser::new()?;
        let stranger = "http://localhost:3118/callback";
        let registered = self.register("Terminal Helper", stranger).await?;
        for (client, redirect_uri, scope) in [
            (registered.as_str(), stranger, "mail:read mail:search"),
            (
                "notebook",
                "https://notebook.example/oauth/callback",
                "mail:read calendar:read",
            ),
        ] {
            let url = self.authorize(client, redirect_uri, MAIL, scope)?;
            let left = person
                .sign_in_and(&url, USERNAME, PASSWORD, Decision::Allow)
                .await?;
            let code = left.parameter("code")?.context("no code")?;
            self.token(&[
                ("grant_type", "authorization_code"),
                ("code", &code),
                ("redirect_uri", redirect_uri),
                ("client_id", client),
                ("code_verifier", CODE_VERIFIER),
            ])
            .await?;
        }
        Ok(())
    }

    /// The address of a page or an endpoint.
    pub(super) fn url(&self, path: &str) -> String {
        self.house.server.url(path)
    }

    /// The one-time link that the untouched server has printed.
    fn setup_link(&self) -> Result<String> {
        let line = self
            .untouched
            .output()
            .wait_for("/ui/setup?token=", Duration::from_secs(10))
            .context("the server printed no link to make the first account")?;
        let start = line
            .find("http")
            .with_context(|| format!("no address in `{line}`"))?;
        let end = line[start..]
            .find([' ', '"'])
            .map_or(line.len(), |length| start + length);
        Ok(line[start..end].to_owned())
    }
}

impl Scene {
    pub(super) const ALL: &'static [Self] = &[
        Self::Login,
        Self::LoginRefused,
        Self::ConsentRegistered,
        Self::ConsentLoopback,
        Self::ConsentPrivateScheme,
        Self::ConsentManyScopes,
        Self::ConsentDocument,
        Self::DeviceLogin,
        Self::Device,
        Self::DeviceCodeBrought,
        Self::DeviceCodeUnknown,
        Self::ConsentDevice,
        Self::DeviceApproved,
        Self::DeviceDenied,
        Self::DeviceTooMany,
        Self::Error,
        Self::Home,
        Self::HomeOfNobody,
        Self::AppsLogin,
        Self::AppsNone,
        Self::Apps,
        Self::AppsDisconnect,
        Self::AppsDisconnected,
        Self::SignOutEverywhere,
        Self::SignedOutEverywhere,
        Self::SignedOut,
        Self::Setup,
    ];

    /// Its name in file names.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::LoginRefused => "login-refused",
            Self::ConsentRegistered => "consent-registered",
            Self::ConsentLoopback => "consent-loopback",
            Self::ConsentPrivateScheme => "consent-private-scheme",
            Self::ConsentManyScopes => "consent-many-scopes",
            Self::ConsentDocument => "consent-document",
            Self::DeviceLogin => "device-login",
            Self::Device => "device",
            Self::DeviceCodeBrought => "device-code-brought",
            Self::DeviceCodeUnknown => "device-code-unknown",
            Self::ConsentDevice => "consent-device",
            Self::DeviceApproved => "device-approved",
            Self::DeviceDenied => "device-denied",
            Self::DeviceTooMany => "device-too-many",
            Self::Error => "error",
            Self::Home => "home",
            Self::HomeOfNobody => "home-not-signed-in",
            Self::AppsLogin => "apps-login",
            Self::AppsNone => "apps-none",
            Self::Apps => "apps",
            Self::AppsDisconnect => "apps-disconnect",
            Self::AppsDisconnected => "apps-disconnected",
            Self::SignOutEverywhere => "sign-out-everywhere",
            Self::SignedOutEverywhere => "signed-out-everywhere",
            Self::SignedOut => "signed-out",
            Self::Setup => "setup",
        }
    }

    /// Takes a stranger's browser to the page.
    #[expect(clippy::too_many_lines, reason = "a list, one page after the other")]
    pub(super) async fn go(self, chromium: &Chromium, stage: &Stage) -> Result<()> {
        let mail = MAIL;
        match self {
            Self::Login => {
                self.open(chromium, stage, "notebook", mail, "mail:read mail:search")
                    .await
            }
            Self::LoginRefused => {
                self.open(chromium, stage, "notebook", mail, "mail:read").await?;
                let fields = [("username", USERNAME), ("password", "wrong")];
                chromium.fill_and_press("login", &fields, "").await
            }
            Self::ConsentRegistered => {
                self.open(chromium, stage, "notebook", mail, "mail:read mail:search")
                    .await?;
                sign_in(chromium).await
            }
            Self::ConsentLoopback => {
                self.open_as_stranger(
                    chromium,
                    stage,
                    "Terminal Helper",
                    "http://localhost:3118/callback",
                )
                .await
            }
            Self::ConsentPrivateScheme => {
                let redirect_uri = "sketchpad://oauth/callback";
                self.open_as_stranger(chromium, stage, "Sketchpad", redirect_uri)
                    .await
            }
            Self::ConsentManyScopes => {
                let scope = "mail:read mail:search mail:draft mail:send mail:delete calendar:read calendar:write \
                    contacts:read contacts:write settings:forwarding";
                self.open(chromium, stage, "notebook", mail, scope).await?;
                sign_in(chromium).await
            }
            Self::ConsentDocument => open_as_document(chromium, stage).await,
            Self::DeviceLogin => chromium.open(&stage.house.server.url("/ui/device")).await,
            Self::Device => go_to_device_page(chromium, stage, "").await,
            Self::DeviceCodeBrought => go_to_device_page(chromium, stage, "?user_code=WDJB-MJHT").await,
            Self::DeviceCodeUnknown => {
                go_to_device_page(chromium, stage, "").await?;
                chromium
                    .fill_and_press("code", &[("user_code", "BBBB-BBBB")], "")
                    .await
            }
            Self::ConsentDevice => type_code(chromium, stage).await,
            Self::DeviceApproved => {
                type_code(chromium, stage).await?;
                chromium.fill_and_press("consent", &[], "allow").await
            }
            Self::DeviceDenied => {
                type_code(chromium, stage).await?;
                chromium.fill_and_press("consent", &[], "deny").await
            }
            Self::DeviceTooMany => {
                go_to_device_page(chromium, stage, "").await?;
                // Five in ten minutes; one was typed for a page before.
                for _ in 0..6 {
                    chromium
                        .fill_and_press("code", &[("user_code", "BBBB-BBBB")], "")
                        .await?;
                }
                Ok(())
            }
            Self::Error => {
                self.open(chromium, stage, "nobody-knows-me", mail, "mail:read")
                    .await
            }
            Self::Home => go_home(chromium, stage).await,
            Self::HomeOfNobody => chromium.open(&stage.house.server.url("/ui/")).await,
            Self::AppsLogin => chromium.open(&stage.house.server.url("/ui/apps")).await,
            Self::AppsNone => go_to_apps(chromium, stage, "bob").await,
            Self::Apps => {
                connect_some(stage).await?;
                go_to_apps(chromium, stage, USERNAME).await
            }
            Self::AppsDisconnect => {
                connect_some(stage).await?;
                go_to_apps(chromium, stage, USERNAME).await?;
                chromium
                    .open(&stage.house.server.url("/ui/apps/disconnect?client=notebook"))
                    .await
            }
            Self::AppsDisconnected => {
                connect_some(stage).await?;
                go_to_apps(chromium, stage, USERNAME).await?;
                chromium
                    .open(&stage.house.server.url("/ui/apps/disconnect?client=notebook"))
                    .await?;
                chromium.press_in("form[action$=\"/ui/apps/disconnect\"]").await
            }
            Self::SignOutEverywhere => {
                connect_some(stage).await?;
                go_to_apps(chromium, stage, USERNAME).await?;
                chromium
                    .open(&stage.house.server.url("/ui/sign-out-everywhere"))
                    .await
            }
            Self::SignedOutEverywhere => {
                go_to_apps(chromium, stage, "bob").await?;
                chromium
                    .open(&stage.house.server.url("/ui/sign-out-everywhere"))
                    .await?;
                chromium
                    .press_in("form[action$=\"/ui/sign-out-everywhere\"]")
                    .await
            }
            Self::SignedOut => {
                go_home(chromium, stage).await?;
                chromium.press_in("form[action$=\"/ui/sign-out\"]").await
            }
            Self::Setup => chromium.open(&stage.setup_link()?).await,
        }
    }

    async fn open(
        self,
        chromium: &Chromium,
        stage: &Stage,
        client: &str,
        resource: &str,
        scope: &str,
    ) -> Result<()> {
        let url = stage.authorize(client, "https://notebook.example/oauth/callback", resource, scope)?;
        chromium.open(&url).await
    }

    async fn open_as_stranger(
        self,
        chromium: &Chromium,
        stage: &Stage,
        name: &str,
        redirect_uri: &str,
    ) -> Result<()> {
        let client_id = stage.register(name, redirect_uri).await?;
        let scope = "mail:read mail:search calendar:read";
        chromium
            .open(&stage.authorize(&client_id, redirect_uri, "https://mail.example/mcp", scope)?)
            .await?;
        sign_in(chromium).await
    }
}

/// An authorization request at some server.
fn authorize_at(
    endpoint: &str,
    client_id: &str,
    redirect_uri: &str,
    resource: &str,
    scope: &str,
) -> Result<String> {
    let url = Url::parse_with_params(
        endpoint,
        [
            ("response_type", "code"),
            ("client_id", client_id),
            ("redirect_uri", redirect_uri),
            ("resource", resource),
            ("scope", scope),
            ("state", "picture"),
            ("code_challenge", CODE_CHALLENGE),
            ("code_challenge_method", "S256"),
        ],
    )?;
    Ok(url.into())
}

/// Opens the request of a client that describes itself in a document, with a picture, and whose answer goes elsewhere.
async fn open_as_document(chromium: &Chromium, stage: &Stage) -> Result<()> {
    let redirect_uri = "https://callback.example/done";
    stage
        .documents
        .serve("/logo.png", Served::new("image/png", picture::logo()?));
    let client = stage.documents.serve_client(
        "/client.json",
        &serde_json::json!({
            "client_name": "Pocket Library",
            "redirect_uris": [redirect_uri],
            "logo_uri": stage.documents.url("/logo.png"),
        }),
    );
    let url = authorize_at(
        &stage.reader.url("/authorize"),
        &client,
        redirect_uri,
        MAIL,
        "mail:read mail:search",
    )?;
    chromium.open(&url).await?;
    sign_in(chromium).await
}

/// Signs in on the page for the codes of devices.
async fn go_to_device_page(chromium: &Chromium, stage: &Stage, query: &str) -> Result<()> {
    chromium
        .open(&stage.house.server.url(&format!("/ui/device{query}")))
        .await?;
    sign_in(chromium).await
}

/// Types the code of a device that waits.
async fn type_code(chromium: &Chromium, stage: &Stage) -> Result<()> {
    let form = [
        ("client_id", "living-room"),
        ("resource", "https://mail.example/mcp"),
        ("scope", "mail:read mail:search"),
    ];
    let codes = Codes::ask(&http()?, &stage.house.server.url("/device_authorization"), &form).await?;
    go_to_device_page(chromium, stage, "").await?;
    chromium
        .fill_and_press("code", &[("user_code", &codes.user_code)], "")
        .await
}

async fn sign_in(chromium: &Chromium) -> Result<()> {
    chromium
        .fill_and_press("login", &[("username", USERNAME), ("password", PASSWORD)], "")
        .await
}

/// Signs in on the page of connected applications.
async fn go_to_apps(chromium: &Chromium, stage: &Stage, username: &str) -> Result<()> {
    chromium.open(&stage.house.server.url("/ui/apps")).await?;
    let fields = [("username", username), ("password", PASSWORD)];
    chromium.fill_and_press("login", &fields, "").await
}

/// Lets some clients in, once.
async fn connect_some(stage: &Stage) -> Result<()> {
    stage
        .connected
        .get_or_try_init(|| stage.connect())
        .await
        .map(drop)
}

/// Signs in through the consent page of some client and goes to the person's own page.
async fn go_home(chromium: &Chromium, stage: &Stage) -> Result<()> {
    Scene::ConsentRegistered
        .open(
            chromium,
            stage,
            "notebook",
            "https://mail.example/mcp",
            "mail:read",
        )
        .await?;
    sign_in(chromium).await?;
    chromium.open(&stage.house.server.url("/ui/")).await
}
