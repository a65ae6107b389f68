//! How clients introduce themselves.

use mcp_authflow_jose::{Algorithm, SigningKey};
use mcp_authflow_testkit::{
    browser::Decision,
    document_host::{DocumentHost, Served},
};
use serde_json::{Value, json};

use super::{authorize_url, metadata, register, tokens};
use crate::house::{BOOTSTRAP, House, PASSWORD, R1, VERIFIER, answer, builder, text};

fn house_beside(host: &DocumentHost) -> House {
    let ca = host.ca_file();
    House::of(
        builder()
            .env("SSL_CERT_FILE", ca.to_str().unwrap())
            .start()
            .unwrap(),
    )
}

/// M-090, M-178; M §6.4 trap 3: the port of a loopback redirect is free, `localhost` too, however the client came to be known.
/// The path is not.
#[tokio::test]
async fn trap_03_loopback_ports_are_free_for_documents_registrations_and_clients_of_the_operator() {
    let host = DocumentHost::start().unwrap();
    let uris = json!(["http://127.0.0.1/cb", "http://localhost/cb", "http://[::1]/cb"]);
    let document = host.serve_client("/client.json", &json!({ "redirect_uris": uris }));
    let by_hand = format!(
        "[[client]]\nclient_id = \"by-hand\"\nname = \"Native\"\ntoken_endpoint_auth_method = \"none\"\nredirect_uris = {uris}\n"
    );
    let server = builder()
        .bootstrap(format!("{BOOTSTRAP}{by_hand}"))
        .env("SSL_CERT_FILE", host.ca_file().to_str().unwrap());
    let house = House::of(server.start().unwrap());
    let asked = json!({ "redirect_uris": uris, "token_endpoint_auth_method": "none" });
    let (status, made) = register(&house, &asked).await;
    assert_eq!(status, 201, "{made}");
    for client in [&document, text(&made, "client_id"), "by-hand"] {
        for redirect in [
            "http://127.0.0.1:49152/cb",
            "http://localhost:3118/cb",
            "http://[::1]:65535/cb",
            "http://localhost/cb",
        ] {
            let tokens = tokens(&house, client, redirect, &[("resource", R1)]).await;
            assert_eq!(tokens["token_type"], "Bearer", "{client} {redirect}");
        }
        for other in [
            "http://localhost:3118/other",
            "http://localhost:3118/cb/",
            "http://127.0.0.2:1/cb",
        ] {
            let url = authorize_url(&house, client, other, &[("resource", R1)]);
            let response = house.http.get(url).send().await.unwrap();
            assert_eq!(
                response.status(),
                400,
                "{client} {other}: a page, and no redirect"
            );
        }
    }
}

/// M-173, M-180, M-063; M §6.4 trap 4: `none` is listed; the array of methods is read; an assertion that is there is verified, and
/// one that is not there is missed only where the array has no `none`.
#[tokio::test]
async fn trap_04_auth_method_mix_ups_in_documents_are_read_by_the_array() {
    let host = DocumentHost::start().unwrap();
    let house = house_beside(&host);
    let listed = metadata(&house).await["token_endpoint_auth_methods_supported"].clone();
    assert!(listed.as_array().unwrap().contains(&json!("none")), "{listed}");

    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let keys = json!({ "keys": [key.public_jwk()] });
    host.serve("/jwks", Served::json(keys.to_string()));
    let redirect = "https://client.example/cb";
    let serve = |path: &str, methods: &Value| {
        host.serve_client(
            path,
            &json!({
                "redirect_uris": [redirect], "token_endpoint_auth_method": "private_key_jwt",
                "token_endpoint_auth_methods_supported": methods, "jwks_uri": host.url("/jwks"),
            }),
        )
    };
    let both = serve("/both.json", &json!(["none", "private_key_jwt"]));
    let alone = serve("/alone.json", &Value::Null);
    for (number, (client, assertion, wanted)) in [
        (&both, None, 200),
        (&both, Some(true), 200),
        (&both, Some(false), 401),
        (&alone, None, 401),
        (&alone, Some(true), 200),
        (&alone, Some(false), 401),
    ]
    .into_iter()
    .enumerate()
    {
        let url = authorize_url(&house, client, redirect, &[("resource", R1)]);
        let left = house
            .browser()
            .sign_in_and(&url, "alice", PASSWORD, Decision::Allow)
            .await
            .unwrap();
        let code = left.parameter("code").unwrap().expect("a code");
        let mut form = vec![
            ("grant_type", "authorization_code".to_owned()),
            ("code", code),
            ("client_id", client.clone()),
            ("code_verifier", VERIFIER.to_owned()),
        ];
        if let Some(is_right) = assertion {
            let signer = if is_right {
                &key
            } else {
                &SigningKey::generate(Algorithm::Es256).unwrap()
            };
            let claims = crate::client_assertion::claims(client, house.server.issuer(), &number.to_string());
            form.push((
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer".to_owned(),
            ));
            form.push(("client_assertion", signer.sign("JWT", &claims).unwrap()));
        }
        let (status, said) = answer(house.http.post(house.server.url("/token")).form(&form)).await;
        assert_eq!(status, wanted, "{client} {assertion:?}: {said}");
    }
}

/// M-071, M-073, M-091; M §6.4 trap 5: three callbacks of three kinds at once and a wrong type; what runs code is dropped, and
/// nothing else with it.
#[tokio::test]
async fn trap_05_cursors_registration_is_taken_whole_and_loses_only_what_is_dangerous() {
    let house = House::open();
    let own = [
        "cursor://anysphere.cursor-mcp/oauth/callback",
        "https://www.cursor.com/agents/mcp/oauth/callback",
        "http://localhost:8787/callback",
    ];
    let dangerous = [
        "javascript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "http://evil.example/cb",
    ];
    let all: Vec<&str> = own.into_iter().chain(dangerous).collect();
    let asked = json!({
        "client_name": "Cursor", "application_type": "web", "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"], "redirect_uris": all,
    });
    let (status, made) = register(&house, &asked).await;
    assert_eq!((status, &made["redirect_uris"]), (201, &json!(own)), "{made}");
    assert_eq!(made["application_type"], "native");
    for redirect in own {
        tokens(&house, text(&made, "client_id"), redirect, &[("resource", R1)]).await;
    }
    let (status, refusal) = register(&house, &json!({ "redirect_uris": dangerous })).await;
    assert_eq!((status, text(&refusal, "error")), (400, "invalid_redirect_uri"));
}

/// M-070; M §6.4 trap 10: an answer that SDKs can read, and registrations that come in storms: each is a client of its own, an
/// address gets so many an hour, and what nobody approves ends.
#[tokio::test]
async fn trap_10_dcr_answers_are_complete_and_storms_are_bounded() {
    let limits = "[registration]\nper_address_per_hour = 3\n[lifetimes]\nunused_client = \"60s\"\n";
    let house = House::of(builder().config(limits).start().unwrap());
    let asked = json!({
        "client_name": "", "scope": "", "client_uri": null, "logo_uri": "", "contacts": [], "tos_uri": null,
        "redirect_uris": ["http://127.0.0.1/cb"], "token_endpoint_auth_method": "none",
    });
    let response = house
        .http
        .post(house.server.url("/register"))
        .json(&asked)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 201);
    assert_eq!(response.headers()["cache-control"], "no-store");
    let made: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    for (name, value) in made.as_object().unwrap() {
        assert!(!value.is_null() && value != "", "{name} is {value}");
    }
    assert_eq!(
        made["grant_types"],
        json!(["authorization_code", "refresh_token"])
    );
    assert_eq!(made["response_types"], json!(["code"]));
    assert!(made["client_id_issued_at"].is_u64() && made.get("client_secret_expires_at").is_none());
    // Without a scope it may ask for everything on offer.
    let scope = text(&made, "scope");
    for token in ["mcp:read", "mcp:write", "offline_access"] {
        assert!(
            scope.split(' ').any(|one| one == token),
            "{token} is not in {scope}"
        );
    }
    let secret = json!({ "redirect_uris": ["https://client.example/cb"], "token_endpoint_auth_method": "client_secret_basic" });
    let (_, confidential) = register(&house, &secret).await;
    assert!(
        confidential["client_secret_expires_at"].is_u64(),
        "a number beside a secret: {confidential}"
    );

    // The same body again is another client: identifiers are no secret, and whoever said the same would share it.
    let (status, again) = register(&house, &asked).await;
    assert_eq!(status, 201);
    assert_ne!(again["client_id"], made["client_id"]);
    let (status, refusal) = register(&house, &asked).await;
    assert_eq!(status, 429, "{refusal}");
    let listed = house.server.run(["client", "list", "--json"]).unwrap();
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let made_here = listed
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["client_id"] == made["client_id"])
        .unwrap();
    assert!(
        !made_here["expires_at"].is_null(),
        "it ends when nobody approves it: {made_here}"
    );
}
