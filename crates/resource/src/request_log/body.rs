//! A body that is looked at while it passes, and changed by nothing.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::{RequestLog, masking::on_one_line};

/// How much of a body is shown.
const MAX_BYTES: usize = 1_000;

pin_project! {
    /// The body of a logged request or answer: passes everything on as it comes.
    pub struct LoggedBody<B> {
        #[pin]
        inner: B,
        preview: Preview,
    }
}

/// What is still to be written of a body.
pub(super) enum Preview {
    Nothing,
    /// The beginning of a request.
    First(RequestLog),
    /// All of an answer.
    Every(RequestLog),
}

impl Preview {
    pub(super) fn of_request(log: &RequestLog, is_post: bool) -> Self {
        if log.shows_bodies && is_post {
            Self::First(log.clone())
        } else {
            Self::Nothing
        }
    }

    pub(super) fn of_response(log: &RequestLog, is_bad_request: bool) -> Self {
        if log.shows_bodies && is_bad_request {
            Self::Every(log.clone())
        } else {
            Self::Nothing
        }
    }

    fn see(&mut self, chunk: &Bytes, is_last: bool) {
        match self {
            Self::Nothing => {}
            Self::First(log) => {
                if !chunk.is_empty() {
                    let start = &chunk[..chunk.len().min(MAX_BYTES)];
                    let is_whole = is_last && start.len() == chunk.len();
                    log.info(&format!(
                        "Request body preview ({} bytes): {}{}",
                        chunk.len(),
                        on_one_line(&String::from_utf8_lossy(start)),
                        if is_whole {
                            ""
                        } else {
                            "... (truncated/more coming)"
                        },
                    ));
                }
                *self = Self::Nothing;
            }
            Self::Every(log) => {
                if !chunk.is_empty() {
                    log.error(&format!(
                        "Response body: {}",
                        on_one_line(&String::from_utf8_lossy(chunk))
                    ));
                }
            }
        }
    }
}

impl<B> LoggedBody<B> {
    pub(super) fn new(inner: B, preview: Preview) -> Self {
        Self { inner, preview }
    }
}

impl<B: Body<Data = Bytes>> Body for LoggedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        let polled = this.inner.as_mut().poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(chunk) = frame.data_ref()
        {
            this.preview.see(chunk, this.inner.is_end_stream());
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B> fmt::Debug for LoggedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LoggedBody")
    }
}
