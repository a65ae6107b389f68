//! What changes things runs to its end, also when the caller hangs up meanwhile: an answer may get lost, half of a decision
//! may not.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tracing::{Instrument as _, Span};

/// Work that goes on by itself when nobody waits for it any more. As long as somebody does, it costs one allocation.
pub(crate) struct ToItsEnd<T: Send + 'static> {
    /// Absent once it is done, or has panicked.
    work: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
}

/// Lets the work run to its end.
pub(crate) fn to_its_end<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> ToItsEnd<T> {
    ToItsEnd {
        work: Some(Box::pin(work)),
    }
}

impl<T: Send + 'static> Future for ToItsEnd<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        // Out of its place while it runs: if it panics, nobody picks it up again. After its end there is nothing left to
        // wait for, and who polls again waits for ever.
        let Some(mut work) = self.work.take() else {
            return Poll::Pending;
        };
        let polled = work.as_mut().poll(context);
        if polled.is_pending() {
            self.work = Some(work);
        }
        polled
    }
}

impl<T: Send + 'static> Drop for ToItsEnd<T> {
    fn drop(&mut self) {
        if let Some(work) = self.work.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let rest = async move {
                work.await;
            };
            runtime.spawn(rest.instrument(Span::current()));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_done_all_the_same() {
        let (go, gone) = oneshot::channel::<()>();
        let (done, is_done) = oneshot::channel();
        let mut work = to_its_end(async move {
            gone.await.unwrap();
            done.send("done").unwrap();
        });
        assert!(futures_util::poll!(&mut work).is_pending());
        drop(work);
        go.send(()).unwrap();
        assert_eq!(is_done.await.unwrap(), "done");
    }

    #[tokio::test]
    async fn what_is_waited_for_answers_and_leaves_nothing_behind() {
        let mut work = to_its_end(async { 7 });
        assert_eq!((&mut work).await, 7);
        assert!(work.work.is_none());
    }
}
