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
        let runtimes: Vec<_> =
            (0..count.max(1)).map(|_| Builder::new_current_thread().enable_all().build()).collect::<io::Result<_>>()?;
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
        Ok(Self { lanes, _stop: Arc::new(stop.drop_guard()) })
    }

    /// Runs a connection to its end: here, or on a lane for as long as an upload of it wishes so.
    /// What it starts meanwhile starts here all the same. `None` where it panicked, or a lane was
    /// ended under it.
    pub async fn drive<F>(&self, connection: F) -> Option<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let wishes = Arc::new(AtomicUsize::new(0));
        let mut connection = Box::pin(WISHES.scope(wishes.clone(), connection));
        loop {
            if let Some(ended) =
                poll_fn(|cx| run_while(&mut connection, cx, || wishes.load(Ordering::Relaxed) == 0)).await
            {
                return Some(ended);
            }
            let (place, main, wishes) = (self.place(), Handle::current(), wishes.clone());
            let moved = place.runtime().clone().spawn(async move {
                let ended = poll_fn(|cx| {
                    let _context = main.enter();
                    run_while(&mut connection, cx, || wishes.load(Ordering::Relaxed) > 0)
                })
                .await;
                drop(place);
                (connection, ended)
            });
            let (back, ended) = AbortOnDropHandle::new(moved).await.ok()?;
            if ended.is_some() {
                return ended;
            }
            connection = back;
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

    /// Who drives a connection no more has dropped it, wherever it is.
    #[tokio::test]
    async fn a_connection_goes_with_whoever_drives_it() {
        let lanes = Lanes::start(1).unwrap();
        let (held, released) = tokio::sync::oneshot::channel::<()>();
        let (tell, on_lane) = tokio::sync::oneshot::channel();
        let driven = tokio::spawn({
            let lanes = lanes.clone();
            async move {
                let connection = async move {
                    let (_held, _wish) = (held, Wish::new());
                    tokio::task::yield_now().await;
                    tell.send(here().is_some()).unwrap();
                    std::future::pending::<()>().await;
                };
                lanes.drive(connection).await
            }
        });
        assert!(on_lane.await.unwrap());
        driven.abort();
        assert!(released.await.is_err());
    }
}
