//! Plays a fixture against the running server.

use std::time::Duration;

use base64::Engine as _;
use mcp_authflow_jose::{Algorithm, SigningKey};
use mcp_authflow_testkit::{
    browser::Decision,
    document_host::{DocumentHost, Served},
};
use serde_json::{Value, json};
use sha2::Digest as _;

use super::fixture::{Authentication, Fixture, Introduction};
use crate::house::{BOOTSTRAP, House, PASSWORD, R1, VERIFIER, answer, builder, text};

const SECRET: &str = "known-client-secret-0123456789abcdef%+";
const REGISTERED: &str = "registered-client";

/// A fixture, and where it is played.
pub(super) struct Replay<'a> {
    fixture: &'a Fixture,
    house: House,
    port: u16,
    /// What a document client signs with.
    key: SigningKey,
    host: Option<DocumentHost>,
}

impl<'a> Replay<'a> {
    pub(super) fn of(fixture: &'a Fixture) -> Self {
        let host =
            (fixture.introduces_itself == Introduction::Document).then(|| DocumentHost::start().unwrap());
        let mut server = builder();
        if let Some(host) = &host {
            server = server.env("SSL_CERT_FILE", host.ca_file().to_str().unwrap());
        }
        if let Some(registered) = &fixture.registered {
            let client = format!(
                "[[client]]\nclient_id = \"{REGISTERED}\"\nname = \"Known\"\ntoken_endpoint_auth_method = \"{}\"\n\
                 client_secret = \"{SECRET}\"\nredirect_uris = {}\n",
                registered.token_endpoint_auth_method,
                json!(registered.redirect_uris),
            );
            server = server.bootstrap(format!("{BOOTSTRAP}{client}"));
        }
        server = server.config(fixture.configuration.clone());
        Self {
            fixture,
            house: House::of(server.start().unwrap()),
            // A port of the moment, and another one than any that is registered.
            port: 49_200 + u16::try_from(std::process::id() % 10_000).unwrap(),
            key: SigningKey::generate(signs_by(fixture)).unwrap(),
            host,
        }
    }

    /// Everything, for each callback: from the first question to the end of the grant.
    pub(super) async fn whole(&self) {
        self.discovers().await;
        // A leniency hangs on the client's own address, so it needs the copy that was pinned.
        if self.host.is_none() || !self.has_leniency() {
            let client = self.introduces_itself().await;
            for callback in &self.fixture.callbacks {
                self.connects(&client, &self.filled(callback)).await;
            }
        }
        if self.host.is_some() {
            self.connects_from_a_pinned_copy().await;
        }
        self.leniencies_were_written_down();
    }

    fn has_leniency(&self) -> bool {
        self.fixture.configuration.contains("[known_clients]")
    }

    fn filled(&self, text: &str) -> String {
        text.replace("{port}", &self.port.to_string())
            .replace("{resource}", R1)
    }

    async fn discovers(&self) {
        let mut metadata = Value::Null;
        for step in &self.fixture.discovery {
            let mut request = self
                .house
                .http
                .get(format!("{}{}", self.house.server.origin(), step.path));
            for (name, value) in &step.headers {
                request = request.header(name, value);
            }
            let (status, found) = answer(request).await;
            assert_eq!(status, step.status, "{}", step.path);
            assert_eq!(found["issuer"], self.house.server.issuer(), "byte for byte");
            assert!(
                metadata.is_null() || metadata == found,
                "one document under every spelling"
            );
            metadata = found;
        }
        for (member, wanted) in &self.fixture.demands {
            let found = &metadata[member];
            let is_there = found == wanted || found.as_array().is_some_and(|list| list.contains(wanted));
            assert!(is_there, "{member}: {found} instead of {wanted}");
        }
    }

    /// The client's identifier, and its secret where it has one.
    async fn introduces_itself(&self) -> Known {
        match self.fixture.introduces_itself {
            Introduction::Registered => Known {
                id: REGISTERED.to_owned(),
                secret: Some(SECRET.to_owned()),
            },
            Introduction::Dynamic => self.registers().await,
            Introduction::Document => {
                let host = self.host.as_ref().unwrap();
                let id = self.fixture.client_id.as_ref().unwrap();
                let mut document = self.fixture.document.clone().unwrap();
                let moved = moved_to(host, id);
                document["client_id"] = json!(moved);
                if let Some(keys) = document
                    .get("jwks_uri")
                    .and_then(Value::as_str)
                    .map(str::to_owned)
                {
                    document["jwks_uri"] = json!(moved_to(host, &keys));
                    let set = json!({ "keys": [self.key.public_jwk()] }).to_string();
                    host.serve(path_of(&keys), Served::json(set));
                }
                host.serve(path_of(id), Served::json(document.to_string()));
                Known {
                    id: moved,
                    secret: None,
                }
            }
        }
    }

    async fn registers(&self) -> Known {
        let asked: Value =
            serde_json::from_str(&self.filled(&self.fixture.registration.as_ref().unwrap().to_string()))
                .unwrap();
        let (status, made) = answer(
            self.house
                .http
                .post(self.house.server.url("/register"))
                .json(&asked),
        )
        .await;
        assert_eq!(status, 201, "{made}");
        // M §6.4 trap 10: what SDKs trip over.
        assert_eq!(
            made["redirect_uris"], asked["redirect_uris"],
            "all of them, as they were"
        );
        for (name, value) in made.as_object().unwrap() {
            assert!(!value.is_null() && value != "", "{name} is {value}");
        }
        for member in ["grant_types", "response_types", "redirect_uris"] {
            assert!(made[member].is_array(), "{member}");
        }
        assert_eq!(
            made["token_endpoint_auth_method"],
            asked["token_endpoint_auth_method"]
        );
        assert_eq!(
            made.get("client_secret").is_some(),
            made.get("client_secret_expires_at").is_some()
        );
        Known {
            id: text(&made, "client_id").to_owned(),
            secret: made["client_secret"].as_str().map(str::to_owned),
        }
    }

    async fn connects(&self, client: &Known, callback: &str) {
        let code = self.is_approved(client, callback).await;
        let mut form = vec![
            ("grant_type".to_owned(), "authorization_code".to_owned()),
            ("code".to_owned(), code),
            ("code_verifier".to_owned(), VERIFIER.to_owned()),
            ("redirect_uri".to_owned(), callback.to_owned()),
        ];
        form.extend(self.parameters(&self.fixture.token.parameters));
        let (status, tokens) = self.asks_for_tokens(client, form).await;
        assert_eq!(status, 200, "{callback}: {tokens}");
        self.are_good(&tokens, client).await;

        let refreshed = self.refreshes(client, text(&tokens, "refresh_token")).await;
        self.are_good(&refreshed, client).await;

        let revoked = text(&refreshed, &self.fixture.revoke).to_owned();
        let form = vec![
            ("token".to_owned(), revoked),
            ("token_type_hint".to_owned(), self.fixture.revoke.clone()),
        ];
        let (status, refusal) = self.asks(client, "/revoke", form).await;
        assert_eq!(status, 200, "{refusal}");
        let end = self.house.introspect(text(&refreshed, "access_token")).await;
        assert_eq!(end, json!({ "active": false }));
    }

    /// Asks for approval and gets a code.
    async fn is_approved(&self, client: &Known, callback: &str) -> String {
        let challenge = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(sha2::Sha256::digest(VERIFIER));
        let mut url = reqwest::Url::parse(&self.house.server.url("/authorize")).unwrap();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &client.id)
            .append_pair("redirect_uri", callback)
            .append_pair("state", "st&te")
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256")
            .extend_pairs(self.parameters(&self.fixture.authorize));
        if self.fixture.probes_before_the_browser {
            let probe = self.house.http.get(url.clone()).send().await.unwrap();
            assert!(
                [200, 302, 303, 307, 308].contains(&probe.status().as_u16()),
                "{}",
                probe.status()
            );
        }
        let browser = self.house.browser();
        let redirect = browser
            .sign_in_and(url.as_str(), "alice", PASSWORD, Decision::Allow)
            .await
            .unwrap();
        assert!(
            redirect.url.starts_with(&format!("{callback}?")),
            "{}",
            redirect.url
        );
        let parameter = |name| redirect.parameter(name).unwrap();
        assert_eq!(parameter("state").as_deref(), Some("st&te"));
        assert_eq!(parameter("iss").as_deref(), Some(self.house.server.issuer()));
        parameter("code").expect("a code")
    }

    async fn are_good(&self, tokens: &Value, client: &Known) {
        assert_eq!(tokens["token_type"], "Bearer");
        assert!(tokens["expires_in"].is_u64(), "{tokens}");
        let scope = text(tokens, "scope");
        assert!(scope.contains("mcp:read") && !scope.contains("admin"), "{scope}");
        let told = self.house.introspect(text(tokens, "access_token")).await;
        assert_eq!(told["active"], true);
        assert_eq!(told["client_id"], client.id);
        assert_eq!(told["aud"], R1);
    }

    /// As many processes as it has, at once, with one refresh token: all go on with the same tokens.
    async fn refreshes(&self, client: &Known, token: &str) -> Value {
        let mut form = vec![
            ("grant_type".to_owned(), "refresh_token".to_owned()),
            ("refresh_token".to_owned(), token.to_owned()),
        ];
        form.extend(self.parameters(&self.fixture.refresh.parameters));
        let all = (0..self.fixture.refresh.processes).map(|_| self.asks_for_tokens(client, form.clone()));
        let answers = futures_util::future::join_all(all).await;
        let (_, first) = answers[0].clone();
        for (status, tokens) in &answers {
            assert_eq!(*status, 200, "{tokens}");
            assert_eq!(tokens["access_token"], first["access_token"]);
            assert_eq!(tokens["refresh_token"], first["refresh_token"]);
        }
        assert_ne!(first["refresh_token"], token, "rotated");
        first
    }

    fn parameters(&self, parameters: &std::collections::BTreeMap<String, String>) -> Vec<(String, String)> {
        parameters
            .iter()
            .map(|(name, value)| (name.clone(), self.filled(value)))
            .collect()
    }

    async fn asks_for_tokens(&self, client: &Known, form: Vec<(String, String)>) -> (u16, Value) {
        self.asks(client, "/token", form).await
    }

    /// A form of the client's, with what it authenticates by.
    async fn asks(&self, client: &Known, path: &str, mut form: Vec<(String, String)>) -> (u16, Value) {
        let mut put = |name: &str, value: &str| form.push((name.to_owned(), value.to_owned()));
        let mut header = None;
        let secret = client.secret.as_deref().unwrap_or_default();
        match self.fixture.token.authentication {
            Authentication::None => put("client_id", &client.id),
            Authentication::Body => {
                put("client_id", &client.id);
                put("client_secret", secret);
            }
            by @ (Authentication::Basic | Authentication::BasicAndId) => {
                let pair = format!("{}:{secret}", client.id);
                header = Some(format!(
                    "Basic {}",
                    base64::prelude::BASE64_STANDARD_NO_PAD.encode(pair)
                ));
                if by == Authentication::BasicAndId {
                    put("client_id", &client.id);
                }
            }
            Authentication::Assertion => {
                put("client_id", &client.id);
                put(
                    "client_assertion_type",
                    "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                );
                put("client_assertion", &self.assertion(&client.id));
            }
        }
        let mut request = self.house.http.post(self.house.server.url(path)).form(&form);
        if let Some(header) = header {
            request = request.header("authorization", header);
        }
        answer(request.timeout(Duration::from_secs(30))).await
    }

    fn assertion(&self, id: &str) -> String {
        #[expect(
            clippy::disallowed_methods,
            reason = "the server's clock is the system's, and an assertion has to fit it"
        )]
        let since = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        let now = i64::try_from(since.as_secs()).unwrap();
        let jti = format!("{}", since.as_nanos());
        let claims = json!({
            "iss": id, "sub": id, "aud": self.house.server.issuer(), "iat": now, "exp": now + 60, "jti": jti,
        });
        self.key.sign("JWT", &claims).unwrap()
    }

    /// A leniency that was needed stands in the log, with the client's name, and in the audit trail; where none was
    /// switched on, none was needed.
    fn leniencies_were_written_down(&self) {
        let log = self.house.server.output().text();
        assert_eq!(
            log.contains("a known client was let pass"),
            self.has_leniency(),
            "{log}"
        );
        // What gives something up is warned of at the start.
        let is_warned_of = log.contains("leave it out when that client needs it no more");
        assert_eq!(is_warned_of, self.has_leniency(), "{log}");
        let trail = format!("for {}", self.fixture.known_client);
        let is_there = log
            .lines()
            .any(|line| line.contains("action=\"leniency\"") && line.contains(&trail));
        assert_eq!(is_there, self.has_leniency(), "{log}");
    }

    /// The document as its host has it, put there by the operator; its host is not reached from here.
    async fn connects_from_a_pinned_copy(&self) {
        if self.fixture.token.authentication == Authentication::Assertion {
            // Its keys are at its host, too.
            return;
        }
        let mut document = self.fixture.document.clone().unwrap();
        document["x_written_from_description"] = json!(self.fixture.about);
        let file = self.house.server.folder().join("pinned.json");
        std::fs::write(&file, document.to_string()).unwrap();
        let file = file.to_str().unwrap();
        let refusal = self
            .house
            .server
            .run(["client-document", "pin", file])
            .unwrap_err();
        assert!(format!("{refusal:#}").contains("description"), "{refusal:#}");
        let pin = ["client-document", "pin", file, "--checked-against-the-original"];
        self.house.server.run(pin).unwrap();
        let client = Known {
            id: self.fixture.client_id.clone().unwrap(),
            secret: None,
        };
        for callback in &self.fixture.callbacks {
            self.connects(&client, &self.filled(callback)).await;
        }
    }
}

/// What a client knows of itself.
struct Known {
    id: String,
    secret: Option<String>,
}

fn path_of(url: &str) -> &str {
    let rest = url.strip_prefix("https://").unwrap();
    &rest[rest.find('/').unwrap()..]
}

fn moved_to(host: &DocumentHost, url: &str) -> String {
    host.url(path_of(url))
}

/// RSA, as the document says; a key that nobody uses may be a quicker one.
fn signs_by(fixture: &Fixture) -> Algorithm {
    if fixture.token.authentication == Authentication::Assertion {
        Algorithm::Rs256
    } else {
        Algorithm::Es256
    }
}
