//! The clean-up among several nodes: one at a time, a batch a statement.

use mcp_authflow::port::store::{Purged, UpkeepStore as _};
use mcp_authflow_testkit::contract::{race::race, sample};

use crate::support::{connect, fresh_store};

const ROWS: u64 = 500;

/// S-184: one node cleans up at a time, and each row goes once.
#[tokio::test(flavor = "multi_thread")]
async fn while_one_node_cleans_up_the_others_have_nothing_to_do() {
    let store = fresh_store().await;
    let other = connect(&store.url).await;
    let sql = format!(
        "INSERT INTO authflow.imported_tokens (remembered_until, bucket, kind, hash) \
         SELECT 1, 1, 1, sha256(n::text::bytea) FROM generate_series(1, {ROWS}) n"
    );
    other.batch_execute(&sql).await.unwrap();
    // `authflow` in ASCII, plus two: what a clean-up holds.
    let lock = format!("({} + 2)", 0x6175_7468_666c_6f77_i64);
    other
        .batch_execute(&format!("BEGIN; SELECT pg_advisory_xact_lock({lock})"))
        .await
        .unwrap();
    let purged = store.purge_expired(sample::now(), 100).await.unwrap();
    assert_eq!(purged, Purged::default());
    other.batch_execute("ROLLBACK").await.unwrap();

    let removed = race(4, async |_| {
        let mut removed = 0;
        for _ in 0..20 {
            let purged = store.purge_expired(sample::now(), 100).await.unwrap();
            assert!(purged.imported_tokens <= 100, "{purged:?}");
            removed += purged.imported_tokens;
        }
        removed
    });
    assert_eq!(removed.iter().sum::<u64>(), ROWS, "{removed:?}");
}
