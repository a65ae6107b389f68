//! A stream that a client listens to ends with the token that opened it.
//!
//! A listener asks once and hears for hours. Were nothing to end its stream, it would go on to hear what is said after its
//! person was locked out. So it ends with the token, and the client opens it again with the next one, which is checked; by
//! `Last-Event-ID` it misses nothing. The answer to a call goes on to its end, however long that takes.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use mcp_authflow_resource::{Caller, verify::CLOCK_SKEW};
use pin_project_lite::pin_project;
use tokio::time::Sleep;

/// Says that a stream is a whole session, as in the transport of 2024-11-05: its client would have to begin anew, so it
/// goes on.
#[derive(Clone, Debug, Default)]
pub(crate) struct IsSession(Arc<AtomicBool>);

impl IsSession {
    pub(crate) fn say(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

pin_project! {
    /// A body that ends at a time.
    pub(crate) struct Listening {
        #[pin]
        body: Body,
        #[pin]
        end: Sleep,
        is_session: IsSession,
    }
}

impl Listening {
    /// The body until this caller's token ends; as it is when the token has no end.
    pub(crate) fn until_the_token_ends(body: Body, caller: &Caller, is_session: IsSession) -> Body {
        let Some(end) = caller.expires_at() else {
            return body;
        };
        let end = u64::try_from((end + CLOCK_SKEW).seconds()).map_or(Duration::ZERO, Duration::from_secs);
        Body::new(Self {
            body,
            end: tokio::time::sleep(end.saturating_sub(since_epoch())),
            is_session,
        })
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the end of a token is a time of day, and what is left of it an interval"
)]
fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

impl HttpBody for Listening {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.project();
        let is_over = this.end.poll(context).is_ready();
        if is_over && !this.is_session.0.load(Ordering::Relaxed) {
            tracing::info!("a stream has ended with the token that opened it");
            return Poll::Ready(None);
        }
        this.body.poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
