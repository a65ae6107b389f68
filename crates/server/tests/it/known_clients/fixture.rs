//! What a fixture says.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde_json::Value;

/// How one client connects.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fixture {
    /// Where it is from.
    pub(super) about: String,
    /// Its entry in the table.
    pub(super) known_client: String,
    /// How the server comes to know it.
    pub(super) introduces_itself: Introduction,
    /// What the operator has to set, in TOML.
    #[serde(default)]
    pub(super) configuration: String,
    /// What it asks for first, in order.
    pub(super) discovery: Vec<Step>,
    /// Members of the metadata that it goes by, and what has to be their value or among their values.
    #[serde(default)]
    pub(super) demands: Vec<(String, Value)>,
    /// The address of its document.
    #[serde(default)]
    pub(super) client_id: Option<String>,
    /// Its document.
    #[serde(default)]
    pub(super) document: Option<Value>,
    /// The body with which it registers.
    #[serde(default)]
    pub(super) registration: Option<Value>,
    /// What the operator writes down for it.
    #[serde(default)]
    pub(super) registered: Option<Registered>,
    /// The redirect URIs that it uses, each for a connection of its own; `{port}` is a port of the moment.
    pub(super) callbacks: Vec<String>,
    /// What it adds to its authorization request.
    pub(super) authorize: BTreeMap<String, String>,
    /// Its token request.
    pub(super) token: TokenRequest,
    /// How it refreshes.
    pub(super) refresh: Refresh,
    /// Which of its tokens it revokes in the end.
    pub(super) revoke: String,
    /// Whether it asks for the authorization page itself first, without cookies.
    #[serde(default)]
    pub(super) probes_before_the_browser: bool,
}

/// How the server comes to know a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Introduction {
    /// By the document at its identifier.
    Document,
    /// It registers itself.
    Dynamic,
    /// The operator wrote it down.
    Registered,
}

/// A question, and the status of the answer.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    pub(super) path: String,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) status: u16,
}

/// What the operator writes down.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Registered {
    pub(super) token_endpoint_auth_method: String,
    pub(super) redirect_uris: Vec<String>,
}

/// A token request.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenRequest {
    pub(super) authentication: Authentication,
    pub(super) parameters: BTreeMap<String, String>,
}

/// How it authenticates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Authentication {
    /// `client_id` in the body.
    None,
    /// The secret in the body.
    Body,
    /// Basic, as it stands and without padding.
    Basic,
    /// Basic, and `client_id` in the body too.
    BasicAndId,
    /// A signed assertion.
    Assertion,
}

/// How it refreshes.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Refresh {
    /// How many of its processes do so at once.
    pub(super) processes: usize,
    pub(super) parameters: BTreeMap<String, String>,
}

/// Where the fixtures are.
pub(super) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/clients")
}

impl Fixture {
    /// The fixture of that name.
    pub(super) fn load(name: &str) -> Self {
        let text = std::fs::read_to_string(folder().join(format!("{name}.json"))).unwrap();
        let fixture: Self = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(
            fixture.about.contains("not recorded"),
            "{name}: it says where it is from"
        );
        fixture
    }
}
