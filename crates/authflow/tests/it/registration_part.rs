//! Dynamic registration as a part of its own.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use mcp_authflow::{
    ForwardingHeader, TrustedProxies,
    memory::MemoryRateLimit,
    port::rate_limit::Limit,
    registration::{
        AfterRegistration, ClientRegistrationRequest, ClientRegistry, HookError, InitialAccessTokens,
        IssuedClient, MemoryClientRegistry, RegisteredClient, RegistrationHandler,
        RegistrationHandlerBuilder, RegistrationReply, RegistrationRules, RegistryError, RequestHead,
    },
};
use mcp_authflow_testkit::{manual_clock::ManualClock, seeded_entropy::SeededEntropy};
use mcp_authflow_types::{GrantType, Scope, Timestamp, TokenEndpointAuthMethod};
use serde_json::{Value, json};

use crate::log::Log;

const NOW: i64 = 1_790_000_000;
const JSON: (&str, &str) = ("Content-Type", "application/json");

struct Part {
    registry: Arc<MemoryClientRegistry>,
    clock: Arc<ManualClock>,
    handler: RegistrationHandler,
}

impl Part {
    fn new() -> Self {
        Self::with(|builder| builder)
    }

    fn with(change: impl FnOnce(RegistrationHandlerBuilder) -> RegistrationHandlerBuilder) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(NOW)));
        let registry = Arc::new(MemoryClientRegistry::new(
            clock.clone(),
            Arc::new(SeededEntropy::new(5)),
        ));
        let handler = change(RegistrationHandler::builder(
            registry.clone(),
            "notes:read notes:write",
        ))
        .build();
        Self {
            registry,
            clock,
            handler,
        }
    }

    async fn send(&self, headers: &[(&str, &str)], body: &str) -> RegistrationReply {
        let peer = Some("192.0.2.7".parse().unwrap());
        self.handler
            .handle(&RequestHead { headers, peer }, body.as_bytes())
            .await
    }

    async fn post(&self, body: &Value) -> (u16, Value) {
        let reply = self.send(&[JSON], &body.to_string()).await;
        (reply.status, serde_json::from_str(&reply.body).unwrap())
    }

    /// A refusal: status and code.
    async fn refused(&self, body: &Value) -> (u16, String) {
        let (status, body) = self.post(body).await;
        (status, body["error"].as_str().unwrap_or("registered").to_owned())
    }
}

fn header<'a>(reply: &'a RegistrationReply, name: &str) -> Option<&'a str> {
    reply
        .headers
        .iter()
        .find(|(one, _)| *one == name)
        .map(|(_, value)| value.as_str())
}

fn public() -> Value {
    json!({"redirect_uris": ["https://app.example/cb"], "token_endpoint_auth_method": "none"})
}

fn with(name: &str, value: Value) -> Value {
    let mut body = public();
    body[name] = value;
    body
}

const BAD_METADATA: (u16, &str) = (400, "invalid_client_metadata");
const BAD_REDIRECT: (u16, &str) = (400, "invalid_redirect_uri");

/// S-141
/// S-142
/// S-143
/// S-144
/// S-164
/// S-165
#[tokio::test]
async fn a_client_gets_an_identifier_and_perhaps_a_secret_that_is_shown_once() {
    let part = Part::new();
    let reply = part
        .send(
            &[JSON],
            r#"{"client_name":"Probe","redirect_uris":["https://app.example/cb"]}"#,
        )
        .await;
    assert_eq!(reply.status, 201);
    assert_eq!(header(&reply, "cache-control"), Some("no-store"));
    let body: Value = serde_json::from_str(&reply.body).unwrap();
    let (id, secret) = (
        body["client_id"].as_str().unwrap(),
        body["client_secret"].as_str().unwrap(),
    );
    assert!(id.starts_with("mcp-") && id.len() == 26, "{id}");
    assert_eq!(secret.len(), 43);
    let end = NOW + 90 * 86_400;
    assert_eq!(
        reply.body,
        format!(
            "{{\"client_id\":\"{id}\",\"client_id_issued_at\":{NOW},\"redirect_uris\":[\"https://app.example/cb\"],\
             \"response_types\":[\"code\"],\"grant_types\":[\"authorization_code\",\"refresh_token\"],\
             \"token_endpoint_auth_method\":\"client_secret_basic\",\"client_name\":\"Probe\",\
             \"scope\":\"notes:read notes:write\",\"client_secret\":\"{secret}\",\
             \"client_secret_expires_at\":{end}}}"
        )
    );
    assert!(part.registry.secret_matches(id, secret) && !part.registry.secret_matches(id, "guessed"));
    let kept = part.registry.get_client(id).await.unwrap().unwrap();
    assert_eq!(kept.metadata.client_name.as_deref(), Some("Probe"));
    assert!(!kept.metadata.is_public_client());
    assert!(!format!("{kept:?}{:?}{reply:?}", part.registry).contains(secret));

    let (_, without) = part.post(&public()).await;
    assert!(without.get("client_secret").is_none() && without.get("client_name").is_none());
    part.clock.advance(Duration::from_secs(90 * 86_400));
    assert_eq!(part.registry.get_client(id).await.unwrap(), None);
    assert!(!part.registry.secret_matches(id, secret));
}

fn registry(clock: &Arc<ManualClock>) -> MemoryClientRegistry {
    MemoryClientRegistry::new(clock.clone(), Arc::new(SeededEntropy::new(5)))
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(Timestamp::from_seconds(NOW)))
}

fn request() -> ClientRegistrationRequest {
    ClientRegistrationRequest {
        token_endpoint_auth_method: "none".to_owned(),
        ..ClientRegistrationRequest::default()
    }
}

async fn created(registry: &MemoryClientRegistry, request: &ClientRegistrationRequest) -> String {
    registry.create_client(request).await.unwrap().client.client_id
}

async fn is_there(registry: &MemoryClientRegistry, client_id: &str) -> bool {
    registry.get_client(client_id).await.unwrap().is_some()
}

/// How long to wait for room; panics when there is room.
async fn full(registry: &MemoryClientRegistry, request: &ClientRegistrationRequest) -> u64 {
    match registry.create_client(request).await.map(drop) {
        Err(RegistryError::Full { retry_after }) => retry_after.as_secs(),
        other => panic!("{other:?}"),
    }
}

/// S-144
#[tokio::test]
async fn a_registry_in_memory_has_an_end_and_loses_no_living_client() {
    let clock = clock();
    let registry = registry(&clock)
        .with_lifetime(Some(Duration::from_secs(60)))
        .with_room_for(2);
    let first = created(&registry, &request()).await;
    clock.advance(Duration::from_secs(30));
    created(&registry, &request()).await;
    assert_eq!(full(&registry, &request()).await, 30);
    assert!(is_there(&registry, &first).await);
    clock.advance(Duration::from_secs(30));
    let third = created(&registry, &request()).await;
    assert!(registry.remove_client(&third));
    assert!(!registry.remove_client(&third));
}

/// P12: who fills the registry takes nobody's place that uses it, and blocks it for minutes, not for 90 days.
#[tokio::test]
async fn a_full_registry_forgets_the_oldest_that_nobody_looked_up() {
    let clock = clock();
    let registry = registry(&clock).with_room_for(4);
    let looked_up = created(&registry, &request()).await;
    assert!(is_there(&registry, &looked_up).await);
    let mut guests = Vec::new();
    for _ in 0..3 {
        clock.advance(Duration::from_secs(60));
        guests.push(created(&registry, &request()).await);
    }
    clock.advance(Duration::from_secs(60));
    // The first of them came three minutes ago.
    assert_eq!(full(&registry, &request()).await, 420);
    clock.advance(Duration::from_secs(419));
    assert_eq!(full(&registry, &request()).await, 1);
    clock.advance(Duration::from_secs(1));
    let new = created(&registry, &request()).await;
    assert_eq!(full(&registry, &request()).await, 60);
    for (client_id, expected) in [
        (&looked_up, true),
        (&guests[0], false),
        (&guests[1], true),
        (&guests[2], true),
        (&new, true),
    ] {
        assert_eq!(is_there(&registry, client_id).await, expected);
    }
    // Now all of them were looked up, and stay until their end.
    clock.advance(Duration::from_secs(86_400));
    assert_eq!(full(&registry, &request()).await, 3600);
    clock.advance(Duration::from_secs(90 * 86_400));
    created(&registry, &request()).await;
}

/// P12: ten thousand clients of 64 KiB each, or what JSON makes of that in memory, are no bound.
#[tokio::test]
async fn a_registry_in_memory_is_bounded_in_bytes_too() {
    let clock = clock();
    let registry = registry(&clock).with_room_for_bytes(1 << 20);
    let with_extra = |value: Value| {
        let mut request = request();
        request.extra.insert("x".to_owned(), value);
        request
    };
    let long = with_extra(json!("x".repeat(60_000)));
    let first = created(&registry, &long).await;
    let mut count = 1;
    while let Ok(issued) = registry.create_client(&long).await {
        assert!(issued.client.metadata.extra == long.extra);
        count += 1;
        assert!(count < 20, "there is no end");
    }
    assert_eq!(count, 16);
    // Room that is given back can be used again, by small ones sooner.
    created(&registry, &request()).await;
    full(&registry, &long).await;
    assert!(registry.remove_client(&first));
    created(&registry, &long).await;
    // 40,000 empty lists are 120 kB of JSON and ten times that in memory; what fits in no room makes nobody give way.
    clock.advance(Duration::from_secs(601));
    let lists = with_extra(Value::Array(vec![json!([]); 40_000]));
    full(&registry, &lists).await;
    let maps = with_extra(Value::Array(vec![json!({"": 0}); 1000]));
    full(&registry, &maps).await;
    let shown = format!("{registry:?}");
    assert!(
        shown.contains("clients: 17") && shown.contains("max_bytes: 1048576"),
        "{shown}"
    );
    // By then all but the last are old enough to make room for many.
    for _ in 0..100 {
        created(&registry, &request()).await;
    }
}

/// A registry that is full is no fault, and who is told to come back is told when.
#[tokio::test]
async fn a_full_registry_is_said() {
    for rules in [RegistrationRules::Standard, RegistrationRules::AsPythonPackage] {
        let clock = clock();
        let registry = Arc::new(registry(&clock).with_room_for(1));
        let handler = RegistrationHandler::builder(registry, "a").rules(rules).build();
        let body = public().to_string();
        let head = RequestHead {
            headers: &[JSON],
            peer: None,
        };
        assert_eq!(handler.handle(&head, body.as_bytes()).await.status, 201);
        let reply = handler.handle(&head, body.as_bytes()).await;
        assert_eq!((reply.status, header(&reply, "retry-after")), (503, Some("600")));
        assert_eq!(header(&reply, "cache-control"), Some("no-store"));
        let body: Value = serde_json::from_str(&reply.body).unwrap();
        assert_eq!(body["error"], "temporarily_unavailable");
    }
}

/// A stranger writes neither a line of the log nor much of one.
#[tokio::test]
async fn of_a_registration_little_is_logged() {
    let log = Log::listen();
    let part = Part::with(|builder| builder.rules(RegistrationRules::AsPythonPackage));
    let name = format!("Evil\nINFO forged \u{202e}\u{1b}[31m{}", "x".repeat(5_000));
    let uris: Vec<String> = (0..20).map(|n| format!("https://tracked.example/{n}")).collect();
    part.post(&json!({"client_name": name, "redirect_uris": uris}))
        .await;
    let text = log.text();
    let lines = log.lines_with("a client registers");
    assert!(lines.len() == 1 && !log.lines_with("Evil").is_empty(), "{text}");
    assert!(
        lines[0].contains(r#""Evil\nINFO forged \u{202e}\u{1b}[31mxxx"#)
            && lines[0].contains("redirect_uris=20")
            && lines[0].contains("grant_types=3"),
        "{text}"
    );
    assert!(
        !text.contains("tracked.example") && !text.contains(&"x".repeat(64)),
        "{text}"
    );
}

fn limit(tries: u32) -> Limit {
    Limit {
        name: "registration",
        tries,
        window: Duration::from_secs(60),
    }
}

/// S-146
/// S-147
/// S-148
/// S-149
/// S-150
#[tokio::test]
async fn guesses_and_broken_requests_count_against_the_limit() {
    let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(NOW)));
    let limiter = Arc::new(MemoryRateLimit::new(clock));
    let part = Part::with(|builder| {
        builder
            .gate(InitialAccessTokens::new(["an initial access token of a partner"]))
            .limiter((limiter.clone(), limit(3)))
    });
    let reply = part.send(&[JSON], "not json").await;
    assert_eq!(reply.status, 401);
    assert_eq!(header(&reply, "www-authenticate"), Some("Bearer"));
    assert_eq!(header(&reply, "cache-control"), Some("no-store"));
    assert_eq!(
        reply.body,
        r#"{"error":"invalid_client","error_description":"Registration not authorized"}"#
    );
    let good = [
        JSON,
        ("authorization", "Bearer an initial access token of a partner"),
    ];
    assert_eq!(part.send(&good, "not json").await.status, 400);
    assert_eq!(part.send(&good, &public().to_string()).await.status, 201);
    let reply = part.send(&good, &public().to_string()).await;
    assert_eq!((reply.status, header(&reply, "retry-after")), (429, Some("60")));
    assert_eq!(
        reply.body,
        r#"{"error":"too_many_requests","error_description":"Too many registration requests"}"#
    );
}

/// S-149
#[tokio::test]
async fn a_header_counts_only_when_a_named_proxy_wrote_it() {
    let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(NOW)));
    let limiter = Arc::new(MemoryRateLimit::new(clock));
    for (name, proxies, statuses) in [
        ("named", "192.0.2.7", [201, 201, 429]),
        ("another", "10.0.0.0/8", [201, 429, 429]),
        ("none", "", [201, 429, 429]),
    ] {
        let rule = Limit { name, ..limit(1) };
        let part = Part::with(|builder| {
            let proxies = TrustedProxies::parse(proxies).unwrap();
            builder
                .limiter((limiter.clone(), rule))
                .behind(proxies, ForwardingHeader::XForwardedFor)
        });
        for (forwarded, status) in ["203.0.113.1", "203.0.113.2", "198.51.100.9, 203.0.113.1"]
            .into_iter()
            .zip(statuses)
        {
            let reply = part
                .send(&[JSON, ("X-Forwarded-For", forwarded)], &public().to_string())
                .await;
            assert_eq!(reply.status, status, "{proxies}: {forwarded}");
        }
    }
}

/// S-151
/// S-152
/// S-153
/// S-166
#[tokio::test]
async fn only_strict_json_that_says_so_is_read_and_nothing_is_stored_of_anything_else() {
    let part = Part::new();
    let good = public().to_string();
    for content_type in [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=utf-16",
    ] {
        assert_eq!(
            part.send(&[("content-type", content_type)], &good).await.status,
            415,
            "{content_type}"
        );
    }
    assert_eq!(part.send(&[], &good).await.status, 415);
    assert_eq!(part.send(&[JSON, JSON], &good).await.status, 415);
    for (body, description) in [
        ("", "Invalid JSON"),
        ("{", "Invalid JSON"),
        (r#"{"a":1,"a":2}"#, "Invalid JSON"),
        (r#"{"client_name":NaN}"#, "Invalid JSON"),
        (r#"{"client_name":"\ud800"}"#, "Invalid JSON"),
        ("\u{feff}{}", "Invalid JSON"),
        (&"[".repeat(10_000), "Invalid JSON"),
        ("[]", "Request body must be a JSON object"),
        ("null", "Request body must be a JSON object"),
    ] {
        let reply = part.send(&[JSON], body).await;
        let expected = json!({"error": "invalid_request", "error_description": description}).to_string();
        assert_eq!((reply.status, reply.body), (400, expected), "{body:.20}");
    }
    assert_eq!(part.send(&[JSON], &" ".repeat(65_537)).await.status, 413);
    for (name, value) in [
        ("redirect_uris", json!("https://app.example/cb")),
        ("redirect_uris", json!({"https://app.example/cb": 1})),
        ("redirect_uris", json!([null])),
        ("redirect_uris", json!(true)),
        ("grant_types", json!("authorization_code")),
        ("grant_types", json!(5)),
        ("response_types", json!("code")),
        ("scope", json!(["notes:read"])),
        ("client_name", json!({"a": 1})),
        ("client_name", json!("a\u{1b}b")),
        ("client_name", json!("x".repeat(1_025))),
        ("token_endpoint_auth_method", json!(5)),
    ] {
        assert_eq!(
            part.refused(&with(name, value.clone())).await,
            own(BAD_METADATA),
            "{name} {value}"
        );
    }
    assert!(format!("{:?}", part.registry).contains("clients: 0"));
}

fn own((status, code): (u16, &str)) -> (u16, String) {
    (status, code.to_owned())
}

/// S-154
/// S-155
/// S-156
#[tokio::test]
async fn redirect_uris_are_rewritten_in_order_defaulted_and_checked() {
    let part = Part::new();
    for (uris, description) in [
        (json!([]), "A redirect URI is required"),
        (json!(null), "A redirect URI is required"),
        (
            json!(["http://a.example/1", "http://a.example/2"]),
            "Invalid redirect_uri: http://a.example/1",
        ),
        (json!(["http://a.example/\"é\r\n"]), "Invalid redirect_uri"),
        (
            json!(vec!["https://app.example/cb"; 21]),
            "Too many redirect URIs",
        ),
    ] {
        let (status, body) = part.post(&with("redirect_uris", uris)).await;
        assert_eq!((status, body["error"].as_str()), (400, Some(BAD_REDIRECT.1)));
        assert_eq!(body["error_description"], description);
    }

    let part = Part::with(|builder| {
        builder
            .rewrite_redirect_uris(|uris| uris.iter().map(|uri| format!("{uri}/1")).collect())
            .rewrite_redirect_uris(|uris| uris.iter().map(|uri| format!("{uri}/2")).collect())
            .default_redirect_uris(["http://localhost:9999/cb"])
    });
    let (_, body) = part.post(&public()).await;
    assert_eq!(body["redirect_uris"], json!(["https://app.example/cb/1/2"]));
    let (_, body) = part.post(&with("redirect_uris", json!(null))).await;
    assert_eq!(body["redirect_uris"], json!(["http://localhost:9999/cb"]));
    let bad = Part::with(|builder| builder.default_redirect_uris(["http://app.example/cb"]));
    assert_eq!(bad.refused(&json!({})).await, own(BAD_REDIRECT));

    let part =
        Part::with(|builder| builder.validate_redirect_uris(|uri| uri.starts_with("com.example.app:/")));
    assert_eq!(
        part.post(&with("redirect_uris", json!(["com.example.app:/cb"])))
            .await
            .0,
        201
    );
    assert_eq!(part.refused(&public()).await, own(BAD_REDIRECT));
    let part = Part::with(RegistrationHandlerBuilder::dangerous_accept_any_redirect_uri);
    assert_eq!(
        part.post(&with("redirect_uris", json!(["not a uri"]))).await.0,
        201
    );
}

/// S-157
/// S-158
#[tokio::test]
async fn what_is_supported_is_honoured_and_the_rest_refused() {
    let part = Part::new();
    let device = GrantType::DeviceCode.as_str();
    let (status, body) = part
        .post(&json!({"grant_types": [device, "refresh_token"], "token_endpoint_auth_method": "none"}))
        .await;
    assert_eq!(
        (status, &body["grant_types"], &body["response_types"]),
        (201, &json!([device, "refresh_token"]), &json!([]))
    );
    for (name, value) in [
        ("grant_types", json!(["client_credentials"])),
        ("grant_types", json!(["authorization_code", "client_credentials"])),
        ("grant_types", json!(["implicit"])),
        ("grant_types", json!(["device_code"])),
        ("grant_types", json!(["refresh_token"])),
        ("grant_types", json!([])),
        ("response_types", json!(["token"])),
        ("response_types", json!(["code", "id_token"])),
        ("response_types", json!([])),
        ("token_endpoint_auth_method", json!("tls_client_auth")),
        ("token_endpoint_auth_method", json!("private_key_jwt")),
    ] {
        assert_eq!(
            part.refused(&with(name, value.clone())).await,
            own(BAD_METADATA),
            "{name} {value}"
        );
    }
    for method in ["client_secret_basic", "client_secret_post"] {
        let (_, body) = part
            .post(&with("token_endpoint_auth_method", json!(method)))
            .await;
        assert_eq!(
            (
                &body["token_endpoint_auth_method"],
                body.get("client_secret").is_some()
            ),
            (&json!(method), true)
        );
    }

    let open = Part::with(|builder| builder.methods_on_offer([TokenEndpointAuthMethod::None]));
    let (_, body) = open
        .post(&json!({"redirect_uris": ["https://app.example/cb"]}))
        .await;
    assert_eq!(body["token_endpoint_auth_method"], "none");
    let with_secret = with("token_endpoint_auth_method", json!("client_secret_basic"));
    assert_eq!(open.refused(&with_secret).await, own(BAD_METADATA));

    let machines = Part::with(|builder| builder.grants_on_offer([GrantType::ClientCredentials]));
    let (status, body) = machines
        .post(&json!({"grant_types": ["client_credentials"]}))
        .await;
    assert_eq!(
        (status, &body["redirect_uris"], &body["response_types"]),
        (201, &json!([]), &json!([]))
    );
    let public = json!({"grant_types": ["client_credentials"], "token_endpoint_auth_method": "none"});
    assert_eq!(machines.refused(&public).await, own(BAD_METADATA));
}

/// S-157
/// S-161
#[tokio::test]
async fn further_metadata_is_checked_and_answered_and_nothing_of_the_servers_own_can_be_said() {
    let part = Part::new();
    let jwks = json!({"keys": [
        {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]});
    let mut body = with("token_endpoint_auth_method", json!("private_key_jwt"));
    body["jwks"] = jwks.clone();
    body["contacts"] = json!(["a@app.example"]);
    body["tos_uri"] = json!("https://app.example/tos");
    body["software_id"] = json!("probe");
    for (name, value) in [
        ("client_id", json!("admin")),
        ("client_secret", json!("known")),
        ("client_id_issued_at", json!(1)),
        ("registration_access_token", json!("x")),
        ("software_statement", json!("eyJhbGciOiJub25lIn0.e30.")),
        ("x", json!({"y": [1]})),
    ] {
        body[name] = value;
    }
    let (status, answer) = part.post(&body).await;
    assert_eq!(status, 201);
    let id = answer["client_id"].as_str().unwrap();
    assert!(id.starts_with("mcp-"));
    assert_eq!(answer["client_id_issued_at"], NOW);
    assert_eq!(
        (&answer["jwks"], &answer["contacts"]),
        (&jwks, &json!(["a@app.example"]))
    );
    assert_eq!(
        (&answer["tos_uri"], &answer["software_id"]),
        (&json!("https://app.example/tos"), &json!("probe"))
    );
    for name in [
        "client_secret",
        "registration_access_token",
        "software_statement",
        "x",
    ] {
        assert_eq!(answer.get(name), None, "{name}");
    }
    let kept = part.registry.get_client(id).await.unwrap().unwrap();
    assert_eq!(kept.metadata.extra.len(), 4);

    for (name, value) in [
        ("tos_uri", json!("javascript:alert(1)")),
        ("logo_uri", json!("http://app.example/logo")),
        ("contacts", json!("a@app.example")),
        ("contacts", json!([1])),
        ("client_uri", json!(5)),
        ("application_type", json!("desktop")),
        ("jwks", json!({"keys": []})),
        ("jwks_uri", json!("http://app.example/jwks.json")),
        ("jwks_uri", json!(5)),
    ] {
        assert_eq!(
            part.refused(&with(name, value.clone())).await,
            own(BAD_METADATA),
            "{name} {value}"
        );
    }
}

/// S-159
#[tokio::test]
async fn nobody_gets_a_scope_that_is_not_on_offer() {
    let part = Part::new();
    let (_, body) = part.post(&with("scope", json!("admin notes:read *"))).await;
    assert_eq!(body["scope"], "notes:read");
    assert_eq!(
        part.refused(&with("scope", json!("admin *"))).await,
        own(BAD_METADATA)
    );
    assert_eq!(
        part.refused(&with("scope", json!("a\"b"))).await,
        own(BAD_METADATA)
    );
    let part = Part::with(|builder| builder.scope_on_offer(Scope::parse("notes:read extra").unwrap()));
    let (_, body) = part.post(&with("scope", json!("extra admin"))).await;
    assert_eq!(body["scope"], "extra");
    assert_eq!(part.post(&public()).await.1["scope"], "notes:read notes:write");
}

/// S-160
#[tokio::test]
async fn a_client_is_called_what_the_factory_says() {
    let part = Part::with(|builder| {
        builder.client_name(|request| {
            request
                .client_name
                .as_ref()
                .map(|name| format!("{name} at {}", request.redirect_uris[0]))
        })
    });
    let (_, body) = part.post(&with("client_name", json!("Probe"))).await;
    assert_eq!(body["client_name"], "Probe at https://app.example/cb");
    assert_eq!(part.post(&public()).await.1.get("client_name"), None);
}

#[derive(Default)]
struct Hook {
    told: Arc<Mutex<Vec<String>>>,
    fails: bool,
}

#[async_trait::async_trait]
impl AfterRegistration for Hook {
    async fn registered(&self, client: &RegisteredClient) -> Result<(), HookError> {
        self.told.lock().unwrap().push(client.client_id.clone());
        if self.fails {
            Err("not today".into())
        } else {
            Ok(())
        }
    }
}

/// S-163
#[tokio::test]
async fn hooks_are_told_in_order_and_a_failing_one_changes_nothing() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let hook = |fails| Hook {
        told: told.clone(),
        fails,
    };
    let part = Part::with(|builder| {
        builder
            .after_registration(hook(true))
            .after_registration(hook(false))
    });
    let (status, body) = part.post(&public()).await;
    let id = body["client_id"].as_str().unwrap().to_owned();
    assert_eq!(
        (status, told.lock().unwrap().clone()),
        (201, vec![id.clone(), id])
    );
    part.refused(&with("redirect_uris", json!(["http://a.example"])))
        .await;
    assert_eq!(told.lock().unwrap().len(), 2);
}

struct Broken;

#[async_trait::async_trait]
impl ClientRegistry for Broken {
    async fn create_client(&self, _: &ClientRegistrationRequest) -> Result<IssuedClient, RegistryError> {
        Err("connection to db.internal refused".into())
    }

    async fn get_client(&self, _: &str) -> Result<Option<RegisteredClient>, RegistryError> {
        Ok(None)
    }
}

/// S-162
/// S-168
#[tokio::test]
async fn a_registry_that_fails_tells_nothing_outside() {
    let handler = RegistrationHandler::builder(Arc::new(Broken), "").build();
    let head = RequestHead {
        headers: &[JSON],
        peer: None,
    };
    let reply = handler.handle(&head, public().to_string().as_bytes()).await;
    assert_eq!(reply.status, 500);
    assert_eq!(
        reply.body,
        r#"{"error":"server_error","error_description":"Failed to register client"}"#
    );
}

/// S-145
/// S-157
/// S-165
#[tokio::test]
async fn the_answers_of_the_python_package_are_there_for_who_rests_on_them() {
    let part = Part::with(|builder| builder.rules(RegistrationRules::AsPythonPackage));
    let reply = part
        .send(&[("content-type", "text/plain")], &public().to_string())
        .await;
    assert_eq!((reply.status, reply.headers.len()), (201, 1));
    let body: Value = serde_json::from_str(&reply.body).unwrap();
    assert_eq!(
        body["grant_types"],
        json!(["authorization_code", "refresh_token", "device_code"])
    );
    assert_eq!(body["token_endpoint_auth_method"], "none");
    let (_, body) = part
        .post(&json!({"grant_types": ["client_credentials"], "scope": "anything"}))
        .await;
    assert_eq!(
        (&body["token_endpoint_auth_method"], &body["scope"]),
        (&json!("client_secret_post"), &json!("anything"))
    );
    assert_eq!(body["response_types"], json!(["code"]));
    for wrong in [
        json!({"redirect_uris": true}),
        json!({"grant_types": "client_credentials"}),
        json!({"scope": 5}),
    ] {
        assert_eq!(part.refused(&wrong).await, own(BAD_METADATA), "{wrong}");
    }
    let guarded = Part::with(|builder| {
        builder
            .rules(RegistrationRules::AsPythonPackage)
            .gate(InitialAccessTokens::new(["a token"]))
    });
    assert_eq!(guarded.send(&[], "").await.headers.len(), 2);
}
