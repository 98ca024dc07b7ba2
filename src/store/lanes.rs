//! Threads that may wait for the disk, for the connections on which much arrives.
//!
//! What a thread receives and hashes itself is still in its core's cache; handed to another, each
//! line of it is fetched from there. And the threads that answer everything else wait for sockets
//! together: as long as one of them waits, each packet wakes it, also where its reader is busy with
//! the packet before. So a connection moves to a lane while it uploads: one thread, with a queue of
//! sockets of its own, that receives, hashes and writes. A disk that stalls stops the lanes and
//! whoever uploads, and nobody else.

use std::cell::OnceCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;

use super::gather::IN_PLACE;

tokio::task_local! {
    /// How many uploads of this task's connection ask for a lane.
    static WISHES: Arc<AtomicUsize>;
}

thread_local! {
    static HERE: OnceCell<Here> = const { OnceCell::new() };
}

/// The lanes; they end with the last of these.
#[derive(Debug, Clone)]
pub struct Lanes {
    lanes: Arc<[Lane]>,
    _stop: Arc<DropGuard>,
}

#[derive(Debug)]
struct Lane {
    runtime: Handle,
    connections: AtomicUsize,
}

/// What a lane's thread knows of itself.
#[derive(Debug)]
struct Here {
    runtime: Handle,
    all: Arc<[Lane]>,
}

/// A connection's place on a lane.
struct Place {
    all: Arc<[Lane]>,
    lane: usize,
}

/// While there is one, its connection is on a lane as soon as it can be.
#[derive(Debug)]
pub(super) struct Wish(Arc<AtomicUsize>);

impl Lanes {
    /// Starts so many of them, one at least.
    ///
    /// # Errors
    /// Where the system has no thread for them.
    pub fn start(count: usize) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let guard = stop.clone().drop_guard();
        // After each task the sockets are asked: whoever was kept waiting by a write of another must
        // not be told that nothing came.
        let runtime = || Builder::new_current_thread().event_interval(1).enable_all().build();
        let runtimes: Vec<_> = (0..count.max(1)).map(|_| runtime()).collect::<io::Result<_>>()?;
        let lane = |runtime: &tokio::runtime::Runtime| Lane {
            runtime: runtime.handle().clone(),
            connections: AtomicUsize::new(0),
        };
        let lanes: Arc<[Lane]> = runtimes.iter().map(lane).collect();
        for runtime in runtimes {
            let (all, stopped) = (lanes.clone(), stop.clone().cancelled_owned());
            let run = move || {
                let here = Here { runtime: runtime.handle().clone(), all };
                HERE.with(|known| known.set(here)).ok();
                runtime.block_on(stopped);
            };
            std::thread::Builder::new().name("upload".to_owned()).spawn(run)?;
        }
        Ok(Self { lanes, _stop: Arc::new(guard) })
    }

    /// Runs a connection to its end: here, or on a lane for as long as an upload of it wishes so.
    /// What it starts meanwhile starts here all the same. `None` where it panicked, or a lane was
    /// ended under it.
    pub fn drive<F>(&self, connection: F) -> impl Future<Output = Option<F::Output>> + Send + use<F>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let (lanes, wishes) = (self.clone(), Arc::new(AtomicUsize::new(0)));
        // Boxed at once, or it would be in this future twice.
        let mut connection = Box::pin(WISHES.scope(wishes.clone(), connection));
        async move {
            loop {
                let ended = poll_fn(|cx| run_while(&mut connection, cx, || wishes.load(Ordering::Relaxed) == 0)).await;
                if ended.is_some() {
                    return ended;
                }
                let place = lanes.place();
                let runtime = place.runtime().clone();
                let (main, wishes) = (Handle::current(), wishes.clone());
                let visit = Visit { connection: Some(connection), wishes, main, _place: place };
                let (back, ended) = AbortOnDropHandle::new(runtime.spawn(visit)).await.ok()?;
                if ended.is_some() {
                    return ended;
                }
                connection = back;
            }
        }
    }

    /// A place on the lane that has the fewest connections.
    fn place(&self) -> Place {
        let count = |(_, lane): &(usize, &Lane)| lane.connections.load(Ordering::Relaxed);
        let lane = self.lanes.iter().enumerate().min_by_key(count).map_or(0, |(lane, _)| lane);
        self.lanes[lane].connections.fetch_add(1, Ordering::Relaxed);
        Place { all: self.lanes.clone(), lane }
    }
}

/// A connection on a lane. The runtime it came from is the current one whenever it is touched.
struct Visit<F> {
    /// Until it has ended, or goes back.
    connection: Option<Pin<Box<F>>>,
    wishes: Arc<AtomicUsize>,
    main: Handle,
    _place: Place,
}

impl<F: Future> Future for Visit<F> {
    type Output = (Pin<Box<F>>, Option<F::Output>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let _context = this.main.enter();
        let Some(mut connection) = this.connection.take() else { return Poll::Pending };
        match run_while(&mut connection, cx, || this.wishes.load(Ordering::Relaxed) > 0) {
            Poll::Ready(ended) => Poll::Ready((connection, ended)),
            Poll::Pending => {
                this.connection = Some(connection);
                Poll::Pending
            }
        }
    }
}

impl<F> Drop for Visit<F> {
    fn drop(&mut self) {
        let _context = self.main.enter();
        drop(self.connection.take());
    }
}

/// Polls a connection. Where it has to wait and its wishes, as they are then, are not met here: `None`.
fn run_while<F: Future>(
    connection: &mut Pin<Box<F>>,
    cx: &mut Context<'_>,
    met: impl FnOnce() -> bool,
) -> Poll<Option<F::Output>> {
    match connection.as_mut().poll(cx) {
        Poll::Ready(ended) => Poll::Ready(Some(ended)),
        Poll::Pending if !met() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    }
}

impl Place {
    fn runtime(&self) -> &Handle {
        &self.all[self.lane].runtime
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.all[self.lane].connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Wish {
    /// A lane for the connection that this task serves; `None` where it serves none that could have one.
    pub(super) fn new() -> Option<Self> {
        let wishes = WISHES.try_with(Arc::clone).ok()?;
        wishes.fetch_add(1, Ordering::Relaxed);
        Some(Self(wishes))
    }
}

impl Drop for Wish {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether a piece of so many bytes is hashed and written where it was received. One that is long
/// costs least that way; short ones cost so much by themselves that whoever is alone on the lanes
/// does better with a second thread. Among several, each has a thread already.
pub(super) fn write_in_place(piece: usize) -> bool {
    let connections = |here: &Here| here.all.iter().map(|lane| lane.connections.load(Ordering::Relaxed)).sum::<usize>();
    HERE.with(|here| here.get().is_some_and(|here| piece >= IN_PLACE || here.all.len() == 1 || connections(here) > 1))
}

/// The runtime of this lane, where this thread is one.
pub(super) fn here() -> Option<Handle> {
    HERE.with(|here| here.get().map(|here| here.runtime.clone()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::oneshot;
    use tokio::time::timeout;

    use super::*;

    /// Moves by wish, and what it starts is not on the lane.
    #[tokio::test]
    async fn a_connection_is_on_a_lane_while_it_wishes() {
        let lanes = Lanes::start(1).unwrap();
        let main = Handle::current().id();
        let connection = async move {
            assert!(here().is_none());
            let wish = Wish::new();
            assert!(wish.is_some());
            tokio::task::yield_now().await;
            let lane = here().map(|lane| lane.id());
            assert!(lane.is_some_and(|lane| lane != main));
            assert_eq!(Handle::current().id(), main);
            assert!(tokio::spawn(async { here().is_none() }).await.unwrap());
            drop(wish);
            tokio::task::yield_now().await;
            assert!(here().is_none());
            "done"
        };
        assert_eq!(lanes.drive(connection).await, Some("done"));
        assert_eq!(lanes.lanes[0].connections.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn elsewhere_there_is_nothing_to_wish() {
        assert!(Wish::new().is_none());
        assert!(!write_in_place(usize::MAX));
    }

    #[tokio::test]
    async fn a_panic_on_a_lane_is_its_own() {
        let lanes = Lanes::start(1).unwrap();
        for _ in 0..2 {
            let connection = async {
                let _wish = Wish::new();
                tokio::task::yield_now().await;
                assert!(here().is_none(), "a panic on purpose");
            };
            assert!(lanes.drive(connection).await.is_none());
        }
        assert_eq!(lanes.lanes[0].connections.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn the_emptiest_lane_is_taken() {
        let lanes = Lanes::start(3).unwrap();
        let places: Vec<Place> = (0..6).map(|_| lanes.place()).collect();
        assert!(lanes.lanes.iter().all(|lane| lane.connections.load(Ordering::Relaxed) == 2));
        drop(places);
        assert!(lanes.lanes.iter().all(|lane| lane.connections.load(Ordering::Relaxed) == 0));
    }

    /// Who drives a connection no more has dropped it, wherever it is, and there as if it were here.
    #[tokio::test]
    async fn a_connection_goes_with_whoever_drives_it() {
        struct Held(Option<oneshot::Sender<tokio::runtime::Id>>);
        impl Drop for Held {
            fn drop(&mut self) {
                self.0.take().unwrap().send(Handle::current().id()).unwrap();
            }
        }
        let lanes = Lanes::start(1).unwrap();
        let (held, released) = oneshot::channel();
        let (tell, on_lane) = oneshot::channel();
        let connection = async move {
            let (_held, _wish) = (Held(Some(held)), Wish::new());
            tokio::task::yield_now().await;
            tell.send(here().is_some()).unwrap();
            std::future::pending::<()>().await;
        };
        let driven = tokio::spawn(lanes.drive(connection));
        assert!(on_lane.await.unwrap());
        driven.abort();
        assert_eq!(released.await.unwrap(), Handle::current().id());
    }

    /// Whom another's write kept waiting for longer than it would wait finds what has come meanwhile.
    #[tokio::test(flavor = "multi_thread")]
    async fn what_came_while_a_lane_was_stopped_is_seen() {
        const STOP: Duration = Duration::from_millis(300);
        let lanes = Lanes::start(1).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let stream = listener.accept().await.unwrap().0.into_std().unwrap();
        let (ready, waits) = oneshot::channel();
        let waiting = tokio::spawn(lanes.drive(async move {
            let _wish = Wish::new();
            tokio::task::yield_now().await;
            let mut stream = {
                let lane = here().unwrap();
                let _context = lane.enter();
                TcpStream::from_std(stream).unwrap()
            };
            ready.send(()).unwrap();
            timeout(STOP / 3, stream.read_u8()).await
        }));
        waits.await.unwrap();
        let stopping = tokio::spawn(lanes.drive(async move {
            let _wish = Wish::new();
            tokio::task::yield_now().await;
            assert!(here().is_some());
            std::thread::sleep(STOP);
        }));
        tokio::time::sleep(STOP / 6).await;
        client.write_u8(7).await.unwrap();
        assert_eq!(waiting.await.unwrap().unwrap().expect("it had come in time").unwrap(), 7);
        stopping.await.unwrap().unwrap();
    }
}
