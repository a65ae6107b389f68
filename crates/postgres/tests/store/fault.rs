//! What the store answers when PostgreSQL is not well: an error in time, and service again as soon as it is.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use crate::support::{connect, fresh_store, new_store};
use mcp_authflow::port::{
    StoreError,
    store::{
        BeginDevice, ClaimDevice, ClientStore as _, CloseInteraction, DeviceCodeStore as _, GrantStore as _,
        PollDevice, RotateRefreshToken, StoreResult, TokenStore as _, UpkeepStore as _,
    },
};
use mcp_authflow::record::{DeviceCodeRecord, Grant, Interaction};
use mcp_authflow_postgres::{OpenError, PostgresConfig, PostgresStore, migrate};
use mcp_authflow_testkit::{
    contract::{
        sample,
        scene::{Scene, approval, is_live, is_unspent},
    },
    service::{port::free_port, postgres::PrivatePostgres},
};
use rustix::process::{Pid, Signal, kill_process};

const IN_TIME: Duration = Duration::from_secs(2);

/// What a call answers, which it must do in time.
#[expect(
    clippy::disallowed_methods,
    reason = "the test measures how long an answer takes"
)]
async fn in_time<T>(call: impl Future<Output = T>) -> T {
    let begun = Instant::now();
    let answer = call.await;
    let took = begun.elapsed();
    assert!(took < IN_TIME, "it took {took:?}");
    answer
}

/// F-11
#[tokio::test(flavor = "multi_thread")]
async fn a_port_where_nobody_listens_is_unavailable_at_once() {
    let url = format!("postgres://authflow@127.0.0.1:{}/authflow", free_port().unwrap());
    let answer = in_time(PostgresStore::connect(&PostgresConfig::new(url))).await;
    assert!(
        matches!(answer, Err(OpenError::Store(StoreError::Unavailable(_)))),
        "{answer:?}"
    );
}

/// F-12
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_went_away_is_unavailable_at_once() {
    let server = PrivatePostgres::start(true).unwrap_or_else(|error| panic!("{error:#}"));
    let config = PostgresConfig::new(server.url());
    migrate(&config).await.unwrap();
    let store = PostgresStore::connect(&config).await.unwrap();
    store.probe(sample::now()).await.unwrap();
    server.stop().unwrap();
    for _ in 0..3 {
        let answer = in_time(store.probe(sample::now())).await;
        assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    }
}

/// F-13
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_is_late_in_time_and_good_again_when_it_goes_on() {
    let mut server = PrivatePostgres::start(true).unwrap_or_else(|error| panic!("{error:#}"));
    let config = PostgresConfig::new(server.url());
    migrate(&config).await.unwrap();
    let store = PostgresStore::connect(&config).await.unwrap();
    let (scene, tokens) = Scene::redeemed(&store).await;
    let refresh = tokens.refresh_token.unwrap();

    let frozen = Frozen::freeze(server.process().unwrap().pid());
    let rotation = sample::rotation(&scene.grant, &refresh);
    for _ in 0..2 {
        let answer = in_time(store.load_client(&scene.client.id)).await;
        assert!(matches!(answer, Err(StoreError::TimedOut(_))), "{answer:?}");
    }
    let answer = in_time(store.rotate_refresh_token(&rotation, sample::now())).await;
    assert!(matches!(answer, Err(StoreError::TimedOut(_))), "{answer:?}");
    drop(frozen);

    // What was in doubt is resolved by asking again: it happened, or it did not, and never half of it.
    let answer = store
        .rotate_refresh_token(&rotation, sample::now())
        .await
        .unwrap();
    let expected = RotateRefreshToken::Retried {
        sealed: rotation.sealed.clone(),
    };
    assert!(
        answer == RotateRefreshToken::Rotated || answer == expected,
        "{answer:?}"
    );
    assert!(is_live(&store, &rotation.access_token).await);
    assert!(is_unspent(&store, &rotation.successor).await);
}

/// A server and all its children, stopped until this value is dropped.
struct Frozen(Vec<Pid>);

impl Frozen {
    fn freeze(postmaster: u32) -> Self {
        let children = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            (parent_of(pid)? == postmaster).then_some(pid)
        });
        let mut frozen = Self(Vec::new());
        for pid in std::iter::once(postmaster).chain(children.collect::<Vec<_>>()) {
            let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
            kill_process(pid, Signal::STOP).unwrap();
            frozen.0.push(pid);
        }
        assert!(frozen.0.len() > 3, "a server has children");
        frozen
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        for pid in &self.0 {
            // One that has ended needs no waking.
            let _ = kill_process(*pid, Signal::CONT);
        }
    }
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

const TERMINATE_OTHERS: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                                WHERE datname = current_database() AND application_name = 'authflow'";

/// F-18
#[tokio::test(flavor = "multi_thread")]
async fn the_call_after_a_terminated_session_works() {
    let store = fresh_store().await;
    let scene = Scene::approved(&*store).await;
    let killer = connect(&store.url).await;
    for _ in 0..5 {
        assert!(!killer.query(TERMINATE_OTHERS, &[]).await.unwrap().is_empty());
        let client = store.load_client(&scene.client.id).await.unwrap();
        assert_eq!(client.as_deref(), Some(&scene.client));
    }
    killer.query(TERMINATE_OTHERS, &[]).await.unwrap();
    assert!(store.revoke_grant(scene.grant.id, sample::now()).await.unwrap());
}

/// F-18, F-15: whatever is cut off in the middle, a rotation happens once, and asking again finds it done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_of_rotations_survives_sessions_that_are_terminated_all_the_time() {
    let store = fresh_store().await;
    let (scene, tokens) = Scene::redeemed(&*store).await;
    let killer = connect(&store.url).await;
    let killing = tokio::spawn(async move {
        loop {
            killer.query(TERMINATE_OTHERS, &[]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(7)).await;
        }
    });
    let mut token = tokens.refresh_token.unwrap();
    for _ in 0..150 {
        let rotation = sample::rotation(&scene.grant, &token);
        let mut tries = 0;
        let answer = loop {
            match store.rotate_refresh_token(&rotation, sample::now()).await {
                Ok(answer) => break answer,
                Err(StoreError::Unavailable(_)) if tries < 20 => tries += 1,
                Err(error) => panic!("{error}"),
            }
        };
        let ours = RotateRefreshToken::Retried {
            sealed: rotation.sealed.clone(),
        };
        // After an error the second try finds the work of the first one.
        assert!(
            answer == RotateRefreshToken::Rotated || (tries > 0 && answer == ours),
            "{answer:?} after {tries} errors"
        );
        token = rotation.successor;
    }
    killing.abort();
    assert!(is_unspent(&*store, &token).await);
}

/// F-19
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_not_let_go_is_unavailable_in_time() {
    let store = fresh_store().await;
    let scene = Scene::approved(&*store).await;
    let mut other = connect(&store.url).await;
    let holder = other.transaction().await.unwrap();
    holder
        .batch_execute("LOCK TABLE authflow.grants IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    let answer = in_time(store.revoke_grant(scene.grant.id, sample::now())).await;
    assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    holder.rollback().await.unwrap();
    assert!(store.revoke_grant(scene.grant.id, sample::now()).await.unwrap());
}

/// F-20
#[tokio::test(flavor = "multi_thread")]
async fn a_serialization_failure_is_tried_again_twice_and_no_more() {
    let store = new_store().await;
    let scene = Scene::approved(&*store).await;
    let other = connect(&store.url).await;
    other
        .batch_execute(
            "CREATE SEQUENCE authflow.tries; CREATE TABLE authflow.failures (n bigint); \
             INSERT INTO authflow.failures VALUES (2); \
             CREATE FUNCTION authflow.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF nextval('authflow.tries') <= (SELECT n FROM authflow.failures) THEN \
             RAISE EXCEPTION 'made up' USING ERRCODE = '40001'; END IF; RETURN NEW; END $$; \
             CREATE TRIGGER fail BEFORE UPDATE ON authflow.grants FOR EACH ROW EXECUTE FUNCTION authflow.fail()",
        )
        .await
        .unwrap();
    assert!(store.revoke_grant(scene.grant.id, sample::now()).await.unwrap());

    let second = scene.another_grant();
    mcp_authflow_testkit::contract::scene::approve(&*store, &scene.client, &second).await;
    other
        .batch_execute("ALTER SEQUENCE authflow.tries RESTART; UPDATE authflow.failures SET n = 1000")
        .await
        .unwrap();
    let answer = store.revoke_grant(second.id, sample::now()).await;
    assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    let tries = other
        .query_one("SELECT last_value FROM authflow.tries", &[])
        .await
        .unwrap();
    assert_eq!(tries.get::<_, i64>(0), 3);
}

/// Somebody who is about to approve a device.
struct Approving {
    device: DeviceCodeRecord,
    interaction: Interaction,
    grant: Grant,
}

impl Approving {
    async fn begin(store: &PostgresStore) -> Self {
        let scene = Scene::begin(store).await;
        let device = sample::device(&scene.client);
        assert_eq!(store.begin_device(&device).await.unwrap(), BeginDevice::Begun);
        let interaction = sample::interaction_of_device(&scene.client, &device);
        let claim = store.claim_device(&device.hash, &interaction, sample::now());
        assert_eq!(claim.await.unwrap(), ClaimDevice::Claimed);
        let grant = sample::grant_of_device(&scene.client, scene.user.id.as_str(), &scene.resource, &device);
        Self {
            device,
            interaction,
            grant,
        }
    }

    async fn approve(&self, store: &PostgresStore) -> StoreResult<CloseInteraction> {
        let Interaction { id, browser, .. } = &self.interaction;
        store
            .close_device(
                &self.device.hash,
                *id,
                browser,
                approval(&self.grant),
                sample::now(),
            )
            .await
    }

    async fn poll(&self, store: &PostgresStore) -> PollDevice {
        let device = &self.device;
        store
            .poll_device(
                &device.hash,
                &device.client_id,
                device.client_generation,
                sample::now(),
            )
            .await
            .unwrap()
    }
}

/// F-18: a commit that waits for a standby has happened already; cut off there, its answer is lost and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn an_approval_of_a_device_is_found_done_when_only_its_answer_was_lost() {
    let server = PrivatePostgres::start(true).unwrap_or_else(|error| panic!("{error:#}"));
    let config = PostgresConfig::new(server.url());
    migrate(&config).await.unwrap();
    let store = PostgresStore::connect(&config).await.unwrap();
    let approving = Approving::begin(&store).await;
    let other = connect(server.url()).await;
    other
        .batch_execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        .await
        .unwrap();
    other.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    let is_set = async {
        loop {
            let row = other
                .query_one("SHOW synchronous_standby_names", &[])
                .await
                .unwrap();
            if row.get::<_, String>(0) == "nobody" {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), is_set)
        .await
        .unwrap();
    let cut_off = async {
        loop {
            let waiting = format!("{TERMINATE_OTHERS} AND wait_event = 'SyncRep'");
            let rows = other.query(&waiting, &[]).await.unwrap();
            if !rows.is_empty() {
                break rows.len();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let cut_off = tokio::time::timeout(Duration::from_secs(5), cut_off);
    let (answer, cut_off) = tokio::join!(in_time(approving.approve(&store)), cut_off);
    assert_eq!(cut_off.unwrap(), 1);
    assert_eq!(answer.unwrap(), CloseInteraction::Closed);
    other
        .batch_execute("ALTER SYSTEM RESET synchronous_standby_names")
        .await
        .unwrap();
    other.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    assert_eq!(approving.poll(&store).await, PollDevice::Approved);
    // Who really comes second is told so.
    let again = approving.approve(&store).await.unwrap();
    assert_eq!(again, CloseInteraction::AlreadyClosed);
}

/// F-20
#[tokio::test(flavor = "multi_thread")]
async fn an_approval_of_a_device_is_tried_again_after_a_deadlock() {
    let store = new_store().await;
    let approving = Approving::begin(&store).await;
    let other = connect(&store.url).await;
    other
        .batch_execute(
            "CREATE SEQUENCE authflow.tries; \
             CREATE FUNCTION authflow.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF nextval('authflow.tries') <= 2 THEN \
             RAISE EXCEPTION 'made up' USING ERRCODE = '40P01'; END IF; RETURN NEW; END $$; \
             CREATE TRIGGER fail BEFORE UPDATE OF status ON authflow.device_codes \
             FOR EACH ROW EXECUTE FUNCTION authflow.fail()",
        )
        .await
        .unwrap();
    let answer = approving.approve(&store).await.unwrap();
    assert_eq!(answer, CloseInteraction::Closed);
    assert_eq!(approving.poll(&store).await, PollDevice::Approved);
}

/// F-22
#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_server_is_unavailable_until_it_can_be_written() {
    let store = new_store().await;
    let scene = Scene::approved(&*store).await;
    let other = connect(&store.url).await;
    let set_read_only = async |value: &str| {
        let sql = format!(
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = {value}', \
             current_database()); END $$"
        );
        other.batch_execute(&sql).await.unwrap();
        other.query(TERMINATE_OTHERS, &[]).await.unwrap();
    };
    set_read_only("on").await;
    let answer = in_time(store.revoke_grant(scene.grant.id, sample::now())).await;
    assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    let answer = in_time(store.probe(sample::now())).await;
    assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");

    other
        .batch_execute("SET default_transaction_read_only = off")
        .await
        .unwrap();
    set_read_only("off").await;
    let recovered = async {
        while store.probe(sample::now()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), recovered)
        .await
        .unwrap();
    assert!(store.revoke_grant(scene.grant.id, sample::now()).await.unwrap());
}

/// A caller that goes away in the middle leaves no connection behind that is still at work.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_costs_the_next_one_nothing() {
    let database = fresh_store().await;
    let mut config = PostgresConfig::new(&database.url);
    config.pool_size = 1;
    let store = PostgresStore::connect(&config).await.unwrap();
    let mut other = connect(&database.url).await;
    let holder = other.transaction().await.unwrap();
    holder
        .batch_execute("LOCK TABLE authflow.clients IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    let client = sample::client_id();
    let left = tokio::time::timeout(Duration::from_millis(100), store.load_client(&client)).await;
    assert!(left.is_err());
    // Its connection waits for the lock yet; the next caller gets another one.
    let next = tokio::time::timeout(Duration::from_millis(700), store.probe(sample::now())).await;
    next.expect("it does not wait behind the one that left").unwrap();
    holder.rollback().await.unwrap();
}
