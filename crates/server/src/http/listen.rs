//! The listener: HTTP/1.1 and HTTP/2, in plain text on loopback or behind a proxy, else TLS; bounded in time and size,
//! and drained before it ends.

use std::{
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use anyhow::Context as _;
use axum::Router;
use axum_server::{Handle, Server, tls_rustls::RustlsConfig};
use hyper_util::{rt::TokioExecutor, server::conn::auto::Builder};
use tokio::signal::unix::{SignalKind, signal};

use super::health::Draining;
use crate::config::{Config, TlsFiles};

/// How long a request's head may take to arrive; also how long a connection may idle between two requests.
const HEADER_DEADLINE: Duration = Duration::from_secs(15);
/// The largest head, in bytes.
const MAX_HEAD_BYTES: usize = 32 * 1024;
/// The most headers in a request.
const MAX_HEADERS: usize = 64;
/// How long the node reports not ready before it stops to take connections, so that whoever balances loads notices.
const NOTICE: Duration = Duration::from_millis(200);

/// Takes the address.
pub(crate) fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).with_context(|| {
        format!("cannot listen on {address}: is another server running there? Choose another with --listen")
    })
}

/// Checks that certificate and key can be read and fit each other.
pub(crate) fn check_tls(config: &Config) -> anyhow::Result<()> {
    let Some(files) = &config.tls else { return Ok(()) };
    for file in [&files.certificate, &files.key] {
        std::fs::metadata(file).with_context(|| format!("cannot read {}", file.display()))?;
    }
    Ok(())
}

/// Serves until the process is asked to stop, then finishes what is running.
pub(crate) async fn serve(
    listener: TcpListener,
    config: &Config,
    app: Router,
    draining: Draining,
    asked_to_stop: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let handle = Handle::new();
    let (at_work, drain) = (handle.clone(), config.drain);
    let stopper = tokio::spawn(async move {
        asked_to_stop.await;
        stop(at_work, draining, drain).await;
    });
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    let result = match &config.tls {
        None => {
            let mut server = axum_server::from_tcp(listener)?.handle(handle);
            bound(server.http_builder());
            server.serve(service).await
        }
        Some(files) => {
            let mut server: Server<SocketAddr, _> =
                axum_server::from_tcp_rustls(listener, tls(files).await?)?.handle(handle);
            bound(server.http_builder());
            server.serve(service).await
        }
    };
    stopper.abort();
    result.context("the listener failed")
}

async fn tls(files: &TlsFiles) -> anyhow::Result<RustlsConfig> {
    RustlsConfig::from_pem_file(&files.certificate, &files.key)
        .await
        .with_context(|| {
            format!(
                "cannot use {} with {}",
                files.certificate.display(),
                files.key.display()
            )
        })
}

/// The limits of a connection.
fn bound(builder: &mut Builder<TokioExecutor>) {
    builder
        .http1()
        .header_read_timeout(HEADER_DEADLINE)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .half_close(false);
    builder
        .http2()
        .max_header_list_size(u32::try_from(MAX_HEAD_BYTES).unwrap_or(u32::MAX))
        .max_concurrent_streams(100)
        .max_pending_accept_reset_streams(20)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10));
}

/// Says that the node is on its way out, and lets running requests finish. A person who presses Ctrl-C once more does not
/// wait for them.
async fn stop(handle: Handle<SocketAddr>, draining: Draining, drain: Duration) {
    let again = signal(SignalKind::interrupt());
    tracing::info!("asked to stop: finishing what is running; Ctrl-C ends it at once");
    draining.begin();
    tokio::time::sleep(NOTICE).await;
    handle.graceful_shutdown(Some(drain));
    if let Ok(mut again) = again
        && again.recv().await.is_some()
    {
        tracing::warn!("asked once more: what is running is broken off");
        handle.shutdown();
    }
}

/// Waits for SIGTERM or Ctrl-C. From this call on, not only from the first wait, neither ends the process by itself.
pub(crate) fn asked_to_stop() -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for Ctrl-C")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
