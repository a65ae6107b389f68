//! The body of a response that has passed the layer: the inner service's own, or a short answer of ours.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// Carries either the inner service's body, unbuffered and untouched, or the bytes of an answer of the layer's.
    #[derive(Debug)]
    pub struct ResponseBody<B> {
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
    }
}

impl<B> ResponseBody<B> {
    /// Bytes of ours; none at all when empty.
    pub(crate) fn of_layer(bytes: Bytes) -> Self {
        let bytes = Some(bytes).filter(|bytes| !bytes.is_empty());
        Self {
            from: Source::Layer { bytes },
        }
    }

    /// The inner service's body.
    pub(crate) fn of_inner(body: B) -> Self {
        Self {
            from: Source::Inner { body },
        }
    }
}

impl<B: Body<Data = Bytes>> Body for ResponseBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().from.project() {
            SourceProjected::Layer { bytes } => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            SourceProjected::Inner { body } => body.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.from {
            Source::Layer { bytes } => bytes.is_none(),
            Source::Inner { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.from {
            Source::Layer { bytes } => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Source::Inner { body } => body.size_hint(),
        }
    }
}
