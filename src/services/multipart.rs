//! Several ranges in one reply: `multipart/byteranges` (RFC 9110 §14.6, R-BLB-16).

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderValue;
use http_body::{Body as HttpBody, Frame, SizeHint};
use uuid::Uuid;

use crate::domain::ByteRange;
use crate::protocol::{Body, BoxError, headers};

/// Parts of one blob, each behind a head of its own, in the order they were
/// asked for. Its length is known before the first byte is read.
pub(super) struct Multipart {
    boundary: String,
    size: u64,
    parts: Vec<ByteRange>,
}

/// Opens one range when its turn has come, so that a thousand ranges hold one
/// reader at a time.
pub(super) type OpenPart = Box<dyn FnMut(ByteRange) -> OpenedPart + Send>;
/// The body of one range, soon.
pub(super) type OpenedPart = Pin<Box<dyn Future<Output = Result<Body, BoxError>> + Send>>;

impl Multipart {
    /// These parts of content of `size` bytes.
    pub(super) fn new(parts: Vec<ByteRange>, size: u64) -> Self {
        Self { boundary: Uuid::new_v4().simple().to_string(), size, parts }
    }

    /// The reply's `Content-Type`.
    pub(super) fn content_type(&self) -> HeaderValue {
        headers::value(format!("multipart/byteranges; boundary={}", self.boundary))
    }

    /// Exactly how many bytes the body has.
    pub(super) fn len(&self) -> u64 {
        let parts: u64 = self.parts.iter().map(|&part| self.head(part).len() as u64 + part.len()).sum();
        parts + self.end().len() as u64
    }

    /// The body; `open` opens each part when its turn has come.
    pub(super) fn into_body(self, open: OpenPart) -> Body {
        let left = self.len();
        let waiting: VecDeque<_> = self.parts.iter().copied().collect();
        Body::stream(MultipartBody { multipart: self, waiting, open, now: Now::Between, left })
    }

    fn head(&self, part: ByteRange) -> String {
        let Self { boundary, size, .. } = self;
        let (first, last) = (part.first(), part.last());
        format!(
            "\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\n\
             Content-Range: bytes {first}-{last}/{size}\r\n\r\n"
        )
    }

    fn end(&self) -> String {
        format!("\r\n--{}--\r\n", self.boundary)
    }
}

struct MultipartBody {
    multipart: Multipart,
    waiting: VecDeque<ByteRange>,
    open: OpenPart,
    now: Now,
    left: u64,
}

enum Now {
    Between,
    Opening(OpenedPart),
    Reading(Body),
    Ended,
}

impl HttpBody for MultipartBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let data = loop {
            match &mut this.now {
                Now::Between => match this.waiting.pop_front() {
                    Some(part) => {
                        this.now = Now::Opening((this.open)(part));
                        break Bytes::from(this.multipart.head(part));
                    }
                    None => {
                        this.now = Now::Ended;
                        break Bytes::from(this.multipart.end());
                    }
                },
                Now::Opening(opened) => match ready!(opened.as_mut().poll(cx)) {
                    Ok(body) => this.now = Now::Reading(body),
                    Err(error) => return Poll::Ready(Some(Err(error))),
                },
                Now::Reading(body) => match ready!(Pin::new(body).poll_frame(cx)) {
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) => break data,
                        Err(_) => continue,
                    },
                    Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                    None => this.now = Now::Between,
                },
                Now::Ended => return Poll::Ready(None),
            }
        };
        this.left = this.left.saturating_sub(data.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.now, Now::Ended)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
