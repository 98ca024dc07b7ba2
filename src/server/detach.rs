//! Work that outlives whoever waits for it.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// Work that whoever waits for it may walk away from: dropped before its end, it goes on in a task
/// of its own. Until then it costs no task and no wakeup, and runs where it is awaited.
///
/// The tracker waits for it in both cases.
pub(super) struct Detach<F: Future<Output: Send> + Send + 'static> {
    /// Until it has ended.
    work: Option<Pin<Box<F>>>,
    tracker: TaskTracker,
    _token: TaskTrackerToken,
}

impl<F: Future<Output: Send> + Send> Detach<F> {
    pub(super) fn new(work: F, tracker: TaskTracker) -> Self {
        Self { work: Some(Box::pin(work)), _token: tracker.token(), tracker }
    }
}

impl<F: Future<Output: Send> + Send> Future for Detach<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Some(work) = &mut self.work else { return Poll::Pending };
        let done = work.as_mut().poll(cx);
        if done.is_ready() {
            self.work = None;
        }
        done
    }
}

impl<F: Future<Output: Send> + Send> Drop for Detach<F> {
    fn drop(&mut self) {
        // Without a runtime the process is about to end, and nothing goes on.
        if let (Some(work), Ok(runtime)) = (self.work.take(), tokio::runtime::Handle::try_current()) {
            self.tracker.spawn_on(work, &runtime);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_comes_to_its_end() {
        let tracker = TaskTracker::new();
        let (go, going) = oneshot::channel::<()>();
        let (tell, told) = oneshot::channel();
        let work = async move {
            going.await.unwrap();
            tell.send("done").unwrap();
        };
        let waited = timeout(Duration::from_millis(10), Detach::new(work, tracker.clone())).await;
        assert!(waited.is_err(), "it cannot have ended");
        tracker.close();
        assert!(timeout(Duration::from_millis(10), tracker.wait()).await.is_err(), "the tracker does not wait");
        go.send(()).unwrap();
        tracker.wait().await;
        assert_eq!(told.await.unwrap(), "done");
    }

    #[tokio::test]
    async fn what_is_waited_for_runs_in_place_and_is_tracked() {
        let tracker = TaskTracker::new();
        tracker.close();
        let (work, id) = (async { tokio::task::try_id() }, tokio::task::try_id());
        let detach = Detach::new(work, tracker.clone());
        assert!(!tracker.is_empty());
        assert_eq!(detach.await, id, "no task was made for it");
        tracker.wait().await;
    }
}
