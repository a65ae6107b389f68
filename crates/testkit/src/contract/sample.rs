//! Records with good defaults, each unlike every other: change the one thing that a law is about.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use mcp_authflow::{
    grant::device_code::poll::DeviceStatus,
    port::store::{NewTokens, Rotation},
    record::{
        AccessTokenFormat, AccessTokenRecord, Client, ClientOrigin, ClientProfile, CodeBinding,
        DeviceCodeRecord, DeviceOrigin, DeviceRequest, Grant, GrantId, GrantedResource, Interaction,
        InteractionId, PendingRequest, RefreshTokenRecord, ResourceRecord, ScopeDescription, Session,
        SigningAlgorithm, SigningKeyRecord, User, UserId,
    },
};
use mcp_authflow_types::{
    AccessToken, ClientId, CodeChallenge, GrantType, RedirectUri, RefreshToken, Resource, Scope, ScopeToken,
    Timestamp, TokenEndpointAuthMethod, TokenHash,
};

/// Text that breaks what is put together from strings, and what counts in characters.
pub fn hostile_texts() -> [String; 5] {
    [
        "'; DROP TABLE grants; --".to_owned(),
        r#""quoted" 'twice' \escaped\ %_* $1 :name ?1 {json: [1]}"#.to_owned(),
        "line\nfeed\r\n\ttab \u{7f}\u{1b}[31m".to_owned(),
        "né \u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467} \u{202e}right to left\u{202c} \u{feff}".to_owned(),
        "\u{1f980}".repeat(512),
    ]
}

/// The real time.
#[expect(
    clippy::disallowed_methods,
    reason = "a store may have a clock of its own, so the laws live in real time"
)]
pub fn now() -> Timestamp {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    Timestamp::from_seconds(i64::try_from(since.as_secs()).unwrap())
}

/// The real time, and some seconds: to come, or gone by.
pub fn in_seconds(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(now().seconds() + seconds)
}

/// Waits until the real time has passed `moment`, on a database's clock too, which may be a little behind.
pub async fn until_passed(moment: Timestamp) {
    while !(moment + Duration::from_secs(1)).has_passed(now()) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A number that no other sample of this process has.
pub fn number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The digest of a secret that nobody knows.
pub fn hash() -> TokenHash {
    TokenHash::of(&format!("sample {}", number()))
}

fn id() -> [u8; 16] {
    let mut id = [0; 16];
    id.copy_from_slice(&hash().as_bytes()[..16]);
    id
}

/// A scope.
pub fn scope(text: &str) -> Scope {
    Scope::parse(text).unwrap()
}

/// An identifier for a client.
pub fn client_id() -> ClientId {
    ClientId::parse(&format!("client-{}", number())).unwrap()
}

/// A public client that the operator wrote down.
pub fn client() -> Client {
    Client {
        id: client_id(),
        generation: 0,
        secret: None,
        retired_secret: None,
        created_at: now(),
        expires_at: None,
        profile: ClientProfile {
            name: Some("A client".to_owned()),
            redirect_uris: vec![RedirectUri::parse("https://client.example/callback").unwrap()],
            grant_types: vec![GrantType::AuthorizationCode, GrantType::RefreshToken],
            ..ClientProfile::new(ClientOrigin::Operator)
        },
    }
}

/// A client that registered itself and lives for a day.
pub fn registered_client() -> Client {
    let mut client = client();
    client.profile.origin = ClientOrigin::Registration;
    client.expires_at = Some(in_seconds(86_400));
    client
}

/// A resource with two scopes.
pub fn resource() -> ResourceRecord {
    ResourceRecord {
        resource: Resource::parse(&format!("https://rs{}.example/mcp", number())).unwrap(),
        name: "A resource".to_owned(),
        scopes: [("mcp:read", "Read"), ("mcp:write", "Write")]
            .map(|(token, description)| ScopeDescription::new(ScopeToken::parse(token).unwrap(), description))
            .to_vec(),
        access_token_format: AccessTokenFormat::Opaque,
        created_at: now(),
    }
}

/// A key that signs from now on, for tokens of ten minutes. What is sealed in it is no key.
pub fn signing_key(algorithm: SigningAlgorithm) -> SigningKeyRecord {
    SigningKeyRecord {
        key_id: format!("-key_{}", number()),
        algorithm,
        sealed: b"sealed".to_vec(),
        created_at: now(),
        active_from: now(),
        longest_life: Duration::from_secs(600),
    }
}

/// A resource on this computer.
pub fn loopback_resource() -> ResourceRecord {
    ResourceRecord {
        resource: Resource::parse(&format!("http://127.0.0.1/mcp/{}", number())).unwrap(),
        ..resource()
    }
}

/// The client that introspects for a resource.
pub fn introspector(resource: &ResourceRecord) -> Client {
    let mut client = client();
    client.secret = Some(hash());
    client.profile.redirect_uris.clear();
    client.profile.grant_types.clear();
    client.profile.token_endpoint_auth_method = TokenEndpointAuthMethod::ClientSecretBasic;
    client.profile.introspects = Some(resource.resource.clone());
    client
}

/// An account.
pub fn user() -> User {
    User {
        id: UserId::from_random(id()),
        username: format!("user{}", number()),
        display_name: Some("A person".to_owned()),
        password_hash: "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo".to_owned(),
        is_admin: false,
        created_at: now(),
        disabled_at: None,
    }
}

/// A session of an account, in a browser of its own.
pub fn session(user: &User) -> Session {
    Session {
        hash: hash(),
        user: user.id.clone(),
        subject_generation: 0,
        authenticated_at: now(),
        last_seen_at: now(),
        expires_at: in_seconds(12 * 3_600),
    }
}

/// A request of a client, waiting in a browser of its own.
pub fn interaction(client: &Client) -> Interaction {
    Interaction {
        id: InteractionId::from_bytes(id()),
        browser: hash(),
        client_id: client.id.clone(),
        client_generation: client.generation,
        request: PendingRequest {
            redirect_uri: Some("https://client.example/callback".to_owned()),
            only_redirect_uri: None,
            state: Some("af0ifjsldkj".to_owned()),
            code_challenge: Some("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM".to_owned()),
            device: None,
            resources: vec![GrantedResource {
                resource: Resource::parse("https://rs.example/mcp").unwrap(),
                scope: scope("mcp:read"),
            }],
            offline_access: true,
            prompt: vec![],
            max_age: None,
            login_hint: None,
        },
        created_at: now(),
        expires_at: in_seconds(600),
    }
}

/// A device of a client that waits for ten minutes and polls every five seconds.
pub fn device(client: &Client) -> DeviceCodeRecord {
    DeviceCodeRecord {
        hash: hash(),
        user_code: hash(),
        client_id: client.id.clone(),
        client_generation: client.generation,
        request: DeviceRequest {
            resources: vec![GrantedResource {
                resource: Resource::parse("https://rs.example/mcp").unwrap(),
                scope: scope("mcp:read"),
            }],
            offline_access: true,
            address: Some(address()),
        },
        created_at: now(),
        expires_at: in_seconds(600),
        interval: Duration::from_secs(5),
        last_poll_at: None,
        status: DeviceStatus::Pending,
    }
}

/// The interaction in which a person decides about a device, in a browser of its own.
pub fn interaction_of_device(client: &Client, device: &DeviceCodeRecord) -> Interaction {
    let mut interaction = interaction(client);
    interaction.expires_at = device.expires_at;
    interaction.request = PendingRequest {
        redirect_uri: None,
        state: None,
        code_challenge: None,
        device: Some(DeviceOrigin {
            hash: device.hash,
            address: device.request.address,
            asked_at: device.created_at,
        }),
        resources: device.request.resources.clone(),
        ..interaction.request
    };
    interaction
}

/// What a subject approves for a device.
pub fn grant_of_device(
    client: &Client,
    subject: &str,
    resource: &ResourceRecord,
    device: &DeviceCodeRecord,
) -> Grant {
    Grant {
        code: CodeBinding {
            hash: device.hash,
            expires_at: device.expires_at,
            redirect_uri: None,
            code_challenge: None,
            redeemed_at: None,
        },
        ..grant(client, subject, resource)
    }
}

/// What a subject approves for a client at a resource: both scopes and offline access, for 90 days.
pub fn grant(client: &Client, subject: &str, resource: &ResourceRecord) -> Grant {
    Grant {
        id: GrantId::from_bytes(id()),
        client_id: client.id.clone(),
        client_generation: client.generation,
        subject: subject.to_owned(),
        subject_generation: 0,
        username: Some("alice".to_owned()),
        resources: vec![GrantedResource {
            resource: resource.resource.clone(),
            scope: scope("mcp:read mcp:write"),
        }],
        offline_access: true,
        created_at: now(),
        expires_at: in_seconds(90 * 86_400),
        code: CodeBinding {
            hash: hash(),
            expires_at: in_seconds(60),
            redirect_uri: Some("https://client.example/callback".to_owned()),
            code_challenge: Some(CodeChallenge::from_bytes(*hash().as_bytes())),
            redeemed_at: None,
        },
        revoked_at: None,
    }
}

/// An access token of a grant, good for ten minutes.
pub fn access_token(grant: &Grant) -> AccessTokenRecord {
    let expires_at = in_seconds(600);
    AccessTokenRecord {
        hash: hash(),
        bucket: AccessToken::bucket_of(expires_at),
        grant: Some(grant.id),
        client_id: grant.client_id.clone(),
        client_generation: grant.client_generation,
        subject: grant.subject.clone(),
        resource: grant.resources[0].resource.clone(),
        scope: grant.resources[0].scope.clone(),
        issued_at: now(),
        expires_at,
    }
}

/// An access token of a client that acts for itself, good for ten minutes.
pub fn own_access_token(client: &Client, resource: &ResourceRecord) -> AccessTokenRecord {
    AccessTokenRecord {
        grant: None,
        ..access_token(&grant(client, client.id.as_str(), resource))
    }
}

/// A refresh token of a grant, good for 14 days.
pub fn refresh_token(grant: &Grant) -> RefreshTokenRecord {
    RefreshTokenRecord {
        hash: hash(),
        bucket: RefreshToken::bucket_of(grant.expires_at),
        grant: grant.id,
        issued_at: now(),
        expires_at: in_seconds(14 * 86_400),
    }
}

/// Where a client asks from.
pub const fn address() -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7))
}

/// The two tokens of one answer.
pub fn tokens(grant: &Grant) -> NewTokens {
    NewTokens {
        access_token: access_token(grant),
        refresh_token: Some(refresh_token(grant)),
        address: Some(address()),
    }
}

/// An exchange of a refresh token of a grant, with the default retry window.
pub fn rotation(grant: &Grant, presented: &RefreshTokenRecord) -> Rotation {
    Rotation {
        presented: presented.hash,
        bucket: presented.bucket,
        grant: grant.id,
        successor: refresh_token(grant),
        access_token: access_token(grant),
        sealed: format!("sealed\0{}", number()).into_bytes(),
        retry_window: Duration::from_secs(30),
        address: Some(address()),
    }
}

/// The same exchange with a retry window of its own.
pub fn rotation_within(grant: &Grant, presented: &RefreshTokenRecord, retry_window: Duration) -> Rotation {
    Rotation {
        retry_window,
        ..rotation(grant, presented)
    }
}
