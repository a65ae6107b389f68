//! The least that an axum server can do: parse the form, answer with a constant.
//!
//! It listens the way our server does (same listener, same allocator), so that the
//! difference between the two is what our server does with a request.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;

/// How long a request's head may take.
const HEADER_DEADLINE: Duration = Duration::from_secs(15);
/// As long as what our server answers.
const INTROSPECTION: &str = r#"{"active":true,"scope":"hello:read","client_id":"machine","token_type":"Bearer","exp":1900000000,"iat":1899999400,"sub":"machine","aud":"http://127.0.0.1:8001/mcp","iss":"http://127.0.0.1:8000"}"#;
const TOKEN: &str = r#"{"access_token":"mcpat_0000AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA000000","token_type":"Bearer","expires_in":600,"refresh_token":"mcprt_0000AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA000000","scope":"hello:read"}"#;

/// Serves until it is killed; prints a line when it is ready.
pub(crate) fn run(listen: SocketAddr) -> Result<()> {
    ensure!(
        listen.ip().is_loopback(),
        "it answers anybody, so it listens on loopback only"
    );
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let router = Router::new()
            .route(
                "/introspect",
                post(|body: Bytes| async move { answer(&body, INTROSPECTION) }),
            )
            .route("/token", post(|body: Bytes| async move { answer(&body, TOKEN) }));
        let listener = std::net::TcpListener::bind(listen)?;
        listener.set_nonblocking(true)?;
        println!("listening on {listen}");
        let mut server = axum_server::from_tcp(listener)?;
        // As our server's: without it, a slow client holds a connection for ever.
        server.http_builder().http1().header_read_timeout(HEADER_DEADLINE);
        server.serve(router.into_make_service()).await?;
        Ok(())
    })
}

fn answer(body: &[u8], constant: &'static str) -> Response {
    // Every pair is decoded, so that the work cannot be left out.
    let length: usize = form_urlencoded::parse(body)
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if length == 0 {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, constant).into_response()
}
