use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use crate::protocol::{Body, BoxError};

/// What is handed on at a time, so that a slow client is seen to move.
const MOST: usize = 64 * 1024;

/// Watches over what one connection is asked. One on which nothing is asked is
/// given up, and so is the body of a reply whose client takes nothing of it: on
/// HTTP/2 the connection lives on by its pings, and would hold a blob open, and
/// a place among the requests, for as long as the client likes (R-GEN-14). What
/// was handed on before and was not taken is held by the stream itself, which
/// ends only with its client or with the connection: so that goes next, unless more
/// is going on there, as where a proxy sends many clients over one.
#[derive(Default)]
pub(super) struct Watch {
    asked: AtomicBool,
    /// Requests over HTTP/2 that have no reply yet.
    open: AtomicUsize,
    news: Notify,
    streams: Mutex<Vec<Weak<Stream>>>,
}

/// Which bodies are left to watch.
enum Left {
    Nothing,
    Some,
    /// All were given up, their streams are there still, and no reply is awaited.
    Stuck,
}

/// A request over HTTP/2, until its reply is handed over.
pub(super) struct Asked(Arc<Watch>);

impl Asked {
    pub(super) fn begin(watch: Arc<Watch>) -> Self {
        watch.open.fetch_add(1, Ordering::Relaxed);
        Self(watch)
    }

    /// The same body, watched, unless it is empty.
    pub(super) fn reply(self, body: Body) -> Body {
        self.0.over(body)
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Stream(Mutex<State>);

struct State {
    /// Until it is given up, which is when it `moved` last.
    body: Option<Body>,
    /// What came of it and was not handed on yet.
    rest: Bytes,
    moved: Instant,
    /// Who waits for the body, if anybody does.
    waiting: Option<Waker>,
}

impl Watch {
    /// A request came.
    pub(super) fn asked(&self) {
        if !self.asked.load(Ordering::Relaxed) {
            self.asked.store(true, Ordering::Relaxed);
            self.news.notify_one();
        }
    }

    fn over(&self, body: Body) -> Body {
        if matches!(body, Body::Empty) {
            return body;
        }
        let state = State { body: Some(body), rest: Bytes::new(), moved: Instant::now(), waiting: None };
        let stream = Arc::new(Stream(Mutex::new(state)));
        let mut streams = self.streams();
        if streams.len() == streams.capacity() {
            streams.retain(|stream| stream.strong_count() > 0);
        }
        streams.push(Arc::downgrade(&stream));
        drop(streams);
        self.news.notify_one();
        Body::stream(Watched(stream))
    }

    /// Gives bodies up that nobody takes. Ends if nothing was asked in time, or where streams
    /// outlive their bodies for as long again and are all that is left.
    pub(super) async fn keep(&self, quiet: Duration) {
        if timeout(quiet, self.news.notified()).await.is_err() {
            return;
        }
        loop {
            loop {
                match self.give_up(quiet) {
                    Left::Nothing => break,
                    Left::Some => sleep(quiet / 4).await,
                    Left::Stuck => return,
                }
            }
            self.news.notified().await;
        }
    }

    fn give_up(&self, quiet: Duration) -> Left {
        let mut stuck = 0;
        let mut streams = self.streams();
        streams.retain(|stream| {
            let stream = stream.upgrade();
            stuck += usize::from(stream.as_ref().is_some_and(|stream| stream.give_up(quiet)));
            stream.is_some()
        });
        match streams.len() {
            0 => Left::Nothing,
            all if all == stuck && self.open.load(Ordering::Relaxed) == 0 => Left::Stuck,
            _ => Left::Some,
        }
    }

    fn streams(&self) -> MutexGuard<'_, Vec<Weak<Stream>>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of what nobody took for so long. Whether it had done that as long ago.
    fn give_up(&self, quiet: Duration) -> bool {
        let mut state = self.state();
        if state.moved.elapsed() < quiet {
            return false;
        }
        if state.body.is_none() {
            return true;
        }
        state.moved = Instant::now();
        let (body, rest, waiting) = (state.body.take(), std::mem::take(&mut state.rest), state.waiting.take());
        drop(state);
        drop((body, rest));
        if let Some(waiting) = waiting {
            waiting.wake();
        }
        false
    }
}

struct Watched(Arc<Stream>);

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut state = self.0.state();
        let State { body, rest, moved, waiting } = &mut *state;
        let Some(body) = body else { return Poll::Ready(Some(Err(io::Error::from(io::ErrorKind::TimedOut).into()))) };
        if rest.is_empty() {
            match Pin::new(body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => *rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                Poll::Ready(ended) => return Poll::Ready(ended),
                Poll::Pending => {
                    *waiting = Some(cx.waker().clone());
                    return Poll::Pending;
                }
            }
        }
        *moved = Instant::now();
        let next = rest.split_to(rest.len().min(MOST));
        Poll::Ready(Some(Ok(Frame::data(next))))
    }

    fn is_end_stream(&self) -> bool {
        let state = self.0.state();
        state.rest.is_empty() && state.body.as_ref().is_some_and(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let state = self.0.state();
        let rest = state.rest.len() as u64;
        match state.body.as_ref().map(HttpBody::size_hint) {
            Some(hint) => hint.exact().map_or_else(SizeHint::default, |left| SizeHint::with_exact(left + rest)),
            None => SizeHint::default(),
        }
    }
}
