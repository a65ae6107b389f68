//! The authorization server as a part of someone's own axum app, with a login page of their own.
//!
//! ```sh
//! embed_in_axum
//! ```
//!
//! serves `http://127.0.0.1:8000`: the app's own front page at `/`, and beside it everything that an MCP client asks
//! of an authorization server. The whole login and consent is one function, `interact` of [`MyLogin`].
//!
//! | file | what |
//! |---|---|
//! | `main.rs` | the app, and the server merged into it |
//! | `my_login.rs` | who may sign in, and the page that asks them |
//! | `ports.rs` | clock, randomness and audit of this app |

mod my_login;
mod ports;

use std::{net::SocketAddr, sync::Arc};

use axum::{Router, routing::get};
use mcp_authflow::{
    AuthorizationServer, Ports, ServerKey, Settings,
    memory::{MemoryRateLimit, MemoryStore},
    port::{Entropy, NoFetch},
};
use mcp_authflow_types::Issuer;

use crate::{
    my_login::MyLogin,
    ports::{AuditToTerminal, SinceStart, SystemClock, SystemEntropy},
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let settings = Settings::new(Issuer::parse("http://127.0.0.1:8000")?);
    let server = AuthorizationServer::new(
        settings,
        Ports {
            // `SqliteStore` and `PostgresStore` go here just the same.
            store: Arc::new(MemoryStore::new()),
            // Kept where only this app can read it, and the same on every node, once the store is a real one.
            key: ServerKey::from_bytes((&SystemEntropy as &dyn Entropy).draw()),
            rate_limit: Arc::new(MemoryRateLimit::new(Arc::new(SinceStart::now()))),
            replay: None,
            old_tokens: None,
            fetch: Arc::new(NoFetch),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            audit: Arc::new(AuditToTerminal),
        },
    );

    let app = Router::new()
        .route("/", get(async || "My own app. MCP clients sign in here too."))
        .merge(mcp_authflow_axum::router(server, MyLogin::new()));

    let listener = tokio::net::TcpListener::bind("127.0.0.1:8000").await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?;
    Ok(())
}
