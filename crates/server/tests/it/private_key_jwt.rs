//! Machines with a key (RFC 7523) at the running server: registered on the command line and from the bootstrap file.

use std::time::Duration;

use mcp_authflow_jose::{Algorithm, SigningKey};
use mcp_authflow_testkit::server::{Store, TestServer};
use serde_json::{Value, json};

use crate::house::{House, text};

const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

fn now() -> i64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "the server's clock is the system's, and an assertion has to fit it"
    )]
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

fn key_set(key: &SigningKey) -> String {
    json!({ "keys": [key.public_jwk()] }).to_string()
}

/// Writes a client's keys to a file in the server's folder.
fn jwks_file(house: &House, name: &str, text: &str) -> String {
    let path = house.server.folder().join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn assertion(key: &SigningKey, id: &str, audience: &str, jti: &str) -> String {
    let claims = json!({
        "iss": id, "sub": id, "aud": audience, "iat": now(), "exp": now() + 120, "jti": jti,
    });
    key.sign("JWT", &claims).unwrap()
}

async fn enter(house: &House, assertion: &str) -> (u16, Value) {
    let form = [
        ("grant_type", "client_credentials"),
        ("resource", crate::house::R1),
        ("client_assertion_type", TYPE),
        ("client_assertion", assertion),
    ];
    house.post("/token", &form).await
}

/// A machine that the operator adds beside the running server.
fn add(house: &House, key: &SigningKey) {
    let file = jwks_file(house, "robot.json", &key_set(key));
    house
        .server
        .run([
            "client",
            "add",
            "--name",
            "Robot",
            "--id",
            "robot",
            "--token-endpoint-auth-method",
            "private_key_jwt",
            "--jwks",
            &file,
            "--grant-type",
            "client_credentials",
            "--scope",
            "mcp:read",
        ])
        .unwrap();
}

/// S-102, S-113, S-132, JA-08
#[tokio::test]
async fn a_machine_with_a_key_gets_a_token_once_for_each_assertion() {
    let house = House::open();
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256] {
        let key = SigningKey::generate(algorithm).unwrap();
        let id = format!("robot-{}", algorithm.as_str().to_lowercase());
        let file = jwks_file(&house, &format!("{id}.json"), &key_set(&key));
        let add = [
            "client",
            "add",
            "--name",
            "Robot",
            "--id",
            &id,
            "--auth-method",
            "private_key_jwt",
        ];
        let rest = [
            "--jwks",
            &file,
            "--grant-type",
            "client_credentials",
            "--scope",
            "mcp:read",
        ];
        let verb: [&str; 14] = [add.as_slice(), rest.as_slice()].concat().try_into().unwrap();
        house.server.run(verb).unwrap();

        let good = assertion(&key, &id, house.server.issuer(), "1");
        let (status, tokens) = enter(&house, &good).await;
        assert_eq!(status, 200, "{tokens}");
        assert_eq!(
            house.introspect(text(&tokens, "access_token")).await["client_id"],
            id.as_str()
        );
        let (status, refusal) = enter(&house, &good).await;
        assert_eq!((status, text(&refusal, "error")), (401, "invalid_client"));
        let elsewhere = assertion(&key, &id, &house.server.url("/token"), "2");
        assert_eq!(enter(&house, &elsewhere).await.0, 401);
        let forged = SigningKey::generate(algorithm).unwrap().with_key_id(key.key_id());
        assert_eq!(
            enter(&house, &assertion(&forged, &id, house.server.issuer(), "2"))
                .await
                .0,
            401
        );
        assert_eq!(
            enter(&house, &assertion(&key, &id, house.server.issuer(), "2"))
                .await
                .0,
            200
        );
    }
}

/// P3, S-140: what was used once is remembered by the database, however often the server starts.
#[tokio::test]
async fn a_restart_forgets_no_assertion() {
    let mut house = House::open();
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    add(&house, &key);
    let used = assertion(&key, "robot", house.server.issuer(), "1");
    assert_eq!(enter(&house, &used).await.0, 200);
    house.server.kill().unwrap();
    house.server.start_again().unwrap();
    assert_eq!(enter(&house, &used).await.0, 401);
    assert_eq!(
        enter(&house, &assertion(&key, "robot", house.server.issuer(), "2"))
            .await
            .0,
        200
    );
}

/// The bootstrap file holds keys as well, and the operator's settings count.
/// M-205
#[tokio::test]
async fn the_settings_choose_audience_and_algorithms() {
    let (robot, other) = (
        SigningKey::generate(Algorithm::Es256).unwrap(),
        SigningKey::generate(Algorithm::EdDsa).unwrap(),
    );
    let client = |id: &str, key: &SigningKey| {
        format!(
            "[[client]]\nclient_id = \"{id}\"\nname = \"{id}\"\ntoken_endpoint_auth_method = \"private_key_jwt\"\n\
             jwks = '{}'\ngrant_types = [\"client_credentials\"]\nscope = \"mcp:read\"\n",
            key_set(key)
        )
    };
    let resource = "[[resource]]\nuri = \"https://rs1.test/mcp\"\nname = \"Notes\"\nintrospection_client_id = \"rs1\"\n\
                    introspection_client_secret = \"resource-server-secret-0123456789abcdef\"\n\
                    [[resource.scope]]\nname = \"mcp:read\"\ndescription = \"Read your notes\"\n";
    let server = TestServer::builder()
        .binary(env!("CARGO_BIN_EXE_authflow"))
        .store(Store::Memory)
        .bootstrap(format!(
            "{resource}{}{}",
            client("robot", &robot),
            client("other", &other)
        ))
        .config("[client_assertions]\naccept_token_endpoint = true\nalgorithms = [\"ES256\"]\n")
        .start()
        .unwrap();
    let house = House::of(server);
    // A store in memory that began this second cannot tell of assertions that were made before it.
    let deadline = tokio::time::timeout(Duration::from_secs(20), async {
        let mut number = 0;
        loop {
            number += 1;
            let assertion = assertion(&robot, "robot", &house.server.url("/token"), &number.to_string());
            match enter(&house, &assertion).await {
                (200, _) => break,
                (503, _) => tokio::time::sleep(Duration::from_millis(50)).await,
                other => panic!("{other:?}"),
            }
        }
    });
    deadline.await.unwrap();
    assert_eq!(
        enter(&house, &assertion(&robot, "robot", house.server.issuer(), "i"))
            .await
            .0,
        200
    );
    assert_eq!(
        enter(&house, &assertion(&other, "other", house.server.issuer(), "1"))
            .await
            .0,
        401
    );
    let metadata: Value = house
        .http
        .get(house.server.url("/.well-known/oauth-authorization-server"))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(
        metadata["token_endpoint_auth_signing_alg_values_supported"],
        json!(["ES256"])
    );
}

/// S-117, S-121: an operator is told at once, not at the first sign-in.
#[tokio::test]
async fn keys_that_can_never_prove_anything_are_refused_at_the_door() {
    let house = House::open();
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let mut private = key.public_jwk();
    private["d"] = json!("AQ");
    for (name, text) in [
        ("private.json", json!({ "keys": [private] }).to_string()),
        (
            "symmetric.json",
            r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#.to_owned(),
        ),
        ("none.json", r#"{"keys":[]}"#.to_owned()),
        ("list.json", "[]".to_owned()),
        ("text.json", "no JSON".to_owned()),
    ] {
        let file = jwks_file(&house, name, &text);
        let verb = [
            "client",
            "add",
            "--name",
            "R",
            "--auth-method",
            "private_key_jwt",
            "--jwks",
            &file,
        ];
        let grant = ["--grant-type", "client_credentials", "--scope", "mcp:read"];
        let verb: [&str; 12] = [verb.as_slice(), grant.as_slice()].concat().try_into().unwrap();
        assert!(house.server.run(verb).is_err(), "{name}");
    }
    let plain = [
        "client",
        "add",
        "--name",
        "R",
        "--auth-method",
        "private_key_jwt",
        "--jwks-uri",
        "http://client.example/jwks",
        "--grant-type",
        "client_credentials",
        "--scope",
        "mcp:read",
    ];
    assert!(house.server.run(plain).is_err());
}
