//! Several ranges in one reply: `multipart/byteranges` (RFC 9110 §14.6, R-BLB-16).

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderValue;
use http_body::{Body as HttpBody, Frame, SizeHint};
use uuid::Uuid;

use crate::domain::ByteRange;
use crate::protocol::{Body, headers};
use crate::store::BlobReader;

/// Parts of one blob, each behind a head of its own, in the order they were
/// asked for. Its length is known before the first byte is read.
pub(super) struct Multipart {
    boundary: String,
    size: u64,
    parts: Vec<ByteRange>,
}

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

    /// The body, its parts all from that blob's reader, one after the other.
    pub(super) fn into_body(self, blob: BlobReader) -> Body {
        let left = self.len();
        let waiting: VecDeque<_> = self.parts.iter().copied().collect();
        Body::stream(MultipartBody { multipart: self, waiting, blob, now: Now::Between, left })
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
    blob: BlobReader,
    now: Now,
    left: u64,
}

enum Now {
    Between,
    Reading(BlobReader),
    Ended,
}

impl HttpBody for MultipartBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        let data = loop {
            match &mut this.now {
                Now::Between => match this.waiting.pop_front() {
                    Some(part) => {
                        this.now = Now::Reading(this.blob.part(part));
                        break Bytes::from(this.multipart.head(part));
                    }
                    None => {
                        this.now = Now::Ended;
                        break Bytes::from(this.multipart.end());
                    }
                },
                Now::Reading(part) => match ready!(Pin::new(part).poll_frame(cx)?) {
                    Some(frame) => break frame.into_data().unwrap_or_default(),
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
