//! The MCP server that is measured: answers every tool call with the same text, open to everyone or behind the layer.
//!
//! It listens the way our server does (same listener, same allocator), so that the difference between an open and a
//! protected one is what the layer does with a request.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures_util::stream;
use mcp_authflow_resource::ProtectedResource;
use mcp_authflow_resource::verify::{Caching, JwtVerifier};

use crate::crowd::{ASKER, RESOURCE, SCOPE};

/// How long a request's head may take.
const HEADER_DEADLINE: Duration = Duration::from_secs(15);
/// What a tool with little to say answers.
const ANSWER: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"Hello, machine"}],"isError":false}}"#;
/// The name of the tool whose answer is a long stream.
pub(super) const LARGE: &str = "large";
/// How long that stream is, and its pieces.
pub(super) const LARGE_BYTES: usize = 100 * 1024 * 1024;
const PIECE: usize = 64 * 1024;

/// What stands in front of the tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Guard {
    /// Nothing.
    Open,
    /// The layer, which asks the authorization server about every request.
    Introspection,
    /// The layer, which asks once in five seconds.
    Cached,
    /// The layer, which checks signatures.
    Jwt,
}

/// The flags of the hidden verb.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where it listens, on loopback
    #[arg(long)]
    listen: SocketAddr,
    /// What stands in front of the tools
    #[arg(long)]
    guard: Guard,
    /// The authorization server
    #[arg(long)]
    issuer: Option<String>,
}

/// Serves until it is killed; prints a line when it is ready.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    ensure!(
        arguments.listen.ip().is_loopback(),
        "it may answer anybody, so it listens on loopback only"
    );
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let router = guarded(arguments)?;
        let listener = std::net::TcpListener::bind(arguments.listen)?;
        listener.set_nonblocking(true)?;
        println!("listening on {}", arguments.listen);
        let mut server = axum_server::from_tcp(listener)?;
        server.http_builder().http1().header_read_timeout(HEADER_DEADLINE);
        server.serve(router.into_make_service()).await?;
        Ok(())
    })
}

fn guarded(arguments: &Arguments) -> Result<Router> {
    let router = Router::new().route("/mcp", post(answer));
    let issuer = arguments.issuer.clone().unwrap_or_default();
    let builder = || ProtectedResource::builder(RESOURCE, &issuer).require_scope(SCOPE);
    let asking = || builder().introspect_with(ASKER.0, ASKER.1);
    let protect = match arguments.guard {
        Guard::Open => return Ok(router),
        Guard::Introspection => asking().build()?,
        Guard::Cached => asking().cache(Caching::default()).build()?,
        Guard::Jwt => builder()
            .verify_with(JwtVerifier::builder(&issuer).build()?)
            .build()?,
    };
    Ok(router.layer(protect))
}

async fn answer(body: Bytes) -> Response {
    if body.windows(LARGE.len()).any(|part| part == LARGE.as_bytes()) {
        let piece = Bytes::from(vec![b'x'; PIECE]);
        let pieces =
            stream::iter((0..LARGE_BYTES / PIECE).map(move |_| Ok::<_, std::io::Error>(piece.clone())));
        return Body::from_stream(pieces).into_response();
    }
    let json = (CONTENT_TYPE, HeaderValue::from_static("application/json"));
    ([json], ANSWER).into_response()
}
