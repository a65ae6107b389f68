//! `/healthz`: the process answers. `/readyz`: it can do its work. Neither says more than that to strangers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::State, response::IntoResponse, routing::get};
use http::{StatusCode, header};
use mcp_authflow::AuthorizationServer;
use mcp_authflow_redis::RedisConnection;
use mcp_authflow_types::Timestamp;

/// Whether the server is on its way out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Draining(Arc<AtomicBool>);

impl Draining {
    /// From now on the node reports not ready.
    pub(crate) fn begin(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// How far a node's clock may be off its database's.
const MAX_SKEW: Duration = Duration::from_secs(300);
/// From here on it is told: a code lives 60 s, and a sixth of that is missed.
const NOTABLE_SKEW: Duration = Duration::from_secs(10);
/// How long it is then not told again.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// How a node's clock stands to its database's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Skew {
    Fine,
    Notable,
    TooFar,
}

impl Skew {
    fn between(now: Timestamp, store_now: Timestamp) -> Self {
        match now.since(store_now).max(store_now.since(now)) {
            skew if skew > MAX_SKEW => Self::TooFar,
            skew if skew >= NOTABLE_SKEW => Self::Notable,
            _ => Self::Fine,
        }
    }
}

/// When it was last told that the clock is off.
#[derive(Clone, Debug)]
struct LastTold(Arc<AtomicI64>);

impl LastTold {
    fn never() -> Self {
        Self(Arc::new(AtomicI64::new(i64::MIN)))
    }

    /// Whether it is to be told again, by this caller alone. A clock that is put back does not silence it.
    fn is_due(&self, now: Timestamp) -> bool {
        let last = self.0.load(Ordering::SeqCst);
        now.seconds().abs_diff(last) >= TOLD_EVERY.as_secs()
            && self
                .0
                .compare_exchange(last, now.seconds(), Ordering::SeqCst, Ordering::SeqCst)
                .is_ok()
    }
}

/// What `/readyz` asks.
#[derive(Clone)]
struct Node {
    server: AuthorizationServer,
    draining: Draining,
    redis: Option<RedisConnection>,
    last_told: LastTold,
}

impl Node {
    /// A node without its Redis does its work: limits are stricter, and that is said.
    fn ready(&self) -> &'static str {
        match &self.redis {
            Some(redis) if !redis.is_up() => "ready, without redis\n",
            _ => "ready\n",
        }
    }
}

/// The two routes, outside the issuer's path: they belong to the node.
pub(crate) fn router(
    server: AuthorizationServer,
    draining: Draining,
    redis: Option<RedisConnection>,
) -> Router {
    let node = Node {
        server,
        draining,
        redis,
        last_told: LastTold::never(),
    };
    Router::new()
        .route("/healthz", get(|| async { answer(StatusCode::OK, "ok\n") }))
        .route("/readyz", get(readyz).with_state(node))
}

/// The two routes of a node without a store: it is ready as long as it runs.
pub(crate) fn router_without_store(draining: Draining) -> Router {
    Router::new()
        .route("/healthz", get(|| async { answer(StatusCode::OK, "ok\n") }))
        .route(
            "/readyz",
            get(async move || {
                if draining.0.load(Ordering::SeqCst) {
                    answer(StatusCode::SERVICE_UNAVAILABLE, "draining\n")
                } else {
                    answer(StatusCode::OK, "ready\n")
                }
            }),
        )
}

async fn readyz(State(node): State<Node>) -> impl IntoResponse {
    if node.draining.0.load(Ordering::SeqCst) {
        return answer(StatusCode::SERVICE_UNAVAILABLE, "draining\n");
    }
    let now = node.server.ports().clock.now();
    match node.server.ports().store.probe(now).await {
        Ok(store_now) => match Skew::between(now, store_now) {
            Skew::TooFar => {
                tracing::error!(%now, %store_now, "this node's clock is more than 5 minutes off its database's");
                answer(StatusCode::SERVICE_UNAVAILABLE, "clock\n")
            }
            Skew::Notable if node.last_told.is_due(now) => {
                tracing::warn!(
                    %now, %store_now,
                    "this node's clock is off its database's: codes and tokens expire early or late; synchronize both"
                );
                answer(StatusCode::OK, node.ready())
            }
            Skew::Notable | Skew::Fine => answer(StatusCode::OK, node.ready()),
        },
        Err(error) => {
            tracing::warn!(%error, "not ready: the store cannot be asked");
            answer(StatusCode::SERVICE_UNAVAILABLE, "store\n")
        }
    }
}

fn answer(status: StatusCode, text: &'static str) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (status, headers, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_told_of_from_ten_seconds_on_and_not_ready_beyond_five_minutes() {
        let at = Timestamp::from_seconds;
        for (off, expected) in [
            (0, Skew::Fine),
            (9, Skew::Fine),
            (10, Skew::Notable),
            (300, Skew::Notable),
            (301, Skew::TooFar),
        ] {
            assert_eq!(Skew::between(at(5_000 + off), at(5_000)), expected, "{off} ahead");
            assert_eq!(
                Skew::between(at(5_000 - off), at(5_000)),
                expected,
                "{off} behind"
            );
        }
    }

    #[test]
    fn it_is_told_once_a_minute_at_most() {
        let told = LastTold::never();
        let due =
            [0, 1, 59, 60, 61, 119, 120, 30, 31, 90].map(|now| told.is_due(Timestamp::from_seconds(now)));
        assert_eq!(
            due,
            [true, false, false, true, false, false, true, true, false, true]
        );
    }
}
