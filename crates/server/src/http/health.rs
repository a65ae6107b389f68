//! `/healthz`: the process answers. `/readyz`: it can do its work. Neither says more than that to strangers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::State, response::IntoResponse, routing::get};
use http::{StatusCode, header};
use mcp_authflow::AuthorizationServer;

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

/// The two routes, outside the issuer's path: they belong to the node.
pub(crate) fn router(server: AuthorizationServer, draining: Draining) -> Router {
    Router::new()
        .route("/healthz", get(|| async { answer(StatusCode::OK, "ok\n") }))
        .route("/readyz", get(readyz).with_state((server, draining)))
}

async fn readyz(State((server, draining)): State<(AuthorizationServer, Draining)>) -> impl IntoResponse {
    if draining.0.load(Ordering::SeqCst) {
        return answer(StatusCode::SERVICE_UNAVAILABLE, "draining\n");
    }
    let now = server.ports().clock.now();
    match server.ports().store.probe(now).await {
        Ok(store_now) if now.since(store_now).max(store_now.since(now)) > MAX_SKEW => {
            tracing::error!(%now, %store_now, "this node's clock is more than 5 minutes off its database's");
            answer(StatusCode::SERVICE_UNAVAILABLE, "clock\n")
        }
        Ok(_) => answer(StatusCode::OK, "ready\n"),
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
