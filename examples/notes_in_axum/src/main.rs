//! A plain web API in axum, without any MCP SDK, that only signed-in people can call.
//!
//! ```sh
//! authflow resource add http://127.0.0.1:8002/notes --name 'Notes' \
//!     --scope 'notes:read=Read your notes' --scope 'notes:write=Write and delete your notes'
//! NOTES_CLIENT_ID=… NOTES_CLIENT_SECRET=… notes_in_axum
//! ```
//!
//! | path | what | scope |
//! |---|---|---|
//! | `/` | a public page | none, and no token |
//! | `GET /notes` | your notes | `notes:read` |
//! | `POST /notes` | a new one, the body | `notes:write` |
//! | `DELETE /notes/{number}` | one less | `notes:write` |

mod notes;
#[cfg(test)]
mod tests;

use axum::{
    Router,
    http::StatusCode,
    routing::{any, delete, get},
};
use mcp_authflow_resource::{Builder, InvalidProtection, ProtectedResource};

use crate::notes::Notes;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let protection = ProtectedResource::builder("http://127.0.0.1:8002/notes", "http://127.0.0.1:8000")
        .introspect_with(
            std::env::var("NOTES_CLIENT_ID")?,
            std::env::var("NOTES_CLIENT_SECRET")?,
        );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8002").await?;
    println!("notes_in_axum listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app(protection)?).await?;
    Ok(())
}

/// The API. What is routed before the layer is protected by it, what comes after is open to everyone.
fn app(protection: Builder) -> Result<Router, InvalidProtection> {
    let protect = protection
        .require_scope("notes:read")
        .scopes(["notes:read", "notes:write"])
        // Whoever may write may read: a client that asked for `notes:write` alone is not sent back for the other.
        .scope_implies("notes:write", "notes:read")
        .name("Notes")
        .build()?;

    let mut app = Router::new()
        .route("/notes", get(notes::list).post(notes::add))
        .route("/notes/{number}", delete(notes::remove))
        .with_state(Notes::default());
    // The documents by which clients find the authorization server. The layer answers them; they only need to get there.
    for path in protect.well_known_paths() {
        app = app.route(path, any(StatusCode::NOT_FOUND));
    }
    Ok(app
        .layer(protect)
        .route("/", get(async || "Notes. Sign in to read yours.")))
}
