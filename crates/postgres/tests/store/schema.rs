//! Migrations: on purpose, once, and checked at every start.

use crate::support::{connect, empty_database};
use mcp_authflow_postgres::{OpenError, PostgresConfig, PostgresStore, SchemaStatus, migrate, schema_status};

async fn refusal(config: &PostgresConfig) -> SchemaStatus {
    match PostgresStore::connect(config).await {
        Err(OpenError::Schema(status)) => status,
        other => panic!("not refused for its schema: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_not_migrated_is_refused_with_the_remedy() {
    let database = empty_database();
    let config = PostgresConfig::new(database.url());
    assert_eq!(schema_status(&config).await.unwrap(), SchemaStatus::Missing);
    let status = refusal(&config).await;
    assert_eq!(status, SchemaStatus::Missing);
    assert!(status.to_string().contains("run `authflow migrate`"), "{status}");
    // Asking changed nothing.
    let client = connect(database.url()).await;
    let there = client
        .query_one("SELECT to_regnamespace('authflow') IS NULL", &[])
        .await
        .unwrap();
    assert!(there.get::<_, bool>(0));
}

/// The names of the migrations' files, in their order.
fn migrations() -> Vec<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
    let files = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .map(|name| name.trim_end_matches(".sql").to_owned())
        .collect();
    names.sort_unstable();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn migrating_again_changes_nothing() {
    let database = empty_database();
    let config = PostgresConfig::new(database.url());
    let first = migrate(&config).await.unwrap();
    assert_eq!(first.applied, migrations());
    // Of six hours each for 48 hours, and of seven days each for 92 days; one more where the ends do not meet.
    assert!((9 + 14..=9 + 15).contains(&first.partitions), "{first:?}");
    let second = migrate(&config).await.unwrap();
    assert_eq!((second.applied.len(), second.version), (0, first.version));
    // One of each, when the hour or the day has just turned.
    assert!(second.partitions <= 2, "{second:?}");
    assert_eq!(schema_status(&config).await.unwrap(), SchemaStatus::Current);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_migrators_at_once_one_migrates() {
    let database = empty_database();
    let running: Vec<_> = (0..4)
        .map(|_| {
            let config = PostgresConfig::new(database.url());
            tokio::spawn(async move { migrate(&config).await })
        })
        .collect();
    let mut applied = Vec::new();
    for one in running {
        applied.push(one.await.unwrap().unwrap().applied.len());
    }
    applied.sort_unstable();
    assert_eq!(applied, [0, 0, 0, migrations().len()]);
    PostgresStore::connect(&PostgresConfig::new(database.url()))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_is_newer_or_not_ours_is_refused_and_left_alone() {
    let fresh = crate::support::new_store().await;
    let config = PostgresConfig::new(&fresh.url);
    let client = connect(&fresh.url).await;
    let newer = SchemaStatus::Newer {
        found: 9_999,
        known: i32::try_from(migrations().len()).unwrap(),
    };
    for (change, status) in [
        (
            r"INSERT INTO authflow.migrations (number, name, checksum) VALUES (9999, 'tomorrow', '\x00')",
            newer,
        ),
        (
            r"DELETE FROM authflow.migrations WHERE number = 9999; UPDATE authflow.migrations SET checksum = '\x00'",
            SchemaStatus::Foreign { number: 1 },
        ),
    ] {
        client.batch_execute(change).await.unwrap();
        assert_eq!(refusal(&config).await, status);
        assert_eq!(schema_status(&config).await.unwrap(), status);
        assert!(matches!(migrate(&config).await, Err(OpenError::Schema(same)) if same == status));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_column_is_noticed_at_start_and_in_a_running_store() {
    use mcp_authflow::port::{StoreError, store::ResourceStore as _};

    let fresh = crate::support::new_store().await;
    let client = connect(&fresh.url).await;
    client
        .batch_execute("ALTER TABLE authflow.resources DROP COLUMN name")
        .await
        .unwrap();
    let status = refusal(&PostgresConfig::new(&fresh.url)).await;
    let SchemaStatus::Damaged { what } = &status else {
        panic!("{status:?}");
    };
    assert!(what.contains("name"), "{what}");
    assert!(status.to_string().contains("authflow migrate"), "{status}");
    let error = fresh.list_resources().await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Broken(text) if text.contains("authflow migrate")),
        "{error}"
    );
}
