//! Bounds what one request and all of them together may take.
//!
//! Stands outside authentication: load is shed before a password costs CPU, and
//! a body over its limit is refused before anyone reads it. There is no total
//! deadline for blobs, a 20 GiB layer over a slow line is honest work; what ends
//! a request is a body in which nothing moves (R-GEN-14).
//!
//! A refusal while a body is still arriving is readable only if the rest is
//! taken in first: a bounded amount is drained before the answer goes out
//! (R-GEN-09). A client that waits for `100 Continue` is not made to send it
//! (R-GEN-08).

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::Semaphore;
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tower::{Layer, Service};

use super::Answer;
use super::observe::observed;
use crate::protocol::{Body, BodyError, BoxError, ErrorCode, ErrorReply, Origin, Request, Response, headers};
use crate::router::{BodyClass, Matched};

/// JSON and forms, in bytes (R-TKP-05).
const SMALL_BODY: u64 = 64 * 1024;
/// A request's target, in bytes (R-LIM-05).
const MAX_TARGET: usize = 16 * 1024;
/// All headers of a request together, in bytes (R-LIM-05).
const MAX_HEADERS: usize = 64 * 1024;
/// How long a body that must fit into memory may take altogether.
const SMALL_BODY_DEADLINE: Duration = Duration::from_secs(60);
/// What is taken in of a refused body, at most (R-GEN-09).
const DRAIN_BYTES: u64 = 64 * 1024 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// What the layer goes by.
#[derive(Debug, Clone)]
pub struct Options {
    /// Longest manifest, in bytes (R-MPT-05).
    pub manifest_bytes: u64,
    /// Requests answered at a time; more are turned away with 503.
    pub concurrency: usize,
    /// How long nothing may arrive inside a body.
    pub idle: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { manifest_bytes: 4 * 1024 * 1024, concurrency: 4096, idle: Duration::from_secs(60) }
    }
}

/// Bounds every request.
#[derive(Debug, Clone)]
pub struct LimitsLayer {
    options: Arc<Options>,
    slots: Arc<Semaphore>,
}

impl LimitsLayer {
    /// A layer with these limits.
    pub fn new(options: Options) -> Self {
        let slots = Arc::new(Semaphore::new(options.concurrency));
        Self { options: Arc::new(options), slots }
    }
}

/// See [`LimitsLayer`].
#[derive(Debug, Clone)]
pub struct Limits<S> {
    inner: S,
    options: Arc<Options>,
    slots: Arc<Semaphore>,
}

impl<S> Layer<S> for LimitsLayer {
    type Service = Limits<S>;
    fn layer(&self, inner: S) -> Limits<S> {
        Limits { inner, options: self.options.clone(), slots: self.slots.clone() }
    }
}

impl<S> Service<Request> for Limits<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Answer {
        let endpoint = request.extensions().get::<Matched>().and_then(|matched| matched.endpoint);
        let facts = endpoint.map(|endpoint| endpoint.facts());
        // Probes must be answered when everything else is turned away.
        let exempt = facts.is_some_and(|facts| facts.handler == "operations");
        let slot = if exempt { None } else { self.slots.clone().try_acquire_owned().ok() };
        let overloaded = slot.is_none() && !exempt;

        let limit = self.options.body_limit(facts.map_or(BodyClass::None, |facts| facts.body));
        let (head, waits) = (request.method() == Method::HEAD, request.headers().contains_key(EXPECT));
        let (request, rest) = guard(request, limit, self.options.idle);
        let answer = match refusal(&request, overloaded, limit) {
            Some(refusal) => Err(refusal.into_response()),
            None => Ok(self.inner.call(request)),
        };
        Box::pin(async move {
            let mut response = fitted(
                match answer {
                    Ok(answer) => answer.await?,
                    Err(refusal) => refusal,
                },
                head,
            );
            // Nothing was sent yet by a client that waits to be asked for it, and nobody asked.
            if let Some(Left { body, asked }) = rest.and_then(|rest| rest.take())
                && ((waits && !asked) || !drain(body).await)
            {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response.map(|body| observed(body, move |_| drop(slot))))
        })
    }
}

/// Says how long the body is, also where it is empty, which hyper leaves out over HTTP/2
/// (R-GEN-12), and takes it away from the reply to HEAD, which has the head of the reply to GET
/// whoever made it (R-GEN-04).
fn fitted(mut response: Response, head: bool) -> Response {
    let bodiless = matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if let Some(length) = response.body().exact_len().filter(|_| !bodiless) {
        response.headers_mut().entry(CONTENT_LENGTH).or_insert(HeaderValue::from(length));
    }
    if head {
        *response.body_mut() = Body::Empty;
    }
    response
}

/// How long a body may be, and how long it may take.
#[derive(Clone, Copy)]
struct BodyLimit {
    bytes: u64,
    deadline: Option<Duration>,
}

impl Options {
    fn body_limit(&self, class: BodyClass) -> BodyLimit {
        let bounded = |bytes| BodyLimit { bytes, deadline: Some(SMALL_BODY_DEADLINE) };
        match class {
            BodyClass::Blob => BodyLimit { bytes: u64::MAX, deadline: None },
            BodyClass::Manifest => bounded(self.manifest_bytes),
            BodyClass::Json | BodyClass::Form => bounded(SMALL_BODY),
            // Nobody reads it (R-GEN-07).
            BodyClass::None => bounded(DRAIN_BYTES),
        }
    }
}

fn refusal(request: &Request, overloaded: bool, limit: BodyLimit) -> Option<ErrorReply> {
    let uri = request.uri();
    let target = uri.path_and_query().map_or(0, |target| target.as_str().len());
    if overloaded {
        let text = "the registry is busy; try again in a moment";
        return Some(ErrorReply::new(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable, text).retry_after(1));
    }
    if target > MAX_TARGET {
        let text = format!("the request's target has {target} bytes, at most {MAX_TARGET} are read");
        return Some(ErrorReply::new(StatusCode::URI_TOO_LONG, ErrorCode::Unsupported, text));
    }
    if header_bytes(request.headers()) > MAX_HEADERS {
        let text = format!("the headers have more than {MAX_HEADERS} bytes");
        return Some(ErrorReply::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, ErrorCode::Unsupported, text));
    }
    if request.extensions().get::<Origin>().is_some_and(|origin| origin.base.is_none()) {
        let text = "the request needs one Host header with a valid host";
        return Some(ErrorReply::new(StatusCode::BAD_REQUEST, ErrorCode::Unsupported, text));
    }
    let declared = headers::content_length(request.headers()).filter(|declared| *declared > limit.bytes);
    declared.map(|declared| {
        let text = format!("the body has {declared} bytes, at most {} are accepted", limit.bytes);
        ErrorReply::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::SizeInvalid, text)
    })
}

fn header_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

/// Puts the request's body under guard. What is left of it when the service is
/// done can be taken from the other half; a request without one has none.
fn guard(request: Request, limit: BodyLimit, idle: Duration) -> (Request, Option<Rest>) {
    if request.body().is_end_stream() {
        return (request, None);
    }
    let rest = Rest::default();
    let handed = rest.clone();
    let now = Instant::now();
    let request = request.map(|body| {
        let deadline = limit.deadline.map(|deadline| now + deadline);
        let guarded = Guarded {
            inner: Some(body),
            asked: false,
            left: limit.bytes,
            limit: limit.bytes,
            idle,
            deadline,
            waiting: None,
            timer: None,
            rest: handed,
        };
        Body::stream(guarded)
    });
    (request, Some(rest))
}

/// Where a dropped body leaves what nobody read of it.
#[derive(Clone, Default)]
struct Rest(Arc<Mutex<Option<Left>>>);

/// What nobody read of a body.
struct Left {
    body: Body,
    /// Whether any of it was asked for, at which whoever waited for a 100 got it.
    asked: bool,
}

impl Rest {
    fn take(&self) -> Option<Left> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

struct Guarded {
    /// Until it failed, or was left to `rest`.
    inner: Option<Body>,
    asked: bool,
    left: u64,
    limit: u64,
    idle: Duration,
    deadline: Option<Instant>,
    /// Since when nothing has come.
    waiting: Option<Instant>,
    /// Of an earlier wait, maybe: it is set anew when it ends, not with each of thousands of frames.
    timer: Option<Pin<Box<Sleep>>>,
    rest: Rest,
}

impl Guarded {
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let end = *self.waiting.get_or_insert_with(Instant::now) + self.idle;
        let end = self.deadline.map_or(end, |deadline| deadline.min(end));
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(end)));
        while timer.as_mut().poll(cx).is_ready() {
            if timer.deadline() >= end {
                return Poll::Ready(());
            }
            timer.as_mut().reset(end);
        }
        Poll::Pending
    }
}

impl HttpBody for Guarded {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let Some(inner) = &mut this.inner else { return Poll::Ready(None) };
        this.asked = true;
        match Pin::new(inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.waiting = None;
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                match this.left.checked_sub(length) {
                    Some(left) => this.left = left,
                    None => return Poll::Ready(Some(Err(BodyError::TooLong { limit: this.limit }.into()))),
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(broken))) => {
                this.inner = None;
                Poll::Ready(Some(Err(BodyError::Broken(broken).into())))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                std::task::ready!(this.poll_stalled(cx));
                this.inner = None;
                Poll::Ready(Some(Err(BodyError::Stalled.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if let Some(body) = self.inner.take().filter(|body| !body.is_end_stream()) {
            let left = Left { body, asked: self.asked };
            *self.rest.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(left);
        }
    }
}

/// Takes in what is left of a body; whether that was all of it.
async fn drain(mut rest: Body) -> bool {
    let all = async {
        let mut taken = 0;
        while let Some(frame) = rest.frame().await {
            let Ok(frame) = frame else { return false };
            taken += frame.data_ref().map_or(0, |data| data.len() as u64);
            if taken > DRAIN_BYTES {
                return false;
            }
        }
        true
    };
    timeout(DRAIN_TIME, all).await.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tower::{ServiceExt, service_fn};

    fn blob(body: Body) -> Request {
        let mut request = Request::new(body);
        *request.method_mut() = http::Method::PATCH;
        let path = "/v2/a/blobs/uploads/7b0b9a1e-8a0e-4b0e-9d53-1f2f3a4b5c6d";
        let matched = crate::router::route(request.method(), path);
        request.extensions_mut().insert(matched);
        request
    }

    fn never() -> Body {
        Body::stream(http_body_util::StreamBody::new(futures_util::stream::pending::<Result<Frame<Bytes>, BoxError>>()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_in_which_nothing_moves_is_ended() {
        let service = LimitsLayer::new(Options::default()).layer(service_fn(|request: Request| async {
            let error = request.into_body().collect().await.unwrap_err();
            assert!(matches!(error.downcast_ref(), Some(BodyError::Stalled)), "{error}");
            Ok::<_, Infallible>(Response::new(Body::Empty))
        }));
        let answer = timeout(Duration::from_secs(100), service.oneshot(blob(never()))).await;
        assert_eq!(answer.unwrap().unwrap().status(), StatusCode::OK);
    }

    /// R-GEN-14: from where it is waited for, not while nobody asks for more.
    #[tokio::test(start_paused = true)]
    async fn a_body_may_be_slow_and_so_may_whoever_takes_it() {
        const PAUSE: Duration = Duration::from_secs(50);
        let slow = futures_util::stream::unfold(0, |nth| async move {
            match nth {
                0..4 => tokio::time::sleep(PAUSE).await,
                4 => {}
                _ => std::future::pending().await,
            }
            Some((Ok::<_, BoxError>(Frame::data(Bytes::from_static(b"some"))), nth + 1))
        });
        let service = LimitsLayer::new(Options::default()).layer(service_fn(|request: Request| async {
            let (mut body, begun) = (request.into_body(), Instant::now());
            for _ in 0..4 {
                body.frame().await.unwrap().unwrap();
            }
            tokio::time::sleep(PAUSE * 10).await;
            body.frame().await.unwrap().unwrap();
            let error = body.frame().await.unwrap().unwrap_err();
            assert!(matches!(error.downcast_ref(), Some(BodyError::Stalled)), "{error}");
            let took = begun.elapsed() - PAUSE * 14 - Options::default().idle;
            assert!(took < Duration::from_secs(1), "{took:?} too late");
            Ok::<_, Infallible>(Response::new(Body::Empty))
        }));
        let request = blob(Body::stream(http_body_util::StreamBody::new(Box::pin(slow))));
        assert_eq!(service.oneshot(request).await.unwrap().status(), StatusCode::OK);
    }

    #[tokio::test(start_paused = true)]
    async fn more_requests_than_allowed_are_turned_away() {
        let options = Options { concurrency: 1, ..Options::default() };
        let mut service = LimitsLayer::new(options).layer(service_fn(|_| async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok::<_, Infallible>(Response::new(Body::Empty))
        }));
        let first = service.call(blob(Body::Empty));
        let second = service.call(blob(Body::Empty)).await.unwrap();
        assert_eq!(second.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(second.headers().contains_key(http::header::RETRY_AFTER));
        assert_eq!(first.await.unwrap().status(), StatusCode::OK);
        assert_eq!(service.call(blob(Body::Empty)).await.unwrap().status(), StatusCode::OK);
    }

    /// R-GEN-09: whoever was asked to go on is sending, and would not see a reply to half of it.
    #[tokio::test]
    async fn a_body_that_was_asked_for_is_taken_in_even_if_its_client_had_waited() {
        async fn closes(read: bool) -> bool {
            let frames = ["some", "more"].map(|text| Ok::<_, BoxError>(Frame::data(Bytes::from(text))));
            let mut request = blob(Body::stream(http_body_util::StreamBody::new(futures_util::stream::iter(frames))));
            request.headers_mut().insert(EXPECT, HeaderValue::from_static("100-continue"));
            let service =
                LimitsLayer::new(Options::default()).layer(service_fn(move |mut request: Request| async move {
                    if read {
                        request.body_mut().frame().await.unwrap().unwrap();
                    }
                    Ok::<_, Infallible>(Response::new(Body::Empty))
                }));
            service.oneshot(request).await.unwrap().headers().contains_key(CONNECTION)
        }
        assert!(!closes(true).await);
        assert!(closes(false).await, "who still waits must not be taken to have sent");
    }

    /// R-GEN-04: what a layer refuses, too.
    #[tokio::test]
    async fn a_refused_head_has_the_length_of_its_body_and_none_of_it() {
        let options = Options { concurrency: 0, ..Options::default() };
        let service =
            LimitsLayer::new(options).layer(service_fn(|_| async { Ok::<_, Infallible>(Response::new(Body::Empty)) }));
        let mut request = blob(Body::Empty);
        *request.method_mut() = Method::HEAD;
        let response = service.oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(headers::content_length(response.headers()).is_some_and(|length| length > 2));
        assert_eq!(response.into_body().exact_len(), Some(0));
    }

    #[tokio::test]
    async fn a_refused_body_is_taken_in_before_the_answer() {
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel::<Result<Frame<Bytes>, BoxError>>();
        let frames = futures_util::stream::unfold(receiver, |mut frames| async {
            let frame = frames.recv().await?;
            Some((frame, frames))
        });
        let service = LimitsLayer::new(Options::default())
            .layer(service_fn(|_| async { Ok::<_, Infallible>(Response::new(Body::Empty)) }));
        let answer =
            tokio::spawn(service.oneshot(blob(Body::stream(http_body_util::StreamBody::new(Box::pin(frames))))));
        sender.send(Ok(Frame::data(Bytes::from_static(b"some")))).unwrap();
        tokio::task::yield_now().await;
        assert!(!answer.is_finished());
        drop(sender);
        let response = answer.await.unwrap().unwrap();
        assert!(!response.headers().contains_key(CONNECTION));
    }
}
