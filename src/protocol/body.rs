use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;

/// Whatever made a body end early.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Some body that arrives bit by bit.
type DynBody = Pin<Box<dyn HttpBody<Data = Bytes, Error = BoxError> + Send>>;

/// Why the body of a request ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It has more than that many bytes.
    #[error("the body is longer than {limit} bytes")]
    TooLong { limit: u64 },
    /// Nothing came for too long.
    #[error("the body did not arrive in time")]
    Stalled,
    /// The connection broke, or what came on it is not HTTP.
    #[error("the connection broke inside the body")]
    Broken(#[source] BoxError),
}

/// The body of a request or a reply. The common ones cost no allocation.
#[derive(Default)]
pub enum Body {
    #[default]
    Empty,
    /// Bytes that are all there.
    Full(Bytes),
    /// What a connection brings.
    Incoming(Incoming),
    /// Anything that arrives bit by bit. Behind a mutex that is never contended, since
    /// whoever holds a request in an async function needs it to be `Sync`.
    Stream(Mutex<DynBody>),
}

impl Body {
    /// A body that arrives bit by bit.
    pub fn stream<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        use http_body_util::BodyExt;
        Self::Stream(Mutex::new(Box::pin(body.map_err(Into::into))))
    }

    /// How many bytes it has, where that is known before they come.
    pub fn exact_len(&self) -> Option<u64> {
        self.size_hint().exact()
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() { Self::Empty } else { Self::Full(bytes) }
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let body = self.get_mut();
        match body {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *body = Self::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Self::Incoming(incoming) => Pin::new(incoming).poll_frame(cx).map_err(Into::into),
            Self::Stream(stream) => stream.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Incoming(incoming) => incoming.is_end_stream(),
            Self::Stream(stream) => stream.lock().unwrap_or_else(PoisonError::into_inner).is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Incoming(incoming) => incoming.size_hint(),
            Self::Stream(stream) => stream.lock().unwrap_or_else(PoisonError::into_inner).size_hint(),
        }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Body({:?} bytes)", self.exact_len())
    }
}
