//! What a refused request still has to say, read so that its connection can be used again.
//!
//! A client that was refused asks at once for the metadata that the challenge names, most likely on the same connection. HTTP/1
//! can carry a next request there only when the one before was read to its end (RFC 9112 §9.3); a server that answers
//! earlier has to close, and the client learns of it in the middle of its next request.

use std::{future::poll_fn, pin::pin, time::Duration};

use http::{HeaderMap, header::EXPECT};
use http_body::Body;

/// A caller that nobody knows yet is not listened to for longer; MCP messages are a few kilobytes.
const MAX_BYTES: usize = 64 * 1024;
/// Nor for more time: the rest of a message is on its way already.
const PATIENCE: Duration = Duration::from_secs(1);

/// Reads the rest of a request's body and forgets it; gives up on one that is long or slow, which costs the connection.
///
/// A client that asked to be told before it sends its body (`Expect: 100-continue`, RFC 9110 §10.1.1) is told by the answer.
pub(crate) async fn skip<B: Body>(headers: &HeaderMap, body: B) {
    if body.is_end_stream() || headers.contains_key(EXPECT) {
        return;
    }
    let to_the_end = async {
        let mut body = pin!(body);
        let mut left = MAX_BYTES;
        while let Some(Ok(frame)) = poll_fn(|context| body.as_mut().poll_frame(context)).await {
            let length = frame.data_ref().map_or(0, bytes::Buf::remaining);
            match left.checked_sub(length) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    // Too slow is as good as too long.
    drop(tokio::time::timeout(PATIENCE, to_the_end).await);
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        pin::Pin,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::{Context, Poll},
    };

    use bytes::Bytes;
    use http::HeaderValue;
    use http_body::Frame;

    use super::*;

    /// Gives as many kilobytes, and then its end or nothing at all.
    struct Kilobytes {
        left: usize,
        has_end: bool,
        read: Arc<AtomicUsize>,
    }

    impl Kilobytes {
        fn new(left: usize, has_end: bool) -> (Self, Arc<AtomicUsize>) {
            let read = Arc::new(AtomicUsize::new(0));
            let body = Self {
                left,
                has_end,
                read: Arc::clone(&read),
            };
            (body, read)
        }
    }

    impl Body for Kilobytes {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            if self.left > 0 {
                self.left -= 1;
                self.read.fetch_add(1, Ordering::Relaxed);
                return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[0; 1024])))));
            }
            if self.has_end {
                self.read.fetch_add(1, Ordering::Relaxed);
                Poll::Ready(None)
            } else {
                Poll::Pending
            }
        }
    }

    #[tokio::test]
    async fn a_body_is_read_to_its_end() {
        let (body, read) = Kilobytes::new(3, true);
        skip(&HeaderMap::new(), body).await;
        assert_eq!(read.load(Ordering::Relaxed), 4, "three pieces and the end");
    }

    #[tokio::test]
    async fn a_long_body_is_left() {
        let (body, read) = Kilobytes::new(1000, true);
        skip(&HeaderMap::new(), body).await;
        assert_eq!(read.load(Ordering::Relaxed), 65);
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_not_waited_for_long() {
        let (body, _) = Kilobytes::new(1, false);
        let start = tokio::time::Instant::now();
        skip(&HeaderMap::new(), body).await;
        assert!(start.elapsed() < PATIENCE * 3, "{:?}", start.elapsed());
    }

    #[tokio::test]
    async fn a_client_that_waits_for_leave_is_not_asked_for_its_body() {
        let (body, read) = Kilobytes::new(3, true);
        let headers = HeaderMap::from_iter([(EXPECT, HeaderValue::from_static("100-continue"))]);
        skip(&headers, body).await;
        assert_eq!(read.load(Ordering::Relaxed), 0);
    }
}
