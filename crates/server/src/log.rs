//! The log: text or JSON lines on standard error, written by a thread of its own so that a slow reader of the log slows
//! no sign-in.

mod line;
mod queue;

use std::io;

use tracing::{Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter,
    filter::Targets,
    fmt::MakeWriter,
    layer::{Layer as _, SubscriberExt as _},
    util::SubscriberInitExt as _,
};

pub(crate) use self::queue::LogGuard;
use self::queue::write_to;

/// Crates that log what passes through them: statement parameters (password hashes, digests), headers (tokens, cookies),
/// handshakes, bodies. They are heard from `info` on, whatever the filter says. A name covers all that begin with it.
const CARRIERS: [&str; 5] = ["tokio_postgres", "h2", "hyper", "rustls", "axum::rejection"];

/// Says what is wrong with a filter.
pub(crate) fn check_filter(filter: &str) -> Result<(), String> {
    EnvFilter::try_new(filter).map(drop).map_err(|error| {
        format!("{error}; write a level, or directives with commas between, such as info,audit=debug")
    })
}

/// Starts the log.
///
/// # Errors
/// When the filter is malformed, or a log was started before.
pub(crate) fn start(json: bool, filter: &str) -> anyhow::Result<LogGuard> {
    let (guard, lines) = write_to(io::stderr())?;
    subscriber(json, filter, lines)?.try_init()?;
    Ok(guard)
}

/// What decides which events are written, and how.
fn subscriber(
    json: bool,
    filter: &str,
    lines: impl for<'a> MakeWriter<'a> + Send + Sync + 'static,
) -> anyhow::Result<impl Subscriber + Send + Sync> {
    let filter =
        EnvFilter::try_new(filter).map_err(|error| anyhow::anyhow!("log.filter = \"{filter}\": {error}"))?;
    // Beside the filter, not in it: there a directive that says more, such as tokio_postgres::query=debug or
    // [request]=trace, would win.
    let most = filter.max_level_hint().unwrap_or(LevelFilter::TRACE);
    let ceiling = Targets::new()
        .with_default(most)
        .with_targets(CARRIERS.map(|carrier| (carrier, most.min(LevelFilter::INFO))));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(lines)
        .with_ansi(false);
    let lines = if json {
        let lines = lines.json().flatten_event(true).with_current_span(true);
        lines.with_span_list(false).boxed()
    } else {
        lines
            .fmt_fields(line::fields())
            .event_format(line::TextLine)
            .boxed()
    };
    Ok(tracing_subscriber::registry()
        .with(lines)
        .with(filter)
        .with(ceiling))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use std::io::Read as _;

    use super::*;

    /// What is written of events that carry what passes through.
    fn heard(filter: &str) -> String {
        let (mut log, pipe) = io::pipe().unwrap();
        let (guard, lines) = write_to(pipe).unwrap();
        tracing::subscriber::with_default(subscriber(false, filter, lines).unwrap(), || {
            let _request = tracing::info_span!("request").entered();
            tracing::debug!(target: "tokio_postgres::query", "parameters: $argon2id");
            tracing::trace!(target: "h2::codec", "headers: Bearer");
            tracing::debug!(target: "hyper::proto", "body");
            tracing::trace!(target: "rustls::server::hs", "hello");
            tracing::warn!(target: "tokio_postgres::connection", "the connection is lost");
            tracing::debug!(target: "http", "answered");
        });
        drop(guard);
        let mut text = String::new();
        log.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn no_filter_makes_a_crate_tell_what_passes_through_it() {
        for filter in [
            "debug",
            "trace",
            "trace,tokio_postgres::query=trace,h2=trace,hyper::proto=trace,rustls=trace",
            "info,http=debug,[request]=trace",
        ] {
            let log = heard(filter);
            assert!(
                log.contains("answered") && log.contains("is lost"),
                "{filter}: {log}"
            );
            for carried in ["argon2id", "Bearer", "body", "hello"] {
                assert!(!log.contains(carried), "{filter}: {log}");
            }
        }
        let log = heard("error");
        assert_eq!(log, "");
    }
}
