//! Who is on stage: the resources and clients of which the attack catalogue speaks.
//!
//! | who | what |
//! |---|---|
//! | `PUB` | public, `http://127.0.0.1/cb`, `http://[::1]/cb`, `com.example.app:/cb` |
//! | `WEB`, `WEBQ`, `WEB2` | public, `https://client.example/cb`; the same with `?tenant=7`; two addresses |
//! | `SEC`, `SEC2`, `SECX` | `client_secret_basic`; the last one has expired |
//! | `POST` | `client_secret_post` |
//! | `DEV1`, `DEV2`, `DEVC` | devices without a browser; the last one with `client_secret_basic` |
//! | `SVC` | `client_credentials` only, at most `svc:sync` |
//! | `EVIL` | registered itself, `https://evil.example/cb` |
//! | `RS1`, `RS2` | introspect for [`R1`], [`R2`] |

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use mcp_authflow::{
    port::{Store, store::AddClient, store::AddResource},
    record::{AccessTokenFormat, Client, ClientOrigin, ClientProfile, ResourceRecord, ScopeDescription},
};
use mcp_authflow_types::{
    ClientId, GrantType, RedirectUri, Resource, Scope, ScopeToken, Timestamp, TokenEndpointAuthMethod,
    TokenHash,
};

/// The first resource.
pub const R1: &str = "https://rs1.test/mcp";
/// The second resource.
pub const R2: &str = "https://rs2.test/mcp";

/// The secret of a client.
pub fn secret_of(client_id: &str) -> String {
    format!("Secret-of-{client_id}-abcdefghijklmnopqrstuvwxyz")
}

/// Reads a scope.
///
/// # Panics
/// When the text is none.
pub fn scope(text: &str) -> Scope {
    Scope::parse(text).unwrap()
}

/// Reads a resource.
///
/// # Panics
/// When the text is none.
pub fn resource(text: &str) -> Resource {
    Resource::parse(text).unwrap()
}

/// A public client of the operator's that may do what a person approves.
///
/// # Panics
/// When a text is not what it should be.
pub fn client(id: &str, redirect_uris: &[&str]) -> Client {
    let redirect_uris: Vec<RedirectUri> = redirect_uris
        .iter()
        .map(|uri| RedirectUri::parse(uri).unwrap())
        .collect();
    Client {
        id: ClientId::parse(id).unwrap(),
        generation: 0,
        secret: None,
        retired_secret: None,
        created_at: Timestamp::from_seconds(0),
        expires_at: None,
        profile: ClientProfile {
            name: Some(id.to_owned()),
            redirect_uris,
            grant_types: vec![GrantType::AuthorizationCode, GrantType::RefreshToken],
            ..ClientProfile::new(ClientOrigin::Operator)
        },
    }
}

/// The same with a secret.
pub fn confidential(id: &str, redirect_uris: &[&str], method: TokenEndpointAuthMethod) -> Client {
    let mut client = client(id, redirect_uris);
    client.secret = Some(TokenHash::of(&secret_of(id)));
    client.profile.token_endpoint_auth_method = method;
    client
}

/// A client on a device without a browser, which stays connected.
pub fn device(mut client: Client) -> Client {
    client.profile.grant_types = vec![GrantType::DeviceCode, GrantType::RefreshToken];
    client
}

/// A client that acts for itself, within a ceiling.
pub fn machine(id: &str, ceiling: &str) -> Client {
    let mut client = confidential(id, &[], TokenEndpointAuthMethod::ClientSecretBasic);
    client.profile.grant_types = vec![GrantType::ClientCredentials];
    client.profile.scope = Some(scope(ceiling));
    client
}

/// Registers a resource with its scopes, and the client that introspects for it.
///
/// # Panics
/// When either is there already.
pub async fn add_resource(store: &dyn Store, uri: &str, scopes: &[&str], introspector: &str) {
    let record = ResourceRecord {
        resource: resource(uri),
        name: uri.to_owned(),
        scopes: scopes
            .iter()
            .map(|token| ScopeDescription::new(ScopeToken::parse(token).unwrap(), format!("May {token}")))
            .collect(),
        access_token_format: AccessTokenFormat::Opaque,
        created_at: Timestamp::from_seconds(0),
    };
    let mut introspector = confidential(introspector, &[], TokenEndpointAuthMethod::ClientSecretBasic);
    introspector.profile.grant_types.clear();
    introspector.profile.introspects = Some(record.resource.clone());
    let added = store.add_resource(&record, &introspector).await.unwrap();
    assert_eq!(added, AddResource::Added);
}

/// Adds a client.
///
/// # Panics
/// When its identifier is taken.
pub async fn add_client(store: &dyn Store, client: &Client) {
    assert_eq!(store.add_client(client).await.unwrap(), AddClient::Added);
}

/// Brings everybody on stage.
///
/// # Panics
/// When somebody is there already.
pub async fn enter(store: &dyn Store, now: Timestamp) {
    const WEB: &str = "https://client.example/cb";
    const BASIC: TokenEndpointAuthMethod = TokenEndpointAuthMethod::ClientSecretBasic;

    add_resource(store, R1, &["mcp:read", "mcp:write", "admin", "svc:sync"], "RS1").await;
    add_resource(store, R2, &["mcp:read", "tasks:run"], "RS2").await;

    let native = ["http://127.0.0.1/cb", "http://[::1]/cb", "com.example.app:/cb"];
    let mut expired = confidential("SECX", &[WEB], BASIC);
    expired.expires_at = Some(now);
    let mut stranger = client("EVIL", &["https://evil.example/cb"]);
    stranger.profile.origin = ClientOrigin::Registration;
    stranger.expires_at = Some(now + Duration::from_secs(86_400));
    for client in [
        client("PUB", &native),
        client("WEB", &[WEB]),
        client("WEBQ", &["https://client.example/cb?tenant=7"]),
        client("WEB2", &[WEB, "https://client.example/cb2"]),
        confidential("SEC", &[WEB], BASIC),
        confidential("SEC2", &[WEB], BASIC),
        expired,
        confidential("POST", &[WEB], TokenEndpointAuthMethod::ClientSecretPost),
        machine("SVC", "svc:sync"),
        device(client("DEV1", &[])),
        device(client("DEV2", &[])),
        device(confidential("DEVC", &[], BASIC)),
        stranger,
    ] {
        add_client(store, &client).await;
    }
}
