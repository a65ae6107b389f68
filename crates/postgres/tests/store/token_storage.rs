//! The contract of token storage, on the documented tables of the Python package; and what only they show.

use std::{
    ops::Deref,
    sync::Arc,
    time::{Duration, SystemTime},
};

use mcp_authflow::port::{
    Clock as _,
    token_storage::{
        NewToken, TokenKind, TokenRules, TokenStorage as _, TokenStorageError, UserId, hash_token,
    },
};
use mcp_authflow_postgres::{PostgresTokenStorage, PostgresTokenStorageConfig, TokenClock};
use mcp_authflow_testkit::{
    contract::{race::race, sample},
    manual_clock::ManualClock,
    service::{port::free_port, postgres::FreshDatabase},
};
use mcp_authflow_types::{Timestamp, TokenHash};

use crate::support::{connect, empty_database};

/// Dropped in this order: the store, then its database.
struct OwnTables {
    storage: PostgresTokenStorage,
    database: FreshDatabase,
}

impl Deref for OwnTables {
    type Target = PostgresTokenStorage;

    fn deref(&self) -> &PostgresTokenStorage {
        &self.storage
    }
}

/// The tables as the package's documentation tells the operator to make them.
pub(crate) fn documented_tables(user_id: &str) -> String {
    ["mcp_access_tokens", "mcp_refresh_tokens"]
        .map(|table| {
            format!(
                "CREATE TABLE {table} (token TEXT PRIMARY KEY, client_id TEXT NOT NULL, scopes TEXT NOT NULL DEFAULT '', \
                 resource TEXT, expires_at TIMESTAMPTZ NOT NULL, created_at TIMESTAMPTZ NOT NULL DEFAULT now(), \
                 user_id {user_id}); \
                 CREATE INDEX idx_{table}_expires_at ON {table} (expires_at); \
                 CREATE INDEX idx_{table}_client_id ON {table} (client_id);"
            )
        })
        .concat()
}

async fn tables(sql: &str, change: impl FnOnce(&mut PostgresTokenStorageConfig)) -> OwnTables {
    let database = empty_database();
    connect(database.url()).await.batch_execute(sql).await.unwrap();
    let mut config = PostgresTokenStorageConfig::new(Some(database.url().to_owned()));
    change(&mut config);
    OwnTables {
        storage: PostgresTokenStorage::new(config),
        database,
    }
}

/// On the database's own clock.
async fn open(user_id: &str) -> OwnTables {
    let own = tables(&documented_tables(user_id), |_| {}).await;
    own.initialize().await.unwrap();
    own
}

async fn make_storage(clock: Arc<ManualClock>) -> OwnTables {
    tables(&documented_tables("BIGINT"), |config| {
        config.clock = TokenClock::Given(Arc::new(move || {
            SystemTime::UNIX_EPOCH + Duration::from_secs(clock.now().seconds().unsigned_abs())
        }));
    })
    .await
}

mcp_authflow_testkit::token_storage_contract!(make_storage);

fn soon() -> NewToken {
    NewToken::new("c1", sample::in_seconds(100))
}

/// S-196, S-202
#[tokio::test(flavor = "multi_thread")]
async fn the_column_of_users_is_what_the_operator_made_it() {
    let uuid = "3f0c0a6e-0000-4000-8000-00000000000a";
    for (column, fitting, others) in [
        (
            "INTEGER",
            vec![
                UserId::from(0),
                UserId::from(-1),
                UserId::from(i64::from(i32::MAX)),
            ],
            vec![UserId::from("u"), UserId::from("1"), UserId::from(1 << 31)],
        ),
        (
            "BIGINT",
            vec![UserId::from(1 << 40), UserId::from(i64::MIN)],
            vec![UserId::from("u")],
        ),
        (
            "UUID",
            vec![UserId::from(uuid)],
            vec![UserId::from("u"), UserId::from(5), UserId::from("")],
        ),
        (
            "TEXT",
            vec![
                UserId::from(""),
                UserId::from("u"),
                UserId::from(uuid),
                UserId::from("'; --"),
            ],
            vec![UserId::from(5), UserId::from("a\0b")],
        ),
    ] {
        let own = open(column).await;
        for user in fitting {
            let mut new = soon();
            new.user_id = Some(user.clone());
            own.store_token("t", &new).await.unwrap();
            own.store_refresh_token("t", &new).await.unwrap();
            for found in [own.load_token("t").await, own.load_refresh_token("t").await] {
                assert_eq!(found.unwrap().unwrap().user_id.as_ref(), Some(&user), "{column}");
            }
        }
        for user in others {
            let mut new = soon();
            new.user_id = Some(user);
            let answer = own.store_token("other", &new).await;
            assert!(
                matches!(answer, Err(TokenStorageError::InvalidArgument(_))),
                "{column}: {answer:?}"
            );
        }
        own.store_token("nobody", &soon()).await.unwrap();
        assert_eq!(own.load_token("nobody").await.unwrap().unwrap().user_id, None);
    }
}

/// S-189, S-199, S-201
#[tokio::test(flavor = "multi_thread")]
async fn a_row_is_what_the_python_package_would_have_written() {
    let own = open("INTEGER").await;
    let other = connect(own.database.url()).await;
    let mut new = soon();
    new.scopes = vec!["read".to_owned(), "write".to_owned()];
    new.user_id = Some(UserId::from(7));
    own.store_refresh_token("secret", &new).await.unwrap();
    let row = other
        .query_one(
            "SELECT token, client_id, scopes, resource, extract(epoch FROM expires_at)::bigint AS expires_at, user_id, \
             created_at FROM mcp_refresh_tokens",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(row.get::<_, &str>("token"), hash_token("secret"));
    assert_eq!(row.get::<_, &str>("client_id"), "c1");
    assert_eq!(row.get::<_, &str>("scopes"), "read write");
    assert_eq!(row.get::<_, Option<&str>>("resource"), None);
    assert_eq!(row.get::<_, i64>("expires_at"), new.expires_at.seconds());
    assert_eq!(row.get::<_, i32>("user_id"), 7);
    let first: SystemTime = row.get("created_at");
    new.scopes = vec!["admin".to_owned()];
    own.store_refresh_token("secret", &new).await.unwrap();
    let row = other
        .query_one("SELECT created_at, scopes FROM mcp_refresh_tokens", &[])
        .await
        .unwrap();
    assert_eq!(
        (row.get::<_, SystemTime>(0), row.get::<_, &str>(1)),
        (first, "admin")
    );
}

/// S-200: the database's clock decides, whatever the node's says.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_ends_by_the_databases_clock_at_the_second_it_names() {
    let own = open("TEXT").await;
    let other = connect(own.database.url()).await;
    own.store_token("t", &soon()).await.unwrap();
    // Just over, and not yet over, by a clock that nobody here reads.
    for (left, is_there) in [("1 second", true), ("0 seconds", false)] {
        let sql = format!("UPDATE mcp_access_tokens SET expires_at = clock_timestamp() + interval '{left}'");
        other.execute(&sql, &[]).await.unwrap();
        assert_eq!(own.load_token("t").await.unwrap().is_some(), is_there, "{left}");
    }
    assert_eq!(own.get_token_count().await.unwrap().stored(), 0);
}

/// S-180, S-190: beside a Python program its rules can be had.
#[tokio::test(flavor = "multi_thread")]
async fn under_the_python_packages_rules_a_token_is_bound_anew() {
    let own = tables(&documented_tables("TEXT"), |config| {
        config.rules = TokenRules::Python;
    })
    .await;
    own.initialize().await.unwrap();
    own.store_token("t", &soon()).await.unwrap();
    own.store_token("t", &NewToken::new("c2", sample::in_seconds(100)))
        .await
        .unwrap();
    assert_eq!(own.load_token("t").await.unwrap().unwrap().client_id, "c2");
}

/// S-186, S-197, S-198
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_column_is_named_and_nothing_stays_open() {
    let own = tables(&documented_tables("INTEGER"), |_| {}).await;
    let other = connect(own.database.url()).await;
    other
        .batch_execute(
            "ALTER TABLE mcp_access_tokens DROP COLUMN user_id, DROP COLUMN resource, ADD COLUMN extra TEXT; \
             ALTER TABLE mcp_refresh_tokens DROP COLUMN scopes",
        )
        .await
        .unwrap();
    for _ in 0..2 {
        let Err(TokenStorageError::SchemaDrift(said)) = own.initialize().await else {
            panic!("it was opened");
        };
        assert!(
            said.contains("mcp_access_tokens lacks resource, user_id; mcp_refresh_tokens lacks scopes"),
            "{said}"
        );
        assert!(!own.is_open());
        assert_eq!(own.load_token("t").await, Err(TokenStorageError::NotInitialized));
    }
    other
        .batch_execute(
            "ALTER TABLE mcp_access_tokens ADD COLUMN user_id UUID, ADD COLUMN resource TEXT; \
             ALTER TABLE mcp_refresh_tokens ADD COLUMN scopes TEXT NOT NULL DEFAULT ''",
        )
        .await
        .unwrap();
    own.initialize().await.unwrap();
    own.initialize().await.unwrap();
    own.store_token("t", &soon()).await.unwrap();
}

/// S-197, S-204, S-206: tables that are not there are the operator's to make, and are found once they are.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_not_there_is_told_of_at_its_first_use_and_found_when_it_comes() {
    let own = tables("", |_| {}).await;
    own.initialize().await.unwrap();
    for answer in [
        own.store_token("t", &soon()).await,
        own.load_token("t").await.map(drop),
        own.get_refresh_token_count().await.map(drop),
        own.cleanup_expired_refresh_tokens().await.map(drop),
        own.revoke_client_tokens("c1").await.map(drop),
    ] {
        let Err(TokenStorageError::Database(said)) = &answer else {
            panic!("{answer:?}");
        };
        assert!(said.contains("does not exist"), "{said}");
    }
    assert_eq!(own.list(TokenKind::Refresh, None, 10).await, Ok(Vec::new()));
    let sql = documented_tables("TEXT");
    let (access, refresh) = sql.split_once("CREATE TABLE mcp_refresh").unwrap();
    let other = connect(own.database.url()).await;
    other.batch_execute(access).await.unwrap();
    own.store_token("t", &soon()).await.unwrap();
    assert_eq!(own.revoke_client_tokens("c1").await, Ok(1));
    other
        .batch_execute(&format!("CREATE TABLE mcp_refresh{refresh}"))
        .await
        .unwrap();
    own.store_refresh_token("t", &soon()).await.unwrap();
    assert_eq!(own.revoke_client_tokens("c1").await, Ok(1));
}

/// S-194, S-195, S-206
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_cannot_be_reached_says_why_and_when_trying_again_is_of_use() {
    for url in [None, Some(String::new())] {
        let storage = PostgresTokenStorage::new(PostgresTokenStorageConfig::new(url));
        let Err(error) = storage.initialize().await else {
            panic!("it was opened");
        };
        assert!(
            error.is_final() && error.to_string().contains("DATABASE_URL"),
            "{error}"
        );
    }
    let given = PostgresTokenStorageConfig::from_variables(|name| {
        assert_eq!(name, "DATABASE_URL");
        Some("mysql://u:secret@h/db".to_owned())
    });
    let Err(error) = PostgresTokenStorage::new(given).initialize().await else {
        panic!("it was opened");
    };
    assert!(
        error.is_final() && !error.to_string().contains("secret"),
        "{error}"
    );
    let nobody = format!("postgres://u@127.0.0.1:{}/db", free_port().unwrap());
    let storage = PostgresTokenStorage::new(PostgresTokenStorageConfig::new(Some(nobody)));
    let Err(error) = storage.initialize().await else {
        panic!("it was opened");
    };
    assert!(error.is_transient() && !storage.is_open(), "{error}");
}

/// S-195, S-206
#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_waits_is_given_up_and_so_is_waiting_for_a_connection() {
    let own = tables(&documented_tables("TEXT"), |config| {
        config.pool_size = 1;
        config.statement_timeout = Duration::from_millis(300);
        config.acquire_timeout = Duration::from_millis(50);
    })
    .await;
    own.initialize().await.unwrap();
    let mut other = connect(own.database.url()).await;
    let holder = other.transaction().await.unwrap();
    holder
        .batch_execute("LOCK TABLE mcp_access_tokens IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    let (slow, busy) = tokio::join!(own.load_token("t"), async {
        tokio::task::yield_now().await;
        own.load_refresh_token("t").await
    });
    assert!(matches!(slow, Err(TokenStorageError::TimedOut(_))), "{slow:?}");
    assert!(matches!(busy, Err(TokenStorageError::Unavailable(_))), "{busy:?}");
    holder.rollback().await.unwrap();
    assert_eq!(own.load_token("t").await, Ok(None));
}

/// S-202
#[tokio::test(flavor = "multi_thread")]
async fn what_the_tables_cannot_keep_is_refused_by_name() {
    let own = open("TEXT").await;
    let mut resource = soon();
    resource.resource = Some("a\0b".to_owned());
    let mut scope = soon();
    scope.scopes = vec!["a\0b".to_owned()];
    for (new, name) in [
        (NewToken::new("a\0b", sample::in_seconds(100)), "client_id"),
        (resource, "resource"),
        (scope, "scope"),
        (
            NewToken::new("c1", Timestamp::from_seconds(1_000_000_000_000)),
            "expires_at",
        ),
        (
            NewToken::new("c1", Timestamp::from_seconds(i64::MIN)),
            "expires_at",
        ),
    ] {
        let Err(TokenStorageError::InvalidArgument(said)) = own.store_token("t", &new).await else {
            panic!("{name} was kept");
        };
        assert!(said.contains(name), "{said}");
    }
    assert_eq!(own.revoke_client_tokens("a\0b").await, Ok(0));
    let last = NewToken::new("c1", Timestamp::from_seconds(253_402_300_799));
    own.store_token("last", &last).await.unwrap();
    assert_eq!(
        own.load_token("last").await.unwrap().unwrap().expires_at,
        last.expires_at
    );
}

/// S-203: clean-ups of two nodes share the work and wait for nobody's row.
#[tokio::test(flavor = "multi_thread")]
async fn clean_ups_at_once_remove_each_row_once_and_pass_by_what_is_locked() {
    let own = open("TEXT").await;
    let other = connect(own.database.url()).await;
    other
        .batch_execute(
            "INSERT INTO mcp_access_tokens (token, client_id, expires_at) \
             SELECT n::text, 'c1', now() - interval '1 day' FROM generate_series(1, 5000) n",
        )
        .await
        .unwrap();
    let mut holding = connect(own.database.url()).await;
    let holder = holding.transaction().await.unwrap();
    holder
        .query_one(
            "SELECT 1 FROM mcp_access_tokens WHERE token = '7' FOR UPDATE",
            &[],
        )
        .await
        .unwrap();
    let removed = race(4, async |_| own.cleanup_expired_tokens().await.unwrap());
    assert_eq!(removed.iter().sum::<u64>(), 4_999, "{removed:?}");
    holder.rollback().await.unwrap();
    assert_eq!(own.cleanup_expired_tokens().await, Ok(1));
}

/// What moving over needs: rows by digest, page by page, and one taker.
#[tokio::test(flavor = "multi_thread")]
async fn rows_are_listed_by_digest_and_taken_once() {
    let own = open("INTEGER").await;
    for number in 0..25 {
        own.store_refresh_token(&format!("t{number}"), &soon())
            .await
            .unwrap();
    }
    own.store_refresh_token("over", &NewToken::new("c1", sample::in_seconds(-100)))
        .await
        .unwrap();
    connect(own.database.url())
        .await
        .batch_execute("INSERT INTO mcp_refresh_tokens VALUES ('ZZ', 'c1', '', NULL, 'infinity')")
        .await
        .unwrap();
    let mut all = Vec::new();
    loop {
        let after = all
            .last()
            .map(|one: &mcp_authflow_postgres::StoredToken| one.digest.clone());
        let page = own.list(TokenKind::Refresh, after.as_deref(), 10).await.unwrap();
        if page.is_empty() {
            break;
        }
        all.extend(page);
    }
    assert_eq!(all.len(), 27);
    assert_eq!(all.iter().filter(|one| one.hash().is_none()).count(), 1);
    let hash = TokenHash::of("t3");
    let found = own.find(TokenKind::Refresh, &hash).await.unwrap().unwrap();
    assert_eq!(
        (found.hash(), found.record.client_id.as_str()),
        (Some(hash), "c1")
    );
    assert_eq!(own.find(TokenKind::Access, &hash).await, Ok(None));
    let taken = race(8, async |_| own.take(TokenKind::Refresh, &hash).await.unwrap());
    assert_eq!(taken.into_iter().flatten().count(), 1);
    assert_eq!(own.load_refresh_token("t3").await, Ok(None));
}
