//! Moving over from the Python package: `authflow import`, and `import.read_through`.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use mcp_authflow::port::token_storage::{NewToken, TokenKind, TokenStorage as _, UserId};
use mcp_authflow_postgres::{PostgresTokenStorage, PostgresTokenStorageConfig};
use mcp_authflow_testkit::{
    contract::sample,
    server::{Store, TestServerBuilder},
    service::{
        port::free_port,
        postgres::{FreshDatabase, PrivatePostgres},
    },
};
use mcp_authflow_types::TokenHash;
use serde_json::{Value, json};

use crate::house::{House, R1, builder, text};

fn fresh_database() -> FreshDatabase {
    let server = PrivatePostgres::shared().unwrap_or_else(|error| panic!("{error:#}"));
    server
        .fresh_database()
        .unwrap_or_else(|error| panic!("{error:#}"))
}

/// The database of a Python program that is still there, with the documented tables.
struct Old {
    storage: PostgresTokenStorage,
    admin: tokio_postgres::Client,
    database: FreshDatabase,
}

impl Old {
    async fn open(user_id: &str) -> Self {
        let database = fresh_database();
        let (admin, connection) = tokio_postgres::connect(database.url(), tokio_postgres::NoTls)
            .await
            .unwrap();
        tokio::spawn(connection);
        for table in ["mcp_access_tokens", "mcp_refresh_tokens"] {
            let sql = format!(
                "CREATE TABLE {table} (token TEXT PRIMARY KEY, client_id TEXT NOT NULL, scopes TEXT NOT NULL DEFAULT '', \
                 resource TEXT, expires_at TIMESTAMPTZ NOT NULL, created_at TIMESTAMPTZ NOT NULL DEFAULT now(), \
                 user_id {user_id})"
            );
            admin.batch_execute(&sql).await.unwrap();
        }
        let config = PostgresTokenStorageConfig::new(Some(database.url().to_owned()));
        let storage = PostgresTokenStorage::new(config);
        storage.initialize().await.unwrap();
        Self {
            storage,
            admin,
            database,
        }
    }

    fn url(&self) -> &str {
        self.database.url()
    }

    async fn access(&self, token: &str, change: impl FnOnce(&mut NewToken)) {
        self.storage.store_token(token, &row(change)).await.unwrap();
    }

    async fn refresh(&self, token: &str, change: impl FnOnce(&mut NewToken)) {
        self.storage
            .store_refresh_token(token, &row(change))
            .await
            .unwrap();
    }

    /// Whether the Python program could still use it.
    async fn has(&self, kind: TokenKind, token: &str) -> bool {
        let found = self.storage.find(kind, &TokenHash::of(token)).await.unwrap();
        found.is_some()
    }
}

/// A token of the client `web` for alice, who is number 7 there, at the first resource.
fn row(change: impl FnOnce(&mut NewToken)) -> NewToken {
    let mut new = NewToken::new("web", sample::in_seconds(3_600));
    new.scopes = vec!["mcp:read".to_owned()];
    new.resource = Some(R1.to_owned());
    new.user_id = Some(UserId::from(7));
    change(&mut new);
    new
}

/// Our own stores, each with whatever must outlive it.
fn targets() -> Vec<(Store, Option<FreshDatabase>)> {
    let database = fresh_database();
    vec![
        (Store::Sqlite, None),
        (Store::Postgres(database.url().to_owned()), Some(database)),
    ]
}

/// Runs a verb on the house's own store; answers its JSON.
fn run(house: &House, arguments: &[&str]) -> Value {
    let out = house.server.run_all(arguments.iter().copied().chain(["--json"]));
    serde_json::from_str(&out.unwrap()).unwrap()
}

fn import(house: &House, old: &Old) -> Value {
    run(
        house,
        &[
            "import",
            "--from",
            old.url(),
            "--user-map",
            "7=alice",
            "--default-resource",
            R1,
        ],
    )
}

/// Neither copied nor thrown away silently: everything is in the summary.
#[tokio::test(flavor = "multi_thread")]
async fn an_import_says_what_came_of_every_row_and_a_rehearsal_changes_nothing() {
    for (store, _database) in targets() {
        let old = Old::open("INTEGER").await;
        old.access("at-good", |_| {}).await;
        old.access("at-bare", |row| {
            row.resource = None;
            row.user_id = None;
        })
        .await;
        old.access("at-over", |row| row.expires_at = sample::in_seconds(-5))
            .await;
        old.access("at-nobody", |row| row.client_id = "nobody".to_owned())
            .await;
        old.refresh("rt-good", |_| {}).await;
        old.refresh("rt-elsewhere", |row| {
            row.resource = Some("https://rs9.test/mcp".to_owned());
        })
        .await;
        old.admin
            .batch_execute(
                "INSERT INTO mcp_refresh_tokens VALUES ('in the clear', 'web', '', NULL, 'infinity')",
            )
            .await
            .unwrap();
        let house = House::of(builder().store(store).start().unwrap());
        let expected = |access: [u64; 4], refresh: [u64; 4]| {
            (
                access.map(|count| json!(count)),
                refresh.map(|count| json!(count)),
            )
        };
        let counts = |summary: &Value| {
            let of = |kind: &str| {
                ["copied", "already_there", "expired", "skipped"].map(|name| summary[kind][name].clone())
            };
            (of("access_tokens"), of("refresh_tokens"))
        };
        let rehearsal = run(
            &house,
            &[
                "import",
                "--from",
                old.url(),
                "--user-map",
                "7=alice",
                "--dry-run",
            ],
        );
        assert_eq!(rehearsal["dry_run"], true);
        // Of two resources none is meant by itself.
        assert_eq!(counts(&rehearsal), expected([1, 0, 1, 2], [1, 0, 0, 2]));
        assert_eq!(run(&house, &["token", "count"])["access_tokens"]["live"], 0);

        let summary = import(&house, &old);
        assert_eq!(
            counts(&summary),
            expected([2, 0, 1, 1], [1, 0, 0, 2]),
            "{summary}"
        );
        let reasons = summary.to_string();
        for reason in ["no client nobody here", "rs9.test", "no SHA-256"] {
            assert!(reasons.contains(reason), "{reason}: {reasons}");
        }
        let again = import(&house, &old);
        assert_eq!(counts(&again), expected([0, 2, 1, 1], [0, 1, 0, 2]));
        let count = run(&house, &["token", "count"]);
        assert_eq!(count["access_tokens"], json!({ "live": 2, "expired": 0 }));
        assert_eq!(
            count["refresh_tokens"],
            json!({ "live": 1, "expired": 0, "spent": 0 })
        );

        let bare = house.introspect("at-bare").await;
        assert_eq!((text(&bare, "sub"), text(&bare, "aud")), ("web", R1));
        assert_eq!(house.introspect("at-over").await, json!({ "active": false }));
        assert_eq!(house.introspect("at-nobody").await, json!({ "active": false }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_names_the_mapped_users_that_are_no_accounts() {
    let old = Old::open("INTEGER").await;
    old.refresh("rt", |_| {}).await;
    let house = House::of(builder().start().unwrap());
    let arguments = [
        "import",
        "--from",
        old.url(),
        "--user-map",
        "7=alcie",
        "--user-map",
        "8=alice",
        "--dry-run",
    ];
    let summary = run(&house, &arguments);
    assert_eq!(summary["users_without_account"], json!({ "7": "alcie" }));
    let said = house.server.run_all(arguments).unwrap();
    assert!(said.contains("user 7 is mapped to \"alcie\""), "{said}");
    assert!(!said.contains("user 8"), "{said}");
    let summary = import(&house, &old);
    assert_eq!(summary["users_without_account"], json!({}));
}

/// Nobody is signed out, and what was taken in is ended like anything of ours.
#[tokio::test(flavor = "multi_thread")]
async fn imported_tokens_are_introspected_refreshed_and_ended_like_our_own() {
    for (store, _database) in targets() {
        let old = Old::open("INTEGER").await;
        for name in ["one", "two", "three"] {
            old.access(&format!("at-{name}"), |_| {}).await;
            old.refresh(&format!("rt-{name}"), |_| {}).await;
        }
        old.refresh("rt-native", |row| row.client_id = "native".to_owned())
            .await;
        let house = House::of(builder().store(store).start().unwrap());
        import(&house, &old);

        let found = house.introspect("at-one").await;
        assert_eq!(found["active"], true, "{found}");
        assert_eq!(
            (
                text(&found, "client_id"),
                text(&found, "username"),
                text(&found, "scope")
            ),
            ("web", "alice", "mcp:read")
        );
        // Another client's is refused, and nothing happens to it.
        assert_eq!(house.refresh("native", "rt-one").await.0, 400);
        let (status, first) = house.refresh("web", "rt-one").await;
        assert_eq!(status, 200, "{first}");
        assert!(text(&first, "access_token").starts_with("mcpat_"));
        assert!(text(&first, "refresh_token").starts_with("mcprt_"));
        // A lost answer costs nothing.
        let (_, retried) = house.refresh("web", "rt-one").await;
        assert_eq!(retried["refresh_token"], first["refresh_token"]);
        let (status, second) = house.refresh("web", text(&first, "refresh_token")).await;
        assert_eq!(status, 200);
        // A stolen one ends its family, and no other.
        assert_eq!(house.refresh("web", "rt-one").await.0, 400);
        assert_eq!(
            house.introspect(text(&second, "access_token")).await["active"],
            false
        );
        assert_eq!(house.introspect("at-two").await["active"], true);
        // RFC 7009, of both kinds, by their own client alone.
        for (client, status) in [("native", 401), ("web", 200)] {
            for token in ["at-two", "rt-two"] {
                let form = [("token", token), ("client_id", client)];
                assert_eq!(house.post("/revoke", &form).await.0, status, "{token}");
            }
        }
        assert_eq!(house.introspect("at-two").await["active"], false);
        assert_eq!(house.refresh("web", "rt-two").await.0, 400);
        // The operator's own look.
        let shown = run(&house, &["token", "introspect", "rt-three"]);
        assert_eq!(
            (shown["active"].clone(), text(&shown, "client_id")),
            (json!(true), "web")
        );
        assert_eq!(run(&house, &["client", "revoke", "web"])["revoked"], true);
        assert_eq!(house.introspect("at-three").await["active"], false);
        assert_eq!(house.refresh("web", "rt-three").await.0, 400);
        assert_eq!(run(&house, &["user", "disable", "alice"])["disabled"], true);
        assert_eq!(house.refresh("native", "rt-native").await.0, 400);
        // None of it comes back with another import.
        import(&house, &old);
        run(&house, &["user", "enable", "alice"]);
        for token in ["at-one", "at-two", "at-three"] {
            assert_eq!(
                house.introspect(token).await,
                json!({ "active": false }),
                "{token}"
            );
        }
        for token in ["rt-one", "rt-two", "rt-three"] {
            assert_eq!(house.refresh("web", token).await.0, 400, "{token}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_are_missing_are_made_when_asked_for_and_can_refresh() {
    let old = Old::open("TEXT").await;
    let alice = |row: &mut NewToken| row.user_id = Some(UserId::from("alice@example.org"));
    old.refresh("rt", |row| {
        alice(row);
        row.client_id = "https://client.example/metadata".to_owned();
    })
    .await;
    old.refresh("rt-file", |row| {
        alice(row);
        row.client_id = "filed".to_owned();
    })
    .await;
    let house = House::open();
    let file = house.server.folder().join("clients.toml");
    std::fs::write(
        &file,
        "[[client]]\nclient_id = \"filed\"\nname = \"Filed\"\ntoken_endpoint_auth_method = \"none\"\n\
         redirect_uris = [\"https://filed.example/cb\"]\n",
    )
    .unwrap();
    let order = [
        "import",
        "--from",
        old.url(),
        "--create-clients",
        "public",
        "--clients",
        file.to_str().unwrap(),
    ];
    let rehearsal = run(&house, &[&order[..], &["--dry-run"]].concat());
    let summary = run(&house, &order);
    for counted in ["refresh_tokens", "access_tokens", "clients_created"] {
        assert_eq!(rehearsal[counted], summary[counted], "{rehearsal}");
    }
    assert_eq!(
        summary["clients_created"],
        json!(["https://client.example/metadata"])
    );
    assert_eq!(summary["refresh_tokens"]["copied"], 2, "{summary}");
    for (client, token) in [("https://client.example/metadata", "rt"), ("filed", "rt-file")] {
        let (status, tokens) = house.refresh(client, token).await;
        assert_eq!(status, 200, "{tokens}");
        let found = house.introspect(text(&tokens, "access_token")).await;
        assert_eq!(text(&found, "sub"), "alice@example.org");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_either_table_is_refused_and_one_table_is_enough() {
    let old = Old::open("INTEGER").await;
    old.refresh("rt-good", |_| {}).await;
    let house = House::open();
    let order = ["import", "--from", old.url(), "--dry-run"];
    old.admin
        .batch_execute("DROP TABLE mcp_access_tokens")
        .await
        .unwrap();
    assert_eq!(run(&house, &order)["refresh_tokens"]["copied"], 1);
    old.admin
        .batch_execute("DROP TABLE mcp_refresh_tokens")
        .await
        .unwrap();
    let error = house.server.run_all(order).unwrap_err().to_string();
    assert!(
        error.contains("no table of the Python package can be read in the old database"),
        "{error}"
    );
}

/// A run that was killed half-way is run again, and nothing is copied twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_import_goes_on_where_it_was() {
    const ROWS: u64 = 20_000;
    for (store, _database) in targets() {
        let old = Old::open("INTEGER").await;
        let sql = format!(
            "INSERT INTO mcp_refresh_tokens (token, client_id, scopes, resource, expires_at, user_id) \
             SELECT encode(sha256(n::text::bytea), 'hex'), 'web', 'mcp:read', '{R1}', now() + interval '1 day', n \
             FROM generate_series(1, {ROWS}) n"
        );
        old.admin.batch_execute(&sql).await.unwrap();
        let house = House::of(builder().store(store.clone()).start().unwrap());
        let mut importing = Command::new(env!("CARGO_BIN_EXE_authflow"))
            .args(["import", "--from", old.url(), "--database-url"])
            .arg(match &store {
                Store::Postgres(url) => url.clone(),
                _ => format!("sqlite:{}", house.server.folder().join("state.sqlite").display()),
            })
            .arg("--data-dir")
            .arg(house.server.folder())
            .env(
                "AUTHFLOW_SERVER_KEY_FILE",
                house.server.folder().join("server.key"),
            )
            .current_dir(house.server.folder())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let live = || {
            run(&house, &["token", "count"])["refresh_tokens"]["live"]
                .as_u64()
                .unwrap()
        };
        while live() == 0 {
            assert!(importing.try_wait().unwrap().is_none(), "it ended too soon");
        }
        importing.kill().unwrap();
        importing.wait().unwrap();
        let copied_first = live();
        assert!((1..ROWS).contains(&copied_first), "{copied_first} were copied");
        let summary = run(&house, &["import", "--from", old.url()]);
        assert_eq!(summary["refresh_tokens"]["already_there"], copied_first);
        assert_eq!(summary["refresh_tokens"]["copied"], ROWS - copied_first);
        assert_eq!(live(), ROWS);
        assert_eq!(house.refresh("web", "77").await.0, 200);
    }
}

fn reading_through(store: Store, url: &str) -> TestServerBuilder {
    builder().store(store).config(format!(
        "[import]\nread_through = \"{url}\"\nuser_map = [\"7=alice\"]\n"
    ))
}

/// The Python program still runs: what it stores is good here at once, and what is exchanged here is gone there.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_were_not_copied_are_honoured_and_then_nobody_elses() {
    for (store, _database) in targets() {
        let old = Old::open("INTEGER").await;
        let house = House::of(reading_through(store, old.url()).start().unwrap());
        old.access("at", |_| {}).await;
        old.refresh("rt", |_| {}).await;
        let found = house.introspect("at").await;
        assert_eq!(
            (found["active"].clone(), text(&found, "username")),
            (json!(true), "alice")
        );
        assert!(old.has(TokenKind::Access, "at").await);

        // Neither another client nor a wrong request takes it away from there.
        assert_eq!(house.refresh("native", "rt").await.0, 400);
        let wider = [
            ("grant_type", "refresh_token"),
            ("refresh_token", "rt"),
            ("client_id", "web"),
            ("scope", "mcp:read mcp:write"),
        ];
        assert_eq!(house.post("/token", &wider).await.0, 400);
        assert!(old.has(TokenKind::Refresh, "rt").await);
        let (status, first) = house.refresh("web", "rt").await;
        assert_eq!(status, 200, "{first}");
        assert!(!old.has(TokenKind::Refresh, "rt").await);
        assert_eq!(old.storage.load_refresh_token("rt").await, Ok(None));
        let (_, retried) = house.refresh("web", "rt").await;
        assert_eq!(retried["refresh_token"], first["refresh_token"]);

        // Revoked here is revoked there.
        old.refresh("rt-revoked", |_| {}).await;
        let form = [("token", "rt-revoked"), ("client_id", "web")];
        assert_eq!(house.post("/revoke", &form).await.0, 200);
        assert!(!old.has(TokenKind::Refresh, "rt-revoked").await);
        let form = [("token", "at"), ("client_id", "web")];
        assert_eq!(house.post("/revoke", &form).await.0, 200);
        assert!(!old.has(TokenKind::Access, "at").await);
        assert_eq!(house.introspect("at").await, json!({ "active": false }));

        for (token, what) in [("at-over", -1), ("at-none", 0)] {
            if what < 0 {
                old.access(token, |row| row.expires_at = sample::in_seconds(-5))
                    .await;
            }
            assert_eq!(
                house.introspect(token).await,
                json!({ "active": false }),
                "{token}"
            );
        }
    }
}

/// P3: a revocation that went half the way is made good by asking again.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_old_database_refused_to_revoke_is_revoked_when_it_is_asked_again() {
    for (store, _database) in targets() {
        let old = Old::open("INTEGER").await;
        let house = House::of(reading_through(store, old.url()).start().unwrap());
        old.access("at", |_| {}).await;
        old.refresh("rt", |_| {}).await;
        assert_eq!(house.introspect("at").await["active"], true);
        old.admin
            .batch_execute(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''not now''; END'; \
                 CREATE TRIGGER refuse BEFORE DELETE ON mcp_access_tokens EXECUTE FUNCTION refuse(); \
                 CREATE TRIGGER refuse BEFORE DELETE ON mcp_refresh_tokens EXECUTE FUNCTION refuse()",
            )
            .await
            .unwrap();
        let revoke = async |token| {
            let form = [("token", token), ("client_id", "web")];
            house.post("/revoke", &form).await.0
        };
        assert_eq!((revoke("at").await, revoke("rt").await), (503, 503));
        old.admin
            .batch_execute("DROP FUNCTION refuse CASCADE")
            .await
            .unwrap();
        assert_eq!((revoke("at").await, revoke("rt").await), (200, 200));
        assert!(!old.has(TokenKind::Access, "at").await && !old.has(TokenKind::Refresh, "rt").await);
        assert_eq!(house.introspect("at").await, json!({ "active": false }));
        assert_eq!(house.refresh("web", "rt").await.0, 400);
    }
}

/// What the operator revokes here is revoked there too, whether it was presented here before or not.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_operator_revokes_is_nobodys_in_the_old_database_either() {
    for (store, _database) in targets() {
        let old = Old::open("INTEGER").await;
        let house = House::of(reading_through(store, old.url()).start().unwrap());
        for token in ["at", "at-unseen"] {
            old.access(token, |_| {}).await;
        }
        old.refresh("rt-unseen", |_| {}).await;
        assert_eq!(house.introspect("at").await["active"], true);
        for token in ["at", "at-unseen", "rt-unseen"] {
            assert_eq!(
                run(&house, &["token", "revoke", token])["revoked"],
                true,
                "{token}"
            );
            assert!(!old.has(TokenKind::Access, token).await, "{token}");
            assert!(!old.has(TokenKind::Refresh, token).await, "{token}");
            assert_eq!(
                house.introspect(token).await,
                json!({ "active": false }),
                "{token}"
            );
            assert_eq!(house.refresh("web", token).await.0, 400, "{token}");
        }
        assert!(house.server.run_all(["token", "revoke", "nobodys"]).is_err());
        // Nor does an import bring it back that had read the row before.
        old.access("at-unseen", |_| {}).await;
        old.refresh("rt-unseen", |_| {}).await;
        let summary = import(&house, &old);
        for kind in ["access_tokens", "refresh_tokens"] {
            let tally = &summary[kind];
            assert_eq!(
                (&tally["copied"], &tally["already_there"]),
                (&json!(0), &json!(1)),
                "{tally}"
            );
        }
        assert_eq!(house.introspect("at-unseen").await, json!({ "active": false }));
        assert_eq!(house.refresh("web", "rt-unseen").await.0, 400);
    }
}

/// A program without refresh tokens has no table for them: none is there, and asking is no trouble.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_never_was_holds_nothing_and_one_that_went_away_is_no_answer() {
    let old = Old::open("INTEGER").await;
    old.admin
        .batch_execute("DROP TABLE mcp_refresh_tokens")
        .await
        .unwrap();
    old.access("at", |_| {}).await;
    let house = House::of(reading_through(Store::Sqlite, old.url()).start().unwrap());
    assert_eq!(house.refresh("web", "rt").await.0, 400);
    let form = [("token", "at"), ("client_id", "web")];
    assert_eq!(house.post("/revoke", &form).await.0, 200);
    assert!(!old.has(TokenKind::Access, "at").await);
    old.admin
        .batch_execute("ALTER TABLE mcp_access_tokens RENAME TO elsewhere")
        .await
        .unwrap();
    let form = [("token", "other"), ("client_id", "web")];
    assert_eq!(house.post("/revoke", &form).await.0, 503);
}

/// P4: what was granted elsewhere is no more here than the operator lets this client have.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_gets_no_more_for_an_old_token_than_it_may_have_here() {
    for reads_through in [false, true] {
        let old = Old::open("INTEGER").await;
        let house = if reads_through {
            House::of(reading_through(Store::Sqlite, old.url()).start().unwrap())
        } else {
            House::open()
        };
        let add = "client add --name Small --id small --scope mcp:read --redirect-uri https://small.example/cb --resource";
        let add: Vec<&str> = add.split(' ').chain([R1]).collect();
        run(&house, &add);
        let small = |scopes: &'static [&'static str], resource: &'static str| {
            move |row: &mut NewToken| {
                row.client_id = "small".to_owned();
                row.scopes = scopes.iter().map(|&scope| scope.to_owned()).collect();
                row.resource = Some(resource.to_owned());
            }
        };
        old.access("within", small(&["mcp:read", "mcp:write"], R1)).await;
        old.refresh("rt", small(&["mcp:read", "mcp:write"], R1)).await;
        old.access("beyond", small(&["mcp:write"], R1)).await;
        old.refresh("elsewhere", small(&["mcp:read"], "https://rs2.test/mcp"))
            .await;
        if !reads_through {
            let dry = run(&house, &["import", "--from", old.url(), "--dry-run"]);
            let summary = run(&house, &["import", "--from", old.url()]);
            for kind in ["access_tokens", "refresh_tokens"] {
                assert_eq!(
                    (&summary[kind]["copied"], &summary[kind]["skipped"]),
                    (&json!(1), &json!(1))
                );
                assert_eq!(dry[kind], summary[kind]);
            }
        }
        assert_eq!(house.introspect("within").await["scope"], "mcp:read");
        assert_eq!(house.introspect("beyond").await, json!({ "active": false }));
        let (status, tokens) = house.refresh("small", "rt").await;
        assert_eq!((status, &tokens["scope"]), (200, &json!("mcp:read")), "{tokens}");
        assert_eq!(house.refresh("small", "elsewhere").await.0, 400);
    }
}

/// What the Python program exchanged after it was copied is not exchanged a second time here.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_used_there_since_is_refused_here_and_its_grant_ends() {
    for (store, _database) in targets() {
        let old = Old::open("INTEGER").await;
        old.refresh("rt", |_| {}).await;
        let house = House::of(reading_through(store, old.url()).start().unwrap());
        import(&house, &old);
        old.storage.delete_refresh_token("rt").await.unwrap();
        assert_eq!(house.refresh("web", "rt").await.0, 400);
        // It does not come back, even if the row does.
        old.refresh("rt", |_| {}).await;
        assert_eq!(house.refresh("web", "rt").await.0, 400);
    }
}

/// Many callers, one chain.
#[tokio::test(flavor = "multi_thread")]
async fn of_many_racing_exchanges_of_a_token_that_was_not_copied_one_wins() {
    for (store, _database) in targets() {
        let old = Old::open("INTEGER").await;
        let house = House::of(reading_through(store, old.url()).start().unwrap());
        for round in 0..5 {
            let token = format!("rt-{round}");
            old.refresh(&token, |_| {}).await;
            let racing = (0..16).map(|_| house.refresh("web", &token));
            let answers = futures_util::future::join_all(racing).await;
            let first = &answers[0].1["refresh_token"];
            for (status, answer) in &answers {
                assert_eq!((*status, &answer["refresh_token"]), (200, first), "{answer}");
            }
            assert!(!old.has(TokenKind::Refresh, &token).await);
        }
    }
}

/// P9: nobody is told that a token is bad because nobody could ask.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_database_that_cannot_be_asked_is_no_answer() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let ports = [free_port().unwrap(), silent.local_addr().unwrap().port()];
    for (port, refusals) in ports.into_iter().zip([&[503][..], &[503, 504]]) {
        let url = format!("postgres://app@127.0.0.1:{port}/app");
        let house = House::of(reading_through(Store::Sqlite, &url).start().unwrap());
        let asked = tokio::time::timeout(Duration::from_secs(4), async {
            let request = house
                .http
                .post(house.server.url("/introspect"))
                .form(&[("token", "at")])
                .basic_auth("rs1", Some(crate::house::RS_SECRET));
            crate::house::answer(request).await.0
        });
        let status = asked.await.unwrap();
        assert!(refusals.contains(&status), "{status}");
        let (status, error) = house.refresh("web", "rt").await;
        assert!(refusals.contains(&status), "{status}");
        assert_eq!(text(&error, "error"), "temporarily_unavailable");
        // Our own tokens need nobody else.
        let code = house
            .code(
                &house.browser(),
                "web",
                mcp_authflow_testkit::browser::Decision::Allow,
            )
            .await;
        let (status, tokens) = house.redeem("web", &code).await;
        assert_eq!(status, 200);
        assert_eq!(
            house.introspect(text(&tokens, "access_token")).await["active"],
            true
        );
        assert_eq!(house.refresh("web", text(&tokens, "refresh_token")).await.0, 200);
    }
}

/// S-184: nobody has to schedule it.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_removes_what_has_expired_by_itself() {
    let database = fresh_database();
    let mut house = House::of(
        builder()
            .store(Store::Postgres(database.url().to_owned()))
            .start()
            .unwrap(),
    );
    let (admin, connection) = tokio_postgres::connect(database.url(), tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    house.server.kill().unwrap();
    admin
        .batch_execute(
            "INSERT INTO authflow.imported_tokens (remembered_until, bucket, kind, hash) \
             SELECT 1, 1, 1, sha256(n::text::bytea) FROM generate_series(1, 2500) n",
        )
        .await
        .unwrap();
    house.server.start_again().unwrap();
    let removed = async {
        loop {
            let left = admin
                .query_one("SELECT count(*) FROM authflow.imported_tokens", &[])
                .await
                .unwrap();
            if left.get::<_, i64>(0) == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), removed)
        .await
        .expect("they are removed");
}
