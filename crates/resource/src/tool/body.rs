//! The body of an answer that has passed [`AuthorizeTools`](super::AuthorizeTools).

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::event_stream::EventStream;

pin_project! {
    /// Carries the inner service's body untouched, or an answer of the layer's, or a stream of events that are looked
    /// through as they pass.
    #[derive(Debug)]
    pub struct ToolBody<B> {
        #[pin]
        from: Source<B>,
    }
}

pin_project! {
    #[project = SourceProjected]
    #[derive(Debug)]
    enum Source<B> {
        Layer { bytes: Option<Bytes> },
        Inner { #[pin] body: B },
        Events {
            #[pin]
            body: B,
            events: Box<EventStream>,
            // A frame that has to wait for what was held back before it.
            next: Option<Frame<Bytes>>,
            has_ended: bool,
        },
    }
}

impl<B> ToolBody<B> {
    pub(super) fn of_layer(bytes: Bytes) -> Self {
        let bytes = Some(bytes).filter(|bytes| !bytes.is_empty());
        Self {
            from: Source::Layer { bytes },
        }
    }

    pub(super) fn of_inner(body: B) -> Self {
        Self {
            from: Source::Inner { body },
        }
    }

    pub(super) fn of_events(body: B, events: EventStream) -> Self {
        Self {
            from: Source::Events {
                body,
                events: Box::new(events),
                next: None,
                has_ended: false,
            },
        }
    }
}

impl<B: Body<Data = Bytes>> Body for ToolBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let (mut body, events, next, has_ended) = match self.project().from.project() {
            SourceProjected::Layer { bytes } => {
                return Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes))));
            }
            SourceProjected::Inner { body } => return body.poll_frame(context),
            SourceProjected::Events {
                body,
                events,
                next,
                has_ended,
            } => (body, events, next, has_ended),
        };
        loop {
            if let Some(frame) = next.take() {
                return Poll::Ready(Some(Ok(frame)));
            }
            if *has_ended {
                return Poll::Ready(None);
            }
            match ready!(body.as_mut().poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(chunk) => match events.feed(&chunk) {
                        Ok(bytes) if bytes.is_empty() => {}
                        Ok(bytes) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                        Err(_) => {
                            tracing::error!(
                                "a list in a stream is too large to be cut; the stream ends here"
                            );
                            *has_ended = true;
                        }
                    },
                    Err(trailers) => {
                        *next = Some(trailers);
                        let rest = events.finish();
                        if !rest.is_empty() {
                            return Poll::Ready(Some(Ok(Frame::data(rest))));
                        }
                    }
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    *has_ended = true;
                    let rest = events.finish();
                    if !rest.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(rest))));
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.from {
            Source::Layer { bytes } => bytes.is_none(),
            Source::Inner { body } => body.is_end_stream(),
            // Something may still be held back.
            Source::Events { next, has_ended, .. } => *has_ended && next.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.from {
            Source::Layer { bytes } => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Source::Inner { body } => body.size_hint(),
            Source::Events { .. } => SizeHint::default(),
        }
    }
}
