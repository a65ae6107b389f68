//! The body of an answer that has passed the friction layer: the server's own, ours, or ours before the server's.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::batch;

pin_project! {
    /// The server's body, unbuffered; bytes of ours; or both, ours first.
    #[derive(Debug)]
    pub struct Answer<B> {
        before: Option<Bytes>,
        #[pin]
        inner: Option<B>,
        merging: Merging,
        after: Option<Bytes>,
    }
}

/// How our answers and the server's become one.
#[derive(Debug)]
pub(super) enum Merging {
    /// There is nothing to merge.
    None,
    /// Ours are events of a stream before the server's.
    Events(Bytes),
    /// Ours and the server's are members of one array. The server has not said anything yet.
    Array(Bytes),
}

impl Merging {
    pub(super) fn events(answers: &[String]) -> Self {
        // JSON as it is written here has no line break in it.
        let events: Vec<String> = answers
            .iter()
            .map(|answer| format!("event: message\ndata: {answer}\n\n"))
            .collect();
        Self::Events(events.concat().into())
    }

    pub(super) fn array(answers: &[String]) -> Self {
        Self::Array(batch::array(answers))
    }
}

impl<B> Answer<B> {
    pub(super) fn of_layer(bytes: Bytes) -> Self {
        Self {
            before: Some(bytes).filter(|bytes| !bytes.is_empty()),
            inner: None,
            merging: Merging::None,
            after: None,
        }
    }

    pub(super) fn of_inner(body: B) -> Self {
        Self {
            before: None,
            inner: Some(body),
            merging: Merging::None,
            after: None,
        }
    }

    pub(super) fn merged(body: B, merging: Merging) -> Self {
        let (before, merging) = match merging {
            Merging::Events(events) => (Some(events), Merging::None),
            merging => (None, merging),
        };
        Self {
            before,
            inner: Some(body),
            merging,
            after: None,
        }
    }
}

impl<B: Body<Data = Bytes>> Body for Answer<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        if let Some(bytes) = this.before.take() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        while let Some(inner) = this.inner.as_mut().as_pin_mut() {
            let Some(frame) = ready!(inner.poll_frame(context)?) else {
                this.inner.set(None);
                // A server that said nothing at all leaves ours alone.
                if let Merging::Array(ours) = std::mem::replace(this.merging, Merging::None) {
                    *this.after = Some(ours);
                }
                break;
            };
            let Merging::Array(ours) = &*this.merging else {
                return Poll::Ready(Some(Ok(frame)));
            };
            let Ok(mut data) = frame.into_data() else { continue };
            let blank = data.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            data.advance(blank);
            if data.is_empty() {
                continue;
            }
            // `[ours` and a comma, and then the members of the server's array or the one answer it gave instead.
            let open = ours.slice(..ours.len() - 1);
            if data.first() == Some(&b'[') {
                data.advance(1);
            } else {
                *this.after = Some(Bytes::from_static(b"]"));
            }
            *this.merging = Merging::None;
            let merged = [open.as_ref(), b",", data.as_ref()].concat();
            return Poll::Ready(Some(Ok(Frame::data(merged.into()))));
        }
        Poll::Ready(this.after.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.before.is_none()
            && self.after.is_none()
            && matches!(self.merging, Merging::None)
            && self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.before, &self.inner) {
            (Some(bytes), None) => SizeHint::with_exact(bytes.len() as u64),
            (None, Some(inner)) if matches!(self.merging, Merging::None) && self.after.is_none() => {
                inner.size_hint()
            }
            (None, None) if self.after.is_none() => SizeHint::with_exact(0),
            _ => SizeHint::default(),
        }
    }
}
