//! Signing keys and JWT access tokens, as an operator and a resource server meet them.

use std::time::Duration;

use mcp_authflow::port::store::SigningKeyStore as _;
use mcp_authflow_jose::{JwsRules, KeySet, ServerKey, UnverifiedJws};
use mcp_authflow_sqlite::{SqliteOptions, SqliteStore};
use mcp_authflow_testkit::{
    browser::Decision,
    server::{Store, TestServer, TestServerBuilder},
    service::postgres::{FreshDatabase, PrivatePostgres},
};
use serde_json::{Value, json};

use crate::house::{BOOTSTRAP, House, R1, SVC_SECRET, answer, builder, text};

/// A key is published for a second, and for two more by which nodes may be behind, before it signs.
const QUICK: &str = "[keys]\npublish_ahead = \"1s\"\n";
/// How long a change may take to show.
const PATIENCE: Duration = Duration::from_secs(20);

fn of(server: &TestServer, verb: &[&str]) -> Value {
    let verb = verb.iter().copied().chain(["--json"]);
    serde_json::from_str(&server.run_all(verb).unwrap()).unwrap()
}

fn start(builder: TestServerBuilder) -> House {
    let house = House::of(builder.start().unwrap());
    let set = of(
        &house.server,
        &["resource", "set", R1, "--access-token-format", "jwt"],
    );
    assert_eq!(
        set,
        json!({"resource": R1, "access_token_format": "jwt", "signing_algorithm": "ES256"})
    );
    house
}

impl House {
    async fn machine_token(&self) -> String {
        let form = [("grant_type", "client_credentials"), ("resource", R1)];
        let request = self.http.post(self.server.url("/token")).form(&form);
        let (status, tokens) = answer(request.basic_auth("svc", Some(SVC_SECRET))).await;
        assert_eq!(status, 200, "{tokens}");
        text(&tokens, "access_token").to_owned()
    }

    async fn key_set(&self) -> (Vec<String>, KeySet) {
        let request = self.http.get(self.server.url("/jwks"));
        let body = request.send().await.unwrap().text().await.unwrap();
        let value: Value = serde_json::from_str(&body).unwrap();
        let names = value["keys"].as_array().unwrap();
        let names = names.iter().map(|key| text(key, "kid").to_owned()).collect();
        (names, KeySet::parse(body.as_bytes()).unwrap())
    }

    /// Waits until the set that is served is as it should be.
    async fn until_published(&self, is_it: impl Fn(&[String]) -> bool) {
        let waiting = async {
            while !is_it(&self.key_set().await.0) {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .expect("the set changes");
    }
}

fn parsed(token: &str) -> UnverifiedJws {
    let rules = JwsRules {
        types: Some(&["at+jwt"]),
        requires_type: true,
        ..JwsRules::default()
    };
    UnverifiedJws::parse(token, &rules).unwrap()
}

/// Every kind of store, and the database that has to outlive the last of them.
fn stores() -> ([Store; 3], FreshDatabase) {
    let database = PrivatePostgres::shared().unwrap().fresh_database().unwrap();
    let postgres = Store::Postgres(database.url().to_owned());
    ([Store::Memory, Store::Sqlite, postgres], database)
}

/// RFC 9068; P14: the life of a JWT and of its key, on every store.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_rotated_and_retired_while_tokens_of_it_live() {
    let (stores, _database) = stores();
    for store in stores.into_iter().skip(1) {
        let house = start(builder().store(store).config(QUICK));
        let first = house.machine_token().await;
        let old = parsed(&first).key_id().unwrap().to_owned();
        let listed = of(&house.server, &["keys", "list"]);
        assert_eq!(
            (&listed[0]["kid"], &listed[0]["state"]),
            (&json!(old), &json!("signing"))
        );

        let rotated = of(&house.server, &["keys", "rotate"]);
        let new = text(&rotated, "kid").to_owned();
        house
            .until_published(|names| *names == [old.clone(), new.clone()])
            .await;
        let signs_from = rotated["signs_from"].as_i64().unwrap();
        let waiting = async {
            loop {
                let token = house.machine_token().await;
                let (_, keys) = house.key_set().await;
                let jws = parsed(&token);
                assert!(jws.verify(&keys).is_ok(), "there is no moment without its key");
                if jws.key_id() == Some(&new) {
                    return jws
                        .unverified_claims()
                        .unwrap()
                        .required_time("iat")
                        .unwrap()
                        .round_down();
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let since = tokio::time::timeout(PATIENCE, waiting).await.unwrap();
        assert!(since.seconds() >= signs_from, "not before its time");
        let (_, keys) = house.key_set().await;
        assert!(
            parsed(&first).verify(&keys).is_ok(),
            "the old one is published still"
        );
        let listed = of(&house.server, &["keys", "list"]);
        assert_eq!(
            (&listed[0]["state"], &listed[1]["state"]),
            (&json!("retired"), &json!("signing"))
        );

        let retired = of(&house.server, &["keys", "retire", &new]);
        let successor = text(&retired, "replaced_by").to_owned();
        house
            .until_published(|names| !names.contains(&new) && names.contains(&successor))
            .await;
        assert_eq!(house.introspect(&first).await["active"], true);
        assert!(house.server.run_all(["keys", "retire", &new]).is_err());
    }
}

/// The flows of one JWT, by every grant and on every store.
#[tokio::test(flavor = "multi_thread")]
async fn a_jwt_is_proven_introspected_looked_into_and_revoked_on_every_store() {
    let jwt = builder_with("access_token_format = \"jwt\"\nsigning_algorithm = \"EdDSA\"");
    let (stores, _database) = stores();
    for store in stores {
        let is_memory = store == Store::Memory;
        let house = House::of(jwt.clone().store(store).start().unwrap());
        let code = house.code(&house.browser(), "web", Decision::Allow).await;
        let (_, tokens) = house.redeem("web", &code).await;
        let (_, next) = house.refresh("web", text(&tokens, "refresh_token")).await;
        let (_, again) = house.refresh("web", text(&tokens, "refresh_token")).await;
        assert_eq!(
            next["access_token"], again["access_token"],
            "the retry is the same"
        );
        let (_, keys) = house.key_set().await;
        for token in [&tokens, &next] {
            let token = text(token, "access_token");
            let jws = parsed(token);
            assert_eq!(jws.algorithm().as_str(), "EdDSA");
            assert!(jws.verify(&keys).is_ok());
            let said = house.introspect(token).await;
            let claims = jws.unverified_claims().unwrap();
            for name in ["iss", "sub", "aud", "client_id", "scope", "exp", "iat"] {
                assert_eq!(claims.value(name), said.get(name), "{name}");
            }
        }
        let token = text(&next, "access_token");
        if !is_memory {
            let shown = of(&house.server, &["token", "introspect", token]);
            assert_eq!(shown["aud"], R1);
            let revoked = of(&house.server, &["token", "revoke", text(&tokens, "access_token")]);
            assert_eq!(revoked, json!({"revoked": true}));
            let said = house.introspect(text(&tokens, "access_token")).await;
            assert_eq!(said, json!({"active": false}));
        }
        let (status, _) = house
            .post("/revoke", &[("token", token), ("client_id", "web")])
            .await;
        assert_eq!(status, 200);
        assert_eq!(house.introspect(token).await, json!({"active": false}));
    }
}

/// The usual house, with lines for the resource [`R1`].
fn builder_with(lines: &str) -> TestServerBuilder {
    let bootstrap = BOOTSTRAP.replacen("name = \"Notes\"", &format!("name = \"Notes\"\n{lines}"), 1);
    builder().bootstrap(bootstrap)
}

/// P14: nodes that start together, and rotate together, agree.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_prove_each_others_tokens() {
    let database = PrivatePostgres::shared().unwrap().fresh_database().unwrap();
    let store = Store::Postgres(database.url().to_owned());
    let first = start(builder().store(store.clone()).config(QUICK));
    let second = builder()
        .store(store)
        .config(QUICK)
        .beside(&first.server)
        .start()
        .unwrap();
    for _ in 0..3 {
        let token = first.machine_token().await;
        let request = first.http.get(format!("{}/jwks", second.origin()));
        let body = request.send().await.unwrap().text().await.unwrap();
        let keys = KeySet::parse(body.as_bytes()).unwrap();
        assert!(parsed(&token).verify(&keys).is_ok());
        let rotated = of(&first.server, &["keys", "rotate"]);
        let key = text(&rotated, "kid").to_owned();
        first.until_published(|names| names.contains(&key)).await;
    }
}

/// RP-19: no client may be called as accounts are. What is wrong is said before anything is changed.
#[test]
fn nonsense_is_refused_with_the_remedy() {
    let server = builder().start().unwrap();
    for (verb, why) in [
        (
            &["keys", "rotate", "--algorithm", "RS256"][..],
            "possible values: ES256, EdDSA",
        ),
        (
            &["keys", "retire", "unknown"],
            "there is no key unknown; see authflow keys list",
        ),
        (&["keys", "retire", "-unknown"], "there is no key -unknown"),
        (
            &[
                "client",
                "add",
                "--name",
                "x",
                "--redirect-uri",
                "https://x.example/cb",
                "--id",
                "u_0123456789abcdef0123456789abcdef",
            ],
            "is what accounts are called",
        ),
        (
            &[
                "resource",
                "set",
                R1,
                "--access-token-format",
                "opaque",
                "--signing-algorithm",
                "EdDSA",
            ],
            "a signing algorithm is for jwt",
        ),
        (
            &[
                "resource",
                "set",
                "https://unknown.test/mcp",
                "--access-token-format",
                "jwt",
            ],
            "https://unknown.test/mcp is not registered",
        ),
    ] {
        let error = server.run_all(verb.iter().copied()).unwrap_err().to_string();
        assert!(error.contains(why), "{verb:?}: {error}");
    }
    let added = of(
        &server,
        &[
            "resource",
            "add",
            "https://rs9.test/mcp",
            "--name",
            "R9",
            "--access-token-format",
            "jwt",
            "--signing-algorithm",
            "EdDSA",
        ],
    );
    assert_eq!(added["resource"], "https://rs9.test/mcp");
    let listed = of(&server, &["resource", "list"]);
    let formats: Vec<&Value> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["access_token_format"])
        .collect();
    assert_eq!(formats, ["opaque", "opaque", "jwt"]);
    let algorithms = of(&server, &["keys", "list"]);
    let algorithms: Vec<&str> = algorithms
        .as_array()
        .unwrap()
        .iter()
        .map(|key| text(key, "algorithm"))
        .collect();
    assert_eq!(
        algorithms,
        ["ES256", "EdDSA"],
        "its key is there before its first token"
    );
}

/// RP-19: what a machine gets for itself names the machine, what it gets for a person names the person, and no client of the
/// bootstrap file can have a person's name.
#[tokio::test]
async fn a_client_is_not_taken_for_a_person() {
    let house = House::open();
    let code = house.code(&house.browser(), "web", Decision::Allow).await;
    let (_, persons) = house.redeem("web", &code).await;
    let person = house.introspect(text(&persons, "access_token")).await;
    let machine = house.introspect(&house.machine_token().await).await;
    assert_eq!(
        (text(&machine, "sub"), text(&machine, "client_id")),
        ("svc", "svc")
    );
    let subject = text(&person, "sub");
    assert!(subject.starts_with("u_") && subject.len() == 34, "{person}");
    assert_ne!(subject, text(&person, "client_id"));

    let bootstrap = BOOTSTRAP.replace("client_id = \"svc\"", &format!("client_id = \"{subject}\""));
    let refused = builder().bootstrap(bootstrap).start().unwrap_err();
    assert!(
        format!("{refused:#}").contains("is what accounts are called"),
        "{refused:#}"
    );
}

/// P7: neither a private key nor a token is in the log or the file, whatever is logged.
#[tokio::test(flavor = "multi_thread")]
async fn no_private_key_is_in_the_log_or_the_file() {
    let mut house = start(builder().config(QUICK).env("AUTHFLOW_LOG__FILTER", "trace"));
    let token = house.machine_token().await;
    house.introspect(&token).await;
    of(&house.server, &["keys", "rotate", "--now"]);
    of(&house.server, &["keys", "rotate", "--algorithm", "EdDSA"]);
    house.until_published(|names| names.len() == 3).await;
    house.server.stop(Duration::from_secs(20)).unwrap();
    let folder = house.server.folder().to_owned();

    let key = std::fs::read_to_string(folder.join("server.key")).unwrap();
    let sealing = ServerKey::parse_hex(&key).unwrap().sealing_key("signing keys");
    let store = SqliteStore::open(folder.join("state.sqlite"), SqliteOptions::default())
        .await
        .unwrap();
    let records = store.list_signing_keys().await.unwrap();
    store.close().await;
    assert_eq!(records.len(), 3);

    let log = house.server.output().text();
    let says_everything = log.contains("DEBUG") && log.contains("a signing key was made");
    assert!(says_everything, "{log}");
    let mut searched = log.into_bytes();
    for file in std::fs::read_dir(&folder)
        .unwrap()
        .map(|file| file.unwrap().path())
    {
        if file
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with("state.sqlite")
        {
            searched.extend(std::fs::read(file).unwrap());
        }
    }
    let is_found = |secret: &[u8]| searched.windows(secret.len()).any(|window| window == secret);
    for record in &records {
        let der = sealing.open(record.key_id.as_bytes(), &record.sealed).unwrap();
        // PKCS#8 holds the private number in an octet string of 32 bytes.
        let at = der.windows(2).position(|window| window == [0x04, 0x20]).unwrap() + 2;
        let private = &der[at..at + 32];
        let hex = mcp_authflow_types::hex::encode(private);
        let base64 = base64::Engine::encode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, private);
        for (what, secret) in [
            ("raw", private),
            ("hex", hex.as_bytes()),
            ("base64", base64.as_bytes()),
        ] {
            assert!(!is_found(secret), "{what} of {}", record.key_id);
        }
        assert!(
            is_found(record.key_id.as_bytes()),
            "what is searched holds what is no secret"
        );
    }
    assert!(!is_found(token.as_bytes()), "the token");
    assert!(
        !is_found(token.rsplit('.').next().unwrap().as_bytes()),
        "its signature"
    );
}
