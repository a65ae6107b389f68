//! Records for the tests of the rules, each with good defaults.

use mcp_authflow_types::{
    AuthorizationCode, ClientId, ClientSecret, CodeVerifier, GrantType, RedirectUri, Resource, Scope,
    Timestamp, TokenEndpointAuthMethod,
};

use crate::{
    client_auth::{AuthenticatedClient, Credential, let_in},
    port::store::{GrantWithStanding, Standing},
    record::{Client, ClientOrigin, ClientProfile, CodeBinding, Grant, GrantId, GrantedResource},
};

/// When everything happens.
pub(super) const NOW: Timestamp = Timestamp::from_seconds(1_790_000_000);
pub(super) const R1: &str = "https://rs1.test/mcp";
pub(super) const R2: &str = "https://rs2.test/mcp";
pub(super) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

pub(super) fn in_seconds(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(NOW.seconds() + seconds)
}

pub(super) fn scope(text: &str) -> Scope {
    Scope::parse(text).unwrap()
}

pub(super) fn resource(text: &str) -> Resource {
    Resource::parse(text).unwrap()
}

pub(super) fn granted(uri: &str, text: &str) -> GrantedResource {
    GrantedResource {
        resource: resource(uri),
        scope: scope(text),
    }
}

/// A public client that may use every grant that a person's approval feeds.
pub(super) fn client() -> Client {
    Client {
        id: ClientId::parse("PUB").unwrap(),
        generation: 0,
        secret: None,
        retired_secret: None,
        created_at: NOW,
        expires_at: None,
        profile: ClientProfile {
            redirect_uris: vec![RedirectUri::parse("https://client.example/cb").unwrap()],
            grant_types: vec![GrantType::AuthorizationCode, GrantType::RefreshToken],
            ..ClientProfile::new(ClientOrigin::Operator)
        },
    }
}

/// The client, let in.
pub(super) fn authenticated(mut client: Client) -> AuthenticatedClient {
    let secret = ClientSecret::mint(&[5; 32]);
    client.secret = Some(secret.hash());
    let credential = match client.profile.token_endpoint_auth_method {
        TokenEndpointAuthMethod::None => Credential::None,
        _ => Credential::Post(secret),
    };
    let_in(client, credential, NOW).unwrap()
}

/// What alice approved for the client a moment ago: two resources, its code not yet redeemed.
pub(super) fn grant() -> GrantWithStanding {
    let grant = Grant {
        id: GrantId::from_bytes([1; 16]),
        client_id: ClientId::parse("PUB").unwrap(),
        client_generation: 0,
        subject: "u_alice".to_owned(),
        subject_generation: 0,
        username: None,
        resources: vec![
            granted(R1, "mcp:read mcp:write offline_access"),
            granted(R2, "offline_access tasks:run"),
        ],
        offline_access: true,
        created_at: NOW,
        expires_at: in_seconds(90 * 86_400),
        code: CodeBinding {
            hash: AuthorizationCode::mint(&[2; 32]).hash(),
            expires_at: in_seconds(60),
            redirect_uri: Some("https://client.example/cb".to_owned()),
            code_challenge: Some(CodeVerifier::parse(VERIFIER).unwrap().challenge()),
            redeemed_at: None,
        },
        revoked_at: None,
    };
    GrantWithStanding {
        grant,
        standing: Standing::Live,
        gone: Vec::new(),
        signed: Vec::new(),
    }
}
