//! Bodies, frame by frame, both ways: nothing is collected, and who reads slowly is written to slowly.
//!
//! Trailers are dropped. They are headers that come late, and some servers merge them with the others: a client's could
//! carry what was taken from its head.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::client::Stream;

pin_project! {
    /// From the client to the upstream.
    pub(crate) struct Outgoing {
        #[pin]
        body: Body,
    }
}

impl Outgoing {
    pub(super) fn new(body: Body) -> Self {
        Self { body }
    }
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        data_only(self.project().body, context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

pin_project! {
    /// From the upstream to the client. Dropped, it ends the exchange with the upstream.
    pub(crate) struct Incoming {
        #[pin]
        body: hyper::body::Incoming,
        // Frees the place in its lane when the exchange is over.
        stream: Stream,
    }
}

impl Incoming {
    pub(super) fn new(body: hyper::body::Incoming, stream: Stream) -> Self {
        Self { body, stream }
    }
}

impl HttpBody for Incoming {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = data_only(self.project().body, context);
        if let Poll::Ready(Some(Err(error))) = &frame {
            tracing::warn!(%error, "the upstream broke its answer off");
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[expect(clippy::type_complexity, reason = "it is what `poll_frame` returns")]
fn data_only<B: HttpBody>(
    mut body: Pin<&mut B>,
    context: &mut Context<'_>,
) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
    loop {
        match body.as_mut().poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) if !frame.is_data() => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use std::convert::Infallible;

    use http::HeaderMap;
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    /// M-125: over HTTP/2 trailers go without an announcement.
    #[tokio::test]
    async fn what_comes_behind_a_body_is_dropped() {
        let mut trailers = HeaderMap::new();
        trailers.insert("authflow-identity", "spoof".parse().unwrap());
        let frames = [
            Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"{}"))),
            Ok(Frame::trailers(trailers)),
            Ok(Frame::data(Bytes::from_static(b"!"))),
        ];
        let body = Outgoing::new(Body::new(StreamBody::new(futures_util::stream::iter(frames))));
        let whole = body.collect().await.unwrap();
        assert_eq!(whole.trailers(), None);
        assert_eq!(&whole.to_bytes()[..], b"{}!");
    }
}
