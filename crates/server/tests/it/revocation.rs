//! How soon a revoked token is refused by a resource server that asks this server (P8): at once without a cache, and
//! never later than its time with one.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use axum::body::Body;
use futures_util::{StreamExt as _, stream};
use http::{Request, Response, StatusCode};
use mcp_authflow_resource::{Caching, Protect, ProtectedResource};
use tokio::time::Instant;
use tower::{Layer as _, ServiceExt as _};

use crate::house::{House, R1, RS_SECRET, SVC_SECRET, answer, text};

/// How many pairs of revocation and call.
const PAIRS: usize = 1_000;
/// How many at a time.
const AT_A_TIME: usize = 8;
/// How long answers are kept where they are.
const TIME_TO_LIVE: Duration = Duration::from_millis(300);

/// A resource server: the layer in front of a handler that counts its runs.
struct ResourceServer {
    protect: Protect,
    runs: Arc<AtomicUsize>,
}

impl ResourceServer {
    fn of(house: &House, caching: Option<Caching>) -> Self {
        let mut builder = ProtectedResource::builder(R1, house.server.issuer())
            .introspect_with("rs1", RS_SECRET)
            .require_scope("mcp:read");
        if let Some(caching) = caching {
            builder = builder.cache(caching);
        }
        Self {
            protect: builder.build().unwrap(),
            runs: Arc::default(),
        }
    }

    async fn call(&self, token: &str) -> StatusCode {
        let runs = Arc::clone(&self.runs);
        let handler = tower::service_fn(move |_: Request<Body>| {
            runs.fetch_add(1, SeqCst);
            async { Ok::<_, Infallible>(Response::new(Body::empty())) }
        });
        let request = Request::post("/mcp")
            .header("authorization", format!("Bearer {token}"))
            .body(Body::empty())
            .unwrap();
        self.protect
            .layer(handler)
            .oneshot(request)
            .await
            .unwrap()
            .status()
    }
}

async fn fresh_token(house: &House) -> String {
    let form = [("grant_type", "client_credentials"), ("resource", R1)];
    let request = house.http.post(house.server.url("/token")).form(&form);
    let (status, tokens) = answer(request.basic_auth("svc", Some(SVC_SECRET))).await;
    assert_eq!(status, 200, "{tokens}");
    text(&tokens, "access_token").to_owned()
}

async fn revoke(house: &House, token: &str) {
    let request = house
        .http
        .post(house.server.url("/revoke"))
        .form(&[("token", token)]);
    let (status, body) = answer(request.basic_auth("svc", Some(SVC_SECRET))).await;
    assert_eq!(status, 200, "{body}");
}

/// P8, S-240: a thousand times, none is stale.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_cache_a_revoked_token_is_refused_from_the_next_call_on() {
    let house = House::open();
    let resource_server = ResourceServer::of(&house, None);
    let stale = AtomicUsize::new(0);
    stream::iter(0..PAIRS)
        .for_each_concurrent(AT_A_TIME, |_| async {
            let token = fresh_token(&house).await;
            assert_eq!(resource_server.call(&token).await, StatusCode::OK);
            revoke(&house, &token).await;
            match resource_server.call(&token).await {
                StatusCode::UNAUTHORIZED => {}
                StatusCode::OK => {
                    stale.fetch_add(1, SeqCst);
                }
                other => panic!("{other}"),
            }
        })
        .await;
    assert_eq!(stale.into_inner(), 0);
    assert_eq!(resource_server.runs.load(SeqCst), PAIRS);
}

/// P8, S-242: a call that begins when the cache's time has passed since the revocation is refused.
#[tokio::test(flavor = "multi_thread")]
async fn with_a_cache_a_revoked_token_is_refused_when_its_time_has_passed() {
    let house = House::open();
    let caching = Caching::for_at_most(TIME_TO_LIVE);
    let resource_server = ResourceServer::of(&house, Some(caching));
    let served_from_memory = AtomicUsize::new(0);
    stream::iter(0..64)
        .for_each_concurrent(AT_A_TIME, |_| async {
            let token = fresh_token(&house).await;
            assert_eq!(resource_server.call(&token).await, StatusCode::OK);
            revoke(&house, &token).await;
            let revoked = Instant::now();
            let until_refused = async || {
                loop {
                    let began = Instant::now();
                    match resource_server.call(&token).await {
                        StatusCode::UNAUTHORIZED => return,
                        StatusCode::OK => assert!(
                            began.duration_since(revoked) < TIME_TO_LIVE,
                            "a call {:?} after the revocation",
                            began.duration_since(revoked)
                        ),
                        other => panic!("{other}"),
                    }
                    served_from_memory.fetch_add(1, SeqCst);
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(10 * TIME_TO_LIVE, until_refused())
                .await
                .expect("the token is refused");
        })
        .await;
    // Otherwise the cache was not there, and the test showed nothing.
    assert!(served_from_memory.into_inner() > 64);
}
