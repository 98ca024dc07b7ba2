use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::protocol::{Body, BoxError};

/// How a reply's body ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    /// Bytes that were handed to the connection.
    pub(super) bytes: u64,
    /// Whether that was all of it.
    pub(super) whole: bool,
}

/// Lets `ended` know when the last byte of the body is out, or when it will
/// never be. A body that is all there has ended as soon as it is handed over.
pub(super) fn observed(body: Body, ended: impl FnOnce(End) + Send + Unpin + 'static) -> Body {
    match body {
        Body::Empty => {
            ended(End { bytes: 0, whole: true });
            Body::Empty
        }
        Body::Full(bytes) => {
            ended(End { bytes: bytes.len() as u64, whole: true });
            Body::Full(bytes)
        }
        inner => Body::stream(Observed { inner, bytes: 0, whole: false, ended: Some(ended) }),
    }
}

struct Observed<F: FnOnce(End)> {
    inner: Body,
    bytes: u64,
    whole: bool,
    ended: Option<F>,
}

impl<F: FnOnce(End) + Unpin> HttpBody for Observed<F> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                this.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                this.whole = this.inner.is_end_stream();
            }
            Poll::Ready(None) => this.whole = true,
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
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

impl<F: FnOnce(End)> Drop for Observed<F> {
    fn drop(&mut self) {
        if let Some(ended) = self.ended.take() {
            ended(End { bytes: self.bytes, whole: self.whole });
        }
    }
}
